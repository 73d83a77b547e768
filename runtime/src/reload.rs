//! What of a configuration can change while everything runs.

use crate::channels::Channels;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::serve::{Site, Tls};
use amochats::Result;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(30);

pub(crate) struct Reloading {
    current: Mutex<Config>,
    site: Site,
}

impl Reloading {
    pub(crate) fn new(config: Config, site: Site) -> Self {
        Self { current: Mutex::new(config), site }
    }

    pub(crate) fn tls(&self) -> Option<Arc<Tls>> {
        self.site.tls.clone()
    }

    pub(crate) fn reload(&self, new: &Config, channels: &Channels) -> Result<Vec<&'static str>> {
        new.validate()?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tls) = &self.site.tls {
            tls.refresh()?;
        }
        channels.replace(new)?;
        self.site.guests.set_limits(new.listener.limits());
        channels.accounts().look_again();
        let restart = needs_restart(&current, new);
        // The rest stays as it was until then, and is told of again with the next reload.
        current.channels.clone_from(&new.channels);
        Ok(restart)
    }
}

/// The keys that differ and cannot change under way.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let (before, after) = (&old.listener, &new.listener);
    let mut keys = Vec::new();
    let mut differs = |key, differs: bool| {
        if differs {
            keys.push(key);
        }
    };
    differs("listener.address", before.address != after.address);
    differs("listener.webhook_path", before.webhook_path != after.webhook_path);
    differs("listener.more_webhook_paths", before.more_webhook_paths != after.more_webhook_paths);
    differs("listener.disable_path", before.disable_path != after.disable_path);
    differs("listener.max_body_bytes", before.max_body_bytes != after.max_body_bytes);
    differs("listener.keep_deadline_ms", before.keep_deadline_ms != after.keep_deadline_ms);
    differs("listener.drain_delay_ms", before.drain_delay_ms != after.drain_delay_ms);
    differs("listener.max_in_flight_bytes", before.max_in_flight_bytes != after.max_in_flight_bytes);
    differs("listener.tls_cert", before.tls_cert != after.tls_cert);
    differs("listener.tls_key", before.tls_key != after.tls_key);
    differs("listener.trusted_proxies", before.trusted_proxies != after.trusted_proxies);
    differs("listener.proxy_protocol", before.proxy_protocol != after.proxy_protocol);
    differs("admin.address", old.admin.address != new.admin.address);
    differs("store", format!("{:?}", old.store) != format!("{:?}", new.store));
    differs("inbox", format!("{:?}", old.inbox) != format!("{:?}", new.inbox));
    differs("accounts.check_interval_s", old.accounts.check_interval_s != new.accounts.check_interval_s);
    differs("outbox", format!("{:?}", old.outbox) != format!("{:?}", new.outbox));
    differs("backfill", format!("{:?}", old.backfill) != format!("{:?}", new.backfill));
    differs("media", format!("{:?}", old.media) != format!("{:?}", new.media));
    keys
}

/// Reads the certificate again when its files change, until `stop`.
pub(crate) async fn watch_certificate(
    tls: &Tls,
    clock: &dyn Clock,
    metrics: &Metrics,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep_until(clock.monotonic() + LOOK) => {}
        }
        let refreshed = tls.refresh();
        match &refreshed {
            Ok(false) => continue,
            Ok(true) => tracing::info!("the listener has a new certificate"),
            Err(error) => tracing::error!("the old certificate stays: {error}"),
        }
        metrics.site.certificate_loads.get_or_create(&refreshed.is_ok().into()).inc();
    }
}
