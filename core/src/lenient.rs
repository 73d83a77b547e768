//! Reading what the service says: webhooks and answers.
//!
//! Every field is taken out of the JSON only where it has the expected type; what stays behind is
//! kept as it came. So nothing is lost, and no surprise in one field spoils the others.

pub(crate) mod field;
mod tree;

pub(crate) use tree::{Object, Tree};

use crate::strict::Field;
use crate::webhook::Participant;

/// Takes the object at `key` apart; what is left of it stays.
pub(crate) fn object<'a, T>(
    map: &mut Object<'a>,
    key: &str,
    take: impl FnOnce(&mut Object<'a>) -> T,
) -> Option<T> {
    let Tree::Object(inner) = map.get_mut(key)? else { return None };
    let taken = take(inner);
    if inner.is_empty() {
        map.remove(key);
    }
    Some(taken)
}

/// Takes a string, or a whole number as one; `""` and `null` mean that there is none.
pub(crate) fn text(map: &mut Object<'_>, key: &str) -> Option<String> {
    match map.get(key)? {
        Tree::Text(_) | Tree::Null => {}
        // What is read as a floating-point number may have lost digits.
        Tree::Number(number) if !number.is_f64() => {}
        _ => return None,
    }
    match map.remove(key)? {
        Tree::Text(text) if !text.is_empty() => Some(text.into_owned()),
        Tree::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Takes a whole number, or one in a string.
pub(crate) fn int(map: &mut Object<'_>, key: &str) -> Option<i64> {
    let number = match map.get(key)? {
        Tree::Null => None,
        value => Some(whole_number(value)?),
    };
    map.remove(key);
    number
}

/// A whole number, as one or as text.
fn whole_number(value: &Tree<'_>) -> Option<i64> {
    match value {
        Tree::Number(number) => number.as_i64(),
        Tree::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// Takes a whole value where it has the documented shape.
pub(crate) fn typed<T: Field>(map: &mut Object<'_>, key: &str) -> Option<T> {
    let parsed = Option::read(map.get(key)?.clone().into()).ok()?;
    map.remove(key);
    parsed
}

/// Takes a person apart, as webhooks, the history and create-chat write one.
pub(crate) fn participant(map: &mut Object<'_>) -> Participant {
    Participant {
        user_id: text(map, "client_id").map(Into::into),
        user_ref_id: text(map, "id").map(Into::into),
        name: text(map, "name"),
        phone: text(map, "phone"),
        email: text(map, "email"),
        avatar: text(map, "avatar"),
    }
}
