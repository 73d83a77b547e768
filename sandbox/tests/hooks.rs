//! The webhooks: their form, their signature, and that each is sent once.

mod support;

use amochats::{ChannelSecret, WebhookKind, parse_webhook, verify_webhook};
use amochats_sandbox::{Content, Delivery, HookOutcome, Personality, SandboxConfig, Switches};
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{ACCOUNT, Channel, D0_MSEC, Receiver, SECRET, Turned, config, hmac_hex, text};

async fn with_receiver(status: Option<u16>, config: SandboxConfig) -> (Channel, Receiver) {
    let receiver = Receiver::start(status).await;
    let config = SandboxConfig { webhook_url: Some(receiver.url.clone()), ..config };
    (Channel::connected(config).await, receiver)
}

#[tokio::test]
async fn an_answer_is_a_v2_webhook_signed_without_its_final_line_feed() {
    let (channel, mut receiver) = with_receiver(Some(200), config()).await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0);
    let account = channel.sandbox.accounts().remove(0);

    let sent =
        channel.sandbox.answer(&chat.conversation_ref_id, Content::text("Ответ <1>")).await.expect("known");
    assert_eq!(sent.hook, HookOutcome::Accepted);
    let hook = receiver.next().await;

    assert_eq!(hook.path, format!("/in/{}", channel.scope));
    assert_eq!(hook.headers["content-type"], "application/json");
    let body = hook.text().strip_suffix('\n').expect("a line feed after the body");
    let expected = format!(
        "{{\"account_id\":\"{ACCOUNT}\",\"time\":1704067200,\"message\":{{\
         \"receiver\":{{\"id\":\"{}\",\"name\":\"Anna\",\"client_id\":\"u-1\"}},\
         \"sender\":{{\"id\":\"{}\",\"name\":\"Manager\"}},\
         \"conversation\":{{\"id\":\"{}\",\"client_id\":\"c-1\"}},\
         \"timestamp\":1704067200,\"msec_timestamp\":1704067200000,\
         \"message\":{{\"id\":\"{}\",\"type\":\"text\",\"text\":\"Ответ <1>\",\"markup\":null,\"tag\":\"\",\
         \"media\":\"\",\"thumbnail\":\"\",\"file_name\":\"\",\"file_size\":0}}}}}}",
        chat.client.user_ref_id, account.users[0].user_ref_id, chat.conversation_ref_id, sent.message_ref_id,
    );
    assert_eq!(body, expected);
    assert_eq!(hook.headers["x-signature"], hmac_hex(body.as_bytes()).as_str());
    assert_ne!(hook.headers["x-signature"], hmac_hex(&hook.body).as_str());

    let signature = hook.headers["x-signature"].to_str().expect("ASCII");
    let secret = ChannelSecret::new(SECRET).expect("clean");
    let verified = verify_webhook(&[secret], &hook.body, Some(signature)).expect("genuine");
    let WebhookKind::Message(message) = parse_webhook(verified).expect("a webhook").kind else {
        panic!("not a message");
    };
    assert_eq!(message.message_ref_id, Some(sent.message_ref_id));
}

/// The signature once more, by another language's library.
#[tokio::test]
async fn openssl_makes_the_same_signature() {
    use std::io::Write as _;
    let (channel, mut receiver) = with_receiver(Some(200), config()).await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0);
    channel.sandbox.answer(&chat.conversation_ref_id, Content::text("да & нет")).await.expect("known");
    let hook = receiver.next().await;

    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha1", "-hmac", SECRET])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let signed = hook.text().trim_end_matches('\n').to_owned();
    openssl.stdin.take().expect("piped").write_all(signed.as_bytes()).expect("it reads");
    let output = openssl.wait_with_output().expect("it ends");
    let printed = String::from_utf8(output.stdout).expect("ASCII");
    let hex = printed.trim().rsplit(' ').next().expect("a word");
    assert_eq!(hook.headers["x-signature"], hex);
}

#[tokio::test]
async fn the_line_feed_can_be_switched_off() {
    let config =
        SandboxConfig { switches: Switches { hook_newline: false, ..Switches::default() }, ..config() };
    let (channel, mut receiver) = with_receiver(Some(200), config).await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0);
    channel.sandbox.answer(&chat.conversation_ref_id, Content::text("a")).await.expect("known");
    let hook = receiver.next().await;
    assert!(hook.text().ends_with('}'));
    assert_eq!(hook.headers["x-signature"], hmac_hex(&hook.body).as_str());
}

