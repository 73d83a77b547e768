//! Sources: the phone numbers or pages through which clients write (chats API reference, 7.3).
//!
//! The integration must have an uploaded archive whose manifest lists `lead_sources`; it sees its
//! own sources alone. Needs admin rights.

use super::{Extra, Request, answer, batch, ids, lenient, one, query};
use crate::error::{Error, Result};
use crate::message::source_external_id;
use serde::{Deserialize, Serialize};

/// How many sources the CRM takes in one call.
pub const SOURCE_BATCH_MAX: usize = 50;

const PATH: &str = "/api/v4/sources";

impl Request {
    /// Asks for the integration's sources, at most 100, or those with the given ids of its own;
    /// answered by a [`Page`](super::Page) of [`Source`].
    pub fn sources(external_ids: &[&str]) -> Self {
        let name = if external_ids.len() == 1 { "filter[external_id]" } else { "filter[external_id][]" };
        let query = query(external_ids.iter().map(|id| (name, (*id).to_owned())));
        Self::get(format!("{PATH}{query}"))
    }

    /// Asks for one source; answered by [`Source`], or 204 without a body where there is none.
    pub fn source(id: i64) -> Self {
        Self::get(format!("{PATH}/{id}"))
    }

    /// Makes sources; answered by a [`Page`](super::Page) of [`Source`]. An integration may have
    /// 100.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for none or more than
    /// [`SOURCE_BATCH_MAX`], an empty name, and an `external_id` or `origin_code` the vendor refuses.
    pub fn add_sources(sources: &[NewSource]) -> Result<Self> {
        batch(sources, "sources", SOURCE_BATCH_MAX)?;
        for (at, source) in sources.iter().enumerate() {
            if source.name.is_empty() {
                return Err(Error::invalid(format!("sources.{at}.name"), "must not be empty"));
            }
            source_external_id(&source.external_id, &format!("sources.{at}.external_id"))?;
            origin_code(source.origin_code.as_deref(), at)?;
        }
        Ok(Self::with_body("POST", PATH, sources))
    }

    /// Changes sources; answered by a [`Page`](super::Page) of [`Source`]. The `external_id` cannot
    /// be changed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for none or more than
    /// [`SOURCE_BATCH_MAX`], an empty name, and an `origin_code` the vendor refuses.
    pub fn update_sources(changes: &[SourceChange]) -> Result<Self> {
        batch(changes, "sources", SOURCE_BATCH_MAX)?;
        for (at, change) in changes.iter().enumerate() {
            if change.name.as_deref() == Some("") {
                return Err(Error::invalid(format!("sources.{at}.name"), "must not be empty"));
            }
            origin_code(change.origin_code.as_deref(), at)?;
        }
        Ok(Self::with_body("PATCH", PATH, changes))
    }

    /// Changes one source; answered by [`Source`].
    ///
    /// # Errors
    /// As [`Request::update_sources`].
    pub fn update_source(change: &SourceChange) -> Result<Self> {
        let request = Self::update_sources(std::slice::from_ref(change))?;
        Ok(one(&request, PATH, change.id))
    }

    /// Deletes one source; answered by 204, or 404 where it is not there.
    pub fn delete_source(id: i64) -> Self {
        Self::without_body("DELETE", format!("{PATH}/{id}"))
    }

    /// Deletes sources; answered by 204. If the default source is deleted none takes its place.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for none or more than
    /// [`SOURCE_BATCH_MAX`].
    pub fn delete_sources(sources: &[i64]) -> Result<Self> {
        batch(sources, "sources", SOURCE_BATCH_MAX)?;
        Ok(Self::with_body("DELETE", PATH, &ids(sources)))
    }
}

/// Kommo's rule: not only digits, not only quotes, at most 20 characters.
fn origin_code(code: Option<&str>, at: usize) -> Result<()> {
    let Some(code) = code else { return Ok(()) };
    let only = |these: fn(char) -> bool| code.chars().all(these);
    let quotes = |c| matches!(c, '"' | '\'' | '`');
    if only(|c| c.is_ascii_digit()) || only(quotes) || code.chars().count() > 20 {
        let rule = "must be a channel code such as amo.ext.30490163_v2, of at most 20 characters";
        return Err(Error::invalid(format!("sources.{at}.origin_code"), rule));
    }
    Ok(())
}

