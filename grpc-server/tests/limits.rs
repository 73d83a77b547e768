//! How much a client may take, and how long.

mod support;

use amochats_proto::v1;
use amochats_proto::v1::channel_service_client::ChannelServiceClient;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::webhook_service_client::WebhookServiceClient;
use std::time::Duration;
use support::{Authority, Office, Session, message, reason, soon, with_header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

async fn list(channel: &Channel) -> Result<(), Status> {
    InboxServiceClient::new(channel.clone())
        .list_subscriptions(v1::ListSubscriptionsRequest {})
        .await
        .map(drop)
}

/// A call in HTTP/2, as any client could make it: these tests ask what the server does where the
/// client's own library does not.
async fn raw_call(
    office: &Office,
    path: &str,
    headers: &[(&'static str, &str)],
    body: &[u8],
) -> Result<http::Response<h2::RecvStream>, h2::Error> {
    let (client, connection) = h2::client::handshake(office.tcp().await).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut request = http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut client = client.ready().await.expect("ready");
    let (answer, mut stream) = client.send_request(request.body(()).expect("a request"), false)?;
    stream.send_data(bytes::Bytes::copy_from_slice(body), true)?;
    soon("an answer", answer).await
}

/// The status of an answer that is nothing else.
fn status_of<T>(answer: &http::Response<T>) -> Status {
    Status::from_header_map(answer.headers()).expect("a status")
}

/// Waits for the server to end a connection, whatever it says before.
async fn closed(what: &str, connection: &mut TcpStream) {
    let _ = soon(what, connection.read_to_end(&mut Vec::new())).await;
}

const SEND: &str = "/amochats.v1.ChannelService/SendMessage";

/// A message as it stands on the wire.
fn framed(message: &impl prost::Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(bytes.len()).expect("small").to_be_bytes());
    framed.extend(bytes);
    framed
}

#[tokio::test]
async fn a_deadline_ends_the_call_of_the_vendor() {
    let mut office = Office::new("").await;
    let answer = raw_call(&office, SEND, &[("grpc-timeout", "200m")], &framed(&message())).await;
    let status = status_of(&answer.expect("an answer, not a reset"));
    assert_eq!(reason(&status), (Code::DeadlineExceeded, "TIMEOUT".into()));
    office.vendor.called().await;
    office.vendor.left().await;

    let connect = v1::ConnectRequest { scope: message().scope, ..Default::default() };
    let connect_path = "/amochats.v1.ChannelService/Connect";
    let answer = raw_call(&office, connect_path, &[("grpc-timeout", "200m")], &framed(&connect)).await;
    let status = status_of(&answer.expect("an answer"));
    assert_eq!(reason(&status), (Code::DeadlineExceeded, "TIMEOUT".into()));
    office.vendor.called().await;
    office.vendor.left().await;
}

#[tokio::test]
async fn a_deadline_that_is_over_reaches_no_vendor() {
    let mut office = Office::new("").await;
    let answer = raw_call(&office, SEND, &[("grpc-timeout", "0n")], &framed(&message())).await;
    assert_eq!(status_of(&answer.expect("an answer")).code(), Code::DeadlineExceeded);
    let answer = raw_call(&office, SEND, &[("grpc-timeout", "200m")], &framed(&message())).await;
    assert_eq!(status_of(&answer.expect("an answer")).code(), Code::DeadlineExceeded);
    office.vendor.called().await;
    office.vendor.left().await;
    assert!(office.vendor.is_quiet(), "only the second call came so far");
}

#[tokio::test]
async fn a_call_that_is_cancelled_leaves_the_vendor() {
    let mut office = Office::new("").await;
    let channel = office.connect().await;
    let call = tokio::spawn({
        let mut client = ChannelServiceClient::new(channel.clone());
        async move { client.send_message(message()).await }
    });
    office.vendor.called().await;
    call.abort();
    office.vendor.left().await;
    list(&channel).await.expect("the connection goes on");
}

#[tokio::test]
async fn a_stream_ends_at_its_deadline() {
    let office = Office::new("").await;
    office.hook("A", "1").await;
    let subscribe = v1::Subscribe {
        subscription: "crm".into(),
        create: Some(v1::CreateOptions::default()),
        ..Default::default()
    };
    let first =
        v1::StreamEventsRequest { request: Some(v1::stream_events_request::Request::Subscribe(subscribe)) };
    let (client, connection) = h2::client::handshake(office.tcp().await).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::post("http://localhost/amochats.v1.InboxService/StreamEvents")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "500m");
    let (answer, mut stream) = client
        .ready()
        .await
        .expect("ready")
        .send_request(request.body(()).expect("sound"), false)
        .expect("sent");
    stream.send_data(framed(&first).into(), false).expect("sent");
    let mut answer = soon("an answer", answer).await.expect("a stream").into_body();
    while let Some(data) = soon("data", answer.data()).await {
        let length = data.expect("data").len();
        answer.flow_control().release_capacity(length).expect("released");
    }
    let trailers = answer.trailers().await.expect("trailers").expect("trailers");
    let status = Status::from_header_map(&trailers).expect("a status");
    assert_eq!(reason(&status), (Code::DeadlineExceeded, "TIMEOUT".into()));
    // What it held is free for others.
    let mut next = Session::open(with_header(office.connect().await, ""), "crm").await.expect("a stream");
    next.take().await.expect("the event");
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_with_a_reason() {
    let office = Office::new("max_message_bytes = 10000").await;
    let channel = office.connect().await;
    let mut webhooks = WebhookServiceClient::new(channel.clone());
    let status =
        webhooks.parse(v1::ParseRequest { body: vec![b'x'; 10_000].into() }).await.expect_err("too large");
    assert_eq!(reason(&status), (Code::OutOfRange, "BODY_TOO_LARGE".into()));
    // An administrative one is read before it is passed on.
    let sign = v1::SignRequest { body: vec![b'x'; 20_000].into(), ..Default::default() };
    let status = webhooks.sign(sign).await.expect_err("too large");
    assert_eq!(reason(&status), (Code::OutOfRange, "BODY_TOO_LARGE".into()));
    let status =
        webhooks.parse(v1::ParseRequest { body: vec![b'x'; 9_000].into() }).await.expect_err("no webhook");
    assert_eq!(reason(&status), (Code::InvalidArgument, "MALFORMED_WEBHOOK".into()));
    list(&channel).await.expect("the connection goes on");
}

#[tokio::test]
async fn a_header_that_is_too_large_is_refused() {
    let office = Office::new("max_header_bytes = 2000").await;
    let large = "x".repeat(3000);
    let path = "/amochats.v1.InboxService/ListSubscriptions";
    let refused = raw_call(&office, path, &[("x-large", &large)], &[0; 5]).await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status() == 431));
    raw_call(&office, path, &[("x-small", &large[..1000])], &[0; 5]).await.expect("answered");
}

