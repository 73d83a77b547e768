//! `accounts`: which accounts a running server serves.

use super::look::AlwaysJson;
use super::process::run;
use super::remote::{Remote, refused};
use super::{Exit, Failure, io};
use amochats_proto::v1;
use amochats_proto::v1::channel_service_client::ChannelServiceClient;
use serde_json::json;

/// List, connect, disconnect or forget the accounts of a running server
#[derive(clap::Args)]
#[command(after_help = "\
States:
  discovered    a webhook of it came
  connected     the service said so when it was last connected
  disconnected  it was disconnected here
  disabled      the account switched the integration off; connect it again after the next installation

Examples:
  amochats accounts ls
  amochats accounts connect ACCOUNT_ID --title Shop")]
pub(super) struct Accounts {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Print the accounts that are known, one JSON object a line
    Ls(AlwaysJson),
    /// Connect the server's channel to an account
    Connect {
        #[command(flatten)]
        account: Named,
        /// The channel's name in this account; Kommo wants one.
        #[arg(long)]
        title: Option<String>,
    },
    /// Disconnect the server's channel from an account
    Disconnect(Named),
    /// Forget an account, without a call of the service
    Forget {
        /// The connection, as `ls` shows it.
        scope_id: String,
    },
}

#[derive(clap::Args)]
struct Named {
    /// The account's `amojo_id`.
    #[arg(value_parser = account_id)]
    account_id: String,
    /// The channel, where the server has several.
    #[arg(long, default_value = "", hide_default_value = true)]
    channel_id: String,
}

fn account_id(text: &str) -> Result<String, &'static str> {
    uuid::Uuid::try_parse(text).map(|_| text.to_owned()).map_err(|_| "must be the account's amojo_id, a UUID")
}

impl Named {
    fn scope(self) -> v1::Scope {
        v1::Scope { channel_id: self.channel_id, account_id: self.account_id }
    }
}

impl Accounts {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        run(self.call())
    }

    async fn call(self) -> Result<Exit, Failure> {
        let mut client = ChannelServiceClient::new(self.remote.connect().await?);
        match self.action {
            Action::Ls(_) => {
                let listed = client
                    .list_accounts(v1::ListAccountsRequest {})
                    .await
                    .map_err(|status| refused(&status))?;
                for account in listed.into_inner().accounts {
                    io::print(&line(&account).to_string())?;
                }
            }
            Action::Connect { account, title } => {
                let request = v1::ConnectRequest {
                    scope: Some(account.scope()),
                    title,
                    ..v1::ConnectRequest::default()
                };
                let connected =
                    client.connect(request).await.map_err(|status| refused(&status))?.into_inner();
                io::print(&json!({ "scope_id": connected.scope_id, "state": "connected" }).to_string())?;
            }
            Action::Disconnect(account) => {
                let request = v1::DisconnectRequest { scope: Some(account.scope()) };
                client.disconnect(request).await.map_err(|status| refused(&status))?;
            }
            Action::Forget { scope_id } => {
                client
                    .forget_account(v1::ForgetAccountRequest { scope_id })
                    .await
                    .map_err(|status| refused(&status))?;
            }
        }
        Ok(Exit::Ok)
    }
}

fn line(account: &v1::Account) -> serde_json::Value {
    let state = account.state().as_str_name().trim_start_matches("ACCOUNT_STATE_").to_ascii_lowercase();
    let msec = |time: &Option<prost_types::Timestamp>| {
        time.as_ref().map(|time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000)
    };
    json!({
        "scope_id": account.scope_id,
        "channel_id": account.channel_id,
        "account_id": account.account_id,
        "state": state,
        "since_msec": msec(&account.since),
        "checked_at_msec": msec(&account.checked_at),
        "heard_at_msec": msec(&account.heard_at),
        "problem": account.problem,
        "title": account.title,
        "hook_api_version": account.hook_api_version,
    })
}
