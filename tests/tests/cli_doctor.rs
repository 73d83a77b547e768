//! `amochats doctor`: what is well is ok, what is not is named with what to do.

use amochats_sandbox::{Sandbox, SandboxConfig};
use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::server::{ACCOUNT, CHANNEL, Home, SECRET};
use amochats_tests::soon;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;

async fn sandbox() -> Sandbox {
    let config = SandboxConfig {
        channel_id: Some(CHANNEL.into()),
        secret: Some(SECRET.into()),
        accounts: vec![ACCOUNT.into()],
        ..SandboxConfig::default()
    };
    Sandbox::start(config).await.expect("loopback")
}

/// The configuration of a home, with the chats API at another address and an account.
fn with_api(home: &Home, url: &str, account: bool) -> PathBuf {
    let toml = fs::read_to_string(home.config()).expect("readable").replace("http://127.0.0.1:9", url);
    let account = if account { format!("[[channel.account]]\nid = \"{ACCOUNT}\"\n") } else { String::new() };
    let path = home.path().join("doctor.toml");
    fs::write(&path, toml + &account).expect("written");
    path
}

fn doctor(config: &PathBuf, more: &[&str]) -> Ended {
    run(amochats().args(["doctor", "--json", "--config"]).arg(config).args(more), b"")
}

/// What each check found: its verdict and its words.
fn found(ended: &Ended) -> Vec<(String, String, String)> {
    assert_eq!(ended.stderr, "", "{ended:?}");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let lines = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.map(|line| (text(&line["check"]), text(&line["verdict"]), text(&line["message"]))).collect()
}

fn verdict<'a>(found: &'a [(String, String, String)], check: &str) -> (&'a str, &'a str) {
    let line = found.iter().find(|(name, ..)| name == check);
    let (_, verdict, said) = line.unwrap_or_else(|| panic!("no {check} in {found:?}"));
    (verdict, said)
}

