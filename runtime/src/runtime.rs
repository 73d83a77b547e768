//! All parts together.

use crate::accounts::Accounts;
use crate::admin::Admin;
use crate::backfill::Backfill;
use crate::channels::Channels;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::front::Front;
use crate::inbox::Inbox;
use crate::listener::Listener;
use crate::media::Media;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::reload::{Reloading, watch_certificate};
use crate::serve::{Guests, PeerLimits, Site, Tls, Trusted, bind, serve};
use crate::store::{SqliteStore, Store};
use crate::widget::Widget;
use amochats::{Error, ErrorKind, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A running channel: listener, inbox, outbox and store.
pub struct Runtime {
    inbox: Inbox,
    outbox: Outbox,
    backfill: Backfill,
    media: Media,
    widget: Option<Widget>,
    pub(crate) channels: Arc<Channels>,
    metrics: Arc<Metrics>,
    admin: Arc<Admin>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    listener_address: SocketAddr,
    admin_address: SocketAddr,
    /// Readiness fails.
    unready: CancellationToken,
    /// For so long before the listener takes nothing new.
    drain_delay: Duration,
    /// The listener takes nothing new.
    stopping: CancellationToken,
    /// The rest ends, and what is still connected is cut off.
    ended: CancellationToken,
    listening: TaskTracker,
    /// What links accounts.
    linking: TaskTracker,
    tasks: TaskTracker,
    pub(crate) reloading: Reloading,
}

impl Runtime {
    /// Opens the store, binds the addresses and starts to listen.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] for a configuration that cannot be used or an address that
    /// cannot be bound; those of [`SqliteStore::open`].
    pub async fn start(config: Config) -> Result<Self> {
        config.validate()?;
        // Before the store: who cannot listen leaves no file behind.
        let doors = Doors::open(&config).await?;
        let store = Arc::new(SqliteStore::open_within(&config.store.path, config.limits()).await?);
        let started = Self::behind(doors, &config, store.clone(), Arc::new(SystemClock::default())).await;
        if started.is_err() {
            // Free for another attempt of this process.
            store.close().await;
        }
        started
    }

    /// As [`Runtime::start`], over a store and a clock of the caller's.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] as for [`Runtime::start`].
    pub async fn start_with(config: &Config, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Result<Self> {
        config.validate()?;
        Self::behind(Doors::open(config).await?, config, store, clock).await
    }

    async fn behind(
        doors: Doors,
        config: &Config,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let Doors { webhooks: (webhooks, listener_address), machines: (machines, admin_address) } = doors;
        let metrics = Arc::new(Metrics::default());
        let inbox = Inbox::new(store.clone(), clock.clone(), config.inbox.redelivery());
        inbox.delete_temporary().await?;
        let accounts = Accounts::open(store.clone(), clock.clone(), metrics.clone()).await?;
        let channels = Channels::new(config, inbox.clone(), accounts, clock.clone(), metrics.clone())?;
        let channels = Arc::new(channels);
        let widget =
            Widget::open(config, store.clone(), channels.clone(), clock.clone(), metrics.clone()).await?;
        let outbox = Outbox::start(
            store.clone(),
            channels.clone(),
            inbox.clone(),
            clock.clone(),
            config.outbox.settings(),
            metrics.clone(),
        )
        .await?;
        let mut begun = Begun(vec![outbox.stopping()]);
        let backfill = Backfill::start(
            store.clone(),
            channels.clone(),
            clock.clone(),
            config.backfill.settings(),
            metrics.clone(),
        )
        .await?;
        begun.0.push(backfill.stopping());
        let media =
            Media::start(store.clone(), clock.clone(), metrics.clone(), config, listener_address).await?;
        begun.0.push(media.stopping());
        let [unready, stopping, ended] = std::array::from_fn(|_| CancellationToken::new());
        let [listening, linking, tasks] = std::array::from_fn(|_| TaskTracker::new());

        let trusted = Arc::new(Trusted::new(&config.listener.trusted_proxies)?);
        let front = Arc::new(Front {
            listener: Listener::new(
                &config.listener,
                channels.clone(),
                clock.clone(),
                metrics.clone(),
                trusted.clone(),
            )?,
            channels: channels.clone(),
            media: media.clone(),
            widget: widget.clone(),
            trusted: trusted.clone(),
            clock: clock.clone(),
            disable_path: config.listener.disable_path.clone(),
        });
        let site = webhook_site(config, trusted, clock.clone(), metrics.clone())?;
        let reloading = Reloading::new(config.clone(), site.clone(), widget.clone());
        let handle = move |request, peer| {
            let front = front.clone();
            async move { front.handle(request, peer).await }
        };
        listening.spawn(serve(webhooks, site, stopping.clone(), ended.clone(), handle));

        let admin = Arc::new(Admin {
            metrics: metrics.clone(),
            inbox: inbox.clone(),
            clock: clock.clone(),
            outbox: outbox.clone(),
            store: store.clone(),
            unready: unready.clone(),
            console: OnceLock::new(),
        });
        answer_machines(machines, &admin, clock.clone(), &tasks, &ended);
        look_after_certificate(reloading.tls(), &clock, &metrics, &tasks, &ended);
        if let Some(widget) = widget.clone() {
            let interval = Duration::from_secs(config.accounts.check_interval_s);
            widget.start(interval, &linking, ended.clone());
        }
        look_after(&inbox, &channels, config, &tasks, &ended);

        begun.0.clear();
        Ok(Self {
            inbox,
            outbox,
            backfill,
            media,
            widget,
            channels,
            metrics,
            admin,
            store,
            clock,
            listener_address,
            admin_address,
            unready,
            drain_delay: Duration::from_millis(config.listener.drain_delay_ms),
            stopping,
            ended,
            listening,
            linking,
            tasks,
            reloading,
        })
    }

    /// Where webhooks arrive.
    pub fn listener_address(&self) -> SocketAddr {
        self.listener_address
    }

    /// Whether webhooks arrive over TLS.
    pub fn has_tls(&self) -> bool {
        self.reloading.tls().is_some()
    }

    /// Where health and metrics are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The inbox.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// The outbox.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The backfill.
    pub fn backfill(&self) -> &Backfill {
        &self.backfill
    }

    /// Files that go with messages.
    pub fn media(&self) -> &Media {
        &self.media
    }

    /// The linking of accounts, where it is configured.
    pub fn widget(&self) -> Option<&Widget> {
        self.widget.as_ref()
    }

    /// The channels, their clients, and the door for webhooks that another server received.
    pub fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The text that `/metrics` answers: what is counted, and what is looked up for it.
    ///
    /// # Errors
    /// As for [`Metrics::render`].
    pub async fn metrics_text(&self) -> Result<String> {
        self.admin.measured().await
    }

    /// Lets a program answer what is asked below `/console` on the admin address. Counts once.
    pub fn mount_console<A>(&self, answer: impl Fn(Request<Incoming>) -> A + Send + Sync + 'static)
    where
        A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let _ = self.admin.console.set(Box::new(move |request| Box::pin(answer(request))));
    }

    /// Checks that webhooks can be kept, as the admin address does for `/readyz`.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] while it stops; those of the store.
    pub async fn ready(&self) -> Result<()> {
        self.admin.ready().await
    }

    /// Goes on with another configuration, as far as that needs no restart: channels, secrets,
    /// accounts, limits of connections, the certificate. All of it or, with an error, none. Returns
    /// the keys whose change needs a restart.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] with the key and what to do.
    pub fn reload(&self, config: &Config) -> Result<Vec<&'static str>> {
        let restart = self.reloading.reload(config, &self.channels)?;
        self.metrics.reloaded(true);
        Ok(restart)
    }

    /// Readiness fails from now on; after `listener.drain_delay_ms`, in which a load balancer can
    /// notice, no webhook is accepted any more. The first step of a stop; consumers go on.
    pub async fn drain(&self) {
        self.unready.cancel();
        self.clock.sleep_until(self.clock.monotonic().saturating_add(self.drain_delay)).await;
        self.stopping.cancel();
    }

    /// Ends: answers the webhooks in flight, closes the store. Consumers are closed by their
    /// owners before. What does not end within `deadline` is cut off.
    pub async fn shutdown(self, deadline: Duration) {
        self.unready.cancel();
        self.stopping.cancel();
        self.listening.close();
        self.linking.close();
        self.tasks.close();
        let ends = tokio::time::Instant::now() + deadline;
        let mut in_time = tokio::time::timeout_at(ends, self.listening.wait()).await.is_ok();
        self.ended.cancel();
        // What is on the wire may still be answered; what is not is looked for at the next start.
        in_time &= tokio::time::timeout_at(ends, self.backfill.stop()).await.is_ok();
        in_time &= tokio::time::timeout_at(ends, self.outbox.stop()).await.is_ok();
        in_time &= tokio::time::timeout_at(ends, self.media.stop()).await.is_ok();
        // What the CRM gives once alone must still find the store.
        in_time &= tokio::time::timeout_at(ends, self.linking.wait()).await.is_ok();
        if let Some(widget) = &self.widget {
            in_time &= tokio::time::timeout_at(ends, widget.stop()).await.is_ok();
        }
        // Asked for also when the time is over: the store finishes what it has accepted.
        in_time &= tokio::time::timeout_at(ends, self.store.close()).await.is_ok();
        in_time &= tokio::time::timeout_at(ends, self.tasks.wait()).await.is_ok();
        if !in_time {
            tracing::warn!("not everything ended within the deadline");
        }
    }
}

/// What was begun of a runtime. Where its start fails, or is given up, that ends: it would go on to send,
/// and hold the store, in a process that has no runtime.
struct Begun(Vec<CancellationToken>);

impl Drop for Begun {
    fn drop(&mut self) {
        for stop in &self.0 {
            stop.cancel();
        }
    }
}

/// Ends leases in time, and deletes what is old.
fn look_after(
    inbox: &Inbox,
    channels: &Arc<Channels>,
    config: &Config,
    tasks: &TaskTracker,
    ended: &CancellationToken,
) {
    let interval = Duration::from_secs(config.accounts.check_interval_s);
    let (keeper, stop) = (channels.clone(), ended.clone());
    tasks.spawn(async move { keeper.accounts().run(keeper.clone(), interval, stop).await });
    let (timers, stop) = (inbox.clone(), ended.clone());
    tasks.spawn(async move { timers.run(stop).await });
    let (keeper, retention, stop) = (inbox.clone(), config.inbox.retention(), ended.clone());
    tasks.spawn(async move { keeper.maintain(retention, stop).await });
}

fn look_after_certificate(
    tls: Option<Arc<Tls>>,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    tasks: &TaskTracker,
    ended: &CancellationToken,
) {
    let Some(tls) = tls else { return };
    let (clock, metrics, stop) = (clock.clone(), metrics.clone(), ended.clone());
    tasks.spawn(async move { watch_certificate(&tls, &*clock, &metrics, stop).await });
}

/// What is listened on, and where.
struct Doors {
    webhooks: (TcpListener, SocketAddr),
    machines: (TcpListener, SocketAddr),
}

impl Doors {
    async fn open(config: &Config) -> Result<Self> {
        let webhooks = bound(config.listener.address, "listener").await?;
        let machines = bound(config.admin.address, "admin").await?;
        Ok(Self { webhooks, machines })
    }
}

/// A listener, and the address it has where any port was asked for.
async fn bound(address: SocketAddr, what: &str) -> Result<(TcpListener, SocketAddr)> {
    let listener = bind(address, what).await?;
    let unknown =
        |error| Error::new(ErrorKind::ConfigInvalid, format!("a bound address is unknown: {error}"));
    let address = listener.local_addr().map_err(unknown)?;
    Ok((listener, address))
}

/// Health, metrics, and what else is for machines and operators.
fn answer_machines(
    listener: TcpListener,
    admin: &Arc<Admin>,
    clock: Arc<dyn Clock>,
    tasks: &TaskTracker,
    ended: &CancellationToken,
) {
    let admin = admin.clone();
    let handle = move |request, _peer| {
        let admin = admin.clone();
        async move { admin.handle(request).await }
    };
    tasks.spawn(serve(listener, admin_site(clock), ended.clone(), ended.clone(), handle));
}

/// Where webhooks arrive, as the configuration has it.
fn webhook_site(
    config: &Config,
    trusted: Arc<Trusted>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
) -> Result<Site> {
    Ok(Site {
        guests: Guests::new(config.listener.limits(), clock.clone()),
        clock,
        tls: config.listener.tls()?.map(Arc::new),
        trusted,
        proxy_protocol: config.listener.proxy_protocol,
        metrics: Some(metrics),
    })
}

/// Where machines ask, which are few: over plain HTTP.
fn admin_site(clock: Arc<dyn Clock>) -> Site {
    let limits = PeerLimits {
        connections: 64,
        per_peer: usize::MAX,
        head: Duration::from_secs(5),
        keep_alive: Duration::from_mins(2),
    };
    Site {
        guests: Guests::new(limits, clock.clone()),
        clock,
        tls: None,
        trusted: Arc::default(),
        proxy_protocol: false,
        metrics: None,
    }
}
