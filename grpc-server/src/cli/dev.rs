//! `dev`: everything on this machine, ready to click.

use super::process::{Log, STOP_DEADLINE, ready, run, stop_on_signal};
use super::{Exit, Failure, flagged, io};
use crate::console::ConsoleConfig;
use crate::messenger::{Messenger, MessengerConfig};
use crate::security::GrpcConfig;
use crate::server::{LogConfig, Server, ServerConfig};
use amochats::{AccountId, ChannelId, ScopeId};
use amochats_proto::v1::channel_service_client::ChannelServiceClient;
use amochats_proto::v1::{ConnectRequest, Scope};
use amochats_runtime::Config;
use amochats_runtime::config::{
    AccountsConfig, AdminConfig, BackfillConfig, ChannelConfig, InboxConfig, ListenerConfig, OutboxConfig,
    StoreConfig, WidgetConfig,
};
use amochats_runtime::media::MediaConfig;
use amochats_sandbox::{Sandbox, SandboxConfig};
use serde_json::json;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Where people and programs look first.
const PAGE_PORT: u16 = 8765;
const GRPC_PORT: u16 = 50051;

/// Run the whole channel on this machine, with a local amoCRM and a demo messenger: open the page,
/// write as the client, answer as the manager.
///
/// Stays in the foreground. When it is up it prints one JSON line on standard output: grpc, listener,
/// admin, sandbox_api, page, messenger, channel_id, account_id, scope_id, secret. SIGTERM or SIGINT
/// ends it cleanly; a second one at once.
#[derive(clap::Args)]
#[expect(clippy::doc_markdown, reason = "--help shows these lines as they are")]
#[command(after_help = "\
With --data the next start has the same channel, account and chats in the local amoCRM and hands out
what was not settled; the messenger's chats and the journal are in memory and start anew.

Examples:
  amochats dev
  amochats dev --data ./dev-data --page 127.0.0.1:9000")]
pub(super) struct Dev {
    /// Where events and the local amoCRM's chats are kept; a temporary folder, removed at the end, if absent.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the gRPC services listen; port 50051, or a free one if it is taken, if absent.
    #[arg(long, value_name = "ADDR")]
    grpc: Option<SocketAddr>,
    /// Where the page to open listens; port 8765, or a free one if it is taken, if absent.
    #[arg(long, value_name = "ADDR")]
    page: Option<SocketAddr>,
    /// Where webhooks arrive; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value_t = FREE)]
    listener: SocketAddr,
    /// Where the local amoCRM's API listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value_t = FREE)]
    sandbox_api: SocketAddr,
    /// Where health and metrics are; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value_t = FREE)]
    admin: SocketAddr,
    /// Make all ids of the local amoCRM the same in every run. Not with --data, whose events know
    /// the ids of earlier runs.
    #[arg(long, value_name = "N", conflicts_with = "data")]
    seed: Option<u64>,
    /// How the log is written, to standard error.
    #[arg(long, value_enum, default_value_t)]
    log: Log,
}

impl Dev {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        if let Some(address) = self.grpc.filter(|address| !address.ip().is_loopback()) {
            return Err(Failure::usage(format!(
                "--grpc {address}: other machines would reach it, and it has neither TLS nor tokens; choose 127.0.0.1"
            )));
        }
        self.log.start("info");
        run(async {
            let stop = stop_on_signal()?;
            self.up(stop).await
        })
    }

    async fn up(self, stop: CancellationToken) -> Result<Exit, Failure> {
        let data = Data::open(self.data)?;

        // Its address is told to the page first; it waits for the server by itself.
        let phone = tokio::net::TcpListener::bind(FREE)
            .await
            .map_err(|error| Failure::failed(format!("cannot listen on {FREE}: {error}")))?;
        let phone_address = phone.local_addr().map_err(|error| Failure::failed(error.to_string()))?;
        let sandbox = Sandbox::start(SandboxConfig {
            api_addr: self.sandbox_api,
            page_addr: self.page.unwrap_or_else(|| free_from(PAGE_PORT, "page")),
            state: data.sandbox_state(),
            seed: self.seed,
            companion_url: Some(format!("http://{phone_address}/")),
            ..SandboxConfig::default()
        })
        .await
        .map_err(|error| {
            let flags = [("api_addr", "--sandbox-api"), ("page_addr", "--page"), ("state", "--data")];
            flagged(error, &flags)
        })?;
        let channel = DevChannel {
            channel_id: sandbox.channel_id(),
            secret: sandbox.secret(),
            account_id: sandbox.accounts()[0].account_id.clone(),
        };

        let server = Server::start(ServerConfig {
            grpc: GrpcConfig {
                address: self.grpc.unwrap_or_else(|| free_from(GRPC_PORT, "gRPC")),
                ..GrpcConfig::default()
            },
            console: ConsoleConfig::default(),
            log: LogConfig::default(),
            runtime: Config {
                accounts: AccountsConfig::default(),
                listener: ListenerConfig { address: self.listener, ..ListenerConfig::default() },
                admin: AdminConfig { address: self.admin },
                store: StoreConfig { path: data.path().join("amochats.db"), ..StoreConfig::default() },
                inbox: InboxConfig::default(),
                outbox: OutboxConfig::default(),
                backfill: BackfillConfig::default(),
                widget: WidgetConfig::default(),
                media: media(sandbox.api_addr()),
                channels: vec![ChannelConfig {
                    base_url: Some(url(sandbox.api_addr())),
                    ..ChannelConfig::new(channel.channel_id.as_str(), channel.secret.as_str())
                }],
            },
        })
        .await
        // The configuration is sound: what fails now is an address or a disk.
        .map_err(|error| Failure::failed(error.to_string()))?;
        let webhooks = ListenerConfig::default().webhook_path;
        sandbox.set_webhook_url(format!("{}{webhooks}", url(server.listener_address())))?;
        let grpc = url(server.grpc_address());
        connect(&grpc, &channel).await?;
        let messenger = MessengerConfig {
            grpc: grpc.clone(),
            channel_id: channel.channel_id.clone(),
            account_id: channel.account_id.clone(),
            client: "Demo client".to_owned(),
        };
        let messenger = Messenger::start(messenger, phone)?;

        let page = url(sandbox.page_addr());
        welcome(&page, &grpc, &data);
        ready(&json!({
            "page": page,
            "messenger": url(messenger.address()),
            "grpc": grpc,
            "listener": url(server.listener_address()),
            "admin": url(server.admin_address()),
            "sandbox_api": url(sandbox.api_addr()),
            "channel_id": channel.channel_id,
            "account_id": channel.account_id,
            "scope_id": ScopeId::of(&channel.channel_id, &channel.account_id),
            "secret": channel.secret,
        }))?;
        stop.cancelled().await;
        io::remark("stopping");
        messenger.shutdown().await;
        server.shutdown(STOP_DEADLINE).await;
        sandbox.shutdown().await;
        data.close()?;
        Ok(Exit::Ok)
    }
}

