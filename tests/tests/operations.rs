//! What operators do with `amochats serve` while it runs: reload, accounts, metrics, webhooks by gRPC.

use amochats::{ChannelSecret, SIGNATURE_HEADER, sign_body, sign_request};
use amochats_proto::v1;
use amochats_proto::v1::ingest_response::Outcome;
use amochats_proto::v1::webhook_service_client::WebhookServiceClient;
use amochats_sandbox::{Sandbox, SandboxConfig};
use amochats_tests::command::{amochats, run};
use amochats_tests::server::{ACCOUNT, CHANNEL, Home, SECRET, Server};
use amochats_tests::soon;
use amochats_tests::traffic::{Connection, Consumer, Record};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

fn http() -> reqwest::Client {
    // The provider is named, since a process-wide one may be missing.
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("valid")
}

async fn metrics(server: &Server) -> String {
    let answer = http().get(format!("http://{}/metrics", server.admin)).send().await.expect("an answer");
    answer.text().await.expect("text")
}

async fn counted(server: &Server, line: &str) {
    let line = format!("\n{line}\n");
    soon(&line, async { while !metrics(server).await.contains(&line) {} }).await;
}

async fn hook(server: &Server, channel: &str, id: &str, secret: &str) -> u16 {
    let body = format!(
        "{{\"account_id\":\"{ACCOUNT}\",\"time\":1,\"message\":{{\"message\":{{\"id\":\"{id}\",\"type\":\"text\"}}}}}}"
    );
    let secret = ChannelSecret::new(secret).expect("clean");
    let request = http()
        .post(format!("http://{}/webhook/{channel}_{ACCOUNT}", server.listener))
        .header(SIGNATURE_HEADER, sign_body(&secret, body.as_bytes()));
    request.body(body).send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn a_hang_up_reads_the_configuration_again() {
    let home = Home::new();
    let server = home.start().await;
    let first = fs::read_to_string(home.config()).expect("readable");
    assert_eq!(hook(&server, CHANNEL, "1", "the-next-secret").await, 401);

    let other = "b4490ccc-5d7f-11e7-907b-a6006ad3dba0";
    let next = first.replace(
        &format!("secret = \"{SECRET}\""),
        &format!("secret = \"the-next-secret\"\nold_secrets = [\"{SECRET}\"]"),
    ) + &format!(
        "[[channel]]\nid = \"{other}\"\nsecret = \"its-secret\"\nbase_url = \"http://127.0.0.1:9\"\n"
    );
    fs::write(home.config(), &next).expect("written");
    server.signal("HUP").await;
    counted(&server, "amochats_config_reloads_total{outcome=\"ok\"} 1").await;
    for (channel, id, secret) in
        [(CHANNEL, "2", "the-next-secret"), (CHANNEL, "3", SECRET), (other, "4", "its-secret")]
    {
        assert_eq!(hook(&server, channel, id, secret).await, 200, "{id}");
    }

    fs::write(home.config(), format!("{next}region = \"mars\"\n")).expect("written");
    server.signal("HUP").await;
    counted(&server, "amochats_config_reloads_total{outcome=\"failed\"} 1").await;
    assert_eq!(hook(&server, other, "5", "its-secret").await, 200, "the old configuration stays");

    // The address itself is loopback's still: only its port differs.
    fs::write(
        home.config(),
        next.replace("[listener]\naddress = \"127.0.0.1:0\"", "[listener]\naddress = \"127.0.0.1:1\"")
            + "[outbox]\nrate = 1.0\n",
    )
    .expect("written");
    server.signal("HUP").await;
    counted(&server, "amochats_config_reloads_total{outcome=\"ok\"} 2").await;
    server.signal("TERM").await;
    assert!(server.ended().await.success());
    let log = fs::read_to_string(home.log()).expect("readable");
    assert!(log.contains("a restart is needed for listener.address, outbox"), "{log}");
    assert!(log.contains("the configuration stays as it was"), "{log}");
    for secret in [SECRET, "the-next-secret", "its-secret"] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

fn accounts(server: &Server, args: &[&str]) -> Vec<Value> {
    let mut command = amochats();
    command.arg("accounts").args(args).args(["--server", &format!("http://{}", server.grpc)]);
    let ended = run(&mut command, b"");
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_connected_at_the_start_and_their_state_is_kept() {
    let sandbox = Sandbox::start(SandboxConfig {
        api_addr: ([127, 0, 0, 1], 0).into(),
        page_addr: ([127, 0, 0, 1], 0).into(),
        ..SandboxConfig::default()
    })
    .await
    .expect("started");
    let account = sandbox.accounts()[0].account_id.to_string();
    let home = Home::new();
    let config = fs::read_to_string(home.config()).expect("readable");
    let config = config
        .replace(CHANNEL, sandbox.channel_id().as_str())
        .replace(SECRET, &sandbox.secret())
        .replace("http://127.0.0.1:9", &format!("http://{}", sandbox.api_addr()));
    let wanted = format!("[[channel.account]]\nid = \"{account}\"\nconnect = true\ntitle = \"Shop\"\n");
    fs::write(home.config(), config + &wanted).expect("written");

    let server = home.start().await;
    counted(&server, "amochats_accounts{state=\"connected\"} 1").await;
    let listed = accounts(&server, &["ls"]);
    let shown = |listed: &[Value]| {
        assert_eq!(listed.len(), 1, "{listed:?}");
        [&listed[0]["account_id"], &listed[0]["state"], &listed[0]["title"]]
            .map(|text| text.as_str().map(str::to_owned))
    };
    let as_shown = |state: &str| [Some(account.clone()), Some(state.to_owned()), Some("Shop".to_owned())];
    assert_eq!(shown(&listed), as_shown("connected"));
    accounts(&server, &["disconnect", &account]);
    assert_eq!(shown(&accounts(&server, &["ls"])), as_shown("disconnected"));
    server.kill().await;

    let server = home.start().await;
    assert_eq!(
        shown(&accounts(&server, &["ls"])),
        as_shown("disconnected"),
        "kept, and left as it was wanted"
    );
    accounts(&server, &["connect", &account, "--title", "Shop"]);
    assert_eq!(shown(&accounts(&server, &["ls"])), as_shown("connected"));
    let scope = listed[0]["scope_id"].as_str().expect("a scope");
    accounts(&server, &["forget", scope]);
    assert_eq!(accounts(&server, &["ls"]), Vec::<Value>::new());
    server.kill().await;
    sandbox.shutdown().await;
}

async fn webhooks(server: &Server) -> WebhookServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc)).expect("an address");
    WebhookServiceClient::new(endpoint.connect().await.expect("connected"))
}

