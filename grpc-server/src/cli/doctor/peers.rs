//! Those who answer over the network: the chats API, the webhook address, the server.

use super::{Finding, Report};
use crate::cli::Failure;
use crate::cli::api::words;
use crate::cli::listen::http_client;
use amochats::{Error, ErrorKind, History, SIGNATURE_LIFETIME, ScopeId, parse_date};
use amochats_runtime::Channel;
use amochats_runtime::config::ChannelConfig;
use reqwest::{Response, StatusCode, Url};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// How long a peer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A clock that is wrong by more is worth a word before it is wrong by too much.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
/// A chat that nobody has: the history of an unknown chat is empty (chats API, "history").
const NO_CHAT: &str = "00000000-0000-0000-0000-000000000000";
/// An account that nobody has.
const NO_ACCOUNT: &str = "00000000-0000-0000-0000-000000000000";

/// The chats API of a channel: whether it answers, what time it has, whether it takes the secret.
pub(super) async fn api(channel: &Channel, scopes: &[ScopeId], report: &mut Report) -> Result<(), Failure> {
    let base = channel.client().base_url();
    let asked = SystemTime::now();
    let response = match http_client(PATIENCE)?.get(base).send().await {
        Ok(response) => response,
        Err(error) => {
            let said = format!("{base} cannot be reached: {}; see to DNS, firewall and proxy", root(&error));
            return report.add(&Finding::failed("api", said));
        }
    };
    report.add(&Finding::ok("api", format!("{base} answers")))?;
    report.add(&clock(&response, asked))?;
    report.add(&secret(channel, scopes).await)
}

fn clock(response: &Response, asked: SystemTime) -> Finding {
    let date = response.headers().get("date").and_then(|date| date.to_str().ok());
    let Some(theirs) = date.and_then(|date| parse_date(date).ok()) else {
        return Finding::warning("clock", "the chats API does not say what time it is");
    };
    // A date has whole seconds; what the answer took is no fault of the clock.
    let (ahead, behind) = (asked.duration_since(theirs), theirs.duration_since(SystemTime::now()));
    let (apart, word) = match (ahead, behind) {
        (_, Ok(behind)) => (behind, "behind"),
        (Ok(ahead), Err(_)) => (ahead, "ahead of"),
        (Err(_), Err(_)) => (Duration::ZERO, "ahead of"),
    };
    let said = format!("{} s {word} the service's", apart.as_secs());
    if apart > SIGNATURE_LIFETIME {
        Finding::failed("clock", format!("{said}: every call is refused; set it, and keep it by NTP"))
    } else if apart > CLOCK_TOLERANCE {
        Finding::warning("clock", format!("{said}: keep it by NTP"))
    } else {
        Finding::ok("clock", "as the service's")
    }
}

/// Reads the history of a chat that does not exist: a signed call that changes nothing. What refuses a
/// signature and what refuses an account that is not connected may look the same (403), so then a call
/// without an account of its own tells them apart.
async fn secret(channel: &Channel, scopes: &[ScopeId]) -> Finding {
    let id = channel.id();
    let Some(scope) = scopes.first() else {
        return match signature(channel).await {
            Signature::Taken => {
                let said =
                    format!("the service takes that of channel {id}; no account of it is known: connect one");
                Finding::ok("secret", said)
            }
            Signature::Refused => refused(channel),
            Signature::NoChannel(error) => Finding::failed("secret", no_channel(channel, &error)),
            Signature::Unclear(error) => {
                Finding::warning("secret", format!("{error}; channel {id}: its secret could not be tried"))
            }
        };
    };
    let history = channel.client().with_deadline(PATIENCE).history(scope, &History::of(NO_CHAT)).await;
    let Err(error) = history else {
        return Finding::ok("secret", format!("the service takes that of channel {id}"));
    };
    if !matches!(error.kind(), ErrorKind::Forbidden | ErrorKind::NotFound) {
        return Finding::failed("secret", format!("{error}; channel {id}: try again later"));
    }
    let account = scope.split().map_or_else(|_| scope.to_string(), |(_, account)| account.to_string());
    match signature(channel).await {
        Signature::Taken => Finding::failed(
            "secret",
            format!(
                "{error}; the service takes the secret of channel {id}, but not account {account}: \
                 the account is not connected, or not any more; connect it again"
            ),
        ),
        Signature::Refused => refused(channel),
        Signature::NoChannel(error) => Finding::failed("secret", no_channel(channel, &error)),
        Signature::Unclear(other) => Finding::failed(
            "secret",
            format!(
                "{error}; channel {id}: what tells a wrong secret from account {account} not being connected \
                 had no answer ({other}): try again later, or compare the secret and connect the account again"
            ),
        ),
    }
}

