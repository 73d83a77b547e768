//! What waits for whom; measured when somebody asks.

use crate::store::{SubscriptionId, SubscriptionState};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::HashMap;

#[derive(Default)]
pub(crate) struct BacklogMetrics {
    unsettled: Family<Of, Gauge>,
    outstanding: Family<Of, Gauge>,
    dead: Family<Of, Gauge>,
    oldest: Family<Of, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    subscription: String,
}

impl BacklogMetrics {
    /// Takes the state of all subscriptions; those that are gone are shown no more.
    pub(crate) fn measure(
        &self,
        states: &[SubscriptionState],
        outstanding: &HashMap<SubscriptionId, usize>,
        now: i64,
    ) {
        for family in [&self.unsettled, &self.outstanding, &self.dead, &self.oldest] {
            family.clear();
        }
        for state in states {
            let of = Of { subscription: state.name.clone() };
            let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            self.unsettled.get_or_create(&of).set(number(state.unsettled));
            self.dead.get_or_create(&of).set(number(state.dead));
            let held = outstanding.get(&state.id).copied().unwrap_or_default();
            self.outstanding.get_or_create(&of).set(number(held as u64));
            let age = state.oldest_unsettled_at.map_or(0, |at| now.saturating_sub(at).max(0) / 1000);
            self.oldest.get_or_create(&of).set(age);
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "subscription_unsettled",
            "Events that a subscription has not settled",
            self.unsettled.clone(),
        );
        registry.register(
            "subscription_outstanding",
            "Events that are handed out and not settled",
            self.outstanding.clone(),
        );
        registry.register(
            "subscription_dead_letters",
            "Events that a subscription has given up",
            self.dead.clone(),
        );
        registry.register_with_unit(
            "subscription_oldest_age",
            "Age of the oldest event that a subscription has not settled; 0 if there is none",
            Unit::Seconds,
            self.oldest.clone(),
        );
    }
}
