//! A store in memory: for tests, and the plainest statement of what a store does.

use super::{
    Appended, DeadLetter, DeadSummary, DeliveryState, EventDelivery, EventQuery, EventSummary, Facts, Filter,
    Keep, Leased, Purged, Replay, Settled, Settlement, Start, Store, SubscriptionId, SubscriptionState,
    SummaryQuery, Token, closed, event_not_found, subscription_not_found,
};
use crate::accounts::{Account, AccountStore};
use crate::backfill::{BackfillStore, Gap, Gaps};
use crate::event::{Event, NewEvent, Origin};
use crate::media::{Files, MediaStore};
use crate::outbox::{Rows, store::OutboxStore};
use crate::widget::{Records, WidgetStore};
use amochats::{MessageRefId, Result, ScopeId, WebhookKind};
use async_trait::async_trait;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Keeps events in memory; nothing survives the process.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) outbox: Rows,
    pub(crate) gaps: Gaps,
    pub(crate) widget: Records,
    pub(crate) files: Files,
    closed: bool,
    last_seq: i64,
    events: BTreeMap<i64, Kept>,
    conversations: Vec<Conversation>,
    /// By account and message id: the digests seen, and when.
    seen: HashMap<String, Vec<([u8; 20], i64)>>,
    subscriptions: BTreeMap<String, Subscription>,
    last_subscription: i64,
}

struct Kept {
    event: Event,
    conversation: Option<usize>,
    facts: Facts,
    message_ref_id: Option<MessageRefId>,
}

struct Conversation {
    scope: ScopeId,
    ref_id: Option<String>,
    own_id: Option<String>,
}

struct Subscription {
    id: SubscriptionId,
    created_at: i64,
    filter: Filter,
    last_place: i64,
    open: BTreeMap<i64, Delivery>,
    /// By event: the last time that it was dealt with.
    settled: HashMap<i64, Delivery>,
}

struct Delivery {
    seq: i64,
    phase: Phase,
    attempt: u32,
    epoch: i64,
    again: bool,
    handed_out_at: Option<i64>,
    settled_at: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Leased,
    Delayed,
    Dead,
}

impl MemoryStore {
    pub(crate) fn state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed { Err(closed()) } else { Ok(state) }
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T> {
        let result = change(&mut *self.state()?);
        self.changes.send_replace(());
        Ok(result)
    }
}

impl Kept {
    fn summary(&self) -> EventSummary {
        let Self { event, facts, .. } = self;
        EventSummary {
            event_id: event.event_id.clone(),
            channel_id: event.channel_id.clone(),
            account_id: event.account_id.clone(),
            scope_id: event.scope_id.clone(),
            kind: facts.kind.clone(),
            received_at: event.received_at,
            origin: event.origin,
            conflicting_duplicate: event.conflicting_duplicate,
            conversation_ref_id: facts.conversation_ref_id.as_deref().map(Into::into),
            conversation_id: facts.conversation_id.as_deref().map(Into::into),
            message_ref_id: self.message_ref_id.clone(),
            size: event.raw.len() as u64,
        }
    }
}

impl Subscription {
    fn open(&mut self, seq: i64, kept: &Kept, again: bool) -> bool {
        let fits = self.filter.matches(&kept.facts);
        if fits {
            self.last_place += 1;
            let delivery = Delivery {
                seq,
                phase: Phase::Open,
                attempt: 0,
                epoch: 0,
                again,
                handed_out_at: None,
                settled_at: None,
            };
            self.open.insert(self.last_place, delivery);
        }
        fits
    }
}

impl Subscription {
    /// Takes a delivery out, and remembers it.
    fn deal_with(&mut self, place: i64) {
        if let Some(delivery) = self.open.remove(&place) {
            self.settled.insert(delivery.seq, delivery);
        }
    }
}

