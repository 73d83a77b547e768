//! What a test or a person does in the CRM: register integrations, install them and switch them
//! off, hand out tokens, play WhatsApp.

use super::book::{CrmUser, Integration, number};
use super::oauth::{Flaw, disable_signature, redirect_to};
use super::templates::is_outcome;
use super::webhooks::Delivery;
use crate::config::web_address;
use crate::sandbox::{Change, Inner};
use crate::state::State;
use amochats::{AccountId, ChannelId, Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The CRM of a sandbox; see [`Sandbox::crm`](crate::Sandbox::crm).
#[derive(Clone, Copy, Debug)]
pub struct CrmHandle<'a>(&'a Arc<Inner>);

/// What an integration is registered with, or changed to. What is left out is made up, or stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntegrationSettings {
    /// See [`Integration::client_id`]; it cannot be changed.
    pub client_id: Option<String>,
    /// See [`Integration::client_secret`].
    pub client_secret: Option<String>,
    /// See [`Integration::name`].
    pub name: Option<String>,
    /// See [`Integration::redirect_uri`].
    pub redirect_uri: Option<String>,
    /// See [`Integration::disable_url`].
    pub disable_url: Option<String>,
    /// See [`Integration::code`].
    pub code: Option<String>,
    /// See [`Integration::multiple_sources`].
    pub multiple_sources: Option<bool>,
    /// See [`Integration::is_external`].
    pub is_external: Option<bool>,
    /// See [`Integration::channel_id`].
    pub channel_id: Option<ChannelId>,
}

impl IntegrationSettings {
    fn apply(self, integration: &mut Integration) -> Result<()> {
        if let Some(uri) = &self.redirect_uri {
            web_address("redirect_uri", uri)?;
        }
        if let Some(url) = &self.disable_url {
            web_address("disable_url", url)?;
        }
        for (field, text) in
            [("client_secret", &self.client_secret), ("name", &self.name), ("code", &self.code)]
        {
            if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
                return Err(Error::invalid(field, "must not be empty"));
            }
        }
        let set = |place: &mut String, fresh: Option<String>| {
            if let Some(fresh) = fresh {
                *place = fresh;
            }
        };
        set(&mut integration.client_secret, self.client_secret);
        set(&mut integration.name, self.name);
        set(&mut integration.redirect_uri, self.redirect_uri);
        set(&mut integration.code, self.code);
        integration.disable_url = self.disable_url.or(integration.disable_url.take());
        integration.multiple_sources = self.multiple_sources.unwrap_or(integration.multiple_sources);
        integration.is_external = self.is_external.unwrap_or(integration.is_external);
        integration.channel_id = self.channel_id.or(integration.channel_id.take());
        Ok(())
    }
}

fn no_integration() -> Error {
    Error::invalid("client_id", "there is no such integration")
}

fn no_account() -> Error {
    Error::invalid("account_id", "there is no such account")
}

fn no_user() -> Error {
    Error::invalid("user_id", "there is no such user in this account")
}

/// The account, and the number of the user: an administrator, unless one is named.
fn who(state: &State, account: &AccountId, user: Option<i64>) -> Result<i64> {
    let book = state.crm.books.get(account).ok_or_else(no_account)?;
    let found = match user {
        Some(id) => book.user(id),
        None => book.users.iter().find(|user| user.is_admin).or(book.users.first()),
    };
    found.map(|user| user.id).ok_or_else(no_user)
}

impl<'a> CrmHandle<'a> {
    pub(crate) fn new(inner: &'a Arc<Inner>) -> Self {
        Self(inner)
    }

    fn now(self) -> i64 {
        self.0.config.clock.now_msec().div_euclid(1000)
    }

    /// Changes something, after the books were opened, and lets everybody know.
    fn change<T>(self, act: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let done = {
            let mut state = self.0.state();
            state.sync_crm();
            act(&mut state)?
        };
        self.0.changed(Change::Settings);
        self.0.crm_wake.notify_one();
        Ok(done)
    }

    /// The integrations, with their secrets. The first one is there from the beginning.
    pub fn integrations(&self) -> Vec<Integration> {
        self.0.state().crm.integrations.clone()
    }

