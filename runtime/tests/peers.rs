//! Peers that are slow, many, broken or behind a proxy, over plain TCP and TLS: the listener goes on
//! serving the others.

#[expect(dead_code, reason = "some of it is for the inbox")]
mod support;

use amochats::SIGNATURE_HEADER;
use amochats_runtime::{AccountState, Config};
use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use support::{
    ACCOUNT, CHANNEL, SECRET, Wire, World, config, message, request, signature, signed, soon, webhook_path,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

impl World {
    /// Waits until the metrics hold this line.
    async fn counted(&self, line: &str) {
        let line = format!("\n{line}\n");
        soon(&line, async {
            while !self.admin("/metrics").await.body.contains(&line) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

fn with(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = config();
    change(&mut config);
    config
}

#[tokio::test]
async fn a_slow_head_is_cut_and_an_idle_connection_is_not() {
    let world = World::with(with(|config| {
        config.listener.header_timeout_ms = 5000;
        config.listener.keep_alive_timeout_ms = 60_000;
    }))
    .await;
    let mut idle = world.connect().await;
    idle.send(&signed(message("1", "hi").as_bytes())).await;
    assert_eq!(idle.answer().await.status, 200);
    let mut slow = world.connect().await;
    slow.send(b"POST /webhook/").await;
    let mut silent = world.connect().await;
    world.counted("amochats_webhook_connections 3").await;

    world.clock.advance(Duration::from_secs(6));
    assert!(slow.has_ended().await);
    assert!(silent.has_ended().await);
    world.counted("amochats_webhook_connections_ended_total{reason=\"slow\"} 2").await;
    idle.send(&signed(message("2", "hi").as_bytes())).await;
    assert_eq!(idle.answer().await.status, 200, "an idle connection outlives the time for a head");

    // A head that begins on an idle connection has its own time.
    idle.send(b"POST /webhook/").await;
    let more = signed(message("3", "hi").as_bytes());
    idle.send(&more[b"POST /webhook/".len()..]).await;
    assert_eq!(idle.answer().await.status, 200);
    world.clock.advance(Duration::from_secs(61));
    assert!(idle.has_ended().await, "silent for too long");
    world.counted("amochats_webhook_connections_ended_total{reason=\"idle\"} 1").await;
    assert_eq!(world.hook(message("4", "hi").as_bytes()).await.status, 200);
}

#[tokio::test]
async fn one_peer_cannot_take_all_connections() {
    let world = World::with(with(|config| config.listener.max_connections_per_peer = 2)).await;
    let mut first = world.connect().await;
    let _second = world.connect().await;
    world.counted("amochats_webhook_connections 2").await;
    assert!(world.connect().await.has_ended().await);
    world.counted("amochats_webhook_connections_ended_total{reason=\"per_peer\"} 1").await;

    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.2:0".parse().expect("an address")).expect("another loopback address");
    let other = socket.connect(world.runtime.listener_address()).await.expect("connected");
    let mut other = Wire::over(other);
    other.send(&signed(message("1", "hi").as_bytes())).await;
    assert_eq!(other.answer().await.status, 200, "another peer has its own");
    first.send(&signed(message("2", "hi").as_bytes())).await;
    assert_eq!(first.answer().await.status, 200);
}

#[tokio::test]
async fn a_thousand_idle_connections_keep_nobody_out() {
    let world = World::with(with(|config| {
        config.listener.max_connections = 20;
        config.listener.max_connections_per_peer = 10_000;
    }))
    .await;
    let mut vendor = world.connect().await;
    vendor.send(&signed(message("0", "hi").as_bytes())).await;
    assert_eq!(vendor.answer().await.status, 200);
    let mut idle = Vec::new();
    for number in 0..1000 {
        idle.push(world.connect().await);
        if number % 250 == 0 {
            assert_eq!(world.hook(message(&number.to_string(), "hi").as_bytes()).await.status, 200);
        }
    }
    assert_eq!(world.hook(message("x", "hi").as_bytes()).await.status, 200);
    let metrics = world.admin("/metrics").await.body;
    let open = metrics.lines().find_map(|line| line.strip_prefix("amochats_webhook_connections "));
    let open: usize = open.and_then(|count| count.parse().ok()).expect("counted");
    assert!(open <= 20, "{open} connections are open");
    vendor.send(&signed(message("y", "hi").as_bytes())).await;
    assert_eq!(vendor.answer().await.status, 200, "who has sent webhooks goes last");
}

#[tokio::test]
async fn all_connections_busy_is_no_reason_to_cut_one() {
    let world = World::with(with(|config| config.listener.max_connections = 2)).await;
    world.store.hold();
    let mut busy = [world.connect().await, world.connect().await];
    for (number, wire) in busy.iter_mut().enumerate() {
        wire.send(&signed(message(&number.to_string(), "hi").as_bytes())).await;
    }
    world.store.reached(2).await;
    let mut late = world.connect().await;
    late.send(&signed(message("late", "hi").as_bytes())).await;
    world.settle_down().await;
    assert!(late.is_silent(), "it waits for its turn");
    world.store.let_go();
    for wire in &mut busy {
        assert_eq!(wire.answer().await.status, 200);
    }
    assert_eq!(late.answer().await.status, 200);
}

#[tokio::test]
async fn garbage_behind_a_hook_costs_only_its_connection() {
    let mut world = World::new().await;
    let mut wire = world.connect().await;
    let hook = signed(message("1", "hi").as_bytes());
    wire.send(&[&hook[..], b"\0\x01garbage\r\n\r\n", &hook[..]].concat()).await;
    assert_eq!(wire.answer().await.status, 200);
    assert_eq!(wire.answer().await.status, 400);
    assert!(wire.has_ended().await);
    assert_eq!(world.next().await.event.raw, message("1", "hi"));
    assert_eq!(world.store.appends(), 1, "what follows garbage is no request");
    assert_eq!(world.hook(message("2", "hi").as_bytes()).await.status, 200);
}

#[tokio::test]
async fn a_peer_that_closes_its_side_gets_its_answer() {
    let world = World::new().await;
    world.store.hold();
    let mut wire = world.connect().await;
    wire.send(&signed(message("1", "hi").as_bytes())).await;
    wire.finish().await;
    world.store.reached(1).await;
    world.store.let_go();
    assert_eq!(wire.answer().await.status, 200);
    assert!(wire.has_ended().await);
}

fn behind_proxy(config: &mut Config) {
    config.listener.trusted_proxies = vec!["127.0.0.0/8".into()];
    config.listener.proxy_protocol = true;
    config.listener.max_connections_per_peer = 1;
}

#[tokio::test]
async fn a_trusted_proxy_names_the_peer() {
    let world = World::with(with(behind_proxy)).await;
    let hook = signed(message("1", "hi").as_bytes());
    let v1 = b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 443\r\n";
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    v2.extend([192, 0, 2, 1, 198, 51, 100, 1, 15, 160, 1, 187]);
    let mut first = world.connect().await;
    first.send(&[&v1[..], &hook].concat()).await;
    assert_eq!(first.answer().await.status, 200);
    let mut second = world.connect().await;
    second.send(&v2).await;
    assert!(second.has_ended().await, "the same peer a second time");
    world.counted("amochats_webhook_connections_ended_total{reason=\"per_peer\"} 1").await;
    let mut third = world.connect().await;
    third.send(&[b"PROXY TCP6 2001:db8::1 2001:db8::2 4000 443\r\n", &hook[..]].concat()).await;
    assert_eq!(third.answer().await.status, 200);
    for of_its_own in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"] {
        let mut wire = world.connect().await;
        wire.send(&[of_its_own, &hook[..]].concat()).await;
        assert_eq!(wire.answer().await.status, 200, "a health check of the proxy's own");
    }
    for broken in [&hook[..], b"PROXY TCP4 x\r\n", &[b'P'; 200], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"] {
        let mut wire = world.connect().await;
        wire.send(broken).await;
        assert!(wire.has_ended().await);
    }
    world.counted("amochats_webhook_connections_ended_total{reason=\"proxy_header\"} 4").await;
}

#[tokio::test]
async fn nobody_else_speaks_the_proxy_protocol() {
    let world = World::with(with(|config| {
        behind_proxy(config);
        config.listener.trusted_proxies = vec!["10.0.0.0/8".into()];
    }))
    .await;
    let hook = signed(message("1", "hi").as_bytes());
    assert_eq!(world.ask(&hook).await.status, 200, "a direct peer goes without");
    let header = b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 443\r\n";
    assert_eq!(world.ask(&[&header[..], &hook].concat()).await.status, 400);
}

#[tokio::test]
async fn further_paths_are_webhook_addresses_too() {
    let paths = vec!["/old/hooks/:scope_id".into()];
    let world = World::with(with(|config| config.listener.more_webhook_paths = paths)).await;
    let body = message("1", "hi");
    let sign = signature(SECRET, body.as_bytes());
    for (path, status) in [("/old/hooks", 200), ("/webhook", 200), ("/old", 404)] {
        let hook =
            request(&format!("{path}/{CHANNEL}_{ACCOUNT}"), &[(SIGNATURE_HEADER, &sign)], body.as_bytes());
        assert_eq!(world.ask(&hook).await.status, status, "{path}");
    }
}

/// A certificate of its own in two files, and a client that trusts only it.
struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    fn new() -> Self {
        let certificate = Self { folder: tempfile::tempdir().expect("a folder") };
        certificate.renew();
        certificate
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a new certificate over the old one.
    fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        std::fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).expect("written");
        std::fs::write(self.path("cert.pem"), made.cert.pem()).expect("written");
    }

    fn client(&self, protocol: &str) -> tokio_rustls::TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        let pem = CertificateDer::from_pem_file(self.path("cert.pem")).expect("a certificate");
        roots.add(pem).expect("a root");
        let mut config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config).into()
    }

    async fn connect(
        &self,
        address: SocketAddr,
        protocol: &str,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        self.client(protocol).connect(ServerName::try_from("localhost").expect("a name"), stream).await
    }

    fn configure(&self, config: &mut Config) {
        config.listener.tls_cert = self.path("cert.pem");
        config.listener.tls_key = self.path("key.pem");
    }
}

