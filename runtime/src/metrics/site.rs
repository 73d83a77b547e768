//! What the listener's connections cost, and why some end.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Default)]
pub(crate) struct SiteMetrics {
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
