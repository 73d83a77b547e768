//! The vendor's published payloads, `tests/vectors/vendor`: each of them is a case, word for word. And
//! the group `channel`, the calls and answers that C and Python have no operation for, through the core
//! and the command line.

use amochats::{
    ApiRequest, ChannelSecret, Connect, Connected, CreatedChat, HookVersion, MessageReceipt,
    canonical_string, sign_body,
};
use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::vectors;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;

const SCOPE: &str = "--scope-id=channel_account";

#[derive(Deserialize)]
struct Case {
    description: String,
    source: String,
    operation: String,
    input: Map<String, Value>,
    expected: Value,
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.expect("a readable folder").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort_unstable();
    files
}

fn cases(group: &str) -> BTreeMap<String, Case> {
    let files = files(&vectors::folder().join(group));
    assert!(!files.is_empty(), "there is no case in {group}");
    let cases = files.iter().map(|path| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("names are ASCII");
        let case: Case = serde_json::from_slice(&fs::read(path).expect("a readable file"))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!case.description.is_empty(), "{stem} says what it shows");
        (format!("{group}/{stem}"), case)
    });
    cases.collect()
}

/// The example that a case names in its source: `… (example file.json)`.
fn example(case: &Case) -> Option<&str> {
    Some(case.source.split_once("(example ")?.1.trim_end_matches(')'))
}

/// What a case gives to the surfaces, as the vendor's file would have it.
fn given(case: &Case) -> Vec<Value> {
    let mut given: Vec<Value> = ["message", "request", "answer"]
        .into_iter()
        .filter_map(|field| case.input.get(field).cloned())
        .collect();
    if let Some(Value::String(body)) = case.input.get("body") {
        given.extend(serde_json::from_str::<Value>(body));
    }
    given
}

/// A signed request of the vendor, whose every part must be in the case.
fn is_signed_request(case: &Case, published: &Value) -> bool {
    let part = |field: &str| case.input.get(field).cloned().unwrap_or(Value::Null);
    let path = published["path"].as_str().unwrap_or_default();
    let query = published["query"].as_str().unwrap_or_default();
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let headers = &published["headers"];
    let body_is_same = match &published["body"] {
        Value::Null => part("content_md5") == headers["Content-MD5"],
        Value::String(body) => part("body").as_str().unwrap_or_default() == body,
        _ => false,
    };
    let signature = case.expected.pointer("/headers/X-Signature").or(case.expected.get("x_signature"));
    body_is_same
        && part("secret") == published["secret"]
        && part("method") == published["method"]
        && part("path") == json!(target)
        && part("date") == headers["Date"]
        && signature == Some(&headers["X-Signature"])
}

