//! The HTTP client of the chats API: a thin driver over [`ApiRequest`].

mod answer;
mod builder;
mod crm;
mod history;
mod http;
mod retry;

pub use answer::{ANSWER_MAX, RETRY_AFTER_MAX};
pub use builder::{ClientBuilder, Clock, REQUESTS_PER_SECOND, Region};
pub use crm::{CrmClient, CrmClientBuilder, DEADLINE, REQUEST_INTERVAL, TokenStore};

use crate::error::{Error, ErrorKind, Result};
use crate::ids::{AccountId, ChannelId, ChannelSecret, MessageRefId, ScopeId};
use crate::message::{EditMessage, NewMessage};
use crate::requests::{
    ApiRequest, Connect, Connected, CreateChat, CreatedChat, DeliveryStatus, MessageReceipt, Reaction, Typing,
};
use crate::signing::{CONTENT_TYPE, SIGNATURE_HEADER, format_date, sign_body};
use backon::Retryable;
use http::{Answer, Http};
use retry::{Pace, Repeat};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout_at};

/// Calls the chats API for one channel.
///
/// A clone is cheap and shares connections and pace. Calls need a tokio runtime. No redirect is
/// followed. A call whose future is dropped may still have its effect.
///
/// ```no_run
/// use amochats::{ChannelSecret, Client, Connect, Region};
///
/// # async fn call() -> amochats::Result<()> {
/// let secret = ChannelSecret::new("channel-secret")?;
/// let client = Client::builder("a4490ccc-5d7f-11e7-907b-a6006ad3dba0", secret).region(Region::Ru).build()?;
/// let connected = client.connect(&Connect::new("13fa84f7-6b61-4086-98ed-0a9de19ee15c")).await?;
/// println!("connected as {}", connected.scope_id);
/// # Ok(())
/// # }
/// ```
///
/// # What is sent again
/// | Call | After a failure | Why |
/// |---|---|---|
/// | [`history`](Self::history), any other `GET` | that passes | reading twice does no harm |
/// | [`connect`](Self::connect) | that passes | the second one finds what the first one set |
/// | [`create_chat`](Self::create_chat) | that passes | of a chat that exists the service tells the id |
/// | [`edit_message`](Self::edit_message), [`set_delivery_status`](Self::set_delivery_status) | that passes | they set a state |
/// | [`send_message`](Self::send_message) | without effect | a second message with the same id is refused, and the refusal would hide that the first was taken |
/// | [`disconnect`](Self::disconnect) | without effect | what the service says of an account that is not connected is not documented |
/// | [`react`](Self::react), any other request | without effect | how two of them combine is not documented |
/// | [`send_typing`](Self::send_typing) | never | it is out of date by then |
///
/// A failure *passes* where it is `Unavailable`, `Timeout`, `Transport` or a 429; it is *without
/// effect* if, besides, [`Error::may_have_been_applied`] is `false`. Repeats come at most 4 times,
/// after 200 ms, doubled each time and spread at random between nothing and that, but not before the
/// delay that the service named; each is signed anew.
///
/// So a message whose send timed out is neither sent nor failed but unknown: the error's
/// [`Error::may_have_been_applied`] says so, also where a later attempt failed in another way. The
/// outbox of `amochats-runtime` looks such messages up in the history.
///
/// # Pace and deadline
/// Of each scope [`REQUESTS_PER_SECOND`] requests are sent, and as many at once; the others wait for
/// their turn. A call ends within [`DEADLINE`], or what [`with_deadline`](Self::with_deadline) sets,
/// with all its waiting and repeats: what has no turn before fails with `RateLimited` and is not sent.
///
/// # Errors
/// What every call may return, beside [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for its arguments:
///
/// | Kind | When |
/// |---|---|
/// | `Rejected` | HTTP 400 or 413 |
/// | `Forbidden` | HTTP 401 or 403; says so if this machine's clock is the reason |
/// | `NotFound` | HTTP 404 |
/// | `RateLimited` | no turn before the deadline, or HTTP 429, with [`Error::retry_after`] where the service named a delay |
/// | `Unavailable` | HTTP 5xx, likewise |
/// | `UnexpectedResponse` | any other status, a body of another form, or one of more than [`ANSWER_MAX`] bytes |
/// | `Timeout` | no connection or no whole answer in time |
/// | `Transport` | the connection could not be made or broke |
///
/// [`Error::vendor`] holds what the service said in the answer, if it said anything.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    deadline: Duration,
}

struct Inner {
    http: Http,
    channel_id: ChannelId,
    secret: ChannelSecret,
    clock: Clock,
    body_signature_only: bool,
    /// By scope; a call of the channel as a whole goes by the channel's id.
    pace: Pace<String>,
    retry_delay: Duration,
    send_once: bool,
}

