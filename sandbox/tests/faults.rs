//! Faults on calls and webhooks, and that the journal tells of each.

mod support;

use amochats::{ChannelSecret, verify_webhook};
use amochats_sandbox::{Content, Faults, HookOutcome, Switches};
use serde_json::json;
use std::time::Duration;
use support::{ACCOUNT, Channel, D0_MSEC, Receiver, SECRET, config, hmac_hex, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn faults(rules: &[&str]) -> Faults {
    Faults { seed: 0, rules: rules.iter().map(|rule| rule.parse().expect(rule)).collect() }
}

/// A message on a connection of its own, and all the bytes that came back.
async fn bytes_of(channel: &Channel, msgid: &str) -> Vec<u8> {
    let body = json!({ "event_type": "new_message", "payload": text(msgid, "c-1", "u-1", "hi") }).to_string();
    let mut stream = tokio::net::TcpStream::connect(channel.sandbox.api_addr()).await.expect("connected");
    let request = format!(
        "POST /v2/origin/custom/{} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Signature: {}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        channel.scope,
        hmac_hex(body.as_bytes()),
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // A reset after the first bytes is an end, too.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn a_dropped_call_was_not_done_a_lost_one_was() {
    let channel = Channel::connected(config()).await;
    let last = || channel.sandbox.journal().pop().expect("an entry").summary;
    channel.sandbox.set_faults(faults(&["api:drop"])).expect("valid");
    assert_eq!(bytes_of(&channel, "m-1").await, b"");
    assert_eq!((last().status, last().faults), (None, vec!["drop".to_owned()]));
    assert!(channel.sandbox.chats().is_empty());

    channel.sandbox.set_faults(faults(&["api:lost"])).expect("valid");
    assert_eq!(bytes_of(&channel, "m-1").await, b"");
    assert_eq!((last().faults, channel.sandbox.chats().len()), (vec!["lost".to_owned()], 1));
    channel.sandbox.set_faults(Faults::default()).expect("valid");
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.refused(400, "duplicate_msgid");

    channel.sandbox.set_faults(faults(&["api:cut"])).expect("valid");
    let cut = bytes_of(&channel, "m-2").await;
    assert!(cut.starts_with(b"HTTP/1.1 200 OK\r\n") && cut.len() == 40, "{cut:?}");
    assert_eq!(channel.sandbox.messages(&channel.sandbox.chats()[0].conversation_ref_id).len(), 2);
}

#[tokio::test]
async fn statuses_limits_and_clocks_fail_by_kind_and_count() {
    let channel = Channel::connected(config()).await;
    let rules = faults(&["api:status=503/new_message#1", "api:rate_limit=2s/typing"]);
    channel.sandbox.set_faults(rules).expect("valid");
    let message = text("m-1", "c-1", "u-1", "hi");
    let said = channel.send(&message).await.refused(503, "fault");
    assert!(said.contains("nothing was done"), "{said}");
    channel.send(&message).await.ok();
    let typing = json!({ "conversation_id": "c-1", "sender": { "id": "u-1" } });
    channel.call("POST", &format!("{}/typing", channel.scope), &typing).await.refused(429, "fault");
    let url = format!("http://{}/v2/origin/custom/{}/typing", channel.sandbox.api_addr(), channel.scope);
    let limited = channel.http.post(url).body("{}").send().await.expect("an answer");
    assert_eq!(limited.headers()["retry-after"], "2");

    channel.sandbox.set_faults(faults(&["api:skew=3600s", "api:latency=1ms"])).expect("valid");
    channel.send(&text("m-2", "c-1", "u-1", "hi")).await.refused(403, "date_outside_window");
    let entry = channel.sandbox.journal().pop().expect("an entry").summary;
    assert_eq!(entry.faults, ["skew=3600", "latency=1"]);
}

#[tokio::test]
async fn a_seed_repeats_the_faults_of_a_run() {
    let run = async || {
        let channel = Channel::connected(config()).await;
        channel.sandbox.set_faults(faults(&["api:status=500@0.5"])).expect("valid");
        let mut statuses = Vec::new();
        for i in 0..16 {
            statuses.push(channel.send(&text(&format!("m-{i}"), "c-1", "u-1", "hi")).await.status);
        }
        statuses
    };
    let first = run().await;
    assert!(first.contains(&200) && first.contains(&500), "{first:?}");
    assert_eq!(run().await, first);
}

async fn desk() -> (Channel, Receiver, amochats::ConversationRefId) {
    let receiver = Receiver::start(Some(200)).await;
    let channel = Channel::connected(config()).await;
    channel.sandbox.set_webhook_url(&*receiver.url).expect("an address");
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
    (channel, receiver, chat)
}

#[tokio::test]
async fn webhooks_arrive_broken_twice_or_not_at_all() {
    let (channel, mut receiver, chat) = desk().await;
    let secret = || [ChannelSecret::new(SECRET).expect("clean")];
    let answer = async |rule: &str| {
        channel.sandbox.set_faults(faults(&[rule])).expect("valid");
        channel.sandbox.answer(&chat, Content::text("yes <1>")).await.expect("known").hook
    };
    let signature =
        |hook: &support::Received| hook.headers["x-signature"].to_str().expect("ASCII").to_owned();

    assert_eq!(answer("hook:drop").await, HookOutcome::Dropped);
    assert_eq!(answer("hook:duplicate").await, HookOutcome::Accepted);
    let (first, second) = (receiver.next().await, receiver.next().await);
    assert_eq!(first.body, second.body, "nothing of the dropped one");

    answer("hook:bad_signature").await;
    let hook = receiver.next().await;
    let signed = hook.text().trim_end().as_bytes().to_vec();
    assert_eq!(signature(&hook)[1..], hmac_hex(&signed)[1..]);
    assert_ne!(signature(&hook), hmac_hex(&signed));

    answer("hook:truncated").await;
    let hook = receiver.next().await;
    assert!(serde_json::from_slice::<serde_json::Value>(&hook.body).is_err());
    assert!(verify_webhook(&secret(), &hook.body, Some(&signature(&hook))).is_err());

    answer("hook:reserialised").await;
    let hook = receiver.next().await;
    assert_eq!(hook.json()["message"]["message"]["text"], "yes <1>");
    assert!(verify_webhook(&secret(), &hook.body, Some(&signature(&hook))).is_err());
    let said = channel.sandbox.journal().pop().expect("an entry").summary;
    assert!(said.verdict.sentence.contains("signature reserialised"), "{}", said.verdict.sentence);
    assert_eq!(said.faults, ["reserialised"]);

    answer("hook:stale_clock=600s/webhook_v2").await;
    let hook = receiver.next().await;
    assert_eq!(hook.json()["time"], D0_MSEC / 1000 - 600);
    verify_webhook(&secret(), &hook.body, Some(&signature(&hook))).expect("stale, but genuine");
    answer("hook:latency=1ms").await;
    receiver.next().await;
}

#[tokio::test]
async fn a_webhook_is_overtaken_by_the_next() {
    let (channel, mut receiver, chat) = desk().await;
    channel.sandbox.set_faults(faults(&["hook:reorder=60000ms#1"])).expect("valid");
    let first = channel.sandbox.answer(&chat, Content::text("first"));
    // The second is written once the first has been drawn: `join` polls in this order.
    let second = channel.sandbox.answer(&chat, Content::text("second"));
    let (first, second) = tokio::join!(first, second);
    assert_eq!(
        (first.expect("known").hook, second.expect("known").hook),
        (HookOutcome::Accepted, HookOutcome::Accepted)
    );
    let texts = [receiver.next().await, receiver.next().await]
        .map(|hook| hook.json()["message"]["message"]["text"].as_str().expect("text").to_owned());
    assert_eq!(texts, ["second", "first"]);
}

#[tokio::test]
async fn a_receiver_that_is_late_three_times_waits_in_the_slow_lane() {
    let channel = Channel::connected(config()).await;
    let switches = Switches { hook_timeout_ms: 20, slow_lane_ms: Some(1), ..Switches::default() };
    channel.sandbox.set_switches(switches).expect("valid");
    let silent = Receiver::start(None).await;
    channel.sandbox.set_webhook_url(&*silent.url).expect("an address");
    channel.send(&text("m-1", "c-1", "u-1", "hi")).await.ok();
    let chat = channel.sandbox.chats().remove(0).conversation_ref_id;
    let waited = async || {
        channel.sandbox.answer(&chat, Content::text("a")).await.expect("known");
        channel.sandbox.journal().pop().expect("an entry").summary.verdict.sentence.contains("slow lane")
    };
    let slow = [waited().await, waited().await, waited().await, waited().await];
    assert_eq!(slow, [false, false, false, true]);
    let quick = Receiver::start(Some(200)).await;
    channel.sandbox.set_webhook_url(&*quick.url).expect("an address");
    let switches = Switches { slow_lane_ms: Some(1), ..Switches::default() };
    channel.sandbox.set_switches(switches).expect("valid");
    assert_eq!([waited().await, waited().await], [true, false], "the priority goes both ways");
}

#[tokio::test]
async fn a_rule_that_cannot_be_is_refused() {
    let channel = Channel::connected(config()).await;
    let mut rule: amochats_sandbox::FaultRule = "hook:drop".parse().expect("whole");
    rule.on = amochats_sandbox::Side::Api;
    rule.fault = amochats_sandbox::FaultName::Duplicate;
    let error = channel.sandbox.set_faults(Faults { seed: 0, rules: vec![rule] }).expect_err("no such side");
    assert_eq!(error.field(), Some("fault"));
    assert!(channel.sandbox.faults().rules.is_empty());
    let mut changes = channel.sandbox.subscribe();
    channel.sandbox.set_faults(faults(&["hook:drop"])).expect("valid");
    let told =
        tokio::time::timeout(Duration::from_secs(30), changes.recv()).await.expect("soon").expect("open");
    assert_eq!(told, amochats_sandbox::Change::Settings);
    assert_eq!(channel.sandbox.faults().rules.len(), 1);
    assert_eq!(channel.account.as_str(), ACCOUNT);
}
