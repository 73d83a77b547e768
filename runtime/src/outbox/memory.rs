//! The outbox of the store in memory: the plainest statement of what [`OutboxStore`] does.

use super::item::{Call, Draft, Ids, Item, ItemState, NewItem};
use super::store::{Acknowledged, Change, Depth, Enqueued, ItemFilter, OutboxStore, Report};
use crate::store::memory::{MemoryStore, State};
use crate::store::{Settled, Settlement, Token};
use amochats::{MessageRefId, Result, ScopeId, WebhookKind};
use async_trait::async_trait;
use std::collections::{BTreeMap, HashSet};

/// The items by their places.
#[derive(Default)]
pub(crate) struct Rows(BTreeMap<i64, Row>);

struct Row {
    item: Item,
    order: String,
    digest: [u8; 20],
}

impl Rows {
    /// The messages, by amoCRM's id, whose delivery status was enqueued.
    pub(crate) fn reported(&self) -> HashSet<MessageRefId> {
        let reports = self.0.values().filter(|row| row.item.call == super::item::SET_DELIVERY_STATUS);
        reports.filter_map(|row| row.item.ids.message_ref_id.clone()).collect()
    }
}

impl Rows {
    /// Deletes the items of a conversation, by any of its ids, but for those that may be on the wire;
    /// says how many had not ended.
    pub(crate) fn purge(&mut self, scope: &ScopeId, ids: &[&str]) -> u64 {
        let mut open = 0;
        self.0.retain(|_, row| {
            let Ids { conversation_id, conversation_ref_id, .. } = &row.item.ids;
            let named = [
                conversation_id.as_ref().map(AsRef::as_ref),
                conversation_ref_id.as_ref().map(AsRef::as_ref),
            ];
            let is_of =
                row.item.scope_id == *scope && named.into_iter().flatten().any(|id: &str| ids.contains(&id));
            let goes = is_of && !matches!(row.item.state, ItemState::Sending | ItemState::Resolving);
            open += u64::from(goes && row.item.state == ItemState::Queued);
            !goes
        });
        open
    }
}

impl State {
    fn rows(&mut self) -> &mut BTreeMap<i64, Row> {
        &mut self.outbox.0
    }

    fn enqueue(&mut self, draft: Draft) -> Enqueued {
        let mut known = self.rows().values().filter(|row| row.item.scope_id == draft.scope_id);
        if let Some(row) = known.find(|row| draft.key.is_some() && row.item.key == draft.key) {
            let same = row.digest == draft.digest;
            return if same { Enqueued::Known(row.item.clone()) } else { Enqueued::Conflicting };
        }
        let theirs = draft.ids.conversation_ref_id.as_ref().map(AsRef::as_ref);
        let own = theirs.and_then(|theirs| self.own_conversation_id(&draft.scope_id, theirs));
        let order = draft.order(own.as_deref());
        let digest = draft.digest;
        let seq = self.rows().last_key_value().map_or(1, |(last, _)| last + 1);
        let item = draft.into_item(seq);
        self.rows().insert(seq, Row { item: item.clone(), order, digest });
        Enqueued::New(item)
    }

    fn is_head(&mut self, seq: i64) -> bool {
        let rows = self.rows();
        rows.get(&seq).is_some_and(|row| {
            let same = |other: &Row| other.item.scope_id == row.item.scope_id && other.order == row.order;
            !row.item.state.is_final()
                && !rows.range(..seq).any(|(_, other)| same(other) && !other.item.state.is_final())
        })
    }

    fn end(&mut self, seq: i64, ending: super::store::Ending) -> Result<Option<Item>> {
        let at = ending.at;
        let Some(row) = self.rows().get_mut(&seq) else { return Ok(None) };
        row.item.end(ending);
        let item = row.item.clone();
        self.append(item.to_event(at)?);
        Ok(Some(item))
    }
}

#[async_trait]
impl OutboxStore for MemoryStore {
    async fn enqueue(&self, draft: Draft) -> Result<Enqueued> {
        Ok(self.state()?.enqueue(draft))
    }

    async fn acknowledge(&self, token: Token, report: Report) -> Result<Acknowledged> {
        self.change(|state| {
            let Some(event) = state.leased_event(token) else { return Ok(Acknowledged::Lost) };
            let WebhookKind::Message(message) = event.parse().kind else {
                return Ok(Acknowledged::NotReportable);
            };
            let Some(message_ref_id) = message.message_ref_id else { return Ok(Acknowledged::NotReportable) };
            let call = Call::SetDeliveryStatus {
                message_ref_id,
                status: report.status.clone(),
                conversation_ref_id: message.conversation_ref_id,
            };
            let draft = report.draft(&NewItem::new(event.scope_id, call))?;
            if state.settle(token, Settlement::Ack, report.created_at) == Settled::Lost {
                return Ok(Acknowledged::Lost);
            }
            match state.enqueue(draft) {
                Enqueued::New(item) => Ok(Acknowledged::Done(Box::new(item))),
                Enqueued::Known(_) | Enqueued::Conflicting => unreachable!("a report has no key"),
            }
        })?
    }

    async fn recover(&self) -> Result<()> {
        for row in self.state()?.rows().values_mut() {
            if row.item.state == ItemState::Sending {
                let repeatable = row.item.call != super::item::SEND_MESSAGE;
                row.item.state = if repeatable { ItemState::Queued } else { ItemState::Resolving };
                row.item.uncertain = true;
            }
        }
        Ok(())
    }

