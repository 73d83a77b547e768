//! Who calls: a page of the CRM, by its `Origin`, and an account, by its one-time token.

use super::Widget;
use super::answer::Refusal;
use super::store::{Kind, Record};
use crate::channels::Channel;
use amochats::crm::{ClientSecret, Integration, OneTimeToken, OneTimeTokenRules, verify_one_time_token};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// By how much the CRM's clock may differ from this one.
const LEEWAY: Duration = Duration::from_secs(10);

/// The account of a genuine one-time token, and the channel that its integration belongs to.
pub(super) struct Caller {
    pub(super) channel: Arc<Channel>,
    pub(super) integration: Integration,
    pub(super) token: OneTimeToken,
    pub(super) peer: IpAddr,
}

impl Caller {
    /// The key of the account's records.
    pub(super) fn key(&self) -> String {
        account_key(&self.integration.client_id, self.token.account_id)
    }
}

/// The key of an account's records.
pub(super) fn account_key(client_id: &str, crm_account_id: i64) -> String {
    format!("{client_id}/{crm_account_id}")
}

impl Widget {
    /// The integrations with their channels.
    fn integrations(&self) -> Vec<(Arc<Channel>, String, ClientSecret)> {
        let all = self.0.channels.all();
        let with = |channel: &Arc<Channel>| {
            let (id, secret) = channel.integration.clone()?;
            Some((channel.clone(), id, secret))
        };
        all.values().filter_map(with).collect()
    }

    /// An integration by its id.
    pub(super) fn integration(&self, client_id: &str) -> Option<(Arc<Channel>, Integration)> {
        let found = self.integrations().into_iter().find(|(_, id, _)| id == client_id);
        found.map(|(channel, client_id, client_secret)| {
            let redirect_uri = self.0.redirect_uri.clone();
            (channel, Integration { client_id, client_secret, redirect_uri })
        })
    }

    /// Checks a one-time token, and that it was not used up.
    pub(super) async fn caller(
        &self,
        origin: &str,
        token: Option<&str>,
        peer: IpAddr,
    ) -> Result<Caller, Refusal> {
        let refused = |part: &str| {
            tracing::warn!(%peer, part, "a one-time token was refused");
            if part == "exp" { Refusal::TokenExpired } else { Refusal::TokenInvalid }
        };
        let token = token.ok_or_else(|| refused("missing"))?;
        let now = self.0.clock.now();
        let settings = self.settings();
        // The first word is that of the integration whose key fits; without one the key is what is wrong.
        let mut wrong = "signature".to_owned();
        for (channel, client_id, client_secret) in self.integrations() {
            let rules = OneTimeTokenRules {
                origin: Some(origin.to_owned()),
                issuers: settings.origins.more().to_vec(),
                leeway: LEEWAY,
                ..OneTimeTokenRules::new(client_id.as_str(), self.0.redirect_uri.as_str())
            };
            match verify_one_time_token(&client_secret, token, &rules, now) {
                Ok(token) => {
                    self.use_up(&token)
                        .await
                        .map_err(|unusable| unusable.unwrap_or_else(|| refused("jti")))?;
                    let redirect_uri = self.0.redirect_uri.clone();
                    let integration = Integration { client_id, client_secret, redirect_uri };
                    return Ok(Caller { channel, integration, token, peer });
                }
                Err(error) => {
                    if let Some(part) = error.field().filter(|part| *part != "signature") {
                        part.clone_into(&mut wrong);
                    }
                }
            }
        }
        Err(refused(&wrong))
    }

    /// Remembers the use of a token until it expires, also over a restart. `None`: it was used up.
    async fn use_up(&self, token: &OneTimeToken) -> Result<(), Option<Refusal>> {
        let store = self.0.store.widget();
        let unavailable = |error: amochats::Error| {
            tracing::error!(kind = error.kind().name(), "the use of a one-time token was not kept: {error}");
            Some(Refusal::ServerUnavailable)
        };
        let leeway = i64::try_from(LEEWAY.as_millis()).unwrap_or(i64::MAX);
        store.forget_before(Kind::Token, self.0.clock.now_msec()).await.map_err(unavailable)?;
        for nth in 1..=self.settings().token_uses {
            let record = Record {
                kind: Kind::Token,
                key: format!("{}/{}#{nth}", token.client_uuid, token.jti),
                at: token.exp.saturating_mul(1000).saturating_add(leeway),
                facts: "{}".into(),
                sealed: None,
            };
            if store.claim(record).await.map_err(unavailable)? {
                return Ok(());
            }
        }
        Err(None)
    }
}
