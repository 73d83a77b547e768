//! A server on its own, certificates, tokens and clients, for the tests of what keeps it safe.
#![allow(dead_code, reason = "each test program uses a part")]

use amochats::{ChannelSecret, ScopeId, sign_body};
use amochats_proto::v1;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::stream_events_request::Request;
use amochats_server::{Server, ServerConfig};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

pub(crate) const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

/// What must come does so soon: a hang gets a name.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// A server whose vendor never answers.
pub(crate) struct Office {
    pub(crate) server: Server,
    pub(crate) vendor: Vendor,
    pub(crate) folder: tempfile::TempDir,
}

impl Office {
    /// A server with these lines in `[grpc]`.
    pub(crate) async fn new(grpc: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::within(folder, grpc).await
    }

    /// As [`Office::new`], with files that are there before.
    pub(crate) async fn within(folder: tempfile::TempDir, grpc: &str) -> Self {
        let vendor = Vendor::start().await;
        let config = config(&folder, grpc, &vendor.url);
        let server = Server::start(ServerConfig::load(&config, []).expect("valid")).await.expect("a server");
        Self { server, vendor, folder }
    }

    /// The server's configuration with other lines in `[grpc]`.
    pub(crate) fn config(&self, grpc: &str) -> amochats::Result<ServerConfig> {
        ServerConfig::load(&config(&self.folder, grpc, &self.vendor.url), [])
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.server.grpc_address())).expect("an address")
    }

    pub(crate) async fn connect(&self) -> Channel {
        soon("a connection", self.endpoint().connect()).await.expect("connected")
    }

    /// A bare connection.
    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.server.grpc_address()).await.expect("connected")
    }

    /// A webhook of a conversation, kept.
    pub(crate) async fn hook(&self, conversation: &str, text: &str) {
        let message =
            serde_json::json!({ "id": format!("{conversation}-{text}"), "type": "text", "text": text });
        let body = serde_json::json!({
            "account_id": ACCOUNT, "message": { "conversation": { "id": conversation }, "message": message },
        })
        .to_string();
        let secret = ChannelSecret::new(SECRET).expect("clean");
        let scope = ScopeId::of(&CHANNEL.into(), &ACCOUNT.into());
        let (signature, length) = (sign_body(&secret, body.as_bytes()), body.len());
        let request = format!(
            "POST /webhook/{scope} HTTP/1.1\r\nHost: x\r\nX-Signature: {signature}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        let mut peer = TcpStream::connect(self.server.listener_address()).await.expect("connected");
        peer.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        soon("the answer to a hook", peer.read_to_string(&mut answer)).await.expect("answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

fn config(folder: &tempfile::TempDir, grpc: &str, vendor: &str) -> String {
    format!(
        "[listener]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[store]\npath = {:?}\n\
         min_free_bytes = 0\n[inbox]\nmin_delay_ms = 0\n[backfill]\non_start = false\n\
         [grpc]\naddress = \"127.0.0.1:0\"\n{grpc}\n\
         [[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\nbase_url = \"{vendor}\"\n",
        folder.path().join("inbox.db").to_str().expect("a plain name"),
    )
}

/// A vendor that takes calls and never answers; it says when a call came, and when its caller left.
pub(crate) struct Vendor {
    url: String,
    came: mpsc::UnboundedReceiver<()>,
    left: mpsc::UnboundedReceiver<()>,
}

impl Vendor {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (says_came, came) = mpsc::unbounded_channel();
        let (says_left, left) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let (says_came, says_left) = (says_came.clone(), says_left.clone());
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    let mut first = true;
                    while caller.read(&mut bytes).await.is_ok_and(|read| read > 0) {
                        if std::mem::take(&mut first) {
                            let _ = says_came.send(());
                        }
                    }
                    let _ = says_left.send(());
                });
            }
        });
        Self { url, came, left }
    }

    pub(crate) async fn called(&mut self) {
        soon("a call of the vendor", self.came.recv()).await.expect("lives on");
    }

    /// Whether no further call has come so far.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.came.try_recv().is_err()
    }

    pub(crate) async fn left(&mut self) {
        soon("the end of a call of the vendor", self.left.recv()).await.expect("lives on");
    }
}

