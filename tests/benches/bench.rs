//! What amochats costs against the least that could be done in its place, measured in the same run
//! by turns, so that a busy or slow machine hits both alike. `make bench` runs it; numbers of
//! different machines compare only by their ratio.

use amochats::{AccountId, ChannelId, ChannelSecret, ScopeId, parse_webhook, sign_body, verify_webhook};
use amochats_runtime::store::Start;
use amochats_runtime::{Config, Runtime};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

const ROUNDS: usize = 7;
const HOOKS_A_PARSING_ROUND: u32 = 20_000;
const CONNECTIONS: usize = 64;
const LISTENING_ROUND: Duration = Duration::from_secs(2);

fn main() {
    parsing();
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(listening());
}

/// A message webhook of 1.2 KB, signed, with an id of its own.
struct Hook {
    body: String,
    signature: String,
}

impl Hook {
    fn new(secret: &ChannelSecret, number: usize) -> Self {
        let text = "Добрый день! Ваш заказ собран. ".repeat(12);
        let body = format!(
            r#"{{"account_id":"{ACCOUNT}","time":1704067201,"message":{{"receiver":{{"id":"2ed64e26-70a1-4857-8382-bb066a076219","phone":"","email":"","client_id":"client-{conversation}"}},"sender":{{"id":"76fc2bea-902f-425c-9a3d-dcdac4766090"}},"conversation":{{"id":"8e4d4baa-9e6c-4a88-838a-{conversation:012}","client_id":"chat-{conversation}"}},"timestamp":1704067200,"msec_timestamp":1704067200980,"message":{{"id":"0371a0ff-b78a-4c7b-8538-{number:012}","type":"text","text":"{text}","markup":null,"tag":"","media":"","thumbnail":"","file_name":"","file_size":0}}}}}}"#,
            conversation = number % 5000,
        );
        let signature = sign_body(secret, body.as_bytes());
        Self { body, signature }
    }
}

/// To verify and parse a webhook, against a `serde_json::Value` of its body alone.
fn parsing() {
    let secrets = [ChannelSecret::new(SECRET).expect("a clean secret")];
    let hook = Hook::new(&secrets[0], 1);
    let body = hook.body.as_bytes();
    let ours = || {
        let verified = verify_webhook(&secrets, black_box(body), Some(&hook.signature)).expect("genuine");
        black_box(parse_webhook(verified).expect("well-formed"));
    };
    let baseline = || {
        black_box(serde_json::from_slice::<serde_json::Value>(black_box(body)).expect("JSON"));
    };
    let timed = |work: &dyn Fn()| {
        let started = Instant::now();
        (0..HOOKS_A_PARSING_ROUND).for_each(|_| work());
        started.elapsed().as_secs_f64() * 1e6 / f64::from(HOOKS_A_PARSING_ROUND)
    };
    let (mut taken, mut least) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        least.push(timed(&baseline));
        taken.push(timed(&ours));
    }
    println!("A webhook of {} bytes, in microseconds: median (least to most of {ROUNDS} rounds)", body.len());
    println!("  serde_json::Value of the body              {}", spread(&least, 2));
    println!("  verify_webhook + parse_webhook             {}", spread(&taken, 2));
    println!(
        "  verified and parsed takes {:.2} times as long as parsed without types\n",
        ratio(&taken, &least)
    );
}