impl Client {
    /// Begins to build a client for a channel; say where the service is with
    /// [`ClientBuilder::region`] or [`ClientBuilder::base_url`].
    pub fn builder(channel_id: impl Into<ChannelId>, secret: ChannelSecret) -> ClientBuilder {
        ClientBuilder::new(channel_id.into(), secret)
    }

    /// The same client with another deadline for each call.
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { inner: Arc::clone(&self.inner), deadline }
    }

    /// The channel it calls for.
    pub fn channel_id(&self) -> &ChannelId {
        &self.inner.channel_id
    }

    /// Where it calls, without a final slash.
    pub fn base_url(&self) -> &str {
        self.inner.http.base_url()
    }

    /// Connects the channel to an account. To be done again after every installation, and to
    /// change the title or the form of webhooks.
    ///
    /// # Errors
    /// See [`Client`]; `NotFound` where there is no such channel.
    pub async fn connect(&self, connect: &Connect) -> Result<Connected> {
        let request = ApiRequest::connect(&self.inner.channel_id, connect)?;
        self.read(&request, Repeat::Harmless, Connected::from_json).await
    }

    /// Disconnects the channel from an account: no more webhooks come from it.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn disconnect(&self, account: &AccountId) -> Result<()> {
        self.call(&ApiRequest::disconnect(&self.inner.channel_id, account)?).await.map(drop)
    }

    /// Sends a message to the CRM. The service takes it and processes it later; a second message
    /// with the same [`message_id`](NewMessage::message_id) is refused.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn send_message(&self, scope: &ScopeId, message: &NewMessage) -> Result<MessageReceipt> {
        let request = ApiRequest::send_message(scope, message)?;
        self.call_for(&request, MessageReceipt::from_json).await
    }

    /// Changes a message that was sent before; nobody is notified. The receipt may be without ids,
    /// since the vendor does not document what is answered.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn edit_message(&self, scope: &ScopeId, edit: &EditMessage) -> Result<MessageReceipt> {
        let (_, answer) = self.exchange(&ApiRequest::edit_message(scope, edit)?, Repeat::Harmless).await?;
        Ok(MessageReceipt::from_edit_json(&answer))
    }

    /// Creates a chat and its client, without a message, a contact or a lead. For a chat that
    /// exists it tells amoCRM's id, so it may be repeated.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn create_chat(&self, scope: &ScopeId, chat: &CreateChat) -> Result<CreatedChat> {
        let request = ApiRequest::create_chat(scope, chat)?;
        self.read(&request, Repeat::Harmless, CreatedChat::from_json).await
    }

    /// Shows the CRM users that a client is typing, for 5 s unless told otherwise.
    ///
    /// # Errors
    /// See [`Client`]; Kommo answers `NotFound` where amoCRM answers `Rejected`.
    pub async fn send_typing(&self, scope: &ScopeId, typing: &Typing) -> Result<()> {
        self.exchange(&ApiRequest::send_typing(scope, typing)?, Repeat::Never).await.map(drop)
    }

    /// Adds a reaction to a message, or takes it back.
    ///
    /// # Errors
    /// See [`Client`]; `NotFound` where there is no such message.
    pub async fn react(&self, scope: &ScopeId, reaction: &Reaction) -> Result<()> {
        self.call(&ApiRequest::react(scope, reaction)?).await.map(drop)
    }

    /// Reports what became of a message from the CRM, by **amoCRM's** id of it.
    ///
    /// # Errors
    /// See [`Client`]; `NotFound` where there is no such message.
    pub async fn set_delivery_status(
        &self,
        scope: &ScopeId,
        message: &MessageRefId,
        status: &DeliveryStatus,
    ) -> Result<()> {
        let request = ApiRequest::set_delivery_status(scope, message, status)?;
        self.exchange(&request, Repeat::Harmless).await.map(drop)
    }

    /// Signs and sends any request and gives the body of a 2xx answer, which may be empty.
    ///
    /// ```no_run
    /// use amochats::{ApiRequest, Client};
    ///
    /// # async fn call(client: &Client) -> amochats::Result<()> {
    /// let new_method = ApiRequest {
    ///     method: "POST",
    ///     path: "/v2/origin/custom/a4490ccc_13fa84f7/some_new_method".into(),
    ///     body: br#"{"conversation_id":"c-9"}"#.to_vec(),
    /// };
    /// client.call(&new_method).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn call(&self, request: &ApiRequest) -> Result<Vec<u8>> {
        self.exchange(request, repeat_of(request)).await.map(|(_status, body)| body)
    }

    /// Signs a request without sending it: what [`Client::call`] would send now.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a request that cannot be signed or whose path would not
    /// go on the wire as it is written.
    pub fn sign(&self, request: &ApiRequest) -> Result<SignedRequest> {
        self.sign_at(request, (self.inner.clock)())
    }

    /// Signs and sends a request and reads the body of a 2xx answer, for instance with
    /// [`MessageReceipt::from_json`]. An answer that cannot be read is an error of a call that may
    /// have been applied.
    ///
    /// # Errors
    /// See [`Client`], and those of `read`.
    pub async fn call_for<T>(
        &self,
        request: &ApiRequest,
        read: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        self.read(request, repeat_of(request), read).await
    }

    async fn read<T>(
        &self,
        request: &ApiRequest,
        repeat: Repeat,
        read: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        let (status, body) = self.exchange(request, repeat).await?;
        read(&body).map_err(|error| error.with_http_status(status).with_may_have_been_applied(true))
    }

    async fn exchange(&self, request: &ApiRequest, repeat: Repeat) -> Result<(u16, Vec<u8>)> {
        let repeat = if self.inner.send_once { Repeat::Never } else { repeat };
        let deadline = Instant::now() + self.deadline;
        // What an attempt may have done, the failure of a later one does not undo.
        let applied = AtomicBool::new(false);
        let attempt = || self.attempt(request, deadline);
        let ended = attempt
            .retry(retry::backoff(self.inner.retry_delay))
            .when(|error| {
                applied.fetch_or(error.may_have_been_applied(), Ordering::Relaxed);
                repeat.allows(error)
            })
            .adjust(|error, planned| retry::delay(error, planned, deadline))
            .await;
        match ended {
            Err(error) if applied.into_inner() => Err(error.with_may_have_been_applied(true)),
            ended => ended,
        }
    }

    async fn attempt(&self, request: &ApiRequest, deadline: Instant) -> Result<(u16, Vec<u8>)> {
        // What cannot be signed takes no turn.
        self.sign(request)?;
        self.inner.pace.turn_of(&paced_by(request), deadline).await?;
        let signed_at = (self.inner.clock)();
        let signed = self.sign_at(request, signed_at)?;
        let headers = signed.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let exchange = self.inner.http.exchange(signed.method, &signed.url, headers, signed.body);
        let Answer { status, headers, body } = timeout_at(deadline, exchange)
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no answer before the deadline")))?;
        if status.is_success() {
            return Ok((status.as_u16(), body.map_err(|error| error.with_http_status(status.as_u16()))?));
        }
        // The status decides; the words are advice, so it does no harm if they are cut off.
        let service = answer::Service::Chats { clock_matters: !self.inner.body_signature_only };
        Err(answer::refusal(&service, status, &headers, &body.unwrap_or_default(), signed_at))
    }

    fn sign_at(&self, request: &ApiRequest, now: SystemTime) -> Result<SignedRequest> {
        if request.method.is_empty() || !request.method.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(Error::invalid("method", "must be an HTTP method such as POST, in capitals"));
        }
        let url = self.inner.http.url(&request.path)?;
        let headers = if self.inner.body_signature_only {
            if request.body.is_empty() {
                return Err(Error::invalid("body", "must not be empty where the signature covers it alone"));
            }
            let signature = sign_body(&self.inner.secret, &request.body);
            vec![("Content-Type", CONTENT_TYPE.to_owned()), (SIGNATURE_HEADER, signature)]
        } else {
            let signed = request.sign(&self.inner.secret, &format_date(now)?)?;
            signed.iter().map(|(name, value)| (name, value.to_owned())).collect()
        };
        Ok(SignedRequest { method: request.method, url, headers, body: request.body.clone() })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("channel_id", &self.inner.channel_id)
            .field("base_url", &self.inner.http.base_url())
            .finish_non_exhaustive()
    }
}

/// What is safe for a request of which only the method is known.
fn repeat_of(request: &ApiRequest) -> Repeat {
    if request.method == "GET" { Repeat::Harmless } else { Repeat::NotTaken }
}

/// The scope, or the channel, that a request is for.
fn paced_by(request: &ApiRequest) -> String {
    request.path_only().split('/').nth(4).unwrap_or_default().to_owned()
}

/// A request ready to be sent, valid for [`SIGNATURE_LIFETIME`](crate::SIGNATURE_LIFETIME).
///
/// `Debug` shows neither the signature nor the body.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The whole address.
    pub url: String,
    /// The headers that belong to the signature.
    pub headers: Vec<(&'static str, String)>,
    /// The body, as it was signed.
    pub body: Vec<u8>,
}

impl fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRequest")
            .field("method", &self.method)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
