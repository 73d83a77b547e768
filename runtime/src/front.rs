//! What else the listener answers beside webhooks: the hook of an integration's switching off, and
//! attached files, the widget's calls.

use crate::accounts::Accounts;
use crate::channels::Channels;
use crate::clock::Clock;
use crate::listener::{Listener, say};
use crate::media::{Answer, Media};
use crate::serve::Trusted;
use crate::widget::{BODY_MAX, Widget, WidgetAnswer};
use amochats::ErrorKind;
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long the body of a widget's call may take.
const BODY_TIME: Duration = Duration::from_secs(10);

pub(crate) struct Front {
    pub(crate) listener: Listener,
    pub(crate) channels: Arc<Channels>,
    pub(crate) media: Media,
    pub(crate) widget: Option<Widget>,
    pub(crate) trusted: Arc<Trusted>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Empty: there is none.
    pub(crate) disable_path: String,
}

impl Front {
    pub(crate) async fn handle(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Result<Answer, Infallible> {
        let is_get = request.method() == Method::GET;
        let path = request.uri().path();
        if is_get && !self.disable_path.is_empty() && path == self.disable_path {
            let query = request.uri().query().unwrap_or_default();
            let (status, said) = disabled(&self.channels, self.widget.as_ref(), query).await;
            let status = StatusCode::from_u16(status).expect("the statuses are known");
            return Ok(say(status, &said).map(Either::Left));
        }
        if let Some(widget) = self.widget.as_ref().filter(|widget| widget.serves(path)) {
            return Ok(self.of_widget(widget, request, peer).await.map(Either::Left));
        }
        if let Some(answer) = self.media.answer(&request).await {
            return Ok(answer);
        }
        Ok(self.listener.handle(request, peer).await?.map(Either::Left))
    }

    async fn of_widget(
        &self,
        widget: &Widget,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let headers: Vec<(&str, &str)> = head
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        let origin = || headers.iter().find(|(name, _)| *name == "origin").map(|(_, value)| *value);
        let peer = self.trusted.client(peer, &head.headers);
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let body = tokio::select! {
            body = Limited::new(body, BODY_MAX).collect() => body,
            () = self.clock.sleep_until(self.clock.monotonic() + BODY_TIME) => {
                return closing(say(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"));
            }
        };
        match body {
            Ok(body) => {
                respond(widget.handle(head.method.as_str(), target, &headers, &body.to_bytes(), peer).await)
            }
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                closing(respond(widget.too_large(origin())))
            }
            Err(_) => closing(say(StatusCode::BAD_REQUEST, "the body broke off")),
        }
    }
}

/// The rest of the body is not worth reading.
fn closing(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn respond(answer: WidgetAnswer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).expect("the statuses are known");
    for (name, value) in answer.headers {
        // An origin that is allowed is plain ASCII, and everything else is our own.
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    response
}

/// The hook that tells that an account switched the integration off.
pub(crate) async fn disabled(channels: &Channels, widget: Option<&Widget>, query: &str) -> (u16, String) {
    let (mut client, mut account, mut signature) = (None, None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            // The vendor's prose and its example differ (chats API reference, 7.7).
            "client_uuid" | "client_id" => client = Some(value),
            "account_id" => account = Some(value),
            "signature" => signature = Some(value),
            _ => {}
        }
    }
    let (Some(client), Some(account)) = (client, account) else {
        return (400, "account_id, client_uuid and signature are expected".into());
    };
    let accounts = channels.accounts();
    let done = async {
        let mut scopes = Accounts::verify_disabled(channels, &client, &account, signature.as_deref())?;
        if let Some(widget) = widget {
            widget.disabled(&client, &account).await?;
            scopes.extend(widget.linked(&client, &account).await);
        }
        accounts.disable(&account, scopes).await;
        Ok::<_, amochats::Error>(())
    };
    match done.await {
        Ok(()) => (200, "noted".into()),
        Err(error) => {
            let status = match error.kind() {
                ErrorKind::UnknownChannel => 404,
                ErrorKind::SignatureMissing | ErrorKind::SignatureMismatch => 401,
                _ => 503,
            };
            tracing::warn!(reason = error.kind().name(), "a disable hook was refused: {error}");
            (status, error.message().to_owned())
        }
    }
}