#[tokio::test]
async fn hooks_come_over_tls_with_both_versions_of_http() {
    let certificate = Certificate::new();
    let world = World::with(with(|config| certificate.configure(config))).await;
    let address = world.runtime.listener_address();
    let mut stream = certificate.connect(address, "http/1.1").await.expect("greeted");
    stream.write_all(&signed(message("1", "hi").as_bytes())).await.expect("sent");
    let mut answer = [0; 12];
    soon("answer", stream.read_exact(&mut answer)).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");

    let stream = certificate.connect(address, "h2").await.expect("greeted");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    for id in ["2", "3"] {
        let body = message(id, "hi");
        let hook = http::Request::post(format!("https://localhost{}", webhook_path()))
            .header(SIGNATURE_HEADER, signature(SECRET, body.as_bytes()))
            .body(())
            .expect("a request");
        client = client.ready().await.expect("ready");
        let (answer, mut stream) = client.send_request(hook, false).expect("sent");
        stream.send_data(Bytes::from(body), true).expect("sent");
        assert_eq!(soon("answer", answer).await.expect("an answer").status(), 200);
    }
    world.counted("amochats_webhook_connections 2").await;
    world.clock.advance(Duration::from_secs(80));
    world.counted("amochats_webhook_connections 0").await;
}

