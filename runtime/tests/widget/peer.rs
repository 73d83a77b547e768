//! The CRM and the chat service of several accounts, as far as linking asks them.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Number in the CRM and id inside the chat service.
pub(crate) type Account = (i64, &'static str);

#[derive(Default)]
struct State {
    codes: HashMap<String, Account>,
    access: HashMap<String, Account>,
    refresh: HashMap<String, Account>,
    connected: HashSet<String>,
    journal: Vec<String>,
    made: usize,
    /// Paths that begin so are answered this.
    failing: Vec<(String, u16)>,
    /// Paths that begin so are answered when they are let go.
    held: Vec<String>,
    /// So are all calls with tokens of this account.
    held_account: Option<Account>,
    at_once: usize,
    most_at_once: usize,
}

#[derive(Clone)]
pub(crate) struct Peer {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
    pub(crate) address: SocketAddr,
}

impl Peer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let peer = Self { state: Arc::default(), changed: watch::Sender::new(()), address };
        let serving = peer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let peer = serving.clone();
                let service = service_fn(move |request| {
                    let peer = peer.clone();
                    async move { Ok::<_, Infallible>(peer.answer(request).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(async move { drop(http.serve_connection(TokioIo::new(stream), service).await) });
            }
        });
        peer
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let done = work(&mut self.state.lock().expect("no panic"));
        self.changed.send_replace(());
        done
    }

    async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let mut changes = self.changed.subscribe();
        let waiting = async {
            while !holds(&self.state.lock().expect("no panic")) {
                changes.changed().await.expect("the peer lives");
            }
        };
        crate::support::soon(what, waiting).await;
    }

    /// The account is installed: gives the code.
    pub(crate) fn install(&self, account: Account) -> String {
        self.with(|state| {
            state.made += 1;
            let code = format!("planted-code-{}", state.made);
            state.codes.insert(code.clone(), account);
            code
        })
    }

    /// The account's tokens do not work any more, and the channel is disconnected.
    pub(crate) fn revoke(&self, account: Account) {
        self.with(|state| {
            state.access.retain(|_, of| *of != account);
            state.refresh.retain(|_, of| *of != account);
            state.connected.remove(account.1);
        });
    }

    /// Access tokens do not work any more, refresh tokens do.
    pub(crate) fn expire(&self) {
        self.with(|state| state.access.clear());
    }

    pub(crate) fn fail(&self, path: &str, status: u16) {
        self.with(|state| state.failing.push((path.into(), status)));
    }

    pub(crate) fn hold(&self, path: &str) {
        self.with(|state| state.held.push(path.into()));
    }

    pub(crate) fn hold_account(&self, account: Account) {
        self.with(|state| state.held_account = Some(account));
    }

    /// Waits until it works on so many requests at once.
    pub(crate) async fn working_on(&self, count: usize) {
        self.until("requests at once", |state| state.at_once == count).await;
    }

    pub(crate) fn work_again(&self) {
        self.with(|state| {
            state.failing.clear();
            state.held.clear();
            state.held_account = None;
        });
    }

    pub(crate) fn is_connected(&self, account: Account) -> bool {
        self.with(|state| state.connected.contains(account.1))
    }

    /// How many requests of this method and path came.
    pub(crate) fn count(&self, request: &str) -> usize {
        self.with(|state| state.journal.iter().filter(|known| known.starts_with(request)).count())
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.with(|state| state.most_at_once)
    }

    /// Waits for so many requests of this method and path.
    pub(crate) async fn reached(&self, request: &str, count: usize) {
        let known = |state: &State| state.journal.iter().filter(|known| known.starts_with(request)).count();
        self.until(request, |state| known(state) >= count).await;
    }

    pub(crate) async fn connected(&self, account: Account) {
        self.until("connection", |state| state.connected.contains(account.1)).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let path = head.uri.path().to_owned();
        self.with(|state| {
            state.journal.push(format!("{} {path}", head.method));
            state.at_once += 1;
            state.most_at_once = state.most_at_once.max(state.at_once);
        });
        // Two at once would be seen.
        tokio::task::yield_now().await;
        let token =
            head.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let token = token.trim_start_matches("Bearer ").to_owned();
        let is_held = |state: &State| {
            let of_account = state.held_account.filter(|_| !token.is_empty());
            of_account.is_some_and(|account| state.access.get(&token) == Some(&account))
                || state.held.iter().any(|held| path.starts_with(held))
        };
        self.until("letting go", |state| !is_held(state)).await;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let (status, answer) = self.with(|state| {
            state.at_once -= 1;
            state.answered(head.method.as_str(), &path, &token, &body)
        });
        let mut response = Response::new(Full::from(answer.to_string()));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        response
    }
}

impl State {
    fn answered(&mut self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        if let Some((_, status)) = self.failing.iter().find(|(failing, _)| path.starts_with(failing)) {
            return (*status, json!({ "title": "planted failure" }));
        }
        match (method, path) {
            ("POST", "/oauth2/access_token") => {
                let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                let account = match body["grant_type"].as_str() {
                    Some("authorization_code") => self.codes.remove(&text("code")),
                    _ => self.refresh.remove(&text("refresh_token")),
                };
                let genuine = body["client_secret"] == crate::page::INTEGRATION_SECRET
                    && body["redirect_uri"] == crate::page::REDIRECT_URI;
                let Some(account) = account.filter(|_| genuine) else {
                    return (400, json!({ "hint": "invalid_grant" }));
                };
                self.made += 1;
                let (access, refresh) =
                    (format!("planted-access-{}", self.made), format!("planted-refresh-{}", self.made));
                self.access.insert(access.clone(), account);
                self.refresh.insert(refresh.clone(), account);
                let tokens = json!({
                    "token_type": "Bearer", "expires_in": 86400, "access_token": access, "refresh_token": refresh,
                });
                (200, tokens)
            }
            ("GET", "/api/v4/account") => match self.access.get(token) {
                Some((id, amojo_id)) => (200, json!({ "id": id, "amojo_id": amojo_id, "subdomain": "demo" })),
                None => (401, json!({ "title": "Unauthorized" })),
            },
            (method, path) if path.starts_with("/v2/origin/custom/") => {
                let account = body["account_id"].as_str().unwrap_or_default();
                let channel = path.split('/').nth(4).unwrap_or_default();
                if method == "DELETE" {
                    self.connected.remove(account);
                    return (200, json!({}));
                }
                self.connected.insert(account.to_owned());
                let connected = json!({
                    "account_id": account, "scope_id": format!("{channel}_{account}"),
                    "title": body["title"], "hook_api_version": body["hook_api_version"],
                });
                (200, connected)
            }
            _ => (404, Value::Null),
        }
    }
}
