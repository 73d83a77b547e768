//! `subscriptions`: who gets the events.

use super::look::{Place, Which, moment, msec, shown};
use super::process::run;
use super::{Exit, Failure, io};
use amochats_proto::v1;
use amochats_proto::v1::create_options::Start;
use clap::{Args, Subcommand};
use prost_types::Timestamp;
use serde_json::{Value, json};

/// List, make or delete the subscriptions of a server or a store file
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  amochats subscriptions ls
  amochats subscriptions create crm --kind message --kind reaction
  amochats subscriptions delete crm --yes")]
pub(super) enum Subscriptions {
    Ls(Ls),
    Create(Create),
    Delete(Delete),
}

impl Subscriptions {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        run(async {
            match self {
                Self::Ls(ls) => ls.list().await,
                Self::Create(create) => create.create().await,
                Self::Delete(delete) => delete.delete().await,
            }
        })
    }
}

/// List subscriptions with what waits in them
#[derive(Args)]
#[command(after_help = "\
Examples:
  amochats subscriptions ls
  amochats subscriptions ls --json --store amochats.db")]
pub(super) struct Ls {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Ls {
    async fn list(self) -> Result<Exit, Failure> {
        let listed = self.place.read().await?.list_subscriptions(v1::ListSubscriptionsRequest {}).await?;
        if !self.json {
            io::print("SUBSCRIPTION          UNSETTLED  HANDED OUT        DEAD  OLDEST (UTC)")?;
        }
        for state in listed.subscriptions {
            io::print(&if self.json { json_of(&state).to_string() } else { line(&state) })?;
        }
        Ok(Exit::Ok)
    }
}

fn line(state: &v1::Subscription) -> String {
    let oldest = shown(state.oldest_unsettled_at.as_ref());
    let v1::Subscription { name, unsettled, outstanding, dead, .. } = state;
    format!("{name:<20} {unsettled:>10}  {outstanding:>10}  {dead:>10}  {oldest}")
}

fn json_of(state: &v1::Subscription) -> Value {
    json!({
        "name": state.name, "created_at_msec": msec(state.created_at.as_ref()),
        "unsettled": state.unsettled, "outstanding": state.outstanding, "dead": state.dead,
        "oldest_unsettled_at_msec": msec(state.oldest_unsettled_at.as_ref()), "kinds": state.kinds,
        "account_ids": state.account_ids, "scope_ids": state.scope_ids,
        "conversation_ids": state.conversation_ids,
    })
}

/// Make a subscription; one of the same name is left as it is
///
/// It starts at the oldest event that is kept, unless said otherwise. Prints it as JSON.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("start"), after_help = "\
Examples:
  amochats subscriptions create crm
  amochats subscriptions create search --now --kind message --account-id ACCOUNT_ID")]
pub(super) struct Create {
    /// Its name: 1 to 64 letters, digits, "-", "_" and "."
    name: String,
    /// Start after the newest event that is kept
    #[arg(long, group = "start")]
    now: bool,
    /// Start at the first event received since then: a time, or so long ago: 90s, 15m, 2h, 7d
    #[arg(long, group = "start", value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Start after this event
    #[arg(long, group = "start", value_name = "EVENT_ID")]
    after: Option<String>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    place: Place,
}

impl Create {
    async fn create(self) -> Result<Exit, Failure> {
        let start = match (self.now, self.since, self.after) {
            (true, ..) => Start::Now(true),
            (_, Some(time), _) => Start::Since(time),
            (_, _, Some(event_id)) => Start::AfterEventId(event_id),
            _ => Start::Oldest(true),
        };
        let Which { kinds, account_ids, scope_ids, conversation_ids } = self.which;
        let options =
            v1::CreateOptions { start: Some(start), kinds, account_ids, scope_ids, conversation_ids };
        let request = v1::CreateSubscriptionRequest { name: self.name, options: Some(options) };
        let mut source = self.place.write().await?;
        let made = source.create_subscription(request).await;
        source.close().await;
        io::print(&json_of(&made?.subscription.unwrap_or_default()).to_string())?;
        Ok(Exit::Ok)
    }
}

/// Delete a subscription with all that waits in it
///
/// Its consumers end. Exit code 1 where there is none of that name.
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats subscriptions delete crm --yes")]
pub(super) struct Delete {
    /// Its name
    name: String,
    /// Say that it is meant: what waits in it is handed out to nobody
    #[arg(long, required = true)]
    yes: bool,
    #[command(flatten)]
    place: Place,
}

impl Delete {
    async fn delete(self) -> Result<Exit, Failure> {
        let mut source = self.place.write().await?;
        let deleted = source.delete_subscription(v1::DeleteSubscriptionRequest { name: self.name }).await;
        source.close().await;
        deleted?;
        io::print("deleted")?;
        Ok(Exit::Ok)
    }
}
