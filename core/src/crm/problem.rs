//! What the CRM says in an error answer (chats API reference, 7: `application/problem+json`).

use super::{Extra, lenient};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// How many problems with fields are kept of one answer.
pub const PROBLEM_ERRORS_MAX: usize = 250;

/// An error answer of the CRM's API.
///
/// `Debug` shows status and paths alone: the words may quote what was sent.
#[derive(Clone, Default, PartialEq, Serialize)]
pub struct CrmProblem {
    /// A short name, such as `Bad Request`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What is wrong, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The HTTP status, once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
    /// A word for programs, such as `AlreadyExists`; seen of Kommo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The fields at fault, in the order told; at most [`PROBLEM_ERRORS_MAX`].
    pub errors: Vec<FieldProblem>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A field that the CRM refuses.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldProblem {
    /// Which item of the batch: its `request_id`, or its place.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub request_id: Option<String>,
    /// A word for programs, such as `NotSupportedChoice`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub code: Option<String>,
    /// The path of the field, such as `custom_fields_values.0.field_id`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub path: Option<String>,
    /// What is wrong with it, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub detail: Option<String>,
}

impl CrmProblem {
    /// Reads an error answer; `None` where it is of no such form.
    pub fn from_json(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default, deserialize_with = "lenient::text")]
            title: Option<String>,
            #[serde(default, deserialize_with = "lenient::text")]
            detail: Option<String>,
            #[serde(default, deserialize_with = "lenient::int")]
            status: Option<i64>,
            #[serde(default, deserialize_with = "lenient::text")]
            code: Option<String>,
            #[serde(rename = "validation-errors", default)]
            validation_errors: Value,
            #[serde(default)]
            errors: Value,
            #[serde(flatten)]
            extra: Extra,
        }
        let Answer { title, detail, status, code, validation_errors, errors, extra } =
            serde_json::from_slice(json).ok()?;
        let errors: Vec<_> = [validation_errors, errors]
            .into_iter()
            .flat_map(items)
            .flat_map(of_item)
            .take(PROBLEM_ERRORS_MAX)
            .collect();
        let problem = Self { title, detail, status, code, errors, extra };
        (problem.title.is_some()
            || problem.detail.is_some()
            || problem.code.is_some()
            || !problem.errors.is_empty())
        .then_some(problem)
    }

    /// The path of the first field at fault.
    pub fn path(&self) -> Option<&str> {
        self.errors.iter().find_map(|error| error.path.as_deref())
    }
}

/// The vendor writes a list, or one object in its place.
fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        item @ Value::Object(_) => vec![item],
        _ => Vec::new(),
    }
}

/// `{"request_id": …, "errors": …}`, or a problem itself.
fn of_item(mut item: Value) -> Vec<FieldProblem> {
    let read = |value| FieldProblem::deserialize::<Value>(value).ok();
    let Some(inside) = item.get_mut("errors").map(Value::take) else {
        return read(item).into_iter().collect();
    };
    let request_id = item.get_mut("request_id").map(Value::take);
    let problems = items(inside).into_iter().filter_map(|mut inside| {
        if let (Some(request_id), Some(fields)) = (&request_id, inside.as_object_mut()) {
            fields.insert("request_id".into(), request_id.clone());
        }
        read(inside)
    });
    problems.collect()
}

impl fmt::Debug for CrmProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: Vec<_> = self.errors.iter().map(|error| &error.code).collect();
        f.debug_struct("CrmProblem")
            .field("status", &self.status)
            .field("codes", &codes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldProblem").field("code", &self.code).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_answers_are_no_problems() {
        for json in ["", "<html>", "[]", "{}", r#"{"error_code":905}"#, r#"{"errors":[]}"#] {
            assert_eq!(CrmProblem::from_json(json.as_bytes()), None, "{json}");
        }
    }

    #[test]
    fn a_flood_of_problems_is_cut_off() {
        let errors: Vec<_> = (0..1000).map(|n| serde_json::json!({"code": "c", "path": n})).collect();
        let json = serde_json::json!({ "errors": errors }).to_string();
        let problem = CrmProblem::from_json(json.as_bytes()).expect("a problem");
        assert_eq!(problem.errors.len(), PROBLEM_ERRORS_MAX);
        assert_eq!(problem.path(), Some("0"));
    }
}
