//! Linked accounts are looked at on the same schedule as those of the configuration. That also keeps
//! their tokens alive, which end when nobody refreshes them.

use super::Widget;
use super::answer::Refusal;
use super::crew::Crew;
use super::link::{Facts, Linking, from_json};
use super::store::{Kind, Record};
use crate::accounts::{AGAIN, Account, AccountState};
use amochats::{ErrorKind, Result};
use std::collections::HashMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Accounts that are checked at a time.
const AT_ONCE: usize = 8;

/// The name that each account was last checked with: the chat service need not repeat it.
type Titles = HashMap<String, Option<String>>;

impl Widget {
    /// Checks what is due, until `stop`.
    pub(super) async fn look_after(&self, interval: Duration, stop: CancellationToken) {
        let (mut crew, mut titles) = (Crew::new(AT_ONCE), Titles::new());
        while !stop.is_cancelled() {
            // Before the look, so that time which passes meanwhile counts.
            let began = self.0.clock.monotonic();
            let pause = self.begin_checks(&mut crew, &mut titles, interval).await.unwrap_or_else(|error| {
                let kind = error.kind().name();
                tracing::warn!(kind, "linked accounts could not be checked: {error}");
                AGAIN
            });
            tokio::select! {
                (_, ()) = crew.ended() => {}
                () = self.0.clock.sleep_until(began + pause.min(interval)) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Begins to check the accounts that are due; says how long no other one will be.
    async fn begin_checks<'a>(
        &'a self,
        crew: &mut Crew<'a, ()>,
        titles: &mut Titles,
        interval: Duration,
    ) -> Result<Duration> {
        let mut next = interval;
        let title = &self.settings().title;
        for record in self.0.store.widget().records(Kind::Account).await? {
            if record.sealed.is_none() || crew.names().contains(&record.key) {
                continue;
            }
            let Some(linking) = self.watched(&record) else { continue };
            let Some(known) = self.connected(&linking) else { continue };
            let is_new = title.is_some() && known.title != *title && titles.get(&record.key) != Some(title);
            let wait = if is_new { Duration::ZERO } else { self.rest(&known, interval) };
            if !wait.is_zero() {
                next = next.min(wait);
            } else if crew.free() > 0 {
                // With none free, the end of one brings it up again.
                titles.insert(record.key.clone(), title.clone());
                crew.begin(record.key, async move { self.check(&linking).await });
            }
        }
        Ok(next)
    }

    /// The account of a record, if it is checked here: who stands in the configuration is because of that.
    fn watched(&self, record: &Record) -> Option<Linking> {
        let facts: Facts = from_json(&record.facts)
            .inspect_err(|error| {
                tracing::error!(account = record.key, "a linked account is not checked: {error}");
            })
            .ok()?;
        let linking = self.linking(&record.key, facts.account_id)?;
        let mut configured = linking.channel.accounts.iter().filter(|known| known.connect);
        let is_configured = configured.any(|known| known.id == linking.account_id.as_str());
        (!is_configured).then_some(linking)
    }

    /// What is known of an account that is connected.
    fn connected(&self, linking: &Linking) -> Option<Account> {
        let known = self.0.channels.accounts().get(&linking.scope());
        known.filter(|known| known.state == AccountState::Connected)
    }

    async fn check(&self, linking: &Linking) {
        let _turn = self.0.turns.take(&linking.key).await;
        // Meanwhile somebody may have disconnected it.
        if self.connected(linking).is_none() {
            return;
        }
        let (scope, accounts) = (linking.scope(), self.0.channels.accounts());
        let refusal = match self.link_now(linking, None).await {
            Ok(_) => return,
            // The hook that should have told of it was lost.
            Err(Refusal::NotInstalled) => match self.switched_off(&linking.key).await {
                Ok(()) => return accounts.disable(&linking.crm_account_id.to_string(), vec![scope]).await,
                Err(error) => {
                    tracing::error!(kind = error.kind().name(), "the store does not work: {error}");
                    Refusal::ServerUnavailable
                }
            },
            Err(refusal) => refusal,
        };
        match refusal {
            Refusal::AccountMismatch => accounts.could_not_be_checked(&scope, ErrorKind::Forbidden).await,
            Refusal::ServerUnavailable => accounts.could_not_be_checked(&scope, ErrorKind::Unavailable).await,
            // What the CRM or the chat service said is noted.
            _ => {}
        }
        tracing::warn!(%scope, reason = refusal.code(), "a linked account could not be checked");
    }

    /// How long an account need not be checked.
    fn rest(&self, known: &Account, interval: Duration) -> Duration {
        let Some(checked_at) = known.checked_at else { return Duration::ZERO };
        let age = self.0.clock.now_msec().saturating_sub(checked_at);
        let age = Duration::from_millis(age.try_into().unwrap_or(0));
        let pause = if known.problem.is_some() { AGAIN.min(interval) } else { interval };
        pause.saturating_sub(age)
    }
}
