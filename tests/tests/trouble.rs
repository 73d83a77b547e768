//! Disks and clocks that fail a running server: nothing that was promised is lost, meanwhile it
//! answers 503, and afterwards it goes on by itself.

use amochats_tests::command::skipped;
use amochats_tests::powercut::{Disk, allowed};
use amochats_tests::server::{Home, Server};
use amochats_tests::soon;
use amochats_tests::syncgate::SyncGate;
use amochats_tests::traffic::{Connection, Consumer, Record};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::process::Command;

/// One conversation, and what became of its messages.
struct Chat {
    record: Arc<Record>,
    connection: Connection,
    place: u64,
}

impl Chat {
    async fn with(server: &Server) -> Self {
        let connection = Connection::open(&server.listener).await.expect("connected");
        Self { record: Arc::default(), connection, place: 0 }
    }

    async fn send(&mut self) -> u16 {
        self.place += 1;
        let message = ("chat".to_owned(), self.place);
        let status = soon("answer", self.connection.hook(&message, 2000)).await.expect("answered");
        if status == 200 {
            self.record.promised(message);
        }
        status
    }

    /// Sends until there is this answer, which must come.
    async fn until(&mut self, wanted: u16) {
        soon("other answer", async {
            loop {
                match self.send().await {
                    status if status == wanted => return,
                    200 | 503 => {}
                    status => panic!("answered {status}"),
                }
            }
        })
        .await;
    }

    /// Receives all, and checks the promises.
    async fn end(self, server: Server) {
        let consumer = Consumer::open(&server.grpc, 100).await.expect("a stream");
        let record = self.record.clone();
        let task = tokio::spawn(async move { consumer.run(&record).await });
        self.record.settled(&server.grpc).await;
        server.kill().await;
        task.await.expect("no panic");
        self.record.check();
    }
}

/// A file system that refuses writes mid-way, as one that the system made read-only after an error.
#[tokio::test]
async fn a_disk_that_turns_read_only_promises_nothing_and_loses_nothing() {
    if !allowed().await {
        return;
    }
    let home = Home::new();
    let disk = Disk::new(home.path(), home.data(), "errors=remount-ro").await;
    let mounted = disk.mount().await;
    let server = home.start_as(mounted.inside(&mut home.command())).await;
    let mut chat = Chat::with(&server).await;
    for _ in 0..10 {
        assert_eq!(chat.send().await, 200);
    }
    mounted.break_down().await;
    chat.until(503).await;
    for _ in 0..3 {
        assert_eq!(chat.send().await, 503);
    }
    let mut admin = Connection::open(&server.admin).await.expect("connected");
    assert_eq!(admin.get("/healthz").await.expect("answered"), 200);
    // Such a disk is mended by a person; the server cannot have outlived that.
    server.kill().await;
    mounted.unmount().await;
    let mounted = disk.mount().await;
    let server = home.start_as(mounted.inside(&mut home.command())).await;
    chat.connection = Connection::open(&server.listener).await.expect("connected");
    chat.until(200).await;
    chat.end(server).await;
}

/// A load balancer must not send webhooks to where they cannot be kept.
#[tokio::test]
async fn with_too_little_free_disk_a_server_is_not_ready() {
    let home = Home::new();
    let mut command = home.command();
    command.env("AMOCHATS_STORE_MIN_FREE_BYTES", "9000000000000000000");
    let server = home.start_as(command).await;
    let mut admin = Connection::open(&server.admin).await.expect("connected");
    assert_eq!(admin.get("/readyz").await.expect("answered"), 503);
    assert_eq!(admin.get("/healthz").await.expect("answered"), 200);
    assert_eq!(Chat::with(&server).await.send().await, 503);
    server.kill().await;
}