impl State {
    fn conversation(&mut self, event: &NewEvent) -> Option<usize> {
        let scope = event.scope_id();
        let ref_id = event.conversation_ref_id.as_ref().map(ToString::to_string);
        let own_id = event.conversation_id.as_ref().map(ToString::to_string);
        if ref_id.is_none() && own_id.is_none() {
            return None;
        }
        let known = self.conversations.iter_mut().enumerate().filter(|(_, known)| known.scope == scope);
        let found = match &ref_id {
            Some(_) => {
                let mut all: Vec<_> = known.collect();
                let by_ref = all.iter().position(|(_, known)| known.ref_id == ref_id);
                let by_own = || {
                    all.iter().position(|(_, known)| {
                        own_id.is_some() && known.ref_id.is_none() && known.own_id == own_id
                    })
                };
                by_ref.or_else(by_own).map(|place| all.swap_remove(place))
            }
            // One that has both ids first: what names both belongs to no other.
            None => known
                .filter(|(_, known)| known.own_id == own_id)
                .max_by_key(|(place, known)| (known.ref_id.is_some(), *place)),
        };
        if let Some((place, known)) = found {
            known.ref_id = known.ref_id.take().or(ref_id);
            known.own_id = known.own_id.take().or(own_id);
            return Some(place);
        }
        self.conversations.push(Conversation { scope, ref_id, own_id });
        Some(self.conversations.len() - 1)
    }

    fn seq(&self, event_id: &str) -> Result<i64> {
        let seq = event_id.strip_prefix("memory-").and_then(|seq| seq.parse().ok());
        seq.filter(|seq| *seq <= self.last_seq).ok_or_else(|| event_not_found(event_id))
    }

    fn first(&self, start: &Start) -> Result<i64> {
        Ok(match start {
            Start::Oldest => 0,
            Start::Now => self.last_seq + 1,
            Start::Since(time) => {
                let first = self.events.iter().find(|(_, kept)| kept.event.received_at >= *time);
                first.map_or(self.last_seq + 1, |(seq, _)| *seq)
            }
            Start::After(event_id) => self.seq(event_id)? + 1,
        })
    }

    fn named(&mut self, name: &str) -> Result<&mut Subscription> {
        self.subscriptions.get_mut(name).ok_or_else(|| subscription_not_found(name))
    }

    fn numbered(&mut self, id: SubscriptionId) -> Option<&mut Subscription> {
        self.subscriptions.values_mut().find(|subscription| subscription.id == id)
    }

    pub(crate) fn append(&mut self, new: NewEvent) -> Appended {
        let mut conflicting = false;
        if let Some((key, digest)) = new.dedup_key() {
            let seen = self.seen.entry(key).or_default();
            if seen.iter().any(|(known, _)| *known == digest) {
                return Appended::Duplicate;
            }
            conflicting = !seen.is_empty();
            seen.push((digest, new.received_at));
        }
        let conversation = self.conversation(&new);
        self.last_seq += 1;
        let seq = self.last_seq;
        let facts = Facts {
            account_id: new.account_id.clone(),
            scope_id: new.scope_id(),
            kind: new.kind.to_owned(),
            conversation_ref_id: new.conversation_ref_id.as_ref().map(ToString::to_string),
            conversation_id: new.conversation_id.as_ref().map(ToString::to_string),
        };
        let message_ref_id = new.message_ref_id.clone();
        let event = Event {
            event_id: format!("memory-{seq}"),
            scope_id: new.scope_id(),
            channel_id: new.channel_id,
            account_id: new.account_id,
            received_at: new.received_at,
            origin: new.origin,
            conflicting_duplicate: conflicting,
            // A copy, as a disk makes one: what was received takes room in the listener's limits.
            raw: new.raw.to_vec().into(),
        };
        let event_id = event.event_id.clone();
        let kept = Kept { event, conversation, facts, message_ref_id };
        for subscription in self.subscriptions.values_mut() {
            subscription.open(seq, &kept, false);
        }
        self.events.insert(seq, kept);
        if conflicting { Appended::Conflicting(event_id) } else { Appended::Kept(event_id) }
    }

