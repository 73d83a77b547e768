//! A host that does not answer is left alone for a while.

use crate::clock::Clock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// A circuit breaker: after so many failures in a row nobody calls the host; then one call tries
/// whether it is there again.
pub(super) struct Circuit {
    clock: Arc<dyn Clock>,
    /// So many failures in a row open it.
    threshold: u32,
    /// For so long.
    open_for: Duration,
    state: Mutex<State>,
    /// Counts up whenever the state changes.
    changes: watch::Sender<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Duration,
    },
    /// One call is under way to try.
    Probing,
}

/// What a circuit is, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CircuitState {
    Closed,
    HalfOpen,
    Open,
}

impl Circuit {
    pub(super) fn new(clock: Arc<dyn Clock>, threshold: u32, open_for: Duration) -> Self {
        let state = Mutex::new(State::Closed { failures: 0 });
        Self { clock, threshold, open_for, state, changes: watch::Sender::new(0) }
    }

    /// Waits until a call may be made.
    pub(super) async fn admit(&self) -> Pass<'_> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let until = {
                let mut state = self.state();
                match *state {
                    State::Closed { .. } => return Pass { circuit: self, probe: false, told: false },
                    State::Open { until } if until <= self.clock.monotonic() => {
                        *state = State::Probing;
                        return Pass { circuit: self, probe: true, told: false };
                    }
                    State::Open { until } => Some(until),
                    State::Probing => None,
                }
            };
            let over = async {
                match until {
                    Some(until) => self.clock.sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => {}
                // The sender lives as long as this call.
                _ = changes.changed() => {}
            }
        }
    }

    pub(super) fn is(&self) -> CircuitState {
        match *self.state() {
            State::Closed { .. } => CircuitState::Closed,
            State::Open { .. } => CircuitState::Open,
            State::Probing => CircuitState::HalfOpen,
        }
    }

    fn tell(&self, probe: bool, alive: bool) {
        let mut state = self.state();
        let next = match (*state, alive) {
            (_, true) => State::Closed { failures: 0 },
            (State::Closed { failures }, false) if failures + 1 < self.threshold => {
                State::Closed { failures: failures + 1 }
            }
            // A call that began before the circuit opened does not prolong it.
            (State::Open { .. } | State::Probing, false) if !probe => return,
            (_, false) => State::Open { until: self.clock.monotonic() + self.open_for },
        };
        *state = next;
        drop(state);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn give_up(&self) {
        *self.state() = State::Open { until: self.clock.monotonic() };
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to make one call.
pub(super) struct Pass<'a> {
    circuit: &'a Circuit,
    probe: bool,
    told: bool,
}

impl Pass<'_> {
    /// Whether the host answered, whatever it said.
    pub(super) fn tell(mut self, alive: bool) {
        self.told = true;
        self.circuit.tell(self.probe, alive);
    }
}

impl Drop for Pass<'_> {
    /// A probe that was never made: the next one may try.
    fn drop(&mut self) {
        if self.probe && !self.told {
            self.circuit.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use futures_util::FutureExt;
    use std::time::UNIX_EPOCH;

    const OPEN: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn failures_in_a_row_open_it_and_one_probe_closes_it() {
        let clock = Arc::new(ManualClock::new(UNIX_EPOCH));
        let circuit = Circuit::new(clock.clone(), 3, OPEN);
        for alive in [false, false, true, false, false] {
            circuit.admit().await.tell(alive);
            assert_eq!(circuit.is(), CircuitState::Closed);
        }
        let late = circuit.admit().await;
        circuit.admit().await.tell(false);
        assert_eq!(circuit.is(), CircuitState::Open);
        assert!(circuit.admit().now_or_never().is_none(), "nobody passes");

        clock.advance(OPEN);
        let probe = circuit.admit().await;
        assert_eq!(circuit.is(), CircuitState::HalfOpen);
        assert!(circuit.admit().now_or_never().is_none(), "one alone tries");
        late.tell(false);
        assert_eq!(circuit.is(), CircuitState::HalfOpen, "an old failure decides nothing");
        probe.tell(false);
        assert!(circuit.admit().now_or_never().is_none(), "it was not there");

        clock.advance(OPEN);
        drop(circuit.admit().await);
        circuit.admit().await.tell(true);
        assert_eq!(circuit.is(), CircuitState::Closed, "a probe that was never made blocks nobody");
    }
}
