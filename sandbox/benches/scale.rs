//! 10,000 chats with 200,000 messages: how long a page, an event and a save take, and the memory.
//!
//! `cargo bench -p amochats-sandbox` prints it. The first argument is the number of chats.

use amochats_sandbox::{Sandbox, SandboxConfig};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const MESSAGES: usize = 20;
/// Names the file to make, for the process that makes it.
const WRITE: &str = "SCALE_WRITE";

fn snapshot(empty: &[u8], chats: usize) -> Value {
    let mut snapshot: Value = serde_json::from_slice(empty).expect("JSON");
    let channel = snapshot["channels"][0]["channel_id"].clone();
    let account = snapshot["accounts"][0]["account_id"].clone();
    let scope = format!("{}_{}", channel.as_str().expect("text"), account.as_str().expect("text"));
    let (mut rooms, mut conversations, mut own) = (Vec::new(), json!({}), json!({}));
    for chat in 0..chats {
        let id = format!("chat-{chat}");
        conversations[format!("c-{chat}")] = json!(id);
        let author = json!({ "party": "client", "user_ref_id": format!("user-{chat}"), "name": "Anna" });
        let messages: Vec<Value> = (0..MESSAGES)
            .map(|n| {
                let ref_id = format!("message-{chat}-{n}");
                own[format!("m-{chat}-{n}")] = json!(ref_id);
                json!({
                    "message_ref_id": ref_id, "message_id": format!("m-{chat}-{n}"), "conversation_ref_id": id,
                    "author": author, "content": { "type": "text", "text": format!("message {n} of a client") },
                    "sent_at_msec": 1_704_067_200_000_i64 + i64::try_from(n * chats + chat).expect("small"),
                    "delivery": { "state": "sent" }, "edited": false, "reactions": [], "hook": null,
                })
            })
            .collect();
        let client = json!({
            "user_ref_id": format!("user-{chat}"), "user_id": format!("u-{chat}"), "name": format!("Client {chat}"),
            "phone": null, "email": null, "avatar": null,
        });
        let shown = json!({
            "conversation_ref_id": id, "conversation_id": format!("c-{chat}"), "account_id": account,
            "channel_id": channel, "client": client, "contact_id": chat + 1, "lead": null,
            "source_external_id": null, "client_wrote_at_msec": null, "unread": 1, "last_message": null,
        });
        rooms.push(json!({ "chat": shown, "messages": messages }));
    }
    snapshot["chats"] = Value::Array(rooms);
    snapshot["scopes"] = json!({ scope: { "conversations": conversations, "participants": {}, "clients": {}, "messages": own } });
    snapshot
}

/// The memory of this process in MiB, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = work();
    println!("{what:<44} {:>10.3?}", started.elapsed());
    done
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let chats = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(10_000);
    if let Ok(path) = std::env::var(WRITE) {
        let source = Sandbox::start(SandboxConfig::default()).await.expect("it starts");
        let full = serde_json::to_vec(&snapshot(&source.snapshot(), chats)).expect("JSON");
        return std::fs::write(path, full).expect("writable");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sandbox.json");
    // By another process, so that what the making took is not in the memory of this one.
    let writer = std::env::current_exe().expect("a program knows itself");
    let written =
        std::process::Command::new(writer).args(std::env::args().skip(1)).env(WRITE, &path).status();
    assert!(written.expect("it starts").success());
    let size = std::fs::metadata(&path).expect("written").len() >> 20;
    println!("{chats} chats, {} messages, a file of {size} MiB", chats * MESSAGES);

    let before = resident();
    let started = Instant::now();
    let config = SandboxConfig { state: Some(path.clone()), ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).await.expect("it starts");
    println!("{:<44} {:>10.3?}", "start with the state's file", started.elapsed());
    if let (Some(before), Some(after)) = (before, resident()) {
        println!("{:<44} {:>6} MiB", "memory, about", after.saturating_sub(before));
    }

    let http = client();
    let page = format!("http://{}/api", sandbox.page_addr());
    let get = async |path: &str| -> Value {
        let text = http.get(format!("{page}/{path}")).send().await.expect("an answer").text().await;
        serde_json::from_str(&text.expect("UTF-8")).expect("JSON")
    };
    let mut cursor = String::new();
    let (started, mut pages, mut seen) = (Instant::now(), 0_u32, 0);
    loop {
        let list = get(&format!("chats?limit=50{cursor}")).await;
        (pages, seen) = (pages + 1, seen + list["chats"].as_array().map_or(0, Vec::len));
        let Some(next) = list["next"].as_str() else { break };
        cursor = format!("&before={next}");
    }
    assert_eq!(seen, chats, "every chat is on one page");
    println!("{:<44} {:>10.3?}", "a page of 50 chats, over all pages", started.elapsed() / pages);
    let started = Instant::now();
    get("chats?q=client%209999").await;
    println!("{:<44} {:>10.3?}", "a search through all chats", started.elapsed());
    let started = Instant::now();
    get("chats/chat-0/messages?limit=20").await;
    println!("{:<44} {:>10.3?}", "the newest messages of a chat", started.elapsed());
    timed("a chat is read, one event", || sandbox.mark_read(&"chat-7".into()).expect("known"));

    let modified = || std::fs::metadata(&path).and_then(|file| file.modified()).expect("it is there");
    let (was, started) = (modified(), Instant::now());
    while modified() == was {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{:<44} {:>10.3?}", "until the file has it", started.elapsed());
    timed("a snapshot as JSON", || sandbox.snapshot().len());
    sandbox.shutdown().await;
}

fn client() -> reqwest::Client {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("valid")
}
