//! What clients in live use send and the service takes although its pages do not have it, put into
//! the documented form before it is read. Those clients run against the sandbox in `tests/foreign`.

use serde_json::{Map, Value};

/// A message or an edit. Says whether anything was changed, and notes it for the journal.
pub(super) fn message(body: &mut Value, notes: &mut Vec<String>) -> bool {
    let before = notes.len();
    let Some(payload) = body.get_mut("payload") else { return false };
    // amojowrapper names a receiver by the id alone.
    if let Some(receiver) = payload.get_mut("receiver").and_then(Value::as_object_mut)
        && name_by_id(receiver)
    {
        notes.push("payload.receiver.name is required by the pages; the id was taken".to_owned());
    }
    // amotop describes a quoted picture together with its address.
    for quoted in ["/reply_to/message", "/forwards/messages/0"] {
        if let Some(fields) = payload.pointer_mut(quoted).and_then(Value::as_object_mut)
            && fields.shift_remove("media").is_some()
        {
            notes.push(format!(
                "payload{}.media is not a field of a quoted message and was ignored",
                quoted.replace('/', ".")
            ));
        }
    }
    notes.len() > before
}

/// The request for a chat. amotop gives only amoCRM's id of a participant, as older pages had it.
/// Gives that id, by which alone the answer then names the participant.
pub(super) fn create_chat(body: &mut Value, notes: &mut Vec<String>) -> Option<String> {
    let user = body.get_mut("user").and_then(Value::as_object_mut)?;
    if user.contains_key("id") {
        return None;
    }
    let id = match user.shift_remove("ref_id")? {
        Value::String(id) if !id.is_empty() => id,
        _ => return None,
    };
    user.insert("id".into(), Value::String(id.clone()));
    name_by_id(user);
    notes.push("user.ref_id went from the pages in 2025; it was taken for the participant".to_owned());
    Some(id)
}

fn name_by_id(person: &mut Map<String, Value>) -> bool {
    if !person.contains_key("name")
        && let Some(id) = person.get("id").cloned()
    {
        person.insert("name".into(), id);
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_documented_stays_as_it_is() {
        for body in [
            json!({"payload": {"receiver": {"id": "u", "name": "Anna"}, "reply_to": {"message": {"id": "M"}}}}),
            json!({"payload": {"receiver": "odd", "reply_to": [], "forwards": {"messages": []}}}),
            json!({"payload": 7}),
            json!([]),
        ] {
            let mut read = body.clone();
            message(&mut read, &mut Vec::new());
            assert_eq!(read, body);
        }
        for body in [
            json!({"user": {"id": "u", "name": "Anna", "ref_id": "U"}}),
            json!({"user": {"name": "Anna"}}),
            json!({"user": 7}),
        ] {
            let mut read = body.clone();
            assert_eq!((create_chat(&mut read, &mut Vec::new()), read), (None, body));
        }
    }

    #[test]
    fn live_clients_are_understood() {
        let mut read = json!({"payload": {"receiver": {"id": "u"}, "reply_to": {"message": {"media": "m"}}}});
        message(&mut read, &mut Vec::new());
        assert_eq!(
            read,
            json!({"payload": {"receiver": {"id": "u", "name": "u"}, "reply_to": {"message": {}}}})
        );
        let mut read = json!({"user": {"ref_id": "U"}});
        assert_eq!(create_chat(&mut read, &mut Vec::new()), Some("U".to_owned()));
        assert_eq!(read, json!({"user": {"id": "U", "name": "U"}}));
    }
}
