//! The commands that call the CRM, against a peer that answers once, and the webhook that is sent.

use amochats::{ChannelSecret, sign_body, verify_webhook};
use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::vectors;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread;

const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

/// A request as it came over the wire.
struct Request {
    line: String,
    headers: String,
    body: Vec<u8>,
}

/// Answers one request, and gives it.
fn peer(status: &'static str, body: String) -> (String, thread::JoinHandle<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let request = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream.try_clone().expect("one socket, two handles"));
        let mut line = String::new();
        reader.read_line(&mut line).expect("a request line");
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") && headers != "\r\n" {
            assert_ne!(reader.read_line(&mut headers).expect("a header"), 0);
        }
        let headers = headers.to_ascii_lowercase();
        let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut sent = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
        reader.read_exact(&mut sent).expect("the body");
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .expect("the command waits");
        Request { line: line.trim_end().to_owned(), headers, body: sent }
    });
    (url, request)
}

/// The body of a case of `tests/vectors/crm`.
fn example(name: &str) -> String {
    let path = vectors::folder().join("crm").join(name).with_extension("json");
    let case: Value = serde_json::from_slice(&fs::read(path).expect("the case is there")).expect("JSON");
    case["input"]["body"].as_str().expect("a body").to_owned()
}

fn call(url: &str, arguments: &[&str]) -> Ended {
    run(amochats().env("AMOCHATS_TOKEN", "access-1").args(arguments).args(["--base-url", url]), b"")
}

/// Runs a command against a peer that answers 200 with a case.
fn answered(name: &str, arguments: &[&str]) -> (Ended, Request) {
    let (url, request) = peer("200 OK", example(name));
    let ended = call(&url, arguments);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let request = request.join().expect("the peer got it");
    assert!(request.headers.contains("authorization: bearer access-1\r\n"), "{}", request.headers);
    (ended, request)
}

fn json_of(ended: &Ended) -> Value {
    let line = ended.stdout.strip_suffix('\n').filter(|line| !line.contains('\n')).expect("one line");
    serde_json::from_str(line).expect("JSON")
}

#[test]
fn the_account_id_is_printed() {
    let id = "f3c6340d-410e-4ad1-9f7e-c5e663599909";
    let (ended, request) = answered("account-with-everything", &["account", "id"]);
    assert_eq!(ended.stdout, format!("{id}\n"));
    assert!(request.line.starts_with("GET /api/v4/account?with=amojo_id,"), "{}", request.line);
    let (ended, _) = answered("account-with-everything", &["account", "id", "--json"]);
    assert_eq!(json_of(&ended), json!({ "account_id": id }));
}

#[test]
fn the_account_id_of_the_first_generation_is_printed() {
    let (url, request) = peer("200 OK", example("account-legacy"));
    let ended = run(
        amochats().env("AMOCHATS_API_KEY", "key").args([
            "account",
            "id",
            "--legacy",
            "--login",
            "a@example.com",
            "--base-url",
            &url,
        ]),
        b"",
    );
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "13fa84f7-6b61-4086-98ed-0a9de19ee15c\n"),
        "{ended:?}"
    );
    let request = request.join().expect("the peer got it");
    assert_eq!(
        request.line,
        "GET /private/api/v2/json/accounts/current?amojo=Y&USER_LOGIN=a%40example.com&USER_HASH=key HTTP/1.1"
    );
    assert!(!request.headers.contains("authorization"));
}

#[test]
fn an_account_without_the_id_is_a_no() {
    let (url, _request) = peer("200 OK", r#"{"id":5}"#.into());
    let ended = call(&url, &["account", "id"]);
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("no amojo_id"), "{ended:?}");
}

