//! Who gets in, and what they may do.

mod support;

use amochats_proto::v1;
use amochats_proto::v1::channel_service_client::ChannelServiceClient;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::stream_events_request::Request as Asked;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use support::{ACCOUNT, Authority, Office, Session, message, reason, soon, with_header};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_types::StatusExt;

/// A line of a file of tokens.
fn line(name: &str, permissions: &str, token: &str, more: &str) -> String {
    let hash = Sha256::digest(token.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("room");
        hex
    });
    format!("{name} {permissions} sha256:{hash} {more}\n")
}

/// A server with tokens: `reader`, `sender`, `chief`, and `late`, whose time is over. Each is its own name.
async fn guarded() -> (Office, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = [
        line("reader", "read", "reader", ""),
        line("sender", "send", "sender", ""),
        line("chief", "admin", "chief", ""),
        line("late", "read,send,admin", "late", "until=2020-01-01T00:00:00Z"),
    ]
    .concat();
    std::fs::write(folder.path().join("tokens"), tokens).expect("written");
    let grpc = format!("tokens_file = {:?}", folder.path().join("tokens").to_str().expect("plain"));
    (Office::within(folder, &grpc).await, grpc)
}

/// The log of this process.
fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let lines = log.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone()).init();
        log
    })
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines_with(&self, words: &[&str]) -> usize {
        let text = String::from_utf8(self.0.lock().expect("sound").clone()).expect("text");
        text.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    fn line_with(&self, words: &[&str]) -> Option<String> {
        let text = String::from_utf8(self.0.lock().expect("sound").clone()).expect("text");
        text.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("sound").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn list(channel: &Channel, header: &str) -> Result<(), Status> {
    let mut inbox = InboxServiceClient::new(with_header(channel.clone(), header));
    inbox.list_subscriptions(v1::ListSubscriptionsRequest {}).await.map(drop)
}

async fn delete(channel: &Channel, token: &str, name: &str) -> Status {
    let mut inbox = InboxServiceClient::new(with_header(channel.clone(), &format!("Bearer {token}")));
    inbox
        .delete_subscription(v1::DeleteSubscriptionRequest { name: name.into() })
        .await
        .expect_err("none such")
}

async fn services(channel: &Channel, header: &str) -> Result<(), Status> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(with_header(channel.clone(), header));
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
    answers.message().await.map(|answer| assert!(answer.is_some()))
}

/// A delivery status goes to the client of the messenger: only who may send sends one.
#[tokio::test]
async fn who_may_only_read_sends_no_delivery_status() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = [line("reader", "read", "reader", ""), line("both", "read,send", "both", "")].concat();
    std::fs::write(folder.path().join("tokens"), tokens).expect("written");
    let grpc = format!("tokens_file = {:?}", folder.path().join("tokens").to_str().expect("plain"));
    let office = Office::within(folder, &grpc).await;
    let channel = office.connect().await;
    let with = |token: &str| with_header(channel.clone(), &format!("Bearer {token}"));
    let status = v1::DeliveryStatus { state: v1::DeliveryState::Read.into(), ..Default::default() };
    let read = |ack_id: &str| v1::Ack { ack_id: ack_id.into(), delivery_status: Some(status.clone()) };

    let mut stream = Session::open(with("reader"), "crm").await.expect("a stream");
    office.hook("c-1", "first").await;
    let delivery = stream.hold().await.expect("a delivery");
    let refused = settled(&mut stream, &delivery.ack_id).await.expect("the stream lasts");
    assert_eq!((refused.ok, refused.reason.as_str()), (false, "FORBIDDEN"), "{}", refused.message);
    let settle = async |token: &str| {
        let settlement = Some(v1::settlement::Settlement::Ack(read(&delivery.ack_id)));
        let request = v1::SettleEventsRequest { settlements: vec![v1::Settlement { settlement }] };
        let mut answer = InboxServiceClient::new(with(token)).settle_events(request).await.expect("answered");
        answer.get_mut().results.remove(0)
    };
    let refused = settle("reader").await;
    assert_eq!((refused.ok, refused.reason.as_str()), (false, "FORBIDDEN"), "{}", refused.message);
    let sent = settle("both").await;
    assert!(sent.ok && !sent.outbox_item_id.is_empty(), "{}", sent.message);
}