#[tokio::test]
async fn calls_beyond_the_limit_of_a_connection_wait() {
    let mut office = Office::new("max_streams = 3").await;
    let (client, connection) = h2::client::handshake(office.tcp().await).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut client = client.ready().await.expect("ready");
    let mut open = Vec::new();
    for _ in 0..3 {
        let request =
            http::Request::post(format!("http://localhost{SEND}")).header("content-type", "application/grpc");
        client = client.ready().await.expect("ready");
        let (answer, mut stream) =
            client.send_request(request.body(()).expect("sound"), false).expect("sent");
        stream.send_data(framed(&message()).into(), true).expect("sent");
        open.push(answer);
    }
    // By now the client knows the server's limit, since the calls have come through.
    for _ in 0..2 {
        office.vendor.called().await;
    }
    assert_eq!(client.current_max_send_streams(), 3);
}

#[tokio::test]
async fn a_peer_has_so_many_connections_and_no_more() {
    let office = Office::new("max_connections_per_peer = 2").await;
    let (first, second) = (office.connect().await, office.connect().await);
    list(&first).await.expect("the first");
    list(&second).await.expect("the second");
    let mut third = office.tcp().await;
    closed("the refusal", &mut third).await;
    drop(first);
    // Its place is free once the server has noticed.
    soon("a free place", async {
        while list(&office.endpoint().connect_lazy()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    list(&second).await.expect("undisturbed");
}

#[tokio::test]
async fn strangers_make_room_and_clients_stay() {
    let office = Office::new("max_connections = 3").await;
    let client = office.connect().await;
    list(&client).await.expect("known from now on");
    let (mut oldest, _second) = (office.tcp().await, office.tcp().await);
    let newest = office.connect().await;
    list(&newest).await.expect("there is room for it");
    closed("the end of the oldest", &mut oldest).await;
    list(&client).await.expect("it was there before");
    let fourth = office.connect().await;
    list(&fourth).await.expect("the last stranger leaves");
    let mut fifth = office.tcp().await;
    closed("the refusal", &mut fifth).await;
    list(&client).await.expect("it was there before");
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_let_go() {
    let office = Office::new("keepalive_interval_ms = 100\nkeepalive_timeout_ms = 100").await;
    let mut silent = office.tcp().await;
    // The greeting of HTTP/2 with empty settings, and then no answer to anything.
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
    let mut heard = Vec::new();
    let _ = soon("the end of the connection", silent.read_to_end(&mut heard)).await;
    let ping = heard.windows(9).any(|frame| frame[..4] == [0, 0, 8, 6]);
    assert!(ping, "it was asked before: {heard:?}");

    let patient = Session::open(with_header(office.connect().await, ""), "crm").await;
    let mut patient = patient.expect("a stream");
    tokio::time::timeout(Duration::from_secs(1), patient.responses.message())
        .await
        .expect_err("who answers stays, however long it waits");
    office.hook("A", "1").await;
    patient.take().await.expect("the event");
}

#[tokio::test]
async fn a_greeting_of_tls_that_is_not_finished_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = Authority::new().issue("server", false);
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("cert.pem"), certificate).expect("written");
    std::fs::write(path("key.pem"), key).expect("written");
    let grpc = format!(
        "tls_cert = {:?}\ntls_key = {:?}\nhandshake_timeout_ms = 100",
        path("cert.pem").to_str().expect("plain"),
        path("key.pem").to_str().expect("plain")
    );
    let office = Office::within(folder, &grpc).await;
    let mut silent = office.tcp().await;
    closed("the end", &mut silent).await;
}

#[tokio::test]
async fn a_timeout_that_is_nonsense_is_none() {
    let office = Office::new("").await;
    let mut request = Request::new(v1::ListSubscriptionsRequest {});
    request.metadata_mut().insert("grpc-timeout", "soon".parse().expect("text"));
    InboxServiceClient::new(office.connect().await).list_subscriptions(request).await.expect("answered");
}
