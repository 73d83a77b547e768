//! The commands that need neither a server nor the network: flags, secrets, exit codes, output.

use amochats_tests::command::{Ended, amochats, run};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// Secret and signature of the published sample: `{"account_id": …}`, signed over its body.
const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
const BODY: &[u8] = br#"{"account_id":"13fa84f7-6b61-4086-98ed-0a9de19ee15c"}"#;
const SIGNATURE: &str = "c5a129044c7c85ee3685873158551599b923002c";

fn with(args: &[&str]) -> Command {
    let mut command = amochats();
    command.args(args);
    command
}

fn ran(args: &[&str], stdin: &[u8]) -> Ended {
    run(&mut with(args), stdin)
}

fn signed(command: &mut Command) -> Ended {
    let ended = run(command, BODY);
    if ended.code == 0 {
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (format!("{SIGNATURE}\n").as_str(), ""));
    }
    ended
}

#[test]
fn every_command_teaches_itself() {
    for command in [
        &[][..],
        &["connect"],
        &["disconnect"],
        &["send"],
        &["status"],
        &["sign"],
        &["sign", "body"],
        &["sign", "request"],
        &["webhook"],
        &["webhook", "verify"],
        &["webhook", "parse"],
        &["version"],
    ] {
        let help = ran(&[command, &["--help"]].concat(), b"");
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{command:?}");
        assert!(
            help.stdout.contains("Usage: amochats") && help.stdout.contains("Example"),
            "{}",
            help.stdout
        );
    }
    let top = ran(&["--help"], b"").stdout;
    for said in
        ["Exit codes:", "  0  ok", "  1  the answer is no", "  2  wrong usage", "  3  could not be done"]
    {
        assert!(top.contains(said), "{said}");
    }
    for command in ["body", "request"] {
        let help = ran(&["sign", command, "--help"], b"").stdout;
        assert!(help.contains("Other users") && help.contains("AMOCHATS_SECRET"), "{help}");
    }
}

#[test]
fn without_a_command_the_help_is_an_error() {
    for args in [&[][..], &["sign"], &["webhook"]] {
        let ended = ran(args, b"");
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
        assert!(ended.stderr.contains("Usage: amochats"), "{}", ended.stderr);
    }
}

#[test]
fn the_version_is_the_crates() {
    let version = env!("CARGO_PKG_VERSION");
    for args in [&["version"][..], &["--version"]] {
        assert_eq!(ran(args, b"").stdout, format!("amochats {version}\n"));
    }
    let json: Value = serde_json::from_str(&ran(&["version", "--json"], b"").stdout).expect("JSON");
    assert_eq!(json, json!({"name": "amochats", "version": version}));
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    for (args, said) in [
        (&["sing"][..], "'sign'"),
        (&["sign", "body", "--sekret", "x"], "'--sekret'"),
        (&["sign", "body", "--secret"], "'--secret <SECRET>'"),
        (&["sign", "body", "--secret", "a", "--secret", "b"], "more than one channel secret"),
        (&["sign", "request", "--secret=s", "--method=GET"], "--path <PATH>"),
        (&["sign", "request", "--secret=s", "--method=GET", "--path=p"], "path: must begin with"),
        (&["webhook", "verify", "--secret=s"], "--signature <HEX>"),
        (
            &["webhook", "verify", "--secret=s", "--expired-secret=", "--signature=0"],
            "secret: must not be empty",
        ),
        (&["webhook", "parse", "--scope-id", "channel-without-account"], "scope_id: must be the channel id"),
        (&["webhook", "parse", "stray"], "unexpected argument"),
        (&["webhook", "verify", "--secret=s", "--signature=0", "--signature=1"], "multiple times"),
    ] {
        let ended = ran(args, b"{}");
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{args:?}");
        assert!(ended.error().contains(said), "{args:?}: {}", ended.stderr);
    }
    let not_text = OsStr::from_bytes(b"--secret=\xff");
    let ended = run(with(&["sign", "body"]).arg(not_text), b"");
    assert_eq!(ended.code, 2);
    assert!(ended.error().contains("UTF-8"), "{}", ended.stderr);
}

