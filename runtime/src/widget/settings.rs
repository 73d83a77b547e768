//! What of `[widget]` changes under way.

use super::authorize::Authorizer;
use super::config::WidgetConfig;
use super::origins::Origins;
use super::{Widget, locked};
use amochats::Result;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// What is looked up at each call.
pub(super) struct Settings {
    pub(super) origins: Origins,
    pub(super) title: Option<String>,
    pub(super) token_uses: u32,
}

impl Settings {
    pub(super) fn new(config: &WidgetConfig) -> Self {
        Self {
            origins: Origins::new(&config.origins),
            title: Some(config.title.clone()).filter(|title| !title.is_empty()),
            token_uses: config.token_uses,
        }
    }
}

/// A configuration that can be used.
pub(crate) struct Prepared {
    settings: Settings,
    authorizer: Option<Arc<dyn Authorizer>>,
    attempts: u32,
    attempts_per_peer: u32,
    window: Duration,
}

impl Widget {
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.0.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks whether a configuration can be used, and changes nothing yet.
    ///
    /// # Errors
    /// [`ConfigInvalid`](amochats::ErrorKind::ConfigInvalid) with the key and what to do.
    pub(crate) fn prepare(&self, config: &WidgetConfig) -> Result<Prepared> {
        Ok(Prepared {
            settings: Settings::new(config),
            authorizer: config.authorizer(&self.0.clock)?,
            attempts: config.attempts,
            attempts_per_peer: config.attempts_per_peer,
            window: Duration::from_secs(config.attempts_window_s),
        })
    }

    /// From now on it counts. Attempts that were made count on.
    pub(crate) fn change(&self, new: Prepared) {
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new.settings);
        locked(&self.0.of_account).set(new.attempts, new.window);
        locked(&self.0.of_peer).set(new.attempts_per_peer, new.window);
        let mut deciding = self.0.deciding.write().unwrap_or_else(PoisonError::into_inner);
        if !deciding.by_program {
            deciding.authorizer = new.authorizer;
        }
    }
}

/// The keys of `[widget]` that differ and need a restart: what the CRM calls is registered with it,
/// what is kept is encrypted anew at the start, and a client that may be refreshing tokens is not
/// replaced.
pub(crate) fn needs_restart(old: &WidgetConfig, new: &WidgetConfig) -> Vec<&'static str> {
    let keys = |config: &WidgetConfig| (config.key.clone(), config.key_file.clone(), config.old_keys.clone());
    [
        ("widget.redirect_uri", old.redirect_uri != new.redirect_uri),
        ("widget.key", keys(old) != keys(new)),
        ("widget.crm_timeout_ms", old.crm_timeout_ms != new.crm_timeout_ms),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}
