//! The CRM's own API, as far as a channel uses it: OAuth, ids, contacts, sources, templates, talks
//! and webhooks about messages (chats API reference, sections 7 and 12).
//!
//! It is served beside the chats API, at the same address. The account of a call is the one its
//! access token belongs to; a `Host` whose first label is an account's subdomain must agree with it.

mod account;
mod answer;
mod book;
mod check;
mod contacts;
pub(crate) mod control;
mod handle;
mod oauth;
mod sources;
mod talks;
mod templates;
pub(crate) mod webhooks;

pub(crate) use book::Crm;
pub use book::{CrmUser, Integration};
pub use handle::{CrmHandle, IntegrationSettings};
pub(crate) use oauth::Flaw;
pub(crate) use talks::{message_came, read as chat_read};

use crate::api::{Call, Note, Shared};
use crate::config::Personality;
use crate::journal::Verdict;
use crate::sandbox::{Change, Inner};
use crate::state::State;
use amochats::AccountId;
use answer::{Answer, Problem};
use axum::Router;
use axum::extract::{Extension, State as AxumState};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use book::Book;
use serde_json::Value;
use std::sync::Arc;

/// The routes, which join those of the chats API. The first generation had the look-up alone.
pub(crate) fn router(personality: Personality) -> Router<Arc<Inner>> {
    let router = Router::new().route("/private/api/v2/json/accounts/current", any(serve));
    if personality == Personality::Gen1 {
        return router;
    }
    ["/api/v4/{*rest}", "/oauth", "/oauth2/{*rest}", "/ajax/v2/integrations/{*rest}"]
        .into_iter()
        .fold(router, |router, path| router.route(path, any(serve)))
}

/// Whether a path is of the CRM's API.
pub(crate) fn is_crm(path: &str) -> bool {
    ["/api/v4/", "/oauth", "/ajax/", "/private/"].iter().any(|start| path.starts_with(start))
}

/// A call as its handler sees it.
struct Context<'a> {
    inner: &'a Inner,
    call: &'a Call,
    query: Vec<(String, String)>,
    /// The API's own address, under which the account is reached.
    origin: String,
    now: i64,
}

impl Context<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.call.headers.get(name)?.to_str().ok()
    }

    /// All values of a parameter, also of its form as an array: `name`, `name[]`, `name[0]`.
    fn values(&self, name: &str) -> Vec<&str> {
        let named = |key: &str| {
            key.strip_prefix(name).is_some_and(|rest| {
                rest.is_empty()
                    || rest
                        .strip_prefix('[')
                        .and_then(|rest| rest.strip_suffix(']'))
                        .is_some_and(|at| at.bytes().all(|b| b.is_ascii_digit()))
            })
        };
        self.query.iter().filter(|(key, _)| named(key)).map(|(_, value)| value.as_str()).collect()
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last().copied()
    }

    /// Whether `with` names a part of the answer.
    fn with(&self, part: &str) -> bool {
        self.values("with").iter().any(|with| with.split(',').any(|name| name.trim() == part))
    }

    fn kommo(&self) -> bool {
        self.inner.config.personality == Personality::Kommo
    }
}

/// Who calls: what the access token says.
struct Caller {
    account_id: AccountId,
    /// The integration's `client_id`.
    client_id: String,
    user: CrmUser,
}

impl Caller {
    fn admin(&self) -> Result<(), Problem> {
        if self.user.is_admin {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "not_an_admin",
            "the call needs an administrator's rights, and the token is of a user without them",
        ))
    }
}

async fn serve(AxumState(inner): Shared, Extension(call): Extension<Arc<Call>>) -> Response {
    let (kind, answered) = dispatch(&inner, &call);
    let changes = call.method != "GET" && answered.is_ok();
    let (answer, verdict) = match answered {
        Ok(answer) => {
            let verdict =
                Verdict { ok: true, name: "accepted".into(), sentence: "the CRM took the call".into() };
            (answer, verdict)
        }
        Err(problem) => {
            let verdict = Verdict { ok: false, name: problem.name.into(), sentence: problem.sentence() };
            (problem.into_answer(), verdict)
        }
    };
    if changes {
        inner.changed(Change::Settings);
        inner.crm_wake.notify_one();
    }
    let mut response = answer.into_response();
    response.extensions_mut().insert(Note { kind, verdict });
    response
}

