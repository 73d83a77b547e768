//! `MediaService` through a real connection.

use amochats::{ChannelSecret, ErrorKind, sign_body};
use amochats_proto::v1;
use amochats_proto::v1::attach_media_request::Request as Part;
use amochats_proto::v1::get_attachment_response::Response as Given;
use amochats_proto::v1::ingest_response::Outcome;
use amochats_proto::v1::media_service_client::MediaServiceClient;
use amochats_proto::v1::webhook_service_client::WebhookServiceClient;
use amochats_server::{Server, ServerConfig};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";

struct Desk {
    server: Server,
    channel: Channel,
    media: MediaServiceClient<Channel>,
    /// Of each call for an attachment.
    wait: Option<prost_types::Duration>,
    _folder: tempfile::TempDir,
}

impl Desk {
    async fn new(media: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let toml = format!(
            "[listener]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[grpc]\n\
             address = \"127.0.0.1:0\"\n[store]\npath = \"{}\"\n[media]\n{media}\n[[channel]]\nid = \"{CHANNEL}\"\n\
             secret = \"s\"\nbase_url = \"http://127.0.0.1:9\"\n",
            folder.path().join("inbox.db").display(),
        );
        let config = ServerConfig::load(&toml, []).expect("a valid configuration");
        let server = Server::start(config).await.expect("a server");
        let uri = format!("http://{}", server.grpc_address());
        let channel = Channel::from_shared(uri).expect("an address").connect().await.expect("connected");
        let media = MediaServiceClient::new(channel.clone());
        Self { server, media, channel, wait: None, _folder: folder }
    }

    async fn attach(&mut self, parts: Vec<Part>) -> Result<v1::AttachMediaResponse, Status> {
        let parts = parts.into_iter().map(|part| v1::AttachMediaRequest { request: Some(part) });
        self.media
            .attach_media(tokio_stream::iter(parts.collect::<Vec<_>>()))
            .await
            .map(tonic::Response::into_inner)
    }

    /// The attachment of an event, and its bytes.
    async fn get(&mut self, event_id: &str) -> Result<(v1::Attachment, Vec<u8>), Status> {
        let request = v1::GetAttachmentRequest { event_id: event_id.to_owned(), wait: self.wait };
        let mut parts = self.media.get_attachment(request).await?.into_inner();
        let first = parts.message().await?.and_then(|part| part.response);
        let Some(Given::Attachment(attachment)) = first else { panic!("{first:?}") };
        let mut bytes = Vec::new();
        while let Some(part) = parts.message().await? {
            let Some(Given::Chunk(chunk)) = part.response else { panic!("{part:?}") };
            bytes.extend(chunk);
        }
        Ok((attachment, bytes))
    }

    /// Takes in a message with an attachment; gives its event's id.
    async fn receive(&self, id: &str, url: &str) -> String {
        let body = format!(
            "{{\"account_id\":\"{ACCOUNT}\",\"time\":1,\"message\":{{\"conversation\":{{\"id\":\"C\"}},\"message\":\
             {{\"id\":\"{id}\",\"type\":\"file\",\"text\":\"\",\"media\":\"{url}\",\"file_name\":\"a.bin\"}}}}}}"
        );
        let signature = sign_body(&ChannelSecret::new("s").expect("clean"), body.as_bytes());
        let request =
            v1::IngestRequest { scope_id: format!("{CHANNEL}_{ACCOUNT}"), signature, body: body.into() };
        let kept = WebhookServiceClient::new(self.channel.clone()).ingest(request).await.expect("kept");
        let Some(Outcome::EventId(event_id)) = kept.into_inner().outcome else { panic!("kept") };
        event_id
    }
}

fn file(content_type: &str) -> Part {
    Part::File(v1::NewMedia {
        file_name: "a.bin".into(),
        content_type: content_type.into(),
        expires_in: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..Default::default()
    })
}