/// What the stream answers to an acknowledgement with a status.
async fn settled(stream: &mut Session, ack_id: &str) -> Result<v1::SettleResult, Status> {
    let status = v1::DeliveryStatus { state: v1::DeliveryState::Read.into(), ..Default::default() };
    let ack = v1::Ack { ack_id: ack_id.into(), delivery_status: Some(status) };
    let ack = v1::StreamEventsRequest { request: Some(Asked::Ack(ack)) };
    stream.requests.send(ack).await.expect("the stream lasts");
    loop {
        let response = soon("an answer", stream.responses.message()).await?.expect("an end has a status");
        if let Some(settled) = response.settled.into_iter().next() {
            return Ok(settled);
        }
    }
}

/// A stream may do what its token permits now, not what that permitted when it began.
#[tokio::test]
async fn a_stream_loses_the_rights_that_its_token_loses() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    std::fs::write(&file, line("both", "read,send", "both", "")).expect("written");
    let office = Office::within(folder, &format!("tokens_file = {:?}", file.to_str().expect("plain"))).await;
    let channel = office.connect().await;
    let both = || with_header(channel.clone(), "Bearer both");
    let mut stream = Session::open(both(), "crm").await.expect("a stream");
    office.hook("A", "first").await;
    let first = stream.hold().await.expect("a delivery");

    std::fs::write(&file, line("both", "read", "both", "")).expect("written");
    let refused = settled(&mut stream, &first.ack_id).await.expect("the stream lasts");
    assert_eq!((refused.ok, refused.reason.as_str()), (false, "FORBIDDEN"), "{}", refused.message);

    std::fs::write(&file, line("both", "read,send", "both", "")).expect("written");
    let sent = settled(&mut stream, &first.ack_id).await.expect("the stream lasts");
    assert!(sent.ok && !sent.outbox_item_id.is_empty(), "{}", sent.message);
    office.hook("A", "second").await;
    let second = stream.hold().await.expect("a delivery");

    std::fs::write(&file, line("another", "read", "another", "")).expect("written");
    let ended = settled(&mut stream, &second.ack_id).await.expect_err("its token is gone");
    assert_eq!(reason(&ended), (Code::Unauthenticated, "UNAUTHENTICATED".into()));
    let mut next =
        Session::open(with_header(channel.clone(), "Bearer another"), "crm").await.expect("a stream");
    assert_eq!(next.hold().await.expect("not settled").event, second.event);
}

