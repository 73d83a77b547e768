//! OAuth 2.0, one-time tokens and what switching off ends (chats API reference, 7.7; widget
//! reference, section 7).

use super::Context;
use super::answer::{Answer, Problem};
use super::book::{Crm, Grant, Integration};
use crate::config::Personality;
use crate::state::State;
use amochats::AccountId;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::Sha256;
use std::fmt::Write as _;
use url::Url;

/// How long a code lives, in seconds.
pub(super) const CODE_LIFE: i64 = 20 * 60;
/// How long an access token lives, in seconds.
pub(super) const ACCESS_LIFE: i64 = 24 * 60 * 60;
/// How long a refresh token lives, in seconds: three months.
pub(super) const REFRESH_LIFE: i64 = 90 * 24 * 60 * 60;
/// How long a one-time token lives, in seconds.
const ONE_TIME_LIFE: i64 = 30 * 60;
/// How often a user's API key may be traded, in seconds.
const KEY_TRADE_INTERVAL: i64 = 5 * 60;
const DAY: i64 = 24 * 60 * 60;

/// What can be wrong with a one-time token, to see how a server takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Flaw {
    /// Its time is over.
    Expired,
    /// Signed with another secret.
    Foreign,
    /// Not signed, and says so.
    AlgNone,
    /// For another server.
    WrongAudience,
}

fn hmac_sha256(key: &str, bytes: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(bytes);
    mac.finalize().into_bytes().to_vec()
}

fn jwt(key: &str, claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// The signature of the disable hook.
pub(super) fn disable_signature(integration: &Integration, account: i64) -> String {
    let signed = format!("{}|{account}", integration.client_id);
    hmac_sha256(&integration.client_secret, signed.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes all");
        hex
    })
}

/// The host of an address with its port.
fn authority(origin: &str) -> &str {
    origin.split_once("://").map_or(origin, |(_, authority)| authority)
}

impl Crm {
    pub(super) fn issue_code(
        &mut self,
        client_id: &str,
        account_id: &AccountId,
        user_id: i64,
        now: i64,
    ) -> String {
        self.tidy(now);
        let code = format!("def502{}", self.ids.secret());
        self.codes.insert(code.clone(), self.grant(client_id, account_id, user_id, now + CODE_LIFE));
        code
    }

    #[expect(clippy::unused_self, reason = "a grant is one of this CRM")]
    fn grant(&self, client_id: &str, account_id: &AccountId, user_id: i64, expires_at: i64) -> Grant {
        Grant { client_id: client_id.into(), account_id: account_id.clone(), user_id, expires_at }
    }

    /// An access token: a JWT with the vendor's claims, which only this CRM can check.
    pub(super) fn issue_access(
        &mut self,
        grant: &Grant,
        origin: &str,
        personality: Personality,
        now: i64,
    ) -> String {
        let base_domain = if personality == Personality::Kommo { "kommo.com" } else { "amocrm.ru" };
        let claims = json!({
            "aud": grant.client_id, "jti": self.ids.uuid(), "iat": now, "nbf": now, "exp": grant.expires_at,
            "sub": grant.user_id.to_string(), "grant_type": "", "account_id": self.books[&grant.account_id].id,
            "base_domain": base_domain, "version": 2, "scopes": ["crm", "notifications"],
            "api_domain": authority(origin),
        });
        let key = self.ids.secret();
        let token = jwt(&key, &claims);
        self.access.insert(token.clone(), grant.clone());
        token
    }

    /// A token of a long life: no refresh, as private and external integrations get by hand.
    pub(super) fn issue_long_lived(
        &mut self,
        (client_id, account_id, user_id): (&str, &AccountId, i64),
        days: u16,
        origin: &str,
        personality: Personality,
        now: i64,
    ) -> String {
        self.tidy(now);
        let grant = self.grant(client_id, account_id, user_id, now + i64::from(days) * DAY);
        self.install(client_id, account_id);
        self.issue_access(&grant, origin, personality, now)
    }

    /// Counts an integration as switched on. The first time it gets a source of its own, whose
    /// `external_id` is the widget's code, unless it makes its sources itself.
    pub(super) fn install(&mut self, client_id: &str, account_id: &AccountId) {
        let Some(integration) = self.integration(client_id).cloned() else { return };
        let id = self.number();
        let Some(book) = self.books.get_mut(account_id) else { return };
        let fresh = book.installed.insert(client_id.to_owned());
        let has_source = book.sources.iter().any(|source| source.client_id == client_id);
        if fresh && !has_source && !integration.multiple_sources && !integration.is_external {
            book.sources.push(super::book::Source {
                id,
                client_id: integration.client_id,
                name: integration.name,
                external_id: integration.code,
                pipeline_id: book.pipeline_id,
                default: true,
                origin_code: None,
                services: Vec::new(),
            });
        }
    }

