//! `amochats webhook`: a look at one webhook, without a server.

mod trigger;

use super::crm;
use super::secret::Secrets;
use super::{Exit, Failure, io};
use amochats::{
    ChannelSecret, ScopeId, SignatureVerdict, VerifiedBody, WebhookEvent, diagnose_signature, parse_webhook,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

/// Verify, parse and send webhooks
#[derive(Subcommand)]
#[command(after_help = "\
Example:
  amochats webhook parse < hook.json")]
pub(super) enum Webhook {
    Verify(Verify),
    Parse(Parse),
    Trigger(trigger::Trigger),
    Subscribe(crm::Subscribe),
    Subscriptions(crm::Subscriptions),
    Unsubscribe(crm::Unsubscribe),
}

/// Check the signature of a webhook, and say what is wrong with it
///
/// The raw body is read from standard input; the line feed that ends it on the wire may be there
/// or not. Exits with 0 if the signature is genuine and with 1 if it is not.
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats webhook verify --secret-file channel.secret \\
    --signature ba52b4e954bd35b82c7f76c10f454fb839a4ddf8 < hook.json

Several secrets may be given, by repeating --secret or --secret-file: each of them counts.")]
pub(super) struct Verify {
    /// The value of the X-Signature header; empty if there was no such header
    #[arg(long, value_name = "HEX")]
    signature: String,
    /// A secret that was current once, to recognise a sender who still uses it
    #[arg(long, value_name = "SECRET")]
    expired_secret: Vec<String>,
    /// Print one JSON object: valid, verdict (a stable word) and reason (a sentence)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secrets: Secrets,
}

/// Print what a webhook says, as one line of JSON with stable field names
///
/// The raw body is read from standard input; its signature is not checked. The field "kind" is
/// message (of webhooks v1 and v2), typing, reaction or unknown. A body that is not JSON ends with
/// exit code 1 and its first wrong place.
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats webhook parse --scope-id CHANNEL_ID_ACCOUNT_ID < hook.json

The scope is the last part of the address that the webhook was sent to. With it, scope_id,
channel_id and, if the webhook names no account, account_id are added.")]
pub(super) struct Parse {
    /// The scope that the webhook was sent to: the channel id and the account id, joined by "_"
    #[arg(long)]
    scope_id: Option<String>,
}

impl Webhook {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Verify(verify) => verify.run(),
            Self::Parse(parse) => parse.run(),
            Self::Trigger(trigger) => trigger.run(),
            Self::Subscribe(subscribe) => subscribe.run(),
            Self::Subscriptions(subscriptions) => subscriptions.run(),
            Self::Unsubscribe(unsubscribe) => unsubscribe.run(),
        }
    }
}

impl Verify {
    fn run(self) -> Result<Exit, Failure> {
        let secrets = self.secrets.all()?;
        let expired =
            self.expired_secret.into_iter().map(ChannelSecret::new).collect::<Result<Vec<_>, _>>()?;
        let body = io::read_body()?;
        let signature = Some(self.signature.as_str()).filter(|signature| !signature.is_empty());
        let verdict = diagnose_signature(&secrets, &expired, &body, signature);
        let reason = match advice(verdict) {
            Some(advice) => format!("{verdict}: {advice}"),
            None => verdict.to_string(),
        };
        if self.json {
            let answer = json!({"valid": verdict.is_valid(), "verdict": verdict.name(), "reason": reason});
            io::print(&answer.to_string())?;
            return Ok(if verdict.is_valid() { Exit::Ok } else { Exit::No });
        }
        if !verdict.is_valid() {
            return Err(Failure::no(reason));
        }
        io::print(&reason)?;
        Ok(Exit::Ok)
    }
}

/// What to do about it, where the verdict does not say so itself.
fn advice(verdict: SignatureVerdict) -> Option<&'static str> {
    Some(match verdict {
        SignatureVerdict::Missing => "give the value of the header with --signature",
        SignatureVerdict::NotHex => "give the whole value of the header and nothing else",
        SignatureVerdict::ExpiredSecret => {
            "keep the old secret beside the new one until nobody signs with it"
        }
        SignatureVerdict::WithNewline => "pass the body with the line feed that it was received with",
        SignatureVerdict::Mismatch => {
            "check that the secret is the channel's and that the body is raw, as it was received"
        }
        _ => return None,
    })
}

/// An event, with what only the address of the webhook tells.
#[derive(Serialize)]
struct Addressed {
    #[serde(flatten)]
    event: WebhookEvent,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_id: Option<amochats::ChannelId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope_id: Option<ScopeId>,
}

impl Parse {
    fn run(self) -> Result<Exit, Failure> {
        let scope_id = self.scope_id.map(ScopeId::from);
        let address = scope_id.as_ref().map(ScopeId::split).transpose()?;
        let body = io::read_body()?;
        let mut event = parse_webhook(VerifiedBody::trust(&body))?;
        let (channel_id, account_id) = address.unzip();
        // The signature covers the body but not the address, so the body is believed first.
        event.account_id = event.account_id.or(account_id);
        let line = serde_json::to_string(&Addressed { event, channel_id, scope_id });
        io::print(&line.expect("an event is made of JSON values"))?;
        Ok(Exit::Ok)
    }
}
