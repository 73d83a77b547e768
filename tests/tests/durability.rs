//! `amochats serve` as a process that is killed, stopped, starved of disk and lied to by it: what
//! it answered 200 is handed out, and what it confirmed as settled never comes back.

use amochats_runtime::store::{EventQuery, SqliteStore, Store};
use amochats_tests::command::skipped;
use amochats_tests::server::{Home, Server};
use amochats_tests::soon;
use amochats_tests::syncgate::SyncGate;
use amochats_tests::traffic::{Connection, Consumer, Message, Record, subscription};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinSet;

const CONVERSATIONS: usize = 16;

/// Many conversations at once, each with its messages one after the other.
#[derive(Clone, Default)]
struct Load {
    record: Arc<Record>,
    next: Arc<[AtomicU64; CONVERSATIONS]>,
}

impl Load {
    /// Sends until the server goes away, and acknowledges what comes out.
    async fn start(&self, server: &Server) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for conversation in 0..CONVERSATIONS {
            let (load, listener) = (self.clone(), server.listener.clone());
            tasks.spawn(async move {
                let Ok(mut connection) = Connection::open(&listener).await else { return };
                loop {
                    let place = load.next[conversation].fetch_add(1, Ordering::Relaxed);
                    let message = (format!("c{conversation}"), place);
                    match connection.hook(&message, 50).await {
                        Ok(200) => load.record.promised(message),
                        Ok(status) => panic!("answered {status}"),
                        Err(_) => return,
                    }
                }
            });
        }
        // More than there are conversations, so that something is always under way.
        let consumer = Consumer::open(&server.grpc, 100).await.expect("a stream");
        let record = self.record.clone();
        tasks.spawn(async move { consumer.run(&record).await });
        tasks
    }

    /// Waits until there is this much more of everything.
    async fn progress(&self, by: usize) {
        let (promised, confirmed) = {
            let seen = self.record.seen();
            (seen.promised.len(), seen.confirmed.len())
        };
        self.record
            .until("progress", |seen| {
                seen.promised.len() >= promised + by && seen.confirmed.len() >= confirmed + by
            })
            .await;
    }
}

/// Receives and acknowledges all that was promised, and checks that none of it comes back.
async fn drain(home: &Home, record: &Arc<Record>) {
    let server = home.start().await;
    let consumer = Consumer::open(&server.grpc, 100).await.expect("a stream");
    let task = tokio::spawn(consume(consumer, record.clone()));
    record.settled(&server.grpc).await;
    server.kill().await;
    task.await.expect("no panic");

    let server = home.start().await;
    assert_eq!(subscription(&server.grpc).await.unsettled, 0, "all that was confirmed is gone for good");
    record.check();
    server.kill().await;
}

async fn consume(consumer: Consumer, record: Arc<Record>) {
    consumer.run(&record).await;
}

