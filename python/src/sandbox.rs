//! The local amoCRM inside this process, for tests and for `python -m amochats sandbox`.

use crate::bridge::{self, Home, Work};
use crate::client::{json, read, unknown_call};
use crate::errors;
use amochats::{AccountId, ChannelId, Error, ErrorKind, Result};
use amochats_sandbox::{Personality, Sandbox, SandboxConfig, Switches};
use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Settings {
    api: Option<String>,
    page: Option<String>,
    channel_id: Option<ChannelId>,
    secret: Option<String>,
    accounts: Vec<AccountId>,
    webhook_url: Option<String>,
    personality: Option<String>,
    strict: bool,
    state: Option<PathBuf>,
    seed: Option<u64>,
}

fn address(field: &str, given: Option<String>, default: SocketAddr) -> Result<SocketAddr> {
    let rule = "must be an IP address and a port, such as 127.0.0.1:0";
    given.map_or(Ok(default), |text| text.parse().map_err(|_| Error::invalid(field, rule)))
}

impl Settings {
    fn config(self) -> Result<SandboxConfig> {
        let default = SandboxConfig::default();
        let personality = match self.personality.as_deref() {
            None | Some("ru") => Personality::Ru,
            Some("kommo") => Personality::Kommo,
            Some("gen1") => Personality::Gen1,
            Some(_) => return Err(Error::invalid("personality", "must be ru, kommo or gen1")),
        };
        Ok(SandboxConfig {
            api_addr: address("api", self.api, default.api_addr)?,
            page_addr: address("page", self.page, default.page_addr)?,
            channel_id: self.channel_id,
            secret: self.secret,
            accounts: self.accounts,
            webhook_url: self.webhook_url,
            personality,
            switches: if self.strict { Switches::strict() } else { Switches::default() },
            state: self.state,
            seed: self.seed,
            ..default
        })
    }
}

struct Shared {
    settings: Settings,
    running: Mutex<Option<Sandbox>>,
}

impl Shared {
    async fn open(&self) -> Result<Vec<u8>> {
        let mut running = self.running.lock().await;
        if running.is_some() {
            return Err(Error::new(ErrorKind::Misuse, "the sandbox is open already"));
        }
        let sandbox = Sandbox::start(self.settings.clone().config()?).await?;
        let accounts = sandbox.accounts();
        let ready = json(&json!({
            "api": sandbox.api_url(),
            "page": format!("http://{}", sandbox.page_addr()),
            "channel_id": sandbox.channel_id(),
            "secret": sandbox.secret(),
            "channels": sandbox.channels(),
            "accounts": accounts.iter().map(|account| &account.account_id).collect::<Vec<_>>(),
            "integrations": sandbox.crm().integrations(),
        }));
        *running = Some(sandbox);
        ready
    }

    async fn close(&self) -> Result<Vec<u8>> {
        if let Some(sandbox) = self.running.lock().await.take() {
            sandbox.shutdown().await;
        }
        Ok(Vec::new())
    }
}

/// The sandbox, for Python.
#[pyclass(frozen, module = "amochats._amochats", name = "Sandbox")]
pub(crate) struct NativeSandbox(Home<Arc<Shared>>);

impl NativeSandbox {
    pub(crate) fn work(&self, name: &str) -> Work {
        let shared = Arc::clone(&self.0);
        match name {
            "open" => Box::pin(async move { shared.open().await }),
            "close" => Box::pin(async move { shared.close().await }),
            _ => {
                let error = unknown_call(name);
                Box::pin(async move { Err(error) })
            }
        }
    }
}

#[pymethods]
impl NativeSandbox {
    #[new]
    fn new(py: Python<'_>, settings: &[u8]) -> PyResult<Self> {
        let make = || {
            bridge::bridge()?;
            read(settings)
        };
        let settings = py.detach(make).map_err(|error| errors::to_python(py, &error))?;
        Ok(Self(Home::new(Arc::new(Shared { settings, running: Mutex::default() }))))
    }
}
