//! `token`: who may call a server.

use super::{Exit, Failure, flagged, io};
use crate::security::{Permission, add_token};
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;

/// Make tokens for the clients of a server
#[derive(clap::Subcommand)]
pub(super) enum Token {
    New(New),
}

/// Make a token, print it once, and add its hash to a file of tokens
///
/// The server takes the file as grpc.tokens_file and notices the change by itself. Only the token's
/// hash is kept: who loses a token gets a new one. To revoke one, remove its line.
#[derive(clap::Args)]
#[expect(clippy::doc_markdown, reason = "--help shows these lines as they are")]
#[command(after_help = "\
Permissions:
  read   receive events and settle them, look at what is kept
  send   send to the CRM, hand in webhooks
  admin  connect and disconnect accounts, delete, replay, sign with the channel's secret

Examples:
  amochats token new --file tokens --name crm --permissions read,send > crm.token
  amochats token new --file tokens --name guest --permissions read --days 7")]
pub(super) struct New {
    /// The file of tokens; made where there is none
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Whose token it is, for the audit log: letters, digits, "-", "_" and "."
    #[arg(long)]
    name: String,
    /// What it permits, joined by commas
    #[arg(long, value_delimiter = ',', required = true)]
    permissions: Vec<Permission>,
    /// How many days it counts [default: until its line is removed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=36_500))]
    days: Option<i64>,
}

impl Token {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let Self::New(new) = self;
        let until = new.days.map(|days| {
            let end = Timestamp::now().checked_add(SignedDuration::from_hours(24 * days));
            end.map_err(|_| Failure::usage("--days: that is too long"))
        });
        let token = add_token(&new.file, &new.name, &new.permissions, until.transpose()?)
            .map_err(|error| flagged(error, &[("grpc.tokens_file", "--file"), ("name", "--name")]))?;
        io::print(&token)?;
        Ok(Exit::Ok)
    }
}