#[tokio::test]
async fn a_token_opens_what_it_permits_and_nothing_else() {
    let (office, _) = guarded().await;
    let channel = office.connect().await;
    for header in
        ["", "Bearer", "Bearer ", "Bearer wrong", "Bearer late", "Basic reader", "reader", "Bearer readerr"]
    {
        let status = list(&channel, header).await.expect_err(header);
        assert_eq!(reason(&status), (Code::Unauthenticated, "UNAUTHENTICATED".into()), "{header}");
        assert!(!status.message().contains("wrong"), "{status:?}");
        services(&channel, header).await.expect_err("reflection tells strangers nothing");
    }
    list(&channel, "Bearer reader").await.expect("may read");
    list(&channel, "bearer reader").await.expect("a scheme has no case");
    services(&channel, "Bearer reader").await.expect("may look");

    let refused = delete(&channel, "reader", "x").await;
    assert_eq!(reason(&refused), (Code::PermissionDenied, "FORBIDDEN".into()));
    assert_eq!(refused.get_details_error_info().expect("there").metadata["permission"], "admin");
    assert_eq!(delete(&channel, "chief", "x").await.code(), Code::NotFound);
    let denied =
        list(&channel, "Bearer chief").await.expect_err("an administrator reads nothing by that alone");
    assert_eq!(denied.get_details_error_info().expect("there").metadata["permission"], "read");
    let mut sender = ChannelServiceClient::new(with_header(channel.clone(), "Bearer reader"));
    assert_eq!(
        sender.send_message(message()).await.expect_err("may not send").code(),
        Code::PermissionDenied
    );
    let mut sender = ChannelServiceClient::new(with_header(channel.clone(), "Bearer sender"));
    let nothing = sender.send_message(v1::SendMessageRequest::default()).await.expect_err("an empty request");
    assert_eq!(nothing.code(), Code::InvalidArgument, "it was let in");

    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
    health.expect("whoever watches needs no token");
    let unknown = tonic::client::Grpc::new(with_header(channel, "Bearer reader"));
    let status = unknown_method(unknown).await;
    assert_eq!(status.code(), Code::PermissionDenied, "what is not in the table is for administrators");
}

async fn unknown_method(mut grpc: tonic::client::Grpc<support::Authorised>) -> Status {
    grpc.ready().await.expect("ready");
    let path = http::uri::PathAndQuery::from_static("/amochats.v1.InboxService/Later");
    let codec: tonic_prost::ProstCodec<v1::ListSubscriptionsRequest, v1::ListSubscriptionsResponse> =
        tonic_prost::ProstCodec::default();
    let request = tonic::Request::new(v1::ListSubscriptionsRequest {});
    grpc.unary(request, path, codec).await.expect_err("there is no such method")
}

#[tokio::test]
async fn a_token_that_is_removed_ends_calls_and_streams() {
    let (office, grpc) = guarded().await;
    let channel = office.connect().await;
    let reader = || with_header(channel.clone(), "Bearer reader");
    let mut session = Session::open(reader(), "crm").await.expect("a stream");
    office.hook("A", "before").await;
    session.take().await.expect("while it counts");

    let file = office.path("tokens");
    std::fs::write(&file, "nonsense\n").expect("written");
    list(&channel, "Bearer reader").await.expect("a broken file changes nothing");
    let config = office.config(&grpc);
    assert_eq!(config.expect_err("broken").field(), Some("grpc.tokens_file"));

    std::fs::write(&file, line("another", "read", "another", "")).expect("written");
    list(&channel, "Bearer another").await.expect("known now");
    assert_eq!(list(&channel, "Bearer reader").await.expect_err("gone").code(), Code::Unauthenticated);
    office.hook("A", "after").await;
    let ended = session.take().await.expect_err("its token is gone");
    assert_eq!(reason(&ended), (Code::Unauthenticated, "UNAUTHENTICATED".into()));
    let mut session =
        Session::open(with_header(channel.clone(), "Bearer another"), "crm").await.expect("a stream");
    let event = session.take().await.expect("the event that the other one did not get");
    assert!(event.raw.windows(5).any(|part| part == b"after"));

    std::fs::write(&file, line("third", "read", "third", "")).expect("written");
    office.server.reload(&office.config(&grpc).expect("sound")).expect("reloaded");
    list(&channel, "Bearer third").await.expect("known after a reload");
}