/// A message to be sent, to whoever plays the vendor.
pub(crate) fn message() -> v1::SendMessageRequest {
    let text = v1::content::Kind::Text(v1::TextContent { text: "hello".into() });
    v1::SendMessageRequest {
        scope: Some(v1::Scope { account_id: ACCOUNT.into(), ..Default::default() }),
        message: Some(v1::Message {
            message_id: "m-1".into(),
            conversation_id: "c-1".into(),
            sender: Some(v1::Sender { user_id: "u-1".into(), name: "Anna".into(), ..Default::default() }),
            content: Some(v1::Content { kind: Some(text) }),
            ..Default::default()
        }),
    }
}

/// What a status says: its code, and the reason in its details.
pub(crate) fn reason(status: &Status) -> (Code, String) {
    let info = status.get_details_error_info();
    let info = info.unwrap_or_else(|| panic!("every error has a reason: {status:?}"));
    assert_eq!(info.domain, "amochats");
    (status.code(), info.reason)
}

/// A stream of events, as a good client has one.
pub(crate) struct Session {
    pub(crate) requests: mpsc::Sender<v1::StreamEventsRequest>,
    pub(crate) responses: Streaming<v1::StreamEventsResponse>,
}

pub(crate) type Authorised = InterceptedService<Channel, Bearer>;

/// Puts a token on each call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A connection whose calls carry this header, unless it is empty.
pub(crate) fn with_header(channel: Channel, header: &str) -> Authorised {
    let header = (!header.is_empty()).then(|| header.parse().expect("a header"));
    InterceptedService::new(channel, Bearer(header))
}

impl Session {
    pub(crate) async fn open(channel: Authorised, subscription: &str) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::channel(1000);
        let subscribe = v1::Subscribe {
            subscription: subscription.into(),
            create: Some(v1::CreateOptions::default()),
            ..Default::default()
        };
        let first = v1::StreamEventsRequest { request: Some(Request::Subscribe(subscribe)) };
        requests.send(first).await.expect("room");
        let mut client = InboxServiceClient::new(channel);
        let mut responses = client.stream_events(ReceiverStream::new(outgoing)).await?.into_inner();
        let first = responses.message().await?.expect("a first response");
        assert!(first.subscribed.is_some());
        Ok(Self { requests, responses })
    }

    /// The next delivery, acknowledged.
    pub(crate) async fn take(&mut self) -> Result<v1::Event, Status> {
        let delivery = self.hold().await?;
        let ack = v1::Ack { ack_id: delivery.ack_id, ..Default::default() };
        let ack = v1::StreamEventsRequest { request: Some(Request::Ack(ack)) };
        self.requests.send(ack).await.expect("the stream lasts");
        loop {
            let response = soon("a confirmation", self.responses.message()).await?.expect("lasts");
            if let [settled] = &response.settled[..] {
                assert!(settled.ok, "{}", settled.message);
                return Ok(delivery.event.expect("an event"));
            }
        }
    }

    /// The next delivery, not settled.
    pub(crate) async fn hold(&mut self) -> Result<v1::Delivery, Status> {
        loop {
            let response = soon("a delivery", self.responses.message()).await?.expect("lasts");
            if let Some(delivery) = response.deliveries.into_iter().next() {
                return Ok(delivery);
            }
        }
    }
}

/// An authority, and what it signs, as PEM files in a folder.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for this name and its key.
    pub(crate) fn issue(&self, name: &str, expired: bool) -> (String, String) {
        self.sign(name, "localhost", expired)
    }

    /// One for this name and this host.
    pub(crate) fn issue_for(&self, name: &str, host: &str) -> (String, String) {
        self.sign(name, host, false)
    }

    fn sign(&self, name: &str, host: &str, expired: bool) -> (String, String) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        if expired {
            params.not_before = rcgen::date_time_ymd(2019, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.issuer).expect("signed").pem(), key.serialize_pem())
    }

    /// A client that trusts this authority, with or without a certificate.
    pub(crate) fn client(&self, identity: Option<&(String, String)>) -> ClientTlsConfig {
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.pem)).domain_name("localhost");
        match identity {
            None => tls,
            Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key)),
        }
    }
}
