//! `amochats sandbox --state` as its users start it: stopped, started again, without its folder.

use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::secrecy;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

/// A running `amochats sandbox`; ended with the test.
struct Sandbox {
    child: Child,
    stderr: BufReader<ChildStderr>,
    ready: Value,
}

impl Sandbox {
    fn start(state: &Path, args: &[&str]) -> Self {
        let mut command = amochats();
        command
            .args(["sandbox", "--log", "json", "--state"])
            .arg(state)
            .args(args)
            .env("RUST_LOG", secrecy::LOG);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut line).expect("UTF-8");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a ready line: {line:?}"));
        Self { child, stderr, ready }
    }

    fn said(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap_or_else(|| panic!("{key} is missing: {}", self.ready))
    }

    /// A call of the service by the command line.
    fn call(&self, args: &[&str]) -> Ended {
        let mut command = amochats();
        command.env("AMOCHATS_SECRET", self.said("secret")).args(args).args(["--json", "--base-url"]);
        run(command.arg(self.said("api")), b"")
    }

    fn account(&self) -> &str {
        self.ready["accounts"][0].as_str().expect("an account")
    }

    fn connect(&self) {
        let ids = ["--channel-id", self.said("channel_id"), "--account-id", self.account()];
        let ended = self.call(&[&["connect"], &ids[..]].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
    }

    fn send(&self, message_id: &str) -> Ended {
        let scope = format!("{}_{}", self.said("channel_id"), self.account());
        let person =
            ["--conversation-id", "c-1", "--user-id", "u-1", "--name", "Anna", "--text", secrecy::TEXT];
        self.call(&[&["send", "--scope-id", &scope, "--message-id", message_id], &person[..]].concat())
    }

    /// SIGTERM, and the end; what it said since.
    fn stop(mut self) -> String {
        let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status();
        assert!(kill.expect("there is a shell").success());
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).expect("UTF-8");
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0), "{said}");
        secrecy::check("the sandbox", &said);
        said
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Nothing to end where it was stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_next_start_has_the_same_channel_and_its_chats() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sandbox.json");
    let first = Sandbox::start(&path, &[]);
    first.connect();
    let sent = first.send("m-1");
    assert_eq!(sent.code, 0, "{sent:?}");
    let (before, secret) = (first.ready.clone(), first.said("secret").to_owned());
    let said = first.stop();
    assert!(!said.contains(&secret) && !said.contains("hello"), "nothing private is said");
    assert_eq!(fs::metadata(&path).expect("it is kept").permissions().mode() & 0o777, 0o600);

    let second = Sandbox::start(&path, &["--account", before["accounts"][0].as_str().expect("an id")]);
    for key in ["channel_id", "secret", "accounts"] {
        assert_eq!(second.ready[key], before[key], "{key}");
    }
    assert_eq!(second.send("m-1").code, 1, "it was taken before");
    let next: Value = serde_json::from_str(&second.send("m-2").stdout).expect("connected");
    let sent: Value = serde_json::from_str(&sent.stdout).expect("JSON");
    assert_eq!(next["conversation_ref_id"], sent["conversation_ref_id"]);
    second.stop();

    let mut other = amochats();
    other.args(["sandbox", "--channel", "another", "--state"]).arg(&path);
    let ended = run(&mut other, b"");
    assert_eq!((ended.code, &*ended.stdout), (2, ""));
    assert!(ended.error().contains("channel_id: the state has another channel"), "{ended:?}");
}

#[test]
fn a_state_that_cannot_be_written_is_told_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).expect("writable");
    let mut sandbox = Sandbox::start(&inner.join("sandbox.json"), &[]);
    fs::remove_dir_all(&inner).expect("writable");
    sandbox.connect();
    let mut line = String::new();
    while !line.contains("the sandbox's state cannot be written") {
        line.clear();
        assert_ne!(sandbox.stderr.read_line(&mut line).expect("UTF-8"), 0, "it goes on");
    }
    assert_eq!(sandbox.send("m-1").code, 0, "it goes on");
    // The last attempt at the end fails, too.
    let said = sandbox.stop();
    assert!(!said.contains("cannot be written"), "{said}");
}
