//! What the server and the command say (G11): secrets, texts, phones and e-mails are planted
//! through all doors, and none of them may come out of a log, an error or a metric.
//!
//! It catches, tried once: a line at level debug with a webhook's body and signature.

use amochats::{ChannelSecret, sign_body};
use amochats_proto::v1::channel_service_client::ChannelServiceClient;
use amochats_proto::v1::{
    Content, DeliveryStatus, EditMessageRequest, Message, MessageEdit, Scope, SendMessageRequest, Sender,
    SetDeliveryStatusRequest, TextContent, content,
};
use amochats_tests::command::{amochats, run};
use amochats_tests::secrecy::{EMAIL, OTHER_SECRET, PHONE, TEXT, leaks};
use amochats_tests::server::{ACCOUNT, CHANNEL, Home, SECRET};
use amochats_tests::traffic::{Connection, Consumer, Record};
use std::fs;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;

/// A secret that no channel can have.
const BAD_SECRET: &str = "PLANTED SECRET";

/// All that was said, and by whom.
#[derive(Default)]
struct Heard(Vec<(String, String)>);

impl Heard {
    fn add(&mut self, who: impl Into<String>, said: impl Into<String>) {
        self.0.push((who.into(), said.into()));
    }

    /// Names what came out that should not.
    fn leaks(&self, planted: &[&str]) -> String {
        self.0.iter().map(|(who, said)| leaks(who, said, planted)).collect()
    }
}

#[tokio::test]
async fn nothing_that_is_planted_comes_out() {
    let home = Home::new();
    let mut command = home.command();
    command.env("RUST_LOG", "trace");
    let server = home.start_as(command).await;
    let mut heard = Heard::default();
    let mut signatures = Vec::new();

    // Webhooks: genuine, forged, of no shape, too large.
    let message = format!(
        r#"{{"account_id":"{ACCOUNT}","time":1,"message":{{"receiver":{{"id":"r","phone":"{PHONE}","email":"{EMAIL}"}},"conversation":{{"id":"c"}},"message":{{"id":"c/1","type":"text","text":"{TEXT}"}}}}}}"#
    );
    let bodies = [
        message.clone(),
        message.replace(TEXT, &format!("{TEXT} other content")),
        message.replace("\"text\":", "\"text\":[").replace(&format!("{TEXT}\""), &format!("{TEXT}\"]")),
        format!("{TEXT} {PHONE} {EMAIL} is no JSON"),
        format!(r#"{{"future":["{TEXT}","{PHONE}","{EMAIL}"]}}"#),
        format!(r#"{{"receiver":"{PHONE}","conversation_id":"c","type":"text","text":"{TEXT}"}}"#),
        format!(
            r#"{{"account_id":"{ACCOUNT}","time":1,"action":{{"typing":{{"user":{{"id":"u","name":"{TEXT}"}},"conversation":{{"id":"c"}},"expired_at":5}}}}}}"#
        ),
    ];
    let secret = ChannelSecret::new(SECRET).expect("clean");
    for body in &bodies {
        let mut connection = Connection::open(&server.listener).await.expect("connected");
        assert_eq!(connection.post(body).await.expect("answered"), 200, "{body}");
        let signature = sign_body(&secret, body.as_bytes());
        for bad in ["0".repeat(40), "short".into(), sign_body(&secret, b"x")] {
            assert_eq!(connection.post_signed(body, &bad).await.expect("answered"), 401);
            signatures.push(bad);
        }
        signatures.push(signature);
    }
    signatures.retain(|signature| signature != "short" && !signature.starts_with("000"));
    let mut connection = Connection::open(&server.listener).await.expect("connected");
    // It may be closed before all of it is sent.
    let _ = connection.post(&format!("{TEXT}{}", PHONE.repeat(200_000))).await;

    // Deliveries, settled.
    let record = Arc::new(Record::default());
    let mut consumer = Consumer::open(&server.grpc, 1).await.expect("a stream");
    let first = consumer.next(&record).await.expect("a delivery");
    consumer.ack(&first[0]).await;
    drop(consumer);

    // Calls, refused here or not answered there.
    let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc)).expect("an address");
    let mut channel = ChannelServiceClient::new(endpoint.connect().await.expect("connected"));
    let scope = Some(Scope { channel_id: CHANNEL.into(), account_id: ACCOUNT.into() });
    let sender = Some(Sender {
        user_id: "u".into(),
        name: TEXT.into(),
        phone: Some(PHONE.into()),
        email: Some(EMAIL.into()),
        ..Sender::default()
    });
    let text = content::Kind::Text(TextContent { text: TEXT.into() });
    for (conversation_id, source) in [("c", None), ("", None), ("c", Some(format!("{TEXT}\u{1}")))] {
        let message = Message {
            message_id: "m".into(),
            conversation_id: conversation_id.into(),
            sender: sender.clone(),
            content: Some(Content { kind: Some(text.clone()) }),
            source_external_id: source,
            ..Message::default()
        };
        let request = SendMessageRequest { scope: scope.clone(), message: Some(message) };
        let error = channel.send_message(request).await.expect_err("nobody is there");
        heard.add("SendMessage", format!("{error:?} {error}"));
    }
    let edit = MessageEdit {
        message_id: Some("m".into()),
        content: Some(Content { kind: Some(text) }),
        ..MessageEdit::default()
    };
    let request = EditMessageRequest { scope: scope.clone(), edit: Some(edit) };
    heard.add("EditMessage", format!("{:?}", channel.edit_message(request).await.expect_err("incomplete")));
    let status = DeliveryStatus { state: 3, error_code: Some(1), error: Some(TEXT.into()) };
    let request = SetDeliveryStatusRequest { scope, message_ref_id: "m".into(), status: Some(status) };
    heard.add(
        "SetDeliveryStatus",
        format!("{:?}", channel.set_delivery_status(request).await.expect_err("1")),
    );

    let mut admin = TcpStream::connect(&server.admin).await.expect("connected");
    admin.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("written");
    let mut metrics = String::new();
    admin.read_to_string(&mut metrics).await.expect("readable");
    assert!(metrics.contains("amochats_"), "{metrics}");
    heard.add("metrics", metrics);
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
    let log = fs::read_to_string(home.log()).expect("readable");
    assert!(log.contains("TRACE") || log.contains("\"level\":\"TRACE"), "it was asked to say everything");
    assert!(log.contains("refused"), "it spoke of the forged webhooks");
    heard.add("the log", log);

    let mut planted = vec![TEXT, PHONE, EMAIL, SECRET, BAD_SECRET, OTHER_SECRET];
    planted.extend(signatures.iter().map(String::as_str));
    assert_eq!(heard.leaks(&planted), "");
}

