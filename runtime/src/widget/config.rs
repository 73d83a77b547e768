//! `[widget]`: what the linking of accounts needs.

use super::authorize::Authorizer;
use super::seal::Sealer;
use super::service::HttpAuthorizer;
use super::users::FileAuthorizer;
use crate::clock::Clock;
use crate::config::{ChannelConfig, invalid, one_secret};
use amochats::Result;
use serde::Deserialize;
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The linking of accounts by the widget.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WidgetConfig {
    /// The integration's redirect URI, letter by letter as it is registered; empty: no linking. Its
    /// path is served here, beside `/widget`.
    pub redirect_uri: String,
    /// Addresses of accounts beside those of the vendor's domains, such as a sandbox's.
    pub origins: Vec<String>,
    /// The channel's name in linked accounts; Kommo wants one.
    pub title: String,
    /// The file with the logins that may connect.
    pub users_file: PathBuf,
    /// The operator's own service, which decides instead.
    pub service_url: String,
    /// With what requests to it are signed.
    pub service_secret: String,
    /// A file that holds it.
    pub service_secret_file: PathBuf,
    /// How long it may take, in milliseconds.
    pub service_timeout_ms: u64,
    /// The key that tokens are encrypted with at rest: 32 bytes in base64.
    pub key: String,
    /// A file that holds it.
    pub key_file: PathBuf,
    /// Keys of before.
    pub old_keys: Vec<String>,
    /// Attempts of an account in a window.
    pub attempts: u32,
    /// Attempts of a peer's address in a window.
    pub attempts_per_peer: u32,
    /// The window, in seconds.
    pub attempts_window_s: u64,
    /// How many calls a one-time token is good for.
    pub token_uses: u32,
    /// How long the CRM may take, in milliseconds.
    pub crm_timeout_ms: u64,
}

impl Default for WidgetConfig {
    fn default() -> Self {
        Self {
            redirect_uri: String::new(),
            origins: Vec::new(),
            title: String::new(),
            users_file: PathBuf::new(),
            service_url: String::new(),
            service_secret: String::new(),
            service_secret_file: PathBuf::new(),
            service_timeout_ms: 5000,
            key: String::new(),
            key_file: PathBuf::new(),
            old_keys: Vec::new(),
            attempts: 10,
            attempts_per_peer: 30,
            attempts_window_s: 300,
            token_uses: 1,
            crm_timeout_ms: 8000,
        }
    }
}

/// Without secrets.
impl fmt::Debug for WidgetConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WidgetConfig")
            .field("redirect_uri", &self.redirect_uri)
            .field("origins", &self.origins)
            .field("title", &self.title)
            .field("users_file", &self.users_file)
            .field("service_url", &self.service_url.split('?').next())
            .field("attempts", &self.attempts)
            .field("attempts_per_peer", &self.attempts_per_peer)
            .field("attempts_window_s", &self.attempts_window_s)
            .field("token_uses", &self.token_uses)
            .field("crm_timeout_ms", &self.crm_timeout_ms)
            .finish_non_exhaustive()
    }
}

impl WidgetConfig {
    pub(crate) fn is_on(&self) -> bool {
        !self.redirect_uri.is_empty()
    }

    /// The path that the CRM calls.
    pub(crate) fn redirect_path(&self) -> Result<String> {
        let rule = "must be an address such as \"https://chat.example.org/oauth/redirect\"";
        let url = Url::parse(&self.redirect_uri).map_err(|_| invalid("widget.redirect_uri", rule))?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("widget.redirect_uri", rule));
        }
        Ok(url.path().to_owned())
    }

    pub(crate) fn sealer(&self) -> Result<Sealer> {
        let key = one_secret("widget.key", text(&self.key), file(&self.key_file))?;
        let key = key.ok_or_else(|| {
            let rule = "is missing: tokens of accounts are kept encrypted. `amochats widget key` makes one; \
                        give it as key_file, or in the environment as AMOCHATS_WIDGET_KEY";
            invalid("widget.key", rule)
        })?;
        Sealer::new(&key, &self.old_keys)
    }

    /// Who decides; `None`: a program that sets it later.
    pub(crate) fn authorizer(&self, clock: &Arc<dyn Clock>) -> Result<Option<Arc<dyn Authorizer>>> {
        let has_file = !self.users_file.as_os_str().is_empty();
        match (has_file, self.service_url.is_empty()) {
            (true, true) => Ok(Some(Arc::new(FileAuthorizer::new(&self.users_file)?))),
            (false, false) => {
                let (key, path) = (text(&self.service_secret), file(&self.service_secret_file));
                let secret =
                    one_secret("widget.service_secret", key, path)?.filter(|secret| !secret.is_empty());
                let secret = secret.ok_or_else(|| {
                    invalid("widget.service_secret", "is missing: requests to service_url are signed with it")
                })?;
                let timeout = Duration::from_millis(self.service_timeout_ms);
                let http = HttpAuthorizer::new(&self.service_url, secret.into(), timeout, clock.clone())?;
                Ok(Some(Arc::new(http)))
            }
            (false, true) => Ok(None),
            (true, false) => {
                Err(invalid("widget.users_file", "cannot stand beside service_url: one of them decides"))
            }
        }
    }

    pub(crate) fn validate(&self, channels: &[ChannelConfig]) -> Result<()> {
        if !self.is_on() {
            return Ok(());
        }
        self.redirect_path()?;
        self.sealer()?;
        for origin in &self.origins {
            let own = Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin);
            if !own {
                let rule = "must be scheme and host, as a browser writes them: \"http://127.0.0.1:8081\"";
                return Err(invalid("widget.origins", rule));
            }
        }
        if self.attempts == 0 || self.attempts_per_peer == 0 || self.attempts_window_s == 0 {
            return Err(invalid("widget.attempts", "must be more than 0, like the peer's and the window"));
        }
        if !(1..=100).contains(&self.token_uses) {
            return Err(invalid("widget.token_uses", "must be 1 to 100"));
        }
        if !(1..=60_000).contains(&self.crm_timeout_ms) || !(1..=60_000).contains(&self.service_timeout_ms) {
            return Err(invalid("widget.crm_timeout_ms", "must be 1 to 60000, like service_timeout_ms"));
        }
        let ids: Vec<&String> = channels.iter().filter_map(|channel| channel.client_id.as_ref()).collect();
        if ids.is_empty() {
            let rule = "is missing: a widget belongs to an integration; give a [[channel]] its client_id and client_secret";
            return Err(invalid("channel.client_id", rule));
        }
        if ids.iter().collect::<HashSet<_>>().len() < ids.len() {
            return Err(invalid(
                "channel.client_id",
                "two channels have the same, and a widget links one channel",
            ));
        }
        Ok(())
    }
}

fn text(text: &String) -> Option<&String> {
    Some(text).filter(|text| !text.is_empty())
}

fn file(path: &Path) -> Option<&Path> {
    Some(path).filter(|path| !path.as_os_str().is_empty())
}
