//! An account and the channel are linked, and taken apart again.

use super::Widget;
use super::answer::Refusal;
use super::caller::{Caller, account_key};
use super::store::{Change, Kind, Record};
use super::tokens::{self, KeptTokens};
use super::wish::Wish;
use crate::accounts::AccountState;
use crate::channels::Channel;
use amochats::crm::{Integration, Tokens, is_account_address};
use amochats::{AccountId, Connect, CrmClient, Error, ErrorKind, Result as Done, ScopeId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// What is known of an account that has the integration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Its address.
    pub(super) origin: String,
    /// Its id inside the chat service, by its own word.
    pub(super) account_id: AccountId,
}

/// An account that is to be linked.
pub(super) struct Linking {
    pub(super) key: String,
    pub(super) channel: Arc<Channel>,
    pub(super) integration: Integration,
    pub(super) crm_account_id: i64,
    /// Which account of the chat service it is, as somebody says.
    pub(super) account_id: AccountId,
}

impl Linking {
    pub(super) fn scope(&self) -> ScopeId {
        ScopeId::of(self.channel.id(), &self.account_id)
    }
}

pub(super) fn from_json<T: for<'de> Deserialize<'de>>(text: &str) -> Done<T> {
    serde_json::from_str(text).map_err(|_| Error::new(ErrorKind::StoreFailed, "a record cannot be read"))
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts can be written")
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn unkept(error: Error) -> Refusal {
    tracing::error!(kind = error.kind().name(), "the store does not work: {error}");
    Refusal::ServerUnavailable
}

impl Widget {
    async fn account(&self, key: &str) -> Done<Option<(Record, Facts)>> {
        let record = self.0.store.widget().record(Kind::Account, key).await?;
        record.map(|record| from_json(&record.facts).map(|facts| (record, facts))).transpose()
    }

    /// The client of the CRM for an account that has the integration, with tokens that it refreshes.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the account does not have it.
    pub async fn crm(&self, client_id: &str, crm_account_id: i64) -> Done<CrmClient> {
        let missing = || Error::new(ErrorKind::NotFound, "the integration is not installed in this account");
        let key = account_key(client_id, crm_account_id);
        let (record, facts) = self.account(&key).await?.ok_or_else(missing)?;
        record.sealed.as_ref().ok_or_else(missing)?;
        let (_, integration) = self.integration(client_id).ok_or_else(missing)?;
        self.client(&key, &facts.origin, integration)
    }

    /// One client for an account, so that there is one refresh at a time.
    fn client(&self, key: &str, origin: &str, integration: Integration) -> Done<CrmClient> {
        let mut clients = self.clients();
        if let Some(client) = clients.get(key).filter(|client| client.base_url() == origin) {
            return Ok(client.clone());
        }
        let (store, sealer) = (self.0.store.clone(), self.0.sealer.clone());
        let kept = KeptTokens { store, sealer, key: key.to_owned() };
        let client = self.bare(origin).token_store(Arc::new(kept), integration).build()?;
        clients.insert(key.to_owned(), client.clone());
        Ok(client)
    }

    /// The account is installed: its tokens are kept, and the code that they came from is done with.
    pub(super) async fn installed(
        &self,
        client_id: &str,
        crm_account_id: i64,
        facts: &Facts,
        tokens: &Tokens,
        code: Record,
    ) -> Done<()> {
        let key = account_key(client_id, crm_account_id);
        let _turn = self.0.turns.take(&key).await;
        let sealed = self.0.sealer.seal(&tokens::place(Kind::Account, &key), &tokens::write(tokens));
        let record = Record {
            kind: Kind::Account,
            key: key.clone(),
            at: self.0.clock.now_msec(),
            facts: to_json(facts),
            sealed: Some(sealed),
        };
        self.0.store.widget().change(vec![Change::Put(record), Change::Put(code)]).await?;
        // Its tokens are of before.
        self.clients().remove(&key);
        tracing::info!(client_id, crm_account_id, "the integration was installed");
        Ok(())
    }

    /// What to link for an account's record; `None` where the configuration has lost the integration.
    pub(super) fn linking(&self, key: &str, account_id: AccountId) -> Option<Linking> {
        let (client_id, number) = key.rsplit_once('/')?;
        let crm_account_id = number.parse().ok()?;
        let (channel, integration) = self.integration(client_id)?;
        Some(Linking { key: key.to_owned(), channel, integration, crm_account_id, account_id })
    }

    /// Connects an account to the channel, as a page of this address asks for, and goes on trying where
    /// that may still succeed. To be run to its end.
    pub(super) async fn link(&self, linking: &Linking, origin: &str) -> Result<Value, Refusal> {
        let _turn = self.0.turns.take(&linking.key).await;
        let linked = self.link_now(linking, Some(origin)).await;
        let now = self.0.clock.now_msec();
        let wish = match &linked {
            Err(Refusal::NotInstalled) => Wish::new(&linking.account_id),
            Err(Refusal::CrmUnavailable) => {
                tracing::warn!(account = linking.key, "an account is tried again later");
                Wish::new(&linking.account_id).put_off(now)
            }
            _ => return linked,
        };
        let (key, facts) = (linking.key.clone(), to_json(&wish));
        let record = Record { kind: Kind::Wish, key, at: now, facts, sealed: None };
        self.0.store.widget().change(vec![Change::Put(record)]).await.map_err(unkept)?;
        self.0.work.notify_one();
        linked
    }

    /// One attempt to connect an account, once the CRM itself says that it is this account. Whoever
    /// calls this has its turn.
    pub(super) async fn link_now(&self, linking: &Linking, origin: Option<&str>) -> Result<Value, Refusal> {
        let linked = self.try_to_link(linking, origin).await;
        self.0.metrics.widget.linked(linked.as_ref().err().map_or("connected", Refusal::code));
        linked
    }

    async fn try_to_link(&self, linking: &Linking, origin: Option<&str>) -> Result<Value, Refusal> {
        let Linking { key, channel, integration, crm_account_id, account_id: claimed } = linking;
        let (crm_account_id, scope) = (*crm_account_id, linking.scope());
        let installed =
            self.account(key).await.map_err(unkept)?.filter(|(record, _)| record.sealed.is_some());
        let Some((record, mut facts)) = installed else { return Err(Refusal::NotInstalled) };
        // An account can get another address; a token that is signed tells of it. Where a sandbox's
        // pages are, its API need not be.
        if let Some(origin) = origin.filter(|origin| *origin != facts.origin && is_account_address(origin)) {
            origin.clone_into(&mut facts.origin);
            let record = Record { facts: to_json(&facts), ..record };
            self.0.store.widget().change(vec![Change::Put(record)]).await.map_err(unkept)?;
        }
        let accounts = self.0.channels.accounts();
        if facts.account_id == *claimed {
            accounts.remember(&scope).await;
        }
        let client = self.client(key, &facts.origin, integration.clone()).map_err(unkept)?;
        let account = match client.account().await {
            Ok(account) => account,
            Err(error) if is_revoked(&error) => {
                tracing::info!(crm_account_id, "the tokens of an account do not work any more");
                self.drop_tokens(key).await.map_err(unkept)?;
                return Err(Refusal::NotInstalled);
            }
            Err(error) => {
                let kind = error.kind();
                tracing::warn!(
                    crm_account_id,
                    kind = kind.name(),
                    "the CRM does not tell of an account: {error}"
                );
                accounts.could_not_be_checked(&scope, kind).await;
                return Err(Refusal::CrmUnavailable);
            }
        };
        if account.id != crm_account_id || account.amojo_id.as_ref() != Some(claimed) {
            tracing::warn!(crm_account_id, "a page spoke for another account than its own");
            self.forget_wish(key).await?;
            return Err(Refusal::AccountMismatch);
        }
        let mut connect = Connect::new(claimed.clone());
        connect.title.clone_from(&self.settings().title);
        match accounts.connect(channel, &connect).await {
            Ok(connected) => {
                self.forget_wish(key).await?;
                Ok(json!({
                    "state": "connected",
                    "scope_id": connected.scope_id,
                    "title": connected.title.or(connect.title),
                }))
            }
            Err(error) => Err(chat_refusal(crm_account_id, &error)),
        }
    }

    /// The tokens are revoked: they are of no more use.
    async fn drop_tokens(&self, key: &str) -> Done<()> {
        self.clients().remove(key);
        match self.account(key).await? {
            Some((record, _)) if record.sealed.is_some() => {
                let record = Record { sealed: None, ..record };
                self.0.store.widget().change(vec![Change::Put(record)]).await
            }
            _ => Ok(()),
        }
    }

    /// Disconnects an account.
    pub(super) async fn unlink(&self, caller: &Caller, claimed: &AccountId) -> Result<Value, Refusal> {
        let key = caller.key();
        let _turn = self.0.turns.take(&key).await;
        self.forget_wish(&key).await?;
        if let Some((_, facts)) = self.account(&key).await.map_err(unkept)? {
            if facts.account_id != *claimed {
                return Err(Refusal::AccountMismatch);
            }
            let scope = ScopeId::of(caller.channel.id(), claimed);
            let accounts = self.0.channels.accounts();
            let is_off = accounts.get(&scope).is_none_or(|account| {
                matches!(account.state, AccountState::Disabled | AccountState::Disconnected)
            });
            if !is_off {
                let done = accounts.disconnect(&caller.channel, claimed).await;
                done.map_err(|error| chat_refusal(caller.token.account_id, &error))?;
            }
        }
        Ok(json!({ "state": "disconnected" }))
    }

    /// How an account stands.
    pub(super) async fn state(&self, caller: &Caller, claimed: &AccountId) -> Result<Value, Refusal> {
        let key = caller.key();
        let wish = self.0.store.widget().record(Kind::Wish, &key).await.map_err(unkept)?;
        let wish =
            wish.map(|record| from_json(&record.facts).map(|wish: Wish| (self.life(&record, &wish), wish)));
        let wish = wish.transpose().map_err(unkept)?.filter(|(left, _)| !left.is_zero());
        let account = self.account(&key).await.map_err(unkept)?;
        if account.as_ref().is_some_and(|(_, facts)| facts.account_id != *claimed) {
            return Err(Refusal::AccountMismatch);
        }
        // Of an account that never had the integration nothing is told.
        let known = account
            .as_ref()
            .and_then(|_| self.0.channels.accounts().get(&ScopeId::of(caller.channel.id(), claimed)));
        let is_installed = account.is_some_and(|(record, _)| record.sealed.is_some());
        Ok(match (known, wish) {
            (Some(known), _) if known.state == AccountState::Connected && is_installed => json!({
                "state": "connected",
                "title": known.title,
                "since": known.since.div_euclid(1000),
            }),
            (_, Some((_, wish))) if wish.tries > 0 => json!({
                "state": "connecting",
                "problem": Refusal::CrmUnavailable.code(),
                "tries": wish.tries,
                "retry_after": wish.wait(self.0.clock.now_msec()).as_secs().max(1),
            }),
            (_, Some(_)) => json!({ "state": "connecting" }),
            (Some(known), _) if known.problem.is_some() => json!({ "state": "failed" }),
            _ => json!({ "state": "disconnected" }),
        })
    }

    /// The account of a disable hook that was linked here.
    pub(crate) async fn linked(&self, client_id: &str, crm_account_id: &str) -> Option<ScopeId> {
        let (channel, _) = self.integration(client_id)?;
        let key = account_key(client_id, crm_account_id.parse().ok()?);
        let (_, facts) = self.account(&key).await.map_err(unkept).ok()??;
        Some(ScopeId::of(channel.id(), &facts.account_id))
    }

    /// A genuine disable hook came: the tokens are revoked, and nothing is to be connected.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn disabled(&self, client_id: &str, crm_account_id: &str) -> Done<()> {
        let Ok(crm_account_id) = crm_account_id.parse() else { return Ok(()) };
        let key = account_key(client_id, crm_account_id);
        let _turn = self.0.turns.take(&key).await;
        self.switched_off(&key).await
    }

    /// The same for whoever has the account's turn.
    pub(super) async fn switched_off(&self, key: &str) -> Done<()> {
        self.0.store.widget().change(vec![Change::Forget(Kind::Wish, key.to_owned())]).await?;
        self.drop_tokens(key).await
    }
}

/// Whether the CRM says that tokens do not work, rather than that it does not work itself.
pub(super) fn is_revoked(error: &Error) -> bool {
    match error.http_status() {
        // The record says that there are none.
        None => error.kind() == ErrorKind::NotFound,
        // A refresh token that is refused gives 400, an access token without one 401.
        Some(status) => matches!(status, 400 | 401),
    }
}

fn chat_refusal(crm_account_id: i64, error: &Error) -> Refusal {
    tracing::warn!(crm_account_id, kind = error.kind().name(), "the chat service did not do it: {error}");
    match error.kind() {
        ErrorKind::Rejected | ErrorKind::Forbidden | ErrorKind::NotFound | ErrorKind::UnexpectedResponse => {
            Refusal::ChannelRefused
        }
        _ => Refusal::CrmUnavailable,
    }
}
