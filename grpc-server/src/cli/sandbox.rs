//! `sandbox`: only the local amoCRM.

use super::process::{Log, ready, run, stop_on_signal};
use super::secret::Secrets;
use super::{Exit, Failure, flagged};
use amochats::{AccountId, ChannelSecret};
use amochats_sandbox::{
    FaultRule, Faults, Identity, NewChannel, Personality, Sandbox as LocalCrm, SandboxConfig, Switches,
};
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const AFTER_HELP: &str = "\
Examples:
  amochats sandbox --page 127.0.0.1:8765 --webhook-url http://127.0.0.1:8080/webhook/:scope_id
  amochats sandbox --state sandbox.json
  amochats sandbox --switch duplicates=replay --fault api:lost@0.1 --fault hook:duplicate@0.2 --fault-seed 7

--help tells what is checked, what the real service is not known to do, and lists switches and faults.";

const AFTER_LONG_HELP: &str = "\
Where to begin: read the ready line, point your client at `api`, call connect with `channel_id`, `secret` and an
account of `accounts`, send a message; open `page`, answer it, and see each call and webhook in the journal with the
verdict on its signature. Tests in any language use the control API on the page's address: /api/openapi.json.

What the service documents is checked: both signature schemes, Content-MD5, the 15 minutes of Date, Content-Type,
required fields and types; a refusal says which rule was broken. Where its pages are silent there is a switch.

Switches (--switch NAME=VALUE; the first value is the default; null means none):
  signatures=any|any_on_old_methods|canonical
                        The old scheme signs the body alone. Documented for connect and message on old connections;
                        seen working on a new channel and on chats; not known for status, typing, react.
  date_window_s=900     As --clock-window. Not known: how far ahead a Date may be.
  check_md5=true        Not known: what a wrong Content-MD5 gets. Here 403.
  check_content_type=true
                        Not known: what another Content-Type gets. Here 403.
  strict_types=true     Documented: a number in place of a text is an error.
  unknown_fields=note|refuse
                        Not known: what a misspelt field does. Noted in the journal's verdict.
  required_fields=live|documented
                        The pages require file_name and file_size (ru) and connect's title (kommo); live clients
                        leave them out.
  duplicates=reject|replay
                        Documented only: a second msgid is not accepted. Not known: 400, or 200 with the first answer.
  not_connected=forbidden|not_found
                        Not known: what a scope gets that is not connected.
  unknown_channel=not_found|forbidden
                        Documented for connect and disconnect: 404.
  answers=current|2021|2020
                        The answer to a message as it was in that year.
  old_delivery_status=true
                        The form of before 2025 (delivery_status, msgid). Not known: whether it is still taken.
  transitions=forward|any
                        Not known: whether a read message can become delivered again.
  requests_per_second=null
                        Calls per scope; more get 429 with Retry-After. No limit of the chats API is documented.
  crm_requests_per_second=7
                        Calls of the CRM's own API per account; more get 429, who goes on 403. Documented: 7.
  hook_newline=true     The line feed after a webhook's body, outside of its signature: captured, not documented.
  hook_timeout_ms=5000  Documented: 5 s, and no second try.
  slow_lane_ms=1000     The delay of webhooks to a receiver that was late three times. Documented is that such a
                        queue exists; not known: when, and how long.
  hook_contacts=absent|empty
                        An unknown phone or e-mail in webhooks: empty in the pages, absent in live ones.
  hook_escaping=plain|go
                        Not known: whether < > & come as \\u003c \\u003e \\u0026.

