//! The control API: what the manager's page and test suites in any language see and do, as JSON,
//! and changes as server-sent events. Other pages are kept out, see [`own_page_only`].
//!
//! Its contract is `control/openapi.json`, served at `/api/openapi.json`.

mod chats;
mod journal;
mod settings;

use crate::crm;
use crate::guard::own_page_only;
use crate::page;
use crate::sandbox::Inner;
use crate::widget;
use amochats::{Error, ErrorKind};
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use axum::{Json, Router, middleware};
use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio_stream::wrappers::BroadcastStream;

pub(crate) type Shared = State<Arc<Inner>>;
pub(crate) type Answer = std::result::Result<Json<Value>, Refused>;

/// The largest body but files and snapshots, in bytes.
const BODY_MAX: usize = 1024 * 1024;
const OPENAPI: &str = include_str!("control/openapi.json");

/// Every route: what the router has and the document must have.
fn routes(inner: &Inner) -> Vec<(&'static str, &'static str, MethodRouter<Arc<Inner>>)> {
    let files = DefaultBodyLimit::max(crate::files::FILES_MAX);
    let snapshots = DefaultBodyLimit::max(inner.config.memory_max);
    vec![
        ("get", "/api/state", get(settings::state)),
        ("post", "/api/webhook", post(settings::set_webhook)),
        ("post", "/api/channels", post(settings::add_channel)),
        ("patch", "/api/channels/{id}", patch(settings::update_channel)),
        ("delete", "/api/channels/{id}", delete(settings::remove_channel)),
        ("post", "/api/accounts", post(settings::add_account)),
        ("post", "/api/accounts/{id}/users", post(settings::add_user)),
        ("get", "/api/switches", get(settings::switches)),
        ("patch", "/api/switches", patch(settings::set_switches)),
        ("get", "/api/faults", get(settings::faults)),
        ("put", "/api/faults", put(settings::set_faults)),
        ("post", "/api/reset", post(settings::reset)),
        ("get", "/api/snapshot", get(settings::snapshot)),
        ("put", "/api/snapshot", put(settings::restore).layer(snapshots)),
        ("get", "/api/chats", get(chats::list)),
        ("post", "/api/chats", post(chats::write_first)),
        ("get", "/api/chats/{id}", get(chats::one)),
        ("get", "/api/chats/{id}/messages", get(chats::messages)),
        ("post", "/api/chats/{id}/messages", post(chats::answer)),
        ("post", "/api/chats/{id}/reactions", post(chats::react)),
        ("post", "/api/chats/{id}/typing", post(chats::typing)),
        ("post", "/api/chats/{id}/read", post(chats::mark_read)),
        ("post", "/api/files", post(chats::upload).layer(files)),
        ("get", "/api/journal", get(journal::list)),
        ("get", "/api/journal/{seq}", get(journal::entry)),
        ("post", "/api/journal/{seq}/replay", post(journal::replay)),
        ("get", "/api/events", get(events)),
        ("get", "/api/openapi.json", get(openapi)),
    ]
}

pub(crate) fn router(inner: Arc<Inner>) -> Router {
    let pages = page::router(inner.config.companion_url.as_deref()).merge(widget::pages());
    routes(&inner)
        .into_iter()
        .chain(crm::control::routes())
        .chain(widget::control::routes())
        .fold(pages, |router, (_, path, handler)| router.route(path, handler))
        .route("/api/{*rest}", axum::routing::any(async || no_such_path()))
        .method_not_allowed_fallback(async || {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, "this path has other methods: see /api/openapi.json")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(own_page_only))
        .with_state(inner)
}

/// A request that is refused, with the reason.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    error: String,
    field: Option<String>,
}

impl Refused {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), field: None }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.error });
        if let Some(field) = self.field {
            body["field"] = json!(field);
        }
        (self.status, Json(body)).into_response()
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { field: error.field().map(str::to_owned), ..Self::new(status, error.to_string()) }
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Refused {
    fn from(rejection: PathRejection) -> Self {
        Self::new(StatusCode::NOT_FOUND, rejection.body_text())
    }
}

/// A JSON body; what is wrong with it is said as JSON.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Refused))]
pub(crate) struct Body<T>(pub(crate) T);

/// A query string; what is wrong with it is said as JSON.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Refused))]
pub(crate) struct Query<T>(pub(crate) T);

/// A part of the path; what is wrong with it is said as JSON.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Refused))]
pub(crate) struct Path<T>(pub(crate) T);

fn not_found() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "there is nothing of this id")
}

fn no_such_path() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "there is no such path: see /api/openapi.json")
}

async fn openapi() -> Response {
    let mut document: Value = serde_json::from_str(OPENAPI).expect("a test reads it");
    for (path, item) in crm::control::paths().into_iter().chain(widget::control::paths()) {
        document["paths"][path] = item;
    }
    Json(document).into_response()
}

/// Changes as they happen. The first event, and one after a gap, is `reload`: look at everything anew.
async fn events(State(inner): Shared) -> Sse<impl Stream<Item = std::result::Result<Event, Infallible>>> {
    let reload = || Event::default().event("reload").data("{}");
    let changes = BroadcastStream::new(inner.changes.subscribe()).map(move |change| match change {
        Ok(crate::Change::Reset) | Err(_) => reload(),
        Ok(change) => {
            Event::default().event("change").json_data(&change).expect("ids and numbers can be written")
        }
    });
    let stopped = inner.stop.clone().cancelled_owned();
    let stream = futures_util::stream::once(async move { reload() }).chain(changes).map(Ok);
    Sse::new(stream.take_until(stopped)).keep_alive(KeepAlive::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[tokio::test]
    async fn the_document_has_every_route_and_no_other() {
        let sandbox = crate::Sandbox::start(crate::SandboxConfig::default()).await.expect("it starts");
        let document: Value = serde_json::from_str(OPENAPI).expect("JSON");
        let paths = document["paths"].as_object().expect("an object");
        let documented: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("an object").keys().filter(|key| *key != "parameters");
                methods.map(|method| (method.clone(), path.clone()))
            })
            .collect();
        let served: BTreeSet<(String, String)> = routes(&sandbox.inner)
            .into_iter()
            .map(|(method, path, _)| (method.to_owned(), path.to_owned()))
            .collect();
        assert_eq!(served, documented);
    }
}