/// What was written to a file without a name would be gone with the process.
#[tokio::test]
async fn a_store_that_was_moved_away_promises_nothing_until_it_is_back() {
    let home = Home::new();
    let server = home.start().await;
    let mut admin = Connection::open(&server.admin).await.expect("connected");
    let mut chat = Chat::with(&server).await;
    assert_eq!(chat.send().await, 200);
    let [store, log] = ["", "-wal"].map(|end| PathBuf::from(format!("{}{end}", home.store().display())));
    let elsewhere = home.path().join("elsewhere");
    for file in [&store, &log] {
        fs::rename(file, &elsewhere).expect("moved");
        assert_eq!(chat.send().await, 503);
        assert_eq!(admin.get("/readyz").await.expect("answered"), 503);
        fs::copy(&elsewhere, file).expect("copied");
        assert_eq!(chat.send().await, 503, "another file has its name");
        fs::rename(&elsewhere, file).expect("moved");
        assert_eq!(chat.send().await, 200);
        assert_eq!(admin.get("/readyz").await.expect("answered"), 200);
    }
    let said = fs::read_to_string(home.log()).expect("logged");
    assert!(said.contains("was removed or replaced while it was in use"), "{said}");
    chat.end(server).await;
}

/// After a failed sync the store is opened anew, which fails while the folder may not be entered.
#[tokio::test]
async fn a_lost_permission_is_waited_for() {
    const NOBODY: u32 = 65534;
    let home = Home::new();
    if chown(home.data(), Some(NOBODY), Some(NOBODY)).is_err() {
        skipped("only root can start a server that is not root");
        return;
    }
    for path in [home.path(), &home.data()] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("changed");
    }
    let gate = SyncGate::new(home.path()).await;
    for name in ["events", "gate"] {
        fs::set_permissions(home.path().join(name), Permissions::from_mode(0o777)).expect("changed");
    }
    let serve = home.command();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(serve.as_std().get_program()).args(serve.as_std().get_args());
    let server = home.start_as(gate.install(command)).await;
    let mut chat = Chat::with(&server).await;
    assert_eq!(chat.send().await, 200);
    let allow = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("changed");
    for _ in 0..2 {
        allow(&home.data(), 0o000);
        gate.fail(true);
        chat.until(503).await;
        gate.fail(false);
        // The disk would sync again, yet the store cannot be opened.
        assert_eq!(chat.send().await, 503);
        allow(&home.data(), 0o755);
        chat.until(200).await;
    }
    chat.end(server).await;
}

/// The calendar steps an hour back and forth while messages come and leases run.
#[tokio::test]
async fn a_clock_that_steps_changes_nothing() {
    let libraries = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let library = libraries.iter().map(|folder| Path::new(folder).join("faketime/libfaketimeMT.so.1"));
    let Some(library) = library.into_iter().find(|path| path.exists()) else {
        skipped("libfaketime is missing; on Debian: apt-get install faketime");
        return;
    };
    let home = Home::new();
    let step = home.path().join("step");
    fs::write(&step, "+0\n").expect("written");
    let mut command = home.command();
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &step);
    command.env("FAKETIME_NO_CACHE", "1").env("DONT_FAKE_MONOTONIC", "1");
    let server = home.start_as(command).await;
    let mut chat = Chat::with(&server).await;
    let mut holder = Consumer::open(&server.grpc, 10).await.expect("a stream");
    assert_eq!(chat.send().await, 200);
    let held = soon("delivery", holder.next(&chat.record)).await.expect("a delivery");
    for offset in ["-3600\n", "+3600\n", "-86400\n", "+0\n"] {
        fs::write(&step, offset).expect("written");
        for _ in 0..20 {
            assert_eq!(chat.send().await, 200, "an hour off: {offset}");
        }
    }
    // The lease of a minute has not ended: its holder still settles.
    holder.ack(&held[0]).await;
    while chat.record.seen().confirmed.is_empty() {
        soon("confirmation", holder.next(&chat.record)).await.expect("the stream lives");
    }
    drop(holder);
    chat.end(server).await;
}
