//! A store in memory: for tests, and the plainest statement of what a store does.

use super::{
    Appended, Leased, Settled, Settlement, Start, Store, SubscriptionId, SubscriptionState, Token, closed,
    subscription_not_found,
};
use crate::backfill::{BackfillStore, Gap, Gaps};
use crate::event::{Event, NewEvent, Origin};
use crate::outbox::{Rows, store::OutboxStore};
use amochats::{MessageRefId, Result, ScopeId, WebhookKind};
use async_trait::async_trait;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps events in memory; nothing survives the process.
#[derive(Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) outbox: Rows,
    pub(crate) gaps: Gaps,
    closed: bool,
    events: Vec<(Event, Option<usize>)>,
    conversations: Vec<Conversation>,
    /// By account and message id: the digests seen.
    seen: HashMap<String, Vec<[u8; 20]>>,
    subscriptions: BTreeMap<String, Subscription>,
    last_subscription: i64,
}

struct Conversation {
    scope: ScopeId,
    ref_id: Option<String>,
    own_id: Option<String>,
}

struct Subscription {
    id: SubscriptionId,
    created_at: i64,
    open: BTreeMap<i64, Delivery>,
}

#[derive(Default)]
struct Delivery {
    phase: Phase,
    attempt: u32,
    epoch: i64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    Leased,
    Delayed,
    Dead,
}

