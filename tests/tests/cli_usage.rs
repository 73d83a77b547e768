//! The command line where it meets people: completions, man pages, and the words for what is wrong.

use amochats::{ChannelSecret, VerifiedBody, WebhookEvent, WebhookKind, parse_webhook, verify_webhook};
use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::server::{ACCOUNT, CHANNEL, Home, SECRET};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

fn amochats_with(args: &[&str]) -> Ended {
    run(amochats().args(args), b"")
}

fn refused(args: &[&str], code: i32) -> String {
    let ended = amochats_with(args);
    assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{args:?}: {ended:?}");
    ended.error().to_owned()
}

#[test]
fn each_shell_gets_its_completions() {
    for (shell, there) in [
        ("bash", "complete -F _amochats"),
        ("zsh", "#compdef amochats"),
        ("fish", "complete -c amochats"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[amochats]"),
    ] {
        let ended = amochats_with(&["completions", shell]);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{shell}");
        assert!(ended.stdout.contains(there), "{shell}");
        for word in ["sandbox", "base-url", "webhook"] {
            assert!(ended.stdout.contains(word), "{shell} knows {word}");
        }
    }
    assert!(refused(&["completions", "sh"], 2).contains("bash, elvish, fish, powershell, zsh"));
}

#[test]
fn bash_completes() {
    let script = amochats_with(&["completions", "bash"]).stdout
        + "COMP_WORDS=(amochats webhook tri) COMP_CWORD=2; _amochats amochats tri webhook; echo \"${COMPREPLY[@]}\"";
    // Through standard input: it is longer than an argument may be.
    let ended = run(Command::new("bash").arg("-s"), script.as_bytes());
    assert_eq!((ended.code, ended.stdout.trim()), (0, "trigger"), "{ended:?}");
}

#[test]
fn each_command_has_a_man_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("share/man1");
    let ended = amochats_with(&["man", "--out", out.to_str().expect("UTF-8")]);
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, "", ""), "{ended:?}");
    for (page, word) in [
        ("amochats.1", "amochats\\-sandbox(1)"),
        ("amochats-serve.1", "AMOCHATS_LISTENER_ADDRESS"),
        ("amochats-webhook-trigger.1", "dry\\-run"),
        ("amochats-source-add.1", "external\\-id"),
    ] {
        let text = fs::read_to_string(out.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".SH NAME") && text.contains(word), "{page} tells of {word}");
    }
    assert!(!out.join("amochats-help.1").exists());
    assert!(refused(&["man", "--out", "/dev/null/man"], 3).starts_with("cannot write to /dev/null/man: "));
}

/// What `config check` says of this configuration and environment.
fn checked(toml: &str, environment: &[(&str, &str)]) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("amochats.toml");
    let channel = format!("[[channel]]\nid = \"{CHANNEL}\"\nsecret = \"s\"\nregion = \"ru\"\n");
    fs::write(&file, format!("{toml}\n{channel}")).expect("written");
    let mut command = amochats();
    command.args(["config", "check", "--config"]).arg(&file);
    run(command.envs(environment.iter().copied()), b"")
}

#[test]
fn the_configuration_is_refused_in_plain_words() {
    for (toml, said) in [
        ("inbox.max_attempts = \"many\"", "inbox.max_attempts: must be a whole number, 0 or more"),
        ("inbox.max_attempts = -1", "inbox.max_attempts: must be a whole number, 0 or more"),
        ("inbox.max_attempts = 1.5", "inbox.max_attempts: must be a whole number, 0 or more"),
        ("inbox.keep_typing = 1", "inbox.keep_typing: must be true or false"),
        ("inbox = 1", "inbox: must be a section"),
        ("log.level = \"loud\"", "log.level: must be error, warn, info, debug, trace or off"),
        ("log.level = \"info,amochats_runtime=loud\"", "log.level: must be error"),
        ("[grcp]", "there is no section [grcp]; there are listener, "),
        ("store.path = []", "store.path: must be text in quotes"),
        ("listener.address = 8080", "listener.address: must be an address with a port"),
        ("listener.address = \"localhost\"", "listener.address: must be an address with a port"),
        ("grpc.address = \"localhost\"", "[grpc] address: must be an address with a port"),
    ] {
        let ended = checked(toml, &[]);
        assert_eq!(ended.code, 2, "{toml}: {ended:?}");
        assert!(ended.error().contains(said), "{toml}: {ended:?}");
        for rust in ["u32", "u64", "usize", "struct", "expected", "sequence"] {
            assert!(!ended.error().contains(rust), "{toml}: {ended:?}");
        }
    }
}

