//! Objects of JSON with one list of their fields, to read and to write by. Reading is strict: every field
//! has its type, and none is unknown.
//!
//! [`wire!`] makes a struct of such a list, [`serialize!`] and [`deserialize!`] give it to serde. What serde
//! derives would be as strict, but comes to more code than all the rest of the crate, and a C library without the channel
//! has to be small.

use crate::error::{Error, ErrorKind, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

/// Why a value cannot be read, never quoting it. The path of the field at fault grows on the way out.
#[derive(Debug)]
pub(crate) struct Problem {
    path: String,
    rule: &'static str,
}

impl Problem {
    pub(crate) fn new(rule: &'static str) -> Self {
        Self { path: String::new(), rule }
    }

    fn within(mut self, name: &str) -> Self {
        if !self.path.is_empty() && !self.path.starts_with('[') {
            self.path.insert(0, '.');
        }
        self.path.insert_str(0, name);
        self
    }

    fn into_error(self) -> Error {
        let Self { path, rule } = self;
        if path.is_empty() {
            return Error::new(ErrorKind::InvalidArgument, format!("the request {rule}"));
        }
        Error::invalid(path, rule)
    }
}

/// What can stand in a field.
pub(crate) trait Field: Sized {
    fn read(value: Value) -> Result<Self, Problem>;

    /// What it is where it is left out.
    fn absent() -> Result<Self, Problem> {
        Err(Problem::new("is required"))
    }

    /// As it is written; nothing leaves the field out.
    fn write(&self) -> Option<Value>;
}

/// May be left out, and so may be `null`.
impl<T: Field> Field for Option<T> {
    fn read(value: Value) -> Result<Self, Problem> {
        if value.is_null() { Ok(None) } else { T::read(value).map(Some) }
    }

    fn absent() -> Result<Self, Problem> {
        Ok(None)
    }

    fn write(&self) -> Option<Value> {
        self.as_ref()?.write()
    }
}

impl Field for String {
    fn read(value: Value) -> Result<Self, Problem> {
        match value {
            Value::String(text) => Ok(text),
            _ => Err(Problem::new("must be a string")),
        }
    }

    fn write(&self) -> Option<Value> {
        Some(self.clone().into())
    }
}

macro_rules! plain_fields {
    ($($type:ty, $get:ident, $rule:literal;)*) => {$(
        impl Field for $type {
            fn read(value: Value) -> Result<Self, Problem> {
                value.$get().and_then(|plain| plain.try_into().ok()).ok_or(Problem::new($rule))
            }

            fn write(&self) -> Option<Value> {
                Some((*self).into())
            }
        }
    )*};
}

plain_fields! {
    bool, as_bool, "must be true or false";
    f64, as_f64, "must be a number";
    i64, as_i64, "must be a whole number";
    u64, as_u64, "must be a whole number from 0 on";
    u32, as_u64, "must be a whole number from 0 to 4294967295";
    u16, as_u64, "must be a whole number from 0 to 65535";
}

impl<T: Field> Field for Vec<T> {
    fn read(value: Value) -> Result<Self, Problem> {
        let Value::Array(items) = value else { return Err(Problem::new("must be a list")) };
        let mut read = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            read.push(T::read(item).map_err(|problem| problem.within(&format!("[{at}]")))?);
        }
        Ok(read)
    }

    fn write(&self) -> Option<Value> {
        Some(self.iter().filter_map(T::write).collect())
    }
}

/// Whatever the service says.
impl Field for Value {
    fn read(value: Value) -> Result<Self, Problem> {
        Ok(value)
    }

    fn absent() -> Result<Self, Problem> {
        Ok(Value::Null)
    }

    fn write(&self) -> Option<Value> {
        (!self.is_null()).then(|| self.clone())
    }
}

impl Field for Map<String, Value> {
    fn read(value: Value) -> Result<Self, Problem> {
        match value {
            Value::Object(map) => Ok(map),
            _ => Err(Problem::new("must be an object")),
        }
    }

    fn absent() -> Result<Self, Problem> {
        Ok(Map::new())
    }

    fn write(&self) -> Option<Value> {
        (!self.is_empty()).then(|| self.clone().into())
    }
}

