//! What one client does, the others do not notice.

mod support;

use amochats_proto::v1;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::stream_events_request::Request;
use bytes::Bytes;
use support::{Office, Session, message, soon, with_header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server and a good client, which lasts through all that others do.
struct Shop {
    office: Office,
    good: Session,
    events: usize,
}

impl Shop {
    async fn new() -> Self {
        let office = Office::new("").await;
        let good = Session::open(with_header(office.connect().await, ""), "good").await.expect("a stream");
        Self { office, good, events: 0 }
    }

    /// A webhook comes, and the good client gets and settles its event.
    async fn works(&mut self) {
        self.events += 1;
        let text = format!("event-{}", self.events);
        self.office.hook("C", &text).await;
        let event = self.good.take().await.expect("undisturbed");
        assert!(String::from_utf8_lossy(&event.raw).contains(&text));
        let mut inbox = InboxServiceClient::new(self.office.connect().await);
        inbox.list_subscriptions(v1::ListSubscriptionsRequest {}).await.expect("answered");
    }

    async fn raw(&self) -> h2::client::SendRequest<Bytes> {
        let (client, connection) = h2::client::handshake(self.office.tcp().await).await.expect("HTTP/2");
        tokio::spawn(connection);
        client.ready().await.expect("ready")
    }
}

fn call(path: &str) -> http::Request<()> {
    http::Request::post(format!("http://localhost/amochats.v1.{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request")
}

fn framed(message: &impl prost::Message) -> Bytes {
    let bytes = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(bytes.len()).expect("small").to_be_bytes());
    framed.extend(bytes);
    framed.into()
}

fn subscribe(name: &str) -> Bytes {
    let subscribe = v1::Subscribe {
        subscription: name.into(),
        create: Some(v1::CreateOptions::default()),
        max_outstanding: 10_000,
        ..Default::default()
    };
    framed(&v1::StreamEventsRequest { request: Some(Request::Subscribe(subscribe)) })
}

#[tokio::test]
async fn one_that_never_reads() {
    let mut shop = Shop::new().await;
    let mut client = shop.raw().await;
    let (answer, mut stream) = client.send_request(call("InboxService/StreamEvents"), false).expect("sent");
    stream.send_data(subscribe("deaf"), false).expect("sent");
    let deaf = soon("an answer", answer).await.expect("a stream").into_body();
    // It gives no room for data: what it should read piles up, but not for ever.
    let large = "x".repeat(100_000);
    for n in 0..100 {
        shop.office.hook(&format!("L{n}"), &large).await;
        shop.good.take().await.expect("undisturbed");
    }
    shop.works().await;
    drop((deaf, stream, client));
    shop.works().await;
}

#[tokio::test]
async fn one_whose_socket_is_never_read() {
    let mut shop = Shop::new().await;
    let mut deaf = shop.office.tcp().await;
    deaf.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
    // Pings, each of which wants an answer that nobody reads, until the server takes no more.
    let pings: Vec<u8> = b"\0\0\x08\x06\0\0\0\0\0deadbeef".repeat(1000);
    for _ in 0..2000 {
        let written =
            tokio::time::timeout(std::time::Duration::from_millis(200), deaf.write_all(&pings)).await;
        if !matches!(written, Ok(Ok(()))) {
            break;
        }
    }
    shop.works().await;
}

#[tokio::test]
async fn one_that_never_acknowledges() {
    let mut shop = Shop::new().await;
    let mut lazy =
        Session::open(with_header(shop.office.connect().await, ""), "lazy").await.expect("a stream");
    shop.works().await;
    let held = lazy.hold().await.expect("a delivery");
    for _ in 0..20 {
        shop.works().await;
    }
    drop(lazy);
    let mut next =
        Session::open(with_header(shop.office.connect().await, ""), "lazy").await.expect("a stream");
    let again = next.take().await.expect("what the lazy one held");
    assert_eq!(again.event_id, held.event.expect("an event").event_id);
}

#[tokio::test]
async fn one_that_floods_with_calls_that_it_takes_back() {
    let mut shop = Shop::new().await;
    let mut client = shop.raw().await;
    for _ in 0..20_000 {
        let Ok(ready) = client.ready().await else { break };
        client = ready;
        let Ok((answer, mut stream)) = client.send_request(call("InboxService/ListSubscriptions"), false)
        else {
            break;
        };
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
    }
    shop.works().await;
}

#[tokio::test]
async fn one_that_floods_with_settlements_of_nothing() {
    let mut shop = Shop::new().await;
    let flood = Session::open(with_header(shop.office.connect().await, ""), "flood").await.expect("a stream");
    let Session { requests, mut responses } = flood;
    tokio::spawn(async move {
        let ack = v1::Ack { ack_id: "f.f.f".into(), ..Default::default() };
        let ack = v1::StreamEventsRequest { request: Some(Request::Ack(ack)) };
        for _ in 0..50_000 {
            if requests.send(ack.clone()).await.is_err() {
                return;
            }
        }
    });
    let mut refused = 0;
    while refused < 10_000 {
        let response = soon("a refusal", responses.message()).await.expect("lasts").expect("lasts");
        refused += response.settled.iter().filter(|settled| !settled.ok).count();
    }
    shop.works().await;
}

#[tokio::test]
async fn one_that_announces_a_hundred_megabytes_and_one_that_sends_them() {
    let mut shop = Shop::new().await;
    let mut client = shop.raw().await;
    let (answer, mut stream) = client.send_request(call("WebhookService/Parse"), false).expect("sent");
    let mut announced = vec![0];
    announced.extend((100_u32 << 20).to_be_bytes());
    stream.send_data(announced.into(), false).expect("sent");
    let answer = soon("a refusal", answer).await.expect("an answer");
    let status = tonic::Status::from_header_map(answer.headers()).expect("a status");
    assert_eq!(support::reason(&status), (tonic::Code::OutOfRange, "BODY_TOO_LARGE".into()));

    // In pieces that are small enough, and more of them than anybody wants.
    client = client.ready().await.expect("ready");
    let (answer, mut stream) = client.send_request(call("WebhookService/Parse"), false).expect("sent");
    let piece = framed(&v1::ParseRequest { body: vec![b'x'; 1 << 20].into() });
    let sent = async {
        for _ in 0..100 {
            let mut left = piece.clone();
            while !left.is_empty() {
                stream.reserve_capacity(left.len());
                let Some(Ok(room)) = futures_util::future::poll_fn(|cx| stream.poll_capacity(cx)).await
                else {
                    return;
                };
                if stream.send_data(left.split_to(room.min(left.len())), false).is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = sent => {}
        answer = answer => drop(answer),
    }
    shop.works().await;
}

#[tokio::test]
async fn one_that_cancels_in_the_middle_of_calls() {
    let mut shop = Shop::new().await;
    let channel = shop.office.connect().await;
    for _ in 0..50 {
        let mut client =
            amochats_proto::v1::channel_service_client::ChannelServiceClient::new(channel.clone());
        let call = tokio::spawn(async move { client.send_message(message()).await });
        tokio::task::yield_now().await;
        call.abort();
    }
    let call = {
        let mut client =
            amochats_proto::v1::channel_service_client::ChannelServiceClient::new(channel.clone());
        tokio::spawn(async move { client.send_message(message()).await })
    };
    shop.office.vendor.called().await;
    call.abort();
    shop.works().await;
}

#[tokio::test]
async fn one_that_speaks_nonsense() {
    let mut shop = Shop::new().await;
    for nonsense in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0",
        b"",
    ] {
        let mut peer: TcpStream = shop.office.tcp().await;
        let _ = peer.write_all(nonsense).await;
        let _ = peer.shutdown().await;
        let _ = soon("the end", peer.read_to_end(&mut Vec::new())).await;
    }
    let mut client = shop.raw().await;
    for body in [&b"\0\0\0\0\x05\xff\xff\xff\xff\xff"[..], b"\x01\0\0\0\x01x", b"\x07\0\0\0\0", b"\0\0"] {
        client = client.ready().await.expect("ready");
        let (answer, mut stream) = client.send_request(call("WebhookService/Parse"), false).expect("sent");
        stream.send_data(Bytes::copy_from_slice(body), true).expect("sent");
        let answer = soon("an answer", answer).await.expect("an answer");
        let status = tonic::Status::from_header_map(answer.headers()).expect("a status");
        assert_ne!(status.code(), tonic::Code::Ok, "{body:?}");
    }
    shop.works().await;
}
