//! Fetches what no webhook brought.
//!
//! The vendor sends a webhook once. What came while this process was down, or could not be kept, is
//! read from the history of the conversations that are known, from their last event on, and offered
//! like any other event, with the origin `backfill`. A conversation that is to be read is a *gap*:
//! gaps are kept in the store, so that a backfill goes on after a restart.
//!
//! What the history does not tell cannot be fetched: the first messages of chats that we never saw,
//! reactions and typing. Where an account gets webhooks v1, which name no message, nothing is fetched
//! unless the configuration wants it: what is there can then only be told from what is missing by its
//! time and content, so what is fetched is marked as a possible duplicate.

mod memory;
mod sqlite;

pub(crate) use memory::Gaps;

use crate::channels::Channels;
use crate::clock::Clock;
use crate::event::{Event, NewEvent, Origin, POSSIBLE_DUPLICATE};
use crate::metrics::Metrics;
use crate::outbox::written_at;
use crate::store::Store;
use crate::trace::span;
use amochats::{
    ConversationId, ConversationRefId, History, HistoryMessage, Participant, Result, Retry, ScopeId,
    WebhookKind,
};
use async_trait::async_trait;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// So many messages of a page come again on the next one: what is deleted meanwhile moves the others.
const OVERLAP: usize = 5;
/// The history's time may differ from the one of the webhook.
const TOLERANCE_MSEC: i64 = 60_000;
/// So far apart a webhook v1 and the history may date the same message.
const SAME_MSEC: i64 = 1000;
/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// So many gaps are remembered until the store takes them; beyond, all conversations are read.
const UNKEPT: usize = 10_000;
/// Webhooks that are refused unread within this time are one outage.
const SPAN: Duration = Duration::from_mins(1);

/// A conversation whose history is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The connection.
    pub scope_id: ScopeId,
    /// The conversation, by amoCRM's id.
    pub conversation_ref_id: ConversationRefId,
    /// The conversation, by the integration's id.
    pub conversation_id: Option<ConversationId>,
    /// Nothing before this is missing, in Unix milliseconds.
    pub since: i64,
}

/// What backfill asks of a store.
#[async_trait]
pub trait BackfillStore: Send + Sync {
    /// Marks every conversation that is known by amoCRM's id, from its last event on, or from `by` on
    /// where that was later, in Unix milliseconds; those of accounts with webhooks v1 only if asked to.
    async fn mark_all(&self, v1_hooks: bool, by: i64) -> Result<()>;

    /// Marks a conversation; of two marks the earlier time counts.
    async fn mark(&self, gap: Gap) -> Result<()>;

    /// The first gap after this one, in an order of the store's.
    async fn next(&self, after: Option<Gap>) -> Result<Option<Gap>>;

    /// The gap is read, unless it was marked from an earlier time on meanwhile.
    async fn done(&self, gap: Gap) -> Result<()>;

    /// How many gaps there are.
    async fn pending(&self) -> Result<u64>;

    /// Keeps an event whose message was never seen, whatever its content; says whether it did.
    async fn append_missing(&self, event: NewEvent) -> Result<bool>;

    /// The messages of a conversation, by the integration's id, that webhooks v1 brought since then, in
    /// Unix milliseconds. `None` where the scope gets no such webhooks.
    async fn heard_by_v1(
        &self,
        scope: &ScopeId,
        conversation: Option<&ConversationId>,
        since: i64,
    ) -> Result<Option<Vec<Event>>>;

    /// Up to `max` message events, after the one of this id, that everybody has settled and whose
    /// delivery status was never enqueued.
    async fn unreported(&self, after: Option<String>, max: usize) -> Result<Vec<Event>>;
}

/// How backfill works. [`Config::EXAMPLE`](crate::Config::EXAMPLE) says what each is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Reads all known conversations at the start, and after this process has stood still.
    pub on_start: bool,
    /// Pages a second.
    pub rate: f64,
    /// The most pages that are read of one conversation.
    pub max_pages: u32,
    /// Also where an account gets webhooks v1.
    pub v1_hooks: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { on_start: true, rate: 2.0, max_pages: 20, v1_hooks: false }
    }
}

/// How far a backfill is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether it is at work.
    pub running: bool,
    /// Conversations that are still to be read.
    pub pending: u64,
    /// Conversations that were read since the start of the process.
    pub read: u64,
    /// Conversations that the service did not let us read.
    pub failed: u64,
    /// Events that were kept because no webhook had brought them.
    pub appended: u64,
}

