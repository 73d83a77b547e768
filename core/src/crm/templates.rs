//! Templates of messages, and their reviews by WhatsApp (chats API reference, 7.4).
//!
//! The integration sees its own templates alone. Needs admin rights.
//!
//! A template of WhatsApp is reviewed: a source says `params.waba`, the integration subscribes to
//! `add_chat_template_review`, hands the template to WhatsApp, and reports the outcome.

use super::{Extra, Request, answer, batch, ids, lenient, one, query};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// How many templates the CRM lists in one page.
pub const TEMPLATE_PAGE_MAX: u32 = 50;
/// How long a header may be, in characters.
pub const WABA_HEADER_MAX: usize = 60;
/// How long the reason of a rejection may be, in characters.
pub const REJECT_REASON_MAX: usize = 65_535;

/// The limit of a batch is not documented for templates; this is the CRM's for other entities.
const BATCH_MAX: usize = 250;
const PATH: &str = "/api/v4/chats/templates";

impl Request {
    /// Asks for a page of the templates with their reviews, beginning with page 1, or for those
    /// with an id of the integration's own; answered by a [`Page`](super::Page) of [`Template`].
    pub fn templates(page: u32, external_id: Option<&str>) -> Self {
        let mut pairs = vec![
            ("with", "reviews".to_owned()),
            ("page", page.to_string()),
            ("limit", TEMPLATE_PAGE_MAX.to_string()),
        ];
        pairs.extend(external_id.map(|id| ("filter[external_id]", id.to_owned())));
        Self::get(format!("{PATH}{}", query(pairs)))
    }

    /// Asks for one template with its reviews; answered by [`Template`].
    pub fn template(id: i64) -> Self {
        Self::get(format!("{PATH}/{id}?with=reviews"))
    }

    /// Makes templates; answered by a [`Page`](super::Page) of [`Template`], or 422 where the
    /// account has no room for more.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for none, and with the
    /// path of what the vendor documents as wrong.
    pub fn add_templates(templates: &[NewTemplate]) -> Result<Self> {
        batch(templates, "templates", BATCH_MAX)?;
        for (at, template) in templates.iter().enumerate() {
            let path = |field| format!("templates.{at}.{field}");
            for (field, text) in [("name", &template.name), ("content", &template.content)] {
                if text.is_empty() {
                    return Err(Error::invalid(path(field), "must not be empty"));
                }
            }
            buttons(&template.buttons, at)?;
            header(template.waba_header.as_deref(), at)?;
            if template.waba_header_type.as_deref() == Some("media") && template.attachment.is_none() {
                return Err(Error::invalid(path("attachment"), "must be set for a header of media"));
            }
        }
        Ok(Self::with_body("POST", PATH, templates))
    }

    /// Changes templates; answered by a [`Page`](super::Page) of [`Template`]. Those of WhatsApp
    /// can be changed only as long as they are drafts.
    ///
    /// # Errors
    /// As [`Request::add_templates`].
    pub fn update_templates(changes: &[TemplateChange]) -> Result<Self> {
        batch(changes, "templates", BATCH_MAX)?;
        for (at, change) in changes.iter().enumerate() {
            for (field, text) in [("name", &change.name), ("content", &change.content)] {
                if text.as_deref() == Some("") {
                    return Err(Error::invalid(format!("templates.{at}.{field}"), "must not be empty"));
                }
            }
            buttons(change.buttons.as_deref().unwrap_or_default(), at)?;
            header(change.waba_header.as_deref(), at)?;
        }
        Ok(Self::with_body("PATCH", PATH, changes))
    }

    /// Changes one template; answered by [`Template`].
    ///
    /// # Errors
    /// As [`Request::update_templates`].
    pub fn update_template(change: &TemplateChange) -> Result<Self> {
        let request = Self::update_templates(std::slice::from_ref(change))?;
        Ok(one(&request, PATH, change.id))
    }

    /// Deletes one template; answered by 204.
    pub fn delete_template(id: i64) -> Self {
        Self::without_body("DELETE", format!("{PATH}/{id}"))
    }

    /// Deletes templates; answered by 204. An attached file that nothing else uses goes with them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for none.
    pub fn delete_templates(templates: &[i64]) -> Result<Self> {
        batch(templates, "templates", BATCH_MAX)?;
        Ok(Self::with_body("DELETE", PATH, &ids(templates)))
    }