/// Finds the call, whoever makes it, and answers it. This is the list of all there is.
#[expect(clippy::too_many_lines, reason = "one line a call")]
fn dispatch(inner: &Inner, call: &Call) -> (&'static str, Result<Answer, Problem>) {
    let (path, query) = call.path_and_query.split_once('?').unwrap_or((&call.path_and_query, ""));
    let context = Context {
        inner,
        call,
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        origin: inner.api_url(),
        now: inner.config.clock.now_msec().div_euclid(1000),
    };
    let mut state = inner.state();
    let state = &mut *state;
    state.sync_crm();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    let cx = &context;
    match (call.method.as_str(), segments.as_slice()) {
        // Without an access token.
        ("GET", ["private", "api", "v2", "json", "accounts", "current"]) => {
            ("legacy account", account::legacy(state, cx))
        }
        ("GET", ["oauth"]) => ("oauth consent", oauth::consent(state, cx)),
        ("POST", ["oauth2", "access_token"]) => ("oauth token", oauth::access_token(state, cx)),
        ("POST", ["oauth2", "exchange_api_key"]) => ("oauth api key", oauth::exchange_api_key(state, cx)),
        ("GET", ["oauth2", "account", "current", "subdomain"]) => {
            ("oauth subdomain", oauth::subdomain(state, cx))
        }
        ("GET", ["ajax", "v2", "integrations", client, "disposable_token"]) => {
            ("one-time token", oauth::disposable_token(state, cx, client))
        }
        (method, ["api", "v4", rest @ ..]) => {
            type Call = fn(&mut State, &Context<'_>, &Caller, i64, i64) -> Result<Answer, Problem>;
            let (kind, id, other, act): (_, i64, i64, Call) = match (method, rest) {
                ("GET", ["account"]) => ("account", 0, 0, |s, cx, c, _, _| account::account(s, cx, c)),
                ("GET", ["users"]) => ("users", 0, 0, |s, cx, c, _, _| account::users(s, cx, c)),
                ("GET", ["users", id]) => {
                    ("user", number(id), 0, |s, cx, c, id, _| account::user(s, cx, c, id))
                }
                ("GET", ["contacts"]) => ("contacts", 0, 0, |s, cx, c, _, _| contacts::list(s, cx, c)),
                ("POST", ["contacts"]) => ("contacts add", 0, 0, |s, cx, c, _, _| contacts::add(s, cx, c)),
                ("GET", ["contacts", "chats"]) => {
                    ("linked chats", 0, 0, |s, cx, c, _, _| contacts::links(s, cx, c))
                }
                ("POST", ["contacts", "chats"]) => {
                    ("link chats", 0, 0, |s, cx, c, _, _| contacts::link(s, cx, c))
                }
                ("GET", ["contacts", id]) => {
                    ("contact", number(id), 0, |s, cx, c, id, _| contacts::get(s, cx, c, id))
                }
                ("GET", ["leads", "unsorted"]) => {
                    ("unsorted", 0, 0, |s, cx, c, _, _| contacts::unsorted(s, cx, c))
                }
                ("GET", ["sources"]) => ("sources", 0, 0, |s, cx, c, _, _| sources::list(s, cx, c)),
                ("POST", ["sources"]) => ("sources add", 0, 0, |s, cx, c, _, _| sources::add(s, cx, c)),
                ("PATCH", ["sources"]) => {
                    ("sources edit", 0, 0, |s, cx, c, _, _| sources::edit(s, cx, c, None))
                }
                ("DELETE", ["sources"]) => {
                    ("sources delete", 0, 0, |s, cx, c, _, _| sources::delete(s, cx, c, None))
                }
                ("GET", ["sources", id]) => {
                    ("source", number(id), 0, |s, cx, c, id, _| sources::get(s, cx, c, id))
                }
                ("PATCH", ["sources", id]) => {
                    ("source edit", number(id), 0, |s, cx, c, id, _| sources::edit(s, cx, c, Some(id)))
                }
                ("DELETE", ["sources", id]) => {
                    ("source delete", number(id), 0, |s, cx, c, id, _| sources::delete(s, cx, c, Some(id)))
                }
                ("GET", ["chats", "templates"]) => {
                    ("templates", 0, 0, |s, cx, c, _, _| templates::list(s, cx, c))
                }
                ("POST", ["chats", "templates"]) => {
                    ("templates add", 0, 0, |s, cx, c, _, _| templates::add(s, cx, c))
                }
                ("PATCH", ["chats", "templates"]) => {
                    ("templates edit", 0, 0, |s, cx, c, _, _| templates::edit(s, cx, c, None))
                }
                ("DELETE", ["chats", "templates"]) => {
                    ("templates delete", 0, 0, |s, cx, c, _, _| templates::delete(s, cx, c, None))
                }
                ("GET", ["chats", "templates", id]) => {
                    ("template", number(id), 0, |s, cx, c, id, _| templates::get(s, cx, c, id))
                }
                ("PATCH", ["chats", "templates", id]) => {
                    ("template edit", number(id), 0, |s, cx, c, id, _| templates::edit(s, cx, c, Some(id)))
                }
                ("DELETE", ["chats", "templates", id]) => {
                    ("template delete", number(id), 0, |s, cx, c, id, _| {
                        templates::delete(s, cx, c, Some(id))
                    })
                }
                ("POST", ["chats", "templates", id, "review"]) => {
                    ("template review", number(id), 0, |s, cx, c, id, _| templates::submit(s, cx, c, id))
                }
                ("POST", ["chats", "templates", id, "review", review]) => {
                    ("template review status", number(id), number(review), templates::report)
                }
                ("GET", ["talks", id]) => ("talk", number(id), 0, |s, cx, c, id, _| talks::get(s, cx, c, id)),
                ("POST", ["talks", id, "close"]) => {
                    ("talk close", number(id), 0, |s, cx, c, id, _| talks::close(s, cx, c, id))
                }
                ("GET", ["webhooks"]) => ("subscriptions", 0, 0, |s, cx, c, _, _| webhooks::list(s, cx, c)),
                ("POST", ["webhooks"]) => ("subscribe", 0, 0, |s, cx, c, _, _| webhooks::subscribe(s, cx, c)),
                ("DELETE", ["webhooks"]) => {
                    ("unsubscribe", 0, 0, |s, cx, c, _, _| webhooks::unsubscribe(s, cx, c))
                }
                _ => return ("unknown", Err(no_such_call())),
            };
            let answered = caller(state, cx).and_then(|caller| act(state, cx, &caller, id, other));
            (kind, answered)
        }
        _ => ("unknown", Err(no_such_call())),
    }
}

fn no_such_call() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_call",
        "the sandbox's CRM has account, users, contacts, contacts/chats, leads/unsorted, sources, chats/templates, \
         talks and webhooks under /api/v4, and /oauth2/access_token, /oauth2/exchange_api_key, \
         /oauth2/account/current/subdomain",
    )
}

