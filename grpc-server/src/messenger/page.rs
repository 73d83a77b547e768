//! The phone in the browser: its files, what it does as JSON, and what it shows as server-sent events.

use super::{Shared, now_msec};
use amochats_sandbox::own_page_only;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_stream::wrappers::WatchStream;

const FILES: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/app.js", "text/javascript; charset=utf-8", include_str!("page/app.js")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
];

/// The page may load itself and show pictures from anywhere, and nothing else. Pages of this
/// machine may frame it, as the sandbox's does.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src * data:; connect-src 'self'; \
     frame-ancestors http://127.0.0.1:* http://localhost:*; base-uri 'none'; form-action 'none'";

pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let stop = shared.stop.clone();
    let served = axum::serve(listener, router(shared)).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the listener of the messenger ended");
    }
}

fn router(shared: Arc<Shared>) -> Router {
    FILES
        .iter()
        .fold(Router::new(), |router, &(path, kind, text)| {
            let headers = [
                (header::CONTENT_TYPE, kind),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::REFERRER_POLICY, "no-referrer"),
                (header::CACHE_CONTROL, "no-cache"),
            ];
            router.route(path, get(async move || (headers, text).into_response()))
        })
        .route("/api/phone", get(phone))
        .route("/api/events", get(events))
        .route("/api/messages", post(write))
        .route("/api/seen", post(seen))
        .layer(DefaultBodyLimit::max(256 * 1024))
        .layer(middleware::from_fn(own_page_only))
        .with_state(shared)
}

/// Whose phone is meant; the demo's only client where it is not said.
#[derive(Deserialize)]
struct Whose {
    client: Option<String>,
}

impl Whose {
    fn name<'a>(&'a self, shared: &'a Shared) -> &'a str {
        self.client.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(&shared.config.client)
    }
}

async fn phone(State(shared): State<Arc<Shared>>, Query(whose): Query<Whose>) -> Json<Value> {
    Json(shared.with(|phones| phones.view(whose.name(&shared))))
}

/// The phone as it is now and after each change.
async fn events(
    State(shared): State<Arc<Shared>>,
    Query(whose): Query<Whose>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stopped = shared.stop.clone().cancelled_owned();
    let shown = WatchStream::new(shared.changes.subscribe()).map(move |()| {
        let view = shared.with(|phones| phones.view(whose.name(&shared)));
        Ok(Event::default().event("phone").data(view.to_string()))
    });
    Sse::new(shown.take_until(stopped)).keep_alive(KeepAlive::default())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    client: Option<String>,
    message_id: String,
    text: String,
}

type Answer = (StatusCode, Json<Value>);

fn refused(status: StatusCode, why: &str) -> Answer {
    (status, Json(json!({ "error": why })))
}

/// Takes a message; what becomes of it is shown by the events. The same id again tries again.
async fn write(State(shared): State<Arc<Shared>>, body: Result<Json<Written>, JsonRejection>) -> Answer {
    let Written { client, message_id, text } = match body {
        Ok(Json(written)) => written,
        Err(rejection) => return refused(rejection.status(), &rejection.body_text()),
    };
    // A place in the queue first: what is shown as being sent is then certain to be sent.
    let Ok(permit) = shared.unsent.reserve().await else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "the messenger is stopping");
    };
    let whose = Whose { client };
    let taken =
        shared.change(|phones| phones.write(whose.name(&shared), &message_id, text.trim(), now_msec()));
    match taken {
        Err(why) => return refused(StatusCode::BAD_REQUEST, why),
        Ok(None) => {}
        Ok(Some(place)) => permit.send(place),
    }
    (StatusCode::OK, Json(json!({})))
}

/// The person looks at the phone.
async fn seen(State(shared): State<Arc<Shared>>, body: Result<Json<Whose>, JsonRejection>) -> Answer {
    let whose = match body {
        Ok(Json(whose)) => whose,
        Err(rejection) => return refused(rejection.status(), &rejection.body_text()),
    };
    if shared.with(|phones| phones.see(whose.name(&shared))) {
        shared.changes.send_replace(());
    }
    (StatusCode::OK, Json(json!({})))
}