#[test]
fn a_missing_secret_says_the_three_ways_to_give_one() {
    for args in [
        &["sign", "body"][..],
        &["sign", "request", "--method=GET", "--path=/p"],
        &["webhook", "verify", "--signature=0"],
    ] {
        let ended = ran(args, b"");
        assert_eq!(ended.code, 2);
        for way in ["--secret-file", "AMOCHATS_SECRET", "--secret SECRET"] {
            assert!(ended.error().contains(way), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_secret_comes_from_a_flag_a_file_or_the_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    assert_eq!(signed(&mut with(&["sign", "body", "--secret", SECRET])).code, 0);
    assert_eq!(signed(with(&["sign", "body"]).env("AMOCHATS_SECRET", SECRET)).code, 0);
    for line_end in ["", "\n", "\r\n"] {
        fs::write(&file, format!("{SECRET}{line_end}")).expect("a file");
        assert_eq!(signed(with(&["sign", "body", "--secret-file"]).arg(&file)).code, 0, "{line_end:?}");
    }
    // What is said on the command line wins.
    let mut both = with(&["sign", "body", "--secret-file"]);
    assert_eq!(signed(both.arg(&file).env("AMOCHATS_SECRET", "another")).code, 0);
    let mut rotated =
        with(&["webhook", "verify", "--signature", SIGNATURE, "--secret", "new", "--secret-file"]);
    assert_eq!(run(rotated.arg(&file), BODY).code, 0);
}

#[test]
fn a_secret_that_cannot_be_used_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content, said) in [
        ("empty", &b"\n"[..], "must not be empty"),
        ("two-lines", b"one\ntwo\n", "must not hold"),
        ("two-line-ends", b"one\n\n", "must not hold"),
        ("not-text", b"\xff\xfe", "not UTF-8"),
        ("too-large", &[b'a'; 5000], "larger than a secret"),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, content).expect("a file");
        let ended = run(with(&["sign", "body", "--secret-file"]).arg(&file), BODY);
        assert_eq!(ended.code, 2, "{name}");
        let error = ended.error();
        assert!(error.contains(said) && error.contains(name), "{error}");
    }
    for value in [&b""[..], b"a b", b"\xff"] {
        let ended = run(with(&["sign", "body"]).env("AMOCHATS_SECRET", OsStr::from_bytes(value)), BODY);
        assert_eq!(ended.code, 2);
        assert!(ended.error().contains("AMOCHATS_SECRET"), "{}", ended.stderr);
    }
}

#[test]
fn what_cannot_be_read_or_written_is_exit_code_3() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().join("absent"), folder.path().to_owned()] {
        let ended = run(with(&["sign", "body", "--secret-file"]).arg(&path), BODY);
        assert_eq!(ended.code, 3);
        assert!(ended.error().contains("cannot read the secret file"), "{}", ended.stderr);
    }
    let from_folder = |args| {
        let stdin = File::open(folder.path()).expect("a folder opens");
        Ended::from(with(args).stdin(stdin).output().expect("the command starts"))
    };
    let ended = from_folder(&["webhook", "parse"]);
    assert_eq!(ended.code, 3);
    assert!(ended.error().contains("cannot read standard input"), "{}", ended.stderr);

    let full = File::options().write(true).open("/dev/full").expect("the full device");
    let ended = Ended::from(with(&["version"]).stdout(full).output().expect("the command starts"));
    assert_eq!(ended.code, 3);
    assert!(ended.error().contains("cannot write to standard output"), "{}", ended.stderr);
}

#[test]
fn an_endless_body_is_refused() {
    let zero = File::open("/dev/zero").expect("the device of zeros");
    let ended = Ended::from(with(&["webhook", "parse"]).stdin(zero).output().expect("the command starts"));
    assert_eq!(ended.code, 3);
    assert!(ended.error().contains("larger than 64 MiB"), "{}", ended.stderr);
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    for (args, code) in [
        (&["sign", "body", "--secret", SECRET][..], 0),
        (&["version"], 0),
        (&["--help"], 0),
        (&["webhook", "verify", "--json", "--secret=s", "--signature", SIGNATURE], 1),
    ] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let child = with(args).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn();
        let output = child.expect("the command starts").wait_with_output().expect("the command ends");
        let ended = Ended::from(output);
        assert_eq!((ended.code, ended.stderr.as_str()), (code, ""), "{args:?}");
    }
}

#[test]
fn a_body_need_not_be_text() {
    let body = b"\xff\xfe{}";
    let signature = ran(&["sign", "body", "--secret=s"], body).stdout;
    let ended = ran(&["webhook", "verify", "--secret=s", "--signature", signature.trim_end()], body);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "the signature is genuine\n"));
    let ended = ran(&["webhook", "parse"], b"{\"text\":\"\xff\"}");
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(ended.error().ends_with("at line 1 column 10"), "{}", ended.stderr);
}

