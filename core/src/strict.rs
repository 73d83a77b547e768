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
pub(crate) trait Field: Default {
    /// Whether the field must be there.
    const REQUIRED: bool = true;

    fn read(&mut self, value: Value) -> Result<(), Problem>;

    /// As it is written; nothing leaves the field out. What was written is gone.
    fn write(&mut self) -> Option<Value>;
}

/// May be left out, and so may be `null`.
impl<T: Field> Field for Option<T> {
    const REQUIRED: bool = false;

    fn read(&mut self, value: Value) -> Result<(), Problem> {
        if value.is_null() { Ok(()) } else { self.insert(T::default()).read(value) }
    }

    fn write(&mut self) -> Option<Value> {
        self.as_mut()?.write()
    }
}

impl Field for String {
    fn read(&mut self, value: Value) -> Result<(), Problem> {
        let Value::String(text) = value else { return Err(Problem::new("must be a string")) };
        *self = text;
        Ok(())
    }

    fn write(&mut self) -> Option<Value> {
        Some(std::mem::take(self).into())
    }
}

macro_rules! plain_fields {
    ($($type:ty, $get:ident, $rule:literal;)*) => {$(
        impl Field for $type {
            fn read(&mut self, value: Value) -> Result<(), Problem> {
                let number = value.$get().and_then(|number| number.try_into().ok());
                *self = number.ok_or(Problem::new($rule))?;
                Ok(())
            }

            fn write(&mut self) -> Option<Value> {
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
    fn read(&mut self, value: Value) -> Result<(), Problem> {
        let Value::Array(items) = value else { return Err(Problem::new("must be a list")) };
        for (at, item) in items.into_iter().enumerate() {
            let mut read = T::default();
            read.read(item).map_err(|problem| problem.within(&format!("[{at}]")))?;
            self.push(read);
        }
        Ok(())
    }

    fn write(&mut self) -> Option<Value> {
        Some(self.iter_mut().filter_map(T::write).collect())
    }
}

/// An object of named fields. One list of them serves to read and to write.
pub(crate) trait Wire {
    fn each(&mut self, fields: &mut Fields);
}

/// The fields of an object on their way, in the one direction or the other.
pub(crate) struct Fields {
    map: Map<String, Value>,
    writing: bool,
    problem: Option<Problem>,
}

impl Fields {
    /// Reads or writes the next field. Of several that cannot be read the first counts.
    pub(crate) fn field<T: Field>(&mut self, name: &str, field: &mut T) {
        if self.writing {
            if let Some(value) = field.write() {
                self.map.insert(name.to_owned(), value);
            }
            return;
        }
        let read = match self.map.shift_remove(name) {
            Some(value) => field.read(value),
            None if T::REQUIRED => Err(Problem::new("is required")),
            None => Ok(()),
        };
        if let Err(problem) = read {
            self.problem.get_or_insert(problem.within(name));
        }
    }
}

/// Reads an object. A field of another name is refused, so that a typing error does not lose one.
pub(crate) fn read(object: &mut dyn Wire, value: Value) -> Result<(), Problem> {
    let Value::Object(map) = value else { return Err(Problem::new("must be an object")) };
    let mut fields = Fields { map, writing: false, problem: None };
    object.each(&mut fields);
    if let Some(unknown) = fields.map.keys().next() {
        return Err(Problem::new("is not a field of this request").within(unknown));
    }
    fields.problem.map_or(Ok(()), Err)
}

/// Writes an object.
pub(crate) fn write(object: &mut dyn Wire) -> Value {
    let mut fields = Fields { map: Map::new(), writing: true, problem: None };
    object.each(&mut fields);
    fields.map.into()
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
    of_tree(parse(json)?)
}

/// Reads a request from a tree.
pub(crate) fn of_tree<T: Field>(value: Value) -> Result<T> {
    let mut request = T::default();
    request.read(value)?;
    Ok(request)
}

/// Writes a request's JSON, compact.
pub(crate) fn to_vec(mut request: impl Wire) -> Vec<u8> {
    bytes(&write(&mut request))
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
        #[derive(Default)]
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type,)*
        }

        impl $crate::strict::Wire for $name {
            fn each(&mut self, fields: &mut $crate::strict::Fields) {
                $(fields.field(wire!(@name $field $($key)?), &mut self.$field);)*
            }
        }

        impl $crate::strict::Field for $name {
            fn read(&mut self, value: serde_json::Value) -> Result<(), $crate::strict::Problem> {
                $crate::strict::read(self, value)
            }

            fn write(&mut self) -> Option<serde_json::Value> {
                Some($crate::strict::write(self))
            }
        }
    )*};
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $key:literal) => { $key };
}
pub(crate) use wire;
