//! Linking an account from the command line on: letter, key, logins, and `amochats serve` beside a
//! sandbox whose CRM tells of the installation by itself.

use amochats_sandbox::{IntegrationSettings, Sandbox, SandboxConfig};
use amochats_tests::command::{Ended, amochats, run};
use amochats_tests::server::{Home, Server};
use amochats_tests::soon;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PASSWORD: &str = "correct horse";
const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";

fn amochats_with(args: &[&str], stdin: &str) -> Ended {
    run(amochats().args(args), stdin.as_bytes())
}

struct Logins(TempDir);

impl Logins {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("users")
    }

    fn user(&self, action: &str, login: &[&str], stdin: &str) -> Ended {
        let file = self.file();
        let mut args = vec!["widget", "user", action, "--file", file.to_str().expect("UTF-8")];
        args.extend(login);
        amochats_with(&args, stdin)
    }
}

#[test]
fn logins_are_kept_hashed_and_readable_by_their_owner_alone() {
    let logins = Logins::new();
    assert_eq!(logins.user("list", &[], "").code, 3, "there is no file yet");
    let added = logins.user("add", &["anna@example.org"], &format!("{PASSWORD}\n"));
    assert_eq!((added.code, added.stdout.as_str()), (0, ""), "{added:?}");
    assert_eq!(logins.user("add", &["boris"], "another password").code, 0, "no line end");
    let first = fs::read_to_string(logins.file()).expect("there");
    assert!(first.contains("anna@example.org:$argon2id$v=19$m=19456,t=2,p=1$"), "{first}");
    assert!(!first.contains(PASSWORD));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(logins.file()).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(logins.user("list", &[], "").stdout, "anna@example.org\nboris\n");

    let changed = logins.user("add", &["boris"], "a third password");
    assert!(changed.code == 0 && changed.stderr.contains("changed"), "{changed:?}");
    assert_ne!(fs::read_to_string(logins.file()).expect("there"), first);
    assert_eq!(logins.user("remove", &["boris"], "").code, 0);
    assert_eq!(logins.user("remove", &["boris"], "").code, 1);
    assert_eq!(logins.user("list", &[], "").stdout, "anna@example.org\n");
    assert_eq!(fs::read_dir(logins.0.path()).expect("a folder").count(), 1, "nothing is left over");
}

#[test]
fn logins_that_cannot_be_are_refused() {
    let logins = Logins::new();
    for (login, password, said) in [
        ("a:b", PASSWORD, "login"),
        ("", PASSWORD, "login"),
        ("anna", "short", "password: must be 8"),
        ("anna", "", "password: must be 8"),
        ("anna", "two lines\nof it\n", "one line"),
    ] {
        let refused = logins.user("add", &[login], password);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.error().contains(said) && !refused.error().contains("two lines"), "{refused:?}");
    }
    assert!(!logins.file().exists());
    let argument = logins.user("add", &["anna", PASSWORD], "");
    assert!(argument.code == 2 && !argument.stderr.contains(PASSWORD), "never an argument: {argument:?}");
    fs::write(logins.file(), "anna:plain\n").expect("written");
    let broken = logins.user("add", &["boris"], PASSWORD);
    assert!(broken.code == 2 && broken.error().contains("line 1"), "{broken:?}");
    assert_eq!(fs::read_to_string(logins.file()).expect("there"), "anna:plain\n", "left as it was");
}

const ICON: &str =
    r#"<svg xmlns="http://www.w3.org/2000/svg" width="14" height="14"><circle cx="7" cy="7" r="7"/></svg>"#;