#[test]
fn a_chat_is_linked() {
    let link = ["link", "--contact-id", "3102959", "--conversation-ref-id", "6cbab3d5"];
    let (ended, request) = answered("contact-chat-link-response", &link);
    assert_eq!(ended.stdout, "linked; the link is 26219\n");
    assert_eq!(request.line, "POST /api/v4/contacts/chats HTTP/1.1");
    assert_eq!(request.body, br#"[{"contact_id":3102959,"chat_id":"6cbab3d5"}]"#);

    let (url, _request) = peer("400 Bad Request", example("problem-already-linked"));
    let ended = call(&url, &[&link[..], &["--json"]].concat());
    assert_eq!(ended.code, 1);
    let error = &json_of(&ended)["error"];
    assert_eq!((&error["kind"], &error["vendor"]["type"]), (&json!("REJECTED"), &json!("AlreadyExists")));
    assert_eq!(error["vendor"]["problem"]["entity_id"], 5);
}

#[test]
fn sources_are_listed_added_and_removed() {
    let (ended, request) = answered("sources-list-response", &["source", "ls"]);
    assert_eq!(
        ended.stdout,
        "9619\t+17 912 100 00 00\tНомер отдела продаж\tdefault\n4460\t65bd500b-fd52-4599-ab58-943ce3dd058c\tЛендинг\t-\n"
    );
    assert_eq!(request.line, "GET /api/v4/sources HTTP/1.1");
    let (url, _request) = peer("204 No Content", String::new());
    assert_eq!(call(&url, &["source", "ls"]).stdout, "none\n");

    let add = ["source", "add", "--name", "Sales", "--external-id", "7900", "--default", "--json"];
    let (ended, request) = answered("sources-add-response-steps", &add);
    assert_eq!(json_of(&ended)[0]["id"], 3_108_069);
    assert_eq!(request.body, br#"[{"name":"Sales","external_id":"7900","default":true}]"#);

    let (url, request) = peer("204 No Content", String::new());
    assert_eq!(call(&url, &["source", "rm", "9619", "4460"]).stdout, "removed\n");
    let request = request.join().expect("the peer got it");
    assert_eq!(request.line, "DELETE /api/v4/sources HTTP/1.1");
    assert_eq!(request.body, br#"[{"id":9619},{"id":4460}]"#);

    let (url, _request) = peer("400 Bad Request", example("sources-delete-error"));
    let ended = call(&url, &["source", "rm", "31075178"]);
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("id: source with id = 31075178 not found"), "{ended:?}");
}

#[test]
fn templates_are_listed_added_and_removed() {
    let (ended, _) = answered("templates-list-response", &["template", "ls"]);
    assert_eq!(ended.stdout, "7349\tmy_external_id\tTest template\treview\nthere are more: --page\n");

    let add = ["template", "add", "--name", "n", "--content", "c", "--button", "Yes"];
    let (ended, request) = answered("templates-add-response", &add);
    assert_eq!(ended.stdout, "7351\tmy_external_id_for_hello\tHello template\t-\n");
    assert_eq!(request.body, br#"[{"name":"n","content":"c","buttons":[{"type":"inline","text":"Yes"}]}]"#);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("template.json");
    fs::write(&file, r#"{"name":"n","content":"c","type":"amocrm"}"#).expect("a file");
    let file = file.to_str().expect("ASCII");
    let (_, request) = answered("templates-add-response", &["template", "add", "--file", file]);
    assert_eq!(request.body, br#"[{"name":"n","content":"c","type":"amocrm"}]"#);

    let (url, _request) = peer("204 No Content", String::new());
    assert_eq!(call(&url, &["template", "rm", "7351"]).stdout, "removed\n");
}

#[test]
fn wrong_usage_is_said_before_anything_is_sent() {
    let nowhere = ["--base-url", "http://127.0.0.1:9"];
    for (arguments, said) in [
        (&["account", "id"][..], "there is no token of the CRM"),
        (&["source", "ls", "--token-file", "/nonexistent"], "cannot read the secret file"),
        (&["account", "id", "--legacy"], "--login"),
    ] {
        let ended = run(amochats().args(arguments).args(nowhere), b"");
        assert!(ended.code >= 2 && ended.error().contains(said), "{ended:?}");
    }
    let ended = call("http://127.0.0.1:9", &["source", "add", "--name", "", "--external-id", "1"]);
    assert_eq!(ended.code, 2);
    assert!(ended.error().starts_with("sources.0.name: "), "{ended:?}");
    let ended = run(amochats().args(["account", "id", "--region", "ru"]), b"");
    assert!(ended.code == 2 && ended.error().contains("--subdomain"), "{ended:?}");
}

fn trigger(url: &str, arguments: &[&str]) -> Ended {
    run(
        amochats().env("AMOCHATS_SECRET", SECRET).args(["webhook", "trigger", "--to", url]).args(arguments),
        b"",
    )
}

#[test]
fn a_webhook_goes_as_the_vendor_sends_it() {
    for kind in ["message", "v1", "picture", "typing", "reaction", "template", "list-message", "reply"] {
        let (url, request) = peer("200 OK", String::new());
        let ended = trigger(&format!("{url}/hook/scope"), &[kind]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.starts_with("HTTP 200 after "), "{ended:?}");
        let Request { line, headers, body } = request.join().expect("the peer got it");
        assert_eq!(line, "POST /hook/scope HTTP/1.1");
        assert!(headers.contains("content-type: application/json\r\n"), "{headers}");
        // Signed without the line feed that goes with it.
        let signed = body.strip_suffix(b"\n").expect("a final line feed");
        let secret = ChannelSecret::new(SECRET).expect("clean");
        let signature = sign_body(&secret, signed);
        assert!(headers.contains(&format!("x-signature: {signature}\r\n")), "{headers}");
        verify_webhook(&[secret], &body, Some(&signature)).expect("genuine");
    }
}

#[test]
fn a_webhook_can_be_changed_and_its_end_told() {
    let (url, request) = peer("200 OK", String::new());
    let set = ["--set", "message.message.text=a=b", "--set", "message.message.file_size=7", "--json"];
    let ended = trigger(&url, &[&["message"], &set[..]].concat());
    let told = json_of(&ended);
    assert_eq!((&told["status"], &told["error"]), (&json!(200), &json!(null)));
    let body = request.join().expect("the peer got it").body;
    assert_eq!(format!("{}\n", told["body"].as_str().expect("text")).as_bytes(), body);
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        (&body["message"]["message"]["text"], &body["message"]["message"]["file_size"]),
        (&json!("a=b"), &json!(7))
    );

    // Only 200 counts, and nothing is followed or sent again.
    for status in
        ["201 Created", "204 No Content", "302 Found", "401 Unauthorized", "503 Service Unavailable"]
    {
        let (url, _request) = peer(status, String::new());
        let ended = trigger(&url, &["typing"]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.error().starts_with(&format!("HTTP {} after ", &status[..3])), "{ended:?}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    let ended = trigger(&format!("http://{closed}"), &["message", "--json"]);
    assert_eq!((ended.code, &json_of(&ended)["status"]), (1, &json!(null)));

    for (arguments, said) in [
        (&["message", "--set", "x"][..], "--set"),
        (&["template", "--set", "message.message.template.params.5=1"], "5 is no place"),
        (&["shout"], "shout"),
    ] {
        let ended = trigger("http://127.0.0.1:9", arguments);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.error().contains(said), "{ended:?}");
    }
    assert!(trigger("ftp://127.0.0.1", &["message"]).error().starts_with("--to "));
}