/// An object of named fields; [`wire!`] writes both functions from one list.
pub(crate) trait Wire {
    fn read_fields(&mut self, fields: &mut Reader);
    fn write_fields(&self, fields: &mut Writer);
}

/// The fields of an object that are still to be read. Of several that cannot be the first counts.
pub(crate) struct Reader {
    map: Map<String, Value>,
    problem: Option<Problem>,
}

impl Reader {
    pub(crate) fn field<T: Field>(&mut self, name: &str, field: &mut T) {
        match self.map.shift_remove(name).map_or_else(T::absent, T::read) {
            Ok(read) => *field = read,
            Err(problem) => self.note(problem.within(name)),
        }
    }

    /// A list that is left out where it is empty.
    pub(crate) fn list<T: Field>(&mut self, name: &str, field: &mut Vec<T>) {
        let mut list = None;
        self.field(name, &mut list);
        *field = list.unwrap_or_default();
    }

    /// The fields that have no name here.
    pub(crate) fn rest(&mut self, _name: &str, rest: &mut Map<String, Value>) {
        *rest = std::mem::take(&mut self.map);
    }

    fn note(&mut self, problem: Problem) {
        self.problem.get_or_insert(problem);
    }
}

/// The fields of an object that were written, each once.
#[derive(Default)]
pub(crate) struct Writer(Vec<(Cow<'static, str>, Value)>);

impl Writer {
    pub(crate) fn field(&mut self, name: &'static str, field: &impl Field) {
        self.put(name, field.write());
    }

    pub(crate) fn list<T: Field>(&mut self, name: &'static str, field: &[T]) {
        if !field.is_empty() {
            self.put(name, Some(field.iter().filter_map(T::write).collect()));
        }
    }

    pub(crate) fn rest(&mut self, _name: &str, rest: &Map<String, Value>) {
        self.0.extend(rest.iter().map(|(name, value)| (name.clone().into(), value.clone())));
    }

    fn put(&mut self, name: &'static str, value: Option<Value>) {
        if let Some(value) = value {
            self.0.push((name.into(), value));
        }
    }

    pub(crate) fn into_fields(self) -> Vec<(Cow<'static, str>, Value)> {
        self.0
    }

    pub(crate) fn into_value(self) -> Value {
        self.0.into_iter().map(|(name, value)| (name.into_owned(), value)).collect()
    }
}

/// Reads an object. A field of another name is refused, so that a typing error does not lose one.
pub(crate) fn read(object: &mut dyn Wire, value: Value) -> Result<(), Problem> {
    let Value::Object(map) = value else { return Err(Problem::new("must be an object")) };
    let mut fields = Reader { map, problem: None };
    object.read_fields(&mut fields);
    if let Some(unknown) = fields.map.keys().next() {
        return Err(Problem::new("is not a field of this request").within(unknown));
    }
    fields.problem.map_or(Ok(()), Err)
}

/// Writes an object.
pub(crate) fn write(object: &dyn Wire) -> Value {
    let mut fields = Writer::default();
    object.write_fields(&mut fields);
    fields.into_value()
}

/// Reads a request's JSON as a tree.
pub(crate) fn parse(json: &[u8]) -> Result<Value> {
    let tree: Tree = serde_json::from_slice(json).map_err(|error| {
        // Only syntax errors arise here; they name positions, never contents.
        Error::new(ErrorKind::InvalidArgument, format!("the request is not JSON: {error}"))
    })?;
    tree.twice.map_or(Ok(tree.value), |problem| Err(problem.into_error()))
}

/// A tree that knows of a field that stands twice in its object: to take either would be to lose one.
struct Tree {
    value: Value,
    twice: Option<Problem>,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Grower)
    }
}

struct Grower;

macro_rules! leaves {
    ($($visit:ident $type:ty)*) => {$(
        fn $visit<E>(self, leaf: $type) -> Result<Tree, E> {
            Ok(Tree { value: leaf.into(), twice: None })
        }
    )*};
}