#[tokio::test]
async fn without_a_version_the_webhook_is_flat_but_write_first_is_not() {
    let (channel, mut receiver) = with_receiver(Some(200), config()).await;
    channel.connect(&json!({ "account_id": ACCOUNT })).await.ok();
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0);
    channel.sandbox.answer(&chat.conversation_ref_id, Content::text("hello")).await.expect("known");
    assert_eq!(
        receiver.next().await.text(),
        "{\"receiver\":\"u-1\",\"conversation_id\":\"c-1\",\"msec_timestamp\":1704067200000,\"type\":\"text\",\
         \"text\":\"hello\",\"markup\":null,\"tag\":\"\",\"media\":\"\",\"thumbnail\":\"\",\"file_name\":\"\",\
         \"file_size\":0,\"media_group_id\":\"\"}\n"
    );
    assert_eq!(channel.sandbox.typing(&chat.conversation_ref_id).await.expect("known"), None);

    let first = channel.sandbox.write_first(&ACCOUNT.into(), "+15550100", Content::text("hello")).await;
    assert!(first.expect("known").hook.is_accepted());
    let hook = receiver.next().await.json();
    assert_eq!(hook["message"]["receiver"]["phone"], "+15550100");
    assert!(hook["message"]["receiver"].get("client_id").is_none());
    assert!(hook["message"]["conversation"].get("client_id").is_none());
}

#[tokio::test]
async fn the_first_generation_had_eight_keys() {
    let config = SandboxConfig { personality: Personality::Gen1, ..config() };
    let (channel, mut receiver) = with_receiver(Some(200), config).await;
    channel.connect(&json!({ "account_id": ACCOUNT })).await.ok();
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0);
    channel.sandbox.answer(&chat.conversation_ref_id, Content::text("hello")).await.expect("known");
    assert_eq!(
        receiver.next().await.text(),
        "{\"receiver\":\"u-1\",\"conversation_id\":\"c-1\",\"type\":\"text\",\"text\":\"hello\",\"media\":\"\",\
         \"thumbnail\":\"\",\"file_name\":\"\",\"file_size\":0}\n"
    );
    assert!(channel.sandbox.write_first(&ACCOUNT.into(), "+1", Content::text("a")).await.is_err());
}

#[tokio::test]
async fn pictures_files_and_sources_are_named() {
    let (channel, mut receiver) = with_receiver(Some(200), config()).await;
    let mut message = text("m-1", "c-1", "u-1", "hi");
    message["source"] = json!({ "external_id": "15550199" });
    channel.send(&message).await.ok();
    let id = channel.sandbox.chats().remove(0).conversation_ref_id;
    message["msgid"] = json!("m-2");
    message["source"] = json!({ "external_id": "another" });
    channel.send(&message).await.ok();

    channel.sandbox.answer(&id, Content::picture("https://example.org/a.png")).await.expect("known");
    let hook = receiver.next().await.json();
    assert_eq!(hook["message"]["source"], json!({ "external_id": "15550199" }));
    assert_eq!(hook["message"]["message"]["type"], "picture");
    assert_eq!(hook["message"]["message"]["media"], "https://example.org/a.png");
    assert_eq!(hook["message"]["message"]["thumbnail"], "https://example.org/a.png");

    channel.sandbox.answer(&id, Content::file("https://example.org/a.pdf", "a.pdf", 5)).await.expect("known");
    let hook = receiver.next().await.json();
    assert_eq!(hook["message"]["message"]["thumbnail"], "");
    assert_eq!(hook["message"]["message"]["file_name"], "a.pdf");
    assert_eq!(hook["message"]["message"]["file_size"], 5);

    for empty in [Content::text(" \n"), Content::picture("javascript:alert(1)")] {
        let error = channel.sandbox.answer(&id, empty).await.expect_err("refused");
        assert!(error.field().expect("a field").starts_with("content"));
    }
}

