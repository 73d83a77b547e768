//! The commands that change what is kept, or hand it out again.

use super::super::look::{Place, moment};
use super::super::{Exit, Failure, io};
use amochats_proto::v1;
use clap::Args;
use prost_types::Timestamp;
use serde_json::json;

/// Which dead letters.
#[derive(Args)]
pub(super) struct Letters {
    /// The subscription
    #[arg(long, value_name = "NAME")]
    subscription: String,
    /// The events, as `events dead` lists them
    #[arg(value_name = "EVENT_ID", required_unless_present = "all", conflicts_with = "all")]
    event_ids: Vec<String>,
    /// All of the subscription
    #[arg(long)]
    all: bool,
}

/// Hand dead letters out again, at the end of their subscription
///
/// Prints how many. Exit code 1 where an event is no dead letter of the subscription; then none was
/// requeued.
#[derive(Args)]
#[command(after_help = "\
Examples:
  amochats events requeue --subscription crm 4f1c2b3a9d0e-17
  amochats events requeue --subscription crm --all")]
pub(in super::super) struct Requeue {
    #[command(flatten)]
    letters: Letters,
    #[command(flatten)]
    place: Place,
}

impl Requeue {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let Letters { subscription, event_ids, all } = self.letters;
        let request = v1::RequeueDeadLettersRequest { subscription, event_ids, all };
        let mut source = self.place.write().await?;
        let answer = source.requeue_dead_letters(request).await;
        source.close().await;
        io::print(&json!({ "requeued": answer?.requeued }).to_string())?;
        Ok(Exit::Ok)
    }
}

/// Drop dead letters: they are not handed out any more
///
/// The events stay for as long as the store keeps them, and can be replayed. Prints how many.
/// Exit code 1 where an event is no dead letter of the subscription; then none was dropped.
#[derive(Args)]
#[command(after_help = "\
Examples:
  amochats events drop --subscription crm 4f1c2b3a9d0e-17
  amochats events drop --subscription crm --all")]
pub(in super::super) struct DropDead {
    #[command(flatten)]
    letters: Letters,
    #[command(flatten)]
    place: Place,
}

impl DropDead {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let Letters { subscription, event_ids, all } = self.letters;
        let request = v1::DropDeadLettersRequest { subscription, event_ids, all };
        let mut source = self.place.write().await?;
        let answer = source.drop_dead_letters(request).await;
        source.close().await;
        io::print(&json!({ "dropped": answer?.dropped }).to_string())?;
        Ok(Exit::Ok)
    }
}

/// Hand events out again that were kept before, at the end of one subscription
///
/// They are marked as such. Prints how many at most: the subscription's filter and --scope-id leave
/// some out.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("from").required(true), after_help = "\
Examples:
  amochats events replay --subscription crm --since 2026-11-22T10:00:00Z
  amochats events replay --subscription search --oldest")]
pub(in super::super) struct Replay {
    /// The subscription
    #[arg(long, value_name = "NAME")]
    subscription: String,
    /// All that is kept
    #[arg(long, group = "from")]
    oldest: bool,
    /// From the first event that was received since then: a time, or so long ago: 90s, 15m, 2h, 7d
    #[arg(long, group = "from", value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// What came after this event
    #[arg(long, group = "from", value_name = "EVENT_ID")]
    after: Option<String>,
    /// Only of this connection: the channel id and the account id, joined by "_"
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    scope_id: String,
    #[command(flatten)]
    place: Place,
}

impl Replay {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        use v1::replay_events_request::From;
        let from = match (self.since, self.after) {
            (Some(time), _) => From::Since(time),
            (None, Some(event_id)) => From::AfterEventId(event_id),
            (None, None) => From::Oldest(self.oldest),
        };
        let request = v1::ReplayEventsRequest {
            subscription: self.subscription,
            from: Some(from),
            scope_id: self.scope_id,
        };
        let mut source = self.place.write().await?;
        let answer = source.replay_events(request).await;
        source.close().await;
        io::print(&json!({ "events": answer?.events }).to_string())?;
        Ok(Exit::Ok)
    }
}

/// Delete all events of a conversation for good, settled or not
///
/// For a person who asks to be forgotten. The CRM keeps what it has. Prints how many.
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats events purge --scope-id SCOPE_ID --conversation-id c-9 --yes")]
pub(in super::super) struct Purge {
    /// The connection: the channel id and the account id, joined by "_"
    #[arg(long, value_name = "ID")]
    scope_id: String,
    /// The conversation, by the integration's or the CRM's id
    #[arg(long, value_name = "ID")]
    conversation_id: String,
    /// Say that it is meant: there is no way back
    #[arg(long, required = true)]
    yes: bool,
    #[command(flatten)]
    place: Place,
}

impl Purge {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let request =
            v1::PurgeConversationRequest { scope_id: self.scope_id, conversation_id: self.conversation_id };
        let mut source = self.place.write().await?;
        let answer = source.purge_conversation(request).await;
        source.close().await;
        io::print(&json!({ "events": answer?.events }).to_string())?;
        Ok(Exit::Ok)
    }
}
