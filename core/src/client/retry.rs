//! How often a service is asked, and what is asked again.

use crate::error::{Error, ErrorKind, Result};
use backon::ExponentialBuilder;
use governor::clock::{Clock, MonotonicClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use std::hash::Hash;
use std::time::Duration;
use tokio::time::Instant;

/// How often a call is repeated at most.
const REPEATS_MAX: usize = 4;
const DELAY_MAX: Duration = Duration::from_secs(10);

/// As many keys as are remembered before those are forgotten that have their full share again.
const KEYS_MAX: usize = 10_000;

/// Lets as many requests of each key through as its quota has.
pub(super) struct Pace<K: Clone + Eq + Hash = (), C: Clock = MonotonicClock> {
    clock: C,
    limiter: Option<Limiter<K, C>>,
}

type Limiter<K, C> = RateLimiter<K, HashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

impl<C: Clock + Clone> Pace<(), C> {
    /// One request in every interval; without one everything passes.
    pub(super) fn new(interval: Duration, clock: C) -> Self {
        Self::of_each(Quota::with_period(interval), clock)
    }

    /// Waits for a turn, if it comes before the deadline.
    pub(super) async fn turn(&self, deadline: Instant) -> Result<()> {
        self.turn_of(&(), deadline).await
    }
}

impl<K: Clone + Eq + Hash, C: Clock + Clone> Pace<K, C> {
    /// A quota for each key; without one everything passes.
    pub(super) fn of_each(quota: Option<Quota>, clock: C) -> Self {
        let limiter = quota.map(|quota| RateLimiter::hashmap_with_clock(quota, clock.clone()));
        Self { clock, limiter }
    }

    /// Takes the next turn, or says how long it is until then.
    fn take(&self, key: &K) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if limiter.len() >= KEYS_MAX {
            limiter.retain_recent();
        }
        limiter.check_key(key).map_err(|early| {
            let wait: Duration = early.earliest_possible().duration_since(self.clock.now()).into();
            // A wait of nothing would turn the loop below into a spin.
            wait.max(Duration::from_millis(1))
        })
    }

    /// Waits for a turn of this key, if it comes before the deadline.
    pub(super) async fn turn_of(&self, key: &K, deadline: Instant) -> Result<()> {
        while let Err(wait) = self.take(key) {
            let at = Instant::now() + wait;
            if at > deadline {
                return Err(Error::new(
                    ErrorKind::RateLimited,
                    "not sent: too many calls of this client wait for their turn",
                )
                .with_retry_after(wait));
            }
            tokio::time::sleep_until(at).await;
        }
        Ok(())
    }
}

/// Which failed calls are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Any: twice has the effect of once.
    Harmless,
    /// Those that certainly had no effect: twice could be one too many, or be refused.
    NotTaken,
    /// None.
    Never,
}

impl Repeat {
    /// Whether this failure is worth another attempt.
    pub(super) fn allows(self, error: &Error) -> bool {
        match self {
            Self::Harmless => is_passing(error),
            Self::NotTaken => is_passing(error) && !error.may_have_been_applied(),
            Self::Never => false,
        }
    }
}

/// The delays between repeats, before [`delay`] spreads them.
pub(super) fn backoff(first: Duration) -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(DELAY_MAX)
        .with_factor(2.0)
        .with_max_times(REPEATS_MAX)
}

/// Whether the same call may succeed soon.
pub(super) fn is_passing(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Transport => true,
        // Without a status it is this client's own pace that ran into the deadline.
        ErrorKind::RateLimited => error.http_status().is_some(),
        _ => false,
    }
}

