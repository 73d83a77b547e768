//! What is counted, in the form that Prometheus reads.

mod backlog;
mod site;

pub(crate) use backlog::BacklogMetrics;
pub(crate) use site::SiteMetrics;

use crate::media::MediaMetrics;
use crate::outbox::{CircuitState, Depth, ItemState};
use crate::widget::WidgetMetrics;
use amochats::{Error, Result};
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// The counters of one runtime; nothing is global.
pub struct Metrics {
    registry: Registry,
    answers: Family<Answer, Counter>,
    answer_seconds: Histogram,
    events: Family<Kept, Counter>,
    scope_mismatches: Counter,
    connections: Gauge,
    pub(crate) site: SiteMetrics,
    pub(crate) backlog: BacklogMetrics,
    pub(crate) media: MediaMetrics,
    pub(crate) widget: WidgetMetrics,
    outbox_items: Family<InState, Gauge>,
    outbox_oldest: Gauge,
    outbox_attempts: Family<Attempt, Counter>,
    outbox_ended: Family<Ended, Counter>,
    circuits: Family<Host, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    call: String,
    /// `OK`, or the kind of the error.
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    call: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Host {
    host: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kept {
    kind: &'static str,
    outcome: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        // From a quarter of a millisecond to the vendor's limit of 5 s and beyond.
        let buckets =
            [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 4.0, 5.0];
        let mut registry = Registry::with_prefix("amochats");
        let metrics = Self {
            answers: Family::default(),
            answer_seconds: Histogram::new(buckets),
            events: Family::default(),
            scope_mismatches: Counter::default(),
            connections: Gauge::default(),
            site: SiteMetrics::default(),
            backlog: BacklogMetrics::default(),
            media: MediaMetrics::default(),
            widget: WidgetMetrics::default(),
            outbox_items: Family::default(),
            outbox_oldest: Gauge::default(),
            outbox_attempts: Family::default(),
            outbox_ended: Family::default(),
            circuits: Family::default(),
            registry: Registry::default(),
        };
        for status in [200, 401, 404, 413, 503] {
            drop(metrics.answers.get_or_create(&Answer { status }));
        }
        registry.register("webhook_answers", "Webhooks answered, by HTTP status", metrics.answers.clone());
        registry.register_with_unit(
            "webhook_answer",
            "From the first byte of a webhook to its answer; the vendor waits 5 s",
            Unit::Seconds,
            metrics.answer_seconds.clone(),
        );
        registry.register("events", "Genuine webhooks, by kind and outcome", metrics.events.clone());
        registry.register(
            "webhook_scope_mismatches",
            "Webhooks whose body names another account than their address",
            metrics.scope_mismatches.clone(),
        );
        registry.register(
            "webhook_connections",
            "Open connections of the listener",
            metrics.connections.clone(),
        );
        metrics.site.register(&mut registry);
        metrics.backlog.register(&mut registry);
        metrics.media.register(&mut registry);
        metrics.widget.register(&mut registry);
        metrics.register_outbox(&mut registry);
        Self { registry, ..metrics }
    }
}

impl Metrics {
    fn register_outbox(&self, registry: &mut Registry) {
        registry.register(
            "outbox_items",
            "Items of the outbox that have not ended, by state",
            self.outbox_items.clone(),
        );
        registry.register_with_unit(
            "outbox_oldest_age",
            "Age of the oldest item that has not ended; 0 if there is none",
            Unit::Seconds,
            self.outbox_oldest.clone(),
        );
        registry.register(
            "outbox_attempts",
            "Calls that the outbox made, by call and outcome: OK or the kind of the error",
            self.outbox_attempts.clone(),
        );
        registry.register(
            "outbox_ended",
            "Items that came to their end, by call and state",
            self.outbox_ended.clone(),
        );
        registry.register(
            "outbox_circuit",
            "Whether the service is called: 0 yes, 1 one call tries, 2 no",
            self.circuits.clone(),
        );
    }

    pub(crate) fn outbox_depth(&self, depth: &[Depth], now: i64) {
        for state in ItemState::ALL.into_iter().filter(|state| !state.is_final()) {
            let items = depth.iter().find(|depth| depth.state == state).map_or(0, |depth| depth.items);
            let gauge = self.outbox_items.get_or_create(&InState { state: state.name() });
            gauge.set(i64::try_from(items).unwrap_or(i64::MAX));
        }
        let oldest = depth.iter().map(|depth| depth.oldest).min().unwrap_or(now);
        self.outbox_oldest.set(now.saturating_sub(oldest).max(0) / 1000);
    }

    pub(crate) fn outbox_attempt(&self, call: &str, error: Option<&Error>) {
        let outcome = error.map_or("OK", |error| error.kind().name());
        self.outbox_attempts.get_or_create(&Attempt { call: call.to_owned(), outcome }).inc();
    }

    pub(crate) fn outbox_ended(&self, call: &str, state: ItemState) {
        self.outbox_ended.get_or_create(&Ended { call: call.to_owned(), state: state.name() }).inc();
    }

    pub(crate) fn circuit(&self, host: &str, state: CircuitState) {
        self.circuits.get_or_create(&Host { host: host.to_owned() }).set(match state {
            CircuitState::Closed => 0,
            CircuitState::HalfOpen => 1,
            CircuitState::Open => 2,
        });
    }

    pub(crate) fn answered(&self, status: u16, after: Duration) {
        self.answers.get_or_create(&Answer { status }).inc();
        self.answer_seconds.observe(after.as_secs_f64());
    }

    pub(crate) fn event(&self, kind: &'static str, outcome: &'static str) {
        self.events.get_or_create(&Kept { kind, outcome }).inc();
    }

    pub(crate) fn scope_mismatch(&self) {
        self.scope_mismatches.inc();
    }

    pub(crate) fn connections(&self, change: i64) {
        self.connections.inc_by(change);
    }

    /// Counts a configuration that was read while running, and whether it could be used.
    pub fn reloaded(&self, well: bool) {
        self.site.reloads.get_or_create(&well.into()).inc();
    }

    /// The text that Prometheus scrapes.
    ///
    /// # Errors
    /// None that is known; encoding into memory does not fail.
    pub fn render(&self) -> Result<String> {
        let mut text = String::new();
        encode(&mut text, &self.registry).map_err(|_| {
            amochats::Error::new(amochats::ErrorKind::Panic, "the metrics could not be written")
        })?;
        Ok(text)
    }
}
