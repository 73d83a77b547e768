//! Reading and writing requests in the vendor's JSON: every field has its type, and none is unknown.
//!
//! [`wire!`] makes a struct of an object's fields. What serde derives would be as strict, but comes to
//! more code than all the rest of the crate, and a C library without the channel has to be small.

use crate::error::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

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
}

impl From<Problem> for Error {
    fn from(Problem { path, rule }: Problem) -> Self {
        if path.is_empty() {
            return Error::new(ErrorKind::InvalidArgument, format!("the request {rule}"));
        }
        Error::invalid(path, rule)
    }
}

/// What can stand in a field.
pub(crate) trait Field: Sized {
    fn read(value: Value) -> Result<Self, Problem>;

    /// What it is where there is no such field.
    fn absent() -> Result<Self, Problem> {
        Err(Problem::new("is required"))
    }

    /// As it is written; nothing leaves the field out.
    fn write(self) -> Option<Value>;
}

/// May be left out, and so may be `null`.
impl<T: Field> Field for Option<T> {
    fn read(value: Value) -> Result<Self, Problem> {
        if value.is_null() { Ok(None) } else { T::read(value).map(Some) }
    }

    fn absent() -> Result<Self, Problem> {
        Ok(None)
    }

    fn write(self) -> Option<Value> {
        self.and_then(T::write)
    }
}

impl Field for String {
    fn read(value: Value) -> Result<Self, Problem> {
        match value {
            Value::String(text) => Ok(text),
            _ => Err(Problem::new("must be a string")),
        }
    }

    fn write(self) -> Option<Value> {
        Some(self.into())
    }
}

impl Field for bool {
    fn read(value: Value) -> Result<Self, Problem> {
        value.as_bool().ok_or(Problem::new("must be true or false"))
    }

    fn write(self) -> Option<Value> {
        Some(self.into())
    }
}

impl Field for f64 {
    fn read(value: Value) -> Result<Self, Problem> {
        value.as_f64().ok_or(Problem::new("must be a number"))
    }

    fn write(self) -> Option<Value> {
        Some(self.into())
    }
}

macro_rules! whole_numbers {
    ($($type:ty, $get:ident, $rule:literal;)*) => {$(
        impl Field for $type {
            fn read(value: Value) -> Result<Self, Problem> {
                value.$get().and_then(|number| number.try_into().ok()).ok_or(Problem::new($rule))
            }

            fn write(self) -> Option<Value> {
                Some(self.into())
            }
        }
    )*};
}

whole_numbers! {
    i64, as_i64, "must be a whole number";
    u64, as_u64, "must be a whole number from 0 on";
    u32, as_u64, "must be a whole number from 0 to 4294967295";
    u16, as_u64, "must be a whole number from 0 to 65535";
}

impl<T: Field> Field for Vec<T> {
    fn read(value: Value) -> Result<Self, Problem> {
        let Value::Array(items) = value else { return Err(Problem::new("must be a list")) };
        let items = items.into_iter().enumerate();
        items.map(|(at, item)| T::read(item).map_err(|problem| problem.within(&format!("[{at}]")))).collect()
    }

    fn write(self) -> Option<Value> {
        Some(self.into_iter().filter_map(T::write).collect())
    }
}

/// The fields of an object, to be taken out one by one.
pub(crate) struct Object(Map<String, Value>);

impl Object {
    pub(crate) fn open(value: Value) -> Result<Self, Problem> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(Problem::new("must be an object")),
        }
    }

    /// Refuses a field of another name, so that a typing error does not lose one.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), Problem> {
        match self.0.keys().find(|name| !names.contains(&name.as_str())) {
            Some(unknown) => Err(Problem::new("is not a field of this request").within(unknown)),
            None => Ok(()),
        }
    }

    pub(crate) fn take<T: Field>(&mut self, name: &str) -> Result<T, Problem> {
        let read = self.0.shift_remove(name).map_or_else(T::absent, T::read);
        read.map_err(|problem| problem.within(name))
    }

    /// What was not taken.
    pub(crate) fn rest(self) -> Map<String, Value> {
        self.0
    }
}

pub(crate) fn put(fields: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), value);
    }
}

/// Reads a request's JSON as a tree.
pub(crate) fn parse(json: &[u8]) -> Result<Value> {
    serde_json::from_slice(json).map_err(|error| {
        // Only syntax errors arise here; they name positions, never contents.
        Error::new(ErrorKind::InvalidArgument, format!("the request is not JSON: {error}"))
    })
}

/// Reads a request's JSON.
pub(crate) fn from_slice<T: Field>(json: &[u8]) -> Result<T> {
    Ok(T::read(parse(json)?)?)
}

/// Writes a request's JSON, compact.
pub(crate) fn to_vec(request: impl Field) -> Vec<u8> {
    bytes(&request.write().unwrap_or_default())
}

/// Compact JSON; the one place where a request becomes bytes.
pub(crate) fn bytes(request: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(request).expect("maps with text keys and finite numbers can be written")
}

/// Structs of which each field is one of the object in JSON, under its own name or the one after `as`, in this
/// order.
macro_rules! wire {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident $(as $key:literal)?: $type:ty,)*
    })*) => {$(
        $(#[$meta])*
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type,)*
        }

        impl $crate::strict::Field for $name {
            fn read(value: serde_json::Value) -> Result<Self, $crate::strict::Problem> {
                let mut object = $crate::strict::Object::open(value)?;
                object.only(&[$(wire!(@name $field $($key)?),)*])?;
                Ok(Self { $($field: object.take(wire!(@name $field $($key)?))?,)* })
            }

            fn write(self) -> Option<serde_json::Value> {
                let mut fields = serde_json::Map::new();
                $($crate::strict::put(&mut fields, wire!(@name $field $($key)?), self.$field.write());)*
                Some(fields.into())
            }
        }
    )*};
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $key:literal) => { $key };
}
pub(crate) use wire;
