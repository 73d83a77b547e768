//! Every call of the client against every way in which the service can fail: what the call says, and
//! how often it was sent. The source of the client is read for calls that have no case here.

mod peer;

use amochats::{
    ApiRequest, ChannelSecret, Client, ClientBuilder, Connect, Content, CreateChat, DeliveryStatus,
    EditMessage, ErrorKind, History, NewMessage, Reaction, Result, Sender, Typing,
};
use futures_util::TryStreamExt;
use peer::{Recorded, Then, answer, peer, peer_with};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::UnboundedReceiver;

const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
const SCOPE: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0_13fa84f7-6b61-4086-98ed-0a9de19ee15c";
const AT: i64 = 1_704_067_200_000;

/// What is sent again, as the table in the documentation of [`Client`] has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeated {
    /// After any failure that passes.
    Always,
    /// Where the failure had no effect for certain.
    WithoutEffect,
    Never,
}

use Repeated::{Always, Never, WithoutEffect};

type Ran = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

struct Case {
    name: &'static str,
    repeated: Repeated,
    success: (&'static str, &'static str),
    /// Whether the answer is read, so that one of another form is an error.
    reads: bool,
    run: fn(Client) -> Ran,
}

const OK: &str = "200 OK";
const NOTHING: (&str, &str) = ("204 No Content", "");
const RECEIPT: &str = r#"{"new_message":{"conversation_id":"C","sender_id":"U","msgid":"M","ref_id":"m"}}"#;
const CONNECTED: &str = r#"{"account_id":"a","scope_id":"c_a"}"#;

