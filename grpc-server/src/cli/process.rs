//! What the commands that stay in the foreground share: a runtime, a log, an end.

use super::{Exit, Failure, io};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// How long a stop may take.
pub(super) const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// How the log is written, to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Log {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Log {
    /// Starts the log, with what is said at the level. `RUST_LOG` wins, as `debug` or
    /// `amochats_runtime=debug`.
    pub(super) fn start(self, level: &str) -> Level {
        self.start_with(level, None)
    }

    /// As [`Log::start`], with somebody else who listens, whatever the level.
    pub(super) fn start_with(self, level: &str, traces: Option<Listening>) -> Level {
        let (filter, handle) = reload::Layer::new(filter(level));
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match self {
            Self::Text => lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed(),
            Self::Json => lines.json().with_filter(filter).boxed(),
        };
        let layers: Vec<Listening> = std::iter::once(lines).chain(traces).collect();
        // Only the first start counts; there is one command in a process.
        let _ = tracing_subscriber::registry().with(layers).try_init();
        Level(handle)
    }
}

/// Takes what happens somewhere, as a log does.
pub(super) type Listening = Box<dyn Layer<Registry> + Send + Sync>;

/// What is said in the log, which can change.
pub(super) struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    pub(super) fn set(&self, level: &str) {
        // Fails only where the log is gone.
        let _ = self.0.reload(filter(level));
    }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level))
}

/// Runs a command that waits.
pub(super) fn run(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?
        .block_on(command)
}

/// Says on standard output, in one line for programs, that everything is up.
pub(super) fn ready(addresses: &Value) -> Result<(), Failure> {
    let mut line = json!({ "ready": true });
    if let (Some(line), Some(addresses)) = (line.as_object_mut(), addresses.as_object()) {
        line.extend(addresses.clone());
    }
    io::print(&line.to_string())
}

/// Cancelled at the first SIGINT or SIGTERM; the second ends the process at once.
pub(super) fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let cannot = |error| Failure::failed(format!("cannot wait for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        stopped.cancel();
        next().await;
        io::complain("stopped at once; what was not finished is handed out again after the next start");
        std::process::exit(Exit::Failed as i32);
    });
    Ok(stop)
}
