//! The commands that call the service: against the sandbox, and against a peer that refuses.

use amochats::{Content, NewMessage, parse_date};
use amochats_sandbox::{Delivery, Sandbox, SandboxConfig, Switches};
use amochats_tests::command::{Ended, amochats, run};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, SystemTime};

const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
const SCOPE: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0_13fa84f7-6b61-4086-98ed-0a9de19ee15c";

/// Runs a command whose arguments are given as in a shell, where no argument holds a blank.
fn call(url: &str, command: &str) -> Ended {
    call_with(url, command, &[], b"")
}

fn call_with(url: &str, command: &str, more: &[&str], stdin: &[u8]) -> Ended {
    let mut process = amochats();
    process
        .env("AMOCHATS_SECRET", SECRET)
        .args(command.split_whitespace())
        .args(more)
        .arg("--base-url")
        .arg(url);
    run(&mut process, stdin)
}

fn answered(ended: &Ended) -> Value {
    assert_eq!(ended.stderr, "", "{ended:?}");
    let line = ended.stdout.strip_suffix('\n').filter(|line| !line.contains('\n')).expect("one line");
    serde_json::from_str(line).expect("JSON")
}

async fn sandbox() -> (Sandbox, String) {
    let config = SandboxConfig {
        channel_id: Some(CHANNEL.into()),
        secret: Some(SECRET.into()),
        accounts: vec![ACCOUNT.into()],
        switches: Switches::strict(),
        ..SandboxConfig::default()
    };
    let sandbox = Sandbox::start(config).await.expect("loopback");
    let url = format!("http://{}", sandbox.api_addr());
    (sandbox, url)
}

/// Answers one request with these bytes, and gives the request.
fn peer(answer: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let request = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream.try_clone().expect("one socket, two handles"));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).expect("text"), 0, "the head ends");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.expect("a body").parse().expect("a number")];
        reader.read_exact(&mut body).expect("the whole body");
        stream.write_all(answer.as_bytes()).expect("the client waits");
        head + &String::from_utf8(body).expect("JSON")
    });
    (url, request)
}

const STATUS: &str = "status --message-ref-id M --read --scope-id a_b";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_channel_is_run_from_the_shell() {
    let (sandbox, url) = sandbox().await;
    let account = format!("--channel-id {CHANNEL} --account-id {ACCOUNT}");

    let ended = call_with(&url, &format!("connect --json {account}"), &["--title", "Shop chat"], b"");
    let connected = answered(&ended);
    assert_eq!(ended.code, 0);
    assert_eq!((&connected["scope_id"], &connected["title"]), (&json!(SCOPE), &json!("Shop chat")));

    let message = format!("send --json --scope-id {SCOPE} --conversation-id c-9 --user-id u-5 --name Anna");
    let ended = call_with(&url, &message, &["--message-id=m-17", "--text", "Is it still there?"], b"");
    let sent = answered(&ended);
    assert_eq!((ended.code, &sent["message_id"]), (0, &json!("m-17")));
    let chat = sandbox.chats().remove(0);
    assert_eq!(sent["conversation_ref_id"], json!(chat.conversation_ref_id));
    let shown = sandbox.messages(&chat.conversation_ref_id).remove(0);
    assert_eq!(sent["message_ref_id"], json!(shown.message_ref_id));

    // An id is made up where none is given, a new one each time.
    let made_up = |_| answered(&call(&url, &format!("{message} --text again")))["message_id"].clone();
    let [first, second]: [Value; 2] = std::array::from_fn(made_up);
    assert!(first.as_str().is_some_and(|id| id.len() == 36) && first != second, "{first} {second}");
    assert_eq!(sandbox.messages(&chat.conversation_ref_id).len(), 3);

    let answer = sandbox
        .answer(&chat.conversation_ref_id, amochats_sandbox::Content::text("yes"))
        .await
        .expect("known");
    let status = format!("status --scope-id {SCOPE} --message-ref-id {}", answer.message_ref_id);
    let delivery = || {
        let messages = sandbox.messages(&chat.conversation_ref_id);
        messages.into_iter().find(|m| m.message_ref_id == answer.message_ref_id).expect("the answer").delivery
    };
    for (flag, said, expected) in [
        ("--delivered", "reported as delivered\n", Delivery::Delivered),
        ("--read", "reported as read\n", Delivery::Read),
    ] {
        let ended = call(&url, &format!("{status} {flag}"));
        assert_eq!((ended.code, ended.stdout.as_str()), (0, said), "{ended:?}");
        assert_eq!(delivery(), expected);
    }
    let ended = call_with(&url, &format!("{status} --json --failed 905"), &["--error", "No route"], b"");
    assert_eq!(answered(&ended), json!({"message_ref_id": answer.message_ref_id, "status": "failed"}));
    assert_eq!(delivery(), Delivery::Error { code: 905, text: "No route".into() });

    let ended = call(&url, &format!("disconnect {account}"));
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "disconnected\n"), "{ended:?}");
    assert_eq!(call(&url, &format!("{message} --text late")).code, 1);
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_service_says_no() {
    let (sandbox, url) = sandbox().await;
    let account = format!("--channel-id {CHANNEL} --account-id {ACCOUNT}");
    let ended = call(&url, &format!("connect {account} --secret other"));
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    assert!(ended.error().starts_with("the service refused the signature or the right"), "{ended:?}");

    let ended = call(&url, "connect --json --channel-id nobody --account-id nowhere");
    assert_eq!((ended.code, &answered(&ended)["error"]["kind"]), (1, &json!("NOT_FOUND")), "{ended:?}");
    sandbox.shutdown().await;
}