    pub(crate) fn settle(&mut self, token: Token, settlement: Settlement, at: i64) -> Settled {
        let mut settle = || -> Option<()> {
            let subscription = self.numbered(token.subscription)?;
            let delivery =
                subscription.open.get_mut(&token.place).filter(|known| known.epoch == token.epoch)?;
            let expected = if settlement == Settlement::Wake { Phase::Delayed } else { Phase::Leased };
            if delivery.phase != expected {
                return None;
            }
            delivery.settled_at = matches!(settlement, Settlement::Ack | Settlement::Dead).then_some(at);
            match settlement {
                Settlement::Ack => subscription.deal_with(token.place),
                Settlement::Dead => delivery.phase = Phase::Dead,
                Settlement::Delay => delivery.phase = Phase::Delayed,
                Settlement::Release | Settlement::Wake => delivery.phase = Phase::Open,
                Settlement::Return => {
                    delivery.phase = Phase::Open;
                    delivery.attempt -= 1;
                }
            }
            Some(())
        };
        if settle().is_some() { Settled::Done } else { Settled::Lost }
    }

    /// The event of a lease that holds.
    pub(crate) fn leased_event(&mut self, token: Token) -> Option<Event> {
        let delivery = self.numbered(token.subscription)?.open.get(&token.place)?;
        let leased = delivery.phase == Phase::Leased && delivery.epoch == token.epoch;
        let seq = delivery.seq;
        leased.then(|| self.events[&seq].event.clone())
    }

    /// The integration's id of a conversation, where both ids are known.
    pub(crate) fn own_conversation_id(&self, scope: &ScopeId, ref_id: &str) -> Option<String> {
        let of = |known: &&Conversation| known.scope == *scope && known.ref_id.as_deref() == Some(ref_id);
        self.conversations.iter().find(of)?.own_id.clone()
    }

    /// The conversations that backfill can read, from their last event on.
    pub(crate) fn known_conversations(&self, v1_hooks: bool) -> Vec<Gap> {
        let left_out = self.v1_messages().filter(|_| !v1_hooks);
        let left_out: Vec<&ScopeId> = left_out.map(|event| &event.scope_id).collect();
        let gap = |(place, known): (usize, &Conversation)| {
            let events = self.events.values().filter(|kept| kept.conversation == Some(place));
            let heard = events.clone().filter(|kept| kept.event.origin != Origin::Outbox);
            let last = heard.map(|kept| kept.event.received_at).max();
            Some(Gap {
                scope_id: known.scope.clone(),
                conversation_ref_id: known.ref_id.as_deref()?.into(),
                conversation_id: known.own_id.as_deref().map(Into::into),
                since: last.or_else(|| events.map(|kept| kept.event.received_at).min())?,
            })
        };
        let known =
            self.conversations.iter().enumerate().filter(|(_, known)| !left_out.contains(&&known.scope));
        known.filter_map(gap).collect()
    }

    /// The messages that webhooks v1 brought.
    pub(crate) fn v1_messages(&self) -> impl Iterator<Item = &Event> {
        let events = self.events.values().map(|kept| &kept.event);
        events.filter(|event| {
            let webhook = event.parse();
            event.origin == Origin::Webhook
                && matches!(webhook.kind, WebhookKind::Message(_))
                && webhook.message_ref_id().is_none()
        })
    }

    /// Whether an event is kept.
    pub(crate) fn has_event(&self, event_id: &str) -> bool {
        self.seq(event_id).is_ok_and(|seq| self.events.contains_key(&seq))
    }

    /// Whether a message was kept, with whatever content.
    pub(crate) fn has_seen(&self, key: &str) -> bool {
        self.seen.contains_key(key)
    }