#[test]
fn a_configuration_that_is_well_formed_and_yet_looks_wrong_is_doubted() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("amochats.toml");
    let example = run(amochats().args(["config", "example"]), b"").stdout;
    let example = example.replace("[store]", "[store]\npath = \"/none/such/inbox.db\" #");
    let moved: Vec<&str> = example.lines().filter(|line| !line.starts_with("path = \"amochats")).collect();
    fs::write(&file, moved.join("\n")).expect("written");
    let ended = run(amochats().args(["config", "check", "--config"]).arg(&file), b"");
    assert_eq!(ended.code, 0, "{ended:?}");
    for doubt in
        ["the folder /none/such does not exist here", "channel.id: is still", "channel.secret: is still"]
    {
        assert!(ended.stderr.contains(doubt), "{doubt}: {}", ended.stderr);
    }
    let ended = checked("log.level = \"warn,amochats=debug\"", &[]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.stdout);
}

#[test]
fn a_variable_that_is_not_known_leads_to_the_right_one() {
    for (name, said) in [
        (
            "AMOCHATS_LISTNER_ADDRESS",
            "one of LISTENER, ADMIN, STORE, INBOX, ACCOUNTS, OUTBOX, BACKFILL, MEDIA, WIDGET, GRPC, CONSOLE, LOG, \"_\"",
        ),
        ("AMOCHATS_CHANNEL_SECRET", "AMOCHATS_SECRET is the secret of a single one"),
        ("AMOCHATS_CHANNELS", "channels are set in the file"),
    ] {
        let ended = checked("", &[(name, "x")]);
        assert_eq!(ended.code, 2, "{name}: {ended:?}");
        assert!(ended.error().contains(said) && ended.error().contains(name), "{name}: {ended:?}");
    }
    let accepted = checked("", &[("AMOCHATS_GRPC_ADDRESS", "127.0.0.1:0"), ("AMOCHATS_SECRET", "s")]);
    assert_eq!(accepted.code, 0, "{accepted:?}");
}

#[tokio::test]
async fn the_store_may_be_called_like_a_number() {
    for name in ["7", "007", "true"] {
        let home = Home::new();
        let mut command = home.command();
        command.current_dir(home.path()).env("AMOCHATS_STORE_PATH", name);
        let server = home.start_as(command).await;
        assert!(home.path().join(name).is_file(), "{name}");
        drop(server);
    }
}

#[tokio::test]
async fn a_missing_folder_of_the_store_is_named() {
    let home = Home::new();
    let mut command = home.command();
    let missing = home.path().join("missing");
    command.env("AMOCHATS_STORE_PATH", missing.join("inbox.db"));
    let ended = command.output().await.expect("it ends");
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(
        said.contains(&format!("the folder {} of the store does not exist", missing.display())),
        "{said}"
    );
    assert!(!said.contains(".lock"), "{said}");
}

#[test]
fn listen_says_at_once_what_it_cannot_do() {
    assert!(refused(&["listen", "--count", "0"], 2).contains("must be a whole number, 1 or more"));
    for server in ["nonsense", "127.0.0.1:50051", "ftp://127.0.0.1", "http://"] {
        assert!(
            refused(&["listen", "--server", server], 2).contains("must be an address such as"),
            "{server}"
        );
    }
    let ended = run(amochats().arg("listen").env("AMOCHATS_SERVER", "nonsense"), b"");
    assert_eq!(ended.code, 2, "{ended:?}");
}

#[tokio::test]
async fn typing_does_not_count() {
    let home = Home::new();
    let server = home.start().await;
    let to = format!("http://{}/webhook/{CHANNEL}_{ACCOUNT}", server.listener);
    let mut listening = amochats()
        .args(["listen", "--count", "1", "--server", &format!("http://{}", server.grpc)])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdout = BufReader::new(listening.stdout.take().expect("a pipe"));
    let (first, seen) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("UTF-8");
        first.send(()).expect("it is waited for");
        stdout.read_to_string(&mut line).expect("UTF-8");
        line
    });
    let trigger = |kind: &str| {
        let mut command = amochats();
        command.env("AMOCHATS_SECRET", SECRET).args(["webhook", "trigger", "--to", &to, kind]);
        let ended = run(&mut command, b"");
        assert_eq!(ended.code, 0, "{ended:?}");
    };
    // It is handed out live, so there is none before the subscription.
    while seen.recv_timeout(Duration::from_millis(20)).is_err() {
        trigger("typing");
    }
    trigger("message");
    assert!(listening.wait().expect("it ends").success());
    let printed = reader.join().expect("read");
    let kinds: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["kind"].clone())
        .collect();
    assert_eq!(kinds.first(), Some(&"typing".into()), "{printed}");
    assert_eq!(kinds.last(), Some(&"message".into()), "{printed}");
}

#[test]
fn a_failed_delivery_says_once_what_is_missing() {
    let status = ["status", "--scope-id=a_b", "--message-ref-id=M", "--region=ru", "--secret=s"];
    let with = |more: &[&str]| refused(&[&status, more].concat(), 2);
    let said = with(&["--failed", "905"]);
    assert!(said.contains("--failed 905 goes with --error") && !said.contains("error: error"), "{said}");
    assert!(with(&["--failed", "900"]).contains("--failed must be 901, 902, 903, 904 or 905"));
    let edit =
        ["edit", "--scope-id=a_b", "--message-id=m", "--conversation-id=c", "--region=ru", "--secret=s"];
    let said = refused(&[&edit[..], &["--text=x", "--failed=905", "--error="]].concat(), 2);
    assert!(said.contains("--failed 905 goes with --error"), "{said}");
}

