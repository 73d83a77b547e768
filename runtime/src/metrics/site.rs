//! What the listener's connections cost, and why some end.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub(crate) struct SiteMetrics {
    pub(crate) append: Histogram,
    pub(crate) connections_ended: Family<Reason, Counter>,
    pub(crate) certificate_loads: Family<Done, Counter>,
    pub(crate) reloads: Family<Done, Counter>,
    pub(crate) bytes: Counter,
    in_flight: Gauge,
    accounts: Family<InState, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

/// Why a connection was ended: `crowded`, `per_peer`, `slow`, `idle`, `tls` or `proxy_header`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    reason: &'static str,
}

impl From<&'static str> for Reason {
    fn from(reason: &'static str) -> Self {
        Self { reason }
    }
}

/// Whether something was done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Done {
    outcome: &'static str,
}

impl From<bool> for Done {
    fn from(well: bool) -> Self {
        Self { outcome: if well { "ok" } else { "failed" } }
    }
}

/// A request that is being answered.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for SiteMetrics {
    fn default() -> Self {
        let buckets = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 4.0];
        let metrics = Self {
            append: Histogram::new(buckets),
            connections_ended: Family::default(),
            certificate_loads: Family::default(),
            reloads: Family::default(),
            bytes: Counter::default(),
            in_flight: Gauge::default(),
            accounts: Family::default(),
        };
        // Shown from the start: a counter that appears with its first event hides that event.
        for reason in ["crowded", "per_peer", "slow", "idle", "tls", "proxy_header"] {
            drop(metrics.connections_ended.get_or_create(&reason.into()));
        }
        for well in [true, false] {
            drop(metrics.certificate_loads.get_or_create(&well.into()));
            drop(metrics.reloads.get_or_create(&well.into()));
        }
        metrics
    }
}

impl SiteMetrics {
    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(crate) fn accounts(&self, state: &'static str, count: usize) {
        self.accounts.get_or_create(&InState { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "webhook_connections_ended",
            "Connections that the listener ended early: crowded, per_peer, slow, idle, tls, proxy_header",
            self.connections_ended.clone(),
        );
        registry.register_with_unit(
            "store_append",
            "From the hand-over of an event to the store to the end of its commit",
            Unit::Seconds,
            self.append.clone(),
        );
        registry.register("webhooks_in_flight", "Requests that are being answered", self.in_flight.clone());
        registry.register_with_unit(
            "webhook_body",
            "What was received in the bodies of genuine webhooks",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register(
            "accounts",
            "Accounts by state: discovered, connected, disconnected, disabled",
            self.accounts.clone(),
        );
        registry.register(
            "tls_certificate_loads",
            "Changed certificate files that were read, by outcome: ok, failed",
            self.certificate_loads.clone(),
        );
        registry.register(
            "config_reloads",
            "Configurations that were read while running, by outcome: ok, failed",
            self.reloads.clone(),
        );
    }
}
