//! Webhooks that another server received, and signatures.

use crate::status::status;
use amochats::{CONTENT_TYPE, Error, ErrorKind, VerifiedBody, format_date, parse_webhook};
use amochats_proto::v1;
use amochats_proto::v1::ingest_response::Outcome;
use amochats_proto::v1::webhook_service_server::WebhookService as Service;
use amochats_runtime::{Channel, Channels, Ingested};
use std::sync::Arc;
use std::time::SystemTime;
use tonic::{Request, Response, Status};

/// `amochats.v1.WebhookService` over the channels of a runtime.
pub struct WebhookService {
    channels: Arc<Channels>,
}

impl WebhookService {
    /// The service over these channels.
    pub fn new(channels: Arc<Channels>) -> Self {
        Self { channels }
    }

    fn channel(&self, id: &str) -> amochats::Result<Arc<Channel>> {
        if id.is_empty() { self.channels.only() } else { self.channels.get(&id.into()) }
    }
}

/// A header that may be missing.
fn header(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// An error of a webhook, with what to answer the vendor.
fn refusal(error: Error) -> Status {
    let answer = match error.kind() {
        ErrorKind::UnknownChannel => 404,
        ErrorKind::SignatureMissing | ErrorKind::SignatureMismatch => 401,
        _ => 503,
    };
    status(&error.with_http_status(answer))
}

#[tonic::async_trait]
impl Service for WebhookService {
    async fn ingest(
        &self,
        request: Request<v1::IngestRequest>,
    ) -> Result<Response<v1::IngestResponse>, Status> {
        let v1::IngestRequest { scope_id, signature, body } = request.into_inner();
        let channels = self.channels.clone();
        // A task of its own: a caller that gives up must not undo what is on its way to the disk.
        let ingest = tokio::spawn(async move { channels.ingest(&scope_id, header(&signature), body).await });
        let panicked = |_| Error::new(ErrorKind::Panic, "the webhook could not be handled");
        let outcome = match ingest.await.map_err(panicked).and_then(|ingested| ingested).map_err(refusal)? {
            Ingested::Kept(event_id) => Outcome::EventId(event_id),
            Ingested::Duplicate => Outcome::Duplicate(true),
            Ingested::Live => Outcome::Live(true),
        };
        Ok(Response::new(v1::IngestResponse { outcome: Some(outcome) }))
    }

    async fn verify(
        &self,
        request: Request<v1::VerifyRequest>,
    ) -> Result<Response<v1::VerifyResponse>, Status> {
        let request = request.into_inner();
        let channel = self.channel(&request.channel_id).map_err(|error| status(&error))?;
        self.channels.verify(&channel, &request.body, header(&request.signature)).map_err(refusal)?;
        Ok(Response::new(v1::VerifyResponse {}))
    }

    async fn parse(&self, request: Request<v1::ParseRequest>) -> Result<Response<v1::ParseResponse>, Status> {
        let body = request.into_inner().body;
        let event = parse_webhook(VerifiedBody::trust(&body)).map_err(|error| status(&error))?;
        let event_json = serde_json::to_string(&event)
            .map_err(|_| status(&Error::new(ErrorKind::Panic, "the event could not be written")))?;
        Ok(Response::new(v1::ParseResponse { event_json }))
    }

    async fn sign(&self, request: Request<v1::SignRequest>) -> Result<Response<v1::SignResponse>, Status> {
        let request = request.into_inner();
        let signed = || {
            let channel = self.channel(&request.channel_id)?;
            let date = match header(&request.date) {
                Some(date) => date.to_owned(),
                None => format_date(SystemTime::now())?,
            };
            let content_type = header(&request.content_type).unwrap_or(CONTENT_TYPE);
            channel.sign_request(&request.method, &request.path, content_type, &date, &request.body)
        };
        let headers = signed().map_err(|error| status(&error))?;
        Ok(Response::new(v1::SignResponse {
            date: headers.date,
            content_type: headers.content_type,
            content_md5: headers.content_md5,
            x_signature: headers.x_signature,
        }))
    }
}
