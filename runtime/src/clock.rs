//! Time, injected: no other module of this crate reads a clock.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// A future of a clock.
pub type Sleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// How often [`SystemClock`] looks whether time was lost, and how much is worth a word: the vendor waits
/// 5 s for the answer to a webhook.
const LOOK: Duration = Duration::from_secs(1);
const STILL: Duration = Duration::from_secs(5);

/// Where time comes from. Leases and delays go by [`Clock::monotonic`], which no step of the
/// system's time can move.
pub trait Clock: Send + Sync + 'static {
    /// The calendar's time.
    fn now(&self) -> SystemTime;
    /// The time since a fixed moment, never going back.
    fn monotonic(&self) -> Duration;
    /// Ends once [`Clock::monotonic`] has reached `at`.
    fn sleep_until(&self, at: Duration) -> Sleep<'_>;

    /// Ends once this process has stood still for longer than a webhook waits, and says for how long: it
    /// was stopped, or all of the machine slept. A clock that cannot tell never ends.
    fn stood_still(&self) -> Pin<Box<dyn Future<Output = Duration> + Send + '_>> {
        Box::pin(std::future::pending())
    }

    /// The calendar's time in Unix milliseconds.
    fn now_msec(&self) -> i64 {
        let since = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    fn sleep_until(&self, at: Duration) -> Sleep<'_> {
        Box::pin(tokio::time::sleep_until((self.origin + at).into()))
    }

    fn stood_still(&self) -> Pin<Box<dyn Future<Output = Duration> + Send + '_>> {
        Box::pin(async {
            let mut before = awake_and_asleep();
            loop {
                tokio::time::sleep(LOOK).await;
                let now = awake_and_asleep();
                let lost = now.saturating_sub(before).saturating_sub(LOOK);
                if lost >= STILL {
                    return lost;
                }
                before = now;
            }
        })
    }
}

/// The time since the machine was started, its sleep included; no step of the calendar's time moves it.
#[cfg(target_os = "linux")]
fn awake_and_asleep() -> Duration {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    time.map(Duration::from).unwrap_or_default()
}

/// A time that may stand still with the machine, where no other is at hand.
#[cfg(not(target_os = "linux"))]
fn awake_and_asleep() -> Duration {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed()
}

/// A clock that stands still until it is turned, for tests.
#[derive(Debug)]
pub struct ManualClock {
    start: SystemTime,
    elapsed: watch::Sender<Duration>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: SystemTime) -> Self {
        Self { start, elapsed: watch::Sender::new(Duration::ZERO) }
    }

    /// Turns both clocks forward.
    pub fn advance(&self, by: Duration) {
        self.elapsed.send_modify(|elapsed| *elapsed += by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.start + *self.elapsed.borrow()
    }

    fn monotonic(&self) -> Duration {
        *self.elapsed.borrow()
    }

    fn sleep_until(&self, at: Duration) -> Sleep<'_> {
        let mut elapsed = self.elapsed.subscribe();
        Box::pin(async move {
            // The sender lives in `self`, so this only ends when the time has come.
            let _ = elapsed.wait_for(|elapsed| *elapsed >= at).await;
        })
    }
}