Faults (--fault SIDE:FAULT[=VALUE][@PROBABILITY][/CALL][#TIMES]), each noted in the journal:
  api:latency=200ms     The call takes longer.          hook:latency=200ms   So does the webhook.
  api:drop              No answer, nothing done.        hook:drop            It is not sent.
  api:lost              Done, but no answer.            hook:duplicate       It is sent twice.
  api:cut               Done; the answer breaks off.    hook:reorder         The next one overtakes it.
  api:status=503        4xx or 5xx, nothing done.       hook:stale_clock=600s   It says that it is old.
  api:rate_limit=2s     429 with Retry-After.           hook:bad_signature   Signed with something else.
  api:skew=3600s        The service's clock is ahead.   hook:truncated       Half of the body.
                                                        hook:reserialised    The same JSON, other bytes.
  CALL is a kind as the journal has it: connect, new_message, history, webhook_v2, typing, …

Personalities: ru answers an empty body where kommo answers {}; kommo refuses hook_api_version v1 by name, a reaction
without emoji, bad typing with 404, and knows list messages and the time window; gen1 is the service of 2017: connect
and new_message alone, short answers, webhooks of eight keys, phones that may be numbers.

Examples:
  amochats sandbox --page 127.0.0.1:8765 --webhook-url http://127.0.0.1:8080/webhook/:scope_id
  amochats sandbox --state sandbox.json --strict
  amochats sandbox --channel A --secret S1 --channel B --secret S2
  amochats sandbox --fault api:lost@0.1/new_message --fault hook:duplicate@0.2 --fault-seed 7";

/// Play amoCRM on this machine: the chats API, webhooks, and a page where a person answers as
/// the manager.
///
/// Without ids it makes up a channel, a secret and an account. Stays in the foreground; when it is
/// up it prints one JSON line on standard output: api, page, channel_id, secret, channels, accounts.
#[derive(clap::Args)]
#[expect(clippy::doc_markdown, reason = "--help shows these lines as they are")]
#[command(after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
pub(super) struct Sandbox {
    /// Where the chats API listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    api: SocketAddr,
    /// Where the manager's page listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    page: SocketAddr,
    /// A channel's id; made up if absent. May come several times, each with its --secret in the same order.
    #[arg(long = "channel", value_name = "ID")]
    channels: Vec<String>,
    #[command(flatten)]
    secret: Secrets,
    /// The accounts' amojo ids; one is made up if there is none.
    #[arg(long = "account", value_name = "AMOJO_ID")]
    accounts: Vec<String>,
    /// Where webhooks of all channels go; `:scope_id` in it is replaced. It can be set on the page, too.
    #[arg(long, value_name = "URL")]
    webhook_url: Option<String>,
    /// Whose habits the service has: ru (amoCRM), kommo, or gen1 (2017).
    #[arg(long, value_enum, default_value = "ru")]
    personality: Habits,
    /// How far a request's Date may be from now, as `15m`, or `off`.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = clock_window)]
    clock_window: Window,
    /// Take only what the pages document: canonical signatures, no unknown fields, no field left out.
    #[arg(long)]
    strict: bool,
    /// Set a switch, as duplicates=replay; --help lists them. May come several times.
    #[arg(long = "switch", value_name = "NAME=VALUE")]
    switches: Vec<String>,
    /// A fault, as api:latency=200ms@0.3; --help lists them. May come several times.
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<FaultRule>,
    /// Where the draws of the faults begin; the same calls meet the same faults again.
    #[arg(long, value_name = "N", default_value_t = 0)]
    fault_seed: u64,
    /// Serve the API with TLS: a certificate with its chain, in PEM; give --tls-key too.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Keep the channel, its secret, accounts, chats and messages in this file for the next start;
    /// made where it is missing. Other ids than the file has are refused. Not the journal.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// A widget's folder or widget.zip, for the first integration; a folder is read anew at every load of
    /// the page /integrations, which installs and opens it as the CRM does. Others are uploaded there.
    #[arg(long, value_name = "PATH")]
    widget: Option<PathBuf>,
    /// Make all ids the same in every run; random after a state was loaded, since none may come twice.
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

/// The channels in the order of the flags; at least one, which may be all made up.
fn pairs(
    ids: Vec<String>,
    secrets: Vec<ChannelSecret>,
    webhook_url: Option<&String>,
) -> Result<Vec<NewChannel>, Failure> {
    let count = ids.len().max(1);
    if !secrets.is_empty() && secrets.len() != count {
        return Err(Failure::usage(format!(
            "there are {} secrets for {count} channels: give one --secret or --secret-file for each --channel, in the \
             same order, or none",
            secrets.len()
        )));
    }
    let (mut ids, mut secrets) = (ids.into_iter(), secrets.into_iter());
    let channel = |_| NewChannel {
        channel_id: ids.next().map(Into::into),
        secret: secrets.next().map(|secret| secret.expose().to_owned()),
        webhook_url: webhook_url.cloned(),
        ..NewChannel::default()
    };
    Ok((0..count).map(channel).collect())
}

/// The switches with one of them set, as `name=value`.
fn switched(switches: &Switches, set: &str) -> Result<Switches, Failure> {
    let (name, value) = set
        .split_once('=')
        .ok_or_else(|| Failure::usage(format!("--switch {set}: must be as duplicates=replay")))?;
    let mut all = json!(switches);
    // 2020 is a year's name where a switch takes names.
    let text = all[name].is_string();
    let value = serde_json::from_str(value).ok().filter(|_| !text).unwrap_or_else(|| json!(value));
    all[name] = value;
    serde_json::from_value(all).map_err(|error| {
        let said = error.to_string();
        let rule = match said.split_once(", expected ") {
            Some((what, known)) if what.starts_with("unknown variant") => format!("must be {known}"),
            Some((what, _)) if what.starts_with("unknown field") => "there is no such switch".to_owned(),
            _ => "cannot have this value".to_owned(),
        };
        Failure::usage(format!("--switch {set}: {rule}; --help lists the switches"))
    })
}

impl Sandbox {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let mut channels = pairs(self.channels, self.secret.several()?, self.webhook_url.as_ref())?;
        let first = channels.remove(0);
        let switches = Switches {
            date_window_s: self.clock_window.0.map(|window| window.as_secs()),
            ..if self.strict { Switches::strict() } else { Switches::default() }
        };
        let switches = self.switches.iter().try_fold(switches, |switches, set| switched(&switches, set))?;
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(Identity::from_pem(&read(certificate)?, &read(key)?)?),
            _ => None,
        };
        self.log.start("info");
        let config = SandboxConfig {
            api_addr: self.api,
            page_addr: self.page,
            channel_id: first.channel_id,
            secret: first.secret,
            channels,
            accounts: self.accounts.into_iter().map(AccountId::new).collect(),
            webhook_url: self.webhook_url,
            personality: match self.personality {
                Habits::Ru => Personality::Ru,
                Habits::Kommo => Personality::Kommo,
                Habits::Gen1 => Personality::Gen1,
            },
            switches,
            faults: Faults { seed: self.fault_seed, rules: self.faults },
            tls,
            state: self.state,
            widget: self.widget,
            seed: self.seed,
            ..SandboxConfig::default()
        };
        run(async {
            let stop = stop_on_signal()?;
            let sandbox = LocalCrm::start(config).await.map_err(|error| {
                let flags = [
                    ("api_addr", "--api"),
                    ("page_addr", "--page"),
                    ("state", "--state"),
                    ("widget", "--widget"),
                ];
                flagged(error, &flags)
            })?;
            ready(&json!({
                "api": sandbox.api_url(),
                "page": format!("http://{}", sandbox.page_addr()),
                "channel_id": sandbox.channel_id(),
                "secret": sandbox.secret(),
                "channels": sandbox.channels(),
                "accounts": sandbox.accounts().iter().map(|account| account.account_id.clone()).collect::<Vec<_>>(),
                "integrations": sandbox.crm().integrations(),
            }))?;
            stop.cancelled().await;
            sandbox.shutdown().await;
            Ok(Exit::Ok)
        })
    }
}