/// The whole answer to a request for this address.
async fn fetch(url: &str) -> Vec<u8> {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an address");
    let mut peer = TcpStream::connect(host).await.expect("connected");
    let request = format!("GET /{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    peer.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.expect("readable");
    answer
}

#[tokio::test]
async fn a_file_goes_in_by_chunks_and_out_by_its_link() {
    let mut desk = Desk::new("").await;
    let chunk = |byte: u8| Part::Chunk(vec![byte; 300_000].into());
    let attached =
        desk.attach(vec![file("application/pdf"), chunk(b'a'), chunk(b'b')]).await.expect("attached");
    assert_eq!((attached.size, attached.content_type.as_str()), (600_000, "application/pdf"));
    let answer = fetch(&attached.url).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    let body = &answer[answer.len() - 600_000..];
    assert!(body[..300_000].iter().all(|b| *b == b'a') && body[300_000..].iter().all(|b| *b == b'b'));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("later").as_secs();
    let expires_at = attached.expires_at.expect("always").seconds.unsigned_abs();
    assert!(expires_at.abs_diff(now) <= 60, "{expires_at}");
    desk.server.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_by_its_field() {
    let mut desk = Desk::new("max_bytes = 1000\nmax_total_bytes = 1000\ncontent_types = [\"image/*\"]").await;
    let chunk = |size: usize| Part::Chunk(vec![0; size].into());
    let alone = v1::NewMedia {
        file_name: "a".into(),
        content_type: "image/png".into(),
        conversation_id: Some("c".into()),
        ..Default::default()
    };
    for (parts, field) in [
        (vec![], "file"),
        (vec![chunk(1)], "file"),
        (vec![file("text/html"), chunk(1)], "content_type"),
        (vec![file("image/png"), chunk(1), file("image/png")], "request"),
        (vec![Part::File(alone)], "scope"),
    ] {
        let status = desk.attach(parts).await.expect_err("refused");
        let violations = status.get_details_bad_request().expect("a field").field_violations;
        assert_eq!((status.code(), violations[0].field.as_str()), (Code::InvalidArgument, field));
    }
    let reason = |status: Status| (status.code(), status.get_details_error_info().expect("always").reason);
    let large = desk.attach(vec![file("image/png"), chunk(1001)]).await.expect_err("refused");
    assert_eq!(reason(large), (Code::InvalidArgument, ErrorKind::BodyTooLarge.name().to_owned()));
    desk.attach(vec![file("image/png"), chunk(600)]).await.expect("attached");
    let full = desk.attach(vec![file("image/png"), chunk(600)]).await.expect_err("refused");
    assert_eq!(reason(full), (Code::ResourceExhausted, ErrorKind::StoreFull.name().to_owned()));
    desk.server.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn an_attachment_comes_by_chunks() {
    let host = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}/a.bin", host.local_addr().expect("bound"));
    let answering = tokio::spawn(async move {
        let (mut stream, _) = host.accept().await.expect("asked");
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).await.expect("readable") > 0);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\nContent-Length: 600000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.write_all(&vec![b'x'; 600_000]).await.expect("sent");
    });
    let inside = "fetch = true\nfetch_http = true\nfetch_hosts = [\"127.0.0.1\"]\n";
    let mut desk = Desk::new(&format!("{inside}fetch_private = [\"127.0.0.1\"]")).await;
    let event_id = desk.receive("m1", &url).await;
    desk.wait = Some(prost_types::Duration { seconds: 300, nanos: 0 });
    let (attachment, bytes) = desk.get(&event_id).await.expect("known");
    assert_eq!(attachment.state(), v1::AttachmentState::Fetched, "{attachment:?}");
    assert_eq!((attachment.size, attachment.content_type.as_str()), (600_000, "application/pdf"));
    assert_eq!((attachment.file_name.as_deref(), attachment.attempts), (Some("a.bin"), 1));
    assert!(bytes.len() == 600_000 && bytes.iter().all(|b| *b == b'x'));
    answering.await.expect("asked once");

    let failed = desk.receive("m2", "http://elsewhere.test/").await;
    let (attachment, _) = desk.get(&failed).await.expect("known");
    assert_eq!(attachment.state(), v1::AttachmentState::Failed, "{attachment:?}");
    let problem = attachment.problem.expect("a reason");
    assert!(problem.contains("fetch_hosts"), "{problem}");
    assert_eq!(desk.get("nothing-1").await.expect_err("unknown").code(), Code::NotFound);
    desk.wait = Some(prost_types::Duration { seconds: 301, nanos: 0 });
    let refused = desk.get(&event_id).await.expect_err("too long");
    let violations = refused.get_details_bad_request().expect("a field").field_violations;
    assert_eq!((refused.code(), violations[0].field.as_str()), (Code::InvalidArgument, "wait"));
    desk.server.shutdown(Duration::from_secs(10)).await;
}
