//! Linking accounts through the real listener, with a CRM and a chat service that the test plays.

mod accounts;
mod calls;
mod checks;
mod decisions;
mod installations;
mod page;
mod peer;
mod retries;
mod secrets;
#[expect(dead_code, reason = "most of it is for webhooks")]
#[path = "../support/mod.rs"]
mod support;

use amochats::{Error, ErrorKind};
use amochats_runtime::clock::{Clock, ManualClock};
use amochats_runtime::store::{SqliteStore, Store};
use amochats_runtime::widget::{Attempt, Authorizer, new_key};
use amochats_runtime::{Config, Runtime};
use async_trait::async_trait;
use page::{
    DEMO, INTEGRATION, INTEGRATION_SECRET, LOGIN, NOW, OTHER, PASSWORD, Page, claims, config, json, jwt,
    refusal, sign, token, users,
};
use peer::{Account, Peer};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use support::log::Log;
use support::{Answer, CHANNEL, soon};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A runtime with a file, a CRM, and a clock that stands still.
struct World {
    folder: TempDir,
    key: String,
    more: String,
    peer: Peer,
    clock: Arc<ManualClock>,
    runtime: Option<Runtime>,
}

impl World {
    async fn new() -> Self {
        Self::with("").await
    }

    /// With further keys in `[widget]`; a file of logins unless they say otherwise.
    async fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs())));
        let logins = if more.contains("service_url") { String::new() } else { users(folder.path()) };
        let more = format!("{logins}\n{more}");
        let mut world =
            Self { folder, key: new_key(), more, peer: Peer::start().await, clock, runtime: None };
        world.start().await;
        world
    }

    fn store_path(&self) -> PathBuf {
        self.folder.path().join("amochats.db")
    }

    fn config(&self) -> Config {
        config(&self.peer.origin(), &self.key, &self.more)
    }

    async fn try_start(&mut self) -> Result<(), Error> {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(self.store_path()).await?);
        match Runtime::start_with(&self.config(), store.clone(), self.clock.clone()).await {
            Ok(runtime) => {
                self.runtime = Some(runtime);
                Ok(())
            }
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    async fn start(&mut self) {
        self.try_start().await.expect("started");
    }

    async fn stop(&mut self) {
        let runtime = self.runtime.take().expect("it runs");
        soon("end", runtime.shutdown(Duration::from_secs(20))).await;
    }

    async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it runs")
    }

    fn page_of(&self, account: Account) -> Page {
        Page { server: self.runtime().listener_address(), origin: self.peer.origin(), account }
    }

    fn page(&self) -> Page {
        self.page_of(DEMO)
    }

    /// Waits until the installation is known, each time for a round trip to the store.
    async fn installed(&self, account: Account) {
        let widget = self.runtime().widget().expect("on");
        let looking = async { while widget.crm(INTEGRATION, account.0).await.is_err() {} };
        soon("installation", looking).await;
    }

    /// Waits until the installation is known, and connects.
    async fn connect(&self, account: Account) -> Answer {
        self.installed(account).await;
        self.page_of(account).connect().await
    }

    /// Installs and connects.
    async fn link(&self, account: Account) {
        let code = self.peer.install(account);
        assert_eq!(self.page_of(account).redirect(&code).await.status, 200);
        let answer = self.connect(account).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Waits until a check of the account has ended at this time of the clock.
    async fn checked(&self, account: Account) {
        let scope = format!("{CHANNEL}_{}", account.1).into();
        let now = self.clock.now().duration_since(UNIX_EPOCH).expect("later").as_millis();
        let now = i64::try_from(now).ok();
        let checked_at =
            || self.runtime().channels().accounts().get(&scope).and_then(|known| known.checked_at);
        let looking = async {
            while checked_at() != now {
                tokio::task::yield_now().await;
            }
        };
        soon("check", looking).await;
    }

    fn account_state(&self, account: Account) -> Option<&'static str> {
        let scope = format!("{CHANNEL}_{}", account.1);
        self.runtime().channels().accounts().get(&scope.into()).map(|account| account.state.name())
    }
}