/// A letter with every part but those that are left out, and further flags.
fn letter(icon: &Path, without: &[&str], more: &[&str]) -> Ended {
    let icon = icon.to_str().expect("UTF-8");
    let mut args = vec!["channel", "request"];
    for pair in [
        ["--region", "ru"],
        ["--service-name", "Example chat"],
        ["--webhook-url", "https://chat.example.org/webhook/:scope_id"],
        ["--account", ACCOUNT],
        ["--email", "ops@example.org"],
        ["--icon", icon],
        ["--client-id", "11111111-2222-4333-8444-555555555555"],
        ["--widget-code", "example_widget"],
        ["--write-first", "no"],
        ["--time-window", "86400"],
        ["--similar", "none known"],
        ["--stores-files", "yes"],
        ["--reactions", "👍❤"],
        ["--quoting", "yes"],
        ["--voice", "no"],
    ] {
        if !without.contains(&pair[0]) {
            args.extend(pair);
        }
    }
    args.extend(more);
    amochats_with(&args, "")
}

#[test]
fn the_letter_holds_all_that_support_asks_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let icon = folder.path().join("icon.svg");
    fs::write(&icon, ICON).expect("written");
    let russian = letter(&icon, &[], &["--typing", "yes", "--public"]);
    assert_eq!((russian.code, russian.stderr.as_str()), (0, ""), "{russian:?}");
    for part in [
        "Здравствуйте!",
        "Название сервиса: Example chat",
        "https://chat.example.org/webhook/:scope_id",
        ACCOUNT,
        "ops@example.org",
        "icon.svg (",
        "11111111-2222-4333-8444-555555555555",
        "example_widget",
        "Возможность писать первым: нет",
        "секунд: 86400",
        "публичный после проверки",
        "none known",
        "хранит файлы: да",
        "👍❤",
        "Цитирование сообщений: да",
        "Голосовые сообщения: нет",
        "о наборе текста: да",
    ] {
        assert!(russian.stdout.contains(part), "{part}: {}", russian.stdout);
    }
    // Kommo leaves more open.
    let open = [
        "--region",
        "--write-first",
        "--time-window",
        "--similar",
        "--stores-files",
        "--reactions",
        "--quoting",
        "--voice",
    ];
    let english = letter(&icon, &open, &["--region", "kommo", "--max-file-size", "20"]);
    assert_eq!(english.code, 0, "{english:?}");
    assert!(english.stdout.starts_with("Hello!") && english.stdout.contains("Largest file, MB: 20"));
    assert!(english.stdout.is_ascii(), "{}", english.stdout);
}

#[test]
fn what_the_letter_lacks_is_named_all_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let icon = folder.path().join("icon.svg");
    fs::write(&icon, ICON).expect("written");
    let all = amochats_with(&["channel", "request", "--region", "ru"], "");
    assert_eq!((all.code, all.stdout.as_str()), (1, ""));
    for flag in [
        "service-name",
        "webhook-url",
        "account",
        "email",
        "icon",
        "client-id",
        "widget-code",
        "write-first",
        "time-window",
        "similar",
        "stores-files",
        "reactions",
        "quoting",
        "voice",
    ] {
        assert!(all.error().contains(&format!("--{flag} is missing")), "{flag}: {all:?}");
        let flag = format!("--{flag}");
        let one = letter(&icon, &[&flag], &[]);
        assert_eq!(one.code, 1, "{flag}");
        assert!(one.error().starts_with(&format!("the letter lacks: {flag} ")), "{one:?}");
    }
    assert_eq!(amochats_with(&["channel", "request"], "").code, 1, "the region");
    for (flag, value) in [
        ("--service-name", "Пример"),
        ("--service-name", "1st"),
        ("--webhook-url", "http://chat.example.org/webhook/:scope_id"),
        ("--webhook-url", "https://chat.example.org/webhook"),
        ("--webhook-url", "https://chat.example.org/?s=:scope_id"),
        ("--account", "12345678"),
        ("--email", "ops"),
        ("--client-id", "x"),
        ("--widget-code", "a b"),
        ("--time-window", "soon"),
        ("--reactions", "thumbs up"),
    ] {
        let wrong = letter(&icon, &[flag], &[flag, value]);
        assert_eq!((wrong.code, wrong.stdout.as_str()), (1, ""), "{flag} {value}");
        assert!(wrong.error().contains(&format!("{flag} must be")), "{wrong:?}");
    }
    let two = letter(&icon, &["--region"], &["--region", "kommo", "--account", ACCOUNT]);
    assert!(two.code == 1 && two.error().contains("Kommo takes one"), "{two:?}");
}