#[test]
fn the_vendors_words_reach_the_caller() {
    const REFUSED: &str = "HTTP/1.1 400 Bad Request\r\n\r\n\
        {\"error_code\":7,\"error_type\":\"X\",\"error_description\":\"user\\n\\u001b[1mnot found\"}";
    let (url, _request) = peer(REFUSED);
    let ended = call(&url, STATUS);
    assert_eq!(ended.code, 1);
    assert_eq!(ended.error(), "the service refused the data; the service said: 7 X user [1mnot found");

    let (url, _request) = peer(REFUSED);
    let ended = call(&url, &format!("{STATUS} --json"));
    assert_eq!(ended.code, 1);
    assert_eq!(
        answered(&ended)["error"],
        json!({
            "kind": "REJECTED", "message": "the service refused the data", "field": null, "http_status": 400,
            "retry_after": null, "may_have_been_applied": false,
            "vendor": {"code": 7, "type": "X", "description": "user\n\u{1b}[1mnot found"},
        })
    );
}

#[tokio::test]
async fn what_could_not_be_done_says_whether_it_may_have_been() {
    for (answer, said) in [
        (
            "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
            "the service is out of order (HTTP 503); try again in 7 s",
        ),
        (
            "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n",
            "the service is out of order (HTTP 502); the call may have had its effect",
        ),
    ] {
        let (url, request) = peer(answer);
        let ended = call(&url, STATUS);
        assert_eq!((ended.code, ended.error()), (3, said));
        let request = request.join().expect("served");
        assert!(
            request.starts_with("POST /v2/origin/custom/a_b/M/delivery_status HTTP/1.1\r\n"),
            "{request}"
        );
    }
    let (url, _request) = peer("");
    let ended = call(&url, STATUS);
    assert_eq!(ended.code, 3);
    assert!(ended.error().ends_with("; the call may have had its effect"), "{ended:?}");

    // Bound, so that nobody else gets the port, but not listening.
    let closed = tokio::net::TcpSocket::new_v4().expect("a socket");
    closed.bind("127.0.0.1:0".parse().expect("an address")).expect("loopback");
    let nobody = closed.local_addr().expect("bound");
    let ended = call(&format!("https://{nobody}"), STATUS);
    assert_eq!(ended.code, 3);
    assert!(ended.error().starts_with("no connection from https://127.0.0.1:"), "{ended:?}");
    assert!(!ended.stderr.contains("effect"), "{ended:?}");
}

