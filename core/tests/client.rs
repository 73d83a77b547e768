//! The client against a hand-written peer that records the bytes it gets and answers anything.

mod peer;

use amochats::{
    ANSWER_MAX, ApiRequest, ChannelSecret, Client, ClientBuilder, Connect, Content, CreateChat,
    DeliveryErrorCode, DeliveryStatus, EditMessage, Error, ErrorKind, History, NewMessage, RETRY_AFTER_MAX,
    Reaction, Region, Retry, Sender, Typing,
};
use futures_util::{StreamExt, TryStreamExt};
use hmac::{Hmac, KeyInit, Mac};
use md5::Digest;
use peer::{Recorded, Then, answer, hex, peer, peer_with, serve};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;

const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
const SCOPE: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0_13fa84f7-6b61-4086-98ed-0a9de19ee15c";
const MESSAGE: &str = "079e44fb-fc22-476b-9e8a-421b688ec53b";
/// 1 January 2024, 00:00 UTC: the date of the published vectors.
const NOW: Duration = Duration::from_secs(1_704_067_200);
const DATE: &str = "Mon, 01 Jan 2024 00:00:00 +0000";
/// Text that must not show in an error.
const PRIVATE: &str = "call me at +15550100";

/// Checks the signature by the vendor's rule, written out here once more.
trait AssertSigned {
    fn assert_signed(&self);
}

impl AssertSigned for Recorded {
    fn assert_signed(&self) {
        let (method, rest) = self.line.split_once(' ').expect("a request line");
        let path = rest.split([' ', '?']).next().expect("a path");
        let header = |name| self.header(name).expect(name);
        assert_eq!(header("Content-Type"), "application/json");
        assert_eq!(header("Content-MD5"), hex(&md5::Md5::digest(&self.body)));
        let text = [method, header("Content-MD5"), header("Content-Type"), header("Date"), path].join("\n");
        assert_eq!(header("X-Signature"), hmac_sha1(text.as_bytes()));
        for unwanted in ["Authorization", "Cookie", "Referer"] {
            assert_eq!(self.header(unwanted), None);
        }
    }
}

fn hmac_sha1(bytes: &[u8]) -> String {
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(bytes);
    hex(&mac.finalize().into_bytes())
}

fn builder(base_url: &str) -> ClientBuilder {
    let secret = ChannelSecret::new(SECRET).expect("clean");
    let clock = Arc::new(|| SystemTime::UNIX_EPOCH + NOW);
    Client::builder(CHANNEL, secret).base_url(base_url).clock(clock).send_once()
}

fn client(base_url: &str) -> Client {
    builder(base_url).build().expect("valid settings")
}

fn message() -> NewMessage {
    let anna = Sender::new("sbx-u1", "Анна");
    NewMessage::incoming("sbx-c1", "sbx-1", 1_704_067_200_000, anna, Content::text(PRIVATE))
}

/// Sends a message to a peer that does `then`, and gives the error.
async fn failure(then: Then) -> Error {
    let (url, mut requests) = peer(then).await;
    let error = client(&url).send_message(&SCOPE.into(), &message()).await.expect_err("it cannot succeed");
    requests.recv().await.expect("the request arrived").assert_signed();
    assert!(requests.try_recv().is_err(), "a call is sent once");
    assert_silent(&error);
    error
}

/// Walks the error and its causes for what they must not tell.
fn assert_silent(error: &Error) {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        for text in [error.to_string(), format!("{error:?}")] {
            for private in [SECRET, PRIVATE, "sbx-c1", SCOPE, "Анна", "\n"] {
                assert!(!text.contains(private), "{text}");
            }
        }
        cause = error.source();
    }
}

