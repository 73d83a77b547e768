//! The cases of `tests/vectors`, which every surface must agree on.
//!
//! A runner is one `match` over [`Call`] that says what its surface answers, in the form of
//! `expected`; [`check`] does the rest. A case with an unknown group, operation or field does not
//! load, so nothing in the folder can go unnoticed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The folders, and the operations that belong into each.
const GROUPS: [(&str, &[&str]); 3] = [
    ("signing", &["sign_body", "sign_request"]),
    ("webhooks", &["verify_webhook", "parse_webhook"]),
    ("payloads", &["encode_message", "encode_request", "parse_history"]),
];

/// Folders without cases for every surface: C and Python do not have the CRM's API yet, nor what is in
/// `channel`, so those run in `tests/tests/vectors_crm.rs` and `vendor_examples.rs` alone. `vendor` is
/// what the vendor published, of which the cases are made.
const ELSEWHERE: [&str; 3] = ["channel", "crm", "vendor"];

/// One file.
#[derive(Debug)]
pub struct Case {
    /// Group and file name, such as `signing/body-empty`.
    pub name: String,
    /// What is asked.
    pub call: Call,
    /// What must come out.
    pub expected: Value,
}

/// A question to a surface. An absent `body` is empty.
#[derive(Debug, Deserialize)]
#[serde(tag = "operation", content = "input", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are the arguments of the function of the same name")]
pub enum Call {
    /// Expects `{"x_signature": …}`.
    SignBody {
        secret: String,
        #[serde(default)]
        body: Vec<u8>,
    },
    /// Expects `{"headers": …}` or `{"error": …}`.
    SignRequest {
        secret: String,
        method: String,
        path: String,
        content_type: String,
        date: String,
        #[serde(default)]
        body: Vec<u8>,
    },
    /// Expects `{"valid": true}` or `{"error": …}`.
    VerifyWebhook {
        secrets: Vec<String>,
        #[serde(default)]
        body: Vec<u8>,
        // Without this an absent signature would load as `null`.
        #[serde(deserialize_with = "Option::deserialize")]
        signature: Option<String>,
    },
    /// Expects `{"event": …}` or `{"error": …}`.
    ParseWebhook {
        #[serde(default)]
        body: Vec<u8>,
    },
    /// Expects `{"body": …}` or `{"error": …}`.
    EncodeMessage { message: Value },
    /// Expects `{"body": …}` or `{"error": …}`.
    EncodeRequest { call: String, request: Value },
    /// Expects `{"page": …}` or `{"error": …}`.
    ParseHistory {
        #[serde(default)]
        body: Vec<u8>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    description: String,
    source: String,
    operation: String,
    input: Map<String, Value>,
    expected: Value,
}

impl Call {
    /// The `operation` of the file.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::SignBody { .. } => "sign_body",
            Self::SignRequest { .. } => "sign_request",
            Self::VerifyWebhook { .. } => "verify_webhook",
            Self::ParseWebhook { .. } => "parse_webhook",
            Self::EncodeMessage { .. } => "encode_message",
            Self::EncodeRequest { .. } => "encode_request",
            Self::ParseHistory { .. } => "parse_history",
        }
    }
}

/// The folder of the vectors.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// Reads every case, in the order of their names.
///
/// # Panics
/// On a file that is no case, an unknown group or operation, and a group without a case.
pub fn load() -> Vec<Case> {
    load_from(&folder())
}

fn load_from(folder: &Path) -> Vec<Case> {
    let mut groups = entries(folder);
    groups.retain(|path| path.is_dir() && !ELSEWHERE.contains(&stem(path)));
    let names: Vec<&str> = groups.iter().map(|path| stem(path)).collect();
    let mut known = GROUPS.map(|(group, _)| group);
    known.sort_unstable();
    assert_eq!(names, known, "the groups in {}", folder.display());

    let mut cases = Vec::new();
    for (group, operations) in GROUPS {
        let files = entries(&folder.join(group));
        assert!(!files.is_empty(), "there is no case in {group}");
        for path in files {
            let case = read(group, &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(operations.contains(&case.call.operation()), "{} is in the wrong group", case.name);
            cases.push(case);
        }
    }
    cases
}

/// Runs cases through a surface and compares what it answers with what is expected, as JSON
/// values. Prints how many cases ran of each operation.
///
/// # Panics
/// With every case that failed, and where there was none.
pub fn check<'a>(cases: impl IntoIterator<Item = &'a Case>, mut answer: impl FnMut(&Call) -> Value) {
    let mut ran = BTreeMap::new();
    let mut failures = Vec::new();
    for case in cases {
        *ran.entry(case.call.operation()).or_insert(0_usize) += 1;
        // A runner may panic at an answer that it cannot read; the other cases still run.
        let answered = match catch_unwind(AssertUnwindSafe(|| answer(&case.call))) {
            Ok(answered) if answered == case.expected => continue,
            Ok(answered) => format!("answered {answered}"),
            Err(_) => "panicked, as told above".to_owned(),
        };
        failures.push(format!("{}\n  expected {}\n  {answered}", case.name, case.expected));
    }
    println!("vectors: {ran:?}");
    assert!(!ran.is_empty(), "no case was run");
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}

