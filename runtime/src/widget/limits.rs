//! How many attempts somebody has.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// The most that are remembered. Beyond it those that have been quiet longest are forgotten.
const KNOWN: usize = 10_000;

/// A token bucket for each key.
pub(crate) struct Attempts<K> {
    most: f64,
    /// Attempts that come back in a second.
    rate: f64,
    left: HashMap<K, (f64, Duration)>,
}

impl<K: Hash + Eq + Clone> Attempts<K> {
    /// So many in each window.
    pub(crate) fn new(most: u32, window: Duration) -> Self {
        let most = f64::from(most);
        Self { most, rate: most / window.as_secs_f64(), left: HashMap::new() }
    }

    /// Changes how many there are. What was taken stays taken.
    pub(crate) fn set(&mut self, most: u32, window: Duration) {
        self.most = f64::from(most);
        self.rate = self.most / window.as_secs_f64();
    }

    fn left_at(&self, now: Duration, (left, at): (f64, Duration)) -> f64 {
        (left + now.saturating_sub(at).as_secs_f64() * self.rate).min(self.most)
    }

    /// Takes an attempt, or says how long there is none.
    pub(crate) fn take(&mut self, key: &K, now: Duration) -> Result<(), Duration> {
        if self.left.len() >= KNOWN && !self.left.contains_key(key) {
            self.forget(now);
        }
        let left = self.left.get(key).map_or(self.most, |known| self.left_at(now, *known));
        if left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - left) / self.rate));
        }
        self.left.insert(key.clone(), (left - 1.0, now));
        Ok(())
    }

    /// An attempt was a success, and does not count.
    pub(crate) fn give_back(&mut self, key: &K, now: Duration) {
        if let Some(known) = self.left.get(key).copied() {
            let left = self.left_at(now, known) + 1.0;
            self.left.insert(key.clone(), (left.min(self.most), now));
        }
    }

    /// First those that have all their attempts again: to forget them changes nothing.
    fn forget(&mut self, now: Duration) {
        let (most, rate) = (self.most, self.rate);
        self.left.retain(|_, (left, at)| *left + now.saturating_sub(*at).as_secs_f64() * rate < most);
        if self.left.len() >= KNOWN {
            let mut times: Vec<Duration> = self.left.values().map(|(_, at)| *at).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            self.left.retain(|_, (_, at)| *at > median);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn attempts_run_out_for_one_and_come_back() {
        let mut attempts = Attempts::new(3, SECOND * 60);
        for _ in 0..3 {
            assert_eq!(attempts.take(&"a", SECOND), Ok(()));
        }
        assert_eq!(attempts.take(&"a", SECOND), Err(SECOND * 20));
        assert_eq!(attempts.take(&"b", SECOND), Ok(()), "another one has its own");
        assert_eq!(attempts.take(&"a", SECOND * 21), Ok(()));
        assert!(attempts.take(&"a", SECOND * 21).is_err());
        attempts.give_back(&"a", SECOND * 21);
        assert_eq!(attempts.take(&"a", SECOND * 21), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut attempts = Attempts::new(1, SECOND);
        for key in 0..3 * KNOWN {
            attempts.take(&key, SECOND).expect("the first one");
        }
        assert!(attempts.left.len() <= KNOWN);
        let newest = 3 * KNOWN - 1;
        assert!(attempts.take(&newest, SECOND).is_err(), "who came last is still known");
    }
}