#[tokio::test]
async fn connect_goes_as_the_published_vector() {
    let body = format!(
        r#"{{"account_id":"{ACCOUNT}","scope_id":"{SCOPE}","title":"Sandbox","hook_api_version":"v2","is_time_window_disabled":false}}"#
    );
    let (url, mut requests) = peer(answer("200 OK", "", &body)).await;
    let connect = Connect::new(ACCOUNT).with_title("Sandbox");
    let connected = client(&url).connect(&connect).await.expect("accepted");
    assert_eq!(connected.scope_id.as_str(), SCOPE);
    assert_eq!(connected.is_time_window_disabled, Some(false));

    let request = requests.recv().await.expect("the request arrived");
    request.assert_signed();
    assert_eq!(request.line, format!("POST /v2/origin/custom/{CHANNEL}/connect HTTP/1.1"));
    assert_eq!(
        request.body,
        format!(r#"{{"account_id":"{ACCOUNT}","title":"Sandbox","hook_api_version":"v2"}}"#).as_bytes()
    );
    assert_eq!(request.header("Date"), Some(DATE));
    assert_eq!(request.header("X-Signature"), Some("0bc99751e97375ec5be8c19d720a233404b62e27"));
    assert_eq!(request.header("User-Agent"), Some(concat!("amochats/", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn disconnect_is_a_delete_with_a_body() {
    // Kommo answers `{}`, amoCRM nothing.
    for then in [answer("200 OK", "", ""), answer("200 OK", "", "{}"), answer("204 No Content", "", "")] {
        let (url, mut requests) = peer(then).await;
        client(&url).disconnect(&ACCOUNT.into()).await.expect("accepted");
        let request = requests.recv().await.expect("the request arrived");
        request.assert_signed();
        assert_eq!(request.line, format!("DELETE /v2/origin/custom/{CHANNEL}/disconnect HTTP/1.1"));
        assert_eq!(request.body, format!(r#"{{"account_id":"{ACCOUNT}"}}"#).as_bytes());
        assert_eq!(request.header("X-Signature"), Some("62efa5f09a7087abcf8becba15570b1805560aef"));
    }
}

#[tokio::test]
async fn a_message_is_sent_and_its_receipt_read() {
    let body = r#"{"new_message":{"conversation_id":"C","sender_id":"U","msgid":"M","ref_id":"sbx-1"}}"#;
    let (url, mut requests) = peer(answer("200 OK", "", body)).await;
    let receipt = client(&url).send_message(&SCOPE.into(), &message()).await.expect("accepted");
    assert_eq!(receipt.message_ref_id, Some("M".into()));
    assert_eq!(receipt.message_id, Some("sbx-1".into()));

    let request = requests.recv().await.expect("the request arrived");
    request.assert_signed();
    assert_eq!(request.line, format!("POST /v2/origin/custom/{SCOPE} HTTP/1.1"));
    assert_eq!(NewMessage::from_json(&request.body).expect("the vendor's form"), message());
}

#[tokio::test]
async fn a_delivery_status_goes_as_the_published_vectors() {
    let failed = DeliveryStatus::Failed { code: DeliveryErrorCode::Other, error: "No route".into() };
    for (status, signature) in [
        (DeliveryStatus::Read, "b04cd6e8bcd57413fa9045457a6dee6a0aaedce4"),
        (failed, "bf98fcb03adb761ac0e0a102b0e4fd4090a4d5f2"),
    ] {
        let (url, mut requests) = peer(answer("200 OK", "", "")).await;
        let client = client(&url);
        client.set_delivery_status(&SCOPE.into(), &MESSAGE.into(), &status).await.expect("accepted");
        let request = requests.recv().await.expect("the request arrived");
        request.assert_signed();
        assert_eq!(
            request.line,
            format!("POST /v2/origin/custom/{SCOPE}/{MESSAGE}/delivery_status HTTP/1.1")
        );
        assert_eq!(request.header("X-Signature"), Some(signature));
    }
}

#[tokio::test]
async fn an_edit_is_sent_and_any_answer_is_a_receipt() {
    let receipt = r#"{"new_message":{"msgid":"M","ref_id":"sbx-1"}}"#;
    for (body, message_ref_id) in [(receipt, Some("M".into())), ("", None), ("{}", None)] {
        let (url, mut requests) = peer(answer("200 OK", "", body)).await;
        let edit = EditMessage::by_id("sbx-c1", "sbx-1", 1_704_067_200_000, Content::text(PRIVATE));
        let receipt = client(&url).edit_message(&SCOPE.into(), &edit).await.expect("accepted");
        assert_eq!(receipt.message_ref_id, message_ref_id);
        let request = requests.recv().await.expect("the request arrived");
        request.assert_signed();
        assert_eq!(request.line, format!("POST /v2/origin/custom/{SCOPE} HTTP/1.1"));
        assert_eq!(EditMessage::from_json(&request.body).expect("the vendor's form"), edit);
    }
}

#[tokio::test]
async fn a_chat_is_created_as_the_published_vector() {
    let body = r#"{"id":"C","user":{"id":"U","client_id":"sbx-u1","name":"Анна","avatar":"","phone":"+1"}}"#;
    let (url, mut requests) = peer(answer("200 OK", "", body)).await;
    let chat = CreateChat::new("sbx-c1", Sender::new("sbx-u1", "Анна"));
    let created = client(&url).create_chat(&SCOPE.into(), &chat).await.expect("accepted");
    assert_eq!(created.conversation_ref_id.as_str(), "C");
    assert_eq!(created.user.user_ref_id, Some("U".into()));
    assert_eq!((created.user.phone.as_deref(), created.user.avatar), (Some("+1"), None));

    let request = requests.recv().await.expect("the request arrived");
    request.assert_signed();
    assert_eq!(request.line, format!("POST /v2/origin/custom/{SCOPE}/chats HTTP/1.1"));
    assert_eq!(request.header("X-Signature"), Some("7639bffbf7228cd1c7067941ded016147e11479a"));

    // Taken, but nobody can say as what.
    let (url, _requests) = peer(answer("200 OK", "", "{}")).await;
    let error = client(&url).create_chat(&SCOPE.into(), &chat).await.expect_err("no chat is named");
    assert_eq!((error.kind(), error.http_status()), (ErrorKind::UnexpectedResponse, Some(200)));
    assert!(error.may_have_been_applied());
}

#[tokio::test]
async fn typing_and_reactions_go_as_the_published_vectors() {
    let (url, mut requests) = peer(answer("204 No Content", "", "")).await;
    client(&url).send_typing(&SCOPE.into(), &Typing::new("sbx-c1", "sbx-u1")).await.expect("accepted");
    let request = requests.recv().await.expect("the request arrived");
    request.assert_signed();
    assert_eq!(request.line, format!("POST /v2/origin/custom/{SCOPE}/typing HTTP/1.1"));
    assert_eq!(request.header("X-Signature"), Some("6c4e42104ba6cf77e75c19fb7e276682de1eed5e"));

    // Kommo answers `{}`, amoCRM nothing.
    for body in ["", "{}"] {
        let (url, mut requests) = peer(answer("200 OK", "", body)).await;
        let reaction = Reaction::react("sbx-c1", "sbx-1", "sbx-u1", "👍");
        client(&url).react(&SCOPE.into(), &reaction).await.expect("accepted");
        let request = requests.recv().await.expect("the request arrived");
        request.assert_signed();
        assert_eq!(request.line, format!("POST /v2/origin/custom/{SCOPE}/react HTTP/1.1"));
        assert_eq!(request.header("X-Signature"), Some("5775d279d79f782119f1b4db3a2c132635c96321"));
    }

    let (url, _requests) = peer(answer("404 Not Found", "", "")).await;
    let reaction = Reaction::unreact("sbx-c1", "sbx-1", "sbx-u1");
    let error = client(&url).react(&SCOPE.into(), &reaction).await.expect_err("no such message");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_page_of_the_history_is_read() {
    let body = r#"{"messages":[{"timestamp":5,"sender":{"id":"U"},"message":{"id":"M","type":"text","text":"hi"}}]}"#;
    let (url, mut requests) = peer(answer("200 OK", "", body)).await;
    let chat = "6cbab3d5-c4c1-46ff-b710-ad59ad10805f";
    let page = client(&url).history(&SCOPE.into(), &History::of(chat)).await.expect("accepted");
    assert_eq!(page.messages[0].message_ref_id, Some("M".into()));
    let request = requests.recv().await.expect("the request arrived");
    request.assert_signed();
    // Vector C9.
    assert_eq!(request.header("X-Signature"), Some("e1769cf004ebf8f726f9be6aeb00f4dbedb09cef"));
    assert_eq!(
        request.line,
        format!("GET /v2/origin/custom/{SCOPE}/chats/{chat}/history?limit=50&offset=0 HTTP/1.1")
    );

    let (url, _requests) = peer(answer("204 No Content", "", "")).await;
    let page = client(&url).history(&SCOPE.into(), &History::of(chat)).await.expect("no chat");
    assert!(page.messages.is_empty());
}

/// A page of the messages with these numbers.
fn page(numbers: impl IntoIterator<Item = u32>) -> Then {
    let messages: Vec<String> = numbers
        .into_iter()
        .map(|n| format!(r#"{{"message":{{"id":"m{n}","type":"text","text":"t"}}}}"#))
        .collect();
    answer("200 OK", "", &format!(r#"{{"messages":[{}]}}"#, messages.join(",")))
}

#[tokio::test]
async fn the_whole_history_comes_once_although_pages_overlap() {
    // Of messages 1 to 5. Three new ones arrive after the first page.
    let (url, mut requests) = peer_with(|request| match request.line.split(['?', ' ']).nth(2) {
        Some("limit=2&offset=0") => page([5, 4]),
        Some("limit=2&offset=2") => page([6, 5]),
        Some("limit=2&offset=4") => page([4, 3]),
        Some("limit=2&offset=6") => page([2, 1]),
        _ => answer("204 No Content", "", ""),
    })
    .await;
    let history = client(&url).history_all(&SCOPE.into(), History::of("C").with_limit(2));
    let ids: Vec<String> = history
        .map_ok(|message| message.message_ref_id.expect("an id").to_string())
        .try_collect()
        .await
        .expect("all pages are read");
    assert_eq!(ids, ["m5", "m4", "m6", "m3", "m2", "m1"]);
    for _ in 0..5 {
        requests.recv().await.expect("a request for each page").assert_signed();
    }
    assert!(requests.try_recv().is_err(), "nothing is read after the end");
}

#[tokio::test]
async fn the_whole_history_ends_with_an_error_rather_than_early() {
    // This service does not look at the offset.
    let (url, mut requests) = peer(page([2, 1])).await;
    let mut history = Box::pin(client(&url).history_all(&SCOPE.into(), History::of("C")));
    assert!(history.next().await.expect("m2").is_ok() && history.next().await.expect("m1").is_ok());
    let error = history.next().await.expect("an end").expect_err("no progress");
    assert_eq!(error.kind(), ErrorKind::UnexpectedResponse);
    assert!(history.next().await.is_none());
    assert_eq!(std::iter::from_fn(|| requests.try_recv().ok()).count(), 5);

    let (url, _requests) = peer(answer("403 Forbidden", "", "")).await;
    let mut history = Box::pin(client(&url).history_all(&SCOPE.into(), History::of("C")));
    let error = history.next().await.expect("an answer").expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn any_request_can_be_called_behind_a_prefix() {
    let (url, mut requests) = peer(answer("200 OK", "", r#"{"messages":[]}"#)).await;
    let client = builder(&format!("{url}/gateway/")).user_agent_suffix("shop-bot/2").build().expect("valid");
    let chat = "6cbab3d5-c4c1-46ff-b710-ad59ad10805f";
    let path = format!("/v2/origin/custom/{SCOPE}/chats/{chat}/history?limit=50&offset=0");
    let history = ApiRequest { method: "GET", path: path.clone(), body: Vec::new() };
    assert_eq!(client.call(&history).await.expect("accepted"), br#"{"messages":[]}"#);

    let request = requests.recv().await.expect("the request arrived");
    assert_eq!(request.line, format!("GET /gateway{path} HTTP/1.1"));
    assert_eq!(request.header("Content-MD5"), Some("d41d8cd98f00b204e9800998ecf8427e"));
    // A published vector, too: neither the prefix nor the query is signed.
    assert_eq!(request.header("X-Signature"), Some("e1769cf004ebf8f726f9be6aeb00f4dbedb09cef"));
    assert_eq!(
        request.header("User-Agent"),
        Some(concat!("amochats/", env!("CARGO_PKG_VERSION"), " shop-bot/2"))
    );

    let signed = client.sign(&history).expect("valid");
    assert_eq!((signed.method, signed.url), ("GET", format!("{url}/gateway{path}")));
    for (name, value) in signed.headers {
        assert_eq!(request.header(name), Some(value.as_str()));
    }
}

#[tokio::test]
async fn the_first_generation_signs_the_body_alone() {
    let body = format!(r#"{{"account_id":"{ACCOUNT}","scope_id":"{SCOPE}"}}"#);
    let (url, mut requests) = peer(answer("200 OK", "", &body)).await;
    let client = builder(&url).body_signature_only().build().expect("valid");
    client.connect(&Connect::new(ACCOUNT)).await.expect("accepted");
    let request = requests.recv().await.expect("the request arrived");
    assert_eq!(request.header("X-Signature"), Some(hmac_sha1(&request.body).as_str()));
    assert_eq!(request.header("Content-Type"), Some("application/json"));
    assert_eq!((request.header("Date"), request.header("Content-MD5")), (None, None));

    let nothing = ApiRequest { method: "GET", path: "/v2/origin/custom/s".into(), body: Vec::new() };
    assert_eq!(client.call(&nothing).await.expect_err("cannot be signed").field(), Some("body"));
}

#[tokio::test]
async fn the_status_decides_the_kind() {
    for (status, kind, applied) in [
        ("301 Moved Permanently", ErrorKind::UnexpectedResponse, false),
        ("400 Bad Request", ErrorKind::Rejected, false),
        ("401 Unauthorized", ErrorKind::Forbidden, false),
        ("403 Forbidden", ErrorKind::Forbidden, false),
        ("404 Not Found", ErrorKind::NotFound, false),
        ("409 Conflict", ErrorKind::UnexpectedResponse, false),
        ("413 Content Too Large", ErrorKind::Rejected, false),
        ("429 Too Many Requests", ErrorKind::RateLimited, false),
        ("500 Internal Server Error", ErrorKind::Unavailable, true),
        ("502 Bad Gateway", ErrorKind::Unavailable, true),
        ("503 Service Unavailable", ErrorKind::Unavailable, false),
        ("599 Odd", ErrorKind::Unavailable, true),
        ("700 Odder", ErrorKind::UnexpectedResponse, false),
    ] {
        let error = failure(answer(status, "", "")).await;
        let code: u16 = status[..3].parse().expect("a number");
        assert_eq!((error.kind(), error.http_status()), (kind, Some(code)), "{status}");
        assert_eq!(error.may_have_been_applied(), applied, "{status}");
        assert_eq!((error.vendor(), error.retry_after()), (None, None), "{status}");
    }
}

#[tokio::test]
async fn the_vendors_words_are_for_the_caller_alone() {
    let body =
        format!(r#"{{"error_code":905,"error_type":"INVALID","error_description":"text: {PRIVATE}"}}"#);
    let error = failure(answer("400 Bad Request", "", &body)).await;
    let vendor = error.vendor().expect("the vendor's words");
    assert_eq!((vendor.code, vendor.error_type.as_deref()), (Some(905), Some("INVALID")));
    assert_eq!(vendor.description, Some(format!("text: {PRIVATE}")));

    let page = format!("<html>{PRIVATE}{}", "x".repeat(10_000));
    let error = failure(answer("502 Bad Gateway", "", &page)).await;
    let words = error.vendor().and_then(|vendor| vendor.description.as_deref()).expect("the beginning");
    assert!(words.starts_with("<html>call me") && words.len() == 500, "{words}");

    // Words that are cut off or too many do not change what the status says.
    let cut = "HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\n{\"error";
    assert_eq!(failure(Then::Answer(cut.into())).await.kind(), ErrorKind::Forbidden);
    let long = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n", 10 << 20);
    assert_eq!(failure(Then::Answer(long.into())).await.kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn the_asked_delay_is_read_in_both_spellings() {
    for (status, headers, expected) in [
        ("429 Too Many", "Retry-After: 7\r\n", Some(Duration::from_secs(7))),
        ("503 Unavailable", "Retry-After: Mon, 01 Jan 2024 00:02:00 GMT\r\n", Some(Duration::from_secs(120))),
        // Counted by the service's own clock, where it shows it.
        (
            "503 Unavailable",
            "Date: Mon, 01 Jan 2024 00:01:30 GMT\r\nRetry-After: Mon, 01 Jan 2024 00:02:00 GMT\r\n",
            Some(Duration::from_secs(30)),
        ),
        ("429 Too Many", "Retry-After: Sun, 31 Dec 2023 00:00:00 GMT\r\n", Some(Duration::ZERO)),
        ("429 Too Many", "Retry-After: 18446744073709551615\r\n", Some(RETRY_AFTER_MAX)),
        ("429 Too Many", "Retry-After: soon\r\n", None),
        ("400 Bad Request", "Retry-After: 7\r\n", None),
    ] {
        assert_eq!(failure(answer(status, headers, "")).await.retry_after(), expected, "{headers}");
    }
}

#[tokio::test]
async fn a_wrong_clock_is_named_as_the_reason() {
    for (date, words) in [
        ("Mon, 01 Jan 2024 00:20:00 GMT", Some("this machine's clock is 20 min behind the service's")),
        ("Sun, 31 Dec 2023 21:55:00 GMT", Some("this machine's clock is 2 h 5 min ahead of the service's")),
        ("Mon, 01 Jan 2024 00:15:00 GMT", None),
        ("yesterday", None),
    ] {
        let error = failure(answer("403 Forbidden", &format!("Date: {date}\r\n"), "")).await;
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        match words {
            Some(words) => assert!(error.message().contains(words), "{error}"),
            None => assert!(!error.message().contains("clock"), "{error}"),
        }
    }
    // Nothing is dated in the first generation, so that the clock cannot be the reason.
    let (url, _requests) = peer(answer("403 Forbidden", "Date: Mon, 01 Jan 2024 00:20:00 GMT\r\n", "")).await;
    let client = builder(&url).body_signature_only().build().expect("valid");
    let error = client.connect(&Connect::new(ACCOUNT)).await.expect_err("forbidden");
    assert!(!error.message().contains("clock"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (elsewhere, mut followed) = peer(answer("200 OK", "", "{}")).await;
    let error = failure(answer("307 Temporary Redirect", &format!("Location: {elsewhere}/\r\n"), "")).await;
    assert_eq!((error.kind(), error.http_status()), (ErrorKind::UnexpectedResponse, Some(307)));
    assert!(followed.try_recv().is_err());
}

#[tokio::test]
async fn an_odd_success_was_applied_all_the_same() {
    for then in [
        answer("204 No Content", "", ""),
        answer("200 OK", "", ""),
        answer("200 OK", "", "<html>"),
        answer("200 OK", "", r#"{"new_message":{"msgid":7}}"#),
    ] {
        let error = failure(then).await;
        assert_eq!(error.kind(), ErrorKind::UnexpectedResponse);
        assert!(error.may_have_been_applied());
        assert!(matches!(error.http_status(), Some(200 | 204)));
    }
}

#[tokio::test]
async fn an_answer_has_a_largest_size() {
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{{", ANSWER_MAX + 1);
    for then in [Then::AnswerForever, Then::Answer(long.into())] {
        let error = failure(then).await;
        assert_eq!((error.kind(), error.http_status()), (ErrorKind::UnexpectedResponse, Some(200)));
        assert!(error.may_have_been_applied());
    }
    let (url, _requests) = peer(answer("200 OK", "", &"x".repeat(ANSWER_MAX))).await;
    let request = ApiRequest { method: "GET", path: "/v2".into(), body: Vec::new() };
    assert_eq!(client(&url).call(&request).await.expect("just fits").len(), ANSWER_MAX);
}

#[tokio::test]
async fn what_breaks_after_the_request_may_have_been_applied() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"new_message\"";
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}";
    for then in [
        Then::Cut,
        Then::Answer(b"\x16\x03\x01 this is not HTTP\r\n\r\n".to_vec()),
        Then::Answer(b"HTTP/1.1 2".to_vec()),
        Then::Answer(chunked.into()),
        Then::Answer(short.into()),
    ] {
        let error = failure(then).await;
        assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
        assert_eq!(error.retry(), Retry::MayHaveBeenApplied, "{error}");
    }
}

#[tokio::test]
async fn a_silent_service_is_a_timeout() {
    for beginning in ["", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"] {
        let (url, _requests) = peer(Then::Stall(beginning)).await;
        let client = builder(&url).timeout(Duration::from_millis(200)).build().expect("valid");
        let error = client.send_message(&SCOPE.into(), &message()).await.expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert_eq!(error.retry(), Retry::MayHaveBeenApplied, "{error}");
        assert_silent(&error);
    }
}

#[tokio::test]
async fn what_never_left_was_not_applied() {
    // Bound, so that nobody else gets the port, but not listening.
    let closed = TcpSocket::new_v4().expect("a socket");
    closed.bind("127.0.0.1:0".parse().expect("an address")).expect("loopback");
    let url = format!("http://{}", closed.local_addr().expect("bound"));
    let error = client(&url).send_message(&SCOPE.into(), &message()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    assert_eq!((error.may_have_been_applied(), error.retry()), (false, Retry::Later), "{error}");
    assert!(error.message().contains(&url), "{error}");
    assert_silent(&error);
}

#[tokio::test]
async fn a_handshake_that_stalls_was_not_applied() {
    // The kernel takes the connection, nobody answers the TLS greeting.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("https://{}", listener.local_addr().expect("bound"));
    let client = builder(&url).connect_timeout(Duration::from_millis(200)).build().expect("valid");
    let error = client.connect(&Connect::new(ACCOUNT)).await.expect_err("no handshake");
    assert_eq!((error.kind(), error.may_have_been_applied()), (ErrorKind::Timeout, false), "{error}");
}

/// A new certificate for `localhost` in PEM, and a TLS side that has it and speaks `protocols`.
fn tls(protocols: &[&str]) -> (String, tokio_rustls::TlsAcceptor) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks them")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], own.signing_key.into())
        .expect("a matching key");
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    (own.cert.pem(), tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn an_own_authority_is_trusted_only_when_it_was_added() {
    let (pem, acceptor) = tls(&["http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
    let (recorded, mut requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(serve(stream, answer("200 OK", "", "{}"), recorded.clone()));
            }
        }
    });
    let error = client(&url).disconnect(&ACCOUNT.into()).await.expect_err("an unknown authority");
    assert_eq!((error.kind(), error.may_have_been_applied()), (ErrorKind::Transport, false), "{error}");
    assert!(error.message().contains("certificate"), "{error}");

    let client = builder(&url).add_root_certificate(pem).build().expect("valid");
    client.disconnect(&ACCOUNT.into()).await.expect("trusted");
    requests.recv().await.expect("the request arrived").assert_signed();
}

#[tokio::test]
async fn http_2_is_spoken_where_offered() {
    let (pem, acceptor) = tls(&["h2", "http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
    let (recorded, mut requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let stream = acceptor.accept(stream).await.expect("a handshake");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        while let Some(request) = connection.accept().await {
            let (request, mut respond) = request.expect("a request");
            recorded.send(request.into_parts().0).ok();
            respond.send_response(http::Response::new(()), true).expect("answered");
        }
    });
    let client = builder(&url).add_root_certificate(pem).build().expect("valid");
    // One connection carries both calls: the peer takes no other.
    for _ in 0..2 {
        client.clone().disconnect(&ACCOUNT.into()).await.expect("accepted");
        let request = requests.recv().await.expect("the request arrived");
        assert_eq!(request.version, http::Version::HTTP_2);
        assert_eq!(request.headers["x-signature"], "62efa5f09a7087abcf8becba15570b1805560aef");
    }
}

#[test]
fn settings_are_checked() {
    let url = "http://127.0.0.1";
    let secret = || ChannelSecret::new(SECRET).expect("clean");
    for (builder, field) in [
        (Client::builder("a/b", secret()).region(Region::Ru), "channel_id"),
        (Client::builder(CHANNEL, secret()), "base_url"),
        (builder("amojo.amocrm.ru"), "base_url"),
        (builder("ftp://amojo.amocrm.ru"), "base_url"),
        (builder("https://"), "base_url"),
        (builder("https://user:pass@amojo.amocrm.ru"), "base_url"),
        (builder("https://amojo.amocrm.ru/?x=1"), "base_url"),
        (builder("https://amojo.amocrm.ru/#x"), "base_url"),
        (builder(url).timeout(Duration::ZERO), "timeout"),
        (builder(url).connect_timeout(Duration::ZERO), "connect_timeout"),
        (builder(url).user_agent_suffix("a\r\nb: c"), "user_agent"),
        (builder(url).add_root_certificate("not PEM"), "root_certificate"),
    ] {
        assert!(!format!("{builder:?}").contains(SECRET));
        let error = builder.build().expect_err(field);
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidArgument, Some(field)));
        assert!(!error.to_string().contains("pass@"), "{error}");
    }
    for region in Region::ALL {
        assert_eq!(region.to_string().parse::<Region>().expect("its own name"), region);
        let client = Client::builder(CHANNEL, secret()).region(region).build().expect("valid");
        assert_eq!(client.base_url(), region.base_url());
        assert!(!format!("{client:?}").contains(SECRET));
    }
    assert_eq!("eu".parse::<Region>().expect_err("unknown").field(), Some("region"));
}

#[test]
fn what_is_signed_is_what_is_sent() {
    let client = client("http://127.0.0.1/prefix");
    for path in ["", "v2", "/a/../b", "/a b", "/я", "/a#b", "/a\\b", "/a\n", "@evil.example/"] {
        let request = ApiRequest { method: "GET", path: path.into(), body: Vec::new() };
        assert_eq!(client.sign(&request).expect_err(path).field(), Some("path"), "{path}");
    }
    let first_generation = builder("http://127.0.0.1").body_signature_only().build().expect("valid");
    for method in ["", "GE T", "post"] {
        let request = ApiRequest { method, path: "/v2".into(), body: b"{}".to_vec() };
        assert_eq!(client.sign(&request).expect_err(method).field(), Some("method"));
        assert_eq!(first_generation.sign(&request).expect_err(method).field(), Some("method"));
    }
    let request = ApiRequest { method: "POST", path: "/v2".into(), body: PRIVATE.into() };
    let signed = client.sign(&request).expect("valid");
    let shown = format!("{signed:?}");
    let (_, signature) = signed.headers.last().expect("four headers");
    assert!(!shown.contains(signature) && !shown.contains("body"), "{shown}");
}
