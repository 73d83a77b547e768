//! The CRM's own API, as far as a channel needs it: ids of account and users, linking chats to
//! contacts, sources, templates, talks, webhook subscriptions and OAuth; and what the CRM sends to
//! the integration's server: form-encoded webhooks, the disable hook, one-time tokens.
//!
//! It is another service than the chats API: it lives on the account's host, takes a bearer token
//! of OAuth instead of a signature, and answers `application/hal+json` (chats API reference,
//! section 7).
//!
//! A call is a [`Request`], made by its constructor and sent by a program's own HTTP stack or by
//! [`CrmClient`](crate::CrmClient) (feature `client`). Answers are read by `from_json`: what may be
//! absent is an [`Option`], `null` counts as absent, an empty text stays one, and fields that are
//! not known are kept in `extra`.
//!
//! ```
//! use amochats::crm::{Account, Request};
//!
//! let request = Request::account();
//! assert_eq!((request.method, request.path.as_str()), ("GET", "/api/v4/account?with=amojo_id,amojo_rights,drive_url,version"));
//! let answer = br#"{"id":1231414,"subdomain":"example","amojo_id":"f3c6340d-410e-4ad1-9f7e-c5e663599909"}"#;
//! let account = Account::from_json(answer)?;
//! assert_eq!(account.amojo_id, Some("f3c6340d-410e-4ad1-9f7e-c5e663599909".into()));
//! # Ok::<(), amochats::Error>(())
//! ```

mod account;
mod contacts;
mod disable;
mod form;
mod oauth;
mod problem;
mod sources;
mod subscriptions;
mod talks;
mod templates;
mod token;
mod webhooks;

pub use account::{Account, AccountEmbedded, AmojoRights, LegacyAccount, User};
pub use contacts::{ChatLink, CreatedContact, LinkedChat, LinkedTo, NewContact};
pub use disable::verify_disable_hook;
pub use form::{DEPTH_MAX, FIELDS_MAX, FORM_MAX};
pub use oauth::{ClientSecret, Domain, Integration, Token, Tokens};
pub use problem::{CrmProblem, FieldProblem, PROBLEM_ERRORS_MAX};
pub use sources::{
    NewSource, SOURCE_BATCH_MAX, Source, SourceChange, SourcePage, SourceService, SourceServiceParams,
};
pub use subscriptions::{NewSubscription, Subscription};
pub use talks::Talk;
pub use templates::{
    NewTemplate, REJECT_REASON_MAX, Review, ReviewStatus, TEMPLATE_PAGE_MAX, Template, TemplateAttachment,
    TemplateButton, TemplateChange, TemplateEmbedded, WABA_HEADER_MAX,
};
pub use token::{OneTimeToken, OneTimeTokenRules, is_account_address, verify_one_time_token};
pub use webhooks::{
    CrmEvent, CrmWebhook, IncomingMessage, MessageAttachment, MessageAuthor, parse_crm_webhook,
};

use crate::error::{Error, ErrorKind, Result};
use crate::lenient::field as lenient;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// Fields that this version does not know, as they came.
pub type Extra = Map<String, Value>;

/// A call of the CRM's API, without host and without token.
///
/// `Debug` shows neither the query string nor headers nor the body: they may hold keys and secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// The path with its query string.
    pub path: String,
    /// The body, JSON; empty if there is none.
    pub body: Vec<u8>,
    /// Whether it goes with `Authorization: Bearer …`. OAuth and the first generation's look-up
    /// carry their own proof.
    pub needs_token: bool,
    /// The headers that belong to it, beside `Authorization` and `Content-Type`.
    pub headers: Vec<(&'static str, String)>,
}

impl Request {
    fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), body: Vec::new(), needs_token: true, headers: Vec::new() }
    }

    fn with_body(method: &'static str, path: impl Into<String>, body: &(impl Serialize + ?Sized)) -> Self {
        let body = serde_json::to_vec(body).expect("maps with text keys and finite numbers can be written");
        Self { method, path: path.into(), body, needs_token: true, headers: Vec::new() }
    }

    fn without_body(method: &'static str, path: impl Into<String>) -> Self {
        Self { method, ..Self::get(path) }
    }

    /// The same call in the name of another user of the account (`X-Context-User-ID`), by the
    /// number in the CRM. Works with a token that an administrator granted.
    #[must_use]
    pub fn as_user(mut self, user: i64) -> Self {
        const HEADER: &str = "X-Context-User-ID";
        self.headers.retain(|(name, _)| *name != HEADER);
        self.headers.push((HEADER, user.to_string()));
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split_once('?').map_or(self.path.as_str(), |(path, _query)| path);
        f.debug_struct("Request").field("method", &self.method).field("path", &path).finish_non_exhaustive()
    }
}

/// One page of a collection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page<T> {
    /// What is on the page. Empty where the CRM answers 204: nothing was found.
    pub items: Vec<T>,
    /// Whether the answer links to a next page.
    pub has_next: bool,
}

/// What a collection is called inside `_embedded`.
pub trait Listed: DeserializeOwned {
    /// The key, such as `sources`.
    const KEY: &'static str;
}

