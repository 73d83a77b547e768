//! Linking accounts through the real listener, with a CRM and a chat service that the test plays.

mod page;
mod peer;
#[expect(dead_code, reason = "most of it is for webhooks")]
#[path = "../support/mod.rs"]
mod support;

use amochats::{Error, ErrorKind};
use amochats_runtime::clock::{Clock, ManualClock};
use amochats_runtime::store::{SqliteStore, Store};
use amochats_runtime::widget::{Attempt, Authorizer, new_key};
use amochats_runtime::{Config, Runtime};
use async_trait::async_trait;
use page::{
    DEMO, INTEGRATION, INTEGRATION_SECRET, LOGIN, NOW, OTHER, PASSWORD, Page, claims, config, json, jwt,
    refusal, sign, token, users,
};
use peer::{Account, Peer};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use support::log::Log;
use support::{Answer, CHANNEL, soon};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A runtime with a file, a CRM, and a clock that stands still.
struct World {
    folder: TempDir,
    key: String,
    more: String,
    peer: Peer,
    clock: Arc<ManualClock>,
    runtime: Option<Runtime>,
}

impl World {
    async fn new() -> Self {
        Self::with("").await
    }

    /// With further keys in `[widget]`; a file of logins unless they say otherwise.
    async fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs())));
        let logins = if more.contains("service_url") { String::new() } else { users(folder.path()) };
        let more = format!("{logins}\n{more}");
        let mut world =
            Self { folder, key: new_key(), more, peer: Peer::start().await, clock, runtime: None };
        world.start().await;
        world
    }

    fn store_path(&self) -> PathBuf {
        self.folder.path().join("amochats.db")
    }

    fn config(&self) -> Config {
        config(&self.peer.origin(), &self.key, &self.more)
    }

    async fn try_start(&mut self) -> Result<(), Error> {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(self.store_path()).await?);
        match Runtime::start_with(&self.config(), store.clone(), self.clock.clone()).await {
            Ok(runtime) => {
                self.runtime = Some(runtime);
                Ok(())
            }
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    async fn start(&mut self) {
        self.try_start().await.expect("started");
    }

    async fn stop(&mut self) {
        let runtime = self.runtime.take().expect("it runs");
        soon("end", runtime.shutdown(Duration::from_secs(20))).await;
    }

    async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it runs")
    }

    fn page_of(&self, account: Account) -> Page {
        Page { server: self.runtime().listener_address(), origin: self.peer.origin(), account }
    }

    fn page(&self) -> Page {
        self.page_of(DEMO)
    }

    /// Waits until the installation is known, each time for a round trip to the store.
    async fn installed(&self, account: Account) {
        let widget = self.runtime().widget().expect("on");
        let looking = async { while widget.crm(INTEGRATION, account.0).await.is_err() {} };
        soon("installation", looking).await;
    }

    /// Waits until the installation is known, and connects.
    async fn connect(&self, account: Account) -> Answer {
        self.installed(account).await;
        self.page_of(account).connect().await
    }

    /// Installs and connects.
    async fn link(&self, account: Account) {
        let code = self.peer.install(account);
        assert_eq!(self.page_of(account).redirect(&code).await.status, 200);
        let answer = self.connect(account).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Waits until a check of the account has ended at this time of the clock.
    async fn checked(&self, account: Account) {
        let scope = format!("{CHANNEL}_{}", account.1).into();
        let now = self.clock.now().duration_since(UNIX_EPOCH).expect("later").as_millis();
        let now = i64::try_from(now).ok();
        let checked_at =
            || self.runtime().channels().accounts().get(&scope).and_then(|known| known.checked_at);
        let looking = async {
            while checked_at() != now {
                tokio::task::yield_now().await;
            }
        };
        soon("check", looking).await;
    }

    fn account_state(&self, account: Account) -> Option<&'static str> {
        let scope = format!("{CHANNEL}_{}", account.1);
        self.runtime().channels().accounts().get(&scope.into()).map(|account| account.state.name())
    }
}

#[tokio::test]
async fn an_installed_account_is_connected_by_whoever_knows_the_password() {
    let world = World::new().await;
    let page = world.page();
    assert_eq!(page.state().await, "disconnected");
    let code = world.peer.install(DEMO);
    let told = page.redirect(&code).await;
    assert_eq!((told.status, told.header("location")), (200, None), "{told:?}");
    let answer = world.connect(DEMO).await;
    let expected =
        json!({ "state": "connected", "scope_id": format!("{CHANNEL}_{}", DEMO.1), "title": "Shop" });
    assert_eq!((answer.status, json(&answer)), (200, expected));
    assert_eq!(answer.header("access-control-allow-origin"), Some(page.origin.as_str()));
    assert_eq!((answer.header("vary"), answer.header("cache-control")), (Some("Origin"), Some("no-store")));
    assert!(world.peer.is_connected(DEMO));

    let shown = page.ask("GET", &format!("/widget/state?amojo_id={}", DEMO.1), "").await;
    assert_eq!(json(&shown), json!({ "state": "connected", "title": "Shop", "since": NOW }));
    let again = page.connect().await;
    assert_eq!(again.status, 200, "once more changes nothing: {again:?}");

    let done = page.disconnect().await;
    assert_eq!((done.status, json(&done)), (200, json!({ "state": "disconnected" })));
    assert!(!world.peer.is_connected(DEMO));
    assert_eq!(page.state().await, "disconnected");
    assert_eq!(page.disconnect().await.status, 200, "idempotent");
    assert_eq!(world.peer.count("DELETE "), 1);
    assert_eq!(page.connect().await.status, 200);
    assert!(world.peer.is_connected(DEMO));
}

