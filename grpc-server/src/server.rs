//! The server: the runtime, and `amochats.v1` over it.

use crate::console::{self, ConsoleConfig};
use crate::security::{Connections, Gate, GrpcConfig, GuardLayer};
use crate::service::{
    BackfillService, ChannelService, InboxService, MediaService, OutboxService, WebhookService, WidgetService,
};
use amochats::{Error, ErrorKind, Result};
use amochats_proto::v1::backfill_service_server::{self, BackfillServiceServer};
use amochats_proto::v1::channel_service_server::{self, ChannelServiceServer};
use amochats_proto::v1::inbox_service_server::{self, InboxServiceServer};
use amochats_proto::v1::media_service_server::{self, MediaServiceServer};
use amochats_proto::v1::outbox_service_server::{self, OutboxServiceServer};
use amochats_proto::v1::webhook_service_server::{self, WebhookServiceServer};
use amochats_proto::v1::widget_service_server::{self, WidgetServiceServer};
use amochats_runtime::{Config, Metrics, Runtime, config};
use serde::Deserialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The runtime's configuration and `[grpc]`.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The gRPC listener.
    pub grpc: GrpcConfig,
    /// The web console.
    pub console: ConsoleConfig,
    /// What is said in the log.
    pub log: LogConfig,
    /// Everything else.
    pub runtime: Config,
}

/// What is said in the log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`, also by module: `info,amochats_runtime=debug`.
    pub level: String,
    /// Where traces go, over gRPC; needs the feature `otlp`.
    pub otlp_endpoint: Option<String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), otlp_endpoint: None }
    }
}

impl ServerConfig {
    /// Every key with its default, as a file to start from.
    pub fn example() -> String {
        format!(
            "{}\n{}{}{LOG_EXAMPLE}",
            Config::EXAMPLE.trim_end(),
            GrpcConfig::EXAMPLE,
            ConsoleConfig::EXAMPLE
        )
    }

    /// Reads a configuration from TOML text and the environment's variables, which win.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] with the key and what to do.
    pub fn load(toml: &str, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut table = config::parse(toml)?;
        let mut sections = Config::SECTIONS.to_vec();
        sections.extend(["grpc", "console", "log"]);
        let (secret, rest): (Vec<_>, Vec<_>) = environment
            .into_iter()
            .partition(|(name, _)| name.strip_prefix(config::ENV_PREFIX) == Some("SECRET"));
        for (name, value) in rest {
            if let Some(key) = name.strip_prefix(config::ENV_PREFIX) {
                config::overlay(&mut table, &sections, key, &value)?;
            }
        }
        // The runtime knows its own alone, and would name only those.
        sections.push("channel");
        if let Some(unknown) = table.keys().find(|key| !sections.contains(&key.as_str())) {
            let rule = format!("there is no section [{unknown}]; there are {}", sections.join(", "));
            return Err(Error::new(ErrorKind::ConfigInvalid, rule).with_field(unknown));
        }
        let grpc: GrpcConfig = match table.remove("grpc") {
            None => GrpcConfig::default(),
            Some(section) => config::section("grpc", section)?,
        };
        let console: ConsoleConfig = match table.remove("console") {
            None => ConsoleConfig::default(),
            Some(section) => config::section("console", section)?,
        };
        let log: LogConfig = match table.remove("log") {
            None => LogConfig::default(),
            Some(section) => config::section("log", section)?,
        };
        if !is_level(&log.level) {
            let rule = "log.level: must be error, warn, info, debug, trace or off, also as \"info,amochats_runtime=debug\"";
            return Err(Error::new(ErrorKind::ConfigInvalid, rule).with_field("log.level"));
        }
        if let Some(endpoint) = &log.otlp_endpoint {
            traceable(endpoint)?;
        }
        grpc.validate()?;
        console.validate(&grpc)?;
        Ok(Self { grpc, console, log, runtime: Config::from_table(table, secret)? })
    }
}

/// Whether this is a level, or one for each of some modules. A filter takes any other word for the name of a
/// module, and would be silent about everything else.
fn is_level(text: &str) -> bool {
    let known = |word: &str| ["error", "warn", "info", "debug", "trace", "off"].contains(&word);
    let fits = |part: &str| part.split_once('=').map_or(known(part), |(_, level)| known(level));
    text.split(',').map(|part| part.trim().to_ascii_lowercase()).all(|part| fits(&part))
        && text.parse::<tracing_subscriber::filter::Targets>().is_ok()
}