    /// The messages with amoCRM's id that nobody has still to settle.
    pub(crate) fn settled_messages(&self) -> Vec<(&Event, MessageRefId)> {
        let message = |(seq, kept): (&i64, &'_ Kept)| {
            let open = |known: &Subscription| known.open.values().any(|delivery| delivery.seq == *seq);
            let webhook = kept.event.parse();
            let is_message = matches!(webhook.kind, WebhookKind::Message(_));
            let settled = !self.subscriptions.values().any(open);
            Some((*seq, webhook.message_ref_id().filter(|_| is_message && settled)?.clone()))
        };
        let found = self.events.iter().filter_map(message);
        found.map(|(seq, id)| (&self.events[&seq].event, id)).collect()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn append(&self, new: NewEvent) -> Result<Appended> {
        self.change(|state| state.append(new))
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    async fn create_subscription(
        &self,
        name: &str,
        start: Start,
        filter: Filter,
        created_at: i64,
    ) -> Result<(SubscriptionId, bool)> {
        self.change(|state| {
            if let Some(known) = state.subscriptions.get(name) {
                return Ok((known.id, false));
            }
            let first = state.first(&start)?;
            state.last_subscription += 1;
            let id = SubscriptionId(state.last_subscription);
            let mut subscription = Subscription {
                id,
                created_at,
                filter,
                last_place: 0,
                open: BTreeMap::new(),
                settled: HashMap::new(),
            };
            for (seq, kept) in state.events.range(first..) {
                subscription.open(*seq, kept, false);
            }
            state.subscriptions.insert(name.to_owned(), subscription);
            Ok((id, true))
        })?
    }

    async fn subscription(&self, name: &str) -> Result<SubscriptionId> {
        self.state()?.named(name).map(|known| known.id)
    }

    async fn delete_subscription(&self, name: &str) -> Result<()> {
        self.change(|state| {
            state.subscriptions.remove(name).map(drop).ok_or_else(|| subscription_not_found(name))
        })?
    }

    async fn subscriptions(&self) -> Result<Vec<SubscriptionState>> {
        let state = self.state()?;
        let one = |(name, subscription): (&String, &Subscription)| {
            let open = subscription.open.values().filter(|delivery| delivery.phase != Phase::Dead);
            let unsettled = open.clone().count() as u64;
            let oldest = open.map(|delivery| delivery.seq).min();
            SubscriptionState {
                id: subscription.id,
                name: name.clone(),
                created_at: subscription.created_at,
                filter: subscription.filter.clone(),
                unsettled,
                dead: subscription.open.len() as u64 - unsettled,
                oldest_unsettled_at: oldest.map(|seq| state.events[&seq].event.received_at),
            }
        };
        Ok(state.subscriptions.iter().map(one).collect())
    }

    async fn lease(&self, id: SubscriptionId, max: usize, max_bytes: usize, at: i64) -> Result<Vec<Leased>> {
        let mut state = self.state()?;
        let State { events, subscriptions, .. } = &mut *state;
        let subscription = subscriptions.values_mut().find(|subscription| subscription.id == id);
        let subscription = subscription.ok_or_else(|| subscription_not_found(&format!("number {}", id.0)))?;
        let (mut busy, mut leased, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (place, delivery) in &mut subscription.open {
            if leased.len() == max {
                break;
            }
            if delivery.phase == Phase::Dead {
                continue;
            }
            let Kept { event, conversation, .. } = &events[&delivery.seq];
            let blocked = conversation.is_some() && busy.contains(conversation);
            busy.push(*conversation);
            if delivery.phase != Phase::Open || blocked {
                continue;
            }
            bytes += event.raw.len();
            if bytes > max_bytes && !leased.is_empty() {
                break;
            }
            delivery.phase = Phase::Leased;
            delivery.handed_out_at = Some(at);
            delivery.attempt += 1;
            delivery.epoch += 1;
            leased.push(Leased {
                token: Token { subscription: id, place: *place, epoch: delivery.epoch },
                attempt: delivery.attempt,
                again: delivery.again,
                event: event.clone(),
            });
        }
        Ok(leased)
    }

    async fn settle(&self, settlements: Vec<(Token, Settlement)>, at: i64) -> Result<Vec<Settled>> {
        self.change(|state| {
            settlements.into_iter().map(|(token, settlement)| state.settle(token, settlement, at)).collect()
        })
    }

    async fn replay(&self, name: &str, replay: Replay) -> Result<u64> {
        self.change(|state| {
            let first = state.first(&replay.from)?;
            let State { events, subscriptions, .. } = state;
            let subscription = subscriptions.get_mut(name).ok_or_else(|| subscription_not_found(name))?;
            let wanted = events
                .range(first..)
                .filter(|(_, kept)| replay.scope.as_ref().is_none_or(|scope| *scope == kept.event.scope_id));
            Ok(wanted.filter(|(seq, kept)| subscription.open(**seq, kept, true)).count() as u64)
        })?
    }

    async fn dead_letters(&self, name: &str, after: i64, limit: usize) -> Result<Vec<DeadLetter>> {
        let mut state = self.state()?;
        let State { events, subscriptions, .. } = &mut *state;
        let subscription = subscriptions.get(name).ok_or_else(|| subscription_not_found(name))?;
        let dead = subscription.open.range(after.saturating_add(1)..);
        let dead = dead.filter(|(_, delivery)| delivery.phase == Phase::Dead).take(limit);
        Ok(dead
            .map(|(place, delivery)| DeadLetter {
                place: *place,
                attempts: delivery.attempt,
                event: events[&delivery.seq].event.clone(),
            })
            .collect())
    }

    async fn dead_summaries(&self, name: &str, after: i64, limit: usize) -> Result<Vec<DeadSummary>> {
        let mut state = self.state()?;
        let State { events, subscriptions, .. } = &mut *state;
        let subscription = subscriptions.get(name).ok_or_else(|| subscription_not_found(name))?;
        let dead = subscription.open.range(after.saturating_add(1)..);
        let dead = dead.filter(|(_, delivery)| delivery.phase == Phase::Dead).take(limit);
        Ok(dead
            .map(|(place, delivery)| DeadSummary {
                place: *place,
                attempts: delivery.attempt,
                summary: events[&delivery.seq].summary(),
            })
            .collect())
    }

    fn accounts(&self) -> &dyn AccountStore {
        self
    }

    async fn take_dead_letters(&self, name: &str, places: Option<Vec<i64>>, again: bool) -> Result<u64> {
        self.change(|state| {
            let State { events, subscriptions, .. } = state;
            let subscription = subscriptions.get_mut(name).ok_or_else(|| subscription_not_found(name))?;
            let wanted = |place: &i64| places.as_ref().is_none_or(|places| places.contains(place));
            let dead = subscription.open.iter().filter(|(_, delivery)| delivery.phase == Phase::Dead);
            let dead: Vec<i64> = dead.map(|(place, _)| *place).filter(wanted).collect();
            for place in &dead {
                if !again {
                    subscription.deal_with(*place);
                } else if let Some(delivery) = subscription.open.remove(place) {
                    subscription.open(delivery.seq, &events[&delivery.seq], true);
                }
            }
            Ok(dead.len() as u64)
        })?
    }

    async fn event(&self, event_id: &str) -> Result<Option<Event>> {
        let state = self.state()?;
        Ok(state.seq(event_id).ok().and_then(|seq| state.events.get(&seq)).map(|kept| kept.event.clone()))
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Event>> {
        let state = self.state()?;
        let after = query.after.map_or(Ok(0), |event_id| state.seq(&event_id))?;
        let events = state.events.range(after + 1..).map(|(_, kept)| &kept.event);
        let wanted = events.filter(|event| query.scope.as_ref().is_none_or(|scope| *scope == event.scope_id));
        Ok(wanted.take(query.limit).cloned().collect())
    }

    async fn summaries(&self, query: SummaryQuery) -> Result<Vec<EventSummary>> {
        let state = self.state()?;
        let after = query.after.as_deref().map(|event_id| state.seq(event_id)).transpose()?;
        let wanted = |(seq, kept): &(&i64, &Kept)| {
            let received = kept.event.received_at;
            after.is_none_or(|after| if query.newest_first { **seq < after } else { **seq > after })
                && query.since.is_none_or(|since| received >= since)
                && query.until.is_none_or(|until| received < until)
                && query.message_ref_id.as_ref().is_none_or(|id| kept.message_ref_id.as_ref() == Some(id))
                && query.filter.fits(&kept.facts)
        };
        let found = state.events.iter().filter(wanted).map(|(_, kept)| kept.summary());
        Ok(if query.newest_first {
            found.rev().take(query.limit).collect()
        } else {
            found.take(query.limit).collect()
        })
    }

    async fn summary(&self, event_id: &str) -> Result<Option<EventSummary>> {
        let state = self.state()?;
        Ok(state.seq(event_id).ok().and_then(|seq| state.events.get(&seq)).map(Kept::summary))
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<EventDelivery>> {
        let state = self.state()?;
        let Some((seq, kept)) = state.seq(event_id).ok().and_then(|seq| state.events.get_key_value(&seq))
        else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        for (name, subscription) in &state.subscriptions {
            let of = |state, delivery: Option<&Delivery>| EventDelivery {
                subscription: name.clone(),
                state,
                attempts: delivery.map_or(0, |delivery| delivery.attempt),
                again: delivery.is_some_and(|delivery| delivery.again),
                token: None,
                handed_out_at: delivery.and_then(|delivery| delivery.handed_out_at),
                settled_at: delivery.and_then(|delivery| delivery.settled_at),
                until: None,
            };
            let before = all.len();
            for (place, delivery) in subscription.open.iter().filter(|(_, delivery)| delivery.seq == *seq) {
                let earlier = |other: &Delivery| {
                    other.phase != Phase::Dead
                        && kept.conversation.is_some()
                        && state.events[&other.seq].conversation == kept.conversation
                };
                let phase = match delivery.phase {
                    Phase::Open if subscription.open.range(..place).any(|(_, other)| earlier(other)) => {
                        DeliveryState::Waiting
                    }
                    Phase::Open => DeliveryState::Ready,
                    Phase::Leased => DeliveryState::Leased,
                    Phase::Delayed => DeliveryState::Delayed,
                    Phase::Dead => DeliveryState::Dead,
                };
                let token = Token { subscription: subscription.id, place: *place, epoch: delivery.epoch };
                all.push(EventDelivery { token: Some(token), ..of(phase, Some(delivery)) });
            }
            if all.len() == before {
                let fits = subscription.filter.matches(&kept.facts);
                let state = if fits { DeliveryState::Settled } else { DeliveryState::LeftOut };
                all.push(of(state, subscription.settled.get(seq)));
            }
        }
        Ok(all)
    }

    async fn purge(&self, scope: &ScopeId, conversation: &str) -> Result<Purged> {
        self.change(|state| {
            let known = state.conversations.iter().enumerate().filter(|(_, known)| {
                let named = [&known.ref_id, &known.own_id].into_iter().flatten();
                known.scope == *scope && named.into_iter().any(|id| id == conversation)
            });
            let known: Vec<usize> = known.map(|(place, _)| place).collect();
            let before = state.events.len();
            state.events.retain(|_, kept| !kept.conversation.is_some_and(|one| known.contains(&one)));
            for subscription in state.subscriptions.values_mut() {
                subscription.open.retain(|_, delivery| state.events.contains_key(&delivery.seq));
                subscription.settled.retain(|seq, _| state.events.contains_key(seq));
            }
            let mut ids = vec![conversation];
            for known in known.iter().map(|place| &state.conversations[*place]) {
                ids.extend([&known.ref_id, &known.own_id].into_iter().flatten().map(String::as_str));
            }
            state.files.end_links(scope, &ids);
            let open_items = state.outbox.purge(scope, &ids);
            Purged { events: (before - state.events.len()) as u64, open_items }
        })
    }

    async fn maintain(&self, keep: Keep) -> Result<()> {
        self.change(|state| {
            let State { events, subscriptions, seen, .. } = state;
            let needed = |seq: &i64| {
                subscriptions.values().any(|known| known.open.values().any(|delivery| delivery.seq == *seq))
            };
            events.retain(|seq, kept| kept.event.received_at >= keep.events_since || needed(seq));
            for subscription in subscriptions.values_mut() {
                subscription.settled.retain(|seq, _| events.contains_key(seq));
            }
            for digests in seen.values_mut() {
                digests.retain(|(_, seen_at)| *seen_at >= keep.messages_since);
            }
            seen.retain(|_, digests| !digests.is_empty());
        })
    }

    fn outbox(&self) -> &dyn OutboxStore {
        self
    }

    fn backfill(&self) -> &dyn BackfillStore {
        self
    }

    fn widget(&self) -> &dyn WidgetStore {
        self
    }

    fn media(&self) -> &dyn MediaStore {
        self
    }

    async fn ping(&self) -> Result<()> {
        self.state().map(drop)
    }

    async fn close(&self) {
        if let Ok(mut state) = self.state() {
            state.closed = true;
        }
    }
}