#[tokio::test]
async fn administrative_calls_are_written_down() {
    let log = log();
    let (office, _) = guarded().await;
    let channel = office.connect().await;
    delete(&channel, "chief", "audited-1").await;
    let line = log.line_with(&["audit", "audited-1"]).expect("a line");
    for part in ["INFO", "chief", "127.0.0.1", "/amochats.v1.InboxService/DeleteSubscription", "NotFound"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let mut chief = ChannelServiceClient::new(with_header(channel.clone(), "Bearer chief"));
    let mut request = tonic::Request::new(v1::ConnectRequest {
        scope: Some(v1::Scope { account_id: ACCOUNT.into(), channel_id: "audited-2".into() }),
        title: Some("a private title".into()),
        ..Default::default()
    });
    request.set_timeout(std::time::Duration::from_secs(30));
    chief.connect(request).await.expect_err("no such channel");
    let line = log.line_with(&["audit", "audited-2"]).expect("a line");
    assert!(line.contains("scope.account_id=") && line.contains(ACCOUNT), "{line}");
    assert!(log.line_with(&["private"]).is_none(), "contents stay out");
    delete(&channel, "reader", "audited-3").await;
    assert!(log.line_with(&["audited-3"]).is_none(), "a refused request is not read");
    list(&channel, "Bearer reader").await.expect("listed");
    assert!(
        log.line_with(&["administrative", "ListSubscriptions"]).is_none(),
        "to read is not to administer"
    );
}

#[tokio::test]
async fn refused_calls_are_written_down_as_far_as_the_log_bears_it() {
    let log = log();
    let (office, _) = guarded().await;
    let channel = office.connect().await;
    delete(&channel, "reader", "x").await;
    let refused = ["audit", "a call was refused", "DeleteSubscription", "PermissionDenied"];
    let line = log.line_with(&refused).expect("a line");
    assert!(line.contains("reader") && line.contains("127.0.0.1"), "{line}");
    for _ in 0..100 {
        list(&channel, "Bearer a-guessed-token").await.expect_err("refused");
    }
    let line = log.line_with(&["ListSubscriptions", "Unauthenticated"]).expect("a line");
    assert!(line.contains("who=\"-\""), "{line}");
    assert!(log.line_with(&["a-guessed-token"]).is_none(), "what was shown is not");
    // The log is of all tests in this process, each with a server of its own.
    let lines = log.lines_with(&["a call was refused", "ListSubscriptions"]);
    assert!(lines < 100, "{lines} lines of 100 calls");
}

/// The lines of a server with the certificate in its folder.
fn tls(folder: &tempfile::TempDir, more: &str) -> String {
    let path = |name: &str| folder.path().join(name).to_str().expect("plain").to_owned();
    format!("tls_cert = {:?}\ntls_key = {:?}\n{more}", path("cert.pem"), path("key.pem"))
}

fn install(folder: &std::path::Path, (certificate, key): &(String, String)) {
    std::fs::write(folder.join("cert.pem"), certificate).expect("written");
    std::fs::write(folder.join("key.pem"), key).expect("written");
}

async fn over_tls(office: &Office, tls: tonic::transport::ClientTlsConfig) -> Result<(), String> {
    let address = format!("https://localhost:{}", office.server.grpc_address().port());
    let endpoint = Endpoint::from_shared(address).expect("an address").tls_config(tls).expect("sound");
    // With TLS 1.3 a client may learn only from the first answer that its certificate was refused.
    let channel = soon("a greeting", endpoint.connect()).await.map_err(|error| format!("{error:?}"))?;
    list(&channel, "").await.map_err(|status| format!("{status:?}"))
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (Authority::new(), Authority::new());
    install(folder.path(), &first.issue("server", false));
    let grpc = tls(&folder, "");
    let office = Office::within(folder, &grpc).await;
    assert_eq!(office.server.grpc_scheme(), "https");
    over_tls(&office, first.client(None)).await.expect("greeted");
    over_tls(&office, second.client(None)).await.expect_err("another authority's");
    list_plainly(&office).await.expect_err("not without TLS");

    let renewed = second.issue("server", false);
    std::fs::write(office.path("cert.pem"), &renewed.0).expect("written");
    over_tls(&office, first.client(None)).await.expect("half of a change changes nothing");
    assert!(office.config(&grpc).is_err());
    install(office.folder.path(), &renewed);
    over_tls(&office, second.client(None)).await.expect("the new one");
    over_tls(&office, first.client(None)).await.expect_err("the old one is gone");

    install(office.folder.path(), &first.issue("server", false));
    office.server.reload(&office.config(&grpc).expect("sound")).expect("reloaded");
    over_tls(&office, first.client(None)).await.expect("after a reload");
}

async fn list_plainly(office: &Office) -> Result<(), String> {
    let channel = office.endpoint().connect().await.map_err(|error| error.to_string())?;
    list(&channel, "").await.map_err(|status| status.to_string())
}

#[tokio::test]
async fn only_certificates_of_the_authority_get_in() {
    let log = log();
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (Authority::new(), Authority::new());
    install(folder.path(), &ours.issue("server", false));
    std::fs::write(folder.path().join("ca.pem"), ours.pem()).expect("written");
    let ca = format!("client_ca = {:?}", folder.path().join("ca.pem").to_str().expect("plain"));
    let grpc = tls(&folder, &ca);
    let office = Office::within(folder, &grpc).await;
    let known = ours.issue("billing service", false);
    over_tls(&office, ours.client(Some(&known))).await.expect("greeted");
    for (who, client) in [
        ("nobody", ours.client(None)),
        ("a stranger", ours.client(Some(&theirs.issue("billing service", false)))),
        ("one whose time is over", ours.client(Some(&ours.issue("billing service", true)))),
    ] {
        assert!(over_tls(&office, client).await.is_err(), "{who} got in");
    }

    let address = format!("https://localhost:{}", office.server.grpc_address().port());
    let endpoint = Endpoint::from_shared(address).expect("an address");
    let endpoint = endpoint.tls_config(ours.client(Some(&known))).expect("sound");
    let mut inbox = InboxServiceClient::new(endpoint.connect().await.expect("greeted"));
    let deleted =
        inbox.delete_subscription(v1::DeleteSubscriptionRequest { name: "by-certificate".into() }).await;
    assert_eq!(deleted.expect_err("none such").code(), Code::NotFound);
    let line = log.line_with(&["audit", "by-certificate"]).expect("a line");
    assert!(line.contains("CN=billing service"), "{line}");
}

#[tokio::test]
async fn a_certificate_opens_what_its_line_permits() {
    let log = log();
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    install(folder.path(), &authority.issue("server", false));
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("written");
    let lines = |reader: &str| {
        let sender = line("sender", "send", "sender", "");
        format!("{reader}chief admin cert:DNS=Chief.example.com\n{sender}")
    };
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, lines("billing read cert:\"CN=billing service\"\n")).expect("written");
    let path = |name: &str| folder.path().join(name).to_str().expect("plain").to_owned();
    let more = format!("client_ca = {:?}\ntokens_file = {:?}", path("ca.pem"), path("tokens"));
    let without = tls(&folder, &format!("tokens_file = {:?}", path("tokens")));
    let grpc = tls(&folder, &more);
    let office = Office::within(folder, &grpc).await;
    let useless = office.config(&without).expect_err("no certificate is asked for");
    assert!(
        useless.field() == Some("grpc.tokens_file") && useless.message().contains("client_ca"),
        "{useless}"
    );

    let address = format!("https://localhost:{}", office.server.grpc_address().port());
    let connect = async |identity: &(String, String)| {
        let endpoint = Endpoint::from_shared(address.clone()).expect("an address");
        let endpoint = endpoint.tls_config(authority.client(Some(identity))).expect("sound");
        soon("a greeting", endpoint.connect()).await.expect("the authority's")
    };
    let billing = connect(&authority.issue("billing service", false)).await;
    list(&billing, "").await.expect("it may read");
    let plain = |channel: &Channel| InboxServiceClient::new(channel.clone());
    let named = |name: &str| v1::DeleteSubscriptionRequest { name: name.into() };
    let refused = plain(&billing).delete_subscription(named("x")).await.expect_err("it may not administer");
    assert_eq!(reason(&refused), (Code::PermissionDenied, "FORBIDDEN".into()));
    assert!(refused.message().contains("certificate \"billing\""), "{refused:?}");
    let chief = connect(&authority.issue_for("the chief", "chief.example.com")).await;
    let deleted = plain(&chief).delete_subscription(named("by-its-host-name")).await.expect_err("none such");
    assert_eq!(deleted.code(), Code::NotFound, "it was let in");
    let written = log.line_with(&["audit", "by-its-host-name"]).expect("a line");
    assert!(written.contains("who=\"chief\""), "{written}");
    let denied = list(&chief, "").await.expect_err("an administrator reads nothing by that alone");
    assert_eq!(denied.code(), Code::PermissionDenied);

    // Another one of the authority's is somebody, but nobody here.
    let other = connect(&authority.issue("Billing Service", false)).await;
    let status = list(&other, "").await.expect_err("no line names it");
    assert_eq!(reason(&status), (Code::Unauthenticated, "UNAUTHENTICATED".into()));
    assert!(status.message().contains("CN=Billing Service"), "{status:?}");
    assert!(log.line_with(&["a call was refused", "CN=Billing Service"]).is_some());
    // A token counts instead of the certificate, whichever permits more.
    for (channel, header, code) in [
        (&other, "Bearer sender", Code::PermissionDenied),
        (&billing, "Bearer sender", Code::PermissionDenied),
        (&billing, "Bearer wrong", Code::Unauthenticated),
        (&billing, "nonsense", Code::Unauthenticated),
    ] {
        assert_eq!(list(channel, header).await.expect_err(header).code(), code, "{header}");
    }

    let mut session = Session::open(with_header(billing.clone(), ""), "crm").await.expect("a stream");
    office.hook("A", "before").await;
    session.take().await.expect("while its line is there");
    std::fs::write(&tokens, lines("")).expect("written");
    assert_eq!(list(&billing, "").await.expect_err("its line is gone").code(), Code::Unauthenticated);
    office.hook("A", "after").await;
    let ended = session.take().await.expect_err("its line is gone");
    assert_eq!(reason(&ended), (Code::Unauthenticated, "UNAUTHENTICATED".into()));
}