#[tokio::test]
async fn plain_bytes_and_silence_do_not_get_past_the_greeting() {
    let certificate = Certificate::new();
    let world = World::with(with(|config| certificate.configure(config))).await;
    let mut plain = world.connect().await;
    plain.send(&signed(message("1", "hi").as_bytes())).await;
    world.counted("amochats_webhook_connections_ended_total{reason=\"tls\"} 1").await;
    let mut silent = world.connect().await;
    world.counted("amochats_webhook_connections 1").await;
    world.clock.advance(Duration::from_secs(6));
    assert!(silent.has_ended().await);
    assert_eq!(world.store.appends(), 0);
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let certificate = Certificate::new();
    let world = World::with(with(|config| certificate.configure(config))).await;
    let address = world.runtime.listener_address();
    certificate.renew();
    assert!(certificate.connect(address, "h2").await.is_err(), "not yet looked at");
    world.clock.advance(Duration::from_secs(31));
    world.counted("amochats_tls_certificate_loads_total{outcome=\"ok\"} 1").await;
    certificate.connect(address, "h2").await.expect("the new one");

    let good = std::fs::read(certificate.path("cert.pem")).expect("readable");
    std::fs::write(certificate.path("cert.pem"), "no certificate").expect("written");
    world.clock.advance(Duration::from_secs(31));
    world.counted("amochats_tls_certificate_loads_total{outcome=\"failed\"} 1").await;
    std::fs::write(certificate.path("cert.pem"), good).expect("written");
    certificate.connect(address, "h2").await.expect("the old one stays");

    certificate.renew();
    world.runtime.reload(&with(|config| certificate.configure(config))).expect("reloaded");
    certificate.connect(address, "h2").await.expect("the newest one, asked for");
}