#[tokio::test]
async fn a_page_may_come_before_the_installation() {
    let world = World::new().await;
    let page = world.page();
    let early = page.connect().await;
    assert_eq!(refusal(&early), (409, "NOT_INSTALLED".into()));
    assert_eq!(
        (json(&early)["error"]["retry_after"].as_u64(), early.header("retry-after")),
        (Some(3), Some("3"))
    );
    assert_eq!(page.state().await, "connecting");
    let code = world.peer.install(DEMO);
    page.redirect(&code).await;
    // Without another call of the page.
    world.peer.connected(DEMO).await;
    let showing = async { while page.state().await != "connected" {} };
    soon("state", showing).await;
    assert_eq!(page.connect().await.status, 200);
}

#[tokio::test]
async fn what_was_wished_for_long_ago_is_not_done() {
    let world = World::new().await;
    assert_eq!(world.page().connect().await.status, 409);
    world.clock.advance(Duration::from_secs(20 * 60 + 1));
    let code = world.peer.install(DEMO);
    world.page().redirect(&code).await;
    world.peer.reached("GET /api/v4/account", 1).await;
    // The worker has been round since: what it does next is seen by the peer.
    let other = world.peer.install(OTHER);
    world.page().redirect(&other).await;
    world.peer.reached("GET /api/v4/account", 2).await;
    assert!(!world.peer.is_connected(DEMO));
}

