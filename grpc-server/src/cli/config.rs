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
                for doubt in doubts(&loaded.runtime) {
                    eprintln!("{}: warning: {doubt}", config.display());
                }
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

/// What is well-formed and still looks wrong, here or at all.
fn doubts(config: &amochats_runtime::Config) -> Vec<String> {
    let mut doubts = Vec::new();
    let folder = config.store.path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        doubts.push(format!(
            "store.path: the folder {} does not exist here; a server needs it",
            folder.display()
        ));
    }
    let example = amochats_runtime::Config::load(amochats_runtime::Config::EXAMPLE, []);
    let placeholders = example.map(|example| example.channels).unwrap_or_default();
    for channel in &config.channels {
        if placeholders.iter().any(|example| example.id == channel.id) {
            doubts.push("channel.id: is still the example's; support sends yours".to_owned());
        }
        if placeholders.iter().any(|example| example.secret.is_some() && example.secret == channel.secret) {
            doubts.push("channel.secret: is still the example's; support sends yours".to_owned());
        }
    }
    doubts
}
