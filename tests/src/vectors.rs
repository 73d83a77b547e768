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
use std::path::{Path, PathBuf};

/// The folders, and the operations that belong into each.
const GROUPS: [(&str, &[&str]); 3] = [
    ("signing", &["sign_body", "sign_request"]),
    ("webhooks", &["verify_webhook", "parse_webhook"]),
    ("payloads", &["encode_message"]),
];

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
        signature: Option<String>,
    },
    /// Expects `{"event": …}` or `{"error": …}`.
    ParseWebhook {
        #[serde(default)]
        body: Vec<u8>,
    },
    /// Expects `{"body": …}` or `{"error": …}`.
    EncodeMessage { message: Value },
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
    let mut groups = entries(&folder());
    groups.retain(|path| path.is_dir());
    let names: Vec<&str> = groups.iter().map(|path| stem(path)).collect();
    let mut known = GROUPS.map(|(group, _)| group);
    known.sort_unstable();
    assert_eq!(names, known, "the groups in {}", folder().display());

    let mut cases = Vec::new();
    for (group, operations) in GROUPS {
        let files = entries(&folder().join(group));
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
        let answered = answer(&case.call);
        if answered != case.expected {
            failures.push(format!("{}\n  expected {}\n  answered {answered}", case.name, case.expected));
        }
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