    /// Registers one more integration.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](amochats::ErrorKind::InvalidArgument) for what cannot be used,
    /// and an id that another one has.
    pub fn add_integration(&self, settings: IntegrationSettings) -> Result<Integration> {
        self.change(|state| {
            let crm = &mut state.crm;
            let client_id = settings.client_id.clone().unwrap_or_else(|| crm.ids.uuid());
            if client_id.is_empty() || client_id.contains(['|', '/', '?', '#', '%']) {
                return Err(Error::invalid("client_id", "must be an id such as a UUID"));
            }
            if crm.integration(&client_id).is_some() {
                return Err(Error::invalid("client_id", "there is an integration of this id"));
            }
            let number = crm.integrations.len() + 1;
            let mut integration = Integration {
                client_id,
                client_secret: crm.ids.secret(),
                name: format!("Integration {number}"),
                redirect_uri: "http://127.0.0.1:8080/oauth".into(),
                disable_url: None,
                code: format!("widget_{number}"),
                multiple_sources: false,
                is_external: false,
                channel_id: None,
            };
            settings.apply(&mut integration)?;
            crm.integrations.push(integration.clone());
            Ok(integration)
        })
    }

    /// Changes an integration. What was given out before stays valid.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](amochats::ErrorKind::InvalidArgument) for what cannot be used,
    /// and an integration that is not there.
    pub fn change_integration(&self, client_id: &str, settings: IntegrationSettings) -> Result<Integration> {
        if settings.client_id.as_ref().is_some_and(|other| other != client_id) {
            return Err(Error::invalid("client_id", "cannot be changed"));
        }
        self.change(|state| {
            let known = state.crm.integrations.iter_mut().find(|known| known.client_id == client_id);
            let known = known.ok_or_else(no_integration)?;
            let mut fresh = known.clone();
            settings.apply(&mut fresh)?;
            known.clone_from(&fresh);
            Ok(fresh)
        })
    }

    /// The users of an account with their numbers, logins and API keys.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](amochats::ErrorKind::InvalidArgument) for an unknown account.
    pub fn users(&self, account: &AccountId) -> Result<Vec<CrmUser>> {
        let mut state = self.0.state();
        state.sync_crm();
        state.crm.books.get(account).map(|book| book.users.clone()).ok_or_else(no_account)
    }

    /// The code of an installation, as the redirect URI gets it: for 20 minutes, once.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](amochats::ErrorKind::InvalidArgument) that names what is not there.
    pub fn issue_code(&self, client_id: &str, account: &AccountId, user: Option<i64>) -> Result<String> {
        let now = self.now();
        self.change(|state| {
            let user = who(state, account, user)?;
            state.crm.integration(client_id).ok_or_else(no_integration)?;
            Ok(state.crm.issue_code(client_id, account, user, now))
        })
    }

    /// Switches an integration on as a user does: the CRM brings a code to the redirect URI, waits
    /// 3 s at most and does not try again. Gives the address that is called.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](amochats::ErrorKind::InvalidArgument) that names what is not there.
    pub fn install(&self, client_id: &str, account: &AccountId) -> Result<String> {
        let code = self.issue_code(client_id, account, None)?;
        let (origin, personality) = (self.0.api_url(), self.0.config.personality);
        let now_msec = self.0.config.clock.now_msec();
        self.change(|state| {
            state.crm.install(client_id, account);
            let integration = state.crm.integration(client_id).ok_or_else(no_integration)?;
            let to = redirect_to(integration, Ok(&code), &origin, personality, &[("from_widget", "1")]);
            state.crm.deliveries.push(Delivery::redirect(to.clone(), now_msec));
            Ok(to)
        })
    }

    /// Switches an integration off: its tokens and codes are revoked, its channel is disconnected,
    /// and the disable hook goes out if it has an address.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](amochats::ErrorKind::InvalidArgument) that names what is not there.
    pub fn disable(&self, client_id: &str, account: &AccountId) -> Result<()> {
        let now_msec = self.0.config.clock.now_msec();
        self.change(|state| {
            let integration = state.crm.integration(client_id).cloned().ok_or_else(no_integration)?;
            let book = state.crm.books.get_mut(account).ok_or_else(no_account)?;
            book.installed.remove(client_id);
            let number = book.id;
            state.crm.revoke(client_id, account);
            if let Some(known) = state.account_mut(account) {
                known.connections.retain(|known| Some(&known.channel_id) != integration.channel_id.as_ref());
            }
            if let Some(url) = &integration.disable_url {
                let mut url = web_address("disable_url", url)?;
                url.query_pairs_mut()
                    .append_pair("account_id", &number.to_string())
                    .append_pair("client_uuid", &integration.client_id)
                    .append_pair("signature", &disable_signature(&integration, number));
                state.crm.deliveries.push(Delivery::disabled(url.into(), now_msec));
            }
            Ok(())
        })?;
        self.0.changed(Change::Account { account_id: account.clone() });
        Ok(())
    }