    /// Takes back every code and token of an integration in an account.
    pub(super) fn revoke(&mut self, client_id: &str, account_id: &AccountId) {
        for grants in [&mut self.codes, &mut self.access, &mut self.refresh] {
            grants.retain(|_, grant| grant.client_id != client_id || grant.account_id != *account_id);
        }
    }

    /// The token of a widget, by which an integration's own server knows who asks.
    pub(super) fn one_time_token(
        &mut self,
        integration: &Integration,
        account_id: &AccountId,
        user_id: i64,
        origin: &str,
        now: i64,
    ) -> String {
        let claims = self.one_time_claims(integration, account_id, user_id, origin, now);
        jwt(&integration.client_secret, &claims)
    }

    /// A one-time token as no CRM would give it.
    pub(super) fn flawed_token(
        &mut self,
        integration: &Integration,
        account_id: &AccountId,
        user_id: i64,
        (origin, now): (&str, i64),
        flaw: Flaw,
    ) -> String {
        let now = if flaw == Flaw::Expired { now - 2 * ONE_TIME_LIFE } else { now };
        let mut claims = self.one_time_claims(integration, account_id, user_id, origin, now);
        match flaw {
            Flaw::Expired => {}
            Flaw::Foreign => return jwt(&self.ids.secret(), &claims),
            Flaw::AlgNone => {
                let [header, claims] = [r#"{"alg":"none","typ":"JWT"}"#.to_owned(), claims.to_string()]
                    .map(|part| URL_SAFE_NO_PAD.encode(part));
                return format!("{header}.{claims}.");
            }
            Flaw::WrongAudience => claims["aud"] = json!("https://another.example"),
        }
        jwt(&integration.client_secret, &claims)
    }

    fn one_time_claims(
        &mut self,
        integration: &Integration,
        account_id: &AccountId,
        user_id: i64,
        origin: &str,
        now: i64,
    ) -> Value {
        let book = &self.books[account_id];
        let audience = Url::parse(&integration.redirect_uri)
            .map_or_else(|_| integration.redirect_uri.clone(), |uri| uri.origin().ascii_serialization());
        let is_admin = book.user(user_id).is_some_and(|user| user.is_admin);
        let mut claims = json!({
            "iss": origin, "aud": audience, "jti": "", "iat": now, "nbf": now, "exp": now + ONE_TIME_LIFE,
            "account_id": book.id, "user_id": user_id, "subdomain": book.subdomain,
            "client_uuid": integration.client_id, "is_admin": is_admin,
        });
        claims["jti"] = json!(self.ids.uuid());
        claims
    }
}

/// Where the browser goes after a decision, and what the CRM calls after an installation.
pub(super) fn redirect_to(
    integration: &Integration,
    code: Result<&str, &str>,
    origin: &str,
    personality: Personality,
    extra: &[(&str, &str)],
) -> String {
    let Ok(mut uri) = Url::parse(&integration.redirect_uri) else { return integration.redirect_uri.clone() };
    {
        let mut query = uri.query_pairs_mut();
        match code {
            Ok(code) => {
                let platform = if personality == Personality::Kommo { "2" } else { "1" };
                query.append_pair("code", code).append_pair("referer", authority(origin));
                query.append_pair("platform", platform).append_pair("client_id", &integration.client_id);
            }
            Err(error) => {
                query.append_pair("error", error);
            }
        }
        for (name, value) in extra {
            query.append_pair(name, value);
        }
    }
    uri.into()
}

/// Stands in for the page where an administrator lets an integration in. With `decision` (`allow`
/// or `deny`) it redirects at once; without, it asks.
pub(super) fn consent(state: &mut State, cx: &Context<'_>) -> Result<Answer, Problem> {
    let bad = |name, detail: &str| Problem::new(StatusCode::BAD_REQUEST, name, detail);
    let integration = cx
        .value("client_id")
        .and_then(|id| state.crm.integration(id))
        .cloned()
        .ok_or_else(|| bad("unknown_client", "client_id: there is no integration of this id"))?;
    let mut extra = Vec::new();
    if let Some(given) = cx.value("state") {
        extra.push(("state", given));
    }
    let account = |id: &str| state.crm.books.keys().find(|account| account.as_str() == id).cloned();
    let account_id = match cx.value("account_id") {
        None => state.accounts.first().map(|account| account.account_id.clone()),
        Some(id) => account(id),
    }
    .ok_or_else(|| bad("unknown_account", "account_id: there is no account of this amojo id"))?;
    let personality = cx.inner.config.personality;
    match cx.value("decision") {
        Some("allow") => {
            let user = state.crm.books[&account_id].users.iter().find(|user| user.is_admin);
            let user = user
                .ok_or_else(|| bad("no_admin", "the account has no administrator, and only one may allow"))?;
            let user_id = user.id;
            let code = state.crm.issue_code(&integration.client_id, &account_id, user_id, cx.now);
            let to = redirect_to(&integration, Ok(&code), &cx.origin, personality, &extra);
            Ok(Answer::redirect(to))
        }
        Some("deny") => {
            let to = redirect_to(&integration, Err("access_denied"), &cx.origin, personality, &extra);
            Ok(Answer::redirect(to))
        }
        Some(_) => Err(bad("wrong_decision", "decision: must be allow or deny")),
        None => Ok(Answer::html(consent_page(state, &integration, cx.value("state")))),
    }
}

fn consent_page(state: &State, integration: &Integration, given: Option<&str>) -> String {
    let escape = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('\'', "&#39;")
    };
    let hidden =
        |name: &str, value: &str| format!(r#"<input type="hidden" name="{name}" value="{}">"#, escape(value));
    let options = state.accounts.iter().fold(String::new(), |mut options, account| {
        let (id, name) = (&account.account_id, &state.crm.books[&account.account_id].subdomain);
        let (id, name) = (escape(id.as_str()), escape(name));
        write!(options, r#"<option value="{id}">{name}</option>"#).expect("a String takes all");
        options
    });
    format!(
        r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>Access to the account</title>
<h1>Let “{name}” into the account?</h1>
<form method="get">{client}{state}
<p><label>Account <select name="account_id">{options}</select></label>
<p><button name="decision" value="allow">Allow</button> <button name="decision" value="deny">Deny</button>
</form></html>"#,
        name = escape(&integration.name),
        client = hidden("client_id", &integration.client_id),
        state = given.map(|given| hidden("state", given)).unwrap_or_default(),
    )
}

/// The text fields of a body, each required.
fn texts<const N: usize>(body: &Map<String, Value>, names: [&str; N]) -> Result<[String; N], Problem> {
    let mut texts = [const { String::new() }; N];
    for (text, name) in texts.iter_mut().zip(names) {
        let given = body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let missing = || refused("invalid_request", format!("{name}: is required, as a string"));
        given.ok_or_else(missing)?.clone_into(text);
    }
    Ok(texts)
}

fn refused(name: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, name, detail).member("hint", name)
}

fn client(crm: &Crm, id: &str, secret: &str) -> Result<Integration, Problem> {
    let unknown = || refused("invalid_client", "client_id: there is no integration of this id");
    let integration = crm.integration(id).cloned().ok_or_else(unknown)?;
    if integration.client_secret != secret {
        return Err(refused("invalid_client", "client_secret: is not the secret of this integration"));
    }
    Ok(integration)
}

pub(super) fn access_token(state: &mut State, cx: &Context<'_>) -> Result<Answer, Problem> {
    let body = cx.object()?;
    let [id, secret, uri, grant_type] =
        texts(&body, ["client_id", "client_secret", "redirect_uri", "grant_type"])?;
    let crm = &mut state.crm;
    let integration = client(crm, &id, &secret)?;
    if integration.redirect_uri != uri {
        return Err(refused(
            "invalid_redirect",
            "redirect_uri: must be letter by letter as it is registered",
        ));
    }
    let (field, kept) = match grant_type.as_str() {
        "authorization_code" => ("code", &mut crm.codes),
        "refresh_token" => ("refresh_token", &mut crm.refresh),
        _ => {
            let detail = "grant_type: must be authorization_code or refresh_token";
            return Err(refused("unsupported_grant_type", detail));
        }
    };
    let [key] = texts(&body, [field])?;
    let stale = || {
        let detail = format!("{field}: is not one that this CRM gave, was used, was revoked, or has expired");
        refused("invalid_grant", detail)
    };
    // Asked for by another integration, it stays: only its own can use it up.
    if kept.get(&key).is_none_or(|grant| grant.client_id != id) {
        return Err(stale());
    }
    let grant = kept.remove(&key).filter(|grant| grant.expires_at > cx.now).ok_or_else(stale)?;
    if field == "refresh_token" {
        // The pair ends with it.
        crm.access.retain(|_, old| {
            old.client_id != grant.client_id
                || old.account_id != grant.account_id
                || old.user_id != grant.user_id
        });
    }
    crm.tidy(cx.now);
    crm.install(&grant.client_id, &grant.account_id);
    let access = Grant { expires_at: cx.now + ACCESS_LIFE, ..grant.clone() };
    let access_token = crm.issue_access(&access, &cx.origin, cx.inner.config.personality, cx.now);
    let refresh_token = format!("def50200{}{}", crm.ids.secret(), crm.ids.secret());
    crm.refresh.insert(refresh_token.clone(), Grant { expires_at: cx.now + REFRESH_LIFE, ..grant });
    Ok(Answer::json(&json!({
        "token_type": "Bearer", "expires_in": ACCESS_LIFE, "server_time": cx.now,
        "access_token": access_token, "refresh_token": refresh_token,
    })))
}

/// Where the account of a refresh token is now.
pub(super) fn subdomain(state: &mut State, cx: &Context<'_>) -> Result<Answer, Problem> {
    let unauthorized = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "unknown_token", detail);
    let token =
        cx.header("x-refresh-token").ok_or_else(|| unauthorized("the header X-Refresh-Token is missing"))?;
    let grant = state.crm.refresh.get(token).filter(|grant| grant.expires_at > cx.now);
    let grant = grant.ok_or_else(|| unauthorized("X-Refresh-Token is not a refresh token that works"))?;
    let book = &state.crm.books[&grant.account_id];
    Ok(Answer::json(&json!({
        "id": book.id, "subdomain": book.subdomain, "domain": authority(&cx.origin),
        "top_level_domain": if cx.kommo() { "com" } else { "ru" },
    })))
}

