//! What each call passes: is the caller known, may it do this, does it still wait, is it written down.

use super::audit::{Entry, Overheard, Reader, Refused, RequestLine};
use super::config::GrpcConfig;
use super::connections::Peer;
use super::deadline::Deadline;
use super::permissions::{Need, Permission, need};
use super::tls::Identity;
use super::tokens::{self, Hash, Tokens};
use super::watched::Watched;
use crate::status::{DOMAIN, status};
use amochats::{Error, ErrorKind, Result};
use amochats_runtime::TRACE;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use jiff::Timestamp;
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::{Sleep, sleep_until};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Span, debug_span};

/// Knows who may do what.
pub(crate) struct Gate {
    tokens: Option<Watched<Tokens>>,
    reader: Reader,
    refused: Refused,
    max_message: usize,
}

/// A caller, and why it is one.
struct Caller {
    /// The name of its line in the file of tokens; where there is none, the subject of a certificate, or `-`.
    who: String,
    /// What it showed and needs: looked at again while a stream lasts.
    shown: Option<(Arc<Shown>, Permission)>,
}

/// What a caller shows of itself.
enum Shown {
    Token(Hash),
    Certificate(Arc<Identity>),
}

impl Gate {
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] for a file of tokens that cannot be used.
    pub(crate) fn new(config: &GrpcConfig) -> Result<Self> {
        let tokens = config.tokens().map(|file| {
            let (paths, file) = (vec![file.to_owned()], file.to_owned());
            Watched::new("grpc.tokens_file", paths, move || tokens::load(&file))
        });
        Ok(Self {
            tokens: tokens.transpose()?,
            reader: Reader::new(),
            refused: Refused::default(),
            max_message: config.max_message_bytes,
        })
    }

    /// Reads the tokens again.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`]; then the old ones stay.
    pub(crate) fn refresh(&self) -> Result<()> {
        self.tokens.as_ref().map_or(Ok(()), Watched::refresh)
    }

    /// The name of the token in these headers, and what it permits. Where no tokens are configured
    /// nobody has one.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`].
    pub(crate) fn holder(&self, headers: &HeaderMap) -> Result<(String, Vec<Permission>)> {
        let unknown = |said: &str| Error::new(ErrorKind::Unauthenticated, said);
        let token =
            headers.get(AUTHORIZATION).and_then(bearer).ok_or_else(|| unknown("a token is needed"))?;
        let tokens = self.tokens.as_ref().map(Watched::current);
        let known = tokens.as_ref().and_then(|tokens| tokens.find(&tokens::hash(token), Timestamp::now()));
        known
            .map(|known| (known.name.to_owned(), known.permissions.to_vec()))
            .ok_or_else(|| unknown("the token is not known here, or its time is over"))
    }

    fn caller(
        &self,
        needed: Permission,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> std::result::Result<Caller, Status> {
        let Some(tokens) = &self.tokens else {
            return Ok(Caller { who: self.name(headers, peer), shown: None });
        };
        let identity = peer.and_then(|peer| peer.identity.clone());
        let shown = match (headers.get(AUTHORIZATION), identity) {
            // Who shows a token is whom it belongs to.
            (None, Some(identity)) => Some(Shown::Certificate(identity)),
            (header, _) => header.and_then(bearer).map(|token| Shown::Token(tokens::hash(token))),
        };
        let shown = shown.ok_or_else(|| {
            stranger("a token is needed: send the metadata `authorization: Bearer TOKEN`; `amochats token new` makes one")
        })?;
        let who = allowed(&tokens.current(), &shown, needed)?;
        Ok(Caller { who, shown: Some((Arc::new(shown), needed)) })
    }

    /// Who somebody says to be who is let in or not: the name of a token, the subject of a certificate, or `-`.
    fn name(&self, headers: &HeaderMap, peer: Option<&Peer>) -> String {
        let subject =
            || peer.and_then(|peer| peer.identity.as_ref()).map(|identity| identity.subject.clone());
        let token = self.holder(headers).ok().map(|(name, _)| name);
        token.or_else(subject).unwrap_or_else(|| "-".to_owned())
    }

    /// Whether the token or the certificate of a stream still counts.
    fn still(&self, (shown, needed): &(Arc<Shown>, Permission)) -> std::result::Result<(), Status> {
        self.tokens.as_ref().map_or(Ok(()), |tokens| allowed(&tokens.current(), shown, *needed).map(drop))
    }

    async fn pass<S>(
        self: Arc<Self>,
        mut inner: S,
        mut request: Request<Body>,
        deadline: Option<Deadline>,
    ) -> std::result::Result<Response<Body>, Status>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let path = request.uri().path().to_owned();
        let peer = request.extensions().get::<Peer>().cloned();
        let mut shown = None;
        let mut entry = None;
        if let Need::Permission(needed) = need(&path) {
            let caller = self.caller(needed, request.headers(), peer.as_ref());
            if let (Err(status), Some(peer)) = (&caller, &peer) {
                let who = self.name(request.headers(), Some(peer));
                self.refused.write(&who, peer.address, &path, status.code());
            }
            let caller = caller?;
            shown = caller.shown;
            if let Some(peer) = &peer {
                peer.is_known();
            }
            if let (Permission::Admin, Some(peer)) = (needed, &peer) {
                let mut ids = String::new();
                if self.reader.is_stream(&path) {
                    // Its requests come when they come, and have lines of their own.
                    let line =
                        RequestLine { who: caller.who.clone(), peer: peer.address, method: path.clone() };
                    let gate = self.clone();
                    let write = move |framed: &Bytes| line.write(&gate.reader.ids(&line.method, framed));
                    let max = self.max_message;
                    request = request.map(|body| Body::new(Overheard::new(body, max, write)));
                } else {
                    let framed;
                    (request, framed) = read_whole(request, self.max_message).await?;
                    ids = self.reader.ids(&path, &framed);
                }
                entry = Some(Entry { who: caller.who, peer: peer.address, method: path, ids, outcome: None });
            }
        }
        if let Some(shown) = &shown {
            request.extensions_mut().insert(Rights { gate: self.clone(), shown: shown.clone() });
        }
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        let Ok(response) = inner.call(request).await;
        let response = explained(response);
        if let Some(entry) = &mut entry {
            let code = response.headers().get(Status::GRPC_STATUS);
            entry.outcome = Some(code.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes())));
        }
        let (deadline, gate) = (deadline.map(|deadline| Box::pin(sleep_until(deadline.0))), self);
        Ok(response.map(|inner| {
            if inner.is_end_stream() || (deadline.is_none() && shown.is_none()) {
                return inner;
            }
            Body::new(Supervised { inner, deadline, gate, shown })
        }))
    }
}

