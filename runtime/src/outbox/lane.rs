//! The work on the items of one scope.

use super::circuit::Pass;
use super::item::{Call, Ids, Item, ItemState, Problem};
use super::pace::Pace;
use super::store::{Change, Ending};
use super::{Outbox, Settings};
use crate::trace::span;
use amochats::{
    ApiRequest, Client, ConversationRefId, CreateChat, CreatedChat, Error, ErrorKind, History,
    HistoryMessage, MessageReceipt, NewMessage, Result, Retry, ScopeId,
};
use rand::Rng;
use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::Instrument;
use tracing::field::Empty;

/// How many conversations of a scope are worked on at a time.
const PARALLEL: usize = 32;
/// So many more may wait for another attempt meanwhile, and hold up no other.
const RESTING: usize = 1000;
/// How many pages of the history are read in search of a message.
const PAGES: u32 = 20;
/// The delay between the first two looks; it doubles up to the second one.
const LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// How much the history's time may differ from the one that was sent; the vendor's own example is
/// a second off.
const TOLERANCE_MSEC: i64 = 5000;
/// How long to wait until a store that failed is asked again.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// A scope: its items, one conversation beside the other, and its pace.
pub(super) struct Lane {
    scope: ScopeId,
    pace: Mutex<Pace>,
    changed: Notify,
    /// How many conversations wait for another attempt.
    resting: AtomicUsize,
}

impl Lane {
    pub(super) fn new(scope: ScopeId, settings: &Settings, now: Duration) -> Self {
        let pace = Mutex::new(Pace::new(settings.rate, settings.burst, now));
        Self { scope, pace, changed: Notify::new(), resting: AtomicUsize::new(0) }
    }

    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A conversation that waits for another attempt, for as long as this lives.
struct Rest<'a>(&'a Lane);

