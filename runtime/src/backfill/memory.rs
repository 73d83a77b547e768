//! What backfill asks of the store in memory.

use super::{BackfillStore, Gap};
use crate::event::{Event, NewEvent};
use crate::store::Appended;
use crate::store::memory::MemoryStore;
use amochats::{ConversationId, ConversationRefId, Result, ScopeId};
use async_trait::async_trait;
use std::collections::BTreeMap;

/// The gaps.
#[derive(Default)]
pub(crate) struct Gaps(BTreeMap<(ScopeId, ConversationRefId), Gap>);

impl Gaps {
    fn mark(&mut self, gap: Gap) {
        let key = (gap.scope_id.clone(), gap.conversation_ref_id.clone());
        let since = self.0.get(&key).map_or(gap.since, |known| known.since.min(gap.since));
        self.0.insert(key, Gap { since, ..gap });
    }
}

#[async_trait]
impl BackfillStore for MemoryStore {
    async fn mark_all(&self, v1_hooks: bool, by: i64) -> Result<()> {
        let mut state = self.state()?;
        for gap in state.known_conversations(v1_hooks) {
            state.gaps.mark(Gap { since: gap.since.min(by), ..gap });
        }
        Ok(())
    }

    async fn mark(&self, gap: Gap) -> Result<()> {
        self.state()?.gaps.mark(gap);
        Ok(())
    }

    async fn next(&self, after: Option<Gap>) -> Result<Option<Gap>> {
        let after = after.map(|gap| (gap.scope_id, gap.conversation_ref_id));
        let state = self.state()?;
        let mut later =
            state.gaps.0.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
        Ok(later.next().map(|(_, gap)| gap.clone()))
    }

    async fn done(&self, gap: Gap) -> Result<()> {
        let key = (gap.scope_id, gap.conversation_ref_id);
        let mut state = self.state()?;
        if state.gaps.0.get(&key).is_some_and(|known| known.since >= gap.since) {
            state.gaps.0.remove(&key);
        }
        Ok(())
    }

    async fn pending(&self) -> Result<u64> {
        Ok(self.state()?.gaps.0.len() as u64)
    }

    async fn append_missing(&self, event: NewEvent) -> Result<bool> {
        let Some((key, _)) = event.dedup_key() else { return Ok(false) };
        self.change(|state| !state.has_seen(&key) && state.append(event) != Appended::Duplicate)
    }

    async fn heard_by_v1(
        &self,
        scope: &ScopeId,
        conversation: Option<&ConversationId>,
        since: i64,
    ) -> Result<Option<Vec<Event>>> {
        let state = self.state()?;
        let all: Vec<&Event> = state.v1_messages().filter(|event| event.scope_id == *scope).collect();
        let is_of = |event: &&&Event| {
            let of = event.parse();
            event.received_at >= since && of.conversation_id() == conversation
        };
        Ok((!all.is_empty()).then(|| all.iter().filter(is_of).map(|event| (*event).clone()).collect()))
    }

    async fn unreported(&self, after: Option<String>, max: usize) -> Result<Vec<Event>> {
        let state = self.state()?;
        let reported = state.outbox.reported();
        let settled = state.settled_messages().into_iter().filter(|(_, message)| !reported.contains(message));
        let events: Vec<Event> = settled.map(|(event, _)| event.clone()).collect();
        let skip = after.and_then(|after| events.iter().position(|event| event.event_id == after));
        Ok(events.into_iter().skip(skip.map_or(0, |place| place + 1)).take(max).collect())
    }
}
