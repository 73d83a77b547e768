//! What is counted of the linking.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Default)]
pub(crate) struct WidgetMetrics {
    attempts: Family<Decision, Counter>,
    links: Family<Outcome, Counter>,
    codes: Family<Stage, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decision {
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

impl WidgetMetrics {
    /// Somebody asked to be connected: what the audit says of it.
    pub(super) fn decided(&self, decision: &'static str) {
        self.attempts.get_or_create(&Decision { decision }).inc();
    }

    /// A connection that was allowed ended: `connected`, or the code of the refusal.
    pub(super) fn linked(&self, outcome: &'static str) {
        self.links.get_or_create(&Outcome { outcome }).inc();
    }

    /// A code came to its end.
    pub(super) fn code(&self, stage: &'static str) {
        self.codes.get_or_create(&Stage { stage }).inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "widget_attempts",
            "Attempts to link an account, by decision: allowed, denied, limited, undecided",
            self.attempts.clone(),
        );
        registry.register(
            "widget_links",
            "Connections that were allowed, by outcome: connected or the code of the refusal",
            self.links.clone(),
        );
        registry.register(
            "widget_codes",
            "Codes of installations that ended, by stage: installed, refused, expired, revoked, unconfigured",
            self.codes.clone(),
        );
    }
}
