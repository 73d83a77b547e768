//! The configuration: what is read, what is refused, and in which words.

use amochats::{Error, ErrorKind};
use amochats_runtime::Config;
use std::fs;

const CHANNEL: &str = "[[channel]]\nid = \"a4490ccc\"\nsecret = \"s3cret-value\"\nregion = \"ru\"\n";

fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Config, Error> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(toml, environment)
}

fn refused(toml: &str, environment: &[(&str, &str)]) -> Error {
    let error = load(toml, environment).expect_err(toml);
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    let said = format!("{error} {error:?}");
    assert!(!said.contains("s3cret"), "{said}");
    assert!(!error.to_string().contains('\n'), "{said}");
    error
}

#[test]
fn the_example_shows_every_key_with_its_default() {
    let example = load(Config::EXAMPLE, &[]).expect("valid");
    let channel = Config::EXAMPLE.split_once("[[channel]]").expect("a channel").1;
    let defaults = load(&format!("[[channel]]{channel}"), &[]).expect("valid");
    assert_eq!(format!("{example:?}"), format!("{defaults:?}"));
    // What is not in the example would show here: each field that Debug prints is a key.
    let shown = format!(
        "{:?}{:?}{:?}{:?}{:?}{:?}",
        example.listener, example.admin, example.store, example.inbox, example.accounts, example.widget
    );
    for field in shown.split(['{', ',']).filter_map(|part| part.trim().split_once(": ")) {
        assert!(Config::EXAMPLE.contains(&format!("\n{} = ", field.0)), "{} is not in the example", field.0);
    }
    for key in [
        "id",
        "secret",
        "old_secrets",
        "region",
        "secret_file",
        "base_url",
        "client_id",
        "client_secret",
        "client_secret_file",
        "connect",
        "title",
        "hook_version",
        "crm_account_id",
    ] {
        assert!(channel.contains(&format!("{key} = ")), "{key} is not in the example");
    }
    assert_eq!(Config::EXAMPLE.matches("[[channel]]\nid").count(), 1);
}

#[test]
fn each_mistake_is_named_with_what_to_do() {
    for (toml, field, said) in [
        ("listener.webhook_path = \"/webhook\"", "listener.webhook_path", "/webhook/:scope_id"),
        ("listener.webhook_path = \"webhook/:scope_id\"", "listener.webhook_path", "begin with"),
        ("listener.webhook_path = \"/webhook:scope_id\"", "listener.webhook_path", "end with"),
        ("listener.webhook_path = \"/:any/:scope_id\"", "listener.webhook_path", "must begin"),
        ("listener.webhook_path = \"/a?b/:scope_id\"", "listener.webhook_path", "must begin"),
        ("listener.webhook_path = \"\"", "listener.webhook_path", "must begin"),
        ("listener.keep_deadline_ms = 5000", "listener.keep_deadline_ms", "1 to 4900"),
        ("listener.keep_deadline_ms = 0", "listener.keep_deadline_ms", "1 to 4900"),
        ("listener.max_body_bytes = 0", "listener.max_body_bytes", "more than 0"),
        ("listener.max_in_flight_bytes = 1000", "listener.max_body_bytes", "at most max_in_flight_bytes"),
        ("listener.max_in_flight_bytes = 3000000000", "listener.max_in_flight_bytes", "at most"),
        ("listener.max_connections = 0", "listener.max_connections", "1 to"),
        ("listener.max_connections = 9223372036854775807", "listener.max_connections", "1 to"),
        ("listener.header_timeout_ms = 0", "listener.header_timeout_ms", "1 to"),
        ("listener.keep_alive_timeout_ms = 0", "listener.keep_alive_timeout_ms", "1 to"),
        ("listener.max_connections_per_peer = 0", "listener.max_connections_per_peer", "more than 0"),
        ("listener.more_webhook_paths = [\"/x\"]", "listener.more_webhook_paths", "/webhook/:scope_id"),
        ("listener.disable_path = \"x\"", "listener.disable_path", "begin with"),
        ("store.path = \"\"", "store.path", "must name a file"),
        ("store.path = \"postgres://localhost/x\"", "store.path", "not there yet"),
        ("listener.tls_cert = \"/none/such\"", "listener.tls_key", "is missing"),
        ("listener.tls_key = \"/none/such\"", "listener.tls_cert", "is missing"),
        (
            "listener.tls_cert = \"/none/such\"\nlistener.tls_key = \"/none/such\"",
            "listener.tls_cert",
            "cannot read /none/such",
        ),
        ("listener.trusted_proxies = [\"proxy.example\"]", "listener.trusted_proxies", "10.0.0.0/8"),
        ("listener.proxy_protocol = true", "listener.proxy_protocol", "trusted_proxies"),
        ("accounts.check_interval_s = 1", "accounts.check_interval_s", "60 to"),
        ("inbox.max_attempts = 0", "inbox", "more than 0"),
        ("inbox.min_delay_ms = 10\ninbox.max_delay_ms = 9", "inbox", "at most max_delay_ms"),
    ] {
        let error = refused(&format!("{toml}\n{CHANNEL}"), &[]);
        assert_eq!(error.field(), Some(field), "{toml}: {error}");
        assert!(error.to_string().starts_with(field) && error.to_string().contains(said), "{toml}: {error}");
    }
}

