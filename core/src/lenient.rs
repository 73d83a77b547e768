//! Reading what the service says: webhooks and answers.
//!
//! Every field is taken out of the JSON only where it has the expected type; what stays behind is
//! kept as it came. So nothing is lost, and no surprise in one field spoils the others.

pub(crate) mod field;

use crate::strict::Field;
use crate::webhook::Participant;
use serde_json::{Map, Value};

/// Takes the object at `key` apart; what is left of it stays.
pub(crate) fn object<T>(
    map: &mut Map<String, Value>,
    key: &str,
    take: impl FnOnce(&mut Map<String, Value>) -> T,
) -> Option<T> {
    let inner = map.get_mut(key)?.as_object_mut()?;
    let taken = take(inner);
    if inner.is_empty() {
        map.shift_remove(key);
    }
    Some(taken)
}

/// Takes a string, or a whole number as one; `""` and `null` mean that there is none.
pub(crate) fn text(map: &mut Map<String, Value>, key: &str) -> Option<String> {
    match map.get(key)? {
        Value::String(_) | Value::Null => {}
        // What is read as a floating-point number may have lost digits.
        Value::Number(number) if !number.is_f64() => {}
        _ => return None,
    }
    match map.shift_remove(key)? {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Takes a whole number, or one in a string.
pub(crate) fn int(map: &mut Map<String, Value>, key: &str) -> Option<i64> {
    let value = map.get(key)?;
    if value.is_null() {
        map.shift_remove(key);
        return None;
    }
    let number = whole_number(value)?;
    map.shift_remove(key);
    Some(number)
}

/// A whole number, as one or as text.
fn whole_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Takes a whole value where it has the documented shape.
pub(crate) fn typed<T: Field>(map: &mut Map<String, Value>, key: &str) -> Option<T> {
    let parsed = Option::read(map.get(key)?.clone()).ok()?;
    map.shift_remove(key);
    parsed
}

/// Takes a person apart, as webhooks, the history and create-chat write one.
pub(crate) fn participant(map: &mut Map<String, Value>) -> Participant {
    Participant {
        user_id: text(map, "client_id").map(Into::into),
        user_ref_id: text(map, "id").map(Into::into),
        name: text(map, "name"),
        phone: text(map, "phone"),
        email: text(map, "email"),
        avatar: text(map, "avatar"),
    }
}
