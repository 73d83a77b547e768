//! What of a configuration can change while everything runs.

use crate::channels::Channels;
use crate::clock::Clock;
use crate::config::{AccountConfig, ChannelConfig, Config, OldSecret};
use crate::metrics::Metrics;
use crate::runtime::Runtime;
use crate::serve::{Site, Tls};
use crate::widget::{Widget, needs_restart as widget_needs_restart};
use amochats::{AccountId, ChannelId, Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(30);

pub(crate) struct Reloading {
    current: Mutex<Config>,
    site: Site,
    widget: Option<Widget>,
}

impl Reloading {
    pub(crate) fn new(config: Config, site: Site, widget: Option<Widget>) -> Self {
        Self { current: Mutex::new(config), site, widget }
    }

    pub(crate) fn tls(&self) -> Option<Arc<Tls>> {
        self.site.tls.clone()
    }

    pub(crate) fn reload(&self, new: &Config, channels: &Channels) -> Result<Vec<&'static str>> {
        new.validate()?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // To switch the linking off or on needs a restart.
        let widget = self.widget.as_ref().filter(|_| new.widget.is_on());
        let widget = widget.map(|widget| Ok((widget, widget.prepare(&new.widget)?))).transpose()?;
        if let Some(tls) = &self.site.tls {
            tls.refresh()?;
        }
        channels.replace(new)?;
        if let Some((widget, prepared)) = widget {
            widget.change(prepared);
        }
        self.site.guests.set_limits(new.listener.limits());
        channels.accounts().look_again();
        let restart = needs_restart(&current, new);
        // The rest stays as it was until then, and is told of again with the next reload.
        current.channels.clone_from(&new.channels);
        Ok(restart)
    }
}

impl Reloading {
    /// Changes the channels, all that is asked for or, with an error, nothing.
    fn change(
        &self,
        channels: &Channels,
        change: impl FnOnce(&mut Vec<ChannelConfig>) -> Result<()>,
    ) -> Result<()> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = current.clone();
        change(&mut new.channels)?;
        new.validate()?;
        channels.replace(&new)?;
        channels.accounts().look_again();
        *current = new;
        Ok(())
    }
}

/// Channels and accounts while everything runs. What is set here holds until the process ends or
/// [`Runtime::reload`] sets all of them anew.
impl Runtime {
    /// Adds a channel, or replaces the one of the same id with all that belongs to it.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] with the key and what to do.
    pub fn set_channel(&self, channel: ChannelConfig) -> Result<()> {
        self.reloading.change(&self.channels, |channels| {
            match channels.iter_mut().find(|known| known.id == channel.id) {
                Some(known) => *known = channel,
                None => channels.push(channel),
            }
            Ok(())
        })
    }

    /// Removes a channel. Its webhooks are answered 404 from then on; its events are handed out as
    /// before, and what is in the outbox for it waits.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownChannel`]; [`ErrorKind::ConfigInvalid`] for the only one.
    pub fn remove_channel(&self, id: &ChannelId) -> Result<()> {
        self.reloading.change(&self.channels, |channels| {
            let place = place_of(channels, id)?;
            channels.remove(place);
            Ok(())
        })
    }

    /// Signs with another secret from now on. Webhooks under the one before are accepted until `until`,
    /// a time such as `2026-12-01T00:00:00Z`; without it, until the next rotation names one.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownChannel`]; [`ErrorKind::ConfigInvalid`] for a secret or time that cannot be
    /// one.
    pub fn rotate_secret(&self, id: &ChannelId, secret: &str, until: Option<&str>) -> Result<()> {
        self.reloading.change(&self.channels, |channels| {
            let place = place_of(channels, id)?;
            let channel = &mut channels[place];
            let old = OldSecret {
                value: channel.secret.replace(secret.to_owned()),
                file: channel.secret_file.take(),
                until: until.map(str::to_owned),
            };
            channel.old_secrets.push(old);
            Ok(())
        })
    }

    /// Adds an account to a channel, or replaces the one of the same id; with
    /// [`connect`](AccountConfig::connect) it is connected and kept so.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownChannel`]; [`ErrorKind::ConfigInvalid`] with the key and what to do.
    pub fn set_account(&self, id: &ChannelId, account: AccountConfig) -> Result<()> {
        self.reloading.change(&self.channels, |channels| {
            let place = place_of(channels, id)?;
            let accounts = &mut channels[place].accounts;
            match accounts.iter_mut().find(|known| known.id == account.id) {
                Some(known) => *known = account,
                None => accounts.push(account),
            }
            Ok(())
        })
    }

    /// Forgets what was set of an account. It stays connected, and its webhooks are kept, until
    /// [`Accounts::disconnect`](crate::Accounts::disconnect).
    ///
    /// # Errors
    /// [`ErrorKind::UnknownChannel`]; [`ErrorKind::NotFound`] for an account that was not set.
    pub fn remove_account(&self, id: &ChannelId, account: &AccountId) -> Result<()> {
        self.reloading.change(&self.channels, |channels| {
            let place = place_of(channels, id)?;
            let accounts = &mut channels[place].accounts;
            let before = accounts.len();
            accounts.retain(|known| known.id != account.as_str());
            if accounts.len() == before {
                return Err(Error::new(ErrorKind::NotFound, "the channel has no such account"));
            }
            Ok(())
        })
    }
}

fn place_of(channels: &[ChannelConfig], id: &ChannelId) -> Result<usize> {
    let place = channels.iter().position(|known| known.id == id.as_str());
    place.ok_or_else(|| Error::new(ErrorKind::UnknownChannel, "the channel is not set here"))
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
    keys.extend(widget_needs_restart(&old.widget, &new.widget));
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
