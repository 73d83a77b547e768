//! What somebody was allowed to connect is connected when it can be.

use super::Widget;
use super::answer::Refusal;
use super::installation::msec;
use super::link::{from_json, to_json, unkept};
use super::store::{Change, Kind, Record};
use amochats::{AccountId, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A connection that somebody was allowed to make and that is still to come: the account is not
/// installed yet, or the CRM did not work.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Wish {
    account_id: AccountId,
    /// Attempts that failed; none: it waits for the installation.
    #[serde(default)]
    pub(super) tries: u32,
    /// When the next one is due, in Unix milliseconds.
    #[serde(default)]
    due: i64,
}

/// The delay after the first failed attempt; it doubles with each further one, up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(15));
/// For how long what was allowed is waited for, and then tried again, before somebody must ask anew.
const WAITED: Duration = Duration::from_mins(20);
const TRIED: Duration = Duration::from_hours(24);

impl Wish {
    pub(super) fn new(account_id: &AccountId) -> Self {
        Self { account_id: account_id.clone(), tries: 0, due: 0 }
    }

    /// After one more failure.
    pub(super) fn put_off(self, now: i64) -> Self {
        let delay = AGAIN.0.saturating_mul(1 << self.tries.min(16)).min(AGAIN.1);
        Self { tries: self.tries + 1, due: now.saturating_add(msec(delay)), ..self }
    }

    /// How long until the next attempt. A clock that was set back does not make it longer than any.
    pub(super) fn wait(&self, now: i64) -> Duration {
        let wait = self.due.saturating_sub(now).clamp(0, msec(AGAIN.1));
        Duration::from_millis(wait.unsigned_abs())
    }
}

impl Widget {
    /// The wishes that can be fulfilled or have ended, each with how long it has to wait; and how long
    /// until another one ends.
    pub(super) async fn wishes(&self) -> Result<(Vec<(Record, Duration)>, Duration)> {
        let store = self.0.store.widget();
        let (mut open, mut next) = (Vec::new(), Duration::MAX);
        for record in store.records(Kind::Wish).await? {
            // One that cannot be read is looked at by itself, and holds up no other.
            let wish = from_json::<Wish>(&record.facts).ok();
            let left = wish.as_ref().map_or(Duration::ZERO, |wish| self.life(&record, wish));
            let wait = wish.map_or(left, |wish| wish.wait(self.0.clock.now_msec()).min(left));
            let account = store.record(Kind::Account, &record.key).await?;
            if left.is_zero() {
                open.push((record, left));
            } else if account.is_some_and(|account| account.sealed.is_some()) {
                open.push((record, wait));
            } else {
                next = next.min(left);
            }
        }
        Ok((open, next))
    }

    /// For how long a wish counts from now on.
    pub(super) fn life(&self, record: &Record, wish: &Wish) -> Duration {
        let life = if wish.tries == 0 { WAITED } else { TRIED };
        let age = self.0.clock.now_msec().saturating_sub(record.at);
        life.saturating_sub(Duration::from_millis(age.max(0).unsigned_abs()))
    }

    /// Connects what somebody was allowed to connect, or forgets what was allowed long ago. An error
    /// means that the store does not work.
    pub(super) async fn fulfil(&self, key: &str) -> Result<()> {
        let _turn = self.0.turns.take(key).await;
        // Meanwhile somebody may have taken it back.
        let Some(record) = self.0.store.widget().record(Kind::Wish, key).await? else { return Ok(()) };
        let wish: Wish = from_json(&record.facts)?;
        if self.life(&record, &wish).is_zero() {
            let (account, tries) = (key, wish.tries);
            tracing::warn!(account, tries, "an account was not connected in time, and is not tried any more");
            return self.0.store.widget().change(vec![Change::Forget(Kind::Wish, key.to_owned())]).await;
        }
        let linked = match self.linking(key, wish.account_id.clone()) {
            Some(linking) => self.link_now(&linking, None).await,
            None => Err(Refusal::ChannelRefused),
        };
        let put = |wish: &Wish| Change::Put(Record { facts: to_json(wish), ..record.clone() });
        let change = match linked {
            Ok(_) => return Ok(()),
            Err(Refusal::NotInstalled) => put(&Wish::new(&wish.account_id)),
            Err(Refusal::CrmUnavailable) => {
                let now = self.0.clock.now_msec();
                let wish = wish.put_off(now);
                let (tries, again_in_s) = (wish.tries, wish.wait(now).as_secs());
                tracing::warn!(account = key, tries, again_in_s, "an account is tried again later");
                put(&wish)
            }
            Err(Refusal::ServerUnavailable) => {
                return Err(Error::new(ErrorKind::Unavailable, "an account could not be connected yet"));
            }
            Err(_) => Change::Forget(Kind::Wish, key.to_owned()),
        };
        self.0.store.widget().change(vec![change]).await
    }

    pub(super) async fn forget_wish(&self, key: &str) -> Result<(), Refusal> {
        let change = Change::Forget(Kind::Wish, key.to_owned());
        self.0.store.widget().change(vec![change]).await.map_err(unkept)
    }
}