/// Whether traces can go there.
fn traceable(endpoint: &str) -> Result<()> {
    let rule = if !cfg!(feature = "otlp") {
        "this build makes no traces; build amochats-server with the feature \"otlp\", or leave the key out"
    } else if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        "must be the address of a collector that takes gRPC, as \"http://127.0.0.1:4317\""
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::ConfigInvalid, format!("log.otlp_endpoint: {rule}"))
        .with_field("log.otlp_endpoint"))
}

const LOG_EXAMPLE: &str = r#"
[log]
# error, warn, info, debug or trace, also by module: "info,amochats_runtime=debug". RUST_LOG wins.
level = "info"
# A collector of OpenTelemetry that takes traces over gRPC; in builds with the feature "otlp" only.
# Without it OTEL_EXPORTER_OTLP_ENDPOINT counts. Traces name ids, never contents.
# otlp_endpoint = "http://127.0.0.1:4317"
"#;

/// A running server.
pub struct Server {
    runtime: Runtime,
    grpc: GrpcConfig,
    grpc_address: SocketAddr,
    console: ConsoleConfig,
    connections: Connections,
    gate: Arc<Gate>,
    health: HealthReporter,
    /// Ends the streams.
    stop: CancellationToken,
    streams: TaskTracker,
    /// Ends the gRPC listener.
    ended: CancellationToken,
    serving: tokio::task::JoinHandle<std::result::Result<(), tonic::transport::Error>>,
}

impl Server {
    /// Starts the runtime and the gRPC services.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] for an address that cannot be bound; those of
    /// [`Runtime::start`].
    pub async fn start(config: ServerConfig) -> Result<Self> {
        let grpc = config.grpc;
        grpc.validate()?;
        config.console.validate(&grpc)?;
        let (connections, gate) = (Connections::new(&grpc)?, Arc::new(Gate::new(&grpc)?));
        let address = grpc.address;
        let cannot = |error| {
            Error::new(ErrorKind::ConfigInvalid, format!("cannot listen on {address} for grpc: {error}"))
                .with_field("grpc.address")
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let grpc_address = listener.local_addr().map_err(cannot)?;
        let runtime = Runtime::start(config.runtime).await?;
        let console = config.console;
        if console.enabled {
            console::mount(&runtime, gate.clone());
        }

        let (stop, ended, streams) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let channel = ChannelServiceServer::new(ChannelService::new(runtime.channels().clone()));
        let inbox = InboxService::new(
            runtime.inbox().clone(),
            runtime.outbox().clone(),
            stop.clone(),
            streams.clone(),
        );
        let inbox = InboxServiceServer::new(inbox);
        let webhook = WebhookServiceServer::new(WebhookService::new(runtime.channels().clone()));
        let outbox = OutboxService::new(runtime.outbox().clone(), runtime.channels().clone());
        let outbox = OutboxServiceServer::new(outbox);
        let backfill = BackfillServiceServer::new(BackfillService::new(runtime.backfill().clone()));
        let widget = WidgetService::new(runtime.widget(), stop.clone(), streams.clone());
        let widget = WidgetServiceServer::new(widget);
        let media = MediaServiceServer::new(MediaService::new(runtime.media().clone(), stop.clone()));
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<ChannelServiceServer<ChannelService>>().await;
        health.set_serving::<InboxServiceServer<InboxService>>().await;
        health.set_serving::<WebhookServiceServer<WebhookService>>().await;
        health.set_serving::<BackfillServiceServer<BackfillService>>().await;
        health.set_serving::<OutboxServiceServer<OutboxService>>().await;
        health.set_serving::<WidgetServiceServer<WidgetService>>().await;
        health.set_serving::<MediaServiceServer<MediaService>>().await;
        // Some tools know only the older protocol.
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(amochats_proto::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        };
        let invalid =
            |error| Error::new(ErrorKind::Panic, "the descriptors are broken").with_source(Box::new(error));
        let router = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(Duration::from_millis(grpc.keepalive_interval_ms)))
            .http2_keepalive_timeout(Some(Duration::from_millis(grpc.keepalive_timeout_ms)))
            .http2_max_header_list_size(grpc.max_header_bytes)
            .max_concurrent_streams(grpc.max_streams)
            .layer(GuardLayer(gate.clone()))
            .add_service(channel.max_decoding_message_size(grpc.max_message_bytes))
            .add_service(inbox.max_decoding_message_size(grpc.max_message_bytes))
            .add_service(webhook.max_decoding_message_size(grpc.max_message_bytes))
            .add_service(backfill.max_decoding_message_size(grpc.max_message_bytes))
            .add_service(outbox.max_decoding_message_size(grpc.max_message_bytes))
            .add_service(media.max_decoding_message_size(grpc.max_message_bytes))
            .add_service(widget.max_decoding_message_size(grpc.max_message_bytes))
            .add_service(health_service)
            .add_service(reflection().build_v1().map_err(invalid)?)
            .add_service(reflection().build_v1alpha().map_err(invalid)?);
        let incoming = connections.of(listener, ended.clone());
        let serving = router.serve_with_incoming_shutdown(incoming, ended.clone().cancelled_owned());
        let serving = tokio::spawn(serving);
        Ok(Self {
            runtime,
            grpc,
            grpc_address,
            console,
            connections,
            gate,
            health,
            stop,
            streams,
            ended,
            serving,
        })
    }

