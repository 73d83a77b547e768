//! A hand-written HTTP peer that records the bytes it gets and answers anything.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What the peer does once it has read a request.
#[derive(Clone)]
pub(crate) enum Then {
    Answer(Vec<u8>),
    /// Answers in chunks until the other side hangs up.
    AnswerForever,
    Cut,
    /// Begins an answer, or none, and goes silent.
    Stall(&'static str),
}

/// An answer that ends the connection.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Then {
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}");
    Then::Answer(text.into_bytes())
}

/// A request as it came over the wire.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is sent once");
        value.map(|(_, value)| value.as_str())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Serves every connection the same way, as long as the test's runtime lives.
pub(crate) async fn peer(then: Then) -> (String, mpsc::UnboundedReceiver<Recorded>) {
    peer_with(move |_| then.clone()).await
}

/// Serves every connection as the request asks for.
pub(crate) async fn peer_with(
    choose: impl Fn(&Recorded) -> Then + Send + Sync + 'static,
) -> (String, mpsc::UnboundedReceiver<Recorded>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (recorded, requests) = mpsc::unbounded_channel();
    let choose = Arc::new(choose);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (choose, recorded) = (Arc::clone(&choose), recorded.clone());
            tokio::spawn(async move { serve_with(stream, &*choose, recorded).await });
        }
    });
    (url, requests)
}

pub(crate) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    then: Then,
    recorded: mpsc::UnboundedSender<Recorded>,
) {
    serve_with(stream, |_| then.clone(), recorded).await;
}

async fn serve_with(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    choose: impl Fn(&Recorded) -> Then,
    recorded: mpsc::UnboundedSender<Recorded>,
) {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).expect("an ASCII head");
    let mut lines = head.split("\r\n").map(str::to_owned);
    let mut request = Recorded {
        line: lines.next().expect("a request line"),
        headers: lines
            .map(|line| line.split_once(": ").map(|(n, v)| (n.into(), v.into())).expect("a header"))
            .collect(),
        body: bytes.split_off(head_end + 4),
    };
    let length = request.header("Content-Length").map_or(0, |length| length.parse().expect("a number"));
    while request.body.len() < length {
        assert_ne!(stream.read_buf(&mut request.body).await.expect("the rest of the body"), 0);
    }
    assert_eq!(request.body.len(), length, "nothing follows the body");
    let then = choose(&request);
    recorded.send(request).ok();
    match then {
        Then::Answer(answer) => {
            stream.write_all(&answer).await.ok();
            stream.shutdown().await.ok();
        }
        Then::AnswerForever => {
            let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.ok();
            while stream.write_all(&chunk).await.is_ok() {}
        }
        Then::Cut => {}
        Then::Stall(beginning) => {
            stream.write_all(beginning.as_bytes()).await.expect("the client waits");
            std::future::pending::<()>().await;
        }
    }
}