impl<'a> Rest<'a> {
    fn of(lane: &'a Lane) -> Self {
        lane.resting.fetch_add(1, Ordering::Relaxed);
        // Another one may take its place.
        lane.wake();
        Self(lane)
    }
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.0.resting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The outbox stops: what was begun is left as it is kept.
struct Stopped;

impl Outbox {
    /// Works on a scope's items until the stop.
    pub(super) async fn work(&self, lane: std::sync::Arc<Lane>) {
        let mut active = HashSet::new();
        let mut running = JoinSet::new();
        while !self.0.stop.is_cancelled() {
            // Those at work are heads, too: so this is as many as may be at work beside them.
            let most = PARALLEL + lane.resting.load(Ordering::Relaxed).min(RESTING);
            let heads = self.0.store.outbox().heads(&lane.scope, most).await;
            let failed = heads.is_err();
            for seq in heads.unwrap_or_default() {
                if active.insert(seq) {
                    let (outbox, lane) = (self.clone(), lane.clone());
                    running.spawn(async move {
                        // Stopped or done: there is nothing more to do here.
                        let _ = Box::pin(outbox.drive(&lane, seq)).await;
                        seq
                    });
                }
            }
            tokio::select! {
                () = self.0.stop.cancelled() => {}
                () = lane.changed.notified() => {}
                () = self.0.clock.sleep_until(self.0.clock.monotonic() + STORE_AGAIN), if failed => {}
                Some(done) = running.join_next() => match done {
                    Ok(seq) => drop(active.remove(&seq)),
                    // A bug; with it the lane forgets who was at work, and begins anew.
                    Err(error) => {
                        tracing::error!(%error, "work on an item of the outbox broke off");
                        running.detach_all();
                        active.clear();
                    }
                },
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Brings the head at this place to its end.
    async fn drive(&self, lane: &Lane, seq: i64) -> Result<(), Stopped> {
        let mut failures = 0;
        loop {
            let Some(item) = self.kept(|| self.0.store.outbox().at(seq)).await? else { return Ok(()) };
            match item.state {
                ItemState::Queued => {}
                ItemState::Resolving => return Box::pin(self.resolve(lane, item)).await,
                // Cancelled or expired meanwhile.
                _ => return Ok(()),
            }
            failures = item.attempts.max(failures);
            let Some(client) = self.client(lane, &item).await? else { return Ok(()) };
            let circuit = self.circuit(client.base_url());
            let pass = self.or_stop(circuit.admit()).await?;
            self.turn(lane).await?;
            // Its time may have passed with the waiting, before who watches the deadlines has looked.
            let now = self.0.clock.now_msec();
            if item.expires_at <= now {
                self.kept(|| self.expire(now)).await?;
                continue;
            }
            let Some(item) = self.begin(&item).await? else { return Ok(()) };
            let called = self.call(&client, pass, &item).await;
            let error = match called {
                Ok(ids) => return self.end(&item, ItemState::Sent, ids, None).await,
                Err(error) => error,
            };
            let problem = Problem::of(&error);
            let uncertain = error.may_have_been_applied();
            let repeatable = item.call != super::item::SEND_MESSAGE;
            if uncertain && !repeatable {
                let change = Change::Resolve { repeated: false, problem };
                self.change(&item, change).await?;
                continue;
            }
            if !uncertain && error.retry() == Retry::No {
                // Refused now, but an attempt before may have been taken.
                let state = if item.uncertain { ItemState::Unknown } else { ItemState::Rejected };
                return self.end(&item, state, Ids::default(), Some(problem)).await;
            }
            self.change(&item, Change::Requeue { uncertain, problem }).await?;
            failures += 1;
            self.back_off(lane, failures - 1, &error).await?;
        }
    }

    /// Finds out whether a message arrived that may have.
    async fn resolve(&self, lane: &Lane, item: Item) -> Result<(), Stopped> {
        let settings = &self.0.settings;
        let began = self.0.clock.monotonic();
        let (repeat_at, ends) = (began + settings.look_for, began + settings.resolve_for);
        let Some(client) = self.client(lane, &item).await? else { return Ok(()) };
        let Ok(Call::SendMessage(message)) = item.call() else {
            return self.end(&item, ItemState::Unknown, Ids::default(), item.problem.clone()).await;
        };
        let circuit = self.circuit(client.base_url());
        let mut problem = item.problem.clone();
        let mut may_repeat = !item.repeated;
        let mut chat = message.conversation_ref_id.clone();
        let mut delay = LOOKS.0;
        loop {
            let look = Box::pin(self.look(lane, &client, &message, &mut chat));
            let absent = match self.before(ends, look).await? {
                Some(Ok(Some(ids))) => return self.end(&item, ItemState::Sent, ids, None).await,
                Some(Ok(None)) => true,
                // Nothing is known: that is no reason to send again.
                Some(Err(_)) | None => false,
            };
            let now = self.0.clock.monotonic();
            if now >= ends {
                return self.end(&item, ItemState::Unknown, Ids::default(), problem).await;
            }
            if absent && may_repeat && now >= repeat_at {
                let admitted = async {
                    let pass = circuit.admit().await;
                    self.turn(lane).await.map(|()| pass)
                };
                let Some(pass) = self.before(ends, admitted).await? else { continue };
                let pass = pass?;
                let Some(item) = self.begin(&item).await? else { return Ok(()) };
                let error = match self.call(&client, pass, &item).await {
                    Ok(ids) => return self.end(&item, ItemState::Sent, ids, None).await,
                    Err(error) => error,
                };
                // What surely did not get through may be repeated again.
                may_repeat = !error.may_have_been_applied() && error.retry() != Retry::No;
                let said = Problem::of(&error);
                problem = Some(said.clone());
                self.change(&item, Change::Resolve { repeated: !may_repeat, problem: said }).await?;
                // A refusal may mean that the first one is there: look again at once.
                delay = LOOKS.0;
                if !may_repeat {
                    continue;
                }
            }
            let at = (now + delay).min(ends);
            let _rest = Rest::of(lane);
            self.or_stop(self.0.clock.sleep_until(at)).await?;
            delay = (delay * 2).min(LOOKS.1);
        }
    }

    /// Looks for a message in the history of its chat.
    async fn look(
        &self,
        lane: &Lane,
        client: &Client,
        message: &NewMessage,
        chat: &mut Option<ConversationRefId>,
    ) -> Result<Option<Ids>> {
        let conversation_ref_id = if let Some(known) = chat {
            known.clone()
        } else {
            // The chat is there already, or the message, when it comes, would make it.
            let mut user = message.receiver.as_ref().unwrap_or(&message.sender).clone();
            user.user_ref_id = None;
            let mut create = CreateChat::new(message.conversation_id.clone(), user);
            create.source_external_id.clone_from(&message.source_external_id);
            let created: CreatedChat =
                self.ask(lane, client, client.create_chat(&lane.scope, &create)).await?;
            chat.insert(created.conversation_ref_id).clone()
        };
        let mut history = History::of(conversation_ref_id.clone());
        for _ in 0..PAGES {
            let page = self.ask(lane, client, client.history(&lane.scope, &history)).await?;
            let is_it = |found: &&HistoryMessage| found.message_id.as_ref() == Some(&message.message_id);
            if let Some(found) = page.messages.iter().find(is_it) {
                return Ok(Some(Ids {
                    conversation_ref_id: Some(conversation_ref_id),
                    message_ref_id: found.message_ref_id.clone(),
                    ..Ids::default()
                }));
            }
            let oldest = page.messages.iter().filter_map(written_at).min();
            let beyond = oldest.is_none_or(|oldest| oldest < message.sent_at_msec - TOLERANCE_MSEC);
            if page.messages.is_empty() || beyond {
                break;
            }
            history.offset += page.messages.len() as u64;
        }
        Ok(None)
    }

    /// A question, with its turn.
    async fn ask<T>(&self, lane: &Lane, client: &Client, call: impl Future<Output = Result<T>>) -> Result<T> {
        let circuit = self.circuit(client.base_url());
        let pass = circuit.admit().await;
        let stopped = |Stopped| Error::new(ErrorKind::Closed, "the outbox stops");
        self.turn(lane).await.map_err(stopped)?;
        let answer = call.await;
        pass.tell(answer.as_ref().map_or_else(is_alive, |_| true));
        if let Err(error) = &answer {
            self.slow_down(lane, error);
        }
        answer
    }

    /// Sends an item.
    async fn call(&self, client: &Client, pass: Pass<'_>, item: &Item) -> Result<Ids> {
        let call = item.call()?;
        let request = call.request(&item.scope_id)?;
        let span = span!(
            "outbox",
            otel.kind = "client",
            item_id = item.item_id,
            scope_id = %item.scope_id,
            call = item.call,
            attempt = item.attempts,
            outcome = Empty,
        );
        let attempt = attempt(client, &call, &request).instrument(span.clone());
        let result = attempt.await;
        span.record("outcome", result.as_ref().map_or_else(|error| error.kind().name(), |_| "ok"));
        pass.tell(result.as_ref().map_or_else(is_alive, |_| true));
        self.0.metrics.outbox_attempt(&item.call, result.as_ref().err());
        result
    }

    /// The client of an item's channel. An item whose channel is configured no longer is rejected.
    async fn client(&self, lane: &Lane, item: &Item) -> Result<Option<Client>, Stopped> {
        match self.0.channels.of_scope(lane.scope.as_str()) {
            Ok((channel, _)) => Ok(Some(channel.client().clone())),
            Err(error) => {
                let state = if item.uncertain { ItemState::Unknown } else { ItemState::Rejected };
                self.end(item, state, Ids::default(), Some(Problem::of(&error))).await?;
                Ok(None)
            }
        }
    }

    async fn end(
        &self,
        item: &Item,
        state: ItemState,
        ids: Ids,
        problem: Option<Problem>,
    ) -> Result<(), Stopped> {
        let ending = Ending { state, at: self.0.clock.now_msec(), ids, problem };
        self.change(item, Change::End(ending.clone())).await?;
        let mut ended = item.clone();
        ended.end(ending);
        self.ended(&ended);
        Ok(())
    }

    /// Notes that an attempt begins; `None` where the item waits no more.
    ///
    /// A store that said no may have noted it all the same. Nothing went out then, and nobody else would
    /// ever take up an item that is on its way: so it is put back to where it was.
    async fn begin(&self, item: &Item) -> Result<Option<Item>, Stopped> {
        let store = self.0.store.outbox();
        let mut doubt = None;
        loop {
            match (store.begin(item.seq).await, doubt.take()) {
                (Ok(Some(begun)), _) => return Ok(Some(begun)),
                (Ok(None), None) => return Ok(None),
                (Ok(None), Some(problem)) => {
                    let now = self.kept(|| store.at(item.seq)).await?;
                    if now.is_none_or(|now| now.state != ItemState::Sending) {
                        return Ok(None);
                    }
                    let back = match item.state {
                        ItemState::Resolving => Change::Resolve { repeated: item.repeated, problem },
                        _ => Change::Requeue { uncertain: false, problem },
                    };
                    self.change(item, back).await?;
                }
                (Err(error), _) if error.kind() == ErrorKind::Closed => return Err(Stopped),
                (Err(error), _) => {
                    doubt = Some(Problem::of(&error));
                    let again = self.0.clock.monotonic() + STORE_AGAIN;
                    self.or_stop(self.0.clock.sleep_until(again)).await?;
                }
            }
        }
    }

    async fn change(&self, item: &Item, change: Change) -> Result<(), Stopped> {
        self.kept(|| self.0.store.outbox().change(item.seq, change.clone())).await
    }

    /// Asks the store until it works again: what happened must be kept before anything else does.
    async fn kept<T, F: Future<Output = Result<T>>>(&self, ask: impl Fn() -> F) -> Result<T, Stopped> {
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.kind() == ErrorKind::Closed => return Err(Stopped),
                Err(_) => {
                    let again = self.0.clock.monotonic() + STORE_AGAIN;
                    self.or_stop(self.0.clock.sleep_until(again)).await?;
                }
            }
        }
    }

    /// Waits for the scope's turn.
    async fn turn(&self, lane: &Lane) -> Result<(), Stopped> {
        loop {
            let taken = lane.pace().take(self.0.clock.monotonic());
            match taken {
                Ok(()) => return Ok(()),
                Err(next) => self.or_stop(self.0.clock.sleep_until(next)).await?,
            }
        }
    }

    /// Waits before the next attempt: anything up to the planned delay, so that what failed together
    /// does not come back together, but at least what the service asked for.
    async fn back_off(&self, lane: &Lane, failures: u32, error: &Error) -> Result<(), Stopped> {
        self.slow_down(lane, error);
        let Settings { min_delay, max_delay, .. } = self.0.settings;
        let planned = min_delay.saturating_mul(2u32.saturating_pow(failures)).min(max_delay);
        let spread = planned.mul_f64(rand::rng().random_range(0.0..=1.0));
        let delay = spread.max(error.retry_after().unwrap_or_default());
        let at = self.0.clock.monotonic().saturating_add(delay);
        let _rest = Rest::of(lane);
        self.or_stop(self.0.clock.sleep_until(at)).await
    }

    /// Who is asked to slow down does so with the whole scope.
    fn slow_down(&self, lane: &Lane, error: &Error) {
        if error.kind() == ErrorKind::RateLimited {
            let pause = error.retry_after().unwrap_or(self.0.settings.min_delay);
            lane.pace().pause(self.0.clock.monotonic().saturating_add(pause));
        }
    }

    async fn or_stop<T>(&self, future: impl Future<Output = T>) -> Result<T, Stopped> {
        self.0.stop.run_until_cancelled(future).await.ok_or(Stopped)
    }

    /// What a future gives, unless the time is over before.
    async fn before<T>(&self, at: Duration, future: impl Future<Output = T>) -> Result<Option<T>, Stopped> {
        let race = async {
            tokio::select! {
                biased;
                result = future => Some(result),
                () = self.0.clock.sleep_until(at) => None,
            }
        };
        self.or_stop(race).await
    }
}

/// One attempt.
async fn attempt(client: &Client, call: &Call, request: &ApiRequest) -> Result<Ids> {
    match call {
        Call::SendMessage(_) => {
            client.call_for(request, MessageReceipt::from_json).await.map(|receipt| Ids {
                conversation_ref_id: receipt.conversation_ref_id,
                message_ref_id: receipt.message_ref_id,
                ..Ids::default()
            })
        }
        Call::CreateChat(_) => client
            .call_for(request, CreatedChat::from_json)
            .await
            .map(|created| Ids { conversation_ref_id: Some(created.conversation_ref_id), ..Ids::default() }),
        Call::EditMessage(_) => client.call(request).await.map(|answer| {
            let receipt = MessageReceipt::from_edit_json(&answer);
            Ids { message_ref_id: receipt.message_ref_id, ..Ids::default() }
        }),
        Call::SetDeliveryStatus { .. } | Call::React(_) => client.call(request).await.map(|_| Ids::default()),
    }
}

/// Whether the service is there, whatever it says.
fn is_alive(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Transport | ErrorKind::Unavailable)
}

/// When a message of the history was written, in Unix milliseconds.
pub(crate) fn written_at(message: &HistoryMessage) -> Option<i64> {
    message.msec_timestamp.or_else(|| message.timestamp?.checked_mul(1000))
}
