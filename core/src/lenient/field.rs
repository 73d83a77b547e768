//! Single fields of types that serde reads, for numbers and flags as the CRM writes them: JSON in
//! answers, text in form-encoded webhooks. A field of another shape is an error.

use super::{Object, Tree, whole_number};
use serde::{Deserialize, Deserializer, de::Error};
use std::collections::BTreeMap;

/// A whole number, as one or as text. Absent, `null` and `""` are none.
pub(crate) fn int<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    match Tree::deserialize(from)? {
        Tree::Null => Ok(None),
        Tree::Text(text) if text.is_empty() => Ok(None),
        value => whole_number(&value).map(Some).ok_or_else(|| D::Error::custom("not a whole number")),
    }
}

/// A whole number that must be there.
pub(crate) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    int(from)?.ok_or_else(|| D::Error::custom("not a whole number"))
}

/// A flag, as `true`, `1` or `"1"`. Absent, `null` and `""` are none.
pub(crate) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    Ok(match Tree::deserialize(from)? {
        Tree::Null => None,
        Tree::Bool(flag) => Some(flag),
        Tree::Text(text) => match &*text {
            "" => None,
            "0" | "false" => Some(false),
            "1" | "true" => Some(true),
            _ => return Err(D::Error::custom("not a flag")),
        },
        value => match whole_number(&value) {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => return Err(D::Error::custom("not a flag")),
        },
    })
}

/// Text, or a number in its place.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    match Tree::deserialize(from)? {
        Tree::Null => Ok(None),
        Tree::Text(text) => Ok(Some(text.into_owned())),
        Tree::Number(number) => Ok(Some(number.to_string())),
        _ => Err(D::Error::custom("not text")),
    }
}

/// A map, which PHP writes as `[]` when it is empty.
pub(crate) fn map<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    match Tree::deserialize(from)? {
        Tree::Null => Ok(BTreeMap::new()),
        Tree::List(items) if items.is_empty() => Ok(BTreeMap::new()),
        Tree::Object(map) => texts(map).ok_or_else(|| D::Error::custom("not a map of texts")),
        _ => Err(D::Error::custom("not a map")),
    }
}

fn texts(map: Object<'_>) -> Option<BTreeMap<String, String>> {
    map.into_map()
        .into_iter()
        .map(|(key, value)| match value {
            serde_json::Value::String(text) => Some((key, text)),
            _ => None,
        })
        .collect()
}