    async fn scopes(&self) -> Result<Vec<ScopeId>> {
        let mut state = self.state()?;
        let open = state.rows().values().filter(|row| !row.item.state.is_final());
        let scopes: HashSet<ScopeId> = open.map(|row| row.item.scope_id.clone()).collect();
        Ok(scopes.into_iter().collect())
    }

    async fn heads(&self, scope: &ScopeId, max: usize) -> Result<Vec<i64>> {
        let mut state = self.state()?;
        let of_scope = |(seq, row): (&i64, &Row)| (row.item.scope_id == *scope).then_some(*seq);
        let all: Vec<i64> = state.rows().iter().filter_map(of_scope).collect();
        Ok(all.into_iter().filter(|seq| state.is_head(*seq)).take(max).collect())
    }

    async fn at(&self, seq: i64) -> Result<Option<Item>> {
        Ok(self.state()?.rows().get(&seq).map(|row| row.item.clone()))
    }

    async fn begin(&self, seq: i64) -> Result<Option<Item>> {
        let mut state = self.state()?;
        if !state.is_head(seq) {
            return Ok(None);
        }
        let Some(row) = state.rows().get_mut(&seq) else { return Ok(None) };
        if row.item.state == ItemState::Sending {
            return Ok(None);
        }
        row.item.repeated |= row.item.state == ItemState::Resolving;
        row.item.state = ItemState::Sending;
        row.item.attempts += 1;
        Ok(Some(row.item.clone()))
    }

    async fn change(&self, seq: i64, change: Change) -> Result<()> {
        self.change(|state| {
            let Some(row) = state.rows().get_mut(&seq) else { return Ok(()) };
            match change {
                Change::End(ending) => drop(state.end(seq, ending)?),
                Change::Requeue { uncertain, problem } => {
                    row.item.state = ItemState::Queued;
                    row.item.uncertain |= uncertain;
                    row.item.problem = Some(problem);
                }
                Change::Resolve { repeated, problem } => {
                    row.item.state = ItemState::Resolving;
                    row.item.uncertain = true;
                    row.item.repeated = repeated;
                    row.item.problem = Some(problem);
                }
            }
            Ok(())
        })?
    }

    async fn cancel(&self, item_id: &str, now: i64) -> Result<Option<(Item, bool)>> {
        self.change(|state| {
            let found = state.rows().values().find(|row| row.item.item_id == item_id);
            let Some(item) = found.map(|row| row.item.clone()) else { return Ok(None) };
            match item.cancellation(now) {
                Some(ending) => Ok(state.end(item.seq, ending)?.map(|item| (item, true))),
                None => Ok(Some((item, false))),
            }
        })?
    }

    async fn expire(&self, now: i64, max: usize) -> Result<Vec<Item>> {
        self.change(|state| {
            let due = |row: &&Row| row.item.state == ItemState::Queued && row.item.expires_at <= now;
            let due: Vec<Item> =
                state.rows().values().filter(due).take(max).map(|row| row.item.clone()).collect();
            let ended = due.into_iter().filter_map(|item| state.end(item.seq, item.expiry(now)).transpose());
            ended.collect()
        })?
    }

    async fn next_expiry(&self) -> Result<Option<i64>> {
        let mut state = self.state()?;
        let queued = state.rows().values().filter(|row| row.item.state == ItemState::Queued);
        Ok(queued.map(|row| row.item.expires_at).min())
    }

    async fn item(&self, item_id: &str) -> Result<Option<Item>> {
        let mut state = self.state()?;
        let found = state.rows().values().find(|row| row.item.item_id == item_id);
        Ok(found.map(|row| row.item.clone()))
    }

    async fn list(&self, filter: ItemFilter) -> Result<Vec<Item>> {
        let mut state = self.state()?;
        let place =
            |id: &String| state.rows().values().find(|row| row.item.item_id == *id).map(|row| row.item.seq);
        let after = filter.after.as_ref().and_then(place).unwrap_or(0);
        let wanted = |item: &&Item| {
            (filter.states.is_empty() || filter.states.contains(&item.state))
                && filter.scope_id.as_ref().is_none_or(|scope| item.scope_id == *scope)
        };
        let later = state.rows().range(after + 1..).map(|(_, row)| &row.item);
        Ok(later.filter(wanted).take(filter.limit).cloned().collect())
    }

    async fn depth(&self) -> Result<Vec<Depth>> {
        let mut state = self.state()?;
        let open = ItemState::ALL.into_iter().filter(|state| !state.is_final());
        let depth = open.filter_map(|wanted| {
            let ages = state.rows().values().filter(|row| row.item.state == wanted);
            let ages: Vec<i64> = ages.map(|row| row.item.created_at).collect();
            let oldest = *ages.iter().min()?;
            Some(Depth { state: wanted, items: ages.len() as u64, oldest })
        });
        Ok(depth.collect())
    }

    async fn forget(&self, before: i64, max: usize) -> Result<usize> {
        let mut state = self.state()?;
        let ended = |(seq, row): (&i64, &Row)| row.item.ended_at.filter(|at| *at < before).map(|_| *seq);
        let old: Vec<i64> = state.rows().iter().filter_map(ended).take(max).collect();
        for seq in &old {
            state.rows().remove(seq);
        }
        Ok(old.len())
    }
}
