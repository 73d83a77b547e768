//! Installations: the CRM calls the redirect URI once, with a code that lives 20 minutes. The code is
//! kept before the answer, and traded for tokens afterwards, again and again until it works.

use super::answer::WidgetAnswer;
use super::crew::Crew;
use super::link::{Facts, is_revoked, to_json};
use super::store::{Change, Kind, Record};
use super::tokens::{self, place};
use super::{Widget, locked, network};
use amochats::crm::{Integration, Tokens};
use amochats::{CrmClient, CrmClientBuilder, Error, ErrorKind, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a code lives.
const CODE_LIFE: Duration = Duration::from_mins(20);
/// How long the tokens that came of one are good for asking whose they are.
const ACCESS_LIFE: Duration = Duration::from_hours(24);
/// How long it is remembered that a code was there.
const REMEMBERED: Duration = Duration::from_hours(25);
/// The delay after the first failure; it doubles with each further one, up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The most codes that wait: anybody can send some.
const WAITING: usize = 1000;
/// Codes that are traded, and accounts that are connected, at a time.
const AT_ONCE: usize = 16;
/// The longest code and state, in bytes; the CRM's are about 1000.
const TEXT_MAX: usize = 8192;
/// How long a state is good for.
const STATE_LIFE: Duration = Duration::from_hours(1);
const STATE: &str = "state";

#[derive(Clone, Serialize, Deserialize)]
struct CodeFacts {
    client_id: String,
    /// Where it is traded.
    origin: String,
    /// `waiting`, then `traded`, then how it ended.
    stage: String,
}

#[derive(Serialize, Deserialize)]
struct StateFacts {
    client_id: String,
    until: i64,
}

/// When each code is tried again, and how often it was.
pub(super) type Tries = HashMap<String, (u32, Duration)>;

pub(super) fn msec(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Widget {
    /// The `state` of a link to the CRM's page of consent (`/oauth?client_id=…&state=…`), good for an
    /// hour. A redirect with any other state is refused; one without is the CRM's own.
    pub fn oauth_state(&self, client_id: &str) -> String {
        let until = self.0.clock.now_msec().saturating_add(msec(STATE_LIFE));
        let facts = to_json(&StateFacts { client_id: client_id.to_owned(), until });
        URL_SAFE_NO_PAD.encode(self.0.sealer.seal(STATE, facts.as_bytes()))
    }

    fn is_own_state(&self, state: &str, client_id: &str) -> bool {
        let opened =
            URL_SAFE_NO_PAD.decode(state).ok().and_then(|sealed| self.0.sealer.open(STATE, &sealed).ok());
        let facts = opened.and_then(|opened| serde_json::from_slice::<StateFacts>(&opened.plain).ok());
        facts.is_some_and(|facts| facts.client_id == client_id && facts.until > self.0.clock.now_msec())
    }

    /// `GET {redirect_uri}`.
    pub(super) async fn redirected(&self, query: &str, peer: IpAddr) -> WidgetAnswer {
        let wrong = |part: &str| {
            tracing::warn!(part, "a call of the redirect URI was refused");
            WidgetAnswer::page(400, "This is not a call of the CRM.")
        };
        let (mut code, mut referer, mut client_id, mut state, mut denied) = (None, None, None, None, false);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.len() > TEXT_MAX {
                return wrong("length");
            }
            let place = match &*name {
                "code" => &mut code,
                "referer" => &mut referer,
                "client_id" => &mut client_id,
                "state" => &mut state,
                "error" => {
                    denied = true;
                    continue;
                }
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return wrong("twice");
            }
        }
        if denied {
            return WidgetAnswer::page(200, "Access was not given; nothing has changed.");
        }
        let (Some(code), Some(referer), Some(client_id)) = (code, referer, client_id) else {
            return wrong("missing");
        };
        let Some(origin) = self.settings().origins.of_referer(&referer) else { return wrong("referer") };
        if code.is_empty() {
            return wrong("code");
        }
        if self.integration(&client_id).is_none() {
            return wrong("client_id");
        }
        if state.is_some_and(|state| !self.is_own_state(&state, &client_id)) {
            return wrong("state");
        }
        if locked(&self.0.redirects).take(&network(peer), self.0.clock.monotonic()).is_err() {
            tracing::error!(%peer, "an address sends too many installations; one was not kept");
            return WidgetAnswer::page(429, "Too many installations at once; install again in some minutes.");
        }
        match self.keep_code(client_id, origin, &code).await {
            Ok(()) => WidgetAnswer::page(200, "The integration was installed. You can close this page."),
            Err(error) => {
                tracing::error!(
                    kind = error.kind().name(),
                    "the code of an installation was not kept and is lost: {error}"
                );
                WidgetAnswer::page(503, "The server cannot take the installation just now; install again.")
            }
        }
    }

    async fn keep_code(&self, client_id: String, origin: String, code: &str) -> Result<()> {
        let store = self.0.store.widget();
        let waiting = store.records(Kind::Code).await?.iter().filter(|code| code.sealed.is_some()).count();
        if waiting >= WAITING {
            return Err(Error::new(ErrorKind::QueueFull, "too many codes wait"));
        }
        let digest = Sha256::digest([client_id.as_bytes(), b"|", code.as_bytes()].concat());
        let key = URL_SAFE_NO_PAD.encode(digest);
        let sealed = self.0.sealer.seal(&place(Kind::Code, &key), code.as_bytes());
        let facts = to_json(&CodeFacts { client_id, origin, stage: "waiting".into() });
        let record =
            Record { kind: Kind::Code, key, at: self.0.clock.now_msec(), facts, sealed: Some(sealed) };
        if store.claim(record).await? {
            self.0.work.notify_one();
        }
        Ok(())
    }

    /// Trades codes, and fulfils what was wished for, until `stop`.
    pub(super) async fn run(&self, stop: CancellationToken) {
        let (mut tries, mut crew) = (Tries::new(), Crew::new(AT_ONCE));
        while !stop.is_cancelled() {
            let wake = self.begin_due(&mut crew, &mut tries).await.unwrap_or_else(|error| {
                tracing::error!(kind = error.kind().name(), "installations wait for the store: {error}");
                self.0.clock.monotonic() + AGAIN.1
            });
            tokio::select! {
                (name, done) = crew.ended() => self.note(&mut tries, name, done),
                () = self.0.clock.sleep_until(wake) => {}
                () = self.0.work.notified() => {}
                () = stop.cancelled() => {}
            }
        }
        // A code that the CRM has taken cannot be traded again: what came of it must be kept.
        while crew.names().iter().any(|name| name.starts_with(&place(Kind::Code, ""))) {
            let (name, done) = crew.ended().await;
            self.note(&mut tries, name, done);
        }
    }

    /// Begins what is due; says when something else will be.
    async fn begin_due<'a>(&'a self, crew: &mut Crew<'a, Result<()>>, tries: &mut Tries) -> Result<Duration> {
        let store = self.0.store.widget();
        let now = self.0.clock.monotonic();
        store.forget_before(Kind::Code, self.0.clock.now_msec().saturating_sub(msec(REMEMBERED))).await?;
        let (mut open, next) = self.wishes().await?;
        let codes = store.records(Kind::Code).await?;
        open.extend(
            codes.into_iter().filter(|code| code.sealed.is_some()).map(|code| (code, Duration::ZERO)),
        );
        let mut wake = now + next.min(REMEMBERED);
        let mut due = Vec::new();
        let mut known = HashSet::new();
        for (record, wait) in open {
            let name = place(record.kind, &record.key);
            known.insert(name.clone());
            if crew.names().contains(&name) {
                continue;
            }
            let at = tries.get(&name).map_or(Duration::ZERO, |(_, at)| *at).max(now + wait);
            if at <= now {
                due.push((name, record));
            } else {
                wake = wake.min(at);
            }
        }
        tries.retain(|name, _| known.contains(name));
        // Codes have little time, and what failed before comes last. The rest follows when one of these ends.
        due.sort_by_key(|(name, record)| (record.kind == Kind::Wish, tries.get(name).map(|(_, at)| *at)));
        for (name, record) in due.into_iter().take(crew.free()) {
            crew.begin(name, async move {
                match record.kind {
                    Kind::Wish => self.fulfil(&record.key).await,
                    _ => self.trade(&record).await,
                }
            });
        }
        Ok(wake)
    }

    /// What came of an attempt.
    fn note(&self, tries: &mut Tries, name: String, done: Result<()>) {
        let Err(error) = done else {
            tries.remove(&name);
            return;
        };
        let (count, at) = tries.entry(name).or_default();
        *at = self.0.clock.monotonic() + AGAIN.0.saturating_mul(1 << (*count).min(10)).min(AGAIN.1);
        *count += 1;
        let kind = error.kind().name();
        tracing::warn!(kind, tries = *count, "an installation is tried again: {error}");
    }

    /// One attempt. An error leaves the code for another one.
    async fn trade(&self, code: &Record) -> Result<()> {
        let damaged = || Error::new(ErrorKind::StoreFailed, "a record cannot be read");
        let facts: CodeFacts = serde_json::from_str(&code.facts).map_err(|_| damaged())?;
        let sealed = code.sealed.as_ref().expect("only those that wait are traded");
        let age = self.0.clock.now_msec().saturating_sub(code.at);
        let is_traded = facts.stage == "traded";
        if age >= msec(if is_traded { ACCESS_LIFE } else { CODE_LIFE }) {
            return self.end(code, facts, "expired").await;
        }
        let opened = self.0.sealer.open(&place(Kind::Code, &code.key), sealed)?;
        let Some((_, integration)) = self.integration(&facts.client_id) else {
            return self.end(code, facts, "unconfigured").await;
        };
        let tokens = if is_traded {
            tokens::read(&opened.plain)?
        } else {
            let text = std::str::from_utf8(&opened.plain).map_err(|_| damaged())?;
            match self.exchange(&facts.origin, &integration, text).await {
                Ok(tokens) => tokens,
                Err(error) if is_refused(&error) => return self.end(code, facts, "refused").await,
                Err(error) => return Err(error),
            }
        };
        let mut code = code.clone();
        let mut facts = facts;
        if !is_traded {
            // At once: the code is used up, and this is all that is left of it.
            facts.stage = "traded".into();
            code.facts = to_json(&facts);
            code.sealed = Some(self.0.sealer.seal(&place(Kind::Code, &code.key), &tokens::write(&tokens)));
            self.keep_at_any_price(&code).await?;
        }
        let client = self.bare(&facts.origin).token(tokens.access_token.clone()).build()?;
        let account = match client.account().await {
            Ok(account) => account,
            Err(error) if is_revoked(&error) => return self.end(&code, facts, "revoked").await,
            Err(error) => return Err(error),
        };
        let Some(account_id) = account.amojo_id else {
            return Err(Error::new(
                ErrorKind::UnexpectedResponse,
                "the CRM does not tell an account's amojo_id",
            ));
        };
        facts.stage = "installed".into();
        let of = Facts { origin: facts.origin.clone(), account_id };
        let ended = Record { facts: to_json(&facts), sealed: None, ..code };
        self.installed(&facts.client_id, account.id, &of, &tokens, ended).await?;
        self.0.metrics.widget.code("installed");
        Ok(())
    }

    /// What came of a code that cannot be traded twice: a store that fails for a moment must not lose it.
    async fn keep_at_any_price(&self, code: &Record) -> Result<()> {
        let mut kept = Ok(());
        for _ in 0..5 {
            kept = self.0.store.widget().change(vec![Change::Put(code.clone())]).await;
            if kept.is_ok() {
                break;
            }
            self.0.clock.sleep_until(self.0.clock.monotonic() + AGAIN.0).await;
        }
        kept
    }

    async fn exchange(&self, origin: &str, integration: &Integration, code: &str) -> Result<Tokens> {
        self.bare(origin).build()?.exchange_code(integration, code).await
    }

    /// A client of the CRM without tokens.
    pub(super) fn bare(&self, origin: &str) -> CrmClientBuilder {
        let timeout = self.0.crm_timeout;
        CrmClient::builder().base_url(origin).timeout(timeout).connect_timeout(timeout).deadline(timeout)
    }

    /// The code is of no more use.
    async fn end(&self, code: &Record, mut facts: CodeFacts, stage: &'static str) -> Result<()> {
        tracing::warn!(
            client_id = facts.client_id,
            stage,
            "an installation came to nothing; the account must install again"
        );
        self.0.metrics.widget.code(stage);
        facts.stage = stage.into();
        let record = Record { facts: to_json(&facts), sealed: None, ..code.clone() };
        self.0.store.widget().change(vec![Change::Put(record)]).await
    }
}

/// Whether the CRM does not take a code, rather than that it does not work itself.
fn is_refused(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Rejected | ErrorKind::Forbidden | ErrorKind::NotFound)
}
