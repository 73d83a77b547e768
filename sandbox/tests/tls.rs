//! The chats API over TLS, with the product's own client as the peer.

use amochats::{ChannelSecret, Client, Connect, ErrorKind};
use amochats_sandbox::{Identity, Sandbox, SandboxConfig};
use tokio::net::TcpStream;

fn certificate() -> (String, String) {
    let signed =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".into(), "amojo.example".into()]).expect("signed");
    (signed.cert.pem(), signed.signing_key.serialize_pem())
}

#[tokio::test]
async fn a_client_that_trusts_the_certificate_connects_and_another_does_not() {
    let (certificate, key) = certificate();
    let tls = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a pair");
    let sandbox =
        Sandbox::start(SandboxConfig { tls: Some(tls), ..SandboxConfig::default() }).await.expect("started");
    assert!(sandbox.api_url().starts_with("https://127.0.0.1:"));
    let client = |trusted: bool| {
        let secret = ChannelSecret::new(sandbox.secret()).expect("clean");
        let builder = Client::builder(sandbox.channel_id(), secret).base_url(sandbox.api_url()).send_once();
        if trusted { builder.add_root_certificate(certificate.as_bytes()) } else { builder }
            .build()
            .expect("a client")
    };
    let connect = Connect::new(sandbox.accounts()[0].account_id.clone());

    // A peer that says nothing holds up nobody.
    let _silent = TcpStream::connect(sandbox.api_addr()).await.expect("connected");
    client(true).connect(&connect).await.expect("connected");
    let error = client(false).connect(&connect).await.expect_err("an unknown authority");
    assert_eq!((error.kind(), error.may_have_been_applied()), (ErrorKind::Transport, false));
}

#[test]
fn what_is_no_pair_is_refused_by_name() {
    let (certificate, key) = certificate();
    let (_, other_key) = self::certificate();
    for (certificate, key, field) in [
        ("", key.as_str(), "tls_cert"),
        ("nonsense", &key, "tls_cert"),
        (&certificate, "", "tls_key"),
        (&certificate, &other_key, "tls_key"),
    ] {
        let error = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).expect_err(field);
        assert_eq!(error.field(), Some(field));
    }
}

/// One listener plays the chats host and the hosts of accounts: clients name them, by SNI too.
#[tokio::test]
async fn several_host_names_lead_to_the_same_listener() {
    let names = ["amojo.amocrm.ru", "sandbox.amocrm.ru"];
    let signed = rcgen::generate_simple_self_signed(names.map(str::to_owned)).expect("signed");
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    let tls = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a pair");
    let sandbox =
        Sandbox::start(SandboxConfig { tls: Some(tls), ..SandboxConfig::default() }).await.expect("started");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(signed.cert.der().clone()).expect("a certificate");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    for name in names {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(config.clone())
            .no_proxy()
            .resolve(name, sandbox.api_addr())
            .build()
            .expect("a client");
        let url = format!("https://{name}:{}/v2/origin/custom/none/connect", sandbox.api_addr().port());
        let answer = http.post(url).send().await.expect("the certificate fits");
        assert_eq!(answer.status(), 404, "{name}");
        assert!(answer.text().await.expect("UTF-8").contains("no_such_channel"));
    }
}
