//! `serve`: the production server.

use super::notify::Manager;
use super::process::{Level, Log, STOP_DEADLINE, ready, run, stop_on_signal};
use super::remote::CLIENT_VARIABLES;
use super::{Exit, Failure};
#[cfg(feature = "otlp")]
use crate::otlp::Traces;
use crate::server::{Server, ServerConfig};
use serde_json::json;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// Run the server: webhook listener, durable inbox and gRPC services.
///
/// Stays in the foreground. When it is up it prints one JSON line on standard output with the real
/// addresses: grpc, listener, admin. SIGTERM or SIGINT ends it cleanly; a second one at once. SIGHUP
/// reads the configuration again: channels, secrets, accounts, limits of connections, the log's
/// level and the certificate change under way, and the log says what needs a restart. Under systemd it may be of
/// `Type=notify`, also with a watchdog.
#[derive(clap::Args)]
#[command(after_help = "\
The configuration is a TOML file; `amochats config example` prints one with every key. Each key can
also be set in the environment, which wins: AMOCHATS_LISTENER_ADDRESS is `address` in [listener];
a list is written as in the file: '[\"10.0.0.0/8\"]'.
The secret of a single channel can come from AMOCHATS_SECRET. RUST_LOG=debug logs more.

Example:
  amochats config example > amochats.toml
  AMOCHATS_SECRET=… amochats serve --config amochats.toml")]
pub(super) struct Serve {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How the log is written, to standard error.
    #[arg(long, value_enum, default_value_t)]
    log: Log,
}

impl Serve {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let config = load(&self.config)?;
        run(async {
            #[cfg(feature = "otlp")]
            let traces = Traces::start(&config.log)?;
            #[cfg(feature = "otlp")]
            let listening = traces.as_ref().map(Traces::layer);
            #[cfg(not(feature = "otlp"))]
            let listening = None;
            let level = self.log.start_with(&config.log.level, listening);
            let stop = stop_on_signal()?;
            let mut hang_up = signal(SignalKind::hangup())
                .map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))?;
            // The configuration is sound: what fails now is an address or a disk.
            let server = Server::start(config).await.map_err(|error| Failure::failed(error.to_string()))?;
            let manager = Manager::from_environment();
            ready(&json!({
                "grpc": format!("{}://{}", server.grpc_scheme(), server.grpc_address()),
                "listener": format!("{}://{}", server.listener_scheme(), server.listener_address()),
                "admin": format!("http://{}", server.admin_address()),
            }))?;
            manager.tell("READY=1");
            let _watched = manager.watched();
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    _ = hang_up.recv() => {
                        manager.tell("RELOADING=1");
                        self.reload(&server, &level);
                        manager.tell("READY=1");
                    }
                }
            }
            manager.tell("STOPPING=1");
            tracing::info!("stopping");
            server.shutdown(STOP_DEADLINE).await;
            #[cfg(feature = "otlp")]
            if let Some(traces) = traces {
                traces.end().await;
            }
            Ok(Exit::Ok)
        })
    }
}

impl Serve {
    /// Reads the configuration again. One that cannot be used changes nothing.
    fn reload(&self, server: &Server, level: &Level) {
        let reloaded = load(&self.config).and_then(|config| {
            let restart = server.reload(&config).map_err(Failure::from)?;
            level.set(&config.log.level);
            Ok((config.runtime.channels.len(), restart))
        });
        match reloaded {
            Ok((channels, restart)) if restart.is_empty() => {
                tracing::info!(channels, "the configuration was read again");
            }
            Ok((channels, restart)) => tracing::warn!(
                channels,
                "the configuration was read again; a restart is needed for {}",
                restart.join(", ")
            ),
            Err(failure) => {
                server.metrics().reloaded(false);
                tracing::error!("the configuration stays as it was: {}", failure.message);
            }
        }
    }
}

/// Reads and checks a configuration file.
pub(super) fn load(path: &std::path::Path) -> Result<ServerConfig, Failure> {
    let toml = std::fs::read_to_string(path)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        // For the commands that speak to a server, not for the server.
        .filter(|(name, _)| !CLIENT_VARIABLES.contains(&name.as_str()));
    ServerConfig::load(&toml, environment)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}
