//! How many calls a scope made in this second.

use amochats::ScopeId;
use std::collections::HashMap;

/// How many scopes are counted at once; all of another second are forgotten before a new one comes.
const SCOPES_MAX: usize = 10_000;

/// Counts calls by scope and second.
#[derive(Default)]
pub(crate) struct Throttle(HashMap<ScopeId, (i64, u32)>);

impl Throttle {
    /// Whether one more call of this scope is within the limit.
    pub(crate) fn admit(&mut self, scope: &ScopeId, per_second: u32, now_msec: i64) -> bool {
        let second = now_msec.div_euclid(1000);
        if self.0.len() >= SCOPES_MAX && !self.0.contains_key(scope) {
            self.0.retain(|_, (at, _)| *at == second);
        }
        let counted = self.0.entry(scope.clone()).or_insert((second, 0));
        if counted.0 != second {
            *counted = (second, 0);
        }
        counted.1 = counted.1.saturating_add(1);
        counted.1 <= per_second
    }
}