    /// Hands a template in for review; answered by a [`Page`](super::Page) of [`Review`].
    pub fn submit_template(template: i64) -> Self {
        Self::with_body("POST", format!("{PATH}/{template}/review"), &json!({}))
    }

    /// Reports what became of a review; answered by [`Review`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a reason of more than
    /// [`REJECT_REASON_MAX`] characters.
    pub fn set_review_status(template: i64, review: i64, status: &ReviewStatus) -> Result<Self> {
        if let ReviewStatus::Rejected { reject_reason } = status
            && reject_reason.chars().count() > REJECT_REASON_MAX
        {
            let rule = format!("must be at most {REJECT_REASON_MAX} characters");
            return Err(Error::invalid("reject_reason", rule));
        }
        Ok(Self::with_body("POST", format!("{PATH}/{template}/review/{review}"), status))
    }
}

fn buttons(buttons: &[TemplateButton], at: usize) -> Result<()> {
    for (which, button) in buttons.iter().enumerate() {
        let path = |field| format!("templates.{at}.buttons.{which}.{field}");
        if button.text.is_empty() {
            return Err(Error::invalid(path("text"), "must not be empty"));
        }
        match (button.kind.as_str(), &button.url) {
            ("url", None) => return Err(Error::invalid(path("url"), "must be set for a button of type url")),
            ("inline", Some(_)) => {
                return Err(Error::invalid(path("url"), "must not be set for a button of type inline"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn header(header: Option<&str>, at: usize) -> Result<()> {
    if header.is_some_and(|header| header.chars().count() > WABA_HEADER_MAX) {
        let rule = format!("must be at most {WABA_HEADER_MAX} characters");
        return Err(Error::invalid(format!("templates.{at}.waba_header"), rule));
    }
    Ok(())
}

/// A template to be made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NewTemplate {
    /// Its name.
    pub name: String,
    /// The text; it may hold markers such as `{{contact.name}}`.
    pub content: String,
    /// The integration's id of it; webhooks tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Whether users may change it; no unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_editable: Option<bool>,
    /// Its buttons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<TemplateButton>,
    /// A file of the file service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<TemplateAttachment>,
    /// `amocrm` or `waba`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The line under a WhatsApp message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_footer: Option<String>,
    /// `UTILITY`, `AUTHENTICATION` or `MARKETING`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_category: Option<String>,
    /// The language, such as `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_language: Option<String>,
    /// What each marker may stand for, for the review.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::map")]
    pub waba_examples: BTreeMap<String, String>,
    /// The line over a WhatsApp message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_header: Option<String>,
    /// `text` or `media`; the latter needs an attachment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_header_type: Option<String>,
    /// Comes back in the answer; its place in the batch unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl NewTemplate {
    /// A template with a name and a text.
    pub fn new(name: impl Into<String>, content: impl Into<String>) -> Self {
        Self { name: name.into(), content: content.into(), ..Self::default() }
    }
}

/// A change of a template; what is not set stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TemplateChange {
    /// Which one, by the CRM's number.
    pub id: i64,
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its new text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The integration's new id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Whether users may change it from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_editable: Option<bool>,
    /// Its new buttons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buttons: Option<Vec<TemplateButton>>,
    /// Its new file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<TemplateAttachment>,
    /// The new line over a WhatsApp message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_header: Option<String>,
    /// Everything else that is to change, in the vendor's spelling.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A button under a template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateButton {
    /// `inline`, whose text comes back as an answer, or `url`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says.
    pub text: String,
    /// Where it leads; of a `url` button alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl TemplateButton {
    /// A button that answers with its text.
    pub fn inline(text: impl Into<String>) -> Self {
        Self { kind: "inline".into(), text: text.into(), url: None, extra: Extra::new() }
    }

    /// A button that opens an address.
    pub fn url(text: impl Into<String>, url: impl Into<String>) -> Self {
        Self { kind: "url".into(), url: Some(url.into()), ..Self::inline(text) }
    }
}

/// A file of a template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateAttachment {
    /// The file's id in the file service.
    pub id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `picture`, `file`, `document` or `video`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether it lies in the file service; since 2022 always. Answers alone tell it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::flag")]
    pub is_external: Option<bool>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A template, in an answer or in a webhook about its review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// The CRM's number of it.
    #[serde(deserialize_with = "lenient::id")]
    pub id: i64,
    /// The number of the account in the CRM.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub account_id: Option<i64>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The text, with its markers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The integration's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// When it was made, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub created_at: Option<i64>,
    /// When it changed last, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub updated_at: Option<i64>,
    /// Whether users may change it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::flag")]
    pub is_editable: Option<bool>,
    /// `amocrm` or `waba`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its buttons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<TemplateButton>,
    /// Its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<TemplateAttachment>,
    /// The line under a WhatsApp message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_footer: Option<String>,
    /// `UTILITY`, `AUTHENTICATION` or `MARKETING`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_category: Option<String>,
    /// The language, such as `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_language: Option<String>,
    /// What each marker may stand for. The CRM writes `[]` where there is none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "lenient::map")]
    pub waba_examples: BTreeMap<String, String>,
    /// The line over a WhatsApp message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_header: Option<String>,
    /// `text` or `media`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waba_header_type: Option<String>,
    /// `approved`, `review`, `paused` or `rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_status: Option<String>,
    /// Whether it is being reviewed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::flag")]
    pub is_on_review: Option<bool>,
    /// As it was sent, or the place in the batch; only where templates were written.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub request_id: Option<String>,
    /// The reviews, where a webhook tells them; see [`Template::reviews`].
    #[serde(rename = "reviews", default, skip_serializing_if = "Vec::is_empty")]
    pub hook_reviews: Vec<Review>,
    /// What an answer embeds.
    #[serde(rename = "_embedded", default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<TemplateEmbedded>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What is embedded in a [`Template`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateEmbedded {
    /// The reviews, one for each source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<Review>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Template {
    /// Reads the answer about one template.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`](crate::ErrorKind::UnexpectedResponse) for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        answer(json, "the template")
    }

    /// The reviews, wherever the vendor has put them.
    pub fn reviews(&self) -> &[Review] {
        match &self.embedded {
            Some(embedded) if !embedded.reviews.is_empty() => &embedded.reviews,
            _ => &self.hook_reviews,
        }
    }
}

/// The review of a template through one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// Its number.
    #[serde(deserialize_with = "lenient::id")]
    pub id: i64,
    /// The source whose number of WhatsApp it is for.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub source_id: Option<i64>,
    /// `approved`, `review`, `paused` or `rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Why it was rejected; empty unless it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject_reason: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Review {
    /// Reads the answer about one review.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`](crate::ErrorKind::UnexpectedResponse) for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        answer(json, "the review")
    }
}

