//! How often a scope is called.

use std::time::Duration;

/// A token bucket. The service's own limit is not documented; 429 is believed in any case.
pub(super) struct Pace {
    /// Tokens a second.
    rate: f64,
    burst: f64,
    tokens: f64,
    /// When `tokens` was right.
    at: Duration,
    paused_until: Duration,
}

impl Pace {
    pub(super) fn new(rate: f64, burst: u32, now: Duration) -> Self {
        let burst = f64::from(burst);
        Self { rate, burst, tokens: burst, at: now, paused_until: Duration::ZERO }
    }

    /// Takes a turn, or says when to ask again.
    pub(super) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        if now < self.paused_until {
            return Err(self.paused_until);
        }
        self.tokens = (self.tokens + now.saturating_sub(self.at).as_secs_f64() * self.rate).min(self.burst);
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // At least a moment, or rounding could make this a spin.
        let wait = Duration::from_secs_f64((1.0 - self.tokens) / self.rate).max(Duration::from_millis(1));
        Err(now + wait)
    }

    /// Nobody has a turn before this.
    pub(super) fn pause(&mut self, until: Duration) {
        self.paused_until = self.paused_until.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut pace = Pace::new(5.0, 3, Duration::ZERO);
        let mut now = Duration::ZERO;
        assert_eq!((0..10).filter(|_| pace.take(now).is_ok()).count(), 3);
        let mut passed = 0;
        while now < SECOND * 10 {
            match pace.take(now) {
                Ok(()) => passed += 1,
                Err(next) => {
                    assert!(next > now);
                    now = next;
                }
            }
        }
        assert!((49..=50).contains(&passed), "{passed}");
        assert_eq!(
            (0..10).filter(|_| pace.take(now + SECOND * 100).is_ok()).count(),
            3,
            "no more is saved up"
        );
    }

    #[test]
    fn a_pause_holds_everybody() {
        let mut pace = Pace::new(5.0, 3, Duration::ZERO);
        pace.pause(SECOND * 7);
        pace.pause(SECOND * 2);
        assert_eq!(pace.take(SECOND), Err(SECOND * 7));
        assert_eq!(pace.take(SECOND * 7), Ok(()));
    }
}
