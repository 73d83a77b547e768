//! `amochats sandbox` with several channels, switches and faults by flags, as scripts start it.

use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::secrecy::{self, TEXT};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use tempfile::NamedTempFile;

const CHANNELS: [&str; 2] = ["a4490ccc-5d7f-11e7-907b-a6006ad3dba0", "7a1f0b8e-1d6b-4b7c-8f6e-2f7c3f5f9a10"];
const SECRETS: [&str; 2] =
    ["da39a3ee5e6b4b0d3255bfef95601890afd80709", "0123456789abcdef0123456789abcdef01234567"];
const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";

/// A running sandbox; ended with the test.
struct Sandbox {
    child: Child,
    ready: Value,
    stderr: NamedTempFile,
}

impl Sandbox {
    fn start(args: &[&str]) -> Self {
        let mut command = amochats();
        command.args(["sandbox", "--account", ACCOUNT]).args(args);
        let stderr = NamedTempFile::new().expect("a file");
        command.env("RUST_LOG", secrecy::LOG).stderr(stderr.reopen().expect("opened"));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("UTF-8");
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a ready line: {line:?}"));
        Self { child, ready, stderr }
    }

    /// A call of the chats API in a channel's name.
    fn call(&self, channel: usize, args: &[&str]) -> Ended {
        let mut command = amochats();
        command.env("AMOCHATS_SECRET", SECRETS[channel]).args(args).args(["--json", "--base-url"]);
        run(command.arg(self.ready["api"].as_str().expect("an address")), b"")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            secrecy::check("the sandbox", &fs::read_to_string(self.stderr.path()).expect("readable"));
        }
    }
}

fn two_channels() -> Vec<&'static str> {
    CHANNELS.iter().zip(SECRETS).flat_map(|(id, secret)| ["--channel", id, "--secret", secret]).collect()
}

#[test]
fn each_pair_of_flags_is_a_channel() {
    let args = [two_channels(), vec!["--webhook-url", "http://127.0.0.1:9/:scope_id"]].concat();
    let sandbox = Sandbox::start(&args);
    assert_eq!(
        (&sandbox.ready["channel_id"], &sandbox.ready["secret"]),
        (&CHANNELS[0].into(), &SECRETS[0].into())
    );
    for channel in [0, 1] {
        let shown = &sandbox.ready["channels"][channel];
        assert_eq!(
            (&shown["channel_id"], &shown["secret"]),
            (&CHANNELS[channel].into(), &SECRETS[channel].into())
        );
        assert_eq!(shown["webhook_url"], "http://127.0.0.1:9/:scope_id");
        let ids = ["connect", "--channel-id", CHANNELS[channel], "--account-id", ACCOUNT];
        let ended = sandbox.call(channel, &ids);
        assert_eq!(ended.code, 0, "{ended:?}");
        // The other channel's secret is no good.
        assert_ne!(sandbox.call(1 - channel, &ids).code, 0);
    }
}

#[test]
fn switches_and_faults_are_set_by_flags() {
    let flags =
        ["--switch", "duplicates=replay", "--switch", "answers=2020", "--fault", "api:status=400/connect#1"];
    let sandbox = Sandbox::start(&[two_channels(), flags.to_vec()].concat());
    let connect = ["connect", "--channel-id", CHANNELS[0], "--account-id", ACCOUNT];
    assert_ne!(sandbox.call(0, &connect).code, 0, "the fault struck once");
    assert_eq!(sandbox.call(0, &connect).code, 0);
    let scope = format!("{}_{ACCOUNT}", CHANNELS[0]);
    let person = ["--conversation-id", "c-1", "--user-id", "u-1", "--name", "Anna", "--text", TEXT];
    let send = [&["send", "--scope-id", &scope, "--message-id", "m-1"], &person[..]].concat();
    let [first, second] = [sandbox.call(0, &send), sandbox.call(0, &send)];
    assert_eq!((first.code, second.code), (0, 0), "{second:?}");
    assert_eq!(first.stdout, second.stdout, "the first answer once more");
}

#[test]
fn flags_that_cannot_be_are_refused_with_what_to_do() {
    for (args, said) in [
        (
            vec!["--channel", "a", "--channel", "b", "--secret", "s"],
            "one --secret or --secret-file for each --channel",
        ),
        (vec!["--secret", "a", "--secret", "b"], "one --secret or --secret-file for each --channel"),
        (
            vec!["--channel", "a", "--secret", "s", "--channel", "a", "--secret", "t"],
            "there is a channel of this id",
        ),
        (vec!["--switch", "duplicates"], "must be as duplicates=replay"),
        (vec!["--switch", "duplicates=maybe"], "must be `reject` or `replay`"),
        (vec!["--switch", "colour=red"], "there is no such switch"),
        (vec!["--switch", "hook_timeout_ms=0"], "hook_timeout_ms: must be at least 1"),
        (vec!["--fault", "api:latency"], "needs a value in milliseconds"),
        (vec!["--fault", "hook:lost"], "strikes the other side"),
        (vec!["--fault", "api:lost@1/new_mesage"], "it can be limited to connect, disconnect, new_message, "),
        (vec!["--fault", "hook:drop/new_message"], "webhook_v1, webhook_v2, typing, reaction"),
    ] {
        let ended = run(amochats().arg("sandbox").args(&args), b"");
        assert_ne!(ended.code, 0, "{args:?}");
        assert!(ended.stderr.contains(said), "{args:?}: {}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn what_the_machine_refuses_is_no_wrong_usage() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let taken = taken.local_addr().expect("bound").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("UTF-8");
    let state = format!("{folder}/state.json");
    let _running = Sandbox::start(&["--state", &state]);
    for (args, said) in [
        (vec!["sandbox", "--api", &taken], "--api: cannot listen on "),
        (vec!["sandbox", "--page", &taken], "--page: cannot listen on "),
        (vec!["dev", "--page", &taken], "--page: cannot listen on "),
        (vec!["dev", "--admin", &taken], "cannot listen on "),
        (vec!["sandbox", "--state", folder], "--state: "),
        (vec!["sandbox", "--state", &state], "is in use by another sandbox"),
        (vec!["sandbox", "--widget", "/nonexistent"], "--widget: /nonexistent: "),
        (
            vec!["token", "new", "--name", "a", "--permissions", "read", "--file", folder],
            "--file: cannot read ",
        ),
        (
            vec!["token", "new", "--name", "a", "--permissions", "read", "--file", "/nonexistent/f"],
            "--file: cannot write ",
        ),
    ] {
        let ended = run(amochats().args(&args), b"");
        assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(said), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn the_help_teaches_every_switch_and_fault() {
    let help = run(amochats().args(["sandbox", "--help"]), b"").stdout;
    let switches = serde_json::to_value(amochats_sandbox::Switches::default()).expect("JSON");
    for name in switches.as_object().expect("an object").keys() {
        assert!(help.contains(&format!("\n  {name}=")), "{name} is not explained");
    }
    for fault in [
        "latency",
        "drop",
        "lost",
        "cut",
        "status",
        "rate_limit",
        "skew",
        "duplicate",
        "reorder",
        "stale_clock",
        "bad_signature",
        "truncated",
        "reserialised",
    ] {
        assert!(help.contains(&format!(":{fault}")), "{fault} is not explained");
    }
    assert!(help.contains("Not known"), "what the service is not known to do");
}
