//! Reads the fields of an item and collects what is wrong with them.

use super::answer::Problem;
use serde_json::{Map, Value, json};

/// What is wrong with the items of a batch.
#[derive(Default)]
pub(super) struct Faults(Vec<Value>);

impl Faults {
    pub(super) fn into_result<T>(self, value: T) -> Result<T, Problem> {
        if self.0.is_empty() { Ok(value) } else { Err(Problem::validation(self.0)) }
    }
}

/// One item while it is read.
pub(super) struct Fields<'a> {
    item: &'a Map<String, Value>,
    request_id: String,
    errors: Vec<Value>,
}

impl<'a> Fields<'a> {
    /// The item, or an empty one and a fault where it is no object.
    pub(super) fn of(item: &'a Value, at: usize) -> Self {
        static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        let mut fields = Self {
            item: item.as_object().unwrap_or(&EMPTY),
            request_id: super::request_id(item, at),
            errors: Vec::new(),
        };
        if !item.is_object() {
            fields.fault("InvalidType", "", "must be an object");
        }
        fields
    }

    /// Hands over the faults; whether there were none.
    pub(super) fn finish(self, faults: &mut Faults) -> bool {
        if self.errors.is_empty() {
            return true;
        }
        faults.0.push(json!({ "request_id": self.request_id, "errors": self.errors }));
        false
    }

    pub(super) fn fault(&mut self, code: &str, path: &str, detail: impl Into<String>) {
        self.errors.push(json!({ "code": code, "path": path, "detail": detail.into() }));
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.item.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn is_given(&self, name: &str) -> bool {
        self.item.contains_key(name)
    }

    /// A text. It must be there where it is required, and is never empty then.
    pub(super) fn text(&mut self, name: &str, required: bool) -> Option<&'a str> {
        match self.get(name) {
            Some(Value::String(text)) if !text.is_empty() || !required => return Some(text),
            Some(Value::String(_)) => self.fault("NotBlank", name, "must not be empty"),
            Some(_) => self.fault("InvalidType", name, "must be a string"),
            None if required => self.fault("FieldMissing", name, "is required"),
            None => {}
        }
        None
    }

    /// One of some texts.
    pub(super) fn choice(&mut self, name: &str, choices: &[&str]) -> Option<&'a str> {
        let text = self.text(name, false).filter(|text| !text.is_empty())?;
        if !choices.contains(&text) {
            self.fault("NotSupportedChoice", name, format!("must be one of {}", choices.join(", ")));
            return None;
        }
        Some(text)
    }

    /// A text of at most so many characters.
    pub(super) fn short_text(&mut self, name: &str, required: bool, max: usize) -> Option<&'a str> {
        let text = self.text(name, required)?;
        if text.chars().count() > max {
            self.fault("TooLong", name, format!("must be at most {max} characters"));
        }
        Some(text)
    }

    pub(super) fn int(&mut self, name: &str, required: bool) -> Option<i64> {
        match self.get(name) {
            None if required => self.fault("FieldMissing", name, "is required"),
            None => {}
            // The service is strictly typed.
            Some(value) => match value.as_i64() {
                Some(number) => return Some(number),
                None => self.fault("InvalidType", name, "must be a whole number"),
            },
        }
        None
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        match self.get(name) {
            None => None,
            Some(Value::Bool(flag)) => Some(*flag),
            Some(_) => {
                self.fault("InvalidType", name, "must be true or false");
                None
            }
        }
    }

    pub(super) fn array(&mut self, name: &str) -> Option<&'a [Value]> {
        match self.get(name) {
            None => None,
            Some(Value::Array(items)) => Some(items),
            Some(_) => {
                self.fault("InvalidType", name, "must be an array");
                None
            }
        }
    }

    pub(super) fn object(&mut self, name: &str) -> Option<&'a Map<String, Value>> {
        match self.get(name) {
            None => None,
            Some(Value::Object(map)) => Some(map),
            Some(_) => {
                self.fault("InvalidType", name, "must be an object");
                None
            }
        }
    }
}