/// What became of a review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum ReviewStatus {
    /// It may be used.
    Approved,
    /// It may not be used for now.
    Paused,
    /// It may not be used.
    Rejected {
        /// Why, for the CRM's users.
        reject_reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_vendor_refuses_is_refused_with_its_path() {
        let good = NewTemplate::new("Hello", "Hello {{contact.name}}");
        assert!(Request::add_templates(std::slice::from_ref(&good)).is_ok());
        let with = |button| NewTemplate { buttons: vec![button], ..good.clone() };
        let no_url = TemplateButton { url: None, ..TemplateButton::url("open", "") };
        let stray =
            TemplateButton { url: Some("https://example.com".into()), ..TemplateButton::inline("yes") };
        for (bad, field) in [
            (NewTemplate::new("", "x"), "templates.1.name"),
            (NewTemplate::new("x", ""), "templates.1.content"),
            (with(TemplateButton::inline("")), "templates.1.buttons.0.text"),
            (with(no_url), "templates.1.buttons.0.url"),
            (with(stray), "templates.1.buttons.0.url"),
            (NewTemplate { waba_header: Some("я".repeat(61)), ..good.clone() }, "templates.1.waba_header"),
            (
                NewTemplate { waba_header_type: Some("media".into()), ..good.clone() },
                "templates.1.attachment",
            ),
        ] {
            let error = Request::add_templates(&[good.clone(), bad]).expect_err("refused");
            assert_eq!(error.field(), Some(field));
        }
        let long = ReviewStatus::Rejected { reject_reason: "я".repeat(REJECT_REASON_MAX + 1) };
        let error = Request::set_review_status(1, 2, &long).expect_err("refused");
        assert_eq!(error.field(), Some("reject_reason"));
    }
}
