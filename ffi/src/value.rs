//! Answers, items and lists: what has many fields and grows with the vendor's documentation.

use crate::boundary::value;
use crate::slice::amochats_slice;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// An answer, an item or a list: a tree of named values, as JSON has them, with the stable names
/// that the command line and Python show.
///
/// One that a call wrote belongs to the caller, who frees it with amochats_value_free(). One that
/// was asked of another object (its type is const) ends with that object. Never changes: any thread
/// may read it. Every function takes NULL and answers that there is nothing, so that questions can be
/// put into each other.
pub struct amochats_value {
    node: Node,
    json: OnceLock<String>,
}

enum Node {
    Leaf(Value),
    List(Vec<amochats_value>),
    Map(Vec<(String, amochats_value)>),
}

impl From<Value> for amochats_value {
    fn from(value: Value) -> Self {
        let node = match value {
            Value::Array(list) => Node::List(list.into_iter().map(Self::from).collect()),
            Value::Object(map) => {
                Node::Map(map.into_iter().map(|(name, value)| (name, value.into())).collect())
            }
            leaf => Node::Leaf(leaf),
        };
        Self { node, json: OnceLock::new() }
    }
}

impl Serialize for amochats_value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.node {
            Node::Leaf(leaf) => leaf.serialize(serializer),
            Node::List(list) => {
                let mut seq = serializer.serialize_seq(Some(list.len()))?;
                for one in list {
                    seq.serialize_element(one)?;
                }
                seq.end()
            }
            Node::Map(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, field) in fields {
                    map.serialize_entry(name, field)?;
                }
                map.end()
            }
        }
    }
}

impl amochats_value {
    #[cfg(feature = "runtime")]
    pub(crate) fn into_raw(value: Value) -> *mut Self {
        Box::into_raw(Box::new(value.into()))
    }

    pub(crate) fn json(&self) -> &str {
        self.json.get_or_init(|| serde_json::to_string(self).expect("JSON values can be written as JSON"))
    }

    fn leaf(&self) -> Option<&Value> {
        match &self.node {
            Node::Leaf(leaf) => Some(leaf),
            _ => None,
        }
    }
}

/// Returns the field of this name; NULL where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_value_get<'a>(
    object: Option<&'a amochats_value>,
    name: amochats_slice<'_>,
) -> Option<&'a amochats_value> {
    value(None, || {
        let name = name.text("name").ok()?;
        match &object?.node {
            Node::Map(fields) => fields.iter().find(|(known, _)| known == name).map(|(_, field)| field),
            _ => None,
        }
    })
}

/// Returns how many elements a list or fields an object has; 0 for anything else.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_value_count(list: Option<&amochats_value>) -> usize {
    value(0, || match list.map(|list| &list.node) {
        Some(Node::List(list)) => list.len(),
        Some(Node::Map(fields)) => fields.len(),
        _ => 0,
    })
}

/// Returns an element of a list, or a field of an object, by its place from 0 on; NULL beyond the end.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_value_at(list: Option<&amochats_value>, place: usize) -> Option<&amochats_value> {
    value(None, || match &list?.node {
        Node::List(list) => list.get(place),
        Node::Map(fields) => fields.get(place).map(|(_, field)| field),
        Node::Leaf(_) => None,
    })
}

/// Returns the name of an object's field by its place from 0 on; nothing beyond the end.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_value_name_at(
    object: Option<&amochats_value>,
    place: usize,
) -> amochats_slice<'_> {
    value(amochats_slice::ABSENT, || match object.map(|object| &object.node) {
        Some(Node::Map(fields)) => fields.get(place).map(|(name, _)| name).into(),
        _ => amochats_slice::ABSENT,
    })
}

/// Returns the text; nothing where it is none.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_value_text(text: Option<&amochats_value>) -> amochats_slice<'_> {
    value(amochats_slice::ABSENT, || text.and_then(|text| text.leaf()?.as_str()).into())
}

/// Writes a whole number. Returns whether it is one.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_value_integer(
    number: Option<&amochats_value>,
    integer: Option<&mut MaybeUninit<i64>>,
) -> bool {
    value(false, || write(number.and_then(|number| number.leaf()?.as_i64()), integer))
}

/// Writes a number. Returns whether it is one.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_value_real(
    number: Option<&amochats_value>,
    real: Option<&mut MaybeUninit<f64>>,
) -> bool {
    value(false, || write(number.and_then(|number| number.leaf()?.as_f64()), real))
}

/// Writes whether it is true. Returns whether it is true or false at all.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_value_boolean(
    truth: Option<&amochats_value>,
    boolean: Option<&mut MaybeUninit<bool>>,
) -> bool {
    value(false, || write(truth.and_then(|truth| truth.leaf()?.as_bool()), boolean))
}

fn write<T>(found: Option<T>, output: Option<&mut MaybeUninit<T>>) -> bool {
    let is_there = found.is_some();
    if let (Some(found), Some(output)) = (found, output) {
        output.write(found);
    }
    is_there
}

/// Returns it as JSON, with all that is in it; nothing for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_value_json(any: Option<&amochats_value>) -> amochats_slice<'_> {
    value(amochats_slice::ABSENT, || any.map(amochats_value::json).into())
}

/// Frees a value that belongs to the caller; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_value_free(owned: Option<Box<amochats_value>>) {
    value((), || drop(owned));
}