#[tokio::test]
async fn typing_is_told_at_most_every_five_seconds() {
    let clock = Turned::at(D0_MSEC);
    let config = SandboxConfig { clock: clock.clock(), ..config() };
    let (channel, mut receiver) = with_receiver(Some(200), config).await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
    let manager = channel.sandbox.accounts().remove(0).users.remove(0).user_ref_id;

    assert_eq!(channel.sandbox.typing(&chat).await.expect("known"), Some(HookOutcome::Accepted));
    assert_eq!(
        receiver.next().await.text(),
        format!(
            "{{\"account_id\":\"{ACCOUNT}\",\"time\":1704067200,\"action\":{{\"typing\":{{\"user\":{{\"id\":\
             \"{manager}\"}},\"conversation\":{{\"id\":\"{chat}\",\"client_id\":\"c-1\"}},\
             \"expired_at\":1704067205}}}}}}\n"
        )
    );
    clock.advance(Duration::from_millis(4999));
    assert_eq!(channel.sandbox.typing(&chat).await.expect("known"), None);
    clock.advance(Duration::from_millis(1));
    assert_eq!(channel.sandbox.typing(&chat).await.expect("known"), Some(HookOutcome::Accepted));
}

#[tokio::test]
async fn a_webhook_is_sent_once_and_only_200_counts() {
    for status in [201, 204, 302, 401, 500, 503] {
        let (channel, mut receiver) = with_receiver(Some(status), config()).await;
        channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
        let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
        let sent = channel.sandbox.answer(&chat, Content::text("a")).await.expect("known");
        assert_eq!(sent.hook, HookOutcome::Refused(status));
        let entry = channel.sandbox.journal().pop().expect("an entry");
        assert_eq!((entry.summary.status, &*entry.summary.verdict.name), (Some(status), "refused"));
        if status == 500 {
            assert_eq!(entry.answer.text, "the receiver's words");
        }
        // The outcome is final when `answer` returns: a second try would be here by its end.
        let _first = receiver.next().await;
        channel.sandbox.shutdown().await;
        assert!(receiver.received.try_recv().is_err(), "one try after {status}");
    }
}

#[tokio::test]
async fn a_slow_receiver_is_cut_off() {
    let config =
        SandboxConfig { switches: Switches { hook_timeout_ms: 50, ..Switches::default() }, ..config() };
    let (channel, _receiver) = with_receiver(None, config).await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
    let sent = channel.sandbox.answer(&chat, Content::text("a")).await.expect("known");
    assert_eq!(sent.hook, HookOutcome::TimedOut);
    let message = channel.sandbox.messages(&chat).pop().expect("the answer");
    assert_eq!(message.delivery, Delivery::Sent, "a lost webhook is not reported to the manager as an error");
    assert_eq!(message.hook.expect("an outcome").name, "timed_out");
}

#[tokio::test]
async fn a_broken_connection_is_not_tried_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let channel = Channel::connected(SandboxConfig { webhook_url: Some(url), ..config() }).await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
    let hang_up = async { drop(listener.accept().await.expect("a connection")) };
    let (sent, ()) = tokio::join!(channel.sandbox.answer(&chat, Content::text("a")), hang_up);
    assert!(matches!(sent.expect("known").hook, HookOutcome::Unreachable(_)));
    let listener = listener.into_std().expect("open");
    let again = listener.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(again, Err(std::io::ErrorKind::WouldBlock), "one connection, one try");
}

#[tokio::test]
async fn what_cannot_be_sent_is_said() {
    let channel = Channel::connected(config()).await;
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
    let answer = async || channel.sandbox.answer(&chat, Content::text("a")).await.expect("known").hook;
    assert_eq!(answer().await, HookOutcome::NoWebhookUrl);

    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    channel.sandbox.set_webhook_url(format!("http://{closed}/")).expect("an address");
    assert!(matches!(answer().await, HookOutcome::Unreachable(reason) if reason.contains("refused")));

    channel
        .call(
            "DELETE",
            &format!("{}/disconnect", channel.sandbox.channel_id()),
            &json!({ "account_id": ACCOUNT }),
        )
        .await
        .ok();
    assert_eq!(answer().await, HookOutcome::NotConnected);
    for bad in ["", "example.org/x", "ftp://example.org/", "http://user:pass@example.org/"] {
        assert_eq!(channel.sandbox.set_webhook_url(bad).expect_err(bad).field(), Some("webhook_url"));
    }
}
