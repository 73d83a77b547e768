//! `amochats dev` as its users start it: the ready line, the whole round trip, the end.

use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::secrecy::{self, TEXT};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// Far above what anything here takes: a test that waits for nothing ends.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("nothing came: {what}"))
}

/// A running `amochats dev`.
struct Dev {
    child: Child,
    stdout: BufReader<tokio::process::ChildStdout>,
    ready: Value,
    http: reqwest::Client,
}

impl Dev {
    /// Starts it with free ports and this folder for temporary files.
    async fn start(temp: &Path, args: &[&str]) -> Self {
        let zero = "127.0.0.1:0";
        let mut command = amochats();
        command.args(["dev", "--page", zero, "--grpc", zero]).args(args);
        Self::spawn(command, temp).await
    }

    async fn spawn(mut command: std::process::Command, temp: &Path) -> Self {
        command
            .env("TMPDIR", temp)
            .env("RUST_LOG", secrecy::LOG)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = Command::from(command).kill_on_drop(true).spawn().expect("the command starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        soon("the ready line", stdout.read_line(&mut line)).await.expect("UTF-8");
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a ready line: {line:?}"));
        Self { child, stdout, ready, http: http() }
    }

    fn said(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap_or_else(|| panic!("{key} is missing: {}", self.ready))
    }

    async fn get(&self, server: &str, path: &str) -> Value {
        let response = self.http.get(format!("{}{path}", self.said(server))).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.expect("JSON")
    }

    async fn post(&self, server: &str, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.said(server))).json(body);
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.expect("JSON")
    }

    /// What is at `path` as soon as it is as expected; looked at after each change of the server.
    async fn until(&self, server: &str, path: &str, expected: impl Fn(&Value) -> bool) -> Value {
        let changes = self.http.get(format!("{}/api/events", self.said(server))).send();
        let mut changes = changes.await.expect("an answer");
        soon(path, async {
            loop {
                let seen = self.get(server, path).await;
                if expected(&seen) {
                    return seen;
                }
                changes.chunk().await.expect("it goes on").expect("it goes on");
            }
        })
        .await
    }

    /// The client writes; returns where the chat is in the CRM.
    async fn client_writes(&self, id: &str, text: &str) -> String {
        self.post("messenger", "/api/messages", &json!({ "message_id": id, "text": text })).await;
        let chats = self
            .until("page", "/api/chats", |seen| seen["chats"][0]["last_message"]["content"]["text"] == text)
            .await;
        format!("/api/chats/{}", chats["chats"][0]["conversation_ref_id"].as_str().expect("an id"))
    }

    async fn manager_writes(&self, chat: &str, text: &str) {
        let sent = self.post("page", &format!("{chat}/messages"), &json!({ "text": text })).await;
        assert_eq!(sent["hook"]["name"], "accepted");
    }

    /// The next event of the subscription `crm`, by the command line.
    fn next_event(&self, args: &[&str]) -> Value {
        let server = self.said("grpc");
        let mut listen = amochats();
        listen.args(["listen", "--server", server, "--subscription", "crm", "--count", "1"]).args(args);
        let ended = run(&mut listen, b"");
        assert_eq!(ended.code, 0, "{ended:?}");
        serde_json::from_str(&ended.stdout).expect("one event")
    }

    /// SIGTERM, and the end: exit code 0, nothing more on standard output. Returns standard error.
    async fn stop(mut self) -> String {
        let id = self.child.id().expect("it runs");
        let kill = Command::new("sh").args(["-c", &format!("kill -TERM {id}")]).status().await;
        assert!(kill.expect("there is a shell").success());
        let (mut rest, mut said) = (String::new(), String::new());
        let mut stderr = self.child.stderr.take().expect("a pipe");
        let ended = soon("the end", async {
            stderr.read_to_string(&mut said).await.expect("UTF-8");
            self.stdout.read_to_string(&mut rest).await.expect("UTF-8");
            self.child.wait().await.expect("it ends")
        });
        assert_eq!(ended.await.code(), Some(0), "{said}");
        assert_eq!(rest, "");
        secrecy::check("amochats dev", &said);
        said
    }
}

