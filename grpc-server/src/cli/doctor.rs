//! `doctor`: looks for what keeps a channel from working, and says what to do.

mod peers;
mod store;

use super::process::run;
use super::{Exit, Failure, io, serve};
use crate::server::ServerConfig;
use amochats_runtime::Channel;
use amochats_runtime::config::ChannelConfig;
use reqwest::Url;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Check clock, configuration, secrets, store, the chats API, the webhook address and the server
///
/// Nothing is changed anywhere: of the chats API it reads the history of a chat that does not exist,
/// and to the webhook address it sends a body without a signature, which must be refused.
#[derive(clap::Args)]
#[command(after_help = "\
Each line begins with ok, warning or failed; after a warning or a failure it says what to do.

Exit codes:
  0  all is well, but for warnings
  1  something failed
  2  wrong usage
  3  the configuration file cannot be read

Examples:
  amochats doctor --config amochats.toml
  amochats doctor --config amochats.toml --webhook-url https://crm.example.com/webhook/:scope_id")]
pub(super) struct Doctor {
    /// The configuration file of the server
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The webhook address as it was registered with the channel, reachable from here
    #[arg(long, value_name = "URL", value_parser = http_url)]
    webhook_url: Option<Url>,
    /// Where health and metrics of the server are [default: as configured]
    #[arg(long, value_name = "URL", value_parser = http_url)]
    admin: Option<Url>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

fn http_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or("must be an http or https address")
}

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

/// What a check found.
struct Finding {
    /// What was checked: `config`, `secrets`, `disk`, `store`, `api`, `clock`, `secret`, `webhook`, `server`.
    check: &'static str,
    verdict: Verdict,
    said: String,
}

impl Finding {
    fn ok(check: &'static str, said: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, said: said.into() }
    }

    fn warning(check: &'static str, said: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, said: said.into() }
    }

    fn failed(check: &'static str, said: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Failed, said: said.into() }
    }
}

/// Prints findings as they come, and remembers the worst.
struct Report {
    json: bool,
    worst: Verdict,
}

impl Report {
    fn add(&mut self, finding: &Finding) -> Result<(), Failure> {
        self.worst = self.worst.max(finding.verdict);
        let Finding { check, verdict, said } = finding;
        let verdict = match verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "failed",
        };
        io::print(&if self.json {
            json!({ "check": check, "verdict": verdict, "message": said }).to_string()
        } else {
            format!("{verdict:<8} {check:<8} {said}")
        })
    }
}

impl Doctor {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        run(self.examine())
    }

    async fn examine(self) -> Result<Exit, Failure> {
        let mut report = Report { json: self.json, worst: Verdict::Ok };
        let config = match serve::load(&self.config) {
            Ok(config) => config,
            Err(failure) if failure.exit == Exit::Usage => {
                report.add(&Finding::failed("config", failure.message))?;
                return Ok(Exit::No);
            }
            Err(failure) => return Err(failure),
        };
        let count = config.runtime.channels.len();
        report.add(&Finding::ok("config", format!("{count} channel(s) are configured")))?;
        report.add(&secrets(&config))?;
        let accounts = store::examine(&config, &mut report).await?;
        for configured in &config.runtime.channels {
            match Channel::new(configured) {
                Ok(channel) => peers::api(&channel, &of(configured, &accounts), &mut report).await?,
                Err(error) => report.add(&Finding::failed("config", error.to_string()))?,
            }
        }
        if let Some(url) = &self.webhook_url {
            report.add(&peers::webhook(url, &config.runtime.channels).await)?;
        }
        report.add(&peers::server(self.admin, config.runtime.admin.address).await)?;
        Ok(if report.worst == Verdict::Failed { Exit::No } else { Exit::Ok })
    }
}

/// The accounts that a channel can be tried with: those that are connected, then those that are
/// configured.
fn of(channel: &ChannelConfig, connected: &[amochats::ScopeId]) -> Vec<amochats::ScopeId> {
    let mut all: Vec<_> = connected
        .iter()
        .filter(|scope| scope.split().is_ok_and(|(id, _)| id.as_str() == channel.id))
        .cloned()
        .collect();
    let configured = channel.accounts.iter();
    all.extend(
        configured
            .map(|account| amochats::ScopeId::of(&channel.id.as_str().into(), &account.id.as_str().into())),
    );
    all
}

/// They were read with the configuration; what is left is who else can read them.
fn secrets(config: &ServerConfig) -> Finding {
    let channels = config.runtime.channels.iter();
    let open = channels
        .flat_map(|channel| [&channel.secret_file, &channel.client_secret_file])
        .flatten()
        .find(|path| others_read(path));
    match open {
        Some(path) => Finding::warning(
            "secrets",
            format!("other users of this machine can read {}: chmod 600 it", path.display()),
        ),
        None => Finding::ok("secrets", "each channel has one"),
    }
}

fn others_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
}
