//! A channel that talks to the sandbox over TCP, and a receiver for its webhooks.
#![allow(dead_code, reason = "each test binary uses a part")]

use amochats::{AccountId, ApiRequest, ChannelSecret, ScopeId, SignedHeaders, format_date};
use amochats_sandbox::{Change, Clock, Sandbox, SandboxConfig};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::{broadcast, mpsc};

pub(crate) const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
pub(crate) const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
pub(crate) const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
/// Mon, 01 Jan 2024 00:00:00 +0000.
pub(crate) const D0_MSEC: i64 = 1_704_067_200_000;

/// A clock that stands until it is turned.
#[derive(Clone)]
pub(crate) struct Turned(Arc<AtomicI64>);

impl Turned {
    pub(crate) fn at(msec: i64) -> Self {
        Self(Arc::new(AtomicI64::new(msec)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).expect("short"), Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs())
    }

    pub(crate) fn clock(&self) -> Clock {
        let turned = self.clone();
        Clock::new(move || turned.now())
    }
}

pub(crate) fn config() -> SandboxConfig {
    SandboxConfig {
        channel_id: Some(CHANNEL.into()),
        secret: Some(SECRET.into()),
        accounts: vec![ACCOUNT.into()],
        seed: Some(7),
        clock: Turned::at(D0_MSEC).clock(),
        ..SandboxConfig::default()
    }
}

/// The integration's side.
pub(crate) struct Channel {
    pub(crate) sandbox: Sandbox,
    pub(crate) http: reqwest::Client,
    pub(crate) scope: ScopeId,
    pub(crate) account: AccountId,
    pub(crate) date: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, error_type: &str) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        let body = self.json();
        assert_eq!(body["error_type"], error_type, "{body}");
        assert_eq!(body["error_code"], status);
        body["error_description"].as_str().expect("a sentence").to_owned()
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> &Self {
        assert_eq!(self.status, 200, "{}", self.text);
        self
    }
}

pub(crate) fn secret() -> ChannelSecret {
    ChannelSecret::new(SECRET).expect("clean")
}

pub(crate) fn http() -> reqwest::Client {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("valid")
}

impl Channel {
    pub(crate) async fn start(config: SandboxConfig) -> Self {
        let date = format_date(config.clock.now()).expect("in the calendar");
        let sandbox = Sandbox::start(config).await.expect("it starts");
        let account = sandbox.accounts()[0].account_id.clone();
        let scope = ScopeId::of(&sandbox.channel_id(), &account);
        Self { http: http(), scope, account, date, sandbox }
    }

    /// Started and connected with webhooks v2.
    pub(crate) async fn connected(config: SandboxConfig) -> Self {
        let channel = Self::start(config).await;
        channel.connect(&json!({ "account_id": channel.account, "hook_api_version": "v2" })).await.ok();
        channel
    }

    pub(crate) async fn connect(&self, body: &Value) -> Answer {
        self.call("POST", &format!("{}/connect", self.sandbox.channel_id()), body).await
    }

    pub(crate) async fn send(&self, payload: &Value) -> Answer {
        let body = json!({ "event_type": "new_message", "payload": payload });
        self.call("POST", self.scope.as_str(), &body).await
    }

    pub(crate) async fn status(&self, message: &str, body: &Value) -> Answer {
        self.call("POST", &format!("{}/{message}/delivery_status", self.scope), body).await
    }

    /// A call signed in the canonical form.
    pub(crate) async fn call(&self, method: &'static str, path: &str, body: &Value) -> Answer {
        let path = format!("/v2/origin/custom/{path}");
        let request = ApiRequest { method, path, body: body.to_string().into_bytes() };
        let headers = request.sign(&secret(), &self.date).expect("valid");
        self.raw(method, &request.path, &headers, request.body.clone()).await
    }

    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &SignedHeaders,
        body: Vec<u8>,
    ) -> Answer {
        let headers: Vec<_> = headers.iter().filter(|(_, value)| !value.is_empty()).collect();
        self.bare(method, path, &headers, body).await
    }

    pub(crate) async fn bare(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let url = format!("http://{}{path}", self.sandbox.api_addr());
        let mut request = self.http.request(method.parse().expect("a method"), url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("an answer");
        Answer { status: response.status().as_u16(), text: response.text().await.expect("UTF-8") }
    }
}

/// A text from a client.
pub(crate) fn text(msgid: &str, conversation: &str, user: &str, text: &str) -> Value {
    json!({
        "timestamp": 1_704_067_200, "msec_timestamp": 1_704_067_200_000_i64, "msgid": msgid,
        "conversation_id": conversation, "sender": { "id": user, "name": "Anna" },
        "message": { "type": "text", "text": text }, "silent": false,
    })
}

/// A webhook as it was received.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A receiver that answers always the same; it never answers where `status` is none.
pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) received: mpsc::UnboundedReceiver<Received>,
}

type Answering = (mpsc::UnboundedSender<Received>, Option<StatusCode>);

async fn receive(
    State((sender, status)): State<Answering>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let query = uri.query().map(str::to_owned);
    sender.send(Received { path: uri.path().to_owned(), query, headers, body }).expect("the test waits");
    match status {
        Some(status) => (status, "the receiver's words"),
        None => std::future::pending().await,
    }
}

impl Receiver {
    pub(crate) async fn start(status: Option<u16>) -> Self {
        let (sender, received) = mpsc::unbounded_channel();
        let status = status.map(|status| StatusCode::from_u16(status).expect("a status"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/in/:scope_id", listener.local_addr().expect("bound"));
        let router = Router::new().fallback(receive).with_state((sender, status));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, received }
    }

    pub(crate) async fn next(&mut self) -> Received {
        self.received.recv().await.expect("the receiver runs")
    }
}

/// HMAC-SHA1 without our own code.
pub(crate) fn hmac_hex(bytes: &[u8]) -> String {
    hmac_hex_keyed(SECRET.as_bytes(), bytes)
}

pub(crate) fn hmac_hex_keyed(key: &[u8], bytes: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("any length");
    mac.update(bytes);
    mac.finalize().into_bytes().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes all");
        hex
    })
}

/// Waits for the first change that fits.
pub(crate) async fn wait_for(
    changes: &mut broadcast::Receiver<Change>,
    fits: impl Fn(&Change) -> bool,
) -> Change {
    loop {
        let change = changes.recv().await.expect("the sandbox runs");
        if fits(&change) {
            return change;
        }
    }
}
