//! `amochats media` against a real server, also one that is killed.

use amochats::{ChannelSecret, sign_body};
use amochats_proto::v1;
use amochats_proto::v1::ingest_response::Outcome;
use amochats_proto::v1::webhook_service_client::WebhookServiceClient;
use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::server::{ACCOUNT, CHANNEL, Home, SECRET, Server};
use amochats_tests::soon;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Endpoint;

async fn media(server: &Server, args: &[&str]) -> Ended {
    let mut command = amochats();
    command.arg("media").args(args).arg("--server").arg(format!("http://{}", server.grpc));
    tokio::task::spawn_blocking(move || run(&mut command, b"")).await.expect("no panic")
}

/// Sends a request and gives the whole answer.
async fn ask(host: &str, request: &[u8]) -> String {
    let mut peer = soon("connection", TcpStream::connect(host)).await.expect("connected");
    peer.write_all(request).await.expect("sent");
    let mut answer = Vec::new();
    soon("answer", peer.read_to_end(&mut answer)).await.expect("readable");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(server: &Server, url: &str) -> String {
    let path = &url[url.find("/media/").expect("a link")..];
    ask(&server.listener, format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_outlives_a_kill() {
    let home = Home::with("[media]\npublic_url = \"https://hooks.example.org/\"\n");
    let file = home.path().join("receipt 1.png");
    fs::write(&file, "png").expect("written");
    let file = file.to_str().expect("plain");
    let server = home.start().await;
    let put = media(&server, &["put", file, "--json"]).await;
    assert_eq!(put.code, 0, "{}", put.stderr);
    let json: Value = serde_json::from_str(&put.stdout).expect("JSON");
    assert_eq!((json["size"].as_u64(), json["content_type"].as_str()), (Some(3), Some("image/png")));
    let url = json["url"].as_str().expect("a link").to_owned();
    assert!(
        url.starts_with("https://hooks.example.org/media/") && url.ends_with("/receipt%201.png"),
        "{url}"
    );
    let plain = media(&server, &["put", file, "--content-type", "text/html", "--file-name", "a"]).await;
    assert_eq!(plain.stdout.lines().count(), 1);
    assert!(get(&server, plain.stdout.trim()).await.contains("content-type: text/html\r\n"));
    server.kill().await;

    let server = home.start().await;
    let answer = get(&server, &url).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\npng"), "{answer}");
    let missing = media(&server, &["put", "nowhere.png"]).await;
    assert_eq!((missing.code, missing.stdout.as_str()), (3, ""));
    assert!(missing.stderr.contains("cannot read nowhere.png"), "{}", missing.stderr);
    let folder = media(&server, &["put", home.path().to_str().expect("plain")]).await;
    assert_eq!((folder.code, folder.stdout.as_str()), (3, ""), "a folder is no file: {}", folder.stderr);
    let refused = media(&server, &["put", file, "--content-type", "png"]).await;
    assert!(refused.code == 2 && refused.stderr.contains("content_type"), "{}", refused.stderr);
    assert_eq!(
        media(&server, &["put", file, "--scope-id", "a_b"]).await.code,
        2,
        "a scope has a conversation"
    );
}

/// A host of one file, which answers only what comes after the first `silent` requests.
async fn host(silent: usize) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let (tell, asked) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        for place in 0.. {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.expect("readable") > 0);
            if place >= silent {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 3\r\n\r\npng";
                stream.write_all(answer).await.expect("sent");
            }
            kept.push(stream);
            let _ = tell.send(());
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attachment_is_fetched_whatever_happens_meanwhile() {
    let (address, mut asked) = host(3).await;
    let home = Home::with(
        "[media]\nfetch = true\nfetch_http = true\nfetch_hosts = [\"127.0.0.1\"]\nfetch_private = [\"127.0.0.1\"]\n",
    );
    let body = format!(
        "{{\"account_id\":\"{ACCOUNT}\",\"time\":1,\"message\":{{\"conversation\":{{\"id\":\"C\"}},\"message\":\
         {{\"id\":\"M\",\"type\":\"picture\",\"text\":\"\",\"media\":\"http://{address}/a.png?sig=planted\"}}}}}}"
    );
    let signature = sign_body(&ChannelSecret::new(SECRET).expect("clean"), body.as_bytes());
    let scope_id = format!("{CHANNEL}_{ACCOUNT}");
    let server = home.start().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc)).expect("an address");
    let mut webhooks = WebhookServiceClient::new(endpoint.connect().await.expect("connected"));
    let kept =
        webhooks.ingest(v1::IngestRequest { scope_id, signature, body: body.into() }).await.expect("kept");
    let Some(Outcome::EventId(event_id)) = kept.into_inner().outcome else { panic!("kept") };
    soon("request", asked.recv()).await.expect("asked");
    let out = home.path().join("out.png");
    let out = out.to_str().expect("plain");
    let early = media(&server, &["get", &event_id, "--out", out]).await;
    assert!(early.code == 1 && early.stderr.contains("not fetched yet"), "{}", early.stderr);
    // In the middle of an attempt, three times.
    server.kill().await;
    for _ in 0..2 {
        let server = home.start().await;
        soon("request", asked.recv()).await.expect("asked again");
        server.kill().await;
    }
    let server = home.start().await;
    soon("request", asked.recv()).await.expect("asked again");
    let got = media(&server, &["get", &event_id, "--wait", "60", "--out", out]).await;
    assert_eq!(got.code, 0, "{}", got.stderr);
    assert_eq!(fs::read_to_string(out).expect("written"), "png");
    let again = media(&server, &["get", &event_id, "--out", out]).await;
    assert_eq!(again.code, 3, "a file that is there is not overwritten: {}", again.stderr);
    assert_eq!(media(&server, &["get", &event_id, "--out", "-"]).await.stdout, "png");
    assert_eq!(media(&server, &["get", "nothing-1", "--out", "-"]).await.code, 1);
    let long = media(&server, &["get", &event_id, "--wait", "301", "--out", "-"]).await;
    assert!(long.code == 2 && long.stderr.contains("0..=300"), "{}", long.stderr);
    server.kill().await;
    let parts = fs::read_dir(format!("{}.media", home.store().display())).expect("the folder");
    let names: Vec<_> = parts.map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(names, [std::ffi::OsString::from(format!("event-{event_id}"))], "no parts are left");
    let log = fs::read_to_string(home.path().join("stderr")).expect("the log");
    assert!(!log.contains("planted"), "what follows the question mark may be a key: {log}");
}