#[tokio::test]
async fn a_public_address_needs_tls_with_tokens_or_certificates() {
    let (office, tokens) = guarded().await;
    let authority = Authority::new();
    install(office.folder.path(), &authority.issue("server", false));
    std::fs::write(office.path("ca.pem"), authority.pem()).expect("written");
    let tls = tls(&office.folder, "");
    let ca = format!("client_ca = {:?}", office.path("ca.pem").to_str().expect("plain"));
    let public = |lines: &[&str]| {
        let lines = lines.join("\n");
        let toml = format!(
            "[grpc]\naddress = \"[::]:1\"\n{lines}\n[[channel]]\nid = \"c\"\nsecret = \"s\"\nregion = \"ru\"\n"
        );
        amochats_server::ServerConfig::load(&toml, []).map(drop)
    };
    for lines in [&[][..], &[tls.as_str()], &[tokens.as_str()]] {
        let error = public(lines).expect_err("anybody could read");
        assert_eq!(error.field(), Some("grpc.address"), "{error}");
        assert!(
            error.message().contains("tokens_file") && error.message().contains("allow_public"),
            "{error}"
        );
    }
    for lines in [&[tls.as_str(), &tokens][..], &[&tls, &ca], &["allow_public = true"]] {
        public(lines).expect("kept out");
    }
    for (lines, field) in [
        (&[ca.as_str()][..], "grpc.client_ca"),
        (&["tls_key = \"x\""], "grpc.tls_cert"),
        (&["tls_cert = \"x\""], "grpc.tls_key"),
        (&["tokens_file = \"/nowhere\""], "grpc.tokens_file"),
        (&["allow_public = true", "max_streams = 0"], "grpc.max_streams"),
    ] {
        assert_eq!(public(lines).expect_err("refused").field(), Some(field));
    }
}
