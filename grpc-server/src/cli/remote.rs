//! What the commands share that ask a running server.

use super::Failure;
use std::time::{Duration, SystemTime};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Where the commands that speak to a server look for its address.
pub(super) const SERVER_VARIABLE: &str = "AMOCHATS_SERVER";

/// An address that a connection can be tried to. There is no TLS yet.
pub(super) fn server_url(url: &str) -> Result<String, &'static str> {
    let named = reqwest::Url::parse(url).is_ok_and(|url| url.scheme() == "http" && url.has_host());
    if named { Ok(url.to_owned()) } else { Err("must be an address such as http://127.0.0.1:50051") }
}

/// The server that is asked.
#[derive(clap::Args)]
#[command(next_help_heading = "Server")]
pub(super) struct Remote {
    /// The server's gRPC address
    #[arg(
        long, value_name = "URL", default_value = "http://127.0.0.1:50051", env = SERVER_VARIABLE, value_parser = server_url
    )]
    server: String,
}

impl Remote {
    /// The server's address, as it was given.
    pub(super) fn name(&self) -> &str {
        &self.server
    }

    pub(super) async fn connect(&self) -> Result<Channel, Failure> {
        let endpoint = Endpoint::from_shared(self.server.clone())
            .map_err(|_| Failure::usage("--server must be an address such as http://127.0.0.1:50051"))?
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30));
        let help = "start it with `amochats dev` or `amochats serve`, or name another with --server";
        let nobody = |_| Failure::failed(format!("no server answers at {}; {help}", self.server));
        endpoint.connect().await.map_err(nobody)
    }
}

/// Why the server did not do it, with the words of the chats API where they are the reason.
pub(super) fn refused(status: &Status) -> Failure {
    let info = status.get_details_error_info();
    let said = info.as_ref().and_then(|info| info.metadata.get("vendor_error_description"));
    let message = match said {
        Some(words) => format!("{}; the service said: {}", status.message(), super::api::words(words)),
        None => status.message().to_owned(),
    };
    match status.code() {
        Code::InvalidArgument if info.is_none_or(|info| info.reason != "REJECTED") => Failure::usage(message),
        Code::InvalidArgument
        | Code::NotFound
        | Code::FailedPrecondition
        | Code::PermissionDenied
        | Code::Aborted => Failure::no(message),
        _ => Failure::failed(message),
    }
}

/// A time for people, in UTC.
pub(super) fn time(time: &prost_types::Timestamp) -> String {
    let time = SystemTime::try_from(*time).unwrap_or(SystemTime::UNIX_EPOCH);
    amochats::format_date(time).unwrap_or_default()
}
