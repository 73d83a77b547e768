//! What pages of the CRM send: tokens, signed as the CRM signs them, and calls.

use crate::peer::Account;
use crate::support::{Answer, CHANNEL, SECRET, Wire};
use amochats_runtime::Config;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const INTEGRATION: &str = "11111111-2222-4333-8444-555555555555";
pub(crate) const INTEGRATION_SECRET: &str = "planted-integration-secret-0123456789";
pub(crate) const REDIRECT_URI: &str = "https://chat.example.org/oauth/redirect";
/// Where the clock of the tests stands.
pub(crate) const NOW: i64 = 1_700_000_000;
pub(crate) const DEMO: Account = (12_345_678, "13fa84f7-6b61-4086-98ed-0a9de19ee15c");
pub(crate) const OTHER: Account = (87_654_321, "24ab95a8-7c72-4197-a9fe-1bae2af0ff26");
pub(crate) const LOGIN: &str = "planted-login@example.org";
pub(crate) const PASSWORD: &str = "planted password";
/// Its hash, with as little work as Argon2 allows.
pub(crate) const USERS: &str =
    "planted-login@example.org:$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$@HASH@\n";

static MADE: AtomicUsize = AtomicUsize::new(0);

fn hmac(key: &str, text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("memory");
        hex
    })
}

pub(crate) fn sign(key: &str, text: &str) -> String {
    hex(&hmac(key, text))
}

/// What a page's token says, made now.
pub(crate) fn claims(origin: &str, account: Account) -> Value {
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    json!({
        "iss": origin, "aud": "https://chat.example.org", "jti": format!("jti-{number}"),
        "iat": NOW, "nbf": NOW, "exp": NOW + 1800, "account_id": account.0, "user_id": 501,
        "subdomain": "demo", "client_uuid": INTEGRATION,
    })
}

pub(crate) fn jwt(header: &str, claims: &Value, key: &str) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(hmac(key, &text)))
}

pub(crate) fn token(origin: &str, account: Account) -> String {
    jwt(r#"{"alg":"HS256","typ":"JWT"}"#, &claims(origin, account), INTEGRATION_SECRET)
}

/// A runtime that links accounts of this CRM.
pub(crate) fn config(origin: &str, key: &str, more: &str) -> Config {
    let toml = format!(
        "listener.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\nlistener.trusted_proxies = [\"127.0.0.1\"]\n\
         backfill.on_start = false\n\
         [widget]\nredirect_uri = \"{REDIRECT_URI}\"\norigins = [\"{origin}\"]\nkey = \"{key}\"\ntitle = \"Shop\"\n{more}\n\
         [[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\nbase_url = \"{origin}\"\n\
         client_id = \"{INTEGRATION}\"\nclient_secret = \"{INTEGRATION_SECRET}\"\n"
    );
    Config::load(&toml, []).expect("a valid configuration")
}

/// The file of logins, with one.
pub(crate) fn users(folder: &Path) -> String {
    let path = folder.join("users");
    if !path.exists() {
        let mut hash = [0; 32];
        let argon2 = argon2::Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            argon2::Params::new(8, 1, 1, None).expect("allowed"),
        );
        argon2.hash_password_into(PASSWORD.as_bytes(), b"somesaltsomesalt", &mut hash).expect("hashed");
        let hash = base64::engine::general_purpose::STANDARD_NO_PAD.encode(hash);
        std::fs::write(&path, USERS.replace("@HASH@", &hash)).expect("written");
    }
    format!("users_file = \"{}\"", path.display())
}

/// A page of an account in somebody's browser.
pub(crate) struct Page {
    pub(crate) server: SocketAddr,
    pub(crate) origin: String,
    pub(crate) account: Account,
}

impl Page {
    pub(crate) async fn call(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: chat.example.org\r\n");
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n").expect("memory");
        }
        write!(request, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("memory");
        let mut wire = Wire::connect(self.server).await;
        wire.send(request.as_bytes()).await;
        wire.answer().await
    }

    /// A call with a token of its own.
    pub(crate) async fn ask(&self, method: &str, target: &str, body: &str) -> Answer {
        let token = token(&self.origin, self.account);
        self.call(method, target, &[("Origin", &self.origin), ("X-Auth-Token", &token)], body).await
    }

    pub(crate) fn form(&self, login: &str, password: &str) -> String {
        json!({ "login": login, "password": password, "amojo_id": self.account.1 }).to_string()
    }

    pub(crate) async fn connect(&self) -> Answer {
        self.ask("POST", "/widget/connect", &self.form(LOGIN, PASSWORD)).await
    }

    pub(crate) async fn disconnect(&self) -> Answer {
        self.ask("POST", "/widget/disconnect", &json!({ "amojo_id": self.account.1 }).to_string()).await
    }

    pub(crate) async fn state(&self) -> String {
        let answer = self.ask("GET", &format!("/widget/state?amojo_id={}", self.account.1), "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        json(&answer)["state"].as_str().expect("a state").to_owned()
    }

    /// The CRM tells of the installation.
    pub(crate) async fn redirect(&self, code: &str) -> Answer {
        let referer = self.origin.trim_start_matches("http://");
        self.redirect_with(&format!("code={code}&referer={referer}&client_id={INTEGRATION}&from_widget=1"))
            .await
    }

    pub(crate) async fn redirect_with(&self, query: &str) -> Answer {
        self.call("GET", &format!("/oauth/redirect?{query}"), &[], "").await
    }

    /// The CRM tells that the integration was switched off.
    pub(crate) async fn disable(&self, key: &str) -> Answer {
        let signature = sign(key, &format!("{INTEGRATION}|{}", self.account.0));
        let query = format!("client_uuid={INTEGRATION}&account_id={}&signature={signature}", self.account.0);
        self.call("GET", &format!("/disable?{query}"), &[], "").await
    }
}

pub(crate) fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// Status and code of a refusal.
pub(crate) fn refusal(answer: &Answer) -> (u16, String) {
    let body = json(answer);
    let code = body["error"]["code"].as_str().unwrap_or_else(|| panic!("no refusal: {answer:?}"));
    assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer:?}");
    (answer.status, code.to_owned())
}
