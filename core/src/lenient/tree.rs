//! JSON as it stands in a body, borrowed from it where it can be. Most of a webhook is taken out of it
//! at once, so that only what is kept is copied.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::fmt;

#[derive(Clone)]
pub(crate) enum Tree<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    Object(Object<'a>),
}

/// The fields of an object in their order. Of several with one name the last counts, in the place of
/// the first, as for [`Value`].
#[derive(Clone, Default)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Tree<'a>)>);

impl Tree<'_> {
    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl<'a> Object<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<&Tree<'a>> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Tree<'a>> {
        self.0.iter_mut().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Tree<'a>> {
        let last = self.0.iter().rposition(|(name, _)| name == key)?;
        let (_, value) = self.0.remove(last);
        self.0.retain(|(name, _)| name != key);
        Some(value)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left, for keeps.
    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.0.into_iter().map(|(name, value)| (name.into_owned(), value.into())).collect()
    }
}

impl From<Tree<'_>> for Value {
    fn from(tree: Tree<'_>) -> Self {
        match tree {
            Tree::Null => Self::Null,
            Tree::Bool(flag) => Self::Bool(flag),
            Tree::Number(number) => Self::Number(number),
            Tree::Text(text) => Self::String(text.into_owned()),
            Tree::List(items) => items.into_iter().collect(),
            Tree::Object(fields) => Self::Object(fields.into_map()),
        }
    }
}

impl<'de> Deserialize<'de> for Tree<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Grower)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Tree::deserialize(deserializer)? {
            Tree::Object(fields) => Ok(fields),
            _ => Err(D::Error::custom("not an object")),
        }
    }
}

struct Grower;

impl<'de> Visitor<'de> for Grower {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree<'de>, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree<'de>, E> {
        Ok(Tree::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree<'de>, E> {
        Ok(Number::from_f64(number).map_or(Tree::Null, Tree::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(text.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Tree<'de>, A::Error> {
        let mut object = Vec::new();
        while let Some((Name(name), value)) = fields.next_entry()? {
            object.push((name, value));
        }
        Ok(Tree::Object(Object(object)))
    }
}

/// A field's name; serde borrows no `Cow` unless it is told to.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_what_the_json_library_reads() {
        for json in [
            r#"{"z":{"a":[null,true,-1,18446744073709551615,1.5,1e400,"\n","я\u0436",{}]},"a":0.1}"#,
            r#"{"a":1,"b":{"c":1,"c":2},"\u0061":3}"#,
            r#"{"a":1e308,"b":123456789012345678901234567890}"#,
            "[]",
            "\"\u{7f}\"",
            "[1,",
            "\"\\ud800\"",
        ] {
            let read = serde_json::from_str::<Tree<'_>>(json).map(|tree| Value::from(tree).to_string());
            let expected = serde_json::from_str::<Value>(json).map(|value| value.to_string());
            assert_eq!(read.map_err(|e| e.to_string()), expected.map_err(|e| e.to_string()), "{json}");
        }
    }

    #[test]
    fn text_without_escapes_is_not_copied() {
        let Ok(Tree::Object(fields)) = serde_json::from_str(r#"{"a":"b"}"#) else { panic!("an object") };
        assert!(matches!(fields.0[..], [(Cow::Borrowed("a"), Tree::Text(Cow::Borrowed("b")))]));
    }

    #[test]
    fn a_field_that_stands_several_times_goes_at_once() {
        let json = format!("{{\"b\":0,{}\"a\":-1,\"c\":1}}", "\"a\":1,".repeat(100_000));
        let mut fields: Object<'_> = serde_json::from_str(&json).expect("an object");
        assert!(matches!(fields.remove("a"), Some(Tree::Number(last)) if last.as_i64() == Some(-1)));
        assert!(fields.get("a").is_none());
        assert_eq!(Value::from(Tree::Object(fields)).to_string(), r#"{"b":0,"c":1}"#);
    }
}
