//! Linked accounts are looked at on the same schedule as those of the configuration. That also keeps
//! their tokens alive, which end when nobody refreshes them.

use super::Widget;
use super::answer::Refusal;
use super::link::{Facts, from_json};
use super::store::{Kind, Record};
use crate::accounts::{AGAIN, Account, AccountState};
use amochats::{ErrorKind, Result, ScopeId};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

impl Widget {
    /// Checks what is due, until `stop`.
    pub(super) async fn look_after(&self, interval: Duration, stop: CancellationToken) {
        let work = async {
            loop {
                // Before the look, so that time which passes meanwhile counts.
                let began = self.0.clock.monotonic();
                let pause = match self.check_linked(interval).await {
                    Ok(pause) => pause,
                    Err(error) => {
                        let kind = error.kind().name();
                        tracing::warn!(kind, "linked accounts could not be checked: {error}");
                        AGAIN
                    }
                };
                self.0.clock.sleep_until(began + pause.min(interval)).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Checks the accounts that are due; says how long none will be.
    async fn check_linked(&self, interval: Duration) -> Result<Duration> {
        let mut next = interval;
        for record in self.0.store.widget().records(Kind::Account).await? {
            if record.sealed.is_some() {
                next = next.min(self.check(&record, interval).await?);
            }
        }
        Ok(next)
    }

    /// Checks an account if it is due; says how long it will not be.
    async fn check(&self, record: &Record, interval: Duration) -> Result<Duration> {
        let Some((client_id, number)) = record.key.rsplit_once('/') else { return Ok(interval) };
        let (Ok(crm_account_id), Some((channel, integration))) =
            (number.parse(), self.integration(client_id))
        else {
            return Ok(interval);
        };
        let facts: Facts = from_json(&record.facts)?;
        // Who stands in the configuration is checked because of that.
        let is_configured =
            channel.accounts.iter().any(|known| known.connect && known.id == facts.account_id.as_str());
        let scope = ScopeId::of(channel.id(), &facts.account_id);
        let accounts = self.0.channels.accounts();
        let known = accounts.get(&scope).filter(|known| known.state == AccountState::Connected);
        let Some(known) = known.filter(|_| !is_configured) else { return Ok(interval) };
        let wait = self.rest(&known, interval);
        if !wait.is_zero() {
            return Ok(wait);
        }
        match self.link(&channel, &integration, crm_account_id, None, &facts.account_id).await {
            Ok(_) => Ok(interval),
            Err(Refusal::NotInstalled) => {
                // The hook that should have told of it was lost.
                self.disabled(client_id, number).await?;
                accounts.disable(number, vec![scope]).await;
                Ok(interval)
            }
            Err(refusal) => {
                let kind = match refusal {
                    Refusal::AccountMismatch => ErrorKind::Forbidden,
                    _ => ErrorKind::Unavailable,
                };
                accounts.could_not_be_checked(&scope, kind).await;
                tracing::warn!(%scope, reason = refusal.code(), "a linked account could not be checked");
                Ok(AGAIN)
            }
        }
    }

    /// How long an account need not be checked.
    fn rest(&self, known: &Account, interval: Duration) -> Duration {
        let title = &self.settings().title;
        let is_new = title.is_some() && known.title != *title;
        let Some(checked_at) = known.checked_at.filter(|_| !is_new) else { return Duration::ZERO };
        let age = self.0.clock.now_msec().saturating_sub(checked_at);
        let age = Duration::from_millis(age.try_into().unwrap_or(0));
        let pause = if known.problem.is_some() { AGAIN.min(interval) } else { interval };
        pause.saturating_sub(age)
    }
}