/// Conversations that lost a webhook, until the store takes note.
#[derive(Default)]
pub(crate) struct Lost {
    gaps: Mutex<Vec<Gap>>,
    /// Since when any conversation may have lost one, in Unix milliseconds.
    outage: Mutex<Option<i64>>,
    /// Since when webhooks were refused unread, and when that becomes an outage.
    refused: Mutex<Option<(i64, Duration)>>,
    changed: Notify,
}

impl Lost {
    /// A webhook of this conversation was not kept.
    pub(crate) fn mark(&self, gap: Gap) {
        let mut gaps = self.gaps();
        // With the last one it is known that there were more.
        if gaps.len() < UNKEPT && !gaps.iter().rev().take(16).any(|known| same_chat(known, &gap)) {
            gaps.push(gap);
        }
        drop(gaps);
        self.changed.notify_one();
    }

    /// Nobody was there for webhooks from then on.
    fn outage(&self, since: i64) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        *outage = Some(outage.map_or(since, |known| known.min(since)));
        drop(outage);
        self.changed.notify_one();
    }

    /// A webhook was refused before it was read, so it is not known of which conversation. Whatever else
    /// is refused by the end of this span is of the same outage, since to mark one has all histories read.
    ///
    /// Only for what was refused for our own want of room: who sends half a body and waits need not be
    /// the vendor.
    pub(crate) fn refuse_unread(&self, clock: &dyn Clock) {
        let mut refused = self.refused();
        if refused.is_none() {
            *refused = Some((clock.now_msec(), clock.monotonic().saturating_add(SPAN)));
            drop(refused);
            self.changed.notify_one();
        }
    }

    /// When what was refused becomes an outage, if anything was.
    fn span_ends(&self) -> Option<Duration> {
        self.refused().map(|(_, end)| end)
    }

    fn take_outage(&self, now: Duration) -> Option<i64> {
        let refused = self.refused().take_if(|(_, end)| *end <= now).map(|(since, _)| since);
        let stood_still = self.outage.lock().unwrap_or_else(PoisonError::into_inner).take();
        refused.into_iter().chain(stood_still).min()
    }

    fn refused(&self) -> MutexGuard<'_, Option<(i64, Duration)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gaps(&self) -> MutexGuard<'_, Vec<Gap>> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn same_chat(one: &Gap, other: &Gap) -> bool {
    one.scope_id == other.scope_id && one.conversation_ref_id == other.conversation_ref_id
}

