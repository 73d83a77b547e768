//! The web console on the admin address: a page under `/console`, and the JSON that it shows.
//!
//! Its files are open to everybody who reaches the address and hold nothing; each call of `/console/api`
//! needs a token of `grpc.tokens_file` in the header `Authorization`. There are no cookies, so no other
//! page can act for whoever is logged in.

mod api;
mod page;

use crate::security::{Gate, GrpcConfig};
use amochats::{Error, ErrorKind, Result};
use amochats_runtime::{Channels, Inbox, Outbox, Runtime};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use std::sync::Arc;
use tower::Service;

/// The web console.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleConfig {
    /// Serves it at `/console` of the admin address.
    pub enabled: bool,
}

impl ConsoleConfig {
    /// The section with every default, for the example of a configuration.
    pub(crate) const EXAMPLE: &'static str = r"
[console]
# A page for operators at /console of the admin address: channels, subscriptions, events, dead letters, the
# outbox. It takes the tokens of grpc.tokens_file: `read` shows, `admin` changes and opens messages.
enabled = false
";

    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] for a console without tokens.
    pub(crate) fn validate(&self, grpc: &GrpcConfig) -> Result<()> {
        if !self.enabled || grpc.tokens().is_some() {
            return Ok(());
        }
        let rule = "console.enabled: needs grpc.tokens_file; `amochats token new` makes it";
        Err(Error::new(ErrorKind::ConfigInvalid, rule).with_field("console.enabled"))
    }
}

/// What the console shows.
#[derive(Clone)]
struct Console {
    gate: Arc<Gate>,
    inbox: Inbox,
    outbox: Outbox,
    channels: Arc<Channels>,
}

/// Serves the console on the admin address of a runtime.
pub(crate) fn mount(runtime: &Runtime, gate: Arc<Gate>) {
    let console = Console {
        gate,
        inbox: runtime.inbox().clone(),
        outbox: runtime.outbox().clone(),
        channels: runtime.channels().clone(),
    };
    let router: Router = page::router().merge(api::router(console));
    runtime.mount_console(move |request| {
        let router = router.clone();
        async move { answer(router, request.map(Body::new)).await }
    });
}

async fn answer(mut router: Router, request: Request<Body>) -> Response<Full<Bytes>> {
    let response = router.call(request).await.unwrap_or_else(|never| match never {});
    let (head, body) = response.into_parts();
    // All of them are made in memory.
    if let Ok(whole) = body.collect().await {
        Response::from_parts(head, Full::from(whole.to_bytes()))
    } else {
        let mut failed = Response::new(Full::default());
        *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        failed
    }
}