#[tokio::test]
async fn wrong_logins_and_wrong_passwords_look_the_same() {
    let world = World::new().await;
    world.link(DEMO).await;
    let page = world.page();
    let mut answers = Vec::new();
    for (login, password) in [
        (LOGIN, "another password"),
        ("nobody", PASSWORD),
        ("", ""),
        (LOGIN, ""),
        (&LOGIN.to_uppercase(), PASSWORD),
        (LOGIN, &"x".repeat(4000)),
        (&"x".repeat(4000), PASSWORD),
    ] {
        let answer = page.ask("POST", "/widget/connect", &page.form(login, password)).await;
        assert_eq!(refusal(&answer), (403, "WRONG_CREDENTIALS".into()));
        answers.push(answer.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(world.peer.count("POST /v2/"), 1, "only the first link");
}

#[tokio::test]
async fn a_login_can_be_changed_under_way() {
    let world = World::new().await;
    world.link(DEMO).await;
    let path = world.folder.path().join("users");
    let kept = std::fs::read_to_string(&path).expect("there");
    std::fs::write(&path, "").expect("written");
    assert_eq!(refusal(&world.page().connect().await).1, "WRONG_CREDENTIALS");
    std::fs::write(&path, "broken").expect("written");
    assert_eq!(refusal(&world.page().connect().await), (503, "SERVER_UNAVAILABLE".into()));
    std::fs::write(&path, kept).expect("written");
    assert_eq!(world.page().connect().await.status, 200);
}

#[tokio::test]
async fn guessing_is_limited_by_account_and_by_address() {
    let world = World::with("attempts = 3\nattempts_per_peer = 5\nattempts_window_s = 300").await;
    world.link(DEMO).await;
    let guess = async |account: Account, peer: &str| {
        let page = world.page_of(account);
        let token = token(&page.origin, account);
        let headers = [("Origin", page.origin.as_str()), ("X-Auth-Token", &token), ("X-Forwarded-For", peer)];
        page.call("POST", "/widget/connect", &headers, &page.form(LOGIN, "guess")).await
    };
    for _ in 0..3 {
        assert_eq!(refusal(&guess(DEMO, "192.0.2.1").await).1, "WRONG_CREDENTIALS");
    }
    let limited = guess(DEMO, "192.0.2.1").await;
    assert_eq!(refusal(&limited), (429, "TOO_MANY_ATTEMPTS".into()));
    assert_eq!(json(&limited)["error"]["retry_after"], 101);
    assert_eq!(refusal(&guess(DEMO, "192.0.2.2").await).0, 429, "the account is limited from everywhere");
    assert_eq!(refusal(&world.page().connect().await).0, 429, "and whoever knows the password waits, too");
    // The address has one left: a refusal for the account counts as well.
    assert_eq!(refusal(&guess(OTHER, "192.0.2.1").await).1, "WRONG_CREDENTIALS");
    assert_eq!(refusal(&guess(OTHER, "192.0.2.1").await).0, 429, "the address is limited in every account");
    assert_eq!(refusal(&guess(OTHER, "192.0.2.3").await).1, "WRONG_CREDENTIALS");
    world.clock.advance(Duration::from_secs(101));
    for _ in 0..10 {
        assert_eq!(world.page().connect().await.status, 200, "what succeeds does not count");
    }
}

#[tokio::test]
async fn only_tokens_of_the_crm_for_this_page_count() {
    let world = World::new().await;
    world.link(DEMO).await;
    let page = world.page();
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims(&page.origin, DEMO);
        claims[name] = value;
        jwt(header, &claims, INTEGRATION_SECRET)
    };
    let plain = || claims(&page.origin, DEMO);
    let unsigned = jwt(r#"{"alg":"none"}"#, &plain(), INTEGRATION_SECRET);
    let unsigned = format!("{}.", unsigned.rsplit_once('.').expect("three parts").0);
    for (what, token, code) in [
        ("expired", with("exp", json!(NOW - 11)), "TOKEN_EXPIRED"),
        ("still to come", with("nbf", json!(NOW + 60)), "TOKEN_INVALID"),
        ("made later", with("iat", json!(NOW + 60)), "TOKEN_INVALID"),
        ("wrong aud", with("aud", json!("https://other.example.org")), "TOKEN_INVALID"),
        ("foreign iss", with("iss", json!("https://evil.example.org")), "TOKEN_INVALID"),
        ("iss of another page", with("iss", json!("https://other.amocrm.ru")), "TOKEN_INVALID"),
        ("iss of the inside", with("iss", json!("http://169.254.169.254")), "TOKEN_INVALID"),
        ("other integration", with("client_uuid", json!("another")), "TOKEN_INVALID"),
        ("no jti", with("jti", json!("")), "TOKEN_INVALID"),
        ("no account", with("account_id", json!(null)), "TOKEN_INVALID"),
        ("wrong key", jwt(header, &plain(), "another secret"), "TOKEN_INVALID"),
        ("the channel's key", jwt(header, &plain(), support::SECRET), "TOKEN_INVALID"),
        ("alg none", jwt(r#"{"alg":"none"}"#, &plain(), INTEGRATION_SECRET), "TOKEN_INVALID"),
        ("alg none, unsigned", unsigned, "TOKEN_INVALID"),
        ("alg HS512", jwt(r#"{"alg":"HS512"}"#, &plain(), INTEGRATION_SECRET), "TOKEN_INVALID"),
        ("no token", "x".into(), "TOKEN_INVALID"),
    ] {
        let headers = [("Origin", page.origin.as_str()), ("X-Auth-Token", token.as_str())];
        let state = format!("/widget/state?amojo_id={}", DEMO.1);
        for (method, target) in
            [("POST", "/widget/connect"), ("POST", "/widget/disconnect"), ("GET", state.as_str())]
        {
            let answer = page.call(method, target, &headers, &page.form(LOGIN, PASSWORD)).await;
            assert_eq!(refusal(&answer), (401, code.into()), "{what} {target}");
            assert!(
                answer.header("access-control-allow-origin").is_some(),
                "the page must be able to read it"
            );
        }
    }
    let without = page.call("POST", "/widget/connect", &[("Origin", &page.origin)], "{}").await;
    assert_eq!(refusal(&without), (400, "BAD_REQUEST".into()));
    let form = page.form(LOGIN, PASSWORD);
    let without = page.call("POST", "/widget/connect", &[("Origin", &page.origin)], &form).await;
    assert_eq!(refusal(&without), (401, "TOKEN_INVALID".into()));
    assert!(world.peer.is_connected(DEMO), "nothing was disconnected");
    assert_eq!(page.connect().await.status, 200);
}

#[tokio::test]
async fn a_token_counts_once_also_over_a_restart() {
    let mut world = World::new().await;
    world.link(DEMO).await;
    let token = token(&world.peer.origin(), DEMO);
    let ask = async |world: &World| {
        let page = world.page();
        let headers = [("Origin", page.origin.as_str()), ("X-Auth-Token", &token)];
        page.call("POST", "/widget/connect", &headers, &page.form(LOGIN, PASSWORD)).await
    };
    assert_eq!(ask(&world).await.status, 200);
    assert_eq!(refusal(&ask(&world).await), (401, "TOKEN_INVALID".into()));
    world.restart().await;
    assert_eq!(refusal(&ask(&world).await), (401, "TOKEN_INVALID".into()));
    // To the last moment in which it would be taken.
    world.clock.advance(Duration::from_secs(1809));
    assert_eq!(refusal(&ask(&world).await), (401, "TOKEN_INVALID".into()));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(refusal(&ask(&world).await), (401, "TOKEN_EXPIRED".into()));
}

#[tokio::test]
async fn pages_that_keep_a_token_can_be_allowed_for() {
    let world = World::with("token_uses = 2").await;
    let token = token(&world.peer.origin(), DEMO);
    let page = world.page();
    let headers = [("Origin", page.origin.as_str()), ("X-Auth-Token", token.as_str())];
    for status in [403, 403, 401] {
        let answer = page.call("POST", "/widget/connect", &headers, &page.form(LOGIN, "wrong")).await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn only_pages_of_the_crm_may_call() {
    let world = World::new().await;
    let page = world.page();
    let token = token(&page.origin, DEMO);
    for origin in
        ["https://evil.example", "null", "https://demo.amocrm.ru.evil.example", "http://demo.amocrm.ru"]
    {
        for method in ["OPTIONS", "POST"] {
            let headers = [("Origin", origin), ("X-Auth-Token", token.as_str())];
            let answer = page.call(method, "/widget/connect", &headers, &page.form(LOGIN, PASSWORD)).await;
            assert_eq!(refusal(&answer), (403, "ORIGIN_NOT_ALLOWED".into()), "{method} {origin}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{method} {origin}");
        }
    }
    let without = page.call("POST", "/widget/connect", &[("X-Auth-Token", &token)], "{}").await;
    assert_eq!(refusal(&without), (403, "ORIGIN_NOT_ALLOWED".into()));

    for origin in
        ["https://demo.amocrm.ru", "https://demo.amocrm.com", "https://demo.kommo.com", &page.origin]
    {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type,x-auth-token"),
        ];
        let answer = page.call("OPTIONS", "/widget/connect", &headers, "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(origin)));
        let allowed =
            |name: &str, value: &str| answer.header(name).is_some_and(|header| header.contains(value));
        assert!(
            allowed("access-control-allow-methods", "POST") && allowed("access-control-allow-methods", "GET")
        );
        assert!(allowed("access-control-allow-headers", "x-auth-token"));
        assert!(allowed("access-control-allow-headers", "content-type"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn bad_calls_are_named() {
    let world = World::new().await;
    let page = world.page();
    let large = page.form(LOGIN, &"x".repeat(20_000));
    let answer = page.ask("POST", "/widget/connect", &large).await;
    assert_eq!(refusal(&answer), (413, "BAD_REQUEST".into()));
    assert_eq!(answer.header("access-control-allow-origin"), Some(page.origin.as_str()));
    for body in [
        "",
        "{",
        "[]",
        "{\"login\":\"a\",\"password\":\"b\"}",
        "{\"login\":1,\"password\":\"b\",\"amojo_id\":\"c\"}",
        "{\"login\":\"a\",\"password\":\"b\",\"amojo_id\":\"../x\"}",
        "login=a&password=b",
    ] {
        assert_eq!(
            refusal(&page.ask("POST", "/widget/connect", body).await),
            (400, "BAD_REQUEST".into()),
            "{body}"
        );
    }
    assert_eq!(refusal(&page.ask("POST", "/widget/disconnect", "{}").await).0, 400);
    assert_eq!(refusal(&page.ask("GET", "/widget/state", "").await).0, 400);
    for (method, target, allow) in [
        ("GET", "/widget/connect", "POST, OPTIONS"),
        ("DELETE", "/widget/disconnect", "POST, OPTIONS"),
        ("POST", "/widget/state", "GET, OPTIONS"),
        ("POST", "/oauth/redirect", "GET"),
    ] {
        let answer = page.ask(method, target, "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {target}");
    }
    assert_eq!(page.ask("POST", "/widget/other", "").await.status, 404);
}

#[tokio::test]
async fn the_account_itself_says_which_one_it_is() {
    let world = World::new().await;
    world.link(DEMO).await;
    let page = world.page();
    let form = |more: serde_json::Value| {
        let mut form = json!({ "login": LOGIN, "password": PASSWORD, "amojo_id": DEMO.1 });
        form.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        form.to_string()
    };
    for wrong in
        [json!({ "amojo_id": OTHER.1 }), json!({ "account_id": OTHER.0 }), json!({ "subdomain": "other" })]
    {
        let answer = page.ask("POST", "/widget/connect", &form(wrong)).await;
        assert_eq!(refusal(&answer), (403, "ACCOUNT_MISMATCH".into()));
    }
    let state = page.ask("GET", &format!("/widget/state?amojo_id={}", OTHER.1), "").await;
    assert_eq!(refusal(&state), (403, "ACCOUNT_MISMATCH".into()));
    let other = json!({ "amojo_id": OTHER.1 }).to_string();
    assert_eq!(refusal(&page.ask("POST", "/widget/disconnect", &other).await).1, "ACCOUNT_MISMATCH");
    assert!(!world.peer.is_connected(OTHER));
    let right = json!({ "account_id": DEMO.0.to_string(), "subdomain": "demo" });
    assert_eq!(page.ask("POST", "/widget/connect", &form(right)).await.status, 200);

    // A wish for another account is not fulfilled either.
    let page = world.page_of(OTHER);
    let wish = json!({ "login": LOGIN, "password": PASSWORD, "amojo_id": "99999999-aaaa" }).to_string();
    assert_eq!(refusal(&page.ask("POST", "/widget/connect", &wish).await).1, "NOT_INSTALLED");
    let code = world.peer.install(OTHER);
    page.redirect(&code).await;
    // To see who it is, and to look again whether it is the one that was wished for.
    let before = world.peer.count("GET /api/v4/account");
    world.peer.reached("GET /api/v4/account", before.max(2) + 1).await;
    assert_eq!(world.connect(OTHER).await.status, 200);
    assert_eq!(world.peer.count("POST /v2/origin"), 3, "one for each that was right");
}

#[tokio::test]
async fn switched_off_and_installed_again() {
    let mut world = World::new().await;
    world.link(DEMO).await;
    let page = world.page();
    assert_eq!(page.disable("another secret").await.status, 401, "forged");
    assert_eq!(page.call("GET", "/disable", &[], "").await.status, 400);
    let for_other = sign(INTEGRATION_SECRET, &format!("{INTEGRATION}|{}", OTHER.0));
    let query = format!("client_uuid={INTEGRATION}&account_id={}&signature={for_other}", DEMO.0);
    assert_eq!(page.call("POST", &format!("/disable?{query}"), &[], "").await.status, 405);
    assert_eq!(
        page.call("GET", &format!("/disable?{query}"), &[], "").await.status,
        401,
        "of another account"
    );
    assert_eq!((page.state().await.as_str(), world.account_state(DEMO)), ("connected", Some("connected")));

    world.peer.revoke(DEMO);
    assert_eq!(page.disable(INTEGRATION_SECRET).await.status, 200);
    assert_eq!((page.state().await.as_str(), world.account_state(DEMO)), ("disconnected", Some("disabled")));
    assert_eq!(page.disable(INTEGRATION_SECRET).await.status, 200, "idempotent");
    assert!(world.runtime().widget().expect("on").crm(INTEGRATION, DEMO.0).await.is_err(), "no tokens");
    world.restart().await;
    let page = world.page();
    assert_eq!((page.state().await.as_str(), world.account_state(DEMO)), ("disconnected", Some("disabled")));
    assert_eq!(refusal(&page.connect().await).1, "NOT_INSTALLED");

    world.link(DEMO).await;
    assert_eq!((page.state().await.as_str(), world.account_state(DEMO)), ("connected", Some("connected")));
    assert!(world.peer.is_connected(DEMO));
}

#[tokio::test]
async fn a_lost_disable_hook_is_noticed() {
    let world = World::new().await;
    world.link(DEMO).await;
    world.peer.revoke(DEMO);
    assert_eq!(refusal(&world.page().connect().await).1, "NOT_INSTALLED");
    assert!(!world.peer.is_connected(DEMO));
    world.link(DEMO).await;
}

/// The default of `accounts.check_interval_s`.
const CHECKED_EVERY: Duration = Duration::from_hours(6);

#[tokio::test]
async fn a_linked_account_is_checked_again() {
    let world = World::new().await;
    world.link(DEMO).await;
    world.link(OTHER).await;
    let scope = format!("{CHANNEL}_{}", DEMO.1).into();
    let account = || world.runtime().channels().accounts().get(&scope).expect("known");
    let problem = async |expected: Option<&str>| {
        let looking = async {
            while account().problem.as_deref() != expected {
                tokio::task::yield_now().await;
            }
        };
        soon("check", looking).await;
    };
    world.clock.advance(CHECKED_EVERY);
    world.checked(DEMO).await;
    world.checked(OTHER).await;
    assert_eq!(world.peer.count("POST /v2/"), 4, "each was linked and checked");

    // What goes wrong is noted, and tried again soon.
    world.peer.fail("/api/v4/account", 503);
    world.clock.advance(CHECKED_EVERY);
    problem(Some("UNAVAILABLE")).await;
    assert_eq!(account().state.name(), "connected", "nobody has said that it is not");
    world.peer.work_again();
    world.clock.advance(Duration::from_mins(1));
    problem(None).await;

    // An account that has switched the integration off is not connected again.
    world.peer.revoke(DEMO);
    world.clock.advance(CHECKED_EVERY);
    let off = async {
        while world.account_state(DEMO) != Some("disabled") {
            tokio::task::yield_now().await;
        }
    };
    soon("the end", off).await;
    assert_eq!(world.account_state(OTHER), Some("connected"));
}

#[tokio::test]
async fn who_was_disconnected_is_left_alone() {
    let world = World::new().await;
    world.link(DEMO).await;
    world.link(OTHER).await;
    assert_eq!(world.page().disconnect().await.status, 200);
    // The second round begins when the first one has ended for both.
    for _ in 0..2 {
        world.clock.advance(CHECKED_EVERY);
        world.checked(OTHER).await;
    }
    assert!(world.peer.is_connected(OTHER) && !world.peer.is_connected(DEMO));
}

#[tokio::test]
async fn tokens_are_refreshed_and_the_new_ones_are_kept() {
    let mut world = World::new().await;
    world.link(DEMO).await;
    for _ in 0..2 {
        world.peer.expire();
        assert_eq!(world.page().connect().await.status, 200);
        world.restart().await;
        assert_eq!(world.page().connect().await.status, 200);
    }
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 3, "a code, and two refreshes");
}

#[tokio::test]
async fn tokens_that_come_with_the_end_are_kept() {
    let mut world = World::new().await;
    world.link(DEMO).await;
    world.peer.expire();
    world.peer.hold("/oauth2/access_token");
    let crm = world.runtime().widget().expect("on").crm(INTEGRATION, DEMO.0).await.expect("installed");
    let asking = tokio::spawn(async move { crm.account().await.map(drop) });
    world.peer.reached("POST /oauth2/access_token", 2).await;
    let runtime = world.runtime.take().expect("it runs");
    let admin = runtime.admin_address();
    let ending = tokio::spawn(runtime.shutdown(Duration::from_secs(20)));
    soon("end", async { while TcpStream::connect(admin).await.is_ok() {} }).await;
    world.peer.work_again();
    soon("end", ending).await.expect("no panic");
    soon("answer", asking).await.expect("no panic").expect("with the new token");

    world.start().await;
    assert_eq!(world.connect(DEMO).await.status, 200);
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 2, "a code, and one refresh");
}

#[tokio::test]
async fn a_code_is_traded_once_whatever_is_sent() {
    let world = World::new().await;
    let code = world.peer.install(DEMO);
    let page = world.page();
    for _ in 0..3 {
        assert_eq!(page.redirect(&code).await.status, 200);
    }
    assert_eq!(world.connect(DEMO).await.status, 200);
    assert_eq!(page.redirect(&code).await.status, 200);
    assert_eq!(page.connect().await.status, 200);
    let other = world.peer.install(OTHER);
    page.redirect(&other).await;
    assert_eq!(world.connect(OTHER).await.status, 200);
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 2, "one for each account");
}

#[tokio::test]
async fn a_code_survives_a_restart_and_a_crm_that_is_down() {
    let mut world = World::new().await;
    world.peer.fail("/oauth2/", 503);
    let code = world.peer.install(DEMO);
    assert_eq!(world.page().redirect(&code).await.status, 200);
    world.peer.reached("POST /oauth2/access_token", 1).await;
    world.restart().await;
    world.peer.reached("POST /oauth2/access_token", 2).await;
    world.peer.work_again();
    // It waits a second after its first failure, from when that was noticed.
    let widget = world.runtime().widget().expect("on");
    let turning = async {
        while widget.crm(INTEGRATION, DEMO.0).await.is_err() {
            world.clock.advance(Duration::from_millis(100));
        }
    };
    soon("installation", turning).await;
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 3);
}

#[tokio::test]
async fn tokens_that_were_traded_survive_a_crm_that_does_not_say_whose_they_are() {
    let mut world = World::new().await;
    world.peer.fail("/api/v4/account", 503);
    let code = world.peer.install(DEMO);
    world.page().redirect(&code).await;
    world.peer.reached("GET /api/v4/account", 1).await;
    world.stop().await;
    world.peer.work_again();
    // A code would be of no more use.
    world.clock.advance(Duration::from_secs(3600));
    world.start().await;
    world.peer.reached("GET /api/v4/account", 2).await;
    world.installed(DEMO).await;
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 1);
}

#[tokio::test]
async fn a_code_is_not_traded_after_its_life() {
    let world = World::new().await;
    world.peer.fail("/oauth2/", 503);
    let code = world.peer.install(DEMO);
    world.page().redirect(&code).await;
    world.peer.reached("POST /oauth2/access_token", 1).await;
    world.peer.work_again();
    world.clock.advance(Duration::from_secs(20 * 60));
    // Another one is traded after it.
    let other = world.peer.install(OTHER);
    world.page().redirect(&other).await;
    world.peer.reached("GET /api/v4/account", 1).await;
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 2);
}

#[tokio::test]
async fn nobody_makes_the_server_call_another_host() {
    let world = World::new().await;
    let foreign = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = foreign.local_addr().expect("bound").to_string();
    let page = world.page();
    let code = world.peer.install(DEMO);
    let own = world.peer.address.to_string();
    for referer in [
        address.as_str(),
        &format!("{own}@{address}"),
        &format!("{address}#{own}"),
        &format!("{address}/?{own}"),
        "169.254.169.254",
        "localhost",
        "[::1]",
        "evil.example",
        "demo.amocrm.ru.evil.example",
        "amocrm.ru@evil.example",
        "",
    ] {
        let encoded: String = form_urlencoded::byte_serialize(referer.as_bytes()).collect();
        let query = format!("code={code}&referer={encoded}&client_id={INTEGRATION}");
        let answer = page.redirect_with(&query).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{referer}");
        assert!(referer.is_empty() || !answer.body.contains(referer), "nothing is repeated");
    }
    for query in [
        format!("code={code}&referer={own}&client_id=another"),
        format!("code={code}&referer={own}"),
        format!("referer={own}&client_id={INTEGRATION}"),
        format!("code=&referer={own}&client_id={INTEGRATION}"),
        format!("code={code}&code=other&referer={own}&client_id={INTEGRATION}"),
        format!("code={}&referer={own}&client_id={INTEGRATION}", "x".repeat(9000)),
        format!("code={code}&referer={own}&client_id={INTEGRATION}&state=made-up"),
        String::new(),
    ] {
        assert_eq!(page.redirect_with(&query).await.status, 400, "{query}");
    }
    let denied = page.redirect_with("error=access_denied%3Cscript%3E").await;
    assert!(denied.status == 200 && !denied.body.contains("script"), "{denied:?}");
    // The worker has been round: a genuine one came through after all of those.
    page.redirect(&code).await;
    assert_eq!(world.connect(DEMO).await.status, 200);
    let silent = std::future::poll_fn(|cx| std::task::Poll::Ready(foreign.poll_accept(cx).is_pending()));
    assert!(silent.await, "somebody called the foreign host");
    assert_eq!(world.peer.count("POST /oauth2/access_token"), 1);
}

#[tokio::test]
async fn a_state_counts_for_an_hour_and_its_integration() {
    let world = World::new().await;
    let widget = world.runtime().widget().expect("on").clone();
    let page = world.page();
    let code = world.peer.install(DEMO);
    let with = async |state: String| {
        let query =
            format!("code={code}&referer={}&client_id={INTEGRATION}&state={state}", world.peer.address);
        page.redirect_with(&query).await.status
    };
    assert_eq!(with(widget.oauth_state("another")).await, 400);
    let late = widget.oauth_state(INTEGRATION);
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(with(late).await, 400);
    assert_eq!(with(widget.oauth_state(INTEGRATION)).await, 200);
    world.peer.reached("POST /oauth2/access_token", 1).await;
}

#[tokio::test]
async fn one_address_cannot_flood_the_redirect_uri() {
    let world = World::new().await;
    world.peer.fail("/oauth2/", 503);
    let send = async |number: usize, peer: &str| {
        let query = format!("code=bogus-{number}&referer={}&client_id={INTEGRATION}", world.peer.address);
        let headers = [("X-Forwarded-For", peer)];
        world.page().call("GET", &format!("/oauth/redirect?{query}"), &headers, "").await.status
    };
    for number in 0..60 {
        assert_eq!(send(number, "192.0.2.1").await, 200);
    }
    assert_eq!(send(60, "192.0.2.1").await, 429);
    assert_eq!(send(61, "192.0.2.2").await, 200, "another one has its own");
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(send(62, "192.0.2.1").await, 200);
}

#[tokio::test]
async fn a_double_click_connects_one_after_the_other() {
    let world = World::new().await;
    world.link(DEMO).await;
    let page = world.page();
    let answers = futures_util::future::join_all((0..4).map(|_| page.connect())).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(world.peer.most_at_once(), 1, "one account is one at a time");
}

#[tokio::test]
async fn a_slow_account_does_not_hold_up_another_one() {
    let world = World::with("crm_timeout_ms = 60000").await;
    world.link(DEMO).await;
    world.link(OTHER).await;
    world.peer.hold("/api/v4/account");
    let asked = world.peer.count("GET /api/v4/account");
    let (one, other) = (world.page_of(DEMO), world.page_of(OTHER));
    let both = async { tokio::join!(one.connect(), other.connect()) };
    let release = async {
        // Both wait for the CRM at the same time.
        world.peer.reached("GET /api/v4/account", asked + 2).await;
        world.peer.work_again();
    };
    let ((one, other), ()) = soon("both", async { tokio::join!(both, release) }).await;
    assert_eq!((one.status, other.status), (200, 200));
    assert_eq!(json(&one)["scope_id"], format!("{CHANNEL}_{}", DEMO.1));
    assert_eq!(json(&other)["scope_id"], format!("{CHANNEL}_{}", OTHER.1));
}

#[tokio::test]
async fn a_crm_that_is_down_or_slow_is_told_of() {
    let world = World::with("crm_timeout_ms = 400").await;
    world.link(DEMO).await;
    world.peer.fail("/api/v4/account", 502);
    let down = world.page().connect().await;
    assert_eq!(refusal(&down), (503, "CRM_UNAVAILABLE".into()));
    assert_eq!(json(&down)["error"]["retry_after"], 10);
    world.peer.work_again();
    world.peer.hold("/api/v4/account");
    assert_eq!(refusal(&world.page().connect().await), (503, "CRM_UNAVAILABLE".into()));
    world.peer.work_again();
    for (status, expected) in
        [(403, (502, "CHANNEL_REFUSED")), (404, (502, "CHANNEL_REFUSED")), (500, (503, "CRM_UNAVAILABLE"))]
    {
        world.peer.fail("/v2/", status);
        let answer = world.page().connect().await;
        assert_eq!(refusal(&answer), (expected.0, expected.1.into()), "{status}");
        world.peer.work_again();
    }
    assert_eq!(world.page().connect().await.status, 200, "and it works again");
}

#[tokio::test]
async fn keys_are_changed_and_none_is_forgotten() {
    let mut world = World::new().await;
    world.link(DEMO).await;
    world.stop().await;
    let old = std::mem::replace(&mut world.key, new_key());
    let refused = world.try_start().await.expect_err("the tokens cannot be read");
    assert_eq!(
        (refused.kind(), refused.field()),
        (ErrorKind::ConfigInvalid, Some("widget.key")),
        "{refused}"
    );
    let more = std::mem::take(&mut world.more);
    world.more = format!("{more}\nold_keys = [\"{old}\"]");
    world.start().await;
    assert_eq!(world.page().connect().await.status, 200);
    world.stop().await;
    // Everything is sealed with the new one by now.
    world.more = more;
    world.start().await;
    assert_eq!(world.page().connect().await.status, 200);
}

#[tokio::test]
async fn neither_the_log_nor_the_file_tells_a_secret() {
    let log = Log::hear();
    let mut world = World::new().await;
    let page = world.page();
    page.ask("POST", "/widget/connect", &page.form(LOGIN, "planted guess")).await;
    page.ask("POST", "/widget/connect", "{\"login\":\"planted body\"").await;
    page.redirect_with("code=planted-odd&referer=planted.example&client_id=planted").await;
    page.disable("planted forgery").await;
    world.link(DEMO).await;
    world.peer.expire();
    assert_eq!(page.connect().await.status, 200);
    world.peer.fail("/oauth2/", 503);
    let code = world.peer.install(OTHER);
    world.page_of(OTHER).redirect(&code).await;
    let asked = world.peer.count("POST /oauth2/access_token");
    world.peer.reached("POST /oauth2/access_token", asked.max(3)).await;
    let shown = format!("{:?}", world.config());
    world.stop().await;

    let log = log.said();
    for told in
        ["denied", "allowed", "crm_account_id=12345678", "amochats::audit", "a disable hook was refused"]
    {
        assert!(log.contains(told), "{told} is not told: {log}");
    }
    assert!(!log.contains("planted"), "{log}");
    assert!(!shown.contains("planted-integration") && !shown.contains(&world.key), "{shown}");
    let mut files = 0;
    for entry in std::fs::read_dir(world.folder.path()).expect("a folder") {
        let path = entry.expect("a file").path();
        if path.ends_with("users") {
            continue;
        }
        let bytes = std::fs::read(&path).expect("readable");
        files += 1;
        for secret in
            ["planted-access", "planted-refresh", "planted-code", "planted password", "planted-login"]
        {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {}", path.display());
        }
        // What is no secret is there to be read.
        let known = INTEGRATION.as_bytes();
        assert!(
            path.extension().is_none_or(|end| end != "db") || bytes.windows(known.len()).any(|w| w == known)
        );
    }
    assert!(files > 0);
}

/// The operator's own service: tells what it is asked, and answers what it is told.
async fn service(answers: Vec<&'static str>) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let (asked, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            let mut part = [0; 4096];
            while !request.ends_with(b"}") {
                let read = stream.read(&mut part).await.expect("readable");
                request.extend_from_slice(&part[..read]);
            }
            let _ = asked.send(String::from_utf8(request).expect("UTF-8"));
            if answer.is_empty() {
                kept.push(stream);
                continue;
            }
            stream.write_all(answer.as_bytes()).await.expect("sent");
        }
    });
    (address, requests)
}

#[tokio::test]
async fn the_operators_service_decides_where_it_is_named() {
    let yes = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\nConnection: close\r\n\r\n{\"allow\":true}";
    let no = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"allow\":false}";
    let elsewhere = "HTTP/1.1 302 Found\r\nLocation: /yes\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let odd = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ntrue";
    let forbidden = "HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (address, mut asked) = service(vec![yes, no, forbidden, elsewhere, odd, ""]).await;
    let world = World::with(&format!(
        "service_url = \"http://{address}/decide\"\nservice_secret = \"shared\"\nservice_timeout_ms = 500"
    ))
    .await;
    let code = world.peer.install(DEMO);
    world.page().redirect(&code).await;
    let first = world.connect(DEMO).await;
    assert_eq!(first.status, 200, "{first:?}");
    let request = asked.recv().await.expect("asked");
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post /decide http/1.1\r\n"), "{head}");
    let signature = sign("shared", &format!("{NOW}.{body}"));
    assert!(head.contains(&format!("x-amochats-timestamp: {NOW}\r\n")), "{head}");
    assert!(head.contains(&format!("x-amochats-signature: v1={signature}")), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let expected = json!({
        "login": LOGIN, "password": PASSWORD, "client_id": INTEGRATION, "crm_account_id": DEMO.0, "crm_user_id": 501,
        "origin": world.peer.origin(), "account_id": DEMO.1, "peer": "127.0.0.1",
    });
    assert_eq!(body, expected);
    assert_eq!(refusal(&world.page().connect().await), (403, "WRONG_CREDENTIALS".into()));
    assert_eq!(refusal(&world.page().connect().await), (403, "WRONG_CREDENTIALS".into()));
    for what in ["a redirect", "another answer", "no answer", "a closed port"] {
        assert_eq!(refusal(&world.page().connect().await), (503, "SERVER_UNAVAILABLE".into()), "{what}");
    }
}

struct Program(mpsc::UnboundedSender<Attempt>);

#[async_trait]
impl Authorizer for Program {
    async fn authorize(&self, attempt: &Attempt) -> amochats::Result<bool> {
        let _ = self.0.send(attempt.clone());
        Ok(attempt.login == LOGIN)
    }
}

#[tokio::test]
async fn a_program_decides_and_serves_the_calls_itself() {
    let world = World::with("# service_url").await;
    let widget = world.runtime().widget().expect("on");
    assert_eq!(refusal(&world.page().connect().await), (503, "SERVER_UNAVAILABLE".into()), "nobody decides");
    let (asked, mut attempts) = mpsc::unbounded_channel();
    widget.set_authorizer(Some(Arc::new(Program(asked))));
    world.link(DEMO).await;
    let attempt = attempts.recv().await.expect("asked");
    assert_eq!((attempt.crm_account_id, attempt.account_id.as_str()), (DEMO.0, DEMO.1));
    assert!(!format!("{attempt:?}").contains("planted"), "{attempt:?}");

    // As another HTTP server hands them over.
    let page = world.page();
    let peer = "192.0.2.1".parse().expect("an address");
    let token = token(&page.origin, DEMO);
    let headers = [("ORIGIN", page.origin.as_str()), ("x-auth-token", token.as_str())];
    let body = page.form(LOGIN, "any");
    let answer = widget.handle("POST", "/widget/connect?x=1", &headers, body.as_bytes(), peer).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let target = format!("/disable?client_uuid={INTEGRATION}&account_id={}&signature=00", DEMO.0);
    assert_eq!(widget.handle("GET", &target, &[], b"", peer).await.status, 401);
    assert_eq!(widget.handle("GET", "/elsewhere", &[], b"", peer).await.status, 404);
    assert!(widget.serves("/oauth/redirect") && widget.serves("/disable") && !widget.serves("/webhook/x"));
}

#[test]
fn a_configuration_that_cannot_link_is_refused() {
    let base = |widget: &str, channel: &str| {
        format!(
            "[widget]\nredirect_uri = \"https://chat.example.org/oauth\"\n{widget}\n\
             [[channel]]\nid = \"a\"\nsecret = \"s\"\nregion = \"ru\"\n{channel}\n"
        )
    };
    let integration = "client_id = \"c\"\nclient_secret = \"cs\"";
    let key = format!("key = \"{}\"", new_key());
    let refused = |widget: &str, channel: &str| {
        let error = Config::load(&base(widget, channel), []).err().unwrap_or_else(|| panic!("{widget}"));
        (error.field().unwrap_or_default().to_owned(), error.to_string())
    };
    let (field, said) = refused("", integration);
    assert!(field == "widget.key" && said.contains("amochats widget key"), "{said}");
    assert_eq!(refused("key = \"short\"", integration).0, "widget.key");
    assert_eq!(refused(&format!("{key}\nkey_file = \"x\""), integration).0, "widget.key");
    assert_eq!(refused(&key, "").0, "channel.client_id");
    assert_eq!(refused(&format!("{key}\norigins = [\"http://a/b\"]"), integration).0, "widget.origins");
    assert_eq!(refused(&format!("{key}\nattempts = 0"), integration).0, "widget.attempts");
    assert_eq!(refused(&format!("{key}\ntoken_uses = 0"), integration).0, "widget.token_uses");
    assert_eq!(refused("redirect_uri = \"x\"", integration).0, "", "given twice");
    Config::load(&base(&key, integration), []).expect("valid");
    let environment = [("AMOCHATS_WIDGET_KEY".to_owned(), new_key())];
    Config::load(&base("", integration), environment).expect("valid");
}
