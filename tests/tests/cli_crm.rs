//! The commands that call the CRM, against a peer that answers once and against the sandbox, and the
//! webhook that is sent.

use amochats::{ChannelSecret, sign_body, verify_webhook};
use amochats_sandbox::{Sandbox, SandboxConfig, Switches};
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
    assert_eq!(
        ended.stdout,
        "7349\tmy_external_id\tTest template\treview\nthere are more: --page, or --all\n"
    );

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
        (&["source", "ls", "--token-file", "/nonexistent"], "cannot read the token file"),
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

/// Every command that calls the CRM, with what it would send.
const DRY: &[(&[&str], &str, &str, &str)] = &[
    (&["account", "id"], "GET", "/api/v4/account?with=amojo_id,amojo_rights,drive_url,version", ""),
    (&["account", "users"], "GET", "/api/v4/users?with=amojo_id&page=1&limit=250", ""),
    (
        &["link", "--contact-id", "5", "--conversation-ref-id", "c"],
        "POST",
        "/api/v4/contacts/chats",
        r#"[{"contact_id":5,"chat_id":"c"}]"#,
    ),
    (&["source", "ls"], "GET", "/api/v4/sources", ""),
    (
        &["source", "add", "--name", "n", "--external-id", "e"],
        "POST",
        "/api/v4/sources",
        r#"[{"name":"n","external_id":"e"}]"#,
    ),
    (
        &["source", "edit", "9", "--name", "m", "--default", "true"],
        "PATCH",
        "/api/v4/sources/9",
        r#"{"name":"m","default":true}"#,
    ),
    (&["source", "rm", "9"], "DELETE", "/api/v4/sources", r#"[{"id":9}]"#),
    (&["template", "ls", "--all"], "GET", "/api/v4/chats/templates?with=reviews&page=1&limit=50", ""),
    (&["template", "show", "7"], "GET", "/api/v4/chats/templates/7?with=reviews", ""),
    (
        &["template", "add", "--name", "n", "--content", "c"],
        "POST",
        "/api/v4/chats/templates",
        r#"[{"name":"n","content":"c"}]"#,
    ),
    (
        &["template", "edit", "7", "--content", "d", "--editable", "false"],
        "PATCH",
        "/api/v4/chats/templates/7",
        r#"{"content":"d","is_editable":false}"#,
    ),
    (&["template", "rm", "7"], "DELETE", "/api/v4/chats/templates", r#"[{"id":7}]"#),
    (&["template", "review", "7"], "POST", "/api/v4/chats/templates/7/review", "{}"),
    (
        &["template", "review", "7", "--review-id", "3", "--status", "rejected", "--reason", "no"],
        "POST",
        "/api/v4/chats/templates/7/review/3",
        r#"{"status":"rejected","reject_reason":"no"}"#,
    ),
    (&["talk", "show", "117"], "GET", "/api/v4/talks/117", ""),
    (&["talk", "close", "117", "--force"], "POST", "/api/v4/talks/117/close", r#"{"force_close":true}"#),
    (
        &["webhook", "subscribe", "https://example.test", "--event", "add_talk"],
        "POST",
        "/api/v4/webhooks",
        r#"{"destination":"https://example.test","settings":["add_talk"]}"#,
    ),
    (&["webhook", "subscriptions"], "GET", "/api/v4/webhooks", ""),
    (
        &["webhook", "unsubscribe", "https://example.test"],
        "DELETE",
        "/api/v4/webhooks",
        r#"{"destination":"https://example.test"}"#,
    ),
];

#[test]
fn a_dry_run_shows_the_request_without_the_token_and_sends_nothing() {
    for (arguments, method, path, body) in DRY {
        let base = ["--dry-run", "--as-user", "501", "--region", "kommo", "--subdomain", "shop"];
        let ended = run(amochats().env("AMOCHATS_TOKEN", "access-1").args(*arguments).args(base), b"");
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{arguments:?}: {ended:?}");
        let shown = json_of(&ended);
        assert_eq!((&shown["method"], &shown["body"]), (&json!(method), &json!(body)), "{arguments:?}");
        assert_eq!(shown["url"], format!("https://shop.kommo.com{path}"), "{arguments:?}");
        assert_eq!(shown["headers"]["X-Context-User-ID"], "501");
        assert!(!ended.stdout.contains("access-1"), "{ended:?}");
    }
    let legacy =
        ["account", "id", "--legacy", "--login", "a@example.com", "--api-key", "hunter2", "--dry-run"];
    let ended = call("http://127.0.0.1:9", &legacy);
    assert!(ended.code == 0 && !ended.stdout.contains("hunter2"), "{ended:?}");
    for (arguments, said) in [
        (&["source", "edit", "9"][..], "--name"),
        (&["template", "edit", "7"], "--content"),
        (&["template", "review", "7", "--status", "paused"], "--review-id"),
        (&["template", "review", "7", "--review-id", "3", "--status", "rejected"], "--reason"),
        (&["webhook", "subscribe", "https://example.test"], "--event"),
    ] {
        let ended = call("http://127.0.0.1:9", arguments);
        assert!(ended.code == 2 && ended.error().contains(said), "{ended:?}");
    }
}

/// Runs commands against a sandbox, with a token of its CRM.
async fn at_the_sandbox(act: impl FnOnce(&Sandbox, &dyn Fn(&[&str]) -> Ended)) {
    let switches = Switches { crm_requests_per_second: None, ..Switches::default() };
    let config = SandboxConfig { switches, ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).await.expect("it starts");
    let crm = sandbox.crm();
    let (client_id, account) =
        (crm.integrations().remove(0).client_id, sandbox.accounts().remove(0).account_id);
    let token = crm.issue_token(&client_id, &account, None, 1).expect("issued");
    let url = sandbox.api_url();
    let call = |arguments: &[&str]| {
        run(amochats().env("AMOCHATS_TOKEN", &token).args(arguments).args(["--base-url", &url]), b"")
    };
    tokio::task::block_in_place(|| act(&sandbox, &call));
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_integrator_sets_an_account_up_by_hand() {
    at_the_sandbox(|sandbox, call| {
        let done = |arguments: &[&str]| {
            let ended = call(arguments);
            assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{arguments:?}: {ended:?}");
            ended
        };
        let no = |arguments: &[&str], kind: &str| {
            let ended = call(&[arguments, &["--json"]].concat());
            assert_eq!(ended.code, 1, "{ended:?}");
            assert_eq!(json_of(&ended)["error"]["kind"], kind, "{ended:?}");
        };
        let account = sandbox.accounts().remove(0);
        assert_eq!(done(&["account", "id"]).stdout, format!("{}\n", account.account_id));
        let users = json_of(&done(&["account", "users", "--json"]));
        assert_eq!(users[0]["amojo_id"], json!(account.users[0].user_ref_id));

        let added = json_of(&done(&["source", "add", "--name", "Sales", "--external-id", "s-1", "--json"]));
        let source = added[0]["id"].to_string();
        let edited = done(&["source", "edit", &source, "--name", "Support", "--default", "true"]);
        assert_eq!(edited.stdout, format!("{source}\ts-1\tSupport\tdefault\n"));
        assert_eq!(done(&["source", "ls", "--external-id", "s-1"]).stdout, edited.stdout);
        no(&["source", "add", "--name", "Sales", "--external-id", "s-1"], "REJECTED");
        assert_eq!(done(&["source", "rm", &source]).stdout, "removed\n");

        let added = json_of(&done(&["template", "add", "--name", "n", "--content", "c", "--json"]));
        let template = added[0]["id"].to_string();
        done(&["template", "edit", &template, "--content", "d", "--button", "Yes"]);
        let shown: Value =
            serde_json::from_str(&done(&["template", "show", &template]).stdout).expect("JSON");
        assert_eq!((&shown["content"], &shown["buttons"][0]["text"]), (&json!("d"), &json!("Yes")));
        for name in 0..60 {
            done(&["template", "add", "--name", &name.to_string(), "--content", "c"]);
        }
        assert!(done(&["template", "ls"]).stdout.ends_with("there are more: --page, or --all\n"));
        assert_eq!(done(&["template", "ls", "--all"]).stdout.lines().count(), 61);
        no(&["template", "review", &template], "REJECTED");
        done(&["template", "rm", &template]);
        no(&["template", "show", &template], "NOT_FOUND");

        done(&["webhook", "subscribe", "http://127.0.0.1:9", "--event", "add_talk"]);
        assert_eq!(done(&["webhook", "subscriptions"]).stdout, "http://127.0.0.1:9\tadd_talk\t-\n");
        done(&["webhook", "unsubscribe", "http://127.0.0.1:9"]);
        assert_eq!(done(&["webhook", "subscriptions"]).stdout, "none\n");
        no(&["talk", "show", "5"], "NOT_FOUND");
        no(&["talk", "close", "5"], "NOT_FOUND");
        no(&["link", "--contact-id", "5", "--conversation-ref-id", "c"], "REJECTED");
    })
    .await;
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