/// Checks in the order: pace, token, host, payment, the user that it acts as.
fn caller(state: &mut State, cx: &Context<'_>) -> Result<Caller, Problem> {
    let unauthorized = |name, detail: String| Err(Problem::new(StatusCode::UNAUTHORIZED, name, detail));
    let Some(token) = cx.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) else {
        return unauthorized("no_token", "the header Authorization: Bearer {access token} is missing".into());
    };
    let Some(grant) = state.crm.access(token).cloned() else {
        return unauthorized(
            "unknown_token",
            "the access token is not one that this CRM gave, or was revoked".into(),
        );
    };
    if grant.expires_at <= cx.now {
        let detail = "the access token has expired: refresh it; an access token lives 24 hours";
        return unauthorized("expired_token", detail.into());
    }
    let Some(book) = state.crm.books.get_mut(&grant.account_id) else {
        return unauthorized("unknown_token", "the account of the access token is gone".into());
    };
    if let Some(per_second) = cx.inner.switches().crm_requests_per_second {
        pace(book, per_second, cx.inner.config.clock.now_msec())?;
    }
    let book = &state.crm.books[&grant.account_id];
    if let Some(other) = host_account(&state.crm, cx).filter(|other| **other != grant.account_id) {
        let detail = format!(
            "the access token is of {}, and the Host is of {}",
            book.subdomain, state.crm.books[other].subdomain
        );
        return unauthorized("foreign_host", detail);
    }
    if !book.is_paid {
        return Err(Problem::new(StatusCode::PAYMENT_REQUIRED, "not_paid", "the account is not paid for"));
    }
    let granted = book.user(grant.user_id);
    let acting = match cx.header("x-context-user-id") {
        None => granted,
        Some(_) if !granted.is_some_and(|user| user.is_admin) => {
            let detail = "X-Context-User-ID works with a token that an administrator granted";
            return Err(Problem::new(StatusCode::FORBIDDEN, "context_not_allowed", detail));
        }
        Some(id) => id.parse().ok().and_then(|id| book.user(id)),
    };
    let Some(user) = acting.cloned() else {
        let detail = "X-Context-User-ID is no user of this account";
        return Err(Problem::new(StatusCode::FORBIDDEN, "no_such_user", detail));
    };
    Ok(Caller { account_id: grant.account_id, client_id: grant.client_id, user })
}

