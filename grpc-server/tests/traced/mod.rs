//! A collector of traces, and the command as a process that sends them there.

use amochats::{ChannelSecret, ScopeId, sign_body};
use amochats_proto::v1;
use amochats_sandbox::{Sandbox, SandboxConfig};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// What is said in the chat, which is nobody's business.
pub(crate) const TEXT: &str = "my address is 5 Secret Street, +7 900 000-00-00";

/// What must come does so soon: a hang gets a name.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    format!("http://{}", listener.local_addr().expect("bound"))
}

/// A span, as far as the tests look at it. `Debug` shows all that came.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) events: Vec<String>,
    all: Span,
}

impl Seen {
    pub(crate) fn attribute(&self, key: &str) -> String {
        text(&self.all.attributes, key)
    }

    /// Of any of its events.
    pub(crate) fn event_attribute(&self, key: &str) -> String {
        self.all
            .events
            .iter()
            .map(|event| text(&event.attributes, key))
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|one| one.key == key);
    match found.and_then(|one| one.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => other.map_or(String::new(), |other| format!("{other:?}")),
    }
}

/// Takes traces on loopback.
pub(crate) struct Collector {
    address: String,
    came: mpsc::UnboundedReceiver<Span>,
}

struct Intake(mpsc::UnboundedSender<Span>);

#[tonic::async_trait]
impl TraceService for Intake {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        for span in resources.into_iter().flat_map(|one| one.scope_spans).flat_map(|one| one.spans) {
            let _ = self.0.send(span);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound").to_string();
        let (intake, came) = mpsc::unbounded_channel();
        let service = TraceServiceServer::new(Intake(intake));
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        Self { address, came }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that came by now.
    pub(crate) fn spans(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.came.try_recv().ok())
            .map(|all| Seen {
                name: all.name.clone(),
                events: all.events.iter().map(|event| event.name.clone()).collect(),
                all,
            })
            .collect()
    }
}

/// `amochats serve`, which sends its traces, and its CRM.
pub(crate) struct Traced {
    child: Child,
    grpc: String,
    listener: String,
    sandbox: Sandbox,
    _folder: tempfile::TempDir,
}

impl Traced {
    pub(crate) async fn start(endpoint: &str) -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default()).await.expect("a sandbox");
        let folder = tempfile::tempdir().expect("a folder");
        let toml = format!(
            "[listener]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[grpc]\n\
             address = \"127.0.0.1:0\"\n[store]\npath = {:?}\nmin_free_bytes = 0\n\
             [log]\notlp_endpoint = \"{endpoint}\"\n\
             [[channel]]\nid = \"{}\"\nsecret = \"{}\"\nbase_url = \"http://{}\"\n",
            folder.path().join("inbox.db").to_str().expect("a plain name"),
            sandbox.channel_id(),
            sandbox.secret(),
            sandbox.api_addr(),
        );
        let config = folder.path().join("amochats.toml");
        std::fs::write(&config, toml).expect("written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_amochats"))
            // Where tests note what they skip; it is no key of the server's configuration.
            .env_remove("AMOCHATS_SKIPPED")
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = tokio::task::spawn_blocking(move || lines.next());
        let line = soon("the ready line", line).await.expect("no panic").expect("a line").expect("readable");
        let ready: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let address = |name: &str| ready[name].as_str().expect("an address").to_owned();
        Self { grpc: address("grpc"), listener: address("listener"), child, sandbox, _folder: folder }
    }

    pub(crate) async fn connect(&self) -> Channel {
        Channel::from_shared(self.grpc.clone()).expect("an address").connect().await.expect("connected")
    }

    fn account(&self) -> String {
        self.sandbox.accounts()[0].account_id.to_string()
    }

    pub(crate) fn scope(&self) -> v1::Scope {
        v1::Scope { channel_id: String::new(), account_id: self.account() }
    }

    pub(crate) fn scope_id(&self) -> String {
        ScopeId::of(&self.sandbox.channel_id().to_string().into(), &self.account().into()).to_string()
    }

    pub(crate) fn secret(&self) -> String {
        self.sandbox.secret()
    }

    /// Sends a webhook, which is answered so: signed with another secret where it is to be refused.
    pub(crate) async fn hook(&self, answer: u16) {
        let body = serde_json::json!({
            "account_id": self.account(),
            "message": {
                "conversation": { "id": "8e4d4baa-9e6c-4a88-838a-5f62be227bdc" },
                "message": { "id": "m-1", "type": "text", "text": TEXT },
            },
        })
        .to_string();
        let secret = if answer == 200 { self.secret() } else { "0".repeat(40) };
        let signature = sign_body(&ChannelSecret::new(secret).expect("clean"), body.as_bytes());
        let (host, scope, length) =
            (self.listener.trim_start_matches("http://"), self.scope_id(), body.len());
        let request = format!(
            "POST /webhook/{scope} HTTP/1.1\r\nHost: x\r\nX-Signature: {signature}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        let mut peer = TcpStream::connect(host).await.expect("connected");
        peer.write_all(request.as_bytes()).await.expect("sent");
        let mut said = String::new();
        soon("the answer to a hook", peer.read_to_string(&mut said)).await.expect("answered");
        assert!(said.starts_with(&format!("HTTP/1.1 {answer}")), "{said}");
    }

    /// Ends it cleanly; what it said.
    pub(crate) async fn stop(&mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().expect("kill runs").success());
        let mut stderr = self.child.stderr.take().expect("a pipe");
        let said = tokio::task::spawn_blocking(move || {
            let mut said = String::new();
            stderr.read_to_string(&mut said).map(|_| said)
        });
        let said = soon("the end", said).await.expect("no panic").expect("text");
        assert!(self.child.wait().expect("waited").success(), "{said}");
        said
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // Only where a test fails does it still run.
        let _ = self.child.kill();
    }
}

pub(crate) fn message() -> v1::Message {
    let text = v1::content::Kind::Text(v1::TextContent { text: TEXT.into() });
    v1::Message {
        message_id: "m-2".into(),
        conversation_id: "c-1".into(),
        sender: Some(v1::Sender {
            user_id: "u-1".into(),
            name: "Anna Privatova".into(),
            ..Default::default()
        }),
        content: Some(v1::Content { kind: Some(text) }),
        ..Default::default()
    }
}
