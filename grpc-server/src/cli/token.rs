//! `token`: who may call a server.

use super::{Exit, Failure, flagged, io};
use crate::security::{Permission, add_certificate, add_token};
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;

/// Make tokens for the clients of a server
#[derive(clap::Subcommand)]
pub(super) enum Token {
    New(New),
    Certificate(Certificate),
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

/// Let clients in by their certificate, without a token: add a line for it to a file of tokens
///
/// For a server with grpc.client_ca, whose authority must have signed the certificate. A call that
/// shows a token as well may do what the token permits. To revoke, remove the line.
#[derive(clap::Args)]
#[expect(clippy::doc_markdown, reason = "--help shows these lines as they are")]
#[command(after_help = "\
Examples:
  amochats token certificate --file tokens --name billing --permissions send 'CN=billing service'
  amochats token certificate --file tokens --name audit --permissions read DNS=audit.example.com")]
pub(super) struct Certificate {
    /// What stands in the certificate: CN=… of its subject, or DNS=…, URI=…, EMAIL=… of its alternative names
    #[arg(value_name = "CERTIFICATE")]
    subject: String,
    /// The file of tokens; made where there is none
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Whose it is, for the audit log: letters, digits, "-", "_" and "."
    #[arg(long)]
    name: String,
    /// What it permits, joined by commas: read, send, admin, as for a token
    #[arg(long, value_delimiter = ',', required = true)]
    permissions: Vec<Permission>,
    /// How many days the line counts [default: until it is removed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=36_500))]
    days: Option<i64>,
}

impl Token {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        // As the command line names them.
        let named = |error| flagged(error, &[("grpc.tokens_file", "--file"), ("name", "--name")]);
        match self {
            Self::New(new) => {
                let token = add_token(&new.file, &new.name, &new.permissions, end(new.days)?);
                io::print(&token.map_err(named)?)?;
            }
            Self::Certificate(new) => {
                add_certificate(&new.file, &new.name, &new.permissions, &new.subject, end(new.days)?)
                    .map_err(named)?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// When so many days are over.
fn end(days: Option<i64>) -> Result<Option<Timestamp>, Failure> {
    let end = |days| Timestamp::now().checked_add(SignedDuration::from_hours(24 * days));
    days.map(|days| end(days).map_err(|_| Failure::usage("--days: that is too long"))).transpose()
}
