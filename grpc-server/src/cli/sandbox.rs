//! `sandbox`: only the local amoCRM.

use super::process::{Log, ready, run, stop_on_signal};
use super::secret::Secrets;
use super::{Exit, Failure};
use amochats::AccountId;
use amochats_sandbox::{Identity, Personality, Sandbox as LocalCrm, SandboxConfig};
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Plays amoCRM on this machine: the chats API, webhooks, and a page where a person answers as
/// the manager.
///
/// Without ids it makes up a channel, a secret and an account. Stays in the foreground; when it is
/// up it prints one JSON line on standard output: api, page, the channel's id, its secret, accounts.
#[derive(clap::Args)]
#[command(after_help = "\
It checks what the service documents: both signature schemes, Content-MD5, the 15 minutes of Date,
required fields and types; a refusal says which rule was broken. What the service answers where its
pages are silent (a second msgid, an account that is not connected) is a guess.

Examples:
  amochats sandbox --page 127.0.0.1:8765 --webhook-url http://127.0.0.1:8080/webhook/:scope_id
  amochats sandbox --state sandbox.json")]
pub(super) struct Sandbox {
    /// Where the chats API listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    api: SocketAddr,
    /// Where the manager's page listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    page: SocketAddr,
    /// The channel's id; made up if absent.
    #[arg(long, value_name = "ID")]
    channel: Option<String>,
    #[command(flatten)]
    secret: Secrets,
    /// The accounts' amojo ids; one is made up if there is none.
    #[arg(long = "account", value_name = "AMOJO_ID")]
    accounts: Vec<String>,
    /// Where webhooks go; `:scope_id` in it is replaced. It can be set on the page, too.
    #[arg(long, value_name = "URL")]
    webhook_url: Option<String>,
    /// Whose habits the service has: ru (amoCRM), kommo, or gen1 (2017).
    #[arg(long, value_enum, default_value = "ru")]
    personality: Habits,
    /// How far a request's Date may be from now, as `15m`, or `off`.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = clock_window)]
    clock_window: Window,
    /// Takes canonical signatures only.
    #[arg(long)]
    strict: bool,
    /// Serves the API with TLS: a certificate with its chain, in PEM; give --tls-key too.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Keeps the channel, its secret, accounts, chats and messages in this file for the next start;
    /// made where it is missing. Other ids than the file has are refused. Not the journal.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Makes all ids the same in every run; random after a state was loaded, since none may come twice.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How the log is written, to standard error.
    #[arg(long, value_enum, default_value_t)]
    log: Log,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Habits {
    Ru,
    Kommo,
    Gen1,
}

#[derive(Clone, Copy)]
struct Window(Option<Duration>);

fn clock_window(text: &str) -> Result<Window, String> {
    let says = || "must be a time such as 90s, 15m or 1h, or off".to_owned();
    if text == "off" {
        return Ok(Window(None));
    }
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(says()),
    };
    let number: u64 = number.parse().map_err(|_| says())?;
    number.checked_mul(seconds).map(|all| Window(Some(Duration::from_secs(all)))).ok_or_else(says)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))
}

impl Sandbox {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let secret = self.secret.optional()?.map(|secret| secret.expose().to_owned());
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(Identity::from_pem(&read(certificate)?, &read(key)?)?),
            _ => None,
        };
        self.log.start("info");
        let config = SandboxConfig {
            api_addr: self.api,
            page_addr: self.page,
            channel_id: self.channel.map(Into::into),
            secret,
            accounts: self.accounts.into_iter().map(AccountId::new).collect(),
            webhook_url: self.webhook_url,
            personality: match self.personality {
                Habits::Ru => Personality::Ru,
                Habits::Kommo => Personality::Kommo,
                Habits::Gen1 => Personality::Gen1,
            },
            clock_window: self.clock_window.0,
            strict: self.strict,
            tls,
            state: self.state,
            seed: self.seed,
            ..SandboxConfig::default()
        };
        run(async {
            let stop = stop_on_signal()?;
            let sandbox = LocalCrm::start(config).await?;
            ready(&json!({
                "api": sandbox.api_url(),
                "page": format!("http://{}", sandbox.page_addr()),
                "channel_id": sandbox.channel_id(),
                "secret": sandbox.secret(),
                "accounts": sandbox.accounts().iter().map(|account| account.account_id.clone()).collect::<Vec<_>>(),
            }))?;
            stop.cancelled().await;
            sandbox.shutdown().await;
            Ok(Exit::Ok)
        })
    }
}