fn read(group: &str, path: &Path) -> Result<Case, Box<dyn std::error::Error>> {
    let File { description, source, operation, mut input, expected } =
        serde_json::from_slice(&fs::read(path)?)?;
    if description.is_empty() || source.is_empty() {
        return Err("description and source must say something".into());
    }
    if let Some(body) = body(&mut input)? {
        input.insert("body".into(), body.into());
    }
    let call = Call::deserialize(serde_json::json!({ "operation": operation, "input": input }))?;
    Ok(Case { name: format!("{group}/{}", stem(path)), call, expected })
}

/// The bytes of `body` (text) or `body_base64` (bytes that are no text).
fn body(input: &mut Map<String, Value>) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error>> {
    match (input.remove("body"), input.remove("body_base64")) {
        (None, None) => Ok(None),
        (Some(Value::String(text)), None) => Ok(Some(text.into_bytes())),
        (None, Some(Value::String(text))) => Ok(Some(BASE64.decode(text)?)),
        _ => Err("the body must be one string, in body or body_base64".into()),
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort_unstable();
    paths
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).expect("names are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message_of(run: impl FnOnce()) -> String {
        let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a panic");
        match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(panic) => (*panic.downcast::<&str>().expect("a panic with a message")).to_owned(),
        }
    }

    fn case(operation: &str, input: &Value) -> Value {
        json!({"description": "d", "source": "s", "operation": operation, "input": input, "expected": {}})
    }

    /// A folder in which every group has one case, and `case` is the one of webhooks.
    fn folder_with(case: &Value) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let signing = self::case("sign_body", &json!({"secret": "s"}));
        let payload = self::case("encode_message", &json!({"message": {}}));
        for (group, case) in [("signing", &signing), ("webhooks", case), ("payloads", &payload)] {
            fs::create_dir(folder.path().join(group)).expect("a folder");
            fs::write(folder.path().join(group).join("a.json"), case.to_string()).expect("a file");
        }
        folder
    }

    #[test]
    fn bytes_come_from_text_or_base64() {
        for (input, bytes) in [
            (json!({}), &b""[..]),
            (json!({"body": "я\n"}), "я\n".as_bytes()),
            (json!({"body_base64": "/wA="}), b"\xff\0"),
        ] {
            let folder = folder_with(&case("parse_webhook", &input));
            let cases = load_from(folder.path());
            let parse = cases.iter().find(|case| case.name == "webhooks/a").expect("the case");
            assert!(matches!(&parse.call, Call::ParseWebhook { body } if body == bytes), "{parse:?}");
        }
    }

    #[test]
    fn what_is_not_known_does_not_load() {
        for (case, said) in [
            (case("parse_hook", &json!({})), "unknown variant `parse_hook`"),
            (case("sign_body", &json!({"secret": "s"})), "wrong group"),
            (case("parse_webhook", &json!({"bodi": ""})), "unknown field `bodi`"),
            (case("parse_webhook", &json!({"body": "", "body_base64": ""})), "one string"),
            (case("verify_webhook", &json!({"secrets": []})), "missing field `signature`"),
            (json!({"description": "d"}), "missing field"),
        ] {
            let folder = folder_with(&case);
            let message = message_of(|| drop(load_from(folder.path())));
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn an_unknown_group_and_an_empty_one_do_not_load() {
        let good = case("parse_webhook", &json!({}));
        let folder = folder_with(&good);
        fs::create_dir(folder.path().join("errors")).expect("a folder");
        assert!(message_of(|| drop(load_from(folder.path()))).contains("the groups in"));

        let folder = folder_with(&good);
        fs::remove_file(folder.path().join("webhooks/a.json")).expect("the file is there");
        assert!(message_of(|| drop(load_from(folder.path()))).contains("no case in webhooks"));
    }

    #[test]
    fn every_failure_is_listed_and_nothing_run_is_one() {
        let folder = folder_with(&case("parse_webhook", &json!({})));
        let cases = load_from(folder.path());
        let message = message_of(|| {
            check(&cases, |call| match call {
                Call::ParseWebhook { .. } => panic!("unreadable"),
                _ => json!({"not": "this"}),
            });
        });
        assert!(message.starts_with("3 cases failed"), "{message}");
        for case in &cases {
            assert!(message.contains(&case.name), "{message}");
        }
        check(&cases, |_| json!({}));
        assert!(message_of(|| check([], |_| json!({}))).contains("no case was run"));
    }
}
