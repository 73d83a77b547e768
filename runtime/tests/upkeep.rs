//! What a runtime does without being asked: it clears up, warns, measures, and keeps accounts connected.

#[expect(dead_code, reason = "most of it is for the listener")]
mod support;

use amochats::{AccountId, ErrorKind};
use amochats_runtime::store::{Filter, MemoryStore, Start, Store};
use amochats_runtime::{AccountState, Config, ConsumerOptions, Runtime, Verdict};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use support::log::Log;
use support::{ACCOUNT, CHANNEL, SECRET, World, message, soon};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

#[tokio::test]
async fn what_a_killed_process_left_for_itself_is_deleted() {
    let store = Arc::new(MemoryStore::default());
    for name in ["~left", "kept"] {
        store.create_subscription(name, Start::Now, Filter::default(), 1).await.expect("made");
    }
    let clock = Arc::new(amochats_runtime::clock::SystemClock::default());
    let _runtime = Runtime::start_with(&support::config(), store.clone(), clock).await.expect("started");
    let left = store.subscriptions().await.expect("listed");
    assert_eq!(left.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["kept"]);
}

#[tokio::test]
async fn a_start_that_failed_leaves_the_store_to_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let mut config = support::config();
    config.store.path = folder.path().join("inbox.db");
    config.listener.address = taken.local_addr().expect("known");
    let failed = Runtime::start(config.clone()).await.err().expect("the address is taken");
    assert_eq!(failed.kind(), ErrorKind::ConfigInvalid, "{failed}");
    config.listener.address = "127.0.0.1:0".parse().expect("an address");
    let runtime = Runtime::start(config).await.expect("in the same process");
    runtime.shutdown(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn a_subscription_that_nobody_empties_is_measured_and_warned_of() {
    let log = Log::hear();
    let mut config = support::config();
    config.inbox.backlog_alarm = 2;
    let mut world = World::with(config).await;
    for id in ["1", "2"] {
        assert_eq!(world.hook(message(id, "hi").as_bytes()).await.status, 200);
    }
    world.clock.advance(Duration::from_secs(100));
    let measured = async |line: &str| {
        let metrics = world.admin("/metrics").await.body;
        assert!(metrics.lines().any(|known| known == line), "{line} is missing in\n{metrics}");
    };
    measured("amochats_subscription_unsettled{subscription=\"crm\"} 2").await;
    measured("amochats_subscription_oldest_age_seconds{subscription=\"crm\"} 100").await;
    let warned = || log.said().lines().any(|line| line.contains("is not emptied") && line.contains("crm"));
    soon("warning", async {
        while !warned() {
            world.clock.advance(Duration::from_secs(60));
            world.settle_down().await;
        }
    })
    .await;
    world.next().await;
}

/// The first line and the body of a request.
async fn read_request(reader: &mut BufReader<TcpStream>) -> (String, String) {
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).await.expect("a head");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.expect("a head");
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.expect("a body");
    (first, String::from_utf8(body).expect("UTF-8"))
}

/// A service that takes every call, and tells of it.
async fn service() -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (tell, calls) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut reader = BufReader::new(stream);
                let (first, _) = read_request(&mut reader).await;
                let body = format!("{{\"scope_id\":\"{CHANNEL}_{ACCOUNT}\",\"account_id\":\"{ACCOUNT}\"}}");
                let (method, rest) = first.split_once(' ').expect("a request");
                let last = rest.split(' ').next().and_then(|path| path.rsplit('/').next()).expect("a path");
                let said = format!("{method} {last}");
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
                reader.get_mut().write_all(answer.as_bytes()).await.expect("sent");
                let _ = tell.send(said);
            });
        }
    });
    (url, calls)
}

