//! What the commands share that ask a running server.

use super::Failure;
use super::secret::read_line;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

/// Where the commands that speak to a server look for its address.
const SERVER_VARIABLE: &str = "AMOCHATS_SERVER";
/// And for their token. It is not the variable of the CRM's token, which no server here is to learn.
const TOKEN_VARIABLE: &str = "AMOCHATS_SERVER_TOKEN";
/// Those that are not for the server itself.
pub(super) const CLIENT_VARIABLES: [&str; 2] = [SERVER_VARIABLE, TOKEN_VARIABLE];

/// A connection to a server, whose calls carry the token.
pub(super) type Channel = InterceptedService<tonic::transport::Channel, Bearer>;

/// An address that a connection can be tried to.
pub(super) fn server_url(url: &str) -> Result<String, &'static str> {
    let named =
        reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if named { Ok(url.to_owned()) } else { Err("must be an address such as http://127.0.0.1:50051") }
}

/// The server that is asked, and what it wants to see.
#[derive(clap::Args)]
#[command(next_help_heading = "Server")]
#[expect(clippy::doc_markdown, reason = "--help shows these lines as they are")]
pub(super) struct Remote {
    /// The server's gRPC address: http, or https where it has a certificate
    #[arg(
        long, global = true, value_name = "URL", default_value = "http://127.0.0.1:50051",
        env = SERVER_VARIABLE, value_parser = server_url
    )]
    server: String,
    /// A file with the token for the server; without it AMOCHATS_SERVER_TOKEN is sent, if it is set
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Trust the authorities in this PEM file, and no others, where the server has a certificate
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A client certificate in PEM, where the server asks for one
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The client certificate's key in PEM
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Remote {
    /// A connection for calls that are answered soon.
    pub(super) async fn connect(&self) -> Result<Channel, Failure> {
        let line = self.line()?.map_endpoint(|endpoint| endpoint.timeout(Duration::from_secs(30)));
        line.connect().await
    }

    /// The server's address.
    pub(super) fn address(&self) -> &str {
        &self.server
    }

    /// What connections are made of, again and again.
    pub(super) fn line(&self) -> Result<Line, Failure> {
        let endpoint = Endpoint::from_shared(self.server.clone())
            .map_err(|_| Failure::usage("--server must be an address such as http://127.0.0.1:50051"))?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(30));
        let endpoint = match self.tls()? {
            None => endpoint,
            Some(tls) => endpoint
                .tls_config(tls)
                .map_err(|error| Failure::usage(format!("--ca, --cert or --key: {}", cause(&error))))?,
        };
        Ok(Line { server: self.server.clone(), endpoint, bearer: Bearer(self.token()?) })
    }

    fn tls(&self) -> Result<Option<ClientTlsConfig>, Failure> {
        if !self.server.starts_with("https://") {
            return match (&self.ca, &self.cert, &self.key) {
                (None, None, None) => Ok(None),
                _ => Err(Failure::usage("--ca, --cert and --key are for a server at an https:// address")),
            };
        }
        let tls = match &self.ca {
            Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(file)?)),
            None => ClientTlsConfig::new().with_webpki_roots(),
        };
        match (&self.cert, &self.key) {
            (None, None) => Ok(Some(tls)),
            (Some(cert), Some(key)) => Ok(Some(tls.identity(Identity::from_pem(read(cert)?, read(key)?)))),
            _ => Err(Failure::usage("--cert and --key belong together")),
        }
    }

    fn token(&self) -> Result<Option<MetadataValue<Ascii>>, Failure> {
        let (token, place) = match (&self.token_file, std::env::var(TOKEN_VARIABLE)) {
            (Some(file), _) => (read_line(file, "token")?, file.display().to_string()),
            // Set to nothing is as not set.
            (None, Ok(token)) if !token.is_empty() => (token, TOKEN_VARIABLE.to_owned()),
            (None, _) => return Ok(None),
        };
        let mut header: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| {
            Failure::usage(format!("{place} does not hold a token, which is one line of text"))
        })?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::failed(format!("cannot read {}: {error}", file.display())))
}

/// A way to a server.
pub(super) struct Line {
    server: String,
    endpoint: Endpoint,
    bearer: Bearer,
}

impl Line {
    fn map_endpoint(self, change: impl FnOnce(Endpoint) -> Endpoint) -> Self {
        Self { endpoint: change(self.endpoint), ..self }
    }

    pub(super) async fn connect(&self) -> Result<Channel, Failure> {
        let help = "start it with `amochats dev` or `amochats serve`, or name another with --server";
        let nobody = |error: tonic::transport::Error| {
            let why = if self.server.starts_with("https://") {
                format!(" over TLS ({})", cause(&error))
            } else {
                String::new()
            };
            Failure::failed(format!("no server answers at {}{why}; {help}", self.server))
        };
        let channel = self.endpoint.connect().await.map_err(nobody)?;
        Ok(InterceptedService::new(channel, self.bearer.clone()))
    }
}

/// The innermost reason: the outer ones say only that there is one.
fn cause(error: &tonic::transport::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Puts the token on each call.
#[derive(Clone)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// Why the server did not do it, with the words of the chats API where they are the reason.
pub(super) fn refused(status: &Status) -> Failure {
    let info = status.get_details_error_info();
    let said = info.as_ref().and_then(|info| info.metadata.get("vendor_error_description"));
    let message = match said {
        Some(words) => format!("{}; the service said: {}", status.message(), super::api::words(words)),
        None if status.code() == Code::Unauthenticated => {
            format!("{}; give it with --token-file FILE or in {TOKEN_VARIABLE}", status.message())
        }
        None => status.message().to_owned(),
    };
    match status.code() {
        Code::InvalidArgument if info.is_none_or(|info| info.reason != "REJECTED") => Failure::usage(message),
        Code::InvalidArgument
        | Code::NotFound
        | Code::FailedPrecondition
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Aborted => Failure::no(message),
        _ => Failure::failed(message),
    }
}

/// A time for people, in UTC.
pub(super) fn time(time: &prost_types::Timestamp) -> String {
    let time = SystemTime::try_from(*time).unwrap_or(SystemTime::UNIX_EPOCH);
    amochats::format_date(time).unwrap_or_default()
}
