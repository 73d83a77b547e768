//! How often the CRM is asked, and what is asked again.

use crate::error::{Error, ErrorKind, Result};
use backon::ExponentialBuilder;
use governor::clock::{Clock, MonotonicClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::time::Duration;
use tokio::time::Instant;

/// How often a call is repeated at most.
const REPEATS_MAX: usize = 4;
const DELAY_MAX: Duration = Duration::from_secs(10);

/// Lets one request through in every interval.
pub(super) struct Pace<C: Clock = MonotonicClock> {
    clock: C,
    limiter: Option<Limiter<C>>,
}

type Limiter<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

impl<C: Clock + Clone> Pace<C> {
    /// Without an interval everything passes.
    pub(super) fn new(interval: Duration, clock: C) -> Self {
        let limiter =
            Quota::with_period(interval).map(|quota| RateLimiter::direct_with_clock(quota, clock.clone()));
        Self { clock, limiter }
    }

    /// Takes the next turn, or says how long it is until then.
    fn take(&self) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check().map_err(|early| {
            let wait: Duration = early.earliest_possible().duration_since(self.clock.now()).into();
            // A wait of nothing would turn the loop below into a spin.
            wait.max(Duration::from_millis(1))
        })
    }

    /// Waits for a turn, if it comes before the deadline.
    pub(super) async fn turn(&self, deadline: Instant) -> Result<()> {
        while let Err(wait) = self.take() {
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

/// The delays between repeats, before [`delay`] spreads them.
pub(super) fn backoff(first: Duration) -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(DELAY_MAX)
        .with_factor(2.0)
        .with_max_times(REPEATS_MAX)
}

/// Whether the same reading call may succeed soon.
pub(super) fn is_passing(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Transport => true,
        // Without a status it is this client's own pace that ran into the deadline.
        ErrorKind::RateLimited => error.http_status().is_some(),
        _ => false,
    }
}

/// The delay before the next repeat: anything up to the planned one, so that clients that failed
/// together do not come back together, but at least what the CRM asked for. None where it would
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

    #[test]
    fn no_second_holds_more_than_seven() {
        let clock = FakeRelativeClock::default();
        let pace = Pace::new(super::super::REQUEST_INTERVAL, clock.clone());
        let mut passed = 0;
        for _ in 0..999 {
            passed += u32::from(pace.take().is_ok());
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(passed, 7);

        let wait = loop {
            if let Err(wait) = pace.take() {
                break wait;
            }
        };
        assert!(wait <= super::super::REQUEST_INTERVAL);
        clock.advance(wait);
        assert_eq!(pace.take(), Ok(()));
    }

    #[test]
    fn delays_grow_and_end() {
        let first = Duration::from_millis(200);
        let planned: Vec<_> = backoff(first).build().map(|delay| delay.as_millis()).collect();
        assert_eq!(planned, [200, 400, 800, 1600]);
    }

    #[tokio::test]
    async fn a_delay_is_spread_obeys_the_crm_and_ends_before_the_deadline() {
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
