//! `events`: what a server or a store file keeps, and what became of it.
#![expect(clippy::doc_markdown, reason = "--help shows these lines as they are")]

mod change;

use super::look::{Place, Source, Which, moment, msec, shown};
use super::process::run;
use super::{Exit, Failure, io};
use amochats_proto::v1;
use clap::{Args, Subcommand};
use prost_types::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// How many events are asked for at once.
const PAGE: u32 = 1000;
/// How often it is looked for new events.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Look into the events that a server or a store file keeps, and put them back
#[derive(Subcommand)]
#[command(after_help = "\
Each works with a running server, or with --store on the file of a store. A file can be looked into
while a server works on it; what changes something is refused then.

Examples:
  amochats events ls --since 1h
  amochats events show 4f1c2b3a9d0e-17
  amochats events dead --subscription crm --store /var/lib/amochats/amochats.db
  amochats events requeue --subscription crm --all")]
pub(super) enum Events {
    Ls(Ls),
    Show(Show),
    Tail(Tail),
    Dead(Dead),
    Requeue(change::Requeue),
    Drop(change::DropDead),
    Replay(change::Replay),
    Purge(change::Purge),
}

impl Events {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        run(async {
            match self {
                Self::Ls(ls) => ls.list().await,
                Self::Show(show) => show.show().await,
                Self::Tail(tail) => {
                    let followed = io::reader_gone().run_until_cancelled_owned(tail.follow()).await;
                    followed.unwrap_or(Ok(Exit::Ok))
                }
                Self::Dead(dead) => dead.list().await,
                Self::Requeue(requeue) => requeue.run().await,
                Self::Drop(drop) => drop.run().await,
                Self::Replay(replay) => replay.run().await,
                Self::Purge(purge) => purge.run().await,
            }
        })
    }
}

/// List events, the newest first: ids, kinds and times, not what is in them
#[derive(Args)]
#[command(after_help = "\
Examples:
  amochats events ls --limit 20
  amochats events ls --kind message --since 2h --json
  amochats events ls --conversation-id c-9 --oldest-first --store amochats.db
  amochats events ls --message-ref-id 5b3c1a90-4f0e-4a3b-9d0e-3f1c2b7a8d10")]
