//! The webhook listener through real TCP: what gets in, what is answered, and when.

#[expect(dead_code, reason = "some of it is for the inbox")]
mod support;

use amochats::{ErrorKind, SIGNATURE_HEADER, WebhookKind};
use amochats_runtime::Config;
use std::fmt::Write as _;
use std::time::Duration;
use support::log::Log;
use support::{
    ACCOUNT, CHANNEL, OLD_SECRET, SECRET, Wire, World, config, message, request, signature, signed, soon,
    webhook_path,
};
use tokio::net::TcpStream;

const KEEP_DEADLINE: Duration = Duration::from_secs(4);

#[tokio::test]
async fn the_answer_follows_the_commit() {
    let mut world = World::new().await;
    world.store.hold();
    let mut wire = world.connect().await;
    wire.send(&signed(message("1", "hi").as_bytes())).await;
    world.store.reached(1).await;
    world.settle_down().await;
    assert!(wire.is_silent(), "nothing is promised before the commit");
    world.store.let_go();
    assert_eq!(wire.answer().await.status, 200);
    assert_eq!(world.next().await.event.raw, message("1", "hi"));
}

#[tokio::test]
async fn what_a_store_refuses_is_answered_503_until_it_works_again() {
    let mut world = World::new().await;
    for kind in [ErrorKind::StoreFailed, ErrorKind::StoreFull, ErrorKind::Closed, ErrorKind::QueueFull] {
        world.store.fail(Some(kind));
        assert_eq!(world.hook(message("1", "hi").as_bytes()).await.status, 503, "{kind:?}");
        let ready = world.admin("/readyz").await;
        assert_eq!((ready.status, world.admin("/healthz").await.status), (503, 200), "{ready:?}");
    }
    assert_eq!(world.unsettled().await, 0);
    world.store.fail(None);
    assert_eq!(world.admin("/readyz").await.status, 200);
    assert_eq!(world.hook(message("1", "hi").as_bytes()).await.status, 200, "a failure is no first copy");
    assert_eq!(world.next().await.event.raw, message("1", "hi"));
}