/// The delay before the next repeat: anything up to the planned one, so that clients that failed
/// together do not come back together, but at least what the service asked for. None where it would
/// end after the deadline.
pub(super) fn delay(error: &Error, planned: Option<Duration>, deadline: Instant) -> Option<Duration> {
    let spread = planned?.mul_f64(fastrand::f64());
    let delay = spread.max(error.retry_after().unwrap_or_default());
    (Instant::now() + delay < deadline).then_some(delay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use backon::BackoffBuilder;
    use governor::clock::FakeRelativeClock;
    use std::num::NonZeroU32;

    #[test]
    fn no_second_holds_more_than_seven() {
        let clock = FakeRelativeClock::default();
        let pace = Pace::new(super::super::REQUEST_INTERVAL, clock.clone());
        let mut passed = 0;
        for _ in 0..999 {
            passed += u32::from(pace.take(&()).is_ok());
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(passed, 7);

        let wait = loop {
            if let Err(wait) = pace.take(&()) {
                break wait;
            }
        };
        assert!(wait <= super::super::REQUEST_INTERVAL);
        clock.advance(wait);
        assert_eq!(pace.take(&()).ok(), Some(()));
    }

    #[test]
    fn every_key_has_a_share_of_its_own() {
        let clock = FakeRelativeClock::default();
        let quota = Quota::per_second(NonZeroU32::MIN.saturating_add(1));
        let pace = Pace::of_each(Some(quota), clock.clone());
        for key in ["a", "b"] {
            assert_eq!([(); 3].map(|()| pace.take(&key).is_ok()), [true, true, false], "{key}");
        }
        clock.advance(Duration::from_millis(500));
        assert_eq!([(); 2].map(|()| pace.take(&"a").is_ok()), [true, false]);
        let without = Pace::of_each(None, clock);
        assert!((0..99).all(|_| without.take(&"a").is_ok()));
    }

    #[test]
    fn only_what_is_safe_is_repeated() {
        let error = |kind| Error::new(kind, "said");
        let untaken = || error(ErrorKind::Transport).with_may_have_been_applied(false);
        let asked = error(ErrorKind::RateLimited).with_http_status(429);
        for (error, allowed) in [
            // As `Harmless` and as `NotTaken`.
            (error(ErrorKind::Timeout), [true, false]),
            (error(ErrorKind::Transport), [true, false]),
            (untaken(), [true, true]),
            (error(ErrorKind::Unavailable), [true, true]),
            (error(ErrorKind::Unavailable).with_may_have_been_applied(true), [true, false]),
            (asked, [true, true]),
            (error(ErrorKind::RateLimited), [false, false]),
            (error(ErrorKind::Rejected), [false, false]),
            (error(ErrorKind::Forbidden), [false, false]),
            (error(ErrorKind::UnexpectedResponse), [false, false]),
        ] {
            assert_eq!([Repeat::Harmless, Repeat::NotTaken].map(|r| r.allows(&error)), allowed, "{error:?}");
            assert!(!Repeat::Never.allows(&error));
        }
    }

    #[test]
    fn delays_grow_and_end() {
        let first = Duration::from_millis(200);
        let planned: Vec<_> = backoff(first).build().map(|delay| delay.as_millis()).collect();
        assert_eq!(planned, [200, 400, 800, 1600]);
    }

    #[tokio::test]
    async fn a_delay_is_spread_obeys_the_service_and_ends_before_the_deadline() {
        let error = |kind| Error::new(kind, "said");
        let far = Instant::now() + Duration::from_hours(1);
        let planned = Some(Duration::from_secs(1));
        let delays: Vec<_> =
            (0..100).filter_map(|_| delay(&error(ErrorKind::Unavailable), planned, far)).collect();
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(1)));
        assert!(delays.iter().any(|delay| *delay != delays[0]), "spread");

        let asked = error(ErrorKind::RateLimited).with_retry_after(Duration::from_secs(7));
        assert_eq!(delay(&asked, planned, far), Some(Duration::from_secs(7)));
        assert_eq!(delay(&asked, planned, Instant::now() + Duration::from_secs(6)), None);
        assert_eq!(delay(&asked, None, far), None);
    }
}