/// Fetches what no webhook brought.
#[derive(Clone)]
pub struct Backfill(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    channels: Arc<Channels>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    metrics: Arc<Metrics>,
    progress: Mutex<Progress>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Backfill {
    /// Begins to read what is marked; every known conversation is, unless told otherwise. To be
    /// called before webhooks come: they would look like the last ones.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn start(
        store: Arc<dyn Store>,
        channels: Arc<Channels>,
        clock: Arc<dyn Clock>,
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        if settings.on_start {
            store.backfill().mark_all(settings.v1_hooks, i64::MAX).await?;
        }
        let backfill = Self(Arc::new(Inner {
            store,
            channels,
            clock,
            settings,
            metrics,
            progress: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }));
        let working = backfill.clone();
        backfill.0.tasks.spawn(async move { working.work().await });
        if backfill.0.settings.on_start {
            let watching = backfill.clone();
            backfill.0.tasks.spawn(async move { watching.watch().await });
        }
        Ok(backfill)
    }

    /// Reads every known conversation; gives the progress at its beginning.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn run(&self) -> Result<Progress> {
        self.0.store.backfill().mark_all(self.0.settings.v1_hooks, i64::MAX).await?;
        self.progress_mut().running = true;
        self.0.channels.lost().changed.notify_one();
        self.progress().await
    }

    /// How far it is.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn progress(&self) -> Result<Progress> {
        let pending = self.0.store.backfill().pending().await?;
        let mut progress = *self.progress_mut();
        progress.pending = pending;
        progress.running |= pending > 0;
        Ok(progress)
    }

    /// Up to `max` message events, after the one of this id, that were settled without a delivery
    /// status. Reports that were made past the outbox are not known here.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn unreported(&self, after: Option<String>, max: usize) -> Result<Vec<Event>> {
        self.0.store.backfill().unreported(after, max).await
    }

    /// Ends the work without waiting for it, once it is cancelled.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    /// Ends after the call that is under way.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn progress_mut(&self) -> MutexGuard<'_, Progress> {
        self.0.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notices when nobody was there for webhooks, though this process has not ended.
    async fn watch(&self) {
        while let Some(still) = self.0.stop.run_until_cancelled(self.0.clock.stood_still()).await {
            tracing::warn!(
                seconds = still.as_secs(),
                "this process stood still; what came meanwhile is looked for in the histories"
            );
            let since = self.0.clock.now_msec() - i64::try_from(still.as_millis()).unwrap_or_default();
            self.0.channels.lost().outage(since);
        }
    }

    async fn work(&self) {
        let mut pause = PAUSES.0;
        let mut last = None;
        while !self.0.stop.is_cancelled() {
            match self.step(&mut last).await {
                Ok(true) => pause = PAUSES.0,
                Ok(false) => {
                    self.progress_mut().running = false;
                    if self.0.stop.run_until_cancelled(self.something_lost()).await.is_none() {
                        return;
                    }
                    self.progress_mut().running = true;
                }
                Err(error) => {
                    tracing::warn!(
                        kind = error.kind().name(),
                        "the history cannot be read now; it is tried again"
                    );
                    let at = self.0.clock.monotonic() + pause.max(error.retry_after().unwrap_or_default());
                    pause = (pause * 2).min(PAUSES.1);
                    if self.0.stop.run_until_cancelled(self.0.clock.sleep_until(at)).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// Ends once there may be something to do.
    async fn something_lost(&self) {
        let lost = self.0.channels.lost();
        match lost.span_ends() {
            Some(end) => tokio::select! {
                () = lost.changed.notified() => {}
                () = self.0.clock.sleep_until(end) => {}
            },
            None => lost.changed.notified().await,
        }
    }

    /// Does one piece of the work; `false` where there is none.
    async fn step(&self, last: &mut Option<Gap>) -> Result<bool> {
        let store = self.0.store.backfill();
        // Taken out only once they are kept.
        let lost = self.0.channels.lost();
        let waiting = lost.gaps().clone();
        if waiting.len() >= UNKEPT {
            store.mark_all(self.0.settings.v1_hooks, i64::MAX).await?;
        }
        if let Some(since) = lost.take_outage(self.0.clock.monotonic()) {
            store.mark_all(self.0.settings.v1_hooks, since).await.inspect_err(|_| lost.outage(since))?;
        }
        for gap in &waiting {
            store.mark(gap.clone()).await?;
        }
        lost.gaps().drain(..waiting.len());
        let mut next = store.next(last.take()).await?;
        if next.is_none() {
            // Once round: what was marked behind us is in front of us now.
            next = store.next(None).await?;
        }
        let Some(gap) = next else { return Ok(false) };
        let span =
            span!("backfill", scope_id = %gap.scope_id, conversation_ref_id = %gap.conversation_ref_id);
        let read = self.0.stop.run_until_cancelled(self.read(&gap).instrument(span)).await;
        match read {
            None => return Ok(true),
            Some(Ok(())) => self.progress_mut().read += 1,
            // One that cannot be read must not hold up the others.
            Some(Err(error)) if error.retry() == Retry::No => {
                tracing::warn!(
                    scope_id = %gap.scope_id, conversation_ref_id = %gap.conversation_ref_id,
                    kind = error.kind().name(), "the history of a conversation cannot be read"
                );
                self.progress_mut().failed += 1;
            }
            Some(Err(error)) => {
                // It may pass for the others before it does for this one: theirs are next, then it again.
                *last = Some(gap);
                return Err(error);
            }
        }
        store.done(gap.clone()).await?;
        *last = Some(gap);
        Ok(true)
    }

    /// Reads the history of a conversation back to the gap's beginning, and keeps what is missing,
    /// the oldest first.
    async fn read(&self, gap: &Gap) -> Result<()> {
        let (channel, account_id) = self.0.channels.of_scope(gap.scope_id.as_str())?;
        let (client, channel_id) = (channel.client().clone(), channel.id().clone());
        let since = gap.since - TOLERANCE_MSEC;
        let mut history = History::of(gap.conversation_ref_id.clone());
        let mut seen = HashSet::new();
        let mut missing = Vec::new();
        for _ in 0..self.0.settings.max_pages {
            let interval = Duration::from_secs_f64(1.0 / self.0.settings.rate);
            let page = client.history(&gap.scope_id, &history).await?;
            self.0.clock.sleep_until(self.0.clock.monotonic() + interval).await;
            let oldest = page.messages.iter().filter_map(written_at).min();
            let count = page.messages.len();
            let before = seen.len();
            for message in page.messages {
                let Some(id) = message.message_ref_id.clone() else { continue };
                if seen.insert(id) && is_of_the_crm(&message) && written_at(&message) >= Some(since) {
                    missing.push(message);
                }
            }
            if seen.len() == before || oldest.is_none_or(|oldest| oldest < since) {
                break;
            }
            history.offset += count.saturating_sub(OVERLAP).max(1) as u64;
        }
        missing.sort_by_key(written_at);
        let v1 = self.0.store.backfill();
        let v1 = v1.heard_by_v1(&gap.scope_id, gap.conversation_id.as_ref(), since - SAME_MSEC).await?;
        let unsure = v1.is_some();
        let mut heard = v1.unwrap_or_default();
        for message in missing {
            if let Some(place) = heard.iter().position(|event| tells_of(event, &message)) {
                // One webhook tells of one message.
                heard.swap_remove(place);
                continue;
            }
            let mut body = webhook(gap, account_id.as_str(), &message);
            if unsure {
                body[POSSIBLE_DUPLICATE] = true.into();
            }
            let body = body.to_string();
            let event = NewEvent {
                channel_id: channel_id.clone(),
                account_id: account_id.clone(),
                kind: "message",
                conversation_ref_id: Some(gap.conversation_ref_id.clone()),
                conversation_id: gap.conversation_id.clone(),
                message_ref_id: message.message_ref_id,
                digest: Some(Sha1::digest(&body).into()),
                received_at: self.0.clock.now_msec(),
                origin: Origin::Backfill,
                signature: None,
                raw: body.into(),
            };
            let appended = self.0.store.backfill().append_missing(event).await?;
            self.0.metrics.event("message", if appended { "backfilled" } else { "duplicate" });
            if appended {
                self.progress_mut().appended += 1;
            }
        }
        Ok(())
    }
}

/// Whether a webhook v1 told of this message: of the same time, form and content.
fn tells_of(event: &Event, message: &HistoryMessage) -> bool {
    let WebhookKind::Message(heard) = event.parse().kind else { return false };
    let written = heard.msec_timestamp.or_else(|| heard.timestamp?.checked_mul(1000));
    let apart = written_at(message).map(|at| at.abs_diff(written.unwrap_or(event.received_at)));
    apart.is_some_and(|apart| apart <= SAME_MSEC.unsigned_abs())
        && heard.message_type == message.message_type
        && heard.text == message.text
        && heard.media == message.media
}

/// Whether a webhook would have told of it: written in the CRM, not by us.
fn is_of_the_crm(message: &HistoryMessage) -> bool {
    let outside = message.sender.as_ref().is_some_and(|sender| sender.user_id.is_some());
    message.message_id.is_none() && message.receiver.is_some() && !outside
}

/// A message of the history as a webhook v2 would have told it.
fn webhook(gap: &Gap, account_id: &str, message: &HistoryMessage) -> Value {
    let person = |person: &Option<Participant>| {
        let person = person.clone().unwrap_or_default();
        let mut json = json!({
            "id": person.user_ref_id, "client_id": person.user_id, "name": person.name,
            "phone": person.phone, "email": person.email,
        });
        drop_nulls(&mut json);
        json
    };
    let mut said = json!({
        "id": message.message_ref_id, "type": message.message_type, "text": message.text,
        "media": message.media, "thumbnail": message.thumbnail, "file_name": message.file_name,
        "file_size": message.file_size, "media_group_id": message.media_group_id,
        "location": message.location, "contact": message.contact,
    });
    drop_nulls(&mut said);
    let mut conversation = json!({ "id": gap.conversation_ref_id, "client_id": gap.conversation_id });
    drop_nulls(&mut conversation);
    let msec = written_at(message).unwrap_or_default();
    json!({
        "account_id": account_id,
        "time": msec.div_euclid(1000),
        "message": {
            "receiver": person(&message.receiver),
            "sender": person(&message.sender),
            "conversation": conversation,
            "timestamp": msec.div_euclid(1000),
            "msec_timestamp": msec,
            "message": said,
        },
    })
}

fn drop_nulls(json: &mut Value) {
    if let Some(map) = json.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
}
