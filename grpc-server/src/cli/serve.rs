//! `serve`: the production server.

use super::listen::SERVER_VARIABLE;
use super::process::{Log, STOP_DEADLINE, ready, run, stop_on_signal};
use super::{Exit, Failure};
use crate::server::{Server, ServerConfig};
use serde_json::json;
use std::path::PathBuf;

/// Run the server: webhook listener, durable inbox and gRPC services.
///
/// Stays in the foreground. When it is up it prints one JSON line on standard output with the real
/// addresses: grpc, listener, admin. SIGTERM or SIGINT ends it cleanly; a second one at once.
#[derive(clap::Args)]
#[command(after_help = "\
The configuration is a TOML file; `amochats config example` prints one with every key. Each key can
also be set in the environment, which wins: AMOCHATS_LISTENER_ADDRESS is `address` in [listener].
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
        self.log.start();
        run(async {
            let stop = stop_on_signal()?;
            // The configuration is sound: what fails now is an address or a disk.
            let server = Server::start(config).await.map_err(|error| Failure::failed(error.to_string()))?;
            ready(&json!({
                "grpc": format!("http://{}", server.grpc_address()),
                "listener": format!("http://{}", server.listener_address()),
                "admin": format!("http://{}", server.admin_address()),
            }))?;
            stop.cancelled().await;
            tracing::info!("stopping");
            server.shutdown(STOP_DEADLINE).await;
            Ok(Exit::Ok)
        })
    }
}

/// Reads and checks a configuration file.
pub(super) fn load(path: &std::path::Path) -> Result<ServerConfig, Failure> {
    let toml = std::fs::read_to_string(path)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        // For the commands that speak to a server, not for the server.
        .filter(|(name, _)| name != SERVER_VARIABLE);
    ServerConfig::load(&toml, environment)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}