async fn finish(tasks: JoinSet<()>) {
    soon("end of the load", tasks.join_all()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_under_load_loses_nothing_that_was_promised() {
    let home = Home::new();
    let load = Load::default();
    for _ in 0..6 {
        let server = home.start().await;
        let tasks = load.start(&server).await;
        load.progress(200).await;
        server.kill().await;
        finish(tasks).await;
    }
    drain(&home, &load.record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_is_clean_and_quick() {
    let home = Home::new();
    let load = Load::default();
    for _ in 0..2 {
        let server = home.start().await;
        let tasks = load.start(&server).await;
        load.progress(200).await;
        server.signal("TERM").await;
        assert_eq!(server.ended().await.code(), Some(0));
        finish(tasks).await;
    }
    drain(&home, &load.record).await;
}

#[tokio::test]
async fn each_200_follows_its_sync() {
    let home = Home::new();
    let gate = SyncGate::new(home.path()).await;
    let server = home.start_as(gate.install(home.command())).await;
    let record = Arc::new(Record::default());

    // One by one: none is answered without a sync of its own.
    let mut connection = Connection::open(&server.listener).await.expect("connected");
    for place in 0..20 {
        let before = gate.counts().done;
        let message = ("single".to_owned(), place);
        assert_eq!(connection.hook(&message, 10).await.expect("answered"), 200);
        record.promised(message);
        gate.until("sync before the answer", |counts| counts.done > before).await;
    }

    // Many at once: while the sync is held, none is answered.
    gate.hold();
    let before = gate.counts();
    let mut hooks = parallel(&server, "held", 10);
    gate.until("sync", |counts| counts.entered > before.entered).await;
    let mut admin = Connection::open(&server.admin).await.expect("connected");
    for _ in 0..20 {
        assert_eq!(admin.get("/healthz").await.expect("answered"), 200, "the process is alive");
    }
    assert!(hooks.try_join_next().is_none(), "nothing is promised before the sync");
    assert_eq!(gate.counts().done, before.done);
    gate.let_go();
    while let Some(answer) = hooks.join_next().await {
        let (message, status) = answer.expect("no panic");
        assert_eq!(status, 200);
        record.promised(message);
    }
    server.kill().await;
    drain(&home, &record).await;
}

/// Sends so many messages at once, each in a conversation of its own.
fn parallel(server: &Server, name: &'static str, count: u64) -> JoinSet<(Message, u16)> {
    let mut hooks = JoinSet::new();
    for number in 0..count {
        let listener = server.listener.clone();
        hooks.spawn(async move {
            let message = (format!("{name}{number}"), 0);
            let mut connection = Connection::open(&listener).await.expect("connected");
            let status = connection.hook(&message, 10).await.expect("answered");
            (message, status)
        });
    }
    hooks
}

#[tokio::test]
async fn a_failed_sync_is_no_200_and_hides_nothing() {
    let home = Home::new();
    let gate = SyncGate::new(home.path()).await;
    let server = home.start_as(gate.install(home.command())).await;
    let record = Arc::new(Record::default());
    let keep = async |name| {
        for answer in parallel(&server, name, 5).join_all().await {
            assert_eq!(answer.1, 200);
            record.promised(answer.0);
        }
    };
    keep("before").await;
    // Holds one delivery, so that there is something to settle while nothing can be.
    let mut holder = Consumer::open(&server.grpc, 1).await.expect("a stream");
    let held = soon("delivery", holder.next(&record)).await.expect("deliveries");

    gate.fail(true);
    // First a lease, which is in the log now and yet not committed: it must not be nobody's later.
    let mut other = Consumer::open(&server.grpc, 10).await.expect("a stream");
    let refused = soon("end of the stream", other.next(&record)).await.expect_err("no lease");
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    for (_, status) in parallel(&server, "during", 5).join_all().await {
        assert_eq!(status, 503);
    }
    holder.ack(&held[0]).await;
    let confirmed = soon("settlement", holder.next(&record)).await;
    assert!(record.seen().confirmed.is_empty(), "nothing is confirmed: {confirmed:?}");
    let mut admin = Connection::open(&server.admin).await.expect("connected");
    assert_eq!(admin.get("/healthz").await.expect("answered"), 200);
    assert_eq!(admin.get("/readyz").await.expect("answered"), 503);
    assert!(gate.counts().failed > 0);

    gate.fail(false);
    keep("after").await;
    assert_eq!(admin.get("/readyz").await.expect("answered"), 200);
    drop(holder);
    // Everything comes without a restart, also what was leased when the sync failed.
    let consumer = Consumer::open(&server.grpc, 100).await.expect("a stream");
    let task = tokio::spawn(consume(consumer, record.clone()));
    record.settled(&server.grpc).await;
    server.kill().await;
    task.await.expect("no panic");
    drain(&home, &record).await;
}

/// After a failed sync the system takes the pages for clean, so that the next one says all is well.
#[tokio::test]
async fn what_was_written_behind_a_failed_sync_is_not_promised() {
    let home = Home::new();
    let gate = SyncGate::new(home.path()).await;
    let server = home.start_as(gate.install(home.command())).await;
    let record = Arc::new(Record::default());
    let store = SqliteStore::open_read_only(home.store()).await.expect("readable");
    let written = async |count: usize| {
        let all = EventQuery { after: None, scope: None, limit: 10 };
        while store.events(all.clone()).await.expect("listed").len() < count {}
    };
    gate.hold();
    let before = gate.counts();
    let first = parallel(&server, "first", 1);
    gate.until("sync", |counts| counts.entered > before.entered).await;
    let second = parallel(&server, "second", 1);
    soon("second transaction", written(2)).await;
    gate.fail_one();
    gate.let_go();
    for hook in [first, second] {
        assert_eq!(hook.join_all().await[0].1, 503);
    }
    assert_eq!(gate.counts().failed, before.failed + 1);
    // The same ones, sent again, are promised; then they are there, once.
    for name in ["first", "second", "third"] {
        let answer = parallel(&server, name, 1).join_all().await.remove(0);
        assert_eq!(answer.1, 200);
        record.promised(answer.0);
    }
    server.kill().await;
    drain(&home, &record).await;
}

#[tokio::test]
async fn a_stop_answers_what_was_begun() {
    let home = Home::new();
    let gate = SyncGate::new(home.path()).await;
    let server = home.start_as(gate.install(home.command())).await;
    let record = Arc::new(Record::default());
    gate.hold();
    let before = gate.counts();
    // One alone, so that it is known to be begun by its sync.
    let mut hooks = parallel(&server, "begun", 1);
    gate.until("sync", |counts| counts.entered > before.entered).await;
    server.signal("TERM").await;
    soon("refusal", async { while TcpStream::connect(&server.listener).await.is_ok() {} }).await;
    assert!(hooks.try_join_next().is_none(), "it waits for what is in flight");
    gate.let_go();
    let (message, status) = hooks.join_next().await.expect("one").expect("answered");
    assert_eq!(status, 200);
    record.promised(message);
    assert_eq!(server.ended().await.code(), Some(0));
    drain(&home, &record).await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let home = Home::new();
    let gate = SyncGate::new(home.path()).await;
    let server = home.start_as(gate.install(home.command())).await;
    gate.hold();
    let before = gate.counts();
    let mut hooks = parallel(&server, "held", 1);
    gate.until("sync", |counts| counts.entered > before.entered).await;
    server.signal("TERM").await;
    soon("refusal", async { while TcpStream::connect(&server.listener).await.is_ok() {} }).await;
    assert!(hooks.try_join_next().is_none(), "it waits for what is in flight");
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(3), "although the disk hangs");
    assert!(hooks.join_next().await.expect("one").is_err(), "and the hook was not answered");
}

/// A command that becomes the server on a disk of 4 MiB that nobody else sees. `None`, with a
/// reason, where this machine allows no such thing; never where the tests run for everybody.
async fn on_a_small_disk(home: &Home) -> Option<Command> {
    let script = "mount -t tmpfs -o size=4m none \"$1\" && shift && exec \"$@\"";
    let mut reason = String::new();
    for flags in ["-m", "-Urm"] {
        let mut command = Command::new("unshare");
        command.args([flags, "sh", "-c", script, "sh"]).arg(home.data());
        let mut tried = Command::new("unshare");
        tried.args([flags, "sh", "-c", script, "sh"]).arg(home.data()).arg("true").stdin(Stdio::null());
        match tried.output().await {
            Ok(output) if output.status.success() => {
                let serve = home.command();
                command.arg(serve.as_std().get_program()).args(serve.as_std().get_args());
                return Some(command);
            }
            Ok(output) => reason = String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => reason = error.to_string(),
        }
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no disk of its own: {reason}");
    skipped(&format!("this machine allows no disk of its own: {reason}"));
    None
}

/// Fills a disk to the last byte.
fn fill(path: &Path) {
    let mut filler = File::create(path).expect("made");
    for size in [1 << 16, 1 << 12, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
}

#[tokio::test]
async fn a_full_disk_promises_nothing_and_recovers() {
    let home = Home::new();
    let Some(command) = on_a_small_disk(&home).await else { return };
    let server = home.start_as(command).await;
    let record = Arc::new(Record::default());
    let mut connection = Connection::open(&server.listener).await.expect("connected");
    let mut admin = Connection::open(&server.admin).await.expect("connected");
    // The server's own view of the disk.
    let disk: PathBuf = format!("/proc/{}/root{}", server.pid(), home.data().display()).into();
    let filler = disk.join("filler");
    let mut place = 0;
    for _round in 0..2 {
        fill(&filler);
        // The log may have room left over, so it takes some before the first is refused.
        let mut refused = 0;
        while refused < 5 {
            let message = ("full".to_owned(), place);
            place += 1;
            match connection.hook(&message, 50_000).await.expect("answered") {
                200 => record.promised(message),
                503 => refused += 1,
                other => panic!("answered {other}"),
            }
            assert_eq!(admin.get("/healthz").await.expect("answered"), 200);
            assert!(place < 200, "a full disk is full");
        }
        fs::remove_file(&filler).expect("removed");
        for _ in 0..3 {
            let message = ("full".to_owned(), place);
            place += 1;
            assert_eq!(connection.hook(&message, 5000).await.expect("answered"), 200);
            record.promised(message);
        }
    }
    // The disk goes with the server's end, so this is its one life: the crash is the other tests'.
    let consumer = Consumer::open(&server.grpc, 100).await.expect("a stream");
    let task = tokio::spawn(consume(consumer, record.clone()));
    record.settled(&server.grpc).await;
    assert_eq!(subscription(&server.grpc).await.unsettled, 0);
    server.kill().await;
    task.await.expect("no panic");
    record.check();
}

#[tokio::test]
async fn what_cannot_start_says_why_with_the_right_code() {
    let home = Home::new();
    let server = home.start().await;
    let good = fs::read_to_string(home.config()).expect("readable");
    let written = |name: &str, toml: String| {
        let path = home.path().join(name);
        fs::write(&path, toml).expect("written");
        path
    };
    let foreign = home.path().join("foreign.db");
    fs::write(&foreign, "no database, but long enough to be one. ".repeat(100)).expect("written");
    let elsewhere = |path: &str| good.replace(&format!("{:?}", home.store()), &format!("{path:?}"));
    let fresh = elsewhere(home.path().join("fresh.db").to_str().expect("UTF-8"));
    let taken = |section: &str, address: &str| {
        let free = format!("[{section}]\naddress = \"127.0.0.1:0\"");
        assert!(fresh.contains(&free));
        fresh.replace(&free, &format!("[{section}]\naddress = \"{address}\""))
    };
    let pid = server.pid().to_string();
    for (name, toml, code, said) in [
        ("broken.toml", "[[channel]".to_owned(), 2, "line 1"),
        ("empty.toml", String::new(), 2, "[[channel]]"),
        ("unknown.toml", format!("colour = 1\n{good}"), 2, "colour"),
        ("locked.toml", good.clone(), 3, pid.as_str()),
        ("foreign.toml", elsewhere(foreign.to_str().expect("UTF-8")), 3, "not a database"),
        ("nowhere.toml", elsewhere("/none/such/inbox.db"), 3, "/none/such"),
        ("listener.toml", taken("listener", &server.listener), 3, &server.listener),
        ("admin.toml", taken("admin", &server.admin), 3, &server.admin),
        ("grpc.toml", taken("grpc", &server.grpc), 3, &server.grpc),
    ] {
        let path = written(name, toml);
        let ended = serve(&["--config", path.to_str().expect("UTF-8")]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{name}: {said:?} is missing in {}", ended.stderr);
    }
    for (args, code, said) in [
        (&[][..], 2, "--config"),
        (&["--config"], 2, "--config"),
        (&["--config", "x", "--port", "1"], 2, "--port"),
        (&["--config", "x", "--log", "loud"], 2, "loud"),
        (&["--config", "/none/such.toml"], 3, "/none/such.toml"),
        (&["--config", "/"], 3, "/"),
    ] {
        let ended = serve(args).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{args:?}: {}", ended.stderr);
        assert!(ended.error().contains(said), "{args:?}: {said:?} is missing in {}", ended.stderr);
    }
    let mut admin = Connection::open(&server.admin).await.expect("connected");
    assert_eq!(admin.get("/readyz").await.expect("answered"), 200, "the first one does not mind");
}

/// Runs `serve` where it should not get far.
async fn serve(args: &[&str]) -> amochats_tests::command::Ended {
    let mut command = Command::from(amochats_tests::command::amochats());
    command.arg("serve").args(args).stdin(Stdio::null()).kill_on_drop(true);
    soon("end of the server", command.output()).await.expect("it runs").into()
}