/// A source to be made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NewSource {
    /// The name that users see.
    pub name: String,
    /// The integration's id of it: what messages name as their source.
    pub external_id: String,
    /// The pipeline of its leads; the main one unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_id: Option<i64>,
    /// Whether chats without a source go through it. At most one is; a former one ceases to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// The code of the channel with which users start a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_code: Option<String>,
    /// What the source serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<SourceService>,
    /// Comes back in the answer; its place in the batch unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl NewSource {
    /// A source with a name, by an id of the integration's own.
    pub fn new(name: impl Into<String>, external_id: impl Into<String>) -> Self {
        Self { name: name.into(), external_id: external_id.into(), ..Self::default() }
    }
}

/// A change of a source; what is not set stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceChange {
    /// Which one, by the CRM's number.
    pub id: i64,
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its new pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_id: Option<i64>,
    /// Makes it the default source, or no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// Its new channel code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_code: Option<String>,
    /// What it serves from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<SourceService>>,
    /// Comes back in the answer; its place in the batch unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The CRM's number of it.
    #[serde(deserialize_with = "lenient::id")]
    pub id: i64,
    /// The name that users see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The integration's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The pipeline of its leads; it may be archived.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub pipeline_id: Option<i64>,
    /// Whether chats without a source go through it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::flag")]
    pub default: Option<bool>,
    /// The code of the channel with which users start a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_code: Option<String>,
    /// What the source serves.
    #[serde(default)]
    pub services: Vec<SourceService>,
    /// As it was sent, or the place in the batch; only where sources were written.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub request_id: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Source {
    /// Reads the answer about one source.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`](crate::ErrorKind::UnexpectedResponse) for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        answer(json, "the source")
    }
}

/// A messenger that a source serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceService {
    /// The messenger; only `whatsapp` is documented.
    #[serde(rename = "type")]
    pub kind: String,
    /// How it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<SourceServiceParams>,
    /// Where clients find it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<SourcePage>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How a source serves WhatsApp.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceServiceParams {
    /// Whether it is the official WhatsApp Business API; then templates are reviewed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::flag")]
    pub waba: Option<bool>,
    /// Whether list messages can be sent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::flag")]
    pub is_supports_list_message: Option<bool>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A phone number or page of a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourcePage {
    /// The messenger's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub id: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The phone; it becomes `https://wa.me/<link>`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub link: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_vendor_refuses_is_refused_with_its_path() {
        let good = NewSource::new("Sales", "s-1");
        assert!(Request::add_sources(std::slice::from_ref(&good)).is_ok());
        for (bad, field) in [
            (NewSource { name: String::new(), ..good.clone() }, "sources.1.name"),
            (NewSource { external_id: "я".into(), ..good.clone() }, "sources.1.external_id"),
            (NewSource { origin_code: Some("123".into()), ..good.clone() }, "sources.1.origin_code"),
            (NewSource { origin_code: Some("''".into()), ..good.clone() }, "sources.1.origin_code"),
            (NewSource { origin_code: Some("x".repeat(21)), ..good.clone() }, "sources.1.origin_code"),
        ] {
            let error = Request::add_sources(&[good.clone(), bad]).expect_err("refused");
            assert_eq!(error.field(), Some(field));
        }
        for sources in [vec![], vec![good; 51]] {
            assert_eq!(Request::add_sources(&sources).expect_err("refused").field(), Some("sources"));
        }
        assert_eq!(Request::delete_sources(&[]).expect_err("refused").field(), Some("sources"));
        let nameless = SourceChange { id: 1, name: Some(String::new()), ..SourceChange::default() };
        assert_eq!(
            Request::update_sources(&[nameless]).expect_err("refused").field(),
            Some("sources.0.name")
        );
    }

    #[test]
    fn a_filter_is_one_or_an_array() {
        assert_eq!(Request::sources(&[]).path, "/api/v4/sources");
        assert_eq!(Request::sources(&["+1 2"]).path, "/api/v4/sources?filter%5Bexternal_id%5D=%2B1+2");
        let several = Request::sources(&["a", "b"]).path;
        assert_eq!(
            several,
            "/api/v4/sources?filter%5Bexternal_id%5D%5B%5D=a&filter%5Bexternal_id%5D%5B%5D=b"
        );
    }
}