#[test]
fn only_icons_that_support_takes_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let icon = folder.path().join("icon.svg");
    let svg = |attributes: &str, inside: &str| {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" {attributes}>{inside}</svg>"
        )
    };
    for (what, text, good) in [
        ("by its view", svg("viewBox=\"0 0 14 14\"", "<circle r=\"7\"/>"), true),
        ("in pixels", svg("width=\"14px\" height=\"14px\" viewBox=\"0 0 24 24\"", ""), true),
        ("own reference", svg("width=\"14\" height=\"14\"", "<use xlink:href=\"#a\"/>"), true),
        ("too large", svg("width=\"16\" height=\"16\"", ""), false),
        ("not square", svg("width=\"14\" height=\"15\"", ""), false),
        ("no size", svg("", ""), false),
        ("view of 24", svg("viewBox=\"0 0 24 24\"", ""), false),
        ("too many bytes", svg("width=\"14\" height=\"14\"", &" ".repeat(100 * 1024)), false),
        ("not XML", "PNG".into(), false),
        ("not SVG", "<html width=\"14\" height=\"14\"/>".into(), false),
        ("a script", svg("width=\"14\" height=\"14\"", "<script>1</script>"), false),
        ("a handler", svg("width=\"14\" height=\"14\" onload=\"x()\"", ""), false),
        (
            "a reference",
            svg("width=\"14\" height=\"14\"", "<image href=\"https://example.org/a.png\"/>"),
            false,
        ),
    ] {
        fs::write(&icon, text).expect("written");
        let said = letter(&icon, &[], &[]);
        assert_eq!(said.code, i32::from(!good), "{what}: {said:?}");
        assert!(good || said.error().starts_with("the letter lacks: --icon must be"), "{what}: {said:?}");
    }
    fs::remove_file(&icon).expect("removed");
    assert_eq!(letter(&icon, &[], &[]).code, 3, "no such file");
}

const REDIRECT: &str = "https://chat.example.org/oauth/redirect";

/// A sandbox that plays the CRM, and a server's folder that links its accounts.
struct Linking {
    sandbox: Sandbox,
    client_id: String,
    home: Home,
    logins: Logins,
}

impl Linking {
    /// With further keys in `[widget]`.
    async fn new(more: &str) -> Self {
        let sandbox = Sandbox::start(SandboxConfig {
            channel_id: Some(amochats_tests::server::CHANNEL.into()),
            secret: Some(amochats_tests::server::SECRET.into()),
            accounts: vec![ACCOUNT.into()],
            ..SandboxConfig::default()
        })
        .await
        .expect("started");
        let api = sandbox.api_url();
        let integration = sandbox.crm().integrations().remove(0);
        let registered =
            IntegrationSettings { redirect_uri: Some(REDIRECT.into()), ..IntegrationSettings::default() };
        sandbox.crm().change_integration(&integration.client_id, registered).expect("changed");
        let logins = Logins::new();
        assert_eq!(logins.user("add", &["anna"], PASSWORD).code, 0);
        let key = amochats_with(&["widget", "key"], "").stdout;
        fs::write(logins.0.path().join("key"), &key).expect("written");

        let linking =
            Self { sandbox, client_id: integration.client_id.clone(), home: Home::with(""), logins };
        let files = linking.logins.0.path();
        linking.rewrite(
            "[[channel]]",
            &format!(
                "[widget]\nredirect_uri = \"{REDIRECT}\"\norigins = [\"{api}\"]\n{more}\n\
                 key_file = \"{}\"\nusers_file = \"{}\"\n[[channel]]\nclient_id = \"{}\"\nclient_secret = \"{}\"",
                files.join("key").display(),
                linking.logins.file().display(),
                integration.client_id,
                integration.client_secret
            ),
        );
        linking.rewrite("base_url = \"http://127.0.0.1:9\"", &format!("base_url = \"{api}\""));
        linking
    }