    /// Goes on with another configuration, as far as that needs no restart; returns the keys whose
    /// change needs one.
    ///
    /// # Errors
    /// As for [`Runtime::reload`]; then nothing has changed.
    pub fn reload(&self, config: &ServerConfig) -> Result<Vec<&'static str>> {
        self.connections.refresh()?;
        self.gate.refresh()?;
        let mut restart = self.runtime.reload(&config.runtime)?;
        if config.grpc != self.grpc {
            restart.push("grpc");
        }
        if config.console != self.console {
            restart.push("console");
        }
        Ok(restart)
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        self.runtime.metrics()
    }

    /// The scheme of [`Server::listener_address`].
    pub fn listener_scheme(&self) -> &'static str {
        if self.runtime.has_tls() { "https" } else { "http" }
    }

    /// The scheme of [`Server::grpc_address`].
    pub fn grpc_scheme(&self) -> &'static str {
        if self.grpc.has_tls() { "https" } else { "http" }
    }

    /// Where the services are.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Where webhooks arrive.
    pub fn listener_address(&self) -> SocketAddr {
        self.runtime.listener_address()
    }

    /// Where health and metrics are.
    pub fn admin_address(&self) -> SocketAddr {
        self.runtime.admin_address()
    }

    /// Ends: readiness fails and no webhook is accepted any more; streams end and give back what
    /// they hold; calls and webhooks in flight are answered; the store is closed. What does not
    /// end within `deadline` is cut off.
    pub async fn shutdown(mut self, deadline: Duration) {
        let started = tokio::time::Instant::now();
        self.health.set_service_status("", ServingStatus::NotServing).await;
        self.health.set_not_serving::<ChannelServiceServer<ChannelService>>().await;
        self.health.set_not_serving::<InboxServiceServer<InboxService>>().await;
        self.health.set_not_serving::<WebhookServiceServer<WebhookService>>().await;
        self.health.set_not_serving::<BackfillServiceServer<BackfillService>>().await;
        self.health.set_not_serving::<OutboxServiceServer<OutboxService>>().await;
        self.health.set_not_serving::<WidgetServiceServer<WidgetService>>().await;
        self.health.set_not_serving::<MediaServiceServer<MediaService>>().await;
        self.runtime.drain().await;
        self.stop.cancel();
        self.streams.close();
        self.ended.cancel();
        // Who watches health has been told, and would hold up the end.
        for service in [
            "",
            channel_service_server::SERVICE_NAME,
            inbox_service_server::SERVICE_NAME,
            webhook_service_server::SERVICE_NAME,
            backfill_service_server::SERVICE_NAME,
            outbox_service_server::SERVICE_NAME,
            media_service_server::SERVICE_NAME,
            widget_service_server::SERVICE_NAME,
        ] {
            self.health.clear_service_status(service).await;
        }
        let ending = async {
            self.streams.wait().await;
            let _ = self.serving.await;
        };
        if tokio::time::timeout(deadline, ending).await.is_err() {
            tracing::warn!("not every call ended within the deadline");
        }
        // The store is closed in any case: what it has accepted is finished.
        let left = deadline.saturating_sub(started.elapsed()).max(Duration::from_secs(1));
        self.runtime.shutdown(left).await;
    }
}