/// In the extensions of a request whose caller showed a token or a certificate: what that permits now, which
/// a stream may outlast. For services where some of what they are asked for needs more than the call.
#[derive(Clone)]
pub(crate) struct Rights {
    gate: Arc<Gate>,
    shown: (Arc<Shown>, Permission),
}

impl Rights {
    /// Whether the call is still permitted.
    pub(crate) fn last(&self) -> std::result::Result<(), Status> {
        self.gate.still(&self.shown)
    }

    /// Whether this is permitted, too.
    pub(crate) fn permit(&self, needed: Permission) -> bool {
        self.gate.still(&(self.shown.0.clone(), needed)).is_ok()
    }
}

/// The token of a header such as `Bearer amochats_…`.
fn bearer(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The name of the line that permits what is needed.
fn allowed(tokens: &Tokens, shown: &Shown, needed: Permission) -> std::result::Result<String, Status> {
    let now = Timestamp::now();
    let (known, what) = match shown {
        Shown::Token(hash) => (tokens.find(hash, now), "token"),
        Shown::Certificate(identity) => (tokens.find_certificate(&identity.names, now), "certificate"),
    };
    let known = known.ok_or_else(|| match shown {
        Shown::Token(_) => stranger("the token is not known here, or its time is over; ask for another one"),
        Shown::Certificate(identity) => stranger(&format!(
            "the certificate of {:?} has no line in grpc.tokens_file of the server, or its time is over: \
             `amochats token certificate` adds one; or send a token with it",
            identity.subject
        )),
    })?;
    if known.permissions.contains(&needed) {
        return Ok(known.name.to_owned());
    }
    let mut details = ErrorDetails::new();
    let lacking = HashMap::from([("permission".to_owned(), needed.name().to_owned())]);
    details.set_error_info(ErrorKind::Forbidden.name(), DOMAIN, lacking);
    let said = format!("the {what} {:?} does not permit this; it needs the permission {needed}", known.name);
    Err(Status::with_error_details(Code::PermissionDenied, said, details))
}

fn stranger(said: &str) -> Status {
    status(&Error::new(ErrorKind::Unauthenticated, said))
}

/// Reads an administrative request, which is one message, so that its ids can be written down.
async fn read_whole(
    request: Request<Body>,
    max_message: usize,
) -> std::result::Result<(Request<Body>, Bytes), Status> {
    let (head, body) = request.into_parts();
    // Before a message stand five bytes.
    let whole = Limited::new(body, max_message.saturating_add(5)).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            too_large()
        } else {
            Status::cancelled("the request did not come to its end")
        }
    })?;
    let bytes = whole.to_bytes();
    Ok((Request::from_parts(head, Body::new(Full::new(bytes.clone()))), bytes))
}