#[tokio::test]
async fn a_webhook_by_grpc_is_kept_before_it_is_answered() {
    let home = Home::new();
    let server = home.start().await;
    let mut client = webhooks(&server).await;
    let secret = ChannelSecret::new(SECRET).expect("clean");
    let body = format!(
        "{{\"account_id\":\"{ACCOUNT}\",\"time\":1,\"message\":{{\"conversation\":{{\"id\":\"c\"}},\
         \"message\":{{\"id\":\"c/1\",\"type\":\"text\"}}}}}}"
    );
    let signature = sign_body(&secret, body.as_bytes());
    let request = v1::IngestRequest {
        scope_id: format!("{CHANNEL}_{ACCOUNT}"),
        signature: signature.clone(),
        body: body.clone().into(),
    };
    let kept = client.ingest(request.clone()).await.expect("kept").into_inner();
    server.kill().await;

    let server = home.start().await;
    let mut client = webhooks(&server).await;
    let again = client.ingest(request.clone()).await.expect("known").into_inner();
    assert_eq!(again.outcome, Some(Outcome::Duplicate(true)));
    let record = Record::default();
    let mut consumer = Consumer::open(&server.grpc, 10).await.expect("a stream");
    let event = soon("delivery", consumer.next(&record)).await.expect("deliveries").remove(0).event;
    assert_eq!(kept.outcome, Some(Outcome::EventId(event.expect("an event").event_id)));

    for (scope, signature, code, http) in [
        (format!("{CHANNEL}_{ACCOUNT}"), "0".repeat(40), Code::InvalidArgument, "401"),
        (format!("{CHANNEL}_{ACCOUNT}"), String::new(), Code::InvalidArgument, "401"),
        (format!("other_{ACCOUNT}"), signature.clone(), Code::NotFound, "404"),
    ] {
        let request = v1::IngestRequest { scope_id: scope, signature, body: body.clone().into() };
        let status = client.ingest(request).await.expect_err("refused");
        assert_eq!(status.code(), code);
        let details = String::from_utf8_lossy(status.details()).into_owned();
        assert!(details.contains("http_status") && details.contains(http), "{details}");
    }

    let verify = |signature: &str| v1::VerifyRequest {
        signature: signature.to_owned(),
        body: body.clone().into(),
        ..v1::VerifyRequest::default()
    };
    client.verify(verify(&signature)).await.expect("genuine");
    assert_eq!(
        client.verify(verify(&"0".repeat(40))).await.expect_err("forged").code(),
        Code::InvalidArgument
    );
    let parsed =
        client.parse(v1::ParseRequest { body: body.clone().into() }).await.expect("parsed").into_inner();
    let parsed: Value = serde_json::from_str(&parsed.event_json).expect("JSON");
    assert_eq!(parsed["kind"], "message");
    let status = client.parse(v1::ParseRequest { body: "{".into() }).await.expect_err("no JSON");
    assert_eq!(status.code(), Code::InvalidArgument);

    let date = "Mon, 03 Oct 2020 15:11:21 +0000";
    let request = v1::SignRequest {
        method: "POST".into(),
        path: "/v2/origin/custom/x".into(),
        date: date.into(),
        body: "{}".into(),
        ..v1::SignRequest::default()
    };
    let signed = client.sign(request).await;
    let expected = sign_request(&secret, "POST", "/v2/origin/custom/x", "application/json", date, b"{}");
    match (signed, expected) {
        (Ok(signed), Ok(expected)) => assert_eq!(signed.into_inner().x_signature, expected.x_signature),
        (Err(signed), Err(expected)) => assert_eq!(signed.message(), expected.message()),
        other => panic!("the server and the library differ: {other:?}"),
    }
    server.kill().await;
}

/// The names of metrics in a query.
fn names(query: &str) -> impl Iterator<Item = &str> {
    query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("amochats_"))
}

#[tokio::test]
async fn the_dashboard_asks_for_metrics_that_there_are() {
    let home = Home::new();
    let server = home.start().await;
    let consumer = Consumer::open(&server.grpc, 10).await.expect("a stream");
    let mut connection = Connection::open(&server.listener).await.expect("connected");
    assert_eq!(connection.hook(&("c".to_owned(), 1), 10).await.expect("answered"), 200);
    let shown = metrics(&server).await;
    let samples: BTreeSet<&str> = shown
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../grpc-server/contrib/grafana.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path).expect("readable")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut asked = BTreeSet::new();
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets")) {
        asked.extend(names(target["expr"].as_str().expect("a query")));
    }
    let missing: Vec<_> = asked.difference(&samples).collect();
    assert!(missing.is_empty() && asked.len() > 10, "{missing:?} are not in\n{shown}");
    for line in shown.lines().filter(|line| line.starts_with("# TYPE")) {
        let name = line.split(' ').nth(2).expect("a name");
        assert!(shown.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
    drop(consumer);
    server.kill().await;
}