/// Trades a user's old API key for a code, which goes to the redirect URI.
pub(super) fn exchange_api_key(state: &mut State, cx: &Context<'_>) -> Result<Answer, Problem> {
    let body = cx.object()?;
    let [login, api_key, id, secret] = texts(&body, ["login", "api_key", "client_uuid", "client_secret"])?;
    let crm = &mut state.crm;
    let integration = client(crm, &id, &secret)?;
    let found = crm.books.iter().find_map(|(account, book)| {
        let user = book.users.iter().find(|user| user.login == login && user.api_key == api_key)?;
        Some((account.clone(), user.id))
    });
    let Some((account_id, user_id)) = found else {
        let detail = "there is no user of this login and API key";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "unknown_login", detail));
    };
    let book = crm.books.get_mut(&account_id).expect("it was found above");
    if book.keys_traded.get(&user_id).is_some_and(|last| cx.now - last < KEY_TRADE_INTERVAL) {
        let detail = "a user's key can be traded once in 5 minutes";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail).retry_after(300));
    }
    book.keys_traded.insert(user_id, cx.now);
    let code = crm.issue_code(&integration.client_id, &account_id, user_id, cx.now);
    let mut extra = vec![("from_exchange", "1")];
    if let Some(given) = body.get("state").and_then(Value::as_str) {
        extra.push(("state", given));
    }
    let to = redirect_to(&integration, Ok(&code), &cx.origin, cx.inner.config.personality, &extra);
    crm.deliveries.push(super::webhooks::Delivery::redirect(to, cx.inner.config.clock.now_msec()));
    Ok(Answer::empty(StatusCode::ACCEPTED))
}

/// What the page of an account answers its widgets; seen in public widgets, not documented.
pub(super) fn disposable_token(state: &mut State, cx: &Context<'_>, client: &str) -> Result<Answer, Problem> {
    if cx.header("x-requested-with") != Some("XMLHttpRequest") {
        let detail = "the header X-Requested-With: XMLHttpRequest is missing";
        return Err(Problem::new(StatusCode::FORBIDDEN, "not_a_page", detail));
    }
    let integration =
        state.crm.integration(client).cloned().ok_or_else(|| Problem::not_found("integration"))?;
    let account_id =
        super::host_account(&state.crm, cx).or_else(|| state.accounts.first().map(|a| &a.account_id));
    let account_id = account_id.cloned().ok_or_else(|| Problem::not_found("account"))?;
    let user = state.crm.books[&account_id].users.first().ok_or_else(|| Problem::not_found("user"))?.id;
    let token = state.crm.one_time_token(&integration, &account_id, user, &cx.origin, cx.now);
    Ok(Answer::json(&json!({ "token": token })))
}