    /// A token of a long life, which needs no refresh: 1 to 1826 days.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](amochats::ErrorKind::InvalidArgument) that names what is not there.
    pub fn issue_token(
        &self,
        client_id: &str,
        account: &AccountId,
        user: Option<i64>,
        days: u16,
    ) -> Result<String> {
        if !(1..=1826).contains(&days) {
            return Err(Error::invalid("days", "must be 1 to 1826: a day to five years"));
        }
        let (now, origin, personality) = (self.now(), self.0.api_url(), self.0.config.personality);
        self.change(|state| {
            let user = who(state, account, user)?;
            state.crm.integration(client_id).ok_or_else(no_integration)?;
            Ok(state.crm.issue_long_lived((client_id, account, user), days, &origin, personality, now))
        })
    }

    /// The one-time token with which a widget calls the integration's own server: for 30 minutes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](amochats::ErrorKind::InvalidArgument) that names what is not there.
    pub fn one_time_token(&self, client_id: &str, account: &AccountId, user: Option<i64>) -> Result<String> {
        let (now, origin) = (self.now(), self.0.api_url());
        self.change(|state| {
            let user = who(state, account, user)?;
            let integration = state.crm.integration(client_id).cloned().ok_or_else(no_integration)?;
            Ok(state.crm.one_time_token(&integration, account, user, &origin, now))
        })
    }

    /// As [`CrmHandle::one_time_token`], for a page of another address than the API's, and if need be
    /// with something wrong.
    pub(crate) fn page_token(
        self,
        client_id: &str,
        account: &AccountId,
        origin: &str,
        flaw: Option<Flaw>,
    ) -> Result<String> {
        let now = self.now();
        self.change(|state| {
            let user = who(state, account, None)?;
            let integration = state.crm.integration(client_id).cloned().ok_or_else(no_integration)?;
            Ok(match flaw {
                None => state.crm.one_time_token(&integration, account, user, origin, now),
                Some(flaw) => state.crm.flawed_token(&integration, account, user, (origin, now), flaw),
            })
        })
    }

    /// Sets whether the account is paid for; where it is not, every call gets 402.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](amochats::ErrorKind::InvalidArgument) for an unknown account.
    pub fn set_paid(&self, account: &AccountId, is_paid: bool) -> Result<()> {
        self.change(|state| {
            state.crm.books.get_mut(account).ok_or_else(no_account)?.is_paid = is_paid;
            Ok(())
        })
    }

    /// Sets whether a user is an administrator; others get 403 from most calls.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](amochats::ErrorKind::InvalidArgument) that names what is not there.
    pub fn set_admin(&self, account: &AccountId, user: i64, is_admin: bool) -> Result<()> {
        self.change(|state| {
            let account = state.account_mut(account).ok_or_else(no_account)?;
            let user = account.users.iter_mut().find(|known| number(known.id) == user);
            user.ok_or_else(no_user)?.is_admin = is_admin;
            Ok(())
        })
    }

    /// Ends a template's review as WhatsApp would, without the integration's own report.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](amochats::ErrorKind::InvalidArgument) for an unknown review, and
    /// a status other than `approved`, `paused` and `rejected`.
    pub fn end_review(
        &self,
        account: &AccountId,
        template: i64,
        review: i64,
        status: &str,
        reason: &str,
    ) -> Result<()> {
        if !is_outcome(status) {
            return Err(Error::invalid("status", "must be approved, paused or rejected"));
        }
        self.change(|state| {
            let ended = state.crm.review(account, template, review, status, reason);
            ended.map(drop).ok_or_else(|| Error::invalid("review_id", "there is no such review"))
        })
    }

    /// All of it as JSON: the integrations, and of each account its users, contacts, links, sources,
    /// templates, talks and subscriptions.
    pub fn overview(&self) -> Value {
        let mut state = self.0.state();
        state.sync_crm();
        let crm = &state.crm;
        let accounts: Vec<Value> = crm
            .books
            .iter()
            .map(|(account_id, book)| {
                let mut shown = serde_json::to_value(book).expect("text and numbers can be written");
                shown["account_id"] = json!(account_id);
                shown
            })
            .collect();
        json!({ "integrations": crm.integrations, "accounts": accounts })
    }
}
