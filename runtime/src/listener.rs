//! The webhook listener: bare hyper, because its answer is a promise and must cost little.
//!
//! The order is fixed: address → size → raw bytes → signature → kept on disk → 200. The vendor
//! sends a webhook once, waits 5 s and never repeats it, so what cannot be kept in time is
//! answered 503, counted and logged as lost, and never 200.

use crate::channels::Channels;
use crate::clock::Clock;
use crate::config::ListenerConfig;
use crate::metrics::Metrics;
use crate::serve::Trusted;
use crate::trace::span;
use amochats::{Error, ErrorKind, Result, SIGNATURE_HEADER};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::field::Empty;
use tracing::{Instrument, Span};

pub(crate) struct Listener {
    channels: Arc<Channels>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    prefixes: Vec<String>,
    trusted: Arc<Trusted>,
    max_body: usize,
    deadline: Duration,
    /// Bytes of bodies in memory, in permits of one.
    in_flight: Arc<Semaphore>,
}

impl Listener {
    pub(crate) fn new(
        config: &ListenerConfig,
        channels: Arc<Channels>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        trusted: Arc<Trusted>,
    ) -> Result<Self> {
        Ok(Self {
            channels,
            clock,
            metrics,
            prefixes: config.path_prefixes()?,
            trusted,
            max_body: config.max_body_bytes,
            deadline: Duration::from_millis(config.keep_deadline_ms),
            in_flight: Arc::new(Semaphore::new(config.max_in_flight_bytes.min(Semaphore::MAX_PERMITS))),
        })
    }

    pub(crate) async fn handle(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let started = self.clock.monotonic();
        let in_flight = self.metrics.site.begin();
        let span = span!("webhook", otel.kind = "server", scope_id = Empty, status = Empty);
        let answered = self.answer(request, peer, started + self.deadline).instrument(span.clone());
        let response = answered.await;
        span.record("status", response.status().as_u16());
        drop(in_flight);
        self.metrics.answered(response.status().as_u16(), self.clock.monotonic().saturating_sub(started));
        Ok(response)
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        deadline: Duration,
    ) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let scope = self.prefixes.iter().find_map(|prefix| path.strip_prefix(prefix.as_str()));
        let scope = scope.filter(|scope| !scope.contains('/'));
        let Some(scope) = scope else {
            return say(StatusCode::NOT_FOUND, "no webhook address");
        };
        if request.method() != Method::POST {
            let mut response = say(StatusCode::METHOD_NOT_ALLOWED, "webhooks are sent with POST");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        if let Err(error) = self.channels.of_scope(scope) {
            return say(StatusCode::NOT_FOUND, error.message());
        }
        let scope = scope.to_owned();
        Span::current().record("scope_id", &scope);
        let (head, body) = request.into_parts();
        let body = match self.read(body, deadline).await {
            Ok(body) => body,
            Err(mut refused) => {
                // The rest of the body is not worth reading.
                refused.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return refused;
            }
        };
        let length = body.len() as u64;
        let signature = head.headers.get(SIGNATURE_HEADER).map(|value| value.to_str().unwrap_or_default());
        // After the deadline the store may still have the body, which then still takes its room.
        let ingested = match self.by(deadline, self.channels.ingest(&scope, signature, body)).await {
            Some(ingested) => ingested,
            None => Err(Error::new(ErrorKind::StoreFailed, "the store did not commit in time")),
        };
        match ingested {
            Ok(_) => {
                self.metrics.site.bytes.inc_by(length);
                say(StatusCode::OK, "kept")
            }
            Err(error) => {
                let status = match error.kind() {
                    ErrorKind::UnknownChannel => StatusCode::NOT_FOUND,
                    ErrorKind::SignatureMissing | ErrorKind::SignatureMismatch => StatusCode::UNAUTHORIZED,
                    ErrorKind::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                if status == StatusCode::UNAUTHORIZED {
                    let peer = self.trusted.client(peer, &head.headers);
                    tracing::warn!(scope, %peer, reason = error.kind().name(), "a webhook was refused: {error}");
                } else if status == StatusCode::SERVICE_UNAVAILABLE {
                    tracing::error!(
                        scope,
                        reason = error.kind().name(),
                        "a webhook was not kept, and will not come again; the backfill looks for its message: {error}"
                    );
                }
                say(status, error.message())
            }
        }
    }

    /// Reads a body. Its room in memory is taken as its bytes arrive, so that a peer which announces
    /// much and sends little takes little.
    async fn read(&self, mut body: Incoming, deadline: Duration) -> Result<Bytes, Response<Full<Bytes>>> {
        let too_large = || {
            tracing::warn!(
                limit = self.max_body,
                "a body was refused for its size; listener.max_body_bytes is the limit"
            );
            say(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than the limit")
        };
        if body.size_hint().lower() > self.max_body as u64 {
            return Err(too_large());
        }
        // Nearly every body comes in one piece, which need not be copied.
        let (mut bytes, mut pieces) = (Bytes::new(), BytesMut::new());
        let mut room: Option<OwnedSemaphorePermit> = None;
        loop {
            let data = match self.by(deadline, body.frame()).await {
                Some(None) => break,
                // Trailers say nothing that is needed.
                Some(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Some(Some(Err(_))) => return Err(say(StatusCode::BAD_REQUEST, "the body broke off")),
                None => {
                    tracing::error!("a webhook's body did not arrive in time and is lost");
                    return Err(say(StatusCode::SERVICE_UNAVAILABLE, "the body did not arrive in time"));
                }
            };
            if data.len() > self.max_body - bytes.len() - pieces.len() {
                return Err(too_large());
            }
            let more = u32::try_from(data.len()).unwrap_or(u32::MAX);
            let Some(Ok(more)) = self.by(deadline, self.in_flight.clone().acquire_many_owned(more)).await
            else {
                tracing::error!("a webhook found no room in memory and is lost");
                self.channels.lost().refuse_unread(&*self.clock);
                return Err(say(StatusCode::SERVICE_UNAVAILABLE, "too much at once"));
            };
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            if bytes.is_empty() && pieces.is_empty() {
                bytes = data;
            } else {
                // Each byte is moved a few times at most, however small the pieces are that a peer sends.
                pieces.extend_from_slice(&std::mem::take(&mut bytes));
                pieces.extend_from_slice(&data);
            }
        }
        if !pieces.is_empty() {
            bytes = pieces.freeze();
        }
        Ok(Bytes::from_owner(Body { bytes, _room: room }))
    }

    /// What comes of a future by the deadline.
    async fn by<T>(&self, deadline: Duration, future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        // Mostly it is there already, and needs no timer.
        if let Poll::Ready(done) = futures_util::poll!(future.as_mut()) {
            return Some(done);
        }
        tokio::select! {
            biased;
            done = future => Some(done),
            () = self.clock.sleep_until(deadline) => None,
        }
    }
}

/// A body that takes its room in memory for as long as anything holds it.
struct Body {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// An answer with a line for people; the vendor reads only the status.
pub(crate) fn say(status: StatusCode, line: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{line}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