fn http() -> reqwest::Client {
    // The provider is named, since a process-wide one may be missing.
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("valid")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn fails(args: &[&str]) -> Ended {
    let temp = folder();
    let ended = run(amochats().arg("dev").args(args).env("TMPDIR", temp.path()), b"");
    assert_eq!(ended.stdout, "");
    assert_eq!(fs::read_dir(temp.path()).expect("readable").count(), 0, "nothing is left behind");
    ended
}

#[tokio::test]
async fn a_message_and_its_answer_travel_the_whole_way() {
    let temp = folder();
    let dev = Dev::start(temp.path(), &[]).await;
    let scope_id = format!("{}_{}", dev.said("channel_id"), dev.said("account_id"));
    assert_eq!((&dev.ready["ready"], dev.said("scope_id")), (&json!(true), scope_id.as_str()));
    assert_eq!(dev.said("secret").len(), 40);
    let healthy = dev.http.get(format!("{}/readyz", dev.said("admin"))).send().await.expect("an answer");
    assert_eq!(healthy.status(), 200);
    let state = dev.get("page", "/api/state").await;
    assert_eq!(state["api"], dev.ready["sandbox_api"]);
    assert_eq!(state["companion_url"], format!("{}/", dev.said("messenger")));
    assert_eq!(state["accounts"][0]["connections"][0]["hook_version"], "v2");
    assert!(state["channels"][0]["webhook_url"].as_str().expect("text").starts_with(dev.said("listener")));

    let chat = dev.client_writes("m-1", &format!("hello {TEXT}")).await;
    dev.manager_writes(&chat, TEXT).await;
    let answered = |seen: &Value| seen["messages"][1]["text"] == TEXT;
    let phone = dev.until("messenger", "/api/phone", answered).await;
    assert_eq!(
        (&phone["client"]["name"], &phone["messages"][0]["status"]),
        (&json!("Demo client"), &json!("sent"))
    );
    dev.until("page", &format!("{chat}/messages"), |seen| {
        seen["messages"][1]["delivery"]["state"] == "delivered"
    })
    .await;
    dev.post("messenger", "/api/seen", &json!({})).await;
    dev.until("page", &format!("{chat}/messages"), |seen| seen["messages"][1]["delivery"]["state"] == "read")
        .await;

    // Another program has the same event by gRPC.
    let event = dev.next_event(&["--create"]);
    assert_eq!((&event["text"], &event["scope_id"]), (&json!(TEXT), &json!(scope_id)), "{event}");
    let journal = dev.get("page", "/api/journal").await;
    let entries = journal["entries"].as_array().expect("a list");
    assert!(entries.len() >= 5 && entries.iter().all(|entry| entry["verdict"]["ok"] == true), "{journal}");

    let page = dev.said("page").to_owned();
    let said = dev.stop().await;
    assert!(said.contains(&page), "the page to open is named");
    assert_eq!(fs::read_dir(temp.path()).expect("readable").count(), 0, "the data is removed");
}

#[tokio::test]
async fn with_data_the_next_start_goes_on() {
    let (temp, data) = (folder(), folder());
    let path = data.path().join("kept");
    let args = ["--data", path.to_str().expect("UTF-8")];
    let dev = Dev::start(temp.path(), &args).await;
    let chat = dev.client_writes("m-1", "hello").await;
    dev.manager_writes(&chat, "first").await;
    assert_eq!(dev.next_event(&["--create"])["text"], "first");
    dev.manager_writes(&chat, "second").await;
    let before = dev.ready.clone();
    dev.stop().await;

    for entry in fs::read_dir(&path).expect("it is kept") {
        let entry = entry.expect("readable");
        let mode = entry.metadata().expect("readable").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
    let dev = Dev::start(temp.path(), &args).await;
    for key in ["channel_id", "account_id", "scope_id", "secret"] {
        assert_eq!(dev.ready[key], before[key], "{key}");
    }
    assert_eq!(dev.next_event(&[])["text"], "second", "what was not settled is handed out");
    // The chat goes on where it was.
    assert_eq!(dev.client_writes("m-2", "hello again").await, chat);
    dev.manager_writes(&chat, "third").await;
    assert_eq!(dev.next_event(&[])["text"], "third");
    let seen = dev.get("page", &format!("{chat}/messages")).await;
    let texts = seen["messages"].as_array().expect("a list").iter().map(|said| &said["content"]["text"]);
    assert_eq!(texts.collect::<Vec<_>>(), ["hello", "first", "second", "hello again", "third"]);
    dev.stop().await;

    fs::write(path.join("sandbox.json"), "{}").expect("writable");
    let ended = fails(&args);
    assert_eq!(ended.code, 2);
    assert!(ended.error().contains("sandbox.json is not a state that a sandbox kept"), "{ended:?}");
}

#[tokio::test]
async fn a_taken_port_is_replaced_or_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    for flag in ["--page", "--grpc", "--listener", "--sandbox-api", "--admin"] {
        // The rest is free, whatever runs on this machine.
        let free = ["--page", "--grpc"].into_iter().filter(|other| *other != flag);
        let args: Vec<_> = free.flat_map(|other| [other, "127.0.0.1:0"]).chain([flag, &address]).collect();
        let ended = fails(&args);
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(ended.stderr.contains(&address), "{flag}: {ended:?}");
    }

    // If this fails, somebody else has the port; it is taken all the same.
    let _page = std::net::TcpListener::bind("127.0.0.1:8765");
    let _grpc = std::net::TcpListener::bind("127.0.0.1:50051");
    let temp = folder();
    let mut command = amochats();
    command.arg("dev");
    let dev = Dev::spawn(command, temp.path()).await;
    assert!(!dev.said("page").ends_with(":8765") && !dev.said("grpc").ends_with(":50051"), "{}", dev.ready);
    dev.get("page", "/api/state").await;
    let said = dev.stop().await;
    assert!(said.contains("127.0.0.1:8765 is taken") && said.contains("127.0.0.1:50051 is taken"), "{said}");
}

#[tokio::test]
async fn a_seed_makes_the_ids_the_same() {
    let temp = folder();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let dev = Dev::start(temp.path(), &["--seed", "7"]).await;
        ids.push((dev.said("scope_id").to_owned(), dev.client_writes("m-1", "hello").await));
        dev.stop().await;
    }
    assert_eq!(ids[0], ids[1]);

    assert_eq!(fails(&["--seed", "7", "--data", "x"]).code, 2);
    let ended = fails(&["--grpc", "0.0.0.0:0"]);
    assert_eq!(ended.code, 2);
    assert!(ended.error().contains("choose 127.0.0.1"), "{ended:?}");
}
