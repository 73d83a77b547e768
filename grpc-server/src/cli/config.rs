//! `config`: the configuration file.

use super::{Exit, Failure, io, serve};
use crate::server::ServerConfig;
use std::path::PathBuf;

/// Print an example of the configuration file, or check one.
#[derive(clap::Subcommand)]
pub(super) enum Config {
    /// Print a configuration with every key, its default and what it does.
    Example,
    /// Check a configuration file together with the environment, without starting anything.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

impl Config {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Example => io::print(ServerConfig::example().trim_end())?,
            Self::Check { config } => {
                let loaded = serve::load(&config)?;
                io::print(&format!(
                    "{}: ok, {} channel(s)",
                    config.display(),
                    loaded.runtime.channels.len()
                ))?;
            }
        }
        Ok(Exit::Ok)
    }
}
