//! `amochats version`.

use super::{Exit, Failure, io};
use clap::Args;
use serde_json::json;

/// Print the version
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats version --json")]
pub(super) struct Version {
    /// Print one JSON object with name and version
    #[arg(long)]
    json: bool,
}

impl Version {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let (name, version) = ("amochats", env!("CARGO_PKG_VERSION"));
        if self.json {
            io::print(&json!({ "name": name, "version": version }).to_string())?;
        } else {
            io::print(&format!("{name} {version}"))?;
        }
        Ok(Exit::Ok)
    }
}