    /// Changes a part of the configuration.
    fn rewrite(&self, part: &str, new: &str) {
        let toml = fs::read_to_string(self.home.config()).expect("there");
        assert!(toml.contains(part), "{part}: {toml}");
        fs::write(self.home.config(), toml.replace(part, new)).expect("written");
    }

    /// Guesses a password, and gives the error's code. The forwarded address is what a proxy would say.
    async fn guess(&self, server: &Server, forwarded: &str) -> String {
        let token =
            self.sandbox.crm().one_time_token(&self.client_id, &ACCOUNT.into(), None).expect("a token");
        let request = reqwest_client()
            .post(format!("http://{}/widget/connect", server.listener))
            .header("Origin", self.sandbox.api_url())
            .header("X-Auth-Token", token)
            .header("X-Forwarded-For", forwarded)
            .json(&json!({ "login": "anna", "password": "guessed", "amojo_id": ACCOUNT }));
        let answer: Value = request.send().await.expect("answered").json().await.expect("JSON");
        answer["error"]["code"].as_str().expect("refused").to_owned()
    }
}

#[tokio::test]
async fn a_hang_up_changes_what_linking_allows() {
    let linking = Linking::new("attempts = 1000\nattempts_per_peer = 1\nattempts_window_s = 86400").await;
    linking.rewrite("[listener]", "[listener]\ntrusted_proxies = [\"127.0.0.1\"]");
    let server = linking.home.start().await;
    let http = reqwest_client();
    let may_call = async |origin: &str| {
        let request =
            http.request(reqwest::Method::OPTIONS, format!("http://{}/widget/connect", server.listener));
        request.header("Origin", origin).send().await.expect("answered").status() == 204
    };
    let reloaded = async |outcome: &str, count: u32| {
        let line = format!("\namochats_config_reloads_total{{outcome=\"{outcome}\"}} {count}\n");
        server.signal("HUP").await;
        let counted = async {
            let metrics = format!("http://{}/metrics", server.admin);
            let ask = async || http.get(&metrics).send().await.expect("answered").text().await.expect("text");
            while !ask().await.contains(&line) {}
        };
        soon(&line, counted).await;
    };
    let (old, new) = (linking.sandbox.api_url(), "http://127.0.0.1:9");
    assert!(may_call(&old).await && !may_call(new).await);
    assert_eq!(linking.guess(&server, "192.0.2.1").await, "WRONG_CREDENTIALS");
    assert_eq!(linking.guess(&server, "192.0.2.1").await, "TOO_MANY_ATTEMPTS");

    // One that cannot be used changes nothing.
    linking.rewrite("attempts_per_peer = 1", "attempts_per_peer = 0");
    linking.rewrite(&format!("origins = [\"{old}\"]"), &format!("origins = [\"{new}\"]"));
    reloaded("failed", 1).await;
    assert!(may_call(&old).await && !may_call(new).await);

    linking.rewrite("attempts_per_peer = 0", "attempts_per_peer = 3");
    linking.rewrite(&format!("[\"{new}\"]"), &format!("[\"{old}\", \"{new}\"]"));
    linking.rewrite(REDIRECT, "https://elsewhere.example.org/oauth");
    reloaded("ok", 1).await;
    assert!(may_call(&old).await && may_call(new).await);
    for _ in 0..3 {
        assert_eq!(
            linking.guess(&server, "192.0.2.2").await,
            "WRONG_CREDENTIALS",
            "by the address of before"
        );
    }
    assert_eq!(linking.guess(&server, "192.0.2.2").await, "TOO_MANY_ATTEMPTS");
    server.signal("TERM").await;
    assert!(server.ended().await.success());
    let log = fs::read_to_string(linking.home.log()).expect("readable");
    assert!(log.contains("a restart is needed for widget.redirect_uri"), "{log}");
}