#[test]
fn every_example_of_the_vendor_is_a_case() {
    let mut named: BTreeMap<String, Vec<(String, Case)>> = BTreeMap::new();
    for group in ["signing", "webhooks", "payloads", "crm", "channel"] {
        for (name, case) in cases(group) {
            if let Some(example) = example(&case) {
                named.entry(example.to_owned()).or_default().push((name, case));
            }
        }
    }
    let folder = vectors::folder().join("vendor");
    let index = fs::read_to_string(folder.join("index.tsv")).expect("the index is there");
    let mut published = BTreeSet::new();
    for line in index.lines().skip(1) {
        let [file, _what, source] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        published.insert(file.to_owned());
        let text = fs::read(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let data: Value = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let cases = named.get(file).unwrap_or_else(|| panic!("no case names {file}"));
        for (name, case) in cases {
            assert!(case.source.starts_with(source), "{name} names the page of {file}");
            // Webhooks of the CRM are published as JSON, and come as forms.
            let as_form = case.operation == "parse_crm_webhook";
            let same = given(case).contains(&data) || is_signed_request(case, &data);
            assert!(as_form || same, "{name} gives something else than {file}");
        }
    }
    let there: BTreeSet<String> = files(&folder)
        .iter()
        .map(|path| path.file_name().expect("a file").to_string_lossy().into_owned())
        .collect();
    assert_eq!(there, published, "the files and the index");
    let unknown: Vec<&String> = named.keys().filter(|file| !published.contains(*file)).collect();
    assert!(unknown.is_empty(), "named, but not there: {unknown:?}");
    println!("examples: {}", published.len());
}

#[test]
fn the_core_answers_as_expected() {
    check(|case| {
        let body = text(case, "body").as_bytes();
        match case.operation.as_str() {
            "parse_connected" => json!({"answer": Connected::from_json(body).expect("documented")}),
            "parse_receipt" => json!({"answer": MessageReceipt::from_json(body).expect("documented")}),
            "parse_created_chat" => json!({"answer": CreatedChat::from_json(body).expect("documented")}),
            "encode_connect" => {
                let request = &case.input["request"];
                let connect = Connect {
                    account_id: word(&request["account_id"]).into(),
                    title: request["title"].as_str().map(str::to_owned),
                    hook_api_version: HookVersion::deserialize(&request["hook_api_version"]).expect("known"),
                    is_time_window_disabled: request["is_time_window_disabled"].as_bool(),
                };
                sent(&ApiRequest::connect(&"channel".into(), &connect).expect("valid").body)
            }
            "encode_disconnect" => {
                let account = word(&case.input["request"]["account_id"]).into();
                sent(&ApiRequest::disconnect(&"channel".into(), &account).expect("valid").body)
            }
            "sign_headers" => {
                let [method, md5, kind, date, path] =
                    ["method", "content_md5", "content_type", "date", "path"].map(|part| text(case, part));
                let secret = ChannelSecret::new(text(case, "secret")).expect("clean");
                let signed = canonical_string(method, md5, kind, date, path);
                json!({"x_signature": sign_body(&secret, signed.as_bytes())})
            }
            other => panic!("{other} is no operation of this group"),
        }
    });
}

#[test]
fn the_command_answers_as_expected() {
    const SEND: &str = "send --conversation-id c --user-id u --name n --text t";
    const CREATE: &str = "chat create --conversation-id c --user-id u --name n";
    check(|case| match case.operation.as_str() {
        "parse_connected" => answered(case, "connect --channel-id channel --account-id account"),
        "parse_receipt" => {
            let mut answer = answered(case, &format!("{SEND} --message-id made-up {SCOPE}"));
            // Where the service does not repeat the id, the command shows the one that it sent.
            if case.expected["answer"].get("message_id").is_none() {
                let answer = answer["answer"].as_object_mut().expect("an object");
                assert_eq!(answer.shift_remove("message_id"), Some(json!("made-up")));
            }
            answer
        }
        "parse_created_chat" => answered(case, &format!("{CREATE} {SCOPE}")),
        "encode_connect" => {
            let request = &case.input["request"];
            let mut command = amochats();
            command.args(["connect", "--account-id", word(&request["account_id"])]);
            command.args(["--title", word(&request["title"])]);
            command.args(["--hook-version", word(&request["hook_api_version"])]);
            if request["is_time_window_disabled"] == true {
                command.arg("--disable-time-window");
            }
            dry_run(&mut command)
        }
        "encode_disconnect" => {
            let account = word(&case.input["request"]["account_id"]);
            dry_run(amochats().args(["disconnect", "--account-id", account]))
        }
        // The command signs a body that it is given.
        "sign_headers" => case.expected.clone(),
        other => panic!("{other} is no operation of this group"),
    });
}

fn check(answer: impl Fn(&Case) -> Value) {
    let mut ran: BTreeMap<String, usize> = BTreeMap::new();
    for (name, case) in cases("channel") {
        assert_eq!(answer(&case), case.expected, "{name}");
        *ran.entry(case.operation).or_default() += 1;
    }
    println!("vectors: {ran:?}");
}

fn text<'a>(case: &'a Case, field: &str) -> &'a str {
    case.input.get(field).map_or("", word)
}

fn word(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn sent(body: &[u8]) -> Value {
    json!({"body": serde_json::from_slice::<Value>(body).expect("the core writes JSON")})
}

fn dry_run(command: &mut std::process::Command) -> Value {
    let ended = run(
        command.args(["--dry-run", "--secret=s", "--base-url=http://127.0.0.1", "--channel-id=channel"]),
        b"",
    );
    sent(word(&parsed(&ended)["body"]).as_bytes())
}

/// What a command prints of the case's body, when the service answers it.
fn answered(case: &Case, command: &str) -> Value {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("--base-url=http://{}", service.local_addr().expect("bound"));
    let body = text(case, "body");
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = service.accept().expect("a call");
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a line of the head");
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                    length = value.trim().parse().expect("a number");
                }
                if line == "\r\n" {
                    break;
                }
            }
            reader.read_exact(&mut vec![0; length]).expect("the whole body");
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all((head + body).as_bytes()).expect("it listens");
        });
        run(amochats().args(command.split(' ')).args(["--json", "--secret=s", &url]), b"")
    });
    json!({"answer": parsed(&ended)})
}

fn parsed(ended: &Ended) -> Value {
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    serde_json::from_str(&ended.stdout).expect("JSON")
}