fn too_large() -> Status {
    let said = "the request is larger than grpc.max_message_bytes of the server";
    let details = ErrorDetails::with_error_info(ErrorKind::BodyTooLarge.name(), DOMAIN, HashMap::new());
    Status::with_error_details(Code::OutOfRange, said, details)
}

/// A response whose error says its reason, also where the error is not of the services but of what
/// reads the request before them.
fn explained(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    let code = headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()));
    if code == Some(Code::OutOfRange) && !headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        too_large().into_http()
    } else {
        response
    }
}

fn too_late() -> Status {
    status(&Error::new(ErrorKind::Timeout, "no answer before the caller's deadline; it may have been done"))
}

/// Puts a gate before the services.
#[derive(Clone)]
pub(crate) struct GuardLayer(pub(crate) Arc<Gate>);

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, gate: self.0.clone() }
    }
}

/// Services behind a gate.
#[derive(Clone)]
pub(crate) struct Guard<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that was found ready is used, its clone is kept.
        let ready = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, ready);
        let deadline = Deadline::of(request.headers());
        // Begins now, and so ends before the transport's own, which knows no details.
        let end = deadline.map(|deadline| sleep_until(deadline.0));
        let path = request.uri().path();
        let span = debug_span!(target: TRACE, "grpc", otel.kind = "server", rpc.method = path, code = Empty);
        let pass = self.gate.clone().pass(inner, request, deadline);
        let answer = async move {
            let answered = match end {
                None => pass.await,
                Some(end) => tokio::select! {
                    biased;
                    answered = pass => answered,
                    () = end => Err(too_late()),
                },
            };
            let answer = answered.unwrap_or_else(Status::into_http);
            let code = answer.headers().get(Status::GRPC_STATUS);
            // A stream's comes at its end.
            Span::current().record("code", code.map(|code| Code::from_bytes(code.as_bytes()) as i32));
            Ok(answer)
        };
        Box::pin(answer.instrument(span))
    }
}

/// The answer to a call that lasts: it ends at the caller's deadline, and before the first message
/// after its token or certificate ceased to count.
struct Supervised {
    inner: Body,
    deadline: Option<Pin<Box<Sleep>>>,
    gate: Arc<Gate>,
    shown: Option<(Arc<Shown>, Permission)>,
}

impl Supervised {
    /// Ends with this status; what produced the answer is told by its end.
    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.inner = Body::empty();
        (self.deadline, self.shown) = (None, None);
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(Status::GRPC_STATUS, HeaderValue::from(status.code() as i32));
        }
        Frame::trailers(trailers)
    }
}

impl HttpBody for Supervised {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Status>>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Ok(self.end(&too_late()))));
        }
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some(shown)) = (&frame, &self.shown)
            && frame.is_data()
            && let Err(status) = self.gate.still(shown)
        {
            return Poll::Ready(Some(Ok(self.end(&status))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
