//! Health and metrics, for machines.

use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::listener::say;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::store::Store;
use amochats::{Error, ErrorKind};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long the store may take to say that it works.
const PING: Duration = Duration::from_secs(2);

/// Answers what is asked below `/console`.
pub(crate) type Console =
    Box<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<Full<Bytes>>> + Send + Sync>;

pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) inbox: Inbox,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) outbox: Outbox,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) unready: CancellationToken,
    pub(crate) console: OnceLock<Console>,
}

impl Admin {
    /// What is counted, with what must be looked up for it.
    pub(crate) async fn measured(&self) -> amochats::Result<String> {
        // A store that is out of order must not hide the other figures.
        if let Ok(Ok(states)) = tokio::time::timeout(PING, self.inbox.subscriptions()).await {
            self.metrics.backlog.measure(&states, &self.inbox.outstanding(), self.clock.now_msec());
        }
        self.outbox.measure().await;
        self.metrics.render()
    }

    /// Whether webhooks can be kept.
    pub(crate) async fn ready(&self) -> amochats::Result<()> {
        if self.unready.is_cancelled() {
            return Err(Error::new(ErrorKind::Closed, "stopping"));
        }
        let unanswered = |_| Error::new(ErrorKind::StoreFailed, "the store does not answer");
        tokio::time::timeout(PING, self.store.ping()).await.map_err(unanswered)?
    }

    pub(crate) async fn handle(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        if let Some(console) = self.console.get()
            && request
                .uri()
                .path()
                .strip_prefix("/console")
                .is_some_and(|rest| matches!(rest.chars().next(), None | Some('/')))
        {
            return Ok(console(request).await);
        }
        if request.method() != Method::GET {
            let mut response = say(StatusCode::METHOD_NOT_ALLOWED, "GET only");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return Ok(response);
        }
        Ok(match request.uri().path() {
            "/healthz" => say(StatusCode::OK, "alive"),
            "/readyz" => match self.ready().await {
                Ok(()) => say(StatusCode::OK, "ready"),
                Err(error) => say(StatusCode::SERVICE_UNAVAILABLE, error.message()),
            },
            "/metrics" => match self.measured().await {
                Ok(text) => {
                    let mut response = Response::new(Full::from(text));
                    let form = HeaderValue::from_static(
                        "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    );
                    response.headers_mut().insert(CONTENT_TYPE, form);
                    response
                }
                Err(error) => say(StatusCode::INTERNAL_SERVER_ERROR, error.message()),
            },
            _ => say(StatusCode::NOT_FOUND, "try /healthz, /readyz or /metrics"),
        })
    }
}