#[tokio::test]
async fn a_dead_letter_is_named_in_the_log() {
    let log = Log::hear();
    let world = World::new().await;
    assert_eq!(world.hook(message("1", "hi").as_bytes()).await.status, 200);
    let inbox = world.runtime.inbox();
    let mut consumer = inbox.consumer("crm", ConsumerOptions::default()).await.expect("a consumer");
    let delivery = soon("delivery", consumer.next()).await.expect("deliveries").remove(0);
    inbox.settle(&delivery.ack_id, Verdict::Dead).await.expect("settled");
    let said = log.said();
    let line = said.lines().find(|line| line.contains("is a dead letter now")).expect("a line");
    assert!(line.contains(&delivery.event.event_id) && line.contains("subscription=\"crm\""), "{line}");
}

#[tokio::test]
async fn each_start_connects_however_lately_it_was_done() {
    let (url, mut calls) = service().await;
    let folder = tempfile::tempdir().expect("a folder");
    let toml = format!(
        "listener.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\nstore.path = {:?}\n\
         [[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\nbase_url = \"{url}\"\n\
         [[channel.account]]\nid = \"{ACCOUNT}\"\nconnect = true\n",
        folder.path().join("inbox.db")
    );
    for _ in 0..2 {
        let runtime = Runtime::start(Config::load(&toml, []).expect("valid")).await.expect("started");
        assert_eq!(soon("call", calls.recv()).await.as_deref(), Some("POST connect"));
        let accounts = runtime.channels().accounts();
        let connected = || accounts.list().first().is_some_and(|known| known.checked_at.is_some());
        soon("connection", async {
            while !connected() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        runtime.shutdown(Duration::from_secs(30)).await;
    }
}

#[tokio::test]
async fn configured_accounts_are_connected_several_at_a_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let account = |number| format!("[[channel.account]]\nid = \"account-{number}\"\nconnect = true\n");
    let toml = format!(
        "listener.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
         [[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\nbase_url = \"{url}\"\n{}",
        (0..8).map(account).collect::<String>()
    );
    let _world = World::with(Config::load(&toml, []).expect("a valid configuration")).await;
    // None is answered, so one after another would take eight time-outs.
    let (mut unanswered, mut asked) = (Vec::new(), BTreeSet::new());
    soon("calls", async {
        while asked.len() < 8 {
            let (stream, _) = listener.accept().await.expect("accepted");
            let mut reader = BufReader::new(stream);
            let (_, body) = read_request(&mut reader).await;
            asked.extend((0..8).filter(|number| body.contains(&format!("\"account-{number}\""))));
            unanswered.push(reader);
        }
    })
    .await;
}

#[tokio::test]
async fn an_account_is_kept_connected_until_somebody_disconnects_it() {
    let (url, mut calls) = service().await;
    let toml = format!(
        "listener.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\naccounts.check_interval_s = 60\n\
         [[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\nbase_url = \"{url}\"\n\
         [[channel.account]]\nid = \"{ACCOUNT}\"\nconnect = true\n"
    );
    let world = World::with(Config::load(&toml, []).expect("a valid configuration")).await;
    let accounts = world.runtime.channels().accounts();
    let state = || accounts.list().first().map(|account| account.state);
    let mut call = async || soon("call", calls.recv()).await.expect("the service lives");
    let connected = async || {
        soon("connection", async {
            while state() != Some(AccountState::Connected) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    assert_eq!(call().await, "POST connect");
    connected().await;
    // It is looked after.
    let again = async {
        loop {
            world.clock.advance(Duration::from_secs(60));
            world.settle_down().await;
        }
    };
    tokio::select! { said = call() => assert_eq!(said, "POST connect"), () = again => {} }
    connected().await;

    let channel = world.runtime.channels().only().expect("one");
    accounts.disconnect(&channel, &AccountId::new(ACCOUNT)).await.expect("disconnected");
    while call().await != "DELETE disconnect" {}
    assert_eq!(state(), Some(AccountState::Disconnected));
    for _ in 0..5 {
        world.clock.advance(Duration::from_secs(3600));
        world.settle_down().await;
    }
    assert_eq!(state(), Some(AccountState::Disconnected), "somebody wanted it so");
    assert!(calls.try_recv().is_err());
}