/// The account that the `Host` names, if it names one: `{subdomain}.amocrm.ru`, or any other domain.
fn host_account<'a>(crm: &'a Crm, cx: &Context<'_>) -> Option<&'a AccountId> {
    let (label, _domain) = cx.header(header::HOST.as_str())?.split_once('.')?;
    crm.books.iter().find(|(_, book)| book.subdomain == label).map(|(id, _)| id)
}

/// How many calls beyond the rate get 429 before it becomes 403.
const PATIENCE: u32 = 7;

/// A bucket that holds a second's calls: 429 when it is empty, 403 for who goes on.
fn pace(book: &mut Book, per_second: u32, now_msec: i64) -> Result<(), Problem> {
    let full = f64::from(per_second);
    let bucket = &mut book.bucket;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since the last call")]
    let passed = now_msec.saturating_sub(bucket.at_msec).max(0) as f64 / 1000.0;
    bucket.level = (bucket.level + passed * full).min(full);
    bucket.at_msec = now_msec;
    if bucket.level >= 1.0 {
        bucket.level -= 1.0;
        bucket.refused = 0;
        return Ok(());
    }
    bucket.refused = bucket.refused.saturating_add(1);
    if bucket.refused > PATIENCE {
        let detail = format!("the account's calls went on after 429: more than {per_second} in a second");
        return Err(Problem::new(StatusCode::FORBIDDEN, "locked_out", detail));
    }
    let detail = format!("more than {per_second} calls in a second: wait before the next one");
    Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail).retry_after(1))
}

/// A body that is one JSON object, or an array of them.
enum Body {
    One(serde_json::Map<String, Value>),
    Many(Vec<Value>),
}

impl Context<'_> {
    fn body(&self) -> Result<Body, Problem> {
        let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "malformed_body", detail);
        let value: Value = serde_json::from_slice(&self.call.body)
            .map_err(|error| bad(format!("the body is not JSON: {error}")))?;
        match value {
            Value::Object(map) => Ok(Body::One(map)),
            Value::Array(items) => Ok(Body::Many(items)),
            _ => Err(bad("the body must be an object or an array".into())),
        }
    }

    fn object(&self) -> Result<serde_json::Map<String, Value>, Problem> {
        match self.body()? {
            Body::One(map) => Ok(map),
            Body::Many(_) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "malformed_body",
                "the body must be one object, not an array",
            )),
        }
    }

    /// An array of at most `max` items, none of it empty.
    fn items(&self, max: usize) -> Result<Vec<Value>, Problem> {
        let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "malformed_body", detail);
        match self.body()? {
            Body::One(_) => Err(bad("the body must be an array of objects".into())),
            Body::Many(items) if items.is_empty() => Err(bad("the array must not be empty".into())),
            Body::Many(items) if items.len() > max => {
                Err(bad(format!("the array must hold at most {max} items, not {}", items.len())))
            }
            Body::Many(items) => Ok(items),
        }
    }
}

/// What stands in for `request_id` where an item has none: its place.
fn request_id(item: &Value, at: usize) -> String {
    item.get("request_id").and_then(Value::as_str).map_or_else(|| at.to_string(), str::to_owned)
}