/// Answers every request with these bytes.
fn peer(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            // One read is enough of a request that is as short.
            let _ = stream.read(&mut head);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_works_is_well() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    let connect = amochats::Connect::new(ACCOUNT);
    let secret = amochats::ChannelSecret::new(SECRET).expect("clean");
    let api = format!("http://{}", sandbox.api_addr());
    let client = amochats::Client::builder(CHANNEL, secret).base_url(&api).build().expect("a client");
    client.connect(&connect).await.expect("connected");
    let config = with_api(&home, &api, true);
    let server = home.start().await;
    let hook = format!("http://{}/webhook/:scope_id", server.listener);
    let admin = format!("http://{}", server.admin);
    let ended = doctor(&config, &["--webhook-url", &hook, "--admin", &admin]);
    let all = found(&ended);
    let names: Vec<&str> = all.iter().map(|(check, ..)| check.as_str()).collect();
    assert_eq!(
        names,
        ["config", "secrets", "disk", "store", "api", "clock", "secret", "webhook", "server"],
        "{all:?}"
    );
    assert!(all.iter().all(|(_, verdict, _)| verdict == "ok"), "{all:?}");
    assert_eq!(ended.code, 0);
    let text = run(amochats().args(["doctor", "--config"]).arg(&config), b"");
    assert!(
        text.stdout
            .lines()
            .any(|line| line == "ok       server   ready" || line.starts_with("warning  server "))
    );
    for output in [&text.stdout, &ended.stdout] {
        assert!(!output.contains(SECRET));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_with_what_to_do() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    let api = format!("http://{}", sandbox.api_addr());
    let config = with_api(&home, &api, true);
    let toml = fs::read_to_string(&config).expect("readable");
    let file = home.path().join("secret");
    fs::write(&file, "another-secret").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("set");
    let other = toml.replace(
        &format!("secret = \"{SECRET}\""),
        &format!("secret_file = {:?}", file.to_str().expect("UTF-8")),
    );
    fs::write(&config, other).expect("written");
    fs::write(home.store(), "this is no database, and long enough to be looked at").expect("written");
    let taken = peer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let unready = peer(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 18\r\nConnection: close\r\n\r\nthe disk is full!\n",
    );
    let ended = doctor(&config, &["--webhook-url", &taken, "--admin", &unready]);
    let all = found(&ended);
    assert_eq!(ended.code, 1);
    for (check, expected, words) in [
        ("secrets", "warning", "chmod 600"),
        ("store", "failed", "inbox.db"),
        ("api", "ok", "answers"),
        ("secret", "failed", "compare the secret with the letter"),
        ("webhook", "failed", "takes what is not signed"),
        ("server", "failed", "not ready (503): the disk is full!"),
    ] {
        let (found, said) = verdict(&all, check);
        assert!(found == expected && said.contains(words), "{check}: {found} {said}");
    }
}

/// The service may answer both with 403.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_told_from_an_account_that_is_not_connected() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    let api = format!("http://{}", sandbox.api_addr());
    for (account, secret, expected, words) in [
        (true, SECRET, "failed", "the account is not connected"),
        (true, "another-secret", "failed", "compare the secret"),
        (false, SECRET, "ok", "no account of it is known"),
        (false, "another-secret", "failed", "compare the secret"),
    ] {
        let config = with_api(&home, &api, account);
        let toml = fs::read_to_string(&config).expect("readable");
        fs::write(&config, toml.replace(SECRET, secret)).expect("written");
        let all = found(&doctor(&config, &[]));
        let (found, said) = verdict(&all, "secret");
        assert!(found == expected && said.contains(words), "{account} {secret}: {found} {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_found_by_the_services_own() {
    let home = Home::new();
    let (old, near) = (
        peer(
            "HTTP/1.1 404 Not Found\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        peer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    );
    let ended = doctor(&with_api(&home, &old, false), &[]);
    let all = found(&ended);
    let (found_clock, said) = verdict(&all, "clock");
    assert!(found_clock == "failed" && said.contains("ahead of the service's"), "{said}");
    let (found_secret, said) = verdict(&all, "secret");
    assert!(found_secret == "failed" && said.contains("knows no channel"), "{said}");
    assert_eq!(
        verdict(&all, "store"),
        ("ok", &*format!("{} will be made at the first start", home.store().display()))
    );
    assert_eq!(ended.code, 1);

    let ended = doctor(&with_api(&home, &near, false), &[]);
    let all = found(&ended);
    let failed: Vec<_> =
        all.iter().filter(|(_, verdict, _)| verdict == "failed").map(|(check, ..)| check.as_str()).collect();
    assert_eq!((verdict(&all, "clock").0, failed), ("warning", vec!["secret"]));
    let gone = doctor(&with_api(&home, "http://127.0.0.1:9", false), &[]);
    assert_eq!((verdict(&found(&gone), "api").0, gone.code), ("failed", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_address_that_leads_elsewhere_fails() {
    let (home, sandbox) = (Home::new(), sandbox().await);
    let config = with_api(&home, &format!("http://{}", sandbox.api_addr()), false);
    let server = home.start().await;
    for (path, words) in [("/elsewhere/:scope_id", "404"), ("/webhook/one_account", "404")] {
        let hook = format!("http://{}{path}", server.listener);
        let ended = doctor(&config, &["--webhook-url", &hook]);
        let all = found(&ended);
        let (found, said) = verdict(&all, "webhook");
        assert!(found == "failed" && said.starts_with(words), "{said}");
        assert_eq!(ended.code, 1);
    }
}

#[test]
fn a_configuration_that_cannot_be_used_ends_it() {
    let home = Home::new();
    let config = home.path().join("broken.toml");
    fs::write(&config, "[listner]\n").expect("written");
    let ended = doctor(&config, &[]);
    assert_eq!(ended.code, 1);
    assert_eq!(verdict(&found(&ended), "config").0, "failed");
    let missing = doctor(&home.path().join("missing.toml"), &[]);
    assert_eq!((missing.code, missing.stdout.as_str()), (3, ""));
    let usage = doctor(&config, &["--webhook-url", "ftp://x"]);
    assert_eq!(usage.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_could_not_be_connected_is_named() {
    // Nobody listens where the chats API should be.
    let home = Home::with(&format!("[[channel.account]]\nid = \"{ACCOUNT}\"\nconnect = true\n"));
    let server = home.start().await;
    let named = async {
        loop {
            let all = found(&doctor(&home.config(), &[]));
            if let Some((_, verdict, said)) = all.into_iter().find(|(check, ..)| check == "account") {
                return (verdict, said);
            }
        }
    };
    let (verdict, said) = soon("the account", named).await;
    assert_eq!(verdict, "warning");
    assert!(said.contains(ACCOUNT) && said.contains("could not be connected"), "{said}");
    server.kill().await;
}