impl<'de> Visitor<'de> for Grower {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    leaves! { visit_bool bool visit_i64 i64 visit_u64 u64 visit_f64 f64 visit_str &str visit_string String }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree { value: Value::Null, twice: None })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let (mut list, mut twice) = (Vec::new(), None);
        while let Some(item) = items.next_element::<Tree>()? {
            twice = twice.or(item.twice.map(|problem| problem.within(&format!("[{}]", list.len()))));
            list.push(item.value);
        }
        Ok(Tree { value: list.into(), twice })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Tree, A::Error> {
        let (mut map, mut twice) = (Map::new(), None);
        while let Some((name, field)) = fields.next_entry::<String, Tree>()? {
            twice = twice.or(field.twice.map(|problem| problem.within(&name)));
            if map.contains_key(&name) {
                twice = twice.or(Some(Problem::new("stands twice").within(&name)));
            }
            map.insert(name, field.value);
        }
        Ok(Tree { value: map.into(), twice })
    }
}

/// Reads a request's JSON.
pub(crate) fn from_slice<T: Field>(json: &[u8]) -> Result<T> {
    of_tree(parse(json)?)
}

/// Reads a request from a tree.
pub(crate) fn of_tree<T: Field>(value: Value) -> Result<T> {
    T::read(value).map_err(Problem::into_error)
}

/// Writes a request's JSON, compact.
pub(crate) fn to_vec(request: &dyn Wire) -> Vec<u8> {
    bytes(&write(request))
}

/// Compact JSON; the one place where a request becomes bytes.
pub(crate) fn bytes(request: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(request).expect("maps with text keys and finite numbers can be written")
}

/// Structs of which each field is one of the object in JSON, under its own name or the one after `as`, in this
/// order. `by list` and `by rest` are the ways of [`Reader`] and [`Writer`].
macro_rules! wire {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident $(as $key:literal)? $(by $way:ident)?: $type:ty,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Default)]
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type,)*
        }

        impl $crate::strict::Wire for $name {
            fn read_fields(&mut self, fields: &mut $crate::strict::Reader) {
                $(wire!(@way fields, wire!(@name $field $($key)?), &mut self.$field $(, $way)?);)*
            }

            fn write_fields(&self, fields: &mut $crate::strict::Writer) {
                $(wire!(@way fields, wire!(@name $field $($key)?), &self.$field $(, $way)?);)*
            }
        }

        impl $crate::strict::Field for $name {
            fn read(value: serde_json::Value) -> Result<Self, $crate::strict::Problem> {
                let mut object = Self::default();
                $crate::strict::read(&mut object, value).map(|()| object)
            }

            fn write(&self) -> Option<serde_json::Value> {
                Some($crate::strict::write(self))
            }
        }
    )*};
    (@way $fields:ident, $name:expr, $field:expr) => { $fields.field($name, $field) };
    (@way $fields:ident, $name:expr, $field:expr, $way:ident) => { $fields.$way($name, $field) };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $key:literal) => { $key };
}
pub(crate) use wire;

/// Gives serde what [`wire!`] made.
macro_rules! serialize {
    ($($name:ident)*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&$crate::strict::write(self), serializer)
            }
        }
    )*};
}
pub(crate) use serialize;

/// The same for reading.
macro_rules! deserialize {
    ($($name:ident)*) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(deserializer)?;
                $crate::strict::of_tree(value).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(crate) use deserialize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_stands_twice_is_refused_with_its_path() {
        for (json, path) in [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"b":{"c":[{},{"d":null,"e":2,"d":3}]}}"#, "b.c[1].d"),
            (r#"{"first":{"x":1,"x":2},"second":1,"second":2}"#, "first.x"),
            (r#"{"a":1,"\u0061":2}"#, "a"),
            (r#"[[{"a":1,"a":2}]]"#, "[0][0].a"),
        ] {
            let error = parse(json.as_bytes()).expect_err(json);
            assert_eq!((error.field(), error.kind()), (Some(path), ErrorKind::InvalidArgument), "{json}");
            assert!(error.message().contains("stands twice"), "{error}");
        }
    }

    #[test]
    fn any_other_json_is_read_as_it_stands() {
        for json in [
            r#"{"z":{"a":1},"a":{"a":[null,true,-1,18446744073709551615,1.5,"\n",{}]}}"#,
            "[]",
            "null",
            r#""text""#,
        ] {
            let expected: Value = serde_json::from_str(json).expect(json);
            let read = parse(json.as_bytes()).expect(json);
            assert_eq!((&read, read.to_string()), (&expected, expected.to_string()), "{json}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_err(), "no stack is deep enough");
    }
}