#[tokio::test]
async fn a_store_that_does_not_commit_in_time_costs_a_503_but_not_the_event() {
    let mut world = World::new().await;
    world.store.hold();
    let mut wire = world.connect().await;
    wire.send(&signed(message("1", "hi").as_bytes())).await;
    world.store.reached(1).await;
    world.clock.advance(KEEP_DEADLINE.saturating_sub(Duration::from_millis(1)));
    world.settle_down().await;
    assert!(wire.is_silent(), "there is a millisecond left");
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(wire.answer().await.status, 503);
    world.store.let_go();
    assert_eq!(world.next().await.event.raw, message("1", "hi"), "committed late, handed out all the same");
    let metrics = world.admin("/metrics").await.body;
    assert!(metrics.contains("\namochats_events_total{kind=\"message\",outcome=\"late\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn only_what_the_channel_signed_gets_in() {
    let world = World::new().await;
    let body = message("1", "hi");
    let genuine = signature(SECRET, body.as_bytes());
    let other = signature("another-secret", body.as_bytes());
    let of_other_body = signature(SECRET, b"{}");
    for (what, wrong) in [
        ("empty", ""),
        ("short", &genuine[..39]),
        ("long", &format!("{genuine}0")),
        ("not hex", &"x".repeat(40)),
        ("not ASCII", &"ä".repeat(20)),
        ("of another secret", &other),
        ("of another body", &of_other_body),
        ("all zero", &"0".repeat(40)),
    ] {
        assert_eq!(world.post(body.as_bytes(), wrong).await.status, 401, "{what}");
    }
    let unsigned = request(&webhook_path(), &[], body.as_bytes());
    assert_eq!(world.ask(&unsigned).await.status, 401, "no header");
    for altered in [format!("{body} "), format!("{body}\n\n"), format!("\n{body}"), body.replace("hi", "ho")]
    {
        assert_eq!(world.post(altered.as_bytes(), &genuine).await.status, 401, "{altered:?}");
    }
    assert_eq!(world.post(b"{\"broken", &genuine).await.status, 401, "broken JSON, wrong signature");
    assert_eq!((world.store.appends(), world.unsettled().await), (0, 0), "nothing reached the store");
}

#[tokio::test]
async fn every_spelling_of_a_genuine_signature_gets_in() {
    let mut world = World::new().await;
    let body = message("1", "hi");
    let genuine = signature(SECRET, body.as_bytes());
    let (lf, crlf) = (format!("{body}\n"), format!("{body}\r\n"));
    let old = signature(OLD_SECRET, body.as_bytes());
    for (what, raw, signature) in [
        ("as received", &body, &genuine),
        ("without the final LF", &lf, &genuine),
        ("without the final CRLF", &crlf, &genuine),
        ("over the LF, too", &lf, &signature(SECRET, lf.as_bytes())),
        ("upper case", &body, &genuine.to_uppercase()),
        ("blanks around", &body, &format!(" {genuine}\t")),
        ("a secret from before", &body, &old),
    ] {
        assert_eq!(world.post(raw.as_bytes(), signature).await.status, 200, "{what}");
    }
    assert_eq!(world.next().await.event.raw, body);
    assert_eq!(world.unsettled().await, 0, "all the same message");
}

#[tokio::test]
async fn genuine_bodies_are_kept_whatever_they_hold() {
    let mut world = World::new().await;
    let bodies: [&[u8]; 9] = [
        b"",
        b"\n",
        b"{\"broken",
        b"\xff\xfe\x00\n",
        b"[1,2]",
        b"null",
        b"{\"message\":\"no object\"}",
        b"{\"account_id\":{},\"action\":{\"waving\":{}}}\r\n",
        "{\"note\":\"привет\"}".as_bytes(),
    ];
    for body in bodies {
        assert_eq!(world.hook(body).await.status, 200, "{body:?}");
        let event = world.next().await.event;
        assert_eq!(event.raw, body, "to the byte");
        assert!(matches!(event.parse().kind, WebhookKind::Unknown), "{body:?}");
        assert_eq!(event.scope_id.as_str(), format!("{CHANNEL}_{ACCOUNT}"));
    }
    let deep = "[".repeat(100_000);
    assert_eq!(world.hook(deep.as_bytes()).await.status, 200);
    assert_eq!(world.next().await.event.raw, deep);
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let mut world = World::new().await;
    for (id, content_type) in [
        ("1", Some("application/json")),
        ("2", Some("text/plain; charset=koi8-r")),
        ("3", Some("multipart/form-data")),
        ("4", Some("")),
        ("5", None),
    ] {
        let body = message(id, "hi");
        let signature = signature(SECRET, body.as_bytes());
        let mut headers = vec![(SIGNATURE_HEADER, signature.as_str())];
        headers.extend(content_type.map(|value| ("Content-Type", value)));
        assert_eq!(world.ask(&request(&webhook_path(), &headers, body.as_bytes())).await.status, 200, "{id}");
        assert_eq!(world.next().await.event.raw, body);
    }
}

#[tokio::test]
async fn the_body_decides_for_which_account() {
    let mut world = World::new().await;
    let post = async |world: &World, account: &str, body: &str| {
        let path = format!("/webhook/{CHANNEL}_{account}");
        let signature = signature(SECRET, body.as_bytes());
        world.ask(&request(&path, &[(SIGNATURE_HEADER, &signature)], body.as_bytes())).await.status
    };
    let v1 = r#"{"receiver":"u","conversation_id":"c","type":"text","text":"hi"}"#;
    assert_eq!(post(&world, "never-heard-of", v1).await, 200, "an account that is not registered here");
    let event = world.next().await.event;
    assert_eq!(event.account_id.as_str(), "never-heard-of", "v1 names no account but in the address");

    assert_eq!(post(&world, "elsewhere", &message("1", "hi")).await, 200);
    let event = world.next().await.event;
    assert_eq!(event.account_id.as_str(), ACCOUNT, "v2 names it where the signature covers it");
    assert_eq!(event.scope_id.as_str(), format!("{CHANNEL}_{ACCOUNT}"));
    let metrics = world.admin("/metrics").await.body;
    assert!(metrics.contains("\namochats_webhook_scope_mismatches_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn other_addresses_and_methods_are_refused() {
    let world = World::new().await;
    let body = message("1", "hi");
    let signature = signature(SECRET, body.as_bytes());
    let post = |path: &str| request(path, &[(SIGNATURE_HEADER, &signature)], body.as_bytes());
    for path in [
        "/".to_owned(),
        "/webhook".to_owned(),
        "/webhook/".to_owned(),
        format!("/webhook/{CHANNEL}"),
        format!("/webhook/{CHANNEL}_"),
        format!("/webhook/_{ACCOUNT}"),
        format!("/webhook/00000000-0000-0000-0000-000000000000_{ACCOUNT}"),
        format!("/Webhook/{CHANNEL}_{ACCOUNT}"),
        format!("/webhook/{CHANNEL}_{ACCOUNT}/more"),
        format!("//webhook/{CHANNEL}_{ACCOUNT}"),
    ] {
        assert_eq!(world.ask(&post(&path)).await.status, 404, "{path}");
    }
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let path = webhook_path();
        let mut wire = world.connect().await;
        wire.send(
            format!("{method} {path} HTTP/1.1\r\nHost: amochats\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await;
        if method == "HEAD" {
            // An answer to HEAD has a length and no body.
            assert!(wire.first_line().await.contains(" 405 "));
            continue;
        }
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
    assert_eq!(world.store.appends(), 0);
    assert_eq!(
        world.ask(&post(&format!("{}?from=vendor", webhook_path()))).await.status,
        200,
        "a query is no matter"
    );
    let elsewhere = Config::load(
        &format!(
            "[listener]\naddress = \"127.0.0.1:0\"\nwebhook_path = \"/:scope_id\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
             [[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\nbase_url = \"http://127.0.0.1:9\""
        ),
        [],
    );
    let world = World::with(elsewhere.expect("valid")).await;
    assert_eq!(world.ask(&post(&format!("/{CHANNEL}_{ACCOUNT}"))).await.status, 200);
    assert_eq!(world.ask(&post(&webhook_path())).await.status, 404);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_the_listener_goes_on() {
    let world = World::new().await;
    let size = 10 << 20;
    let head = format!("POST {} HTTP/1.1\r\nHost: amochats\r\n", webhook_path());
    let mut wire = world.connect().await;
    wire.send(format!("{head}Content-Length: {size}\r\n\r\n").as_bytes()).await;
    let answer = wire.answer().await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (413, Some("close")),
        "before any of it was sent"
    );
    assert!(wire.has_ended().await);

    let mut wire = world.connect().await;
    let limit = config().listener.max_body_bytes;
    wire.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n").as_bytes()).await;
    wire.send(&vec![b' '; limit + 1]).await;
    let answer = wire.answer().await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (413, Some("close")),
        "as soon as it is too much"
    );

    let largest = format!("{{\"pad\":\"{}\"}}", "x".repeat(limit - 10));
    assert_eq!(largest.len(), limit);
    assert_eq!(world.hook(largest.as_bytes()).await.status, 200);
    let chunked = format!(
        "{head}{SIGNATURE_HEADER}: {}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n1\r\n}}\r\n0\r\n\r\n",
        signature(SECRET, b"{}")
    );
    assert_eq!(world.ask(chunked.as_bytes()).await.status, 200, "chunks are put together");
}

#[tokio::test]
async fn bodies_that_do_not_come_are_not_kept() {
    let world = World::new().await;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: amochats\r\n{SIGNATURE_HEADER}: {}\r\nContent-Length: 9\r\n",
        webhook_path(),
        signature(SECRET, b"{}")
    );
    let mut wire = world.connect().await;
    wire.send(format!("{head}Expect: 100-continue\r\n\r\n").as_bytes()).await;
    assert_eq!(wire.answer().await.status, 100, "the listener waits for the body");
    wire.send(b"{}").await;
    world.clock.advance(KEEP_DEADLINE);
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (503, Some("close")));
    assert!(wire.has_ended().await);

    let mut wire = world.connect().await;
    wire.send(format!("{head}\r\n{{}}").as_bytes()).await;
    wire.finish().await;
    if let Some(answer) = wire.last_answer().await {
        assert_eq!(answer.status, 400);
    }
    assert_eq!(world.store.appends(), 0);
    assert_eq!(world.hook(b"{}").await.status, 200);
}

#[tokio::test]
async fn what_found_no_room_is_looked_for_in_the_histories_once_for_all() {
    let body = message("1", "hi");
    let mut config = config();
    config.listener.max_body_bytes = body.len();
    config.listener.max_in_flight_bytes = 2 * body.len();
    let world = World::with(config).await;
    assert_eq!(world.hook(body.as_bytes()).await.status, 200);
    let pending = async || world.runtime.backfill().progress().await.expect("known").pending;
    let send = async |request: &[u8]| {
        let mut wire = world.connect().await;
        wire.send(request).await;
        world.settle_down().await;
        wire
    };
    let webhook = signed(body.as_bytes());
    let unfinished = &webhook[..webhook.len() - 1];

    let mut slow = send(unfinished).await;
    world.clock.advance(KEEP_DEADLINE);
    assert_eq!(slow.answer().await.status, 503);
    world.clock.advance(Duration::from_secs(120));
    world.settle_down().await;
    assert_eq!(pending().await, 0, "anybody can send half a body");

    let (head, rest) = webhook.split_at(webhook.len() - body.len());
    for _ in 0..2 {
        // Its time is over first, so that it never gets the room of the others.
        let mut wire = send(head).await;
        world.clock.advance(Duration::from_millis(1));
        let _slow = [send(unfinished).await, send(unfinished).await];
        wire.send(rest).await;
        world.settle_down().await;
        world.clock.advance(KEEP_DEADLINE.saturating_sub(Duration::from_millis(1)));
        assert_eq!(wire.answer().await.status, 503);
        world.clock.advance(Duration::from_millis(1));
    }
    world.settle_down().await;
    assert_eq!(pending().await, 0, "it may not be the last one");
    soon("mark", async {
        while pending().await == 0 {
            world.clock.advance(Duration::from_secs(60));
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(pending().await, 1);
}

#[tokio::test]
async fn bytes_that_are_not_http_cost_the_connection() {
    let world = World::new().await;
    let mut wire = world.connect().await;
    wire.send(b"\x16\x03\x01 this is not HTTP\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 400);
    assert!(wire.has_ended().await);
    let mut wire = world.connect().await;
    wire.send(b"POST / HTTP/1.1\r\n").await;
    wire.send(format!("X-Long: {}\r\n\r\n", "x".repeat(1 << 20)).as_bytes()).await;
    assert_eq!(wire.answer().await.status, 431, "a head without end");
    assert_eq!(world.hook(b"{}").await.status, 200);
}

#[tokio::test]
async fn one_connection_carries_many_hooks_also_at_once() {
    let mut world = World::new().await;
    let mut wire = world.connect().await;
    for id in ["1", "2"] {
        wire.send(&signed(message(id, "hi").as_bytes())).await;
        assert_eq!(wire.answer().await.status, 200);
        assert_eq!(world.next().await.event.raw, message(id, "hi"));
    }
    let refused = request(&webhook_path(), &[], b"{}");
    let (third, fourth) = (message("3", "hi"), message("4", "hi"));
    wire.send(&[signed(third.as_bytes()), refused, signed(fourth.as_bytes())].concat()).await;
    let statuses = [wire.answer().await.status, wire.answer().await.status, wire.answer().await.status];
    assert_eq!(statuses, [200, 401, 200]);
    assert_eq!((world.next().await.event.raw, world.next().await.event.raw), (third.into(), fourth.into()));
}

#[tokio::test]
async fn bodies_in_memory_are_bounded_also_while_the_store_hangs() {
    let body = |id: u8| message(&id.to_string(), "hi");
    let mut config = config();
    config.listener.max_body_bytes = body(1).len();
    config.listener.max_in_flight_bytes = 2 * body(1).len();
    let mut world = World::with(config).await;
    world.store.hold();
    let mut wires = Vec::new();
    for id in 1..=3 {
        let mut wire = world.connect().await;
        wire.send(&signed(body(id).as_bytes())).await;
        wires.push(wire);
    }
    world.store.reached(2).await;
    world.settle_down().await;
    assert_eq!(world.store.appends(), 2, "the third has no room");
    world.clock.advance(KEEP_DEADLINE);
    for wire in &mut wires {
        assert_eq!(wire.answer().await.status, 503);
    }
    // The store still has two of them, so they still take their room.
    let mut wire = world.connect().await;
    wire.send(&signed(body(4).as_bytes())).await;
    world.settle_down().await;
    assert_eq!(world.store.appends(), 2, "what the store has not given back is in memory");
    world.store.let_go();
    assert_eq!(wire.answer().await.status, 200, "room again");
    let mut handed_out: Vec<_> = Vec::new();
    for _ in 0..3 {
        handed_out.push(world.next().await.event.raw);
    }
    assert!(handed_out.contains(&body(4).into()) && world.unsettled().await == 0, "{handed_out:?}");
}

#[tokio::test]
async fn typing_is_handed_out_live_and_kept_only_if_configured() {
    let typing = format!(
        r#"{{"account_id":"{ACCOUNT}","action":{{"typing":{{"user":{{"id":"U"}},"conversation":{{"id":"C"}},"expired_at":5}}}}}}"#
    );
    let world = World::new().await;
    let mut live = world.runtime.inbox().live();
    world.store.hold();
    assert_eq!(world.hook(typing.as_bytes()).await.status, 200, "no commit to wait for");
    assert_eq!(soon("live event", live.recv()).await.expect("an event").raw, typing);
    assert_eq!(world.store.appends(), 0);

    let mut config = config();
    config.inbox.keep_typing = true;
    let mut world = World::with(config).await;
    assert_eq!(world.hook(typing.as_bytes()).await.status, 200);
    assert_eq!(world.next().await.event.raw, typing);
}

#[tokio::test]
async fn duplicates_are_answered_and_handed_out_once_and_conflicts_are_flagged() {
    let mut world = World::new().await;
    world.store.hold();
    let mut wires = [world.connect().await, world.connect().await];
    for (wire, count) in wires.iter_mut().zip(1..) {
        wire.send(&signed(message("1", "hi").as_bytes())).await;
        world.store.reached(count).await;
    }
    world.settle_down().await;
    assert!(wires.iter().all(Wire::is_silent), "not even the duplicate is promised yet");
    world.store.let_go();
    for wire in &mut wires {
        assert_eq!(wire.answer().await.status, 200);
    }
    assert!(!world.next().await.event.conflicting_duplicate);
    let later = message("1", "hi").replace("\"time\":1", "\"time\":2");
    assert_eq!(world.hook(later.as_bytes()).await.status, 200, "made later, still the same message");
    assert_eq!(world.unsettled().await, 0);

    let edited = message("1", "ho");
    let unknown_field = message("1", "hi").replace("\"text\":", "\"mood\":\"sad\",\"text\":");
    for other in [edited, unknown_field] {
        assert_eq!(world.hook(other.as_bytes()).await.status, 200);
        let event = world.next().await.event;
        assert!(event.conflicting_duplicate, "the same id, but not the same content");
        assert_eq!(event.raw, other);
    }

    let v1 = br#"{"receiver":"u","conversation_id":"c","type":"text","text":"hi"}"#;
    for _ in 0..2 {
        assert_eq!(world.hook(v1).await.status, 200);
        assert_eq!(world.next().await.event.raw, &v1[..], "no id, so each may be a message of its own");
    }
}

#[tokio::test]
async fn a_stop_fails_readiness_answers_what_is_in_flight_and_takes_nothing_new() {
    let world = World::new().await;
    let mut idle = world.connect().await;
    idle.send(&signed(b"{}")).await;
    assert_eq!(idle.answer().await.status, 200);
    assert_eq!(world.admin("/readyz").await.status, 200);
    world.store.hold();
    let mut wire = world.connect().await;
    wire.send(&signed(message("1", "hi").as_bytes())).await;
    world.store.reached(2).await;
    let address = world.runtime.listener_address();
    world.runtime.drain().await;
    let ready = world.admin("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "stopping\n"));
    assert_eq!(world.admin("/healthz").await.status, 200);
    assert!(idle.has_ended().await, "a connection with nothing to do is closed");
    soon("refusal", async { while TcpStream::connect(address).await.is_ok() {} }).await;
    assert!(wire.is_silent());
    world.store.let_go();
    let answer = wire.answer().await;
    assert_eq!(answer.status, 200, "what was in flight is kept and answered");
    assert_eq!(world.unsettled().await, 2);
    soon("end", world.runtime.shutdown(Duration::from_secs(60))).await;
}

#[tokio::test]
async fn readiness_fails_before_the_port_closes() {
    let mut config = config();
    config.listener.drain_delay_ms = 5000;
    let world = World::with(config).await;
    let draining = world.runtime.drain();
    let meanwhile = async {
        // The first poll of `drain` has been: `join!` polls in order.
        assert_eq!(world.admin("/readyz").await.status, 503);
        assert_eq!(world.hook(message("1", "hi").as_bytes()).await.status, 200, "still taken");
        world.clock.advance(Duration::from_secs(5));
    };
    tokio::join!(draining, meanwhile);
    let address = world.runtime.listener_address();
    soon("refusal", async { while TcpStream::connect(address).await.is_ok() {} }).await;
}

#[tokio::test]
async fn what_does_not_end_within_the_deadline_is_cut_off() {
    let world = World::new().await;
    world.store.hold();
    let mut wire = world.connect().await;
    wire.send(&signed(message("1", "hi").as_bytes())).await;
    world.store.reached(1).await;
    let admin = world.runtime.admin_address();
    soon("end", world.runtime.shutdown(Duration::from_millis(20))).await;
    assert!(wire.has_ended().await, "without an answer, for nothing is promised");
    soon("refusal", async { while TcpStream::connect(admin).await.is_ok() {} }).await;
    let store: &dyn amochats_runtime::store::Store = &*world.store;
    assert_eq!(store.ping().await.expect_err("closed").kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn health_and_metrics_say_what_happened() {
    let mut world = World::new().await;
    let mut wire = world.connect().await;
    for body in [message("1", "hi"), message("1", "hi"), message("1", "ho"), "{".to_owned()] {
        wire.send(&signed(body.as_bytes())).await;
        assert_eq!(wire.answer().await.status, 200);
    }
    wire.send(&request(&webhook_path(), &[], b"{}")).await;
    assert_eq!(wire.answer().await.status, 401);
    world.store.fail(Some(ErrorKind::StoreFull));
    wire.send(&signed(message("2", "hi").as_bytes())).await;
    assert_eq!(wire.answer().await.status, 503);
    let answer = world.admin("/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    for line in [
        "amochats_webhook_answers_total{status=\"200\"} 4",
        "amochats_webhook_answers_total{status=\"401\"} 1",
        "amochats_webhook_answers_total{status=\"503\"} 1",
        "amochats_webhook_answer_seconds_count 6",
        "amochats_events_total{kind=\"message\",outcome=\"kept\"} 1",
        "amochats_events_total{kind=\"message\",outcome=\"duplicate\"} 1",
        "amochats_events_total{kind=\"message\",outcome=\"conflicting\"} 1",
        "amochats_events_total{kind=\"message\",outcome=\"failed\"} 1",
        "amochats_events_total{kind=\"unknown\",outcome=\"kept\"} 1",
        "amochats_webhook_scope_mismatches_total 0",
        "amochats_webhook_connections 1",
        "# EOF",
    ] {
        assert!(answer.body.lines().any(|known| known == line), "{line} is missing in\n{}", answer.body);
    }
    assert_eq!(world.admin("/").await.status, 404);
    let mut wire = Wire::connect(world.runtime.admin_address()).await;
    wire.send(b"POST /metrics HTTP/1.1\r\nHost: amochats\r\nContent-Length: 0\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
    for _ in 0..3 {
        world.next().await;
    }
}

#[tokio::test]
async fn logs_answers_and_metrics_tell_nothing_private() {
    let log = Log::hear();
    let mut world = World::new().await;
    let body = |id: &str, text: &str| {
        message(id, text).replace(ACCOUNT, "the-account").replace(
            "\"conversation\":",
            "\"receiver\":{\"phone\":\"+15550001111\",\"email\":\"anna@example.org\"},\"conversation\":",
        )
    };
    let genuine = body("1", "planted text");
    let genuine_signature = signature(SECRET, genuine.as_bytes());
    let forged_signature = signature("forged", genuine.as_bytes());
    let mut said = String::new();
    said += &world.post(genuine.as_bytes(), &genuine_signature).await.body;
    said += &world.post(genuine.as_bytes(), &forged_signature).await.body;
    said += &world.post(genuine.as_bytes(), "planted header").await.body;
    said += &world.hook(body("1", "other planted text").as_bytes()).await.body;
    said += &world.hook(b"{\"planted text").await.body;
    said += &world.ask(&request("/webhook/planted_text", &[], b"planted text")).await.body;
    world.store.fail(Some(ErrorKind::StoreFailed));
    said += &world.hook(body("2", "planted text").as_bytes()).await.body;
    let delivery = world.next().await;
    write!(said, "{delivery:?} {:?}", config()).expect("memory");
    said += &world.admin("/metrics").await.body;
    said += &log.said();
    for expected in ["X-Signature", "the-account", "another account", "other content", "not kept"] {
        assert!(said.contains(expected), "{expected:?} was not logged, so this run proves nothing:\n{said}");
    }
    let planted = [SECRET, OLD_SECRET, "planted", "1555", "anna", &genuine_signature, &forged_signature];
    for private in planted {
        assert!(!said.contains(private), "{private:?} got out:\n{said}");
    }
}
