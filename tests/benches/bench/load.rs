//! The load: the same generator for every server.

use crate::{ACCOUNT, CHANNEL, CONNECTIONS};
use amochats::{AccountId, ChannelId, ChannelSecret, ScopeId, sign_body};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A message webhook of 633 bytes, signed, with an id of its own; ready to be sent.
pub(crate) struct Hook {
    request: Vec<u8>,
    signature: std::ops::Range<usize>,
    body: usize,
}

impl Hook {
    pub(crate) fn new(secret: &ChannelSecret, number: u64) -> Self {
        let conversation = number % 5000;
        let scope = ScopeId::of(&ChannelId::new(CHANNEL), &AccountId::new(ACCOUNT));
        let body = format!(
            r#"{{"account_id":"{ACCOUNT}","time":1704067201,"message":{{"receiver":{{"id":"2ed64e26-70a1-4857-8382-bb066a076219","phone":"","email":"","client_id":"client-{conversation:04}"}},"sender":{{"id":"76fc2bea-902f-425c-9a3d-dcdac4766090"}},"conversation":{{"id":"8e4d4baa-9e6c-4a88-838a-{conversation:012}","client_id":"chat-{conversation:04}"}},"timestamp":1704067200,"msec_timestamp":1704067200980,"message":{{"id":"{:08x}-b78a-4c7b-8538-{number:012}","type":"text","text":"Your order has been put together and is waiting for you at the desk until seven this evening.","markup":null,"tag":"","media":"","thumbnail":"","file_name":"","file_size":0}}}}}}"#,
            // As random as the vendor's ids are.
            (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32),
        );
        let signature = sign_body(secret, body.as_bytes());
        let head = format!(
            "POST /webhook/{scope} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nx-signature: {signature}\r\n\r\n",
            body.len(),
        );
        let end = head.len() - 4;
        Self {
            signature: end - signature.len()..end,
            body: head.len(),
            request: [head, body].concat().into(),
        }
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.request[self.body..]
    }

    pub(crate) fn signature(&self) -> &str {
        std::str::from_utf8(&self.request[self.signature.clone()]).expect("hex")
    }
}

pub(crate) struct Load {
    secret: ChannelSecret,
    number: Arc<AtomicU64>,
}

impl Load {
    pub(crate) fn new(secret: &str) -> Self {
        Self { secret: ChannelSecret::new(secret).expect("a clean secret"), number: Arc::default() }
    }

    pub(crate) fn next(&self) -> Hook {
        Hook::new(&self.secret, self.number.fetch_add(1, Ordering::Relaxed))
    }

    fn another(&self) -> Self {
        Self { secret: self.secret.clone(), number: self.number.clone() }
    }

    /// Sends webhooks for one round, as many as are answered; says how long each one waited.
    pub(crate) async fn round(&mut self, address: SocketAddr, length: Duration) -> Vec<Duration> {
        let end = Instant::now() + length;
        self.senders(address, move |_| (Instant::now() < end).then(Instant::now)).await
    }

    /// Sends so many webhooks.
    pub(crate) async fn hooks(&mut self, address: SocketAddr, count: u64) {
        let count = count / CONNECTIONS as u64;
        self.senders(address, move |sent| (sent < count).then(Instant::now)).await;
    }

    /// Sends webhooks at a rate that does not wait for answers; each one's wait counts from the
    /// moment at which it is due, so that a stall is seen by all that come into it.
    pub(crate) async fn steady(&mut self, address: SocketAddr, rate: u32, length: Duration) -> Vec<Duration> {
        let connections = u32::try_from(CONNECTIONS).expect("few");
        let (start, end) = (Instant::now(), Instant::now() + length);
        let mut tasks = Vec::new();
        for connection in 0..connections {
            let load = self.another();
            tasks.push(tokio::spawn(async move {
                let mut wire = Wire::connect(address).await;
                let mut waits = Vec::new();
                for turn in 0.. {
                    let due = start + Duration::from_secs(1) * (turn * connections + connection) / rate;
                    if due >= end {
                        break;
                    }
                    let hook = load.next();
                    sleep_until(due).await;
                    wire.post(&hook.request).await;
                    waits.push(due.elapsed());
                }
                waits
            }));
        }
        let mut waits = Vec::new();
        for task in tasks {
            waits.extend(task.await.expect("every webhook is answered 200"));
        }
        waits
    }

    async fn senders(
        &self,
        address: SocketAddr,
        go_on: impl Fn(u64) -> Option<Instant> + Clone + Send + 'static,
    ) -> Vec<Duration> {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (load, go_on) = (self.another(), go_on.clone());
                tokio::spawn(async move {
                    let mut wire = Wire::connect(address).await;
                    let mut waits = Vec::new();
                    while go_on(waits.len() as u64).is_some() {
                        let hook = load.next();
                        let started = Instant::now();
                        wire.post(&hook.request).await;
                        waits.push(started.elapsed());
                    }
                    waits
                })
            })
            .collect();
        let mut waits = Vec::new();
        for sender in senders {
            waits.extend(sender.await.expect("every webhook is answered 200"));
        }
        waits
    }
}

/// The asynchronous timer counts in milliseconds, which is as much as is measured here.
async fn sleep_until(due: Instant) {
    let ahead = due.saturating_duration_since(Instant::now());
    tokio::time::sleep(ahead.saturating_sub(Duration::from_millis(1))).await;
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}

struct Wire {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Wire {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, answer: Vec::with_capacity(512) }
    }

    /// Sends a request and reads its answer, which is small and comes in one piece or two.
    async fn post(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.expect("the server reads");
        self.answer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.answer).await.expect("the server answers");
            assert!(read > 0, "the server closed the connection");
            let text = std::str::from_utf8(&self.answer).expect("an answer in ASCII");
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            assert!(head.starts_with("HTTP/1.1 200 "), "answered {text}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.and_then(|length| length.parse().ok()) == Some(body.len()) {
                return;
            }
        }
    }
}
