//! What else the listener answers beside webhooks: the hook of an integration's switching off, and
//! attached files.

use crate::channels::Channels;
use crate::listener::{Listener, say};
use crate::media::{Answer, Media};
use amochats::ErrorKind;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) struct Front {
    pub(crate) listener: Listener,
    pub(crate) channels: Arc<Channels>,
    pub(crate) media: Media,
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
        if is_get && !self.disable_path.is_empty() && request.uri().path() == self.disable_path {
            let query = request.uri().query().unwrap_or_default();
            return Ok(self.disabled(query).await.map(Either::Left));
        }
        if let Some(answer) = self.media.answer(&request).await {
            return Ok(answer);
        }
        Ok(self.listener.handle(request, peer).await?.map(Either::Left))
    }

    async fn disabled(&self, query: &str) -> Response<Full<Bytes>> {
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
            return say(StatusCode::BAD_REQUEST, "account_id, client_uuid and signature are expected");
        };
        let accounts = self.channels.accounts();
        match accounts.disabled(&self.channels, &client, &account, signature.as_deref()).await {
            Ok(()) => say(StatusCode::OK, "noted"),
            Err(error) => {
                let status = match error.kind() {
                    ErrorKind::UnknownChannel => StatusCode::NOT_FOUND,
                    _ => StatusCode::UNAUTHORIZED,
                };
                tracing::warn!(reason = error.kind().name(), "a disable hook was refused: {error}");
                say(status, error.message())
            }
        }
    }
}