#[tokio::test]
async fn who_guesses_is_known_behind_a_proxy_and_cannot_lie_without_one() {
    for (proxies, third) in [("\"127.0.0.1\"", "WRONG_CREDENTIALS"), ("", "TOO_MANY_ATTEMPTS")] {
        let linking = Linking::new("attempts = 1000\nattempts_per_peer = 2\nattempts_window_s = 86400").await;
        linking.rewrite("[listener]", &format!("[listener]\ntrusted_proxies = [{proxies}]"));
        let server = linking.home.start().await;
        for _ in 0..2 {
            assert_eq!(linking.guess(&server, "192.0.2.1").await, "WRONG_CREDENTIALS");
        }
        assert_eq!(linking.guess(&server, "192.0.2.1").await, "TOO_MANY_ATTEMPTS", "{proxies}");
        assert_eq!(linking.guess(&server, "192.0.2.2").await, third, "{proxies}");
        // What a client puts before the proxy's own word counts for nothing.
        let lie = linking.guess(&server, "192.0.2.9, 192.0.2.1").await;
        assert_eq!(lie, "TOO_MANY_ATTEMPTS", "{proxies}");
        server.signal("TERM").await;
        assert!(server.ended().await.success());
    }
}

#[tokio::test]
async fn a_sandboxs_account_links_itself_to_a_server() {
    let linking = Linking::new("").await;
    let (sandbox, home) = (&linking.sandbox, &linking.home);
    let api = sandbox.api_url();
    let integration = sandbox.crm().integrations().remove(0);
    let server = home.start().await;
    // What the CRM calls is this machine; what it is registered as is part of every token.
    let settings = IntegrationSettings {
        redirect_uri: Some(REDIRECT.into()),
        disable_url: Some(format!("http://{}/disable", server.listener)),
        ..IntegrationSettings::default()
    };
    sandbox.crm().change_integration(&integration.client_id, settings).expect("changed");

    let http = reqwest_client();
    let account = ACCOUNT.into();
    let ask = async |method: &str, target: &str, body: Value| {
        let token = sandbox.crm().one_time_token(&integration.client_id, &account, None).expect("a token");
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = http.request(method, format!("http://{}{target}", server.listener));
        let request = request.header("Origin", &api).header("X-Auth-Token", token).json(&body);
        let answer = request.send().await.expect("answered");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let form = |password: &str| json!({ "login": "anna", "password": password, "amojo_id": ACCOUNT });
    let state = format!("/widget/state?amojo_id={ACCOUNT}");

    let (status, wrong) = ask("POST", "/widget/connect", form("wrong")).await;
    assert_eq!((status, wrong["error"]["code"].as_str()), (403, Some("WRONG_CREDENTIALS")));
    for round in ["installed", "installed again"] {
        let (status, early) = ask("POST", "/widget/connect", form(PASSWORD)).await;
        assert_eq!((status, early["error"]["code"].as_str()), (409, Some("NOT_INSTALLED")), "{round}");
        let code = sandbox.crm().issue_code(&integration.client_id, &account, None).expect("a code");
        let referer = api.trim_start_matches("http://");
        let redirect = format!(
            "http://{}/oauth/redirect?code={code}&referer={referer}&client_id={}",
            server.listener, integration.client_id
        );
        assert_eq!(http.get(redirect).send().await.expect("answered").status(), 200);
        let connected = async { while ask("GET", &state, Value::Null).await.1["state"] != "connected" {} };
        soon("connection", connected).await;
        let (status, again) = ask("POST", "/widget/connect", form(PASSWORD)).await;
        assert_eq!((status, again["state"].as_str()), (200, Some("connected")), "{again}");

        sandbox.crm().disable(&integration.client_id, &account).expect("disabled");
        let gone = async { while ask("GET", &state, Value::Null).await.1["state"] != "disconnected" {} };
        soon("end", gone).await;
    }
    let listed =
        run(amochats().args(["accounts", "ls", "--server", &format!("http://{}", server.grpc)]), b"");
    let listed: Value = serde_json::from_str(&listed.stdout).expect("one account");
    assert_eq!((&listed["account_id"], &listed["state"]), (&json!(ACCOUNT), &json!("disabled")));
    server.signal("TERM").await;
    assert!(server.ended().await.success());
}

fn reqwest_client() -> reqwest::Client {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("a client")
}