macro_rules! listed {
    ($($type:ty = $key:literal;)*) => {$(
        impl Listed for $type {
            const KEY: &'static str = $key;
        }
    )*};
}

listed! {
    User = "users";
    LinkedChat = "chats";
    CreatedContact = "contacts";
    Source = "sources";
    Template = "chat_templates";
    Review = "reviews";
    Subscription = "webhooks";
}

impl<T: Listed> Page<T> {
    /// Reads the answer of a call that gives a collection.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`] for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Collection {
            #[serde(rename = "_embedded")]
            embedded: Map<String, Value>,
            #[serde(rename = "_links", default)]
            links: Value,
        }
        if json.is_empty() {
            return Ok(Self { items: Vec::new(), has_next: false });
        }
        let mut collection: Collection = answer(json, T::KEY)?;
        // An empty collection of PHP's may be written as an object or left out.
        let items = match collection.embedded.remove(T::KEY) {
            Some(Value::Array(items)) => items,
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(items)) if items.is_empty() => Vec::new(),
            Some(_) => return Err(not_documented(T::KEY)),
        };
        let items: Result<Vec<T>, _> = items.into_iter().map(T::deserialize).collect();
        let has_next = collection.links.pointer("/next/href").is_some_and(Value::is_string);
        Ok(Self { items: items.map_err(|_| not_documented(T::KEY))?, has_next })
    }
}

/// Reads an answer.
fn answer<'a, T: Deserialize<'a>>(json: &'a [u8], what: &str) -> Result<T> {
    // The cause is not kept: it could quote the answer.
    serde_json::from_slice(json).map_err(|_| not_documented(what))
}

fn not_documented(what: &str) -> Error {
    let said = format!("the answer with {what} is not of the documented form");
    Error::new(ErrorKind::UnexpectedResponse, said)
}

/// A batch must hold something, and not more than the vendor takes.
fn batch<T>(items: &[T], field: &str, max: usize) -> Result<()> {
    match items.len() {
        0 => Err(Error::invalid(field, "must not be empty")),
        count if count > max => {
            Err(Error::invalid(field, format!("must be at most {max} in one call, not {count}")))
        }
        _ => Ok(()),
    }
}

/// The vendor deletes a batch by objects that hold an id each.
fn ids(ids: &[i64]) -> Vec<Value> {
    ids.iter().map(|id| serde_json::json!({ "id": id })).collect()
}

/// A batch of one as a change of that one: its id stands in the path, not in the body.
fn one(batch: &Request, path: &str, id: i64) -> Request {
    let mut items: Vec<Map<String, Value>> =
        serde_json::from_slice(&batch.body).expect("it was written here, as an array of objects");
    let mut item = items.pop().expect("there is one");
    item.shift_remove("id");
    Request::with_body("PATCH", format!("{path}/{id}"), &item)
}

/// A query string in the vendor's form; empty without parameters.
fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        query.append_pair(name, &value);
    }
    let query = query.finish();
    if query.is_empty() { query } else { format!("?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_found_is_an_empty_page() {
        for json in [&b""[..], br#"{"_embedded":{"sources":[]}}"#, br#"{"_embedded":{}}"#] {
            let page = Page::<Source>::from_json(json).expect("empty");
            assert!(page.items.is_empty() && !page.has_next);
        }
        for json in
            [&b"[]"[..], b"{}", br#"{"_embedded":{"sources":"x"}}"#, br#"{"_embedded":{"sources":[1]}}"#]
        {
            let error = Page::<Source>::from_json(json).expect_err("another form");
            assert_eq!(error.kind(), ErrorKind::UnexpectedResponse);
        }
    }

    #[test]
    fn debug_shows_neither_keys_nor_secrets() {
        let legacy = Request::legacy_account("a@example.com", "hunter2");
        let shown = format!("{legacy:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("example.com"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Page::<Template>::from_json(&body);
            let _ = Account::from_json(&body);
            let _ = Talk::from_json(&body);
            let _ = Tokens::from_json(&body);
            let _ = CrmProblem::from_json(&body);
        }

        #[test]
        fn any_value_in_any_place_is_read_or_refused(
            field in prop::sample::select(vec!["id", "name", "buttons", "attachment", "waba_examples", "_embedded", "validation-errors", "errors", "services", "is_read"]),
            value in prop::sample::select(vec![r"null", "1.5", "-1", "[]", "{}", "[{}]", r#""x""#, r#"[{"errors":[{}]}]"#, "1e400", "true"]),
        ) {
            let item = format!(r#"{{"id":1,"{field}":{value}}}"#);
            let _ = Account::from_json(item.as_bytes());
            let _ = CrmProblem::from_json(item.as_bytes());
            let _ = Talk::from_json(item.as_bytes());
            for key in ["sources", "chat_templates", "users", "chats"] {
                let page = format!(r#"{{"_embedded":{{"{key}":[{item}]}}}}"#);
                let _ = Page::<Source>::from_json(page.as_bytes());
                let _ = Page::<Template>::from_json(page.as_bytes());
                let _ = Page::<User>::from_json(page.as_bytes());
                let _ = Page::<LinkedChat>::from_json(page.as_bytes());
            }
        }
    }
}