/// What the service thinks of the signature of a channel.
enum Signature {
    Taken,
    Refused,
    NoChannel(Error),
    Unclear(Error),
}

/// Disconnects an account that nobody has, which changes nothing. The path names the channel alone, and
/// of the codes of this call 403 is the signature's, 404 the channel's, 400 that of bad data (chats API,
/// "disconnect").
async fn signature(channel: &Channel) -> Signature {
    match channel.client().with_deadline(PATIENCE).disconnect(&NO_ACCOUNT.into()).await {
        Ok(()) => Signature::Taken,
        Err(error) => match error.kind() {
            ErrorKind::Rejected => Signature::Taken,
            ErrorKind::Forbidden => Signature::Refused,
            ErrorKind::NotFound => Signature::NoChannel(error),
            _ => Signature::Unclear(error),
        },
    }
}

fn refused(channel: &Channel) -> Finding {
    let id = channel.id();
    let said = format!(
        "the service refuses the signature of channel {id} (403), whatever the account: compare the secret \
         with the letter of registration"
    );
    Finding::failed("secret", said)
}

fn no_channel(channel: &Channel, error: &Error) -> String {
    format!(
        "{error}; the service knows no channel {} at {}: compare the id with the letter of registration, and the \
         region",
        channel.id(),
        channel.client().base_url()
    )
}

/// Sends a body without a signature: the listener refuses it with 401, after it has found the channel.
pub(super) async fn webhook(url: &Url, channels: &[ChannelConfig]) -> Finding {
    let Some(channel) = channels.first() else { return Finding::warning("webhook", "there is no channel") };
    let scope = ScopeId::of(&channel.id.as_str().into(), &NO_ACCOUNT.into());
    let url = url.as_str().replace(":scope_id", scope.as_str()).replace("{scope_id}", scope.as_str());
    let client = match http_client(PATIENCE) {
        Ok(client) => client,
        Err(failure) => return Finding::failed("webhook", failure.message),
    };
    let request = client.post(url).header("Content-Type", amochats::CONTENT_TYPE).body("{}");
    let status = match request.send().await {
        Ok(response) => response.status(),
        Err(error) => {
            let said =
                format!("the address cannot be reached: {}; see to DNS, firewall and proxy", root(&error));
            return Finding::failed("webhook", said);
        }
    };
    match status {
        StatusCode::UNAUTHORIZED => Finding::ok("webhook", "what is not signed is refused with 401"),
        StatusCode::NOT_FOUND => Finding::failed(
            "webhook",
            "404: it reaches no channel; see to listener.webhook_path, the proxy's path, and :scope_id as its last part",
        ),
        status if status.is_success() => Finding::failed(
            "webhook",
            format!("{}: another program answers there, which takes what is not signed", status.as_u16()),
        ),
        status => Finding::failed(
            "webhook",
            format!("{}, where the listener answers 401: see to the proxy before it", status.as_u16()),
        ),
    }
}

/// Whether the server is ready.
pub(super) async fn server(admin: Option<Url>, configured: SocketAddr) -> Finding {
    let base = match admin {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None if configured.port() == 0 => {
            return Finding::warning("server", "admin.address has port 0: name the address with --admin");
        }
        None => format!("http://{configured}"),
    };
    let client = match http_client(PATIENCE) {
        Ok(client) => client,
        Err(failure) => return Finding::failed("server", failure.message),
    };
    match client.get(format!("{base}/readyz")).send().await {
        Ok(response) if response.status() == StatusCode::OK => Finding::ok("server", "ready"),
        Ok(response) => {
            let status = response.status().as_u16();
            let said = response.text().await.unwrap_or_default();
            Finding::failed("server", format!("not ready ({status}): {}", words(&said)))
        }
        Err(_) => Finding::warning("server", format!("none answers at {base}: start it with amochats serve")),
    }
}

/// What it comes down to, without the address.
fn root(error: &reqwest::Error) -> String {
    let mut root: &dyn std::error::Error = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}
