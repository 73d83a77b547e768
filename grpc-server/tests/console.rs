//! The web console: who gets what from it.

mod support;

use http::StatusCode;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use support::{ACCOUNT, Office};

fn line(name: &str, permissions: &str, more: &str) -> String {
    let hash = Sha256::digest(name.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("room");
        hex
    });
    format!("{name} {permissions} sha256:{hash} {more}\n")
}

/// A console with tokens: `reader`, `sender`, `chief`, and `late`, whose time is over. Each is its own name.
struct Desk {
    office: Office,
    client: Client,
}

impl Desk {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tokens = [
            line("reader", "read", ""),
            line("sender", "send", ""),
            line("chief", "read,admin", ""),
            line("late", "read,admin", "until=2020-01-01T00:00:00Z"),
        ]
        .concat();
        std::fs::write(folder.path().join("tokens"), tokens).expect("written");
        let file = folder.path().join("tokens");
        let grpc = format!("tokens_file = {:?}\n[console]\nenabled = true", file.to_str().expect("plain"));
        let office = Office::within(folder, &grpc).await;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().build().expect("a client");
        Self { office, client }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/console{path}", self.office.server.admin_address())
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.request(method, self.url(&format!("/api/{path}")));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        read(request.send().await.expect("answered")).await
    }

    async fn get(&self, path: &str, token: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, token, None).await
    }

    async fn event_id(&self) -> String {
        let (status, found) = self.get("events", "reader").await;
        assert_eq!(status, 200);
        found["events"][0]["event_id"].as_str().expect("an event").to_owned()
    }
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.expect("text");
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("JSON, not {text:?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_good_token_gets_nothing() {
    let desk = Desk::new().await;
    for token in ["", "nobody", "late"] {
        for path in ["session", "accounts", "subscriptions", "events", "outbox", "events/x/body"] {
            let (status, said) = desk.get(path, token).await;
            assert_eq!(
                (status.as_u16(), &said["error"]["reason"]),
                (401, &json!("UNAUTHENTICATED")),
                "{path}"
            );
        }
    }
    for (path, token) in [("accounts", "sender"), ("events", "sender"), ("events/x/body", "reader")] {
        let (status, said) = desk.get(path, token).await;
        assert_eq!((status.as_u16(), &said["error"]["reason"]), (403, &json!("FORBIDDEN")), "{path}");
    }
    let named = json!({ "subscription": "crm", "event_ids": ["x"] });
    for (path, body) in [
        ("dead-letters/requeue", named.clone()),
        ("dead-letters/drop", named),
        ("outbox/cancel", json!({ "item_id": "x" })),
    ] {
        let (status, _) = desk.call(Method::POST, path, "reader", Some(body.clone())).await;
        assert_eq!(status, 403, "{path}");
        let (status, _) = desk.call(Method::POST, path, "chief", Some(body)).await;
        assert_eq!(status, 404, "{path}: it may, and there is none");
    }
    let (_, session) = desk.get("session", "chief").await;
    assert_eq!(session, json!({ "name": "chief", "permissions": ["read", "admin"] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_page_can_act_for_the_operator() {
    let desk = Desk::new().await;
    let page = desk.client.get(desk.url("/")).send().await.expect("answered");
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe-"));
    assert!(page.headers().get("set-cookie").is_none(), "nothing that a browser would send by itself");
    // A form of another page sends cookies at most, and no JSON.
    let form = desk.client.post(desk.url("/api/dead-letters/drop")).header("cookie", "token=chief");
    let form = form.header("content-type", "application/x-www-form-urlencoded").body("subscription=crm");
    assert_eq!(read(form.send().await.expect("answered")).await.0, 401);
    let text =
        desk.client.post(desk.url("/api/outbox/cancel")).bearer_auth("chief").body("{\"item_id\":\"x\"}");
    assert_eq!(read(text.send().await.expect("answered")).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_bounded_and_errors_have_one_form() {
    let desk = Desk::new().await;
    for (path, field) in [
        ("events?limit=0", json!("limit")),
        ("events?limit=201", json!("limit")),
        ("events?limit=x", Value::Null),
        ("events?colour=red", Value::Null),
        ("events?scope_id=x", json!("scope_id")),
        ("events?after=x", json!("after")),
        ("outbox?state=x", json!("state")),
    ] {
        let (status, said) = desk.get(path, "reader").await;
        assert_eq!((status.as_u16(), &said["error"]["field"]), (400, &field), "{path} {said}");
    }
    assert_eq!(desk.get("nothing", "reader").await.0, 404);
    assert_eq!(desk.call(Method::DELETE, "outbox", "reader", None).await.0, 405);
    let large = json!({ "item_id": "x".repeat(100_000) });
    let (status, said) = desk.call(Method::POST, "outbox/cancel", "chief", Some(large)).await;
    assert_eq!((status.as_u16(), &said["error"]["reason"]), (413, &json!("BODY_TOO_LARGE")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_found_and_its_text_is_for_administrators() {
    let desk = Desk::new().await;
    desk.office.hook("c-1", "secret words").await;
    let event_id = desk.event_id().await;
    for (query, count) in [
        (format!("event_id={event_id}"), 1),
        ("event_id=x".to_owned(), 0),
        ("message_ref_id=c-1-secret%20words".to_owned(), 1),
        ("message_ref_id=c-1".to_owned(), 0),
        ("conversation=c-1".to_owned(), 1),
        ("conversation=c-2".to_owned(), 0),
        (format!("scope_id=a4490ccc-5d7f-11e7-907b-a6006ad3dba0_{ACCOUNT}"), 1),
        ("since=1".to_owned(), 1),
        ("until=1".to_owned(), 0),
    ] {
        let (status, found) = desk.get(&format!("events?{query}"), "reader").await;
        assert_eq!(
            (status.as_u16(), found["events"].as_array().map(Vec::len)),
            (200, Some(count)),
            "{query}"
        );
    }
    let (status, life) = desk.get(&format!("events/{event_id}"), "reader").await;
    assert_eq!((status.as_u16(), &life["event"]["kind"]), (200, &json!("message")));
    assert!(!life["event"].to_string().contains("\"text\""), "{life}");
    assert_eq!(desk.get(&format!("events/{event_id}/body"), "reader").await.0, 403);
    let (status, body) = desk.get(&format!("events/{event_id}/body"), "chief").await;
    assert!(status == 200 && body.to_string().contains("secret words"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tokens_there_is_no_console() {
    let office = Office::new("").await;
    let error = office.config("[console]\nenabled = true").expect_err("refused");
    assert_eq!(error.field(), Some("console.enabled"));
    let url = format!("http://{}/console/api/session", office.server.admin_address());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = Client::builder().build().expect("a client").get(url).bearer_auth("chief").send().await;
    assert_eq!(answer.expect("answered").status(), 404);
}
