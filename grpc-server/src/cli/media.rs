//! `media`: files that go with messages, in a running server.

use super::process::run;
use super::remote::Channel;
use super::remote::{Remote, refused, time};
use super::{Exit, Failure, io};
use amochats::ScopeId;
use amochats_proto::v1;
use amochats_proto::v1::attach_media_request::Request as Part;
use amochats_proto::v1::get_attachment_response::Response as Given;
use amochats_proto::v1::media_service_client::MediaServiceClient;
use clap::{Args, Subcommand};
use futures_util::{StreamExt, stream};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::io::ReaderStream;

/// How many bytes of a file go into one message.
const CHUNK: usize = 256 << 10;

/// Give files to a server that go with messages, and get those that came with messages
#[derive(Subcommand)]
pub(super) enum Media {
    Put(Put),
    Get(Get),
}

impl Media {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        run(async {
            match self {
                Self::Put(put) => put.put().await,
                Self::Get(get) => get.get().await,
            }
        })
    }
}

async fn client(remote: &Remote) -> Result<MediaServiceClient<Channel>, Failure> {
    Ok(MediaServiceClient::new(remote.connect().await?))
}

/// Attach a file: print the link by which the chat service can fetch it
#[derive(Args)]
#[command(after_help = "\
The link is for --media of `amochats send` and its like. The server's configuration says how the
service reaches its listener: public_url in [media].

Examples:
  amochats media put receipt.png
  amochats media put scan --content-type application/pdf --file-name scan.pdf --expires-in 3600")]
pub(super) struct Put {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Its media type; by the end of its name, if absent
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// The name it is served with; its own, if absent
    #[arg(long, value_name = "NAME")]
    file_name: Option<String>,
    /// How long the link works, in seconds; as the server is configured, if absent
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u32>,
    /// The connection of its conversation: the channel id and the account id, joined by "_"
    #[arg(long, value_name = "ID", requires = "conversation_id")]
    scope_id: Option<ScopeId>,
    /// The conversation it is for, by either id: the file is purged with it
    #[arg(long, value_name = "ID", requires = "scope_id")]
    conversation_id: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Put {
    async fn put(self) -> Result<Exit, Failure> {
        let path = &self.file;
        let file = File::open(path).await.map_err(|error| cannot("read", path, &error))?;
        let own_name = || path.file_name().map(|name| name.to_string_lossy().into_owned());
        let file_name = self.file_name.or_else(own_name).unwrap_or_default();
        let by_name = content_type(Path::new(&file_name));
        let scope = self.scope_id.as_ref().map(ScopeId::split).transpose()?;
        let new = v1::NewMedia {
            content_type: self.content_type.unwrap_or_else(|| by_name.to_owned()),
            file_name,
            expires_in: self
                .expires_in
                .map(|seconds| prost_types::Duration { seconds: seconds.into(), nanos: 0 }),
            scope: scope.map(|(channel, account)| v1::Scope {
                channel_id: channel.as_str().to_owned(),
                account_id: account.as_str().to_owned(),
            }),
            conversation_id: self.conversation_id,
        };
        // A file that breaks off must not look like a shorter one: the request never ends then.
        let broken = Arc::new(OnceLock::new());
        let tell = broken.clone();
        let chunks = ReaderStream::with_capacity(file, CHUNK).then(move |chunk| {
            let tell = tell.clone();
            async move {
                match chunk {
                    Ok(chunk) => v1::AttachMediaRequest { request: Some(Part::Chunk(chunk)) },
                    Err(error) => {
                        let _ = tell.set(error);
                        // Refused by the server, which so keeps nothing.
                        v1::AttachMediaRequest { request: None }
                    }
                }
            }
        });
        let first = v1::AttachMediaRequest { request: Some(Part::File(new)) };
        let parts = stream::once(std::future::ready(first)).chain(chunks);
        let attached = client(&self.remote).await?.attach_media(parts).await;
        if let Some(error) = broken.get() {
            return Err(cannot("read", path, error));
        }
        let attached = attached.map_err(|status| refused(&status))?.into_inner();
        let expires_at = attached.expires_at.unwrap_or_default();
        if self.json {
            let msec = expires_at.seconds * 1000 + i64::from(expires_at.nanos / 1_000_000);
            let line = json!({
                "url": attached.url, "size": attached.size, "content_type": attached.content_type,
                "expires_at_msec": msec,
            });
            io::print(&line.to_string())?;
        } else {
            io::print(&attached.url)?;
            io::remark(&format!("the link works until {}", time(&expires_at)));
        }
        Ok(Exit::Ok)
    }
}

/// Get the attachment of a message event that the server has fetched
#[derive(Args)]
#[command(after_help = "\
The server fetches attachments where its configuration says fetch = true in [media]. Exits with 1
where there is no attachment, and where it is not fetched; what is known of it then stands on
standard error.

Example:
  amochats media get EVENT_ID --out picture.png")]
pub(super) struct Get {
    /// The event's id, as `amochats listen` prints it
    #[arg(value_name = "EVENT_ID")]
    event_id: String,
    /// Where to write it, a file that is not there yet; "-" is standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How long to wait until it is fetched, at most 300
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=300))]
    wait: i64,
    #[command(flatten)]
    remote: Remote,
}

impl Get {
    async fn get(self) -> Result<Exit, Failure> {
        let wait = Some(prost_types::Duration { seconds: self.wait, nanos: 0 });
        let request = v1::GetAttachmentRequest { event_id: self.event_id, wait };
        let refused = |status: tonic::Status| refused(&status);
        // Not one for calls that are answered soon: the server bounds the wait.
        let mut client = MediaServiceClient::new(self.remote.line()?.connect().await?);
        let mut parts = client.get_attachment(request).await.map_err(refused)?.into_inner();
        let Some(Given::Attachment(attachment)) =
            parts.message().await.map_err(refused)?.and_then(|part| part.response)
        else {
            return Err(Failure::failed("the server said nothing of the attachment"));
        };
        match attachment.state() {
            v1::AttachmentState::Fetched => {}
            v1::AttachmentState::Failed => {
                let why = attachment.problem.unwrap_or_default();
                return Err(Failure::no(format!("the attachment could not be fetched: {why}")));
            }
            _ => {
                return Err(Failure::no(
                    "the attachment is not fetched yet; try again later, or with --wait",
                ));
            }
        }
        let path = &self.out;
        let mut out: Box<dyn AsyncWrite + Unpin> = if path.as_os_str() == "-" {
            Box::new(tokio::io::stdout())
        } else {
            Box::new(File::create_new(path).await.map_err(|error| cannot("write", path, &error))?)
        };
        let mut size = 0;
        while let Some(part) = parts.message().await.map_err(refused)? {
            let Some(Given::Chunk(chunk)) = part.response else { continue };
            size += chunk.len() as u64;
            out.write_all(&chunk).await.map_err(|error| cannot("write", path, &error))?;
        }
        out.flush().await.map_err(|error| cannot("write", path, &error))?;
        if size != attachment.size {
            return Err(Failure::failed(format!("the attachment broke off after {size} bytes")));
        }
        Ok(Exit::Ok)
    }
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot {what} {}: {error}", path.display()))
}

/// The media type of a file by its name, for what messengers send.
fn content_type(name: &Path) -> &'static str {
    let extension = name.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match extension.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "m4a" => "audio/mp4",
        "wav" => "audio/wav",
        "pdf" => "application/pdf",
        "txt" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "html" | "htm" => "text/html",
        "zip" => "application/zip",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        _ => "application/octet-stream",
    }
}