/// Attachments are fetched from the local amoCRM.
fn media(sandbox: SocketAddr) -> MediaConfig {
    MediaConfig {
        fetch: true,
        fetch_http: true,
        fetch_hosts: vec![sandbox.ip().to_string()],
        fetch_private: vec![sandbox.ip().to_string()],
        ..MediaConfig::default()
    }
}

/// Connects the channel to the account, as an integrator's program would.
async fn connect(grpc: &str, channel: &DevChannel) -> Result<(), Failure> {
    let failed = |said: &str| Failure::failed(format!("the channel cannot be connected: {said}"));
    let endpoint = Endpoint::from_shared(grpc.to_owned()).map_err(|error| failed(&error.to_string()))?;
    let server = endpoint.connect().await.map_err(|error| failed(&error.to_string()))?;
    let scope = Scope {
        channel_id: channel.channel_id.as_str().to_owned(),
        account_id: channel.account_id.as_str().to_owned(),
    };
    let request =
        ConnectRequest { scope: Some(scope), title: Some("Demo messenger".to_owned()), ..Default::default() };
    ChannelServiceClient::new(server).connect(request).await.map_err(|status| failed(status.message()))?;
    Ok(())
}

fn welcome(page: &str, grpc: &str, data: &Data) {
    let kept = match data {
        Data::Temporary(_) => {
            "Events are kept in a temporary folder until you stop; --data DIR keeps them longer.".to_owned()
        }
        Data::Kept(path) => format!("Events and the CRM's chats are kept in {}.", path.display()),
    };
    io::say(&format!(
        "
  Open  {page}

  On the left you are the client, in the middle the manager; on the right you see
  every request and webhook. Your own program joins at {grpc} (amochats.v1).
  {kept}
  Ctrl-C stops.
"
    ));
}

/// This port on loopback, or, with a remark, a free one where it is taken.
fn free_from(port: u16, what: &str) -> SocketAddr {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if TcpListener::bind(address).is_ok() {
        return address;
    }
    io::remark(&format!("{address} is taken: {what} gets a free port"));
    FREE
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// The channel that the local amoCRM plays.
struct DevChannel {
    channel_id: ChannelId,
    secret: String,
    account_id: AccountId,
}

/// Where events are kept.
enum Data {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Data {
    fn open(folder: Option<PathBuf>) -> Result<Self, Failure> {
        match folder {
            None => tempfile::Builder::new()
                .prefix("amochats-dev-")
                .tempdir()
                .map(Self::Temporary)
                .map_err(|error| Failure::failed(format!("cannot make a temporary folder: {error}"))),
            Some(path) => match fs::create_dir_all(&path) {
                Ok(()) => Ok(Self::Kept(path)),
                Err(error) => {
                    Err(Failure::failed(format!("cannot make the folder {}: {error}", path.display())))
                }
            },
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }

    /// What the local amoCRM keeps. It is with the events, which belong to its channel.
    fn sandbox_state(&self) -> Option<PathBuf> {
        match self {
            Self::Temporary(_) => None,
            Self::Kept(path) => Some(path.join("sandbox.json")),
        }
    }

    fn close(self) -> Result<(), Failure> {
        let Self::Temporary(folder) = self else { return Ok(()) };
        let path = folder.path().to_owned();
        folder.close().map_err(|error| Failure::failed(format!("cannot remove {}: {error}", path.display())))
    }
}