const CASES: [Case; 12] = [
    Case {
        name: "connect",
        repeated: Always,
        success: (OK, CONNECTED),
        reads: true,
        run: |client| Box::pin(async move { client.connect(&Connect::new(ACCOUNT)).await.map(drop) }),
    },
    Case {
        name: "disconnect",
        repeated: WithoutEffect,
        success: (OK, ""),
        reads: false,
        run: |client| Box::pin(async move { client.disconnect(&ACCOUNT.into()).await }),
    },
    Case {
        name: "send_message",
        repeated: WithoutEffect,
        success: (OK, RECEIPT),
        reads: true,
        run: |client| Box::pin(async move { client.send_message(&SCOPE.into(), &message()).await.map(drop) }),
    },
    Case {
        name: "edit_message",
        repeated: Always,
        success: (OK, RECEIPT),
        // What an edit answers is not documented: anything goes.
        reads: false,
        run: |client| {
            let edit = EditMessage::by_id("c", "m", AT, Content::text("x"));
            Box::pin(async move { client.edit_message(&SCOPE.into(), &edit).await.map(drop) })
        },
    },
    Case {
        name: "create_chat",
        repeated: Always,
        success: (OK, r#"{"id":"C","user":{"id":"U"}}"#),
        reads: true,
        run: |client| {
            let chat = CreateChat::new("c", Sender::new("u", "Anna"));
            Box::pin(async move { client.create_chat(&SCOPE.into(), &chat).await.map(drop) })
        },
    },
    Case {
        name: "send_typing",
        repeated: Never,
        success: NOTHING,
        reads: false,
        run: |client| {
            Box::pin(async move { client.send_typing(&SCOPE.into(), &Typing::new("c", "u")).await })
        },
    },
    Case {
        name: "react",
        repeated: WithoutEffect,
        success: (OK, "{}"),
        reads: false,
        run: |client| {
            let reaction = Reaction::react("c", "m", "u", "👍");
            Box::pin(async move { client.react(&SCOPE.into(), &reaction).await })
        },
    },
    Case {
        name: "set_delivery_status",
        repeated: Always,
        success: (OK, ""),
        reads: false,
        run: |client| {
            Box::pin(async move {
                client.set_delivery_status(&SCOPE.into(), &"M".into(), &DeliveryStatus::Read).await
            })
        },
    },
    Case {
        name: "history",
        repeated: Always,
        success: NOTHING,
        reads: true,
        run: |client| {
            Box::pin(async move { client.history(&SCOPE.into(), &History::of("C")).await.map(drop) })
        },
    },
    Case {
        name: "history_all",
        repeated: Always,
        success: NOTHING,
        reads: true,
        run: |client| {
            let messages = client.history_all(&SCOPE.into(), History::of("C"));
            Box::pin(async move { messages.try_collect::<Vec<_>>().await.map(drop) })
        },
    },
    Case {
        name: "call",
        repeated: WithoutEffect,
        success: (OK, "anything"),
        reads: false,
        run: |client| Box::pin(async move { client.call(&posted()).await.map(drop) }),
    },
    Case {
        name: "call_for",
        repeated: WithoutEffect,
        success: (OK, CONNECTED),
        reads: true,
        run: |client| {
            Box::pin(
                async move { client.call_for(&posted(), amochats::Connected::from_json).await.map(drop) },
            )
        },
    },
];

fn message() -> NewMessage {
    NewMessage::incoming("c", "m", AT, Sender::new("u", "Anna"), Content::text("x"))
}

fn posted() -> ApiRequest {
    ApiRequest { method: "POST", path: format!("/v2/origin/custom/{SCOPE}/new"), body: b"{}".to_vec() }
}

fn builder(base_url: &str) -> ClientBuilder {
    let secret = ChannelSecret::new("secret").expect("clean");
    Client::builder(CHANNEL, secret).base_url(base_url).retry_delay(Duration::from_millis(1))
}

/// A peer that does the first thing at the first request, and so on, and the last one for ever.
async fn in_turn(steps: Vec<Then>) -> (String, UnboundedReceiver<Recorded>) {
    let turn = AtomicUsize::new(0);
    peer_with(move |_| steps[turn.fetch_add(1, Ordering::SeqCst).min(steps.len() - 1)].clone()).await
}

fn count(requests: &mut UnboundedReceiver<Recorded>) -> usize {
    std::iter::from_fn(|| requests.try_recv().ok()).count()
}

impl Case {
    fn succeeds(&self) -> Then {
        answer(self.success.0, "", self.success.1)
    }

    /// Runs the call against a service that fails once; gives how it ended, and how often it was sent.
    async fn after(&self, failure: Then) -> (Result<()>, usize) {
        let (url, mut requests) = in_turn(vec![failure, self.succeeds()]).await;
        let client = builder(&url).timeout(Duration::from_millis(300)).build().expect("valid");
        let ended = (self.run)(client).await;
        (ended, count(&mut requests))
    }
}

#[test]
fn every_call_has_a_case() {
    let sources = [include_str!("../src/client/mod.rs"), include_str!("../src/client/history.rs")];
    let calls: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| {
            let line = line.trim_start();
            // The stream is not asynchronous itself.
            let name = line
                .strip_prefix("pub async fn ")
                .or_else(|| line.strip_prefix("pub fn ").filter(|name| name.starts_with("history")))?;
            name.split(['(', '<']).next()
        })
        .collect();
    assert_eq!(calls, CASES.iter().map(|case| case.name).collect());
}

#[tokio::test]
async fn every_call_succeeds_at_once() {
    for case in &CASES {
        let (url, mut requests) = peer(case.succeeds()).await;
        let ended = (case.run)(builder(&url).build().expect("valid")).await;
        assert!(ended.is_ok(), "{}: {ended:?}", case.name);
        assert_eq!(count(&mut requests), 1, "{}", case.name);
    }
}