/// What `webhook trigger --dry-run` would send, checked.
fn triggered(kind: &str) -> WebhookEvent {
    let mut command = amochats();
    command.env("AMOCHATS_SECRET", SECRET).args(["webhook", "trigger", kind, "--dry-run"]);
    let ended = run(command.args(["--to", "http://127.0.0.1:9/hooks/scope"]), b"");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{kind}: {ended:?}");
    assert!(!ended.stdout.contains(SECRET));
    let request: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(request["url"], "http://127.0.0.1:9/hooks/scope");
    let body = request["body"].as_str().expect("text");
    let secret = ChannelSecret::new(SECRET).expect("clean");
    let signature = request["headers"]["X-Signature"].as_str();
    verify_webhook(&[secret], body.as_bytes(), signature).expect("genuine");
    let event = parse_webhook(VerifiedBody::trust(body.as_bytes())).expect("JSON");
    assert!(event.extra.is_null(), "{kind}: {}", event.extra);
    event
}

#[test]
fn a_value_that_cannot_be_meant_is_refused_before_anything_is_asked() {
    let send =
        "send --scope-id s --conversation-id c --user-id u --name n --text t --sent-at-msec 1700000000";
    for (line, said) in [
        (send, "must be in milliseconds"),
        ("accounts connect nope", "must be the account's amojo_id, a UUID"),
        ("top --once --admin foo", "must be an address such as"),
    ] {
        let error = refused(&line.split(' ').collect::<Vec<_>>(), 2);
        assert!(error.contains(said), "{line}: {error}");
    }
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let ended = run(amochats().args(["webhook", "parse"]), deep.as_bytes());
    assert!(ended.code == 1 && ended.error().starts_with("the body is nested more than"), "{ended:?}");
    for line in [
        "accounts ls --json",
        "backfill --json",
        "backfill --status --json",
        "top",
        "top --once",
        "top --interval 9",
    ] {
        let line = format!("{line} --server http://127.0.0.1:9");
        let error = refused(&line.split(' ').collect::<Vec<_>>(), 3);
        assert!(error.contains("no server answers"), "{line}: {error}");
    }
}

#[test]
fn a_server_that_cannot_listen_leaves_no_store_behind() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    for section in ["listener", "admin", "grpc"] {
        let variable = format!("AMOCHATS_{}_ADDRESS", section.to_uppercase());
        let ended = run(home.command().as_std_mut().env(variable, &address), b"");
        assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{section}: {ended:?}");
        assert!(ended.stderr.contains(&format!("cannot listen on {address} for {section}")), "{ended:?}");
        assert!(!home.store().exists(), "{section}");
    }
}

#[test]
fn a_webhook_is_triggered_for_the_account_in_its_address() {
    let account = "7a1f0b8e-1d6b-4b7c-8f6e-2f7c3f5f9a10";
    for (end, set, expected) in [
        (format!("{CHANNEL}_{account}"), vec![], account),
        (format!("{CHANNEL}_{account}/?x=1"), vec![], account),
        (format!("{CHANNEL}_{account}"), vec!["--set", "account_id=other"], "other"),
        ("my_hook".into(), vec![], ACCOUNT),
    ] {
        let to = format!("http://127.0.0.1:9/webhook/{end}");
        let mut command = amochats();
        command.env("AMOCHATS_SECRET", SECRET).args(["webhook", "trigger", "--dry-run", "--to", &to]);
        let ended = run(command.arg("message").args(set), b"");
        let request: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
        let body: Value = serde_json::from_str(request["body"].as_str().expect("text")).expect("JSON");
        assert_eq!(body["account_id"], expected, "{to}");
    }
}

#[test]
fn every_kind_of_webhook_can_be_triggered() {
    for kind in ["typing", "reaction"] {
        assert_eq!(triggered(kind).kind.name(), kind);
    }
    let kinds = "message v1 picture template list-message reply forward comment write-first";
    for kind in kinds.split(' ') {
        let WebhookKind::Message(message) = triggered(kind).kind else { panic!("{kind} is a message") };
        let has = match kind {
            "message" => message.message_ref_id.is_some(),
            "v1" => message.message_ref_id.is_none() && message.receiver.is_some(),
            "picture" => message.media.is_some(),
            "template" => message.template.is_some(),
            "list-message" => message.markup.is_some_and(|markup| markup.list_message.is_some()),
            "reply" => message.reply_to.is_some(),
            "forward" => message.forwards.is_some_and(|forwards| forwards.messages.len() == 1),
            "comment" => message.post.is_some_and(|post| post.id.is_some()),
            _ => message.conversation_id.is_none() && message.receiver.is_some_and(|r| r.phone.is_some()),
        };
        assert!(has, "{kind}");
    }
}