/// Webhooks that are kept on disk before their 200, against a bare hyper server that reads the body
/// and answers 200. The load comes from the same process, so both share the cores with it.
async fn listening() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = folder.path().join("bench.db");
    let toml = format!(
        r#"
        listener.address = "127.0.0.1:0"
        admin.address = "127.0.0.1:0"
        store.path = '{}'
        [[channel]]
        id = "{CHANNEL}"
        secret = "{SECRET}"
        base_url = "http://127.0.0.1:9"
        "#,
        store.display(),
    );
    let config = Config::load(&toml, []).expect("a valid configuration");
    let runtime = Runtime::start(config).await.expect("the runtime starts");
    runtime.inbox().create_subscription("bench", Start::Oldest).await.expect("new");

    let bare = bare_server().await;
    let mut load = Load { secret: ChannelSecret::new(SECRET).expect("a clean secret"), sent: 0 };
    let (mut kept, mut answered, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    let mut all_kept = 0;
    // The first round only warms up.
    for round in 0..=ROUNDS {
        let least = load.round(bare).await;
        let mut ours = load.round(runtime.listener_address()).await;
        all_kept += ours.len() as u64;
        if round > 0 {
            answered.push(rate(&least));
            kept.push(rate(&ours));
            waits.append(&mut ours);
        }
    }
    let state = runtime.inbox().subscriptions().await.expect("the store answers");
    assert_eq!(state[0].unsettled, all_kept, "every 200 is one event in the store");
    runtime.shutdown(Duration::from_secs(10)).await;

    waits.sort_unstable();
    let wait = |percent: usize| waits[(waits.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "Webhooks a second, {CONNECTIONS} connections, every one signed and new: median (least to most of {ROUNDS} rounds)"
    );
    println!("  hyper reads the body and answers 200       {}", spread(&answered, 0));
    println!("  amochats verifies it, keeps it in SQLite   {}", spread(&kept, 0));
    println!("    with a sync before its 200");
    println!("  kept on disk is {:.2} of what is answered at once", ratio(&kept, &answered));
    println!(
        "  the wait for the 200: median {:.1} ms, 99 % below {:.1} ms, longest {:.1} ms (the vendor waits 5000)",
        wait(50),
        wait(99),
        wait(100),
    );
}

async fn bare_server() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = hyper::service::service_fn(|request: Request<Incoming>| async {
                let read = request.into_body().collect().await;
                read.map(|_| Response::new(Empty::<Bytes>::new()))
            });
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, answer));
        }
    });
    address
}

struct Load {
    secret: ChannelSecret,
    sent: usize,
}

impl Load {
    /// Sends webhooks for one round, as many as are answered; says how long each one waited.
    async fn round(&mut self, address: SocketAddr) -> Vec<Duration> {
        let scope = ScopeId::of(&ChannelId::new(CHANNEL), &AccountId::new(ACCOUNT));
        let end = Instant::now() + LISTENING_ROUND;
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let (secret, scope) = (self.secret.clone(), scope.clone());
                let first = self.sent + connection;
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.expect("the server listens");
                    stream.set_nodelay(true).expect("a TCP socket");
                    let mut waits = Vec::new();
                    let mut number = first;
                    while Instant::now() < end {
                        let request = request(&Hook::new(&secret, number), scope.as_str());
                        let started = Instant::now();
                        post(&mut stream, &request).await;
                        waits.push(started.elapsed());
                        number += CONNECTIONS;
                    }
                    waits
                })
            })
            .collect();
        let mut waits = Vec::new();
        let mut most = 0;
        for sender in senders {
            let one = sender.await.expect("every webhook is answered 200");
            most = most.max(one.len());
            waits.extend(one);
        }
        self.sent += most * CONNECTIONS;
        waits
    }
}

fn request(hook: &Hook, scope: &str) -> Vec<u8> {
    format!(
        "POST /webhook/{scope} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         x-signature: {}\r\ncontent-length: {}\r\n\r\n{}",
        hook.signature,
        hook.body.len(),
        hook.body,
    )
    .into_bytes()
}

/// Sends a request and reads its answer, which is small and comes in one piece or two.
async fn post(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).await.expect("the server reads");
    let mut answer = Vec::with_capacity(256);
    loop {
        let read = stream.read_buf(&mut answer).await.expect("the server answers");
        assert!(read > 0, "the server closed the connection");
        let text = std::str::from_utf8(&answer).expect("an answer in ASCII");
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200 "), "answered {text}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.and_then(|length| length.parse().ok()) == Some(body.len()) {
            return;
        }
    }
}

fn rate(waits: &[Duration]) -> f64 {
    f64::from(u32::try_from(waits.len()).expect("a round is short")) / LISTENING_ROUND.as_secs_f64()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The median of the rounds' ratios.
fn ratio(of: &[f64], to: &[f64]) -> f64 {
    median(&of.iter().zip(to).map(|(of, to)| of / to).collect::<Vec<_>>())
}

fn spread(values: &[f64], digits: usize) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{:.digits$} ({least:.digits$} to {most:.digits$})", median(values))
}