#[test]
fn errors_of_the_command_and_of_the_configuration_do_not_repeat_secrets() {
    let home = Home::new();
    let good = fs::read_to_string(home.config()).expect("readable");
    let mut heard = Heard::default();
    for (name, toml) in [
        ("a secret with a blank", good.replace(SECRET, BAD_SECRET)),
        ("a secret without its quote", good.replace(&format!("{SECRET}\""), OTHER_SECRET)),
        ("a secret without quotes", good.replace(&format!("\"{SECRET}\""), OTHER_SECRET)),
        ("a secret in a list", good.replace(&format!("\"{SECRET}\""), &format!("[\"{OTHER_SECRET}\"]"))),
        ("a secret under an unknown key", good.replace("secret =", "secrte =").replace(SECRET, OTHER_SECRET)),
        ("a secret twice", good.replace("base_url", &format!("secret = \"{OTHER_SECRET}\"\nbase_url"))),
        (
            "old secrets that are none",
            good.replace("base_url", &format!("old_secrets = \"{OTHER_SECRET}\"\nbase_url")),
        ),
        (
            "an old secret with a blank",
            good.replace("base_url", &format!("old_secrets = [\"{BAD_SECRET}\"]\nbase_url")),
        ),
    ] {
        let path = home.path().join("bad.toml");
        fs::write(&path, toml).expect("written");
        for args in [&["serve", "--config"][..], &["config", "check"]] {
            let ended = run(amochats().args(args).arg(&path).env("RUST_LOG", "trace"), b"");
            assert_ne!(ended.code, 0, "{args:?} with {name}");
            heard.add(format!("{args:?} with {name}"), ended.stdout + &ended.stderr);
        }
    }
    let secret_file = home.path().join("secret");
    fs::write(&secret_file, BAD_SECRET).expect("written");
    let scope = format!("{CHANNEL}_{ACCOUNT}");
    for args in [
        &["sign", "body"][..],
        &["webhook", "verify", "--signature", "0000000000000000000000000000000000000000"],
        &["send", "--scope-id", &scope, "--text", TEXT, "--phone", PHONE],
        &["send", "--scope-id", &scope, "--payload-file", "-"],
    ] {
        let body =
            format!("{{\"event_type\":\"new_message\",\"payload\":[\"{TEXT}\",\"{PHONE}\",\"{EMAIL}\"]}}");
        let mut with_file = amochats();
        with_file.args(args).arg("--secret-file").arg(&secret_file);
        let mut with_variable = amochats();
        with_variable.args(args).env("AMOCHATS_SECRET", OTHER_SECRET);
        for command in [&mut with_file, &mut with_variable] {
            let ended = run(command.env("RUST_LOG", "trace"), body.as_bytes());
            // What is asked for goes to standard output; what is said about it must not tell.
            heard.add(format!("{args:?}"), ended.stderr);
        }
    }
    assert_eq!(heard.leaks(&[TEXT, PHONE, EMAIL, BAD_SECRET, OTHER_SECRET, SECRET]), "");
}