/// The configuration of the tests with more of one channel.
fn channel(more: &str) -> Config {
    let toml = format!(
        "listener.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
         [[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\nbase_url = \"http://127.0.0.1:9\"\n{more}"
    );
    Config::load(&toml, []).expect("a valid configuration")
}

#[tokio::test]
async fn an_old_secret_counts_until_its_end() {
    // The clock of the tests starts at 2023-11-14T22:13:20Z.
    let old = "old_secrets = [\"for-ever\", { value = \"ending\", until = \"2023-11-14T22:13:30Z\" }]\n";
    let world = World::with(channel(old)).await;
    let status = async |id: &str, secret: &str| {
        let body = message(id, "hi");
        world.post(body.as_bytes(), &signature(secret, body.as_bytes())).await.status
    };
    assert_eq!(
        [status("1", SECRET).await, status("2", "ending").await, status("3", "for-ever").await],
        [200; 3]
    );
    world.clock.advance(Duration::from_secs(9));
    assert_eq!(status("4", "ending").await, 200);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(
        [status("5", "ending").await, status("6", "for-ever").await, status("7", SECRET).await],
        [401, 200, 200]
    );
}

#[tokio::test]
async fn channels_and_secrets_change_under_way_and_a_bad_configuration_changes_nothing() {
    let world = World::with(channel("")).await;
    let body = message("1", "hi");
    let new = channel("").channels.remove(0);
    let mut config = channel("");
    config.channels[0].secret = Some("the-next-secret".into());
    config.channels[0].old_secrets = vec![SECRET.to_owned().into()];
    let mut second = new.clone();
    second.id = "b4490ccc".into();
    config.channels.push(second);
    let elsewhere = format!("/webhook/b4490ccc_{ACCOUNT}");
    let sign = signature(SECRET, body.as_bytes());
    let to_second = request(&elsewhere, &[(SIGNATURE_HEADER, &sign)], body.as_bytes());
    assert_eq!(world.ask(&to_second).await.status, 404);

    let mut kept = world.connect().await;
    kept.send(&signed(message("2", "hi").as_bytes())).await;
    assert_eq!(kept.answer().await.status, 200);
    assert_eq!(world.runtime.reload(&config).expect("valid"), Vec::<&str>::new());
    assert_eq!(world.ask(&to_second).await.status, 200);
    for secret in [SECRET, "the-next-secret"] {
        assert_eq!(world.post(body.as_bytes(), &signature(secret, body.as_bytes())).await.status, 200);
    }
    kept.send(&signed(message("3", "hi").as_bytes())).await;
    assert_eq!(kept.answer().await.status, 200, "a connection outlives the change");

    let mut broken = config.clone();
    broken.channels[0].secret = Some(" ".into());
    world.runtime.reload(&broken).expect_err("a bad secret");
    assert_eq!(world.ask(&to_second).await.status, 200);

    let mut fewer = channel("");
    fewer.listener.max_connections_per_peer = 1;
    fewer.store.path = "elsewhere.db".into();
    assert_eq!(world.runtime.reload(&fewer).expect("valid"), ["store"], "what needs a restart is named");
    kept.send(&to_second).await;
    assert_eq!(kept.answer().await.status, 404, "a removed channel is gone");
    assert!(world.connect().await.has_ended().await, "the new limit holds: one is open");
}

/// `verify_disable_hook`'s example: integration, account and signature belong together.
const INTEGRATION: &str = "client_id = \"dbcb764d-b02d-4a3b-bc4d-25e1d80fdcad\"\nclient_secret = \"secret-of-integration\"\n\
     [[channel.account]]\nid = \"13fa84f7-6b61-4086-98ed-0a9de19ee15c\"\ncrm_account_id = 11223344\n";
const DISABLED: &str = "account_id=11223344&client_uuid=dbcb764d-b02d-4a3b-bc4d-25e1d80fdcad";
const DISABLED_SIGNATURE: &str = "59ee1bc5e857eb345c1408c2710748f973acc270dafe8741816a5fac5669f1db";

#[tokio::test]
async fn accounts_are_discovered_and_only_the_vendor_disables_them() {
    let world = World::with(channel(INTEGRATION)).await;
    let get = async |query: String| {
        let request = format!("GET /disable?{query} HTTP/1.1\r\nHost: amochats\r\n\r\n");
        world.ask(request.as_bytes()).await.status
    };
    let state =
        || world.runtime.channels().accounts().list().into_iter().map(|a| a.state).collect::<Vec<_>>();
    assert_eq!(state(), []);
    assert_eq!(world.hook(message("1", "hi").as_bytes()).await.status, 200);
    assert_eq!(state(), [AccountState::Discovered]);
    world.counted("amochats_accounts{state=\"discovered\"} 1").await;

    assert_eq!(get(DISABLED.into()).await, 401);
    assert_eq!(get(format!("{DISABLED}&signature={}", "0".repeat(64))).await, 401);
    assert_eq!(get(format!("account_id=1&client_uuid=other&signature={DISABLED_SIGNATURE}")).await, 404);
    assert_eq!(get(String::new()).await, 400);
    assert_eq!(state(), [AccountState::Discovered]);
    assert_eq!(get(format!("{DISABLED}&signature={DISABLED_SIGNATURE}")).await, 200);
    assert_eq!(state(), [AccountState::Disabled]);
    world.counted("amochats_accounts{state=\"disabled\"} 1").await;
}
