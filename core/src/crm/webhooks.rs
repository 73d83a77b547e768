//! The CRM's own webhooks (chats API reference, 7.6): form-encoded, every value a text, **not
//! signed**. They are not those of a channel, which [`parse_webhook`](crate::parse_webhook) reads.

use super::{Extra, Talk, Template, form, lenient};
use crate::error::Result;
use crate::ids::{ConversationRefId, MessageRefId, UserRefId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A webhook of the CRM.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrmWebhook {
    /// What happened, in the order told.
    pub events: Vec<CrmEvent>,
    /// What stands beside the events, such as `account`, as it came: every leaf is a text.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One thing that happened in the CRM.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CrmEvent {
    /// A client's message came (`add_message`).
    MessageAdded(Box<IncomingMessage>),
    /// A talk began (`add_talk`).
    TalkAdded(Box<Talk>),
    /// A talk changed, or was closed (`update_talk`).
    TalkUpdated(Box<Talk>),
    /// A template was handed in for review (`add_chat_template_review`).
    TemplateReview(Box<Template>),
    /// Another event, or one of another form.
    Unknown {
        /// What it is about, such as `leads`; empty where the webhook does not say.
        entity: String,
        /// What happened to it, such as `add`.
        action: String,
        /// What is told of it, as it came: every leaf is a text.
        fields: Value,
    },
}

/// A client's message, as the CRM tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncomingMessage {
    /// amoCRM's id of it.
    pub id: MessageRefId,
    /// The chat, by amoCRM's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<ConversationRefId>,
    /// The talk.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub talk_id: Option<i64>,
    /// The contact of the client.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub contact_id: Option<i64>,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When it came, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub created_at: Option<i64>,
    /// What it belongs to: 1 a contact, 2 a lead.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub element_type: Option<i64>,
    /// Which contact or lead it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub element_id: Option<i64>,
    /// `contact` or `lead`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_type: Option<String>,
    /// As `element_id`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub entity_id: Option<i64>,
    /// `incoming`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// Who wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<MessageAuthor>,
    /// The code of the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// What is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<MessageAttachment>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Who wrote an [`IncomingMessage`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageAuthor {
    /// The client, by amoCRM's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<UserRefId>,
    /// `external`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What is attached to an [`IncomingMessage`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageAttachment {
    /// The type, such as `picture`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Reads the body of a CRM webhook.
///
/// Nobody signs it: take it as a hint, and ask the CRM for what it tells before acting on it.
///
/// ```
/// use amochats::crm::{CrmEvent, parse_crm_webhook};
///
/// let body = b"account[id]=7&message[add][0][id]=M&message[add][0][text]=hi+there";
/// let webhook = parse_crm_webhook(body)?;
/// let [CrmEvent::MessageAdded(message)] = webhook.events.as_slice() else { panic!("one message") };
/// assert_eq!(message.text.as_deref(), Some("hi there"));
/// # Ok::<(), amochats::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::MalformedWebhook`](crate::ErrorKind::MalformedWebhook) for a body beyond
/// [`FORM_MAX`](super::FORM_MAX), [`FIELDS_MAX`](super::FIELDS_MAX) or
/// [`DEPTH_MAX`](super::DEPTH_MAX), and for one that tells of no event.
pub fn parse_crm_webhook(body: &[u8]) -> Result<CrmWebhook> {
    let mut events = Vec::new();
    let mut extra = Extra::new();
    for (name, value) in form::parse(body)? {
        match value {
            // The vendor's page prints the review of a template without a name around it.
            Value::Array(items) => add(&mut events, "", &name, items),
            Value::Object(actions) if name != "account" => of_entity(&mut events, &mut extra, name, actions),
            value => drop(extra.insert(name, value)),
        }
    }
    if events.is_empty() {
        let said = "the form tells of no event: it is not a webhook of the CRM";
        return Err(crate::Error::new(crate::ErrorKind::MalformedWebhook, said));
    }
    Ok(CrmWebhook { events, extra })
}

/// Lists are events; what else an entity holds stays beside them.
fn of_entity(events: &mut Vec<CrmEvent>, extra: &mut Extra, entity: String, actions: Map<String, Value>) {
    let mut rest = Map::new();
    for (action, value) in actions {
        match value {
            Value::Array(items) => add(events, &entity, &action, items),
            value => drop(rest.insert(action, value)),
        }
    }
    if !rest.is_empty() {
        extra.insert(entity, rest.into());
    }
}

fn add(events: &mut Vec<CrmEvent>, entity: &str, action: &str, items: Vec<Value>) {
    events.extend(items.into_iter().map(|fields| event(entity, action, fields)));
}

fn event(entity: &str, action: &str, fields: Value) -> CrmEvent {
    let is_review = || fields.get("reviews").is_some_and(Value::is_array);
    let known = match (entity, action) {
        ("message", "add") => read(&fields).map(CrmEvent::MessageAdded),
        ("talk", "add") => read(&fields).map(CrmEvent::TalkAdded),
        ("talk", "update") => read(&fields).map(CrmEvent::TalkUpdated),
        // No page tells the name around it, so its form decides.
        (_, "add") if is_review() => read(&fields).map(CrmEvent::TemplateReview),
        _ => None,
    };
    known.unwrap_or_else(|| CrmEvent::Unknown { entity: entity.into(), action: action.into(), fields })
}

/// `None` where the form is another than the documented one.
fn read<T: for<'de> Deserialize<'de>>(fields: &Value) -> Option<Box<T>> {
    T::deserialize(fields).ok().map(Box::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_is_kept() {
        let body = "leads[status][0][id]=5&talk[add][0][talk_id]=x&talk[add][1][talk_id]=6&account[subdomain]=shop&v=1";
        let webhook = parse_crm_webhook(body.as_bytes()).expect("a webhook");
        let unknown = |entity: &str, action: &str, fields| CrmEvent::Unknown {
            entity: entity.into(),
            action: action.into(),
            fields,
        };
        let [status, odd, CrmEvent::TalkAdded(talk)] = webhook.events.as_slice() else {
            panic!("{webhook:?}")
        };
        assert_eq!(*status, unknown("leads", "status", json!({"id": "5"})));
        assert_eq!(*odd, unknown("talk", "add", json!({"talk_id": "x"})));
        assert_eq!(talk.talk_id, 6);
        assert_eq!(Value::Object(webhook.extra), json!({"account": {"subdomain": "shop"}, "v": "1"}));
    }

    #[test]
    fn what_tells_of_no_event_is_refused() {
        for body in ["", "a=1", "account[id]=7", "{\"message\":{}}", "message[add]=x"] {
            assert!(parse_crm_webhook(body.as_bytes()).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_crm_webhook(&body);
        }

        #[test]
        fn any_brackets_parse_or_fail(body in r"(message|talk|add|[0-3])?(\[(add|update|0|1|id|reviews|)?\]?){0,5}=[a-z0-9%]{0,4}(&talk\[add\]\[0\]\[[a-z_]{0,9}\]=[0-9a-z]{0,3}){0,4}") {
            let _ = parse_crm_webhook(body.as_bytes());
        }

        #[test]
        fn what_is_encoded_comes_back(text in ".{0,40}") {
            let value: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            let body = format!("message[add][0][id]=M&message[add][0][text]={value}");
            let webhook = parse_crm_webhook(body.as_bytes()).expect("a webhook");
            let [CrmEvent::MessageAdded(message)] = webhook.events.as_slice() else { panic!("one message") };
            prop_assert_eq!(message.text.as_deref(), Some(text.as_str()));
        }
    }
}