#[test]
fn a_dry_run_shows_the_signed_request_and_no_secret() {
    let before = SystemTime::now();
    let ended = call(
        "http://127.0.0.1:9/gateway",
        &format!("disconnect --dry-run --channel-id {CHANNEL} --account-id {ACCOUNT}"),
    );
    let shown = answered(&ended);
    assert_eq!(ended.code, 0);
    let path = format!("/v2/origin/custom/{CHANNEL}/disconnect");
    let body = format!(r#"{{"account_id":"{ACCOUNT}"}}"#);
    assert_eq!(shown["method"], "DELETE");
    assert_eq!(shown["url"], format!("http://127.0.0.1:9/gateway{path}"));
    assert_eq!(shown["body"], body);
    let headers = shown["headers"].as_object().expect("an object");
    let date = headers["Date"].as_str().expect("text");
    let age = parse_date(date).expect("a date").duration_since(before - Duration::from_secs(1));
    assert!(age.expect("not in the past") < Duration::from_secs(60), "{date}");
    // The same as the command that signs alone says.
    let mut sign = amochats();
    sign.env("AMOCHATS_SECRET", SECRET).args(["sign", "request", "--method=DELETE"]);
    let signed = run(sign.args(["--path", &path, "--date", date]), body.as_bytes());
    assert_eq!(&answered(&signed), &shown["headers"]);
    assert!(!ended.stdout.contains(SECRET));

    let ended = call("http://127.0.0.1:9", &format!("{STATUS} --dry-run --body-signature-only"));
    let shown = answered(&ended);
    assert_eq!(shown["headers"].as_object().expect("an object").len(), 2);

    for (region, host) in
        [("ru", "amojo.amocrm.ru"), ("kommo", "amojo.kommo.com"), ("com", "amojo.amocrm.com")]
    {
        let mut command = amochats();
        command.args(STATUS.split(' ')).args(["--dry-run", "--secret", "s", "--region", region]);
        let shown = answered(&run(&mut command, b""));
        assert_eq!(shown["url"], format!("https://{host}/v2/origin/custom/a_b/M/delivery_status"));
    }
}

/// What a dry run of `send` with these flags would send.
fn encoded(flags: &[&str]) -> NewMessage {
    let message = "send --dry-run --scope-id a_b --conversation-id c-9 --user-id u-5 --name Anna \
                   --message-id m-17 --sent-at-msec 1704067200123";
    let shown = answered(&call_with("http://127.0.0.1", message, flags, b""));
    NewMessage::from_json(shown["body"].as_str().expect("text").as_bytes()).expect("the vendor's form")
}

#[test]
fn every_type_of_message_has_its_flag() {
    let url = "https://example.org/f";
    for (flags, name) in [
        (&["--text", "hi"][..], "text"),
        (&["--picture", url], "picture"),
        (&["--file", url, "--file-name", "a.pdf", "--file-size", "7"], "file"),
        (&["--video", url], "video"),
        (&["--voice", url, "--duration", "3"], "voice"),
        (&["--audio", url], "audio"),
        (&["--sticker", url], "sticker"),
        (&["--location", "-37.5,55.25"], "location"),
        (&["--contact", "Bo", "--contact-phone", "+15550123"], "contact"),
    ] {
        let message = encoded(flags);
        assert_eq!(message.content.type_name(), name);
        match message.content {
            Content::Text { text } => assert_eq!(text, "hi"),
            Content::File(media) => {
                assert_eq!((media.file_name.as_deref(), media.file_size), (Some("a.pdf"), Some(7)));
            }
            Content::Voice(media) => assert_eq!((media.url.as_str(), media.duration), (url, Some(3))),
            Content::Picture(media) | Content::Video(media) | Content::Audio(media) => {
                assert_eq!(media.url, url);
            }
            Content::Sticker { media, .. } => assert_eq!(media.url, url),
            Content::Location { lon, lat, .. } => assert_eq!((lon, lat), (-37.5, 55.25)),
            Content::Contact { name, phone, .. } => {
                assert_eq!((name.as_str(), phone.as_str()), ("Bo", "+15550123"));
            }
            other => panic!("{other:?}"),
        }
    }
    let caption = encoded(&["--picture", url, "--text", "receipt"]);
    assert!(matches!(caption.content, Content::Picture(media) if media.text.as_deref() == Some("receipt")));
}

#[test]
fn the_other_flags_reach_the_message() {
    let flags = "--text hi --silent --source 15550199 --reply-to m-16 --conversation-ref-id C --user-ref-id U \
                 --phone +15550100 --email a@example.org --avatar https://example.org/a.png \
                 --receiver-user-id u-6 --receiver-name Bo";
    let message = encoded(&flags.split_whitespace().collect::<Vec<_>>());
    assert_eq!((message.message_id.as_str(), message.sent_at_msec), ("m-17", 1_704_067_200_123));
    assert!(message.silent);
    assert_eq!(message.source_external_id.as_deref(), Some("15550199"));
    assert_eq!(message.reply_to, Some(amochats::QuotedMessage::ById("m-16".into())));
    assert_eq!(message.conversation_ref_id, Some("C".into()));
    let sender = message.sender;
    assert_eq!(
        (sender.user_id.as_str(), sender.name.as_str(), sender.user_ref_id),
        ("u-5", "Anna", Some("U".into()))
    );
    assert_eq!(
        (sender.phone.as_deref(), sender.email.as_deref()),
        (Some("+15550100"), Some("a@example.org"))
    );
    assert_eq!(sender.avatar.as_deref(), Some("https://example.org/a.png"));
    let receiver = message.receiver.expect("a receiver");
    assert_eq!((receiver.user_id.as_str(), receiver.name.as_str()), ("u-6", "Bo"));
}

#[test]
fn a_payload_comes_from_a_file_or_standard_input() {
    let payload = br#"{"event_type":"new_message","payload":{"timestamp":1704067200,"msgid":"m","conversation_id":"c","sender":{"id":"u","name":"A"},"message":{"type":"text","text":"hi"}}}"#;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("message.json");
    fs::write(&file, payload).expect("written");
    let send = "send --dry-run --scope-id a_b --payload-file";
    let url = "http://127.0.0.1";
    let from_file = answered(&call_with(url, send, &[file.to_str().expect("UTF-8")], b""));
    let from_input = answered(&call_with(url, send, &["-"], payload));
    assert_eq!(from_file["body"], from_input["body"]);
    let body: Value = serde_json::from_str(from_file["body"].as_str().expect("text")).expect("JSON");
    assert_eq!(body["payload"]["msec_timestamp"], 1_704_067_200_000_i64);

    let ended = call_with(url, send, &["-"], b"{}");
    assert_eq!(ended.code, 2);
    let ended = call_with(url, send, &["/nowhere/message.json"], b"");
    assert_eq!(ended.code, 3);
    assert!(ended.error().starts_with("cannot read /nowhere/message.json: "), "{ended:?}");
}

#[test]
fn wrong_usage_is_said_before_anything_is_sent() {
    // What was sent there would end with 3: the port is not for HTTP.
    let url = "http://127.0.0.1:9";
    let send = "send --scope-id a_b --conversation-id c --user-id u --name A";
    for (command, said) in [
        ("status --scope-id a_b --message-ref-id M".to_owned(), "--delivered|--read|--failed"),
        ("status --scope-id a_b --message-ref-id M --read --delivered".to_owned(), "cannot be used with"),
        ("status --scope-id a_b --message-ref-id M --failed 900".to_owned(), "--failed must be 901"),
        (
            "status --scope-id a_b --message-ref-id M --failed 905".to_owned(),
            "--failed 905 goes with --error",
        ),
        ("status --scope-id a_b --message-ref-id ../M --read".to_owned(), "message_ref_id: must be letters"),
        ("status --scope-id ab --message-ref-id M --read".to_owned(), "scope_id: must be the channel id"),
        (send.to_owned(), "--text"),
        (format!("{send} --picture http://e.org/a --file http://e.org/b"), "cannot be used with"),
        (format!("{send} --picture a.png"), "payload.message.media: must be a public"),
        (format!("{send} --location 37.6"), "must be two numbers"),
        (format!("{send} --text hi --file-name a"), "required"),
        (format!("{send} --text hi --receiver-user-id u --receiver-name B"), "--user-ref-id"),
        ("send --scope-id a_b --payload-file x --text hi".to_owned(), "cannot be used with"),
        ("send --scope-id a_b --payload-file x --silent".to_owned(), "cannot be used with"),
        (format!("{send} --text hi --timeout 0"), "--timeout"),
        (format!("{send} --text hi --region ru"), "cannot be used with"),
        ("connect --channel-id a --account-id b --hook-version v3".to_owned(), "v3"),
        (format!("{send} --text hi --cacert /dev/null"), "root_certificate: must be PEM"),
    ] {
        let ended = call(url, &command);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{command}: {ended:?}");
        assert!(ended.error().contains(said), "{command}: {ended:?}");
    }
    let mut command = amochats();
    let ended = run(command.args(STATUS.split(' ')).args(["--secret", "s"]), b"");
    assert_eq!(ended.code, 2);
    assert!(ended.error().contains("--region"), "{ended:?}");
    let ended = run(amochats().args(STATUS.split(' ')).args(["--region", "ru"]), b"");
    assert_eq!(ended.code, 2);
    assert!(ended.error().contains("there is no channel secret"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_chat_is_lived_in_from_the_shell() {
    let (sandbox, url) = sandbox().await;
    call(&url, &format!("connect --channel-id {CHANNEL} --account-id {ACCOUNT}"));
    let client = "--conversation-id c-9 --user-id u-5";

    let create = format!("chat create --scope-id {SCOPE} {client} --name Anna");
    let created = answered(&call(&url, &format!("{create} --json --phone +15550100")));
    assert_eq!(created["user"]["phone"], "+15550100");
    let chat = created["conversation_ref_id"].as_str().expect("an id").to_owned();
    assert_eq!(call(&url, &create).stdout, format!("amoCRM's id of the chat is {chat}\n"), "it exists");
    let history = format!("history --scope-id {SCOPE} --conversation-ref-id {chat}");
    assert_eq!(call(&url, &history).stdout, "no messages\n");

    for n in 1..=3 {
        let at = 1_704_067_200_000_i64 + n * 1000;
        let send = format!("send --scope-id {SCOPE} {client} --name Anna --message-id m-{n} --text text-{n}");
        assert_eq!(call(&url, &format!("{send} --sent-at-msec {at}")).code, 0);
    }
    let edit = format!("edit --scope-id {SCOPE} --conversation-id c-9 --message-id m-3");
    let ended = call_with(&url, &edit, &["--text", "new\nline"], b"");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "edited\n"), "{ended:?}");
    assert_eq!(
        call(&url, &history).stdout,
        "Mon, 01 Jan 2024 00:00:03 +0000  Anna: new line\n\
         Mon, 01 Jan 2024 00:00:02 +0000  Anna: text-2\n\
         Mon, 01 Jan 2024 00:00:01 +0000  Anna: text-1\n"
    );
    let page = answered(&call(&url, &format!("{history} --json --offset 1 --limit 1")));
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["messages"][0]["message_id"], "m-2");
    let all = call(&url, &format!("{history} --json --all --limit 2"));
    let ids: Vec<Value> = all
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a message")["message_id"].clone())
        .collect();
    assert_eq!((all.code, ids), (0, vec![json!("m-3"), json!("m-2"), json!("m-1")]));

    let typing = format!("typing --scope-id {SCOPE} {client}");
    assert_eq!(call(&url, &typing).stdout, "shown as typing\n");
    let react = format!("react --scope-id {SCOPE} {client} --message-id m-3");
    assert_eq!(call(&url, &format!("{react} --emoji 👍")).stdout, "reacted\n");
    let reactions = || sandbox.messages(&chat.as_str().into()).remove(2).reactions;
    assert_eq!(reactions()[0].emoji, "👍");
    assert_eq!(answered(&call(&url, &format!("{react} --remove --json"))), json!({"type": "unreact"}));
    assert!(reactions().is_empty());

    let ended = call(&url, &react.replace("m-3", "m-9").replace("react ", "react --emoji x "));
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("no_such_message"), "{ended:?}");
    for (command, said) in [
        (react, "the following required arguments were not provided"),
        (
            format!("{react} --emoji x --remove", react = "react --scope-id a_b --payload-file -"),
            "cannot be used with",
        ),
        (format!("{history} --limit 51"), "limit: must be 1 to 50"),
        (format!("edit --scope-id {SCOPE} --message-id m-3 --text x"), "--conversation-id"),
        (format!("{edit} --text x --failed 905"), "--failed 905 goes with --error"),
        (format!("typing --scope-id {SCOPE} --user-id u-5 --payload-file -"), "cannot be used with"),
    ] {
        let ended = call(&url, &command);
        assert_eq!(ended.code, 2, "{command}");
        assert!(ended.error().contains(said), "{command}: {ended:?}");
    }
    let dry = answered(&call(&url, &format!("{history} --all --dry-run --limit 7")));
    assert_eq!(dry["method"], "GET");
    assert!(dry["url"].as_str().is_some_and(|url| url.ends_with("/history?limit=7&offset=0")), "{dry}");
}
