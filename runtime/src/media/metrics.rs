//! What is counted of media.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Default)]
pub(crate) struct MediaMetrics {
    answers: Family<Status, Counter>,
    fetches: Family<Outcome, Counter>,
    used: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl MediaMetrics {
    pub(super) fn answered(&self, status: u16) {
        self.answers.get_or_create(&Status { status }).inc();
    }

    /// An attempt to fetch an attachment ended: `fetched`, `again` or `failed`.
    pub(super) fn fetch(&self, outcome: &'static str) {
        self.fetches.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn used(&self, bytes: u64) {
        self.used.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "media_answers",
            "Requests for attached files, by HTTP status",
            self.answers.clone(),
        );
        registry.register(
            "media_fetches",
            "Attempts to fetch an attachment, by outcome: fetched, again, failed",
            self.fetches.clone(),
        );
        registry.register_with_unit(
            "media_folder",
            "Size of all files that were attached or fetched",
            Unit::Bytes,
            self.used.clone(),
        );
    }
}