#[test]
fn a_refused_signature_says_why() {
    let body_and = |end: &[u8]| [BODY, end].concat();
    let new = ran(&["sign", "body", "--secret=new"], BODY).stdout;
    let newline = ran(&["sign", "body", "--secret", SECRET], &body_and(b"\n")).stdout;
    let spaced = ran(
        &["sign", "body", "--secret", SECRET],
        br#"{"account_id": "13fa84f7-6b61-4086-98ed-0a9de19ee15c"}"#,
    )
    .stdout;
    for (signature, body, verdict, said) in [
        (SIGNATURE, body_and(b""), "valid", "genuine"),
        (SIGNATURE, body_and(b"\r\n"), "valid", "genuine"),
        ("", body_and(b""), "missing", "--signature"),
        ("c5a1", body_and(b""), "not_hex", "40 hex digits"),
        (new.trim_end(), body_and(b""), "expired_secret", "old secret"),
        (newline.trim_end(), body_and(b""), "with_newline", "line feed"),
        (spaced.trim_end(), body_and(b""), "reserialised", "raw bytes"),
        (SIGNATURE, body_and(b" "), "reserialised", "raw bytes"),
        (SIGNATURE, b"{}".to_vec(), "mismatch", "check that the secret"),
    ] {
        let args =
            ["webhook", "verify", "--secret", SECRET, "--expired-secret=new", "--signature", signature];
        let valid = verdict == "valid";
        let plain = ran(&args, &body);
        assert_eq!(plain.code, i32::from(!valid), "{verdict}");
        let reason = if valid { plain.stdout.trim_end() } else { plain.error() };
        assert!(reason.contains(said), "{verdict}: {reason}");

        let json = ran(&[&args[..], &["--json"]].concat(), &body);
        assert_eq!((json.code, json.stderr.as_str()), (i32::from(!valid), ""));
        let answered: Value = serde_json::from_str(&json.stdout).expect("JSON");
        assert_eq!(answered, json!({"valid": valid, "verdict": verdict, "reason": reason}));
    }
}

#[test]
fn the_scope_adds_what_only_the_address_tells() {
    let parse = |body: &Value| -> Value {
        let ended = ran(&["webhook", "parse", "--scope-id", "chan_acc"], body.to_string().as_bytes());
        assert_eq!((ended.code, ended.stdout.lines().count()), (0, 1), "{ended:?}");
        serde_json::from_str(&ended.stdout).expect("JSON")
    };
    assert_eq!(
        parse(&json!({"receiver": "u-5", "conversation_id": "c-9", "type": "text", "text": "a\nb\u{2028}"})),
        json!({
            "kind": "message", "api_version": "v1", "conversation_id": "c-9", "receiver": {"user_id": "u-5"},
            "type": "text", "text": "a\nb\u{2028}", "scope_id": "chan_acc", "channel_id": "chan", "account_id": "acc",
        })
    );
    assert_eq!(
        parse(&json!({"account_id": "signed", "news": 1})),
        json!({
            "kind": "unknown", "extra": {"news": 1},
            "scope_id": "chan_acc", "channel_id": "chan", "account_id": "signed",
        })
    );
}

#[test]
fn the_date_defaults_to_now() {
    let second =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let before = second(SystemTime::now());
    let ended = ran(&["sign", "request", "--secret", SECRET, "--method=GET", "--path=/p?q"], b"");
    let after = second(SystemTime::now());
    let headers: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let date = headers["Date"].as_str().expect("a date");
    assert!((before..=after).contains(&second(amochats::parse_date(date).expect("RFC 2822"))), "{date}");
    let secret = amochats::ChannelSecret::new(SECRET).expect("clean");
    let expected =
        amochats::sign_request(&secret, "GET", "/p", "application/json", date, b"").expect("valid");
    assert_eq!(headers, json!(expected));
}

#[test]
fn a_secret_is_never_echoed() {
    let canary = "canary-7f3a";
    let spaced = format!("{canary} x");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    fs::write(&file, &spaced).expect("a file");
    let file = file.to_str().expect("UTF-8");
    let equals = |flag: &str| format!("{flag}={canary}");
    for args in [
        vec!["sign", "body", "--secret", canary],
        vec!["sign", "body", "--secret", canary, "--secret", canary],
        vec!["sign", "body", "--secret", &spaced],
        vec!["sign", "body", "--secret-file", file],
        vec!["sign", "body", canary],
        vec!["sign", "body", &equals("--secrets")],
        vec!["sign", "body", &format!("--secret{canary}")],
        vec!["sign", "request", "--secret", canary],
        vec!["sign", "request", "--secret", canary, "--method=GET", "--path=p"],
        vec!["webhook", "verify", "--secret", canary],
        vec!["webhook", "verify", "--secret", canary, "--signature", SIGNATURE],
        vec!["webhook", "verify", "--secret", canary, "--signature", SIGNATURE, "--json"],
        vec!["webhook", "verify", "--secret=s", "--expired-secret", &spaced, "--signature=0"],
        vec!["webhook", "parse", &equals("--secret")],
        vec!["version", &equals("--json")],
    ] {
        let ended = run(with(&args).env("AMOCHATS_SECRET", &spaced), BODY);
        assert!(!ended.stdout.contains(canary) && !ended.stderr.contains(canary), "{args:?}: {ended:?}");
    }
    for args in [&["sign", "body"][..], &["sign", "body", "--help"], &["webhook", "verify", "--help"]] {
        let ended = run(with(args).env("AMOCHATS_SECRET", &spaced), BODY);
        assert!(!ended.stdout.contains(canary) && !ended.stderr.contains(canary), "{args:?}: {ended:?}");
    }
}
