//! From bytes to [`WebhookEvent`].
//!
//! Every field is taken out of the JSON only where it has the expected type (`lenient`); what stays
//! behind becomes `extra`.

use super::event::{
    EmbeddedMessage, Forwards, HookVersion, MessageEvent, Participant, ReactionEvent, TypingEvent,
    WebhookEvent, WebhookKind,
};
use super::verify::VerifiedBody;
use crate::error::{Error, ErrorKind, Result};
use crate::lenient::{Object, Tree, int, object, participant, text, typed};
use serde_json::Value;

/// Parses a webhook, v1 or v2.
///
/// A valid JSON text of a shape that is not known is no error: it becomes
/// [`WebhookKind::Unknown`].
///
/// # Errors
/// [`ErrorKind::MalformedWebhook`] with line and column where the body is not JSON in UTF-8.
pub fn parse_webhook(body: VerifiedBody<'_>) -> Result<WebhookEvent> {
    let tree = serde_json::from_slice(body.as_bytes()).map_err(|error| {
        // Only syntax errors arise here; they name positions, never contents.
        let said = error.to_string();
        if let Some(place) = said.strip_prefix("recursion limit exceeded") {
            return Error::new(
                ErrorKind::MalformedWebhook,
                format!("the body is nested more than 127 levels deep{place}"),
            );
        }
        Error::new(ErrorKind::MalformedWebhook, format!("the body is not JSON: {error}"))
    })?;
    Ok(event(tree))
}

fn event(tree: Tree<'_>) -> WebhookEvent {
    let mut map = match tree {
        Tree::Object(map) => map,
        other => {
            return WebhookEvent {
                kind: WebhookKind::Unknown,
                api_version: None,
                account_id: None,
                time: None,
                extra: other.into(),
            };
        }
    };
    let account_id = text(&mut map, "account_id").map(Into::into);
    let time = int(&mut map, "time");
    let (kind, api_version) = if map.get("message").is_some_and(Tree::is_object) {
        let kind = object(&mut map, "message", |m| WebhookKind::Message(Box::new(message_v2(m))));
        (kind, HookVersion::V2)
    } else if map.get("action").is_some_and(Tree::is_object) {
        (object(&mut map, "action", action).flatten(), HookVersion::V2)
    } else if map.get("receiver").and_then(Tree::as_str).is_some() {
        (Some(WebhookKind::Message(Box::new(message_v1(&mut map)))), HookVersion::V1)
    } else {
        (None, HookVersion::V2)
    };
    WebhookEvent {
        api_version: kind.is_some().then_some(api_version),
        kind: kind.unwrap_or(WebhookKind::Unknown),
        account_id,
        time,
        extra: if map.is_empty() { Value::Null } else { Value::Object(map.into_map()) },
    }
}

fn action(action: &mut Object<'_>) -> Option<WebhookKind> {
    // The field table of the typing hook has the user one level higher than its example.
    if action.get("typing").is_some_and(Tree::is_object) {
        let mut event = object(action, "typing", typing)?;
        if event.user_ref_id.is_none() {
            event.user_ref_id = user(action).map(Into::into);
        }
        Some(WebhookKind::Typing(event))
    } else if action.get("reaction").is_some_and(Tree::is_object) {
        let mut event = object(action, "reaction", reaction)?;
        if event.user_ref_id.is_none() {
            event.user_ref_id = user(action).map(Into::into);
        }
        Some(WebhookKind::Reaction(event))
    } else {
        None
    }
}

fn typing(map: &mut Object<'_>) -> TypingEvent {
    let (conversation_id, conversation_ref_id) = both_ids(map, "conversation");
    TypingEvent {
        conversation_id: conversation_id.map(Into::into),
        conversation_ref_id: conversation_ref_id.map(Into::into),
        user_ref_id: user(map).map(Into::into),
        expired_at: int(map, "expired_at"),
        post_id: text(map, "post_id"),
    }
}

fn reaction(map: &mut Object<'_>) -> ReactionEvent {
    let (conversation_id, conversation_ref_id) = both_ids(map, "conversation");
    let (message_id, mut message_ref_id) = both_ids(map, "message");
    // The field table has `message.id`, the example `msgid`. Of two different ids the former is
    // surely amoCRM's, and the other stays.
    if message_ref_id.is_none() || map.get("msgid").and_then(Tree::as_str) == message_ref_id.as_deref() {
        message_ref_id = text(map, "msgid");
    }
    ReactionEvent {
        conversation_id: conversation_id.map(Into::into),
        conversation_ref_id: conversation_ref_id.map(Into::into),
        user_ref_id: user(map).map(Into::into),
        message_id: message_id.map(Into::into),
        message_ref_id: message_ref_id.map(Into::into),
        reaction_type: text(map, "type").unwrap_or_default(),
        emoji: text(map, "emoji"),
    }
}