impl MemoryStore {
    pub(crate) fn state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed { Err(closed()) } else { Ok(state) }
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
        let mut known = self.conversations.iter_mut().enumerate().filter(|(_, known)| known.scope == scope);
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
            None => known.rfind(|(_, known)| known.own_id == own_id),
        };
        if let Some((place, known)) = found {
            known.ref_id = known.ref_id.take().or(ref_id);
            known.own_id = known.own_id.take().or(own_id);
            return Some(place);
        }
        self.conversations.push(Conversation { scope, ref_id, own_id });
        Some(self.conversations.len() - 1)
    }

    fn event(&self, seq: i64) -> &(Event, Option<usize>) {
        &self.events[usize::try_from(seq - 1).expect("sequence numbers start at 1")]
    }

    fn subscription_mut(&mut self, id: SubscriptionId) -> Option<&mut Subscription> {
        self.subscriptions.values_mut().find(|subscription| subscription.id == id)
    }

    pub(crate) fn append(&mut self, new: NewEvent) -> Appended {
        let conversation = self.conversation(&new);
        let mut conflicting = false;
        if let Some((key, digest)) = new.dedup_key() {
            let seen = self.seen.entry(key).or_default();
            if seen.contains(&digest) {
                return Appended::Duplicate;
            }
            conflicting = !seen.is_empty();
            seen.push(digest);
        }
        let seq = i64::try_from(self.events.len() + 1).expect("fewer than 2^63 events");
        let event = Event {
            event_id: format!("memory-{seq}"),
            scope_id: new.scope_id(),
            channel_id: new.channel_id,
            account_id: new.account_id,
            received_at: new.received_at,
            origin: new.origin,
            conflicting_duplicate: conflicting,
            raw: new.raw,
        };
        let event_id = event.event_id.clone();
        let result = event.origin == Origin::Outbox;
        self.events.push((event, conversation));
        for subscription in self.subscriptions.values_mut().filter(|_| !result) {
            subscription.open.insert(seq, Delivery::default());
        }
        if conflicting { Appended::Conflicting(event_id) } else { Appended::Kept(event_id) }
    }

    pub(crate) fn settle(&mut self, token: Token, settlement: Settlement) -> Settled {
        let Some(subscription) = self.subscription_mut(token.subscription) else { return Settled::Lost };
        let Some(delivery) = subscription.open.get_mut(&token.seq) else { return Settled::Lost };
        let expected = if settlement == Settlement::Wake { Phase::Delayed } else { Phase::Leased };
        if delivery.epoch != token.epoch || delivery.phase != expected {
            return Settled::Lost;
        }
        match settlement {
            Settlement::Ack => drop(subscription.open.remove(&token.seq)),
            Settlement::Dead => delivery.phase = Phase::Dead,
            Settlement::Delay => delivery.phase = Phase::Delayed,
            Settlement::Release | Settlement::Wake => delivery.phase = Phase::Open,
        }
        Settled::Done
    }

    /// The conversations that backfill can read, from their last event on.
    pub(crate) fn known_conversations(&self) -> Vec<Gap> {
        let gap = |(place, known): (usize, &Conversation)| {
            let of_it = |(event, conversation): &(Event, Option<usize>)| {
                (*conversation == Some(place)).then(|| event.clone())
            };
            let events: Vec<Event> = self.events.iter().filter_map(of_it).collect();
            let is_v1 = |event: &Event| {
                let webhook = event.parse();
                matches!(webhook.kind, WebhookKind::Message(_)) && webhook.message_ref_id().is_none()
            };
            if events.iter().any(is_v1) {
                return None;
            }
            let heard = events.iter().filter(|event| event.origin != Origin::Outbox);
            let last = heard.map(|event| event.received_at).max();
            Some(Gap {
                scope_id: known.scope.clone(),
                conversation_ref_id: known.ref_id.as_deref()?.into(),
                conversation_id: known.own_id.as_deref().map(Into::into),
                since: last.or_else(|| events.iter().map(|event| event.received_at).min())?,
            })
        };
        self.conversations.iter().enumerate().filter_map(gap).collect()
    }

    /// Whether a message was kept, with whatever content.
    pub(crate) fn has_seen(&self, key: &str) -> bool {
        self.seen.contains_key(key)
    }

    /// The messages with amoCRM's id that nobody has still to settle.
    pub(crate) fn settled_messages(&self) -> impl Iterator<Item = (&Event, MessageRefId)> {
        let message = |(place, (event, _)): (usize, &'_ (Event, Option<usize>))| {
            let seq = i64::try_from(place + 1).ok()?;
            let open = self.subscriptions.values().any(|subscription| subscription.open.contains_key(&seq));
            let webhook = event.parse();
            let is_message = matches!(webhook.kind, WebhookKind::Message(_));
            let id = webhook.message_ref_id().filter(|_| is_message && !open)?.clone();
            Some((place, id))
        };
        let found: Vec<_> = self.events.iter().enumerate().filter_map(message).collect();
        found.into_iter().map(|(place, id)| (&self.events[place].0, id))
    }

    /// The event of a lease that holds.
    pub(crate) fn leased_event(&mut self, token: Token) -> Option<Event> {
        let delivery = self.subscription_mut(token.subscription)?.open.get(&token.seq)?;
        let leased = delivery.phase == Phase::Leased && delivery.epoch == token.epoch;
        leased.then(|| self.event(token.seq).0.clone())
    }

    /// The integration's id of a conversation, where both ids are known.
    pub(crate) fn own_conversation_id(&self, scope: &ScopeId, ref_id: &str) -> Option<String> {
        let of = |known: &&Conversation| known.scope == *scope && known.ref_id.as_deref() == Some(ref_id);
        self.conversations.iter().find(of)?.own_id.clone()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn append(&self, event: NewEvent) -> Result<Appended> {
        Ok(self.state()?.append(event))
    }

    async fn create_subscription(
        &self,
        name: &str,
        start: Start,
        created_at: i64,
    ) -> Result<(SubscriptionId, bool)> {
        let mut state = self.state()?;
        if let Some(known) = state.subscriptions.get(name) {
            return Ok((known.id, false));
        }
        state.last_subscription += 1;
        let id = SubscriptionId(state.last_subscription);
        let first = match start {
            Start::Oldest => 0,
            Start::Now => state.events.len(),
            Start::Since(time) => state
                .events
                .iter()
                .position(|(event, _)| event.received_at >= time)
                .unwrap_or(state.events.len()),
        };
        let open = (first + 1..=state.events.len())
            .filter(|seq| state.events[seq - 1].0.origin != Origin::Outbox)
            .map(|seq| (i64::try_from(seq).expect("fewer than 2^63 events"), Delivery::default()))
            .collect();
        state.subscriptions.insert(name.to_owned(), Subscription { id, created_at, open });
        Ok((id, true))
    }

    async fn subscription(&self, name: &str) -> Result<SubscriptionId> {
        self.state()?
            .subscriptions
            .get(name)
            .map(|known| known.id)
            .ok_or_else(|| subscription_not_found(name))
    }

    async fn delete_subscription(&self, name: &str) -> Result<()> {
        self.state()?.subscriptions.remove(name).map(drop).ok_or_else(|| subscription_not_found(name))
    }

    async fn subscriptions(&self) -> Result<Vec<SubscriptionState>> {
        let state = self.state()?;
        let one = |(name, subscription): (&String, &Subscription)| {
            let mut open = subscription.open.iter().filter(|(_, delivery)| delivery.phase != Phase::Dead);
            let unsettled = open.clone().count() as u64;
            SubscriptionState {
                id: subscription.id,
                name: name.clone(),
                created_at: subscription.created_at,
                unsettled,
                dead: subscription.open.len() as u64 - unsettled,
                oldest_unsettled_at: open.next().map(|(seq, _)| state.event(*seq).0.received_at),
            }
        };
        Ok(state.subscriptions.iter().map(one).collect())
    }

    async fn lease(&self, id: SubscriptionId, max: usize) -> Result<Vec<Leased>> {
        let mut state = self.state()?;
        let subscription =
            state.subscription_mut(id).ok_or_else(|| subscription_not_found(&format!("number {}", id.0)))?;
        let open: Vec<(i64, Phase)> = subscription.open.iter().map(|(seq, d)| (*seq, d.phase)).collect();
        let mut busy = Vec::new();
        let mut ready = Vec::new();
        for (seq, phase) in open {
            if ready.len() == max {
                break;
            }
            if phase == Phase::Dead {
                continue;
            }
            let conversation = state.event(seq).1;
            let blocked = conversation.is_some() && busy.contains(&conversation);
            busy.push(conversation);
            if phase == Phase::Open && !blocked {
                ready.push(seq);
            }
        }
        let mut lease = |seq: i64| {
            let event = state.event(seq).0.clone();
            let delivery = state.subscription_mut(id)?.open.get_mut(&seq)?;
            delivery.phase = Phase::Leased;
            delivery.attempt += 1;
            delivery.epoch += 1;
            let token = Token { subscription: id, seq, epoch: delivery.epoch };
            Some(Leased { token, attempt: delivery.attempt, event })
        };
        Ok(ready.into_iter().filter_map(&mut lease).collect())
    }

    async fn settle(&self, settlements: Vec<(Token, Settlement)>) -> Result<Vec<Settled>> {
        let mut state = self.state()?;
        Ok(settlements.into_iter().map(|(token, settlement)| state.settle(token, settlement)).collect())
    }

    fn outbox(&self) -> &dyn OutboxStore {
        self
    }

    fn backfill(&self) -> &dyn BackfillStore {
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