#[tokio::test]
async fn a_refusal_is_final() {
    for case in &CASES {
        for (status, kind) in [
            ("400 Bad Request", ErrorKind::Rejected),
            ("401 Unauthorized", ErrorKind::Forbidden),
            ("403 Forbidden", ErrorKind::Forbidden),
            ("404 Not Found", ErrorKind::NotFound),
            ("302 Found", ErrorKind::UnexpectedResponse),
        ] {
            let words = r#"{"error_code":7,"error_type":"X","error_description":"why"}"#;
            let (ended, sent) = case.after(answer(status, "", words)).await;
            let error = ended.expect_err(case.name);
            assert_eq!((error.kind(), sent), (kind, 1), "{} {status}", case.name);
            assert!(!error.may_have_been_applied(), "{} {status}", case.name);
            assert_eq!(error.vendor().and_then(|vendor| vendor.code), Some(7), "{} {status}", case.name);
        }
    }
}

#[tokio::test]
async fn what_had_no_effect_is_sent_again() {
    for case in &CASES {
        for (status, headers, kind) in [
            ("429 Too Many Requests", "Retry-After: 0\r\n", ErrorKind::RateLimited),
            ("429 Too Many Requests", "", ErrorKind::RateLimited),
            ("503 Service Unavailable", "", ErrorKind::Unavailable),
        ] {
            let (ended, sent) = case.after(answer(status, headers, "")).await;
            match case.repeated {
                Always | WithoutEffect => {
                    assert!(ended.is_ok() && sent == 2, "{} {status}: {sent} {ended:?}", case.name);
                }
                Never => {
                    let error = ended.expect_err(case.name);
                    assert_eq!((error.kind(), sent), (kind, 1), "{} {status}", case.name);
                }
            }
        }
        // Longer than any deadline: the caller is told at once.
        let (ended, sent) = case.after(answer("429 Too Many Requests", "Retry-After: 9999\r\n", "")).await;
        let error = ended.expect_err(case.name);
        assert_eq!((error.kind(), sent), (ErrorKind::RateLimited, 1), "{}", case.name);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(9999)), "{}", case.name);
    }
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_sent_again_only_where_that_is_harmless() {
    for case in &CASES {
        for (failure, kind) in [
            (answer("502 Bad Gateway", "", "<html>"), ErrorKind::Unavailable),
            (answer("500 Internal Server Error", "", ""), ErrorKind::Unavailable),
            (Then::Cut, ErrorKind::Transport),
            (Then::Answer(b"\x16\x03\x01 not HTTP\r\n\r\n".to_vec()), ErrorKind::Transport),
            (Then::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_vec()), ErrorKind::Transport),
            (Then::Stall(""), ErrorKind::Timeout),
            (Then::Stall("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), ErrorKind::Timeout),
        ] {
            let (ended, sent) = case.after(failure).await;
            if case.repeated == Always {
                assert!(ended.is_ok() && sent == 2, "{} {kind:?}: {sent} {ended:?}", case.name);
            } else {
                // Neither sent nor failed: unknown.
                let error = ended.expect_err(case.name);
                assert_eq!((error.kind(), sent), (kind, 1), "{}: {error}", case.name);
                assert!(error.may_have_been_applied(), "{} {kind:?}", case.name);
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_was_a_success_for_the_service() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{{{}",
        10 << 20,
        " ".repeat((10 << 20) - 1)
    );
    for case in &CASES {
        for (failure, is_error) in [
            (answer(OK, "", "<html>"), case.reads),
            (answer(OK, "", r#"{"new_message":7}"#), case.reads),
            (Then::Answer(long.clone().into_bytes()), true),
            (Then::AnswerForever, true),
        ] {
            let (ended, sent) = case.after(failure).await;
            assert_eq!(sent, 1, "{}", case.name);
            assert_eq!(ended.is_err(), is_error, "{}: {ended:?}", case.name);
            if let Err(error) = ended {
                let told = (error.kind(), error.http_status(), error.may_have_been_applied());
                assert_eq!(told, (ErrorKind::UnexpectedResponse, Some(200), true), "{}", case.name);
            }
        }
    }
}

#[tokio::test]
async fn repeats_end_and_each_is_signed_anew() {
    let (url, mut requests) = peer(answer("503 Service Unavailable", "", "")).await;
    let seconds = AtomicU64::new(1_704_067_200);
    let clock = move || SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.fetch_add(1, Ordering::SeqCst));
    let client = builder(&url).clock(Arc::new(clock)).build().expect("valid");
    let error = client.send_message(&SCOPE.into(), &message()).await.expect_err("out of order");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let dates: BTreeSet<String> = std::iter::from_fn(|| requests.try_recv().ok())
        .map(|request| request.header("Date").expect("a date").to_owned())
        .collect();
    assert_eq!(dates.len(), 5, "{dates:?}");
}

#[tokio::test]
async fn a_later_refusal_does_not_undo_an_effect() {
    let (url, mut requests) = in_turn(vec![Then::Cut, answer("400 Bad Request", "", "")]).await;
    let chat = CreateChat::new("c", Sender::new("u", "Anna"));
    let client = builder(&url).build().expect("valid");
    let error = client.create_chat(&SCOPE.into(), &chat).await.expect_err("refused");
    assert_eq!((error.kind(), count(&mut requests)), (ErrorKind::Rejected, 2));
    assert!(error.may_have_been_applied());
}

#[tokio::test]
async fn who_has_an_own_policy_sends_once() {
    for case in &CASES {
        let (url, mut requests) = peer(answer("503 Service Unavailable", "", "")).await;
        let ended = (case.run)(builder(&url).send_once().build().expect("valid")).await;
        assert_eq!(ended.expect_err(case.name).kind(), ErrorKind::Unavailable);
        assert_eq!(count(&mut requests), 1, "{}", case.name);
    }
}

#[tokio::test]
async fn the_deadline_bounds_an_attempt() {
    for case in &CASES {
        let (url, mut requests) = peer(Then::Stall("")).await;
        let client = builder(&url).build().expect("valid").with_deadline(Duration::from_millis(200));
        let error = (case.run)(client).await.expect_err(case.name);
        assert_eq!((error.kind(), count(&mut requests)), (ErrorKind::Timeout, 1), "{}", case.name);
        assert!(error.may_have_been_applied(), "{}", case.name);
    }
}

#[tokio::test]
async fn the_deadline_bounds_the_wait_for_a_turn() {
    for case in &CASES {
        let (url, mut requests) = peer(case.succeeds()).await;
        let client = builder(&url).requests_per_second(1).build().expect("valid");
        (case.run)(client.clone()).await.expect(case.name);
        // The next turn comes in a second.
        let error = (case.run)(client.with_deadline(Duration::from_millis(1))).await.expect_err(case.name);
        assert_eq!((error.kind(), error.http_status()), (ErrorKind::RateLimited, None), "{}", case.name);
        assert!(!error.may_have_been_applied() && error.retry_after().is_some(), "{}", case.name);
        assert_eq!(count(&mut requests), 1, "{}", case.name);
    }
}

#[tokio::test]
async fn each_scope_has_a_pace_of_its_own_and_it_can_be_switched_off() {
    let (url, mut requests) = peer(answer("204 No Content", "", "")).await;
    let typing = Typing::new("c", "u");
    let at_once = Duration::from_millis(1);
    let client = builder(&url).requests_per_second(1).build().expect("valid");
    for scope in ["c_a", "c_b"] {
        client.send_typing(&scope.into(), &typing).await.expect("the first one");
        let second = client.with_deadline(at_once).send_typing(&scope.into(), &typing).await;
        assert_eq!(second.expect_err("paced").kind(), ErrorKind::RateLimited);
    }
    assert_eq!(count(&mut requests), 2);

    let client = builder(&url).requests_per_second(0).build().expect("valid");
    for _ in 0..30 {
        client.send_typing(&"c_a".into(), &typing).await.expect("not paced");
    }
    assert_eq!(count(&mut requests), 30);
}