fn message_v2(map: &mut Object<'_>) -> MessageEvent {
    let (conversation_id, conversation_ref_id) = both_ids(map, "conversation");
    let mut event = object(map, "message", content).unwrap_or_default();
    event.conversation_id = conversation_id.map(Into::into);
    event.conversation_ref_id = conversation_ref_id.map(Into::into);
    event.timestamp = int(map, "timestamp");
    event.msec_timestamp = int(map, "msec_timestamp");
    event.sender = object(map, "sender", participant);
    event.receiver = object(map, "receiver", participant);
    event.source_external_id = object(map, "source", |source| text(source, "external_id")).flatten();
    event
}

fn message_v1(map: &mut Object<'_>) -> MessageEvent {
    let conversation_id = text(map, "conversation_id").map(Into::into);
    let receiver =
        text(map, "receiver").map(|id| Participant { user_id: Some(id.into()), ..Participant::default() });
    let timestamp = int(map, "timestamp");
    let msec_timestamp = int(map, "msec_timestamp");
    MessageEvent { conversation_id, timestamp, msec_timestamp, receiver, ..content(map) }
}

/// The fields of a message itself; v1 has them at the top, v2 in `message.message`.
fn content(map: &mut Object<'_>) -> MessageEvent {
    MessageEvent {
        message_ref_id: text(map, "id").map(Into::into),
        message_id: text(map, "client_id").map(Into::into),
        message_type: text(map, "type").unwrap_or_default(),
        text: text(map, "text").unwrap_or_default(),
        media: text(map, "media"),
        thumbnail: text(map, "thumbnail"),
        file_name: text(map, "file_name"),
        file_size: int(map, "file_size").filter(|size| *size != 0),
        media_group_id: text(map, "media_group_id"),
        tag: text(map, "tag"),
        markup: typed(map, "markup"),
        template: typed(map, "template"),
        reply_to: object(map, "reply_to", |reply| object(reply, "message", embedded)).flatten(),
        forwards: object(map, "forwards", forwards).flatten(),
        post: typed(map, "post"),
        ..MessageEvent::default()
    }
}

fn forwards(map: &mut Object<'_>) -> Option<Forwards> {
    if !matches!(map.get("messages")?, Tree::List(all) if all.iter().all(Tree::is_object)) {
        return None;
    }
    let Some(Tree::List(messages)) = map.remove("messages") else {
        return None;
    };
    let messages = messages.into_iter().filter_map(|message| match message {
        Tree::Object(mut message) => Some(embedded(&mut message)),
        _ => None,
    });
    Some(Forwards {
        messages: messages.collect(),
        conversation_id: text(map, "conversation_id").map(Into::into),
        conversation_ref_id: text(map, "conversation_ref_id").map(Into::into),
    })
}

fn embedded(map: &mut Object<'_>) -> EmbeddedMessage {
    EmbeddedMessage {
        message_id: text(map, "msgid").or_else(|| text(map, "client_id")).map(Into::into),
        message_ref_id: text(map, "id").map(Into::into),
        message_type: text(map, "type").unwrap_or_default(),
        text: text(map, "text").unwrap_or_default(),
        media: text(map, "media"),
        thumbnail: text(map, "thumbnail"),
        file_name: text(map, "file_name"),
        file_size: int(map, "file_size").filter(|size| *size != 0),
        timestamp: int(map, "timestamp"),
        msec_timestamp: int(map, "msec_timestamp"),
        sender: object(map, "sender", participant),
        receiver: object(map, "receiver", participant),
        extra: std::mem::take(map).into_map(),
    }
}

/// `client_id` (ours) and `id` (amoCRM's) of the object at `key`.
fn both_ids(map: &mut Object<'_>, key: &str) -> (Option<String>, Option<String>) {
    object(map, key, |inner| (text(inner, "client_id"), text(inner, "id"))).unwrap_or_default()
}

