//! Files that go with messages: links to them, and those that were fetched.

use crate::convert;
use crate::security::Deadline;
use crate::status::status;
use amochats::{Error, ErrorKind, ScopeId};
use amochats_proto::v1;
use amochats_proto::v1::attach_media_request::Request as Part;
use amochats_proto::v1::get_attachment_response::Response as Given;
use amochats_proto::v1::media_service_server::MediaService as Service;
use amochats_runtime::Media;
use amochats_runtime::media::{Attachment, AttachmentState, NewFile};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::time::{Duration, UNIX_EPOCH};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How many bytes go into one message.
const CHUNK: usize = 256 << 10;
/// How long a call may wait for the end of a fetching.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// `amochats.v1.MediaService` over the media of a runtime.
pub struct MediaService {
    media: Media,
    stop: CancellationToken,
}

impl MediaService {
    /// The service over these. After `stop` no call waits.
    pub fn new(media: Media, stop: CancellationToken) -> Self {
        Self { media, stop }
    }

    /// The attachment of an event, at the end of its fetching or else after so long.
    async fn waited(&self, event_id: &str, wait: Duration) -> amochats::Result<Attachment> {
        if !wait.is_zero() {
            let ended = self.stop.run_until_cancelled(self.media.wait(event_id));
            if let Ok(Some(ended)) = tokio::time::timeout(wait, ended).await {
                return ended;
            }
        }
        self.media.attachment(event_id).await
    }
}

fn new_file(asked: v1::NewMedia) -> amochats::Result<NewFile> {
    let expires_in = asked.expires_in.map(|life| {
        Duration::try_from(life).map_err(|_| Error::invalid("expires_in", "must be 1 s to 366 days"))
    });
    let conversation = match (asked.scope, asked.conversation_id) {
        (Some(scope), Some(id)) => {
            Some((ScopeId::of(&scope.channel_id.into(), &scope.account_id.into()), id))
        }
        (None, None) => None,
        (Some(_), None) => return Err(Error::invalid("conversation_id", "is required with a scope")),
        (None, Some(_)) => return Err(Error::invalid("scope", "is required with a conversation_id")),
    };
    Ok(NewFile {
        expires_in: expires_in.transpose()?,
        conversation,
        ..NewFile::new(asked.file_name, asked.content_type)
    })
}

/// The bytes that follow the description. What ends them early is the caller's going away.
fn bytes(parts: Streaming<v1::AttachMediaRequest>) -> BoxStream<'static, amochats::Result<bytes::Bytes>> {
    let chunk = |part: Result<v1::AttachMediaRequest, Status>| match part.map(|part| part.request) {
        Ok(Some(Part::Chunk(chunk))) => Ok(chunk),
        Ok(_) => Err(Error::invalid("request", "must be a chunk after the first one")),
        Err(_) => Err(Error::new(ErrorKind::Cancelled, "the file broke off")),
    };
    parts.map(chunk).boxed()
}

fn attachment(attachment: &Attachment) -> v1::Attachment {
    let state = match attachment.state {
        AttachmentState::Pending => v1::AttachmentState::Pending,
        AttachmentState::Fetched => v1::AttachmentState::Fetched,
        AttachmentState::Failed => v1::AttachmentState::Failed,
    };
    v1::Attachment {
        state: state.into(),
        size: attachment.size,
        content_type: attachment.content_type.clone(),
        file_name: attachment.file_name.clone(),
        attempts: attachment.attempts,
        problem: attachment.problem.clone(),
    }
}

/// How long to wait, so that the answer still arrives.
fn wait(asked: Option<prost_types::Duration>, deadline: Option<Deadline>) -> amochats::Result<Duration> {
    let wait = asked.map_or(Ok(Duration::ZERO), |wait| convert::duration(wait, "wait"))?;
    if wait > WAIT_MAX {
        return Err(Error::invalid("wait", "must be at most 5 min"));
    }
    Ok(deadline.map_or(wait, |deadline| wait.min(deadline.left().mul_f64(0.75))))
}

fn answer(given: Given) -> v1::GetAttachmentResponse {
    v1::GetAttachmentResponse { response: Some(given) }
}

#[tonic::async_trait]
impl Service for MediaService {
    type GetAttachmentStream = BoxStream<'static, Result<v1::GetAttachmentResponse, Status>>;

    async fn attach_media(
        &self,
        request: Request<Streaming<v1::AttachMediaRequest>>,
    ) -> Result<Response<v1::AttachMediaResponse>, Status> {
        let mut parts = request.into_inner();
        let first = parts.message().await?.and_then(|part| part.request);
        let attach = async {
            let Some(Part::File(file)) = first else {
                return Err(Error::invalid("file", "is required, in the first message"));
            };
            self.media.attach(new_file(file)?, bytes(parts)).await
        };
        let attached = attach.await.map_err(|error| status(&error))?;
        let expires_at = Duration::from_millis(u64::try_from(attached.expires_at).unwrap_or_default());
        Ok(Response::new(v1::AttachMediaResponse {
            url: attached.url,
            size: attached.size,
            content_type: attached.content_type,
            expires_at: Some((UNIX_EPOCH + expires_at).into()),
        }))
    }

    async fn get_attachment(
        &self,
        request: Request<v1::GetAttachmentRequest>,
    ) -> Result<Response<Self::GetAttachmentStream>, Status> {
        let deadline = request.extensions().get::<Deadline>().copied();
        let asked = request.into_inner();
        let wait = wait(asked.wait, deadline).map_err(|error| status(&error))?;
        let known = self.waited(&asked.event_id, wait).await.map_err(|error| status(&error))?;
        let first = stream::once(std::future::ready(Ok(answer(Given::Attachment(attachment(&known))))));
        if known.state != AttachmentState::Fetched {
            return Ok(Response::new(first.boxed()));
        }
        let file = self.media.open(&known).await.map_err(|error| status(&error))?;
        let broken = |error: std::io::Error| {
            let said = format!("the attachment cannot be read: {}", error.kind());
            status(&Error::new(ErrorKind::StoreFailed, said))
        };
        let chunks = ReaderStream::with_capacity(file, CHUNK).map_err(broken);
        Ok(Response::new(first.chain(chunks.map_ok(|chunk| answer(Given::Chunk(chunk)))).boxed()))
    }
}