pub(super) struct Ls {
    #[command(flatten)]
    which: Which,
    /// Only of this message, by amoCRM's id: itself, reactions to it, calls about it
    #[arg(long, value_name = "ID")]
    message_ref_id: Option<String>,
    /// Only what was received since then: 2026-11-22T10:00:00Z, or so long ago: 90s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only what was received before then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// The oldest first
    #[arg(long)]
    oldest_first: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Ls {
    async fn list(self) -> Result<Exit, Failure> {
        let mut source = self.place.read().await?;
        let mut request = listed(&self.which);
        request.newest_first = !self.oldest_first;
        request.message_ref_id = self.message_ref_id;
        (request.since, request.until) = (self.since, self.until);
        let mut left = self.limit;
        let (mut goes_on, mut head) = (true, !self.json);
        while goes_on && left > 0 {
            request.page_size = left.min(PAGE);
            let page = source.list_events(request.clone()).await?;
            if std::mem::take(&mut head) {
                goes_on = io::print_on(HEAD)?;
            }
            for event in &page.events {
                left -= 1;
                goes_on = goes_on && io::print_on(&line(event, self.json))?;
            }
            goes_on &= !page.next_page_token.is_empty();
            request.page_token = page.next_page_token;
        }
        Ok(Exit::Ok)
    }
}

fn listed(which: &Which) -> v1::ListEventsRequest {
    let Which { kinds, account_ids, scope_ids, conversation_ids } = which.clone();
    v1::ListEventsRequest { kinds, account_ids, scope_ids, conversation_ids, ..Default::default() }
}

const HEAD: &str = "EVENT                  RECEIVED (UTC)       KIND      ORIGIN    CONVERSATION / MESSAGE";

/// An event on a line.
fn line(event: &v1::EventSummary, json: bool) -> String {
    if json {
        return json_of(event).to_string();
    }
    let conversation = event.conversation_id.as_ref().or(event.conversation_ref_id.as_ref());
    let named = [conversation, event.message_ref_id.as_ref()];
    let named: Vec<&str> = named.into_iter().flatten().map(String::as_str).collect();
    format!(
        "{:<22} {:<20} {:<9} {:<9} {}",
        event.event_id,
        shown(event.received_at.as_ref()),
        event.kind,
        origin(event),
        named.join(" / ")
    )
}

fn origin(event: &v1::EventSummary) -> String {
    event.origin().as_str_name().trim_start_matches("ORIGIN_").to_ascii_lowercase()
}

fn json_of(event: &v1::EventSummary) -> Value {
    let mut json = json!({
        "event_id": event.event_id, "kind": event.kind, "received_at_msec": msec(event.received_at.as_ref()),
        "origin": origin(event), "channel_id": event.channel_id, "account_id": event.account_id,
        "scope_id": event.scope_id, "conversation_id": event.conversation_id,
        "conversation_ref_id": event.conversation_ref_id, "message_ref_id": event.message_ref_id,
        "size": event.size,
        "conflicting_duplicate": event.conflicting_duplicate.then_some(true),
    });
    if let Some(map) = json.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    json
}

/// Show an event with all that is in it, and what became of it, as JSON
///
/// In `subscriptions` stands where it is in each: waiting, ready, leased, delayed, dead, settled, or
/// left_out by the filter. Exit code 1 where there is no such event.
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats events show 4f1c2b3a9d0e-17")]
pub(super) struct Show {
    /// The event's id
    event_id: String,
    /// Print it on one line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Show {
    async fn show(self) -> Result<Exit, Failure> {
        let request = v1::GetEventRequest { event_id: self.event_id };
        let found = self.place.read().await?.get_event(request).await?;
        let mut json = super::listen::event_of(found.event.unwrap_or_default()).to_json();
        json["subscriptions"] = found.deliveries.iter().map(delivery).collect();
        let text = if self.json { json.to_string() } else { format!("{json:#}") };
        io::print(&text)?;
        Ok(Exit::Ok)
    }
}

fn delivery(delivery: &v1::EventDelivery) -> Value {
    let state = delivery.phase().as_str_name().trim_start_matches("DELIVERY_PHASE_").to_ascii_lowercase();
    let mut json = json!({
        "subscription": delivery.subscription, "state": state, "attempts": delivery.attempts,
        "again": delivery.again,
    });
    let times = [
        ("handed_out_at_msec", &delivery.handed_out_at),
        ("settled_at_msec", &delivery.settled_at),
        ("until_msec", &delivery.until),
    ];
    for (name, time) in times {
        if let Some(time) = msec(time.as_ref()) {
            json[name] = time.into();
        }
    }
    json
}

/// Print the last events, and new ones as they come: ids, kinds and times
///
/// It only looks: nothing is handed out to it, and no subscription is made.
#[derive(Args)]
#[command(after_help = "\
Examples:
  amochats events tail
  amochats events tail --lines 0 --kind reaction --json")]
pub(super) struct Tail {
    #[command(flatten)]
    which: Which,
    /// Begin with so many of the last ones
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=1000))]
    lines: u32,
    /// End after so many in all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Tail {
    async fn follow(self) -> Result<Exit, Failure> {
        let mut source = self.place.read().await?;
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut last = newest(&mut source).await?;
        if self.lines > 0 {
            let first =
                v1::ListEventsRequest { newest_first: true, page_size: self.lines, ..listed(&self.which) };
            let events = source.list_events(first).await?.events;
            if let Some(event) = events.first() {
                last.clone_from(&event.event_id);
            }
            for event in events.iter().rev() {
                if left == 0 || !io::print_on(&line(event, self.json))? {
                    return Ok(Exit::Ok);
                }
                left -= 1;
            }
        }
        while left > 0 {
            // Known before the question is asked: what comes after it is not overlooked.
            let until = newest(&mut source).await?;
            let next =
                v1::ListEventsRequest { page_size: PAGE, page_token: last.clone(), ..listed(&self.which) };
            let page = source.list_events(next).await?;
            for event in &page.events {
                if left == 0 || !io::print_on(&line(event, self.json))? {
                    return Ok(Exit::Ok);
                }
                left -= 1;
            }
            match page.events.last() {
                Some(event) => last.clone_from(&event.event_id),
                None => last = until,
            }
            if page.next_page_token.is_empty() && left > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(Exit::Ok)
    }
}

/// The newest event of all; empty where there is none.
async fn newest(source: &mut Source) -> Result<String, Failure> {
    let request = v1::ListEventsRequest { newest_first: true, page_size: 1, ..Default::default() };
    let newest = source.list_events(request).await?.events.pop();
    Ok(newest.map(|event| event.event_id).unwrap_or_default())
}

/// List what a subscription has given up
#[derive(Args)]
#[command(after_help = "\
Examples:
  amochats events dead --subscription crm
  amochats events dead --subscription crm --json | jq -r .event_id")]
pub(super) struct Dead {
    /// The subscription
    #[arg(long, value_name = "NAME")]
    subscription: String,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Dead {
    async fn list(self) -> Result<Exit, Failure> {
        let mut source = self.place.read().await?;
        let mut request =
            v1::ListDeadLettersRequest { subscription: self.subscription, ..Default::default() };
        let mut left = self.limit;
        let (mut goes_on, mut head) = (true, !self.json);
        while goes_on && left > 0 {
            request.page_size = left.min(PAGE);
            let page = source.list_dead_letters(request.clone()).await?;
            if std::mem::take(&mut head) {
                goes_on = io::print_on(&format!("{HEAD} / ATTEMPTS"))?;
            }
            for dead in page.dead_letters {
                left -= 1;
                let event = dead.event.unwrap_or_default();
                let text = if self.json {
                    let mut json = json_of(&event);
                    json["attempts"] = dead.attempts.into();
                    json.to_string()
                } else {
                    format!("{} / {}", line(&event, false), dead.attempts)
                };
                goes_on = goes_on && io::print_on(&text)?;
            }
            goes_on &= !page.next_page_token.is_empty();
            request.page_token = page.next_page_token;
        }
        Ok(Exit::Ok)
    }
}