#[test]
fn each_mistake_of_a_channel_is_named() {
    let twice = format!("{CHANNEL}{CHANNEL}");
    let more = |more: &str| format!("{CHANNEL}{more}\n");
    let old = |old: &str| more(&format!("old_secrets = [{old}]"));
    for (toml, field, said) in [
        ("", "channel", "add a [[channel]]"),
        (&twice, "channel.id", "the same id"),
        ("[[channel]]\nid = \"\"\nsecret = \"s3cret\"\nregion = \"ru\"", "channel.id", "UUID"),
        ("[[channel]]\nid = \"a_b\"\nsecret = \"s3cret\"\nregion = \"ru\"", "channel.id", "UUID"),
        ("[[channel]]\nid = \"a\"\nregion = \"ru\"", "channel.secret", "AMOCHATS_SECRET"),
        ("[[channel]]\nid = \"a\"\nsecret = \"\"\nregion = \"ru\"", "channel.secret", "empty"),
        ("[[channel]]\nid = \"a\"\nsecret = \"s3cret \"\nregion = \"ru\"", "channel.secret", "blanks"),
        (
            "[[channel]]\nid = \"a\"\nsecret = \"x\"\nold_secrets = [\"s3cret\\n\"]\nregion = \"ru\"",
            "channel.old_secrets",
            "line feeds",
        ),
        (
            "[[channel]]\nid = \"a\"\nsecret = \"s3cret\"\nsecret_file = \"/f\"\nregion = \"ru\"",
            "channel.secret",
            "twice",
        ),
        (
            "[[channel]]\nid = \"a\"\nsecret_file = \"/none/such\"\nregion = \"ru\"",
            "channel.secret_file",
            "/none/such",
        ),
        (&old("\"\""), "channel.old_secrets", "empty"),
        (&old("{ until = \"2026-12-01T00:00:00Z\" }"), "channel.old_secrets", "value or file"),
        (&old("{ value = \"s3cret\", file = \"/f\" }"), "channel.old_secrets", "twice"),
        (&old("{ value = \"s3cret\", until = \"tomorrow\" }"), "channel.old_secrets", "until must be"),
        (&more("client_id = \"c\""), "channel.client_secret", "is missing"),
        (&more("client_secret = \"s3cret\""), "channel.client_id", "is missing"),
        (&more("[[channel.account]]\nid = \"a_b\""), "channel.account.id", "amojo_id"),
        (&more("account = [{ id = \"a\" }, { id = \"a\" }]"), "channel.account.id", "the same id"),
        (&more("account = [{ id = \"a\", hook_version = \"v3\" }]"), "channel.account.hook_version", "v2"),
        ("[[channel]]\nid = \"a\"\nsecret = \"s3cret\"", "channel.region", "ru, kommo or com"),
        ("[[channel]]\nid = \"a\"\nsecret = \"s3cret\"\nregion = \"eu\"", "channel.region", "kommo"),
        (
            "[[channel]]\nid = \"a\"\nsecret = \"s3cret\"\nregion = \"ru\"\nbase_url = \"http://x\"",
            "channel.region",
            "either",
        ),
        ("[[channel]]\nid = \"a\"\nsecret = \"s3cret\"\nbase_url = \"here\"", "channel.base_url", "http"),
    ] {
        let error = refused(toml, &[]);
        assert_eq!(error.field(), Some(field), "{toml}: {error}");
        assert!(error.to_string().starts_with(field) && error.to_string().contains(said), "{toml}: {error}");
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_named_without_their_values() {
    for (toml, said) in [
        ("adress = 1", "adress"),
        ("[listner]\naddress = \"s3cret\"", "listner"),
        ("[listener]\nadress = \"s3cret\"", "adress"),
        ("[store]\nfile = \"s3cret\"", "file"),
        ("[[channel]]\nid = \"a\"\nsecrets = \"s3cret\"", "secrets"),
        ("listener.address = \"s3cret\"", "address"),
        ("listener.max_body_bytes = \"s3cret\"", "max_body_bytes"),
        ("listener.max_body_bytes = \"as expected s3cret\"", "max_body_bytes"),
        ("listener.max_body_bytes = \"a, expected s3cret\"", "max_body_bytes"),
        ("listener.max_body_bytes = -5", "max_body_bytes"),
        ("inbox.keep_typing = \"s3cret\"", "keep_typing"),
        ("inbox.max_attempts = 5000000000", "max_attempts"),
        ("listener = \"s3cret\"", "listener"),
        ("channel = \"s3cret\"", "channel"),
        ("[[channel]]\nid = \"a\"\nold_secrets = \"s3cret\"", "old_secrets"),
        ("[[channel]]\nsecret = \"s3cret\"", "id"),
        ("[[channel]]\nid = \"a\"\nsecret = [\"s3cret\"]", "secret"),
    ] {
        let error = refused(toml, &[]);
        assert!(error.to_string().contains(said), "{toml}: {error}");
    }
}

#[test]
fn text_that_is_not_toml_is_placed_but_not_quoted() {
    for (toml, line) in [
        ("secret = s3cret", 1),
        ("\n\nsecret = \"s3cret", 3),
        ("a = 1\n= \"s3cret\"\n", 2),
        ("a = 1\na = \"s3cret\"\n", 2),
        ("[listener\naddress = \"s3cret\"", 1),
        ("# \u{439}\u{439}\n\u{439} = \"s3cret\"", 2),
    ] {
        let error = refused(toml, &[]);
        assert!(error.to_string().starts_with(&format!("line {line} ")), "{toml:?}: {error}");
    }
}

#[test]
fn the_environment_wins_and_every_variable_of_ours_must_be_known() {
    let config = load(
        &format!("listener.address = \"127.0.0.1:1\"\n{CHANNEL}"),
        &[
            ("AMOCHATS_LISTENER_ADDRESS", "127.0.0.1:2"),
            ("AMOCHATS_LISTENER_MAX_BODY_BYTES", "77"),
            ("AMOCHATS_INBOX_KEEP_TYPING", "true"),
            ("AMOCHATS_STORE_PATH", "/elsewhere/inbox.db"),
            ("AMOCHATS_ADMIN_ADDRESS", "[::1]:3"),
            ("AMOCHATS_LISTENER_TRUSTED_PROXIES", r#"["10.0.0.0/8", "::1"]"#),
            ("AMOCHATS_OUTBOX_RATE", "5.5"),
            ("AMOCHATS_BACKFILL_RATE", "2"),
            ("PATH", "/bin"),
            ("AMOCHAT_SECRET", "not ours"),
        ],
    )
    .expect("valid");
    assert_eq!(config.listener.address.to_string(), "127.0.0.1:2");
    assert_eq!((config.listener.max_body_bytes, config.inbox.keep_typing), (77, true));
    assert_eq!(config.store.path.to_str(), Some("/elsewhere/inbox.db"));
    assert_eq!(config.admin.address.to_string(), "[::1]:3");
    assert_eq!(config.listener.trusted_proxies, ["10.0.0.0/8", "::1"]);
    assert_eq!((config.outbox.rate, config.backfill.rate), (5.5, 2.0));
    let error = refused(CHANNEL, &[("AMOCHATS_LISTENER_TRUSTED_PROXIES", "10.0.0.0/8")]);
    assert!(error.to_string().contains(r#"must be a list, such as ["a", "b"]"#), "{error}");
    let error = refused(CHANNEL, &[("AMOCHATS_OUTBOX_RATE", "quick")]);
    assert!(error.to_string().contains("outbox.rate: must be a number"), "{error}");
    for (name, said) in [
        ("AMOCHATS_LISTNER_ADDRESS", "AMOCHATS_LISTNER_ADDRESS"),
        ("AMOCHATS_LISTENER", "AMOCHATS_LISTENER"),
        ("AMOCHATS_LISTENER_ADRESS", "adress"),
        ("AMOCHATS_CHANNEL_ID", "AMOCHATS_CHANNEL_ID"),
        ("AMOCHATS_", "AMOCHATS_"),
        ("AMOCHATS_LISTENER_ADDRESS", "address"),
        ("AMOCHATS_INBOX_MAX_ATTEMPTS", "max_attempts"),
    ] {
        let error = refused(CHANNEL, &[(name, "s3cret")]);
        assert!(error.to_string().contains(said), "{name}: {error}");
    }
}

#[tokio::test]
async fn the_secret_comes_from_one_place_and_a_final_line_feed_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    let toml = format!("[[channel]]\nid = \"a\"\nregion = \"ru\"\nsecret_file = {file:?}\n");
    for (content, works) in [
        ("abc", true),
        ("abc\n", true),
        ("abc\r\n", true),
        ("", false),
        ("\n", false),
        ("s3 cret\n", false),
        ("s3cret\nmore\n", false),
    ] {
        fs::write(&file, content).expect("written");
        if works {
            load(&toml, &[]).expect(content);
        } else {
            assert_eq!(refused(&toml, &[]).field(), Some("channel.secret"), "{content:?}");
        }
    }
    let error = refused(&toml, &[("AMOCHATS_SECRET", "s3cret\n")]);
    assert_eq!(error.field(), Some("channel.secret"), "the environment wins over the file");
    load(&toml, &[("AMOCHATS_SECRET", "clean")]).expect("the file is not even read");
    let two = format!("{CHANNEL}{}", CHANNEL.replace("a4490ccc", "b"));
    let error = refused(&two, &[("AMOCHATS_SECRET", "s3cret")]);
    assert!(error.to_string().contains("exactly one"), "{error}");
    let config = load(CHANNEL, &[("AMOCHATS_SECRET", "12345678")]).expect("digits are text, too");
    assert!(!format!("{config:?}").contains("12345678") && !format!("{config:?}").contains("s3cret"));
}