/// amoCRM's id of the user, the only one that typing and reactions have.
fn user(map: &mut Object<'_>) -> Option<String> {
    object(map, "user", |user| text(user, "id")).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(value: &Value) -> WebhookEvent {
        parse_webhook(VerifiedBody::trust(value.to_string().as_bytes())).expect("JSON")
    }

    #[test]
    fn what_is_not_understood_stays_in_its_place() {
        let event = parse(&json!({
            "account_id": "a", "time": 5, "new": [1],
            "message": {
                "conversation": {"id": "C", "client_id": "c", "title": "x"},
                "message": {"id": "M", "type": "hologram", "text": "t", "file_size": "12", "markup": "odd", "depth": 3},
                "sender": {"id": 7},
            }
        }));
        assert_eq!(
            event.extra,
            json!({"new": [1], "message": {"conversation": {"title": "x"},
            "message": {"markup": "odd", "depth": 3}}})
        );
        let WebhookKind::Message(message) = event.kind else { panic!("a message") };
        assert_eq!(message.message_type, "hologram");
        assert_eq!(message.file_size, Some(12));
        assert_eq!(message.sender.and_then(|s| s.user_ref_id), Some("7".into()));
    }

    #[test]
    fn both_spellings_of_typing_and_reaction_are_read() {
        for body in [
            json!({"action": {"typing": {"user": {"id": "u"}, "conversation": {"id": "C"}}}}),
            json!({"action": {"user": {"id": "u"}, "typing": {"conversation": {"id": "C"}}}}),
        ] {
            let event = parse(&body);
            assert!(event.extra.is_null(), "{}", event.extra);
            let WebhookKind::Typing(typing) = event.kind else { panic!("typing") };
            assert_eq!(typing.user_ref_id, Some("u".into()));
        }
        for body in [
            json!({"action": {"reaction": {"type": "react", "msgid": "M"}}}),
            json!({"action": {"reaction": {"type": "react", "message": {"id": "M"}}}}),
        ] {
            assert_eq!(parse(&body).message_ref_id(), Some(&"M".into()));
        }
    }

    #[test]
    fn a_chat_that_only_the_crm_knows_was_begun_there() {
        for (body, first) in [
            (json!({"message": {"conversation": {"id": "C"}, "receiver": {"id": "U", "phone": "+1"}}}), true),
            (json!({"message": {"conversation": {"id": "C", "client_id": "c"}}}), false),
            (json!({"receiver": "u", "conversation_id": "c"}), false),
        ] {
            let WebhookKind::Message(message) = parse(&body).kind else { panic!("a message") };
            assert_eq!(message.writes_first(), first, "{body}");
        }
    }

    #[test]
    fn the_shape_tells_the_version() {
        for (body, version) in [
            (json!({"message": {"message": {"id": "M"}}}), Some(HookVersion::V2)),
            (json!({"account_id": "a", "receiver": "u"}), Some(HookVersion::V1)),
            (json!({"action": {"typing": {}}}), Some(HookVersion::V2)),
            (json!({"action": {"dance": {}}}), None),
        ] {
            assert_eq!(parse(&body).api_version, version, "{body}");
        }
    }

    #[test]
    fn no_id_is_dropped_or_rounded() {
        let event = parse(&json!({"action": {
            "reaction": {"msgid": "m", "message": {"id": "M"}, "user": {"id": 1.5, "client_id": "u"}}
        }}));
        assert_eq!(event.message_ref_id(), Some(&"M".into()));
        assert_eq!(
            event.extra,
            json!({"action": {"reaction": {"msgid": "m", "user": {"id": 1.5, "client_id": "u"}}}})
        );
        let both = parse(&json!({"action": {"reaction": {"msgid": "M", "message": {"id": "M"}}}}));
        assert_eq!((both.message_ref_id(), &both.extra), (Some(&"M".into()), &Value::Null));
    }

    #[test]
    fn json_of_another_shape_is_unknown_and_broken_json_names_its_place() {
        for body in
            [json!([1]), json!("x"), json!({}), json!({"message": 1}), json!({"action": {"dance": {}}})]
        {
            assert_eq!(parse(&body).kind.name(), "unknown");
        }
        let error = parse_webhook(VerifiedBody::trust(b"{\"a\":1,}")).expect_err("broken");
        assert_eq!(error.kind(), ErrorKind::MalformedWebhook);
        assert!(error.to_string().ends_with("at line 1 column 8"), "{error}");
        assert!(parse_webhook(VerifiedBody::trust(b"\"\xff\"")).is_err());
        assert!(
            parse_webhook(VerifiedBody::trust("[".repeat(100_000).as_bytes())).is_err(),
            "depth is bounded"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_webhook(VerifiedBody::trust(&body));
        }

        #[test]
        fn any_value_at_any_field_parses(
            field in prop::sample::select(vec!["id", "type", "text", "markup", "template", "reply_to", "forwards", "post", "file_size"]),
            value in prop::sample::select(vec![json!(null), json!(1.5), json!([]), json!({}), json!([{}]), json!({"messages": [1]}), json!({"message": {}})]),
        ) {
            let body = json!({"message": {"message": {field: value.clone()}}});
            let event = parse(&body);
            prop_assert_eq!(event.kind.name(), "message");
        }
    }
}
