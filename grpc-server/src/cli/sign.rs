//! `amochats sign`: what a client sends as `X-Signature`, to compare with.

use super::secret::Secrets;
use super::{Exit, Failure, io};
use amochats::{CONTENT_TYPE, format_date, sign_body, sign_request};
use clap::{Args, Subcommand};
use std::time::SystemTime;

/// Sign a body or a request
#[derive(Subcommand)]
#[command(after_help = "\
Example:
  printf '{\"account_id\":\"13fa84f7\"}' | amochats sign body --secret-file channel.secret")]
pub(super) enum Sign {
    Body(Body),
    Request(Request),
}

/// Sign bytes alone, as webhooks are signed
///
/// The body is read from standard input, byte for byte; the signature is printed in hex. So were
/// requests of the first generation signed, too.
#[derive(Args)]
#[command(after_help = "\
Example: the signature of a webhook that was saved with the line feed it ends with
  head -c -1 hook.json | amochats sign body --secret-file channel.secret")]
pub(super) struct Body {
    #[command(flatten)]
    secrets: Secrets,
}

/// Sign a request to the chats API
///
/// The body is read from standard input, byte for byte; without one, redirect from /dev/null. The
/// four headers of the request are printed as one JSON object. Send the same bytes.
#[derive(Args)]
#[command(after_help = "\
Example:
  printf '{\"status_code\":2}' | amochats sign request --secret-file channel.secret --method POST \\
    --path /v2/origin/custom/SCOPE_ID/MESSAGE_REF_ID/delivery_status")]
pub(super) struct Request {
    /// The HTTP method
    #[arg(long)]
    method: String,
    /// The path, without scheme and host; a query string is allowed and not signed
    #[arg(long)]
    path: String,
    /// The Date header, signed as it is written [default: now]
    #[arg(long)]
    date: Option<String>,
    /// The Content-Type header
    #[arg(long, value_name = "TYPE", default_value = CONTENT_TYPE)]
    content_type: String,
    #[command(flatten)]
    secrets: Secrets,
}

impl Sign {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Body(Body { secrets }) => {
                let secret = secrets.one()?;
                io::print(&sign_body(&secret, &io::read_body()?))?;
            }
            Self::Request(Request { method, path, date, content_type, secrets }) => {
                let secret = secrets.one()?;
                let body = io::read_body()?;
                let date = date.map_or_else(|| format_date(SystemTime::now()), Ok)?;
                let headers = sign_request(&secret, &method, &path, &content_type, &date, &body)?;
                io::print(&serde_json::to_string(&headers).expect("four strings can be written"))?;
            }
        }
        Ok(Exit::Ok)
    }
}
