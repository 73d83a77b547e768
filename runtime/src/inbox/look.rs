//! Looking for events, for people: where they are, and what became of them.

use super::{Inbox, TEMPORARY};
use crate::event::Event;
use crate::store::{DeadSummary, DeliveryState, EventDelivery, EventSummary, SummaryQuery, Token};
use amochats::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::time::Duration;

/// The most summaries in one list.
pub const SUMMARIES_MAX: usize = 1000;

/// An event, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLife {
    /// What is said of it in lists.
    pub summary: EventSummary,
    /// The event itself.
    pub event: Event,
    /// Where it is in each lasting subscription, by name.
    pub deliveries: Vec<EventDelivery>,
}

impl Inbox {
    /// Events that are kept, without their bodies; at most [`SUMMARIES_MAX`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an event of another store; those of the store.
    pub async fn summaries(&self, mut query: SummaryQuery) -> Result<Vec<EventSummary>> {
        query.limit = query.limit.min(SUMMARIES_MAX);
        self.0.store.summaries(query).await
    }

    /// An event that is kept, and where it is in each subscription.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such event, or not any more; those of the store.
    pub async fn life(&self, event_id: &str) -> Result<EventLife> {
        let gone = || {
            Error::new(ErrorKind::NotFound, "there is no such event, or it is not kept any more")
                .with_field("event_id")
        };
        let store = &self.0.store;
        let event = store.event(event_id).await?.ok_or_else(gone)?;
        let summary = store.summary(event_id).await?.ok_or_else(gone)?;
        let mut deliveries = store.deliveries(event_id).await?;
        deliveries.retain(|delivery| !delivery.subscription.starts_with(TEMPORARY));
        let ends = self.ends_of(deliveries.iter().filter_map(|delivery| delivery.token));
        let (monotonic, now) = (self.0.clock.monotonic(), self.0.clock.now_msec());
        for delivery in &mut deliveries {
            let end = delivery.token.and_then(|token| ends.get(&token));
            delivery.until = end.map(|end| {
                let left = end.saturating_sub(monotonic).as_millis();
                now.saturating_add(i64::try_from(left).unwrap_or(i64::MAX))
            });
        }
        Ok(EventLife { summary, event, deliveries })
    }

    /// When leases and delays end, by the monotonic clock.
    fn ends_of(&self, tokens: impl Iterator<Item = Token>) -> HashMap<Token, Duration> {
        let mut wanted: HashMap<Token, Option<Duration>> = tokens.map(|token| (token, None)).collect();
        let leases = self.leases();
        for (at, token) in leases.timers.keys() {
            if let Some(end) = wanted.get_mut(token) {
                *end = Some(*at);
            }
        }
        wanted.into_iter().filter_map(|(token, end)| Some((token, end?))).collect()
    }

    /// As [`Inbox::dead_letters`], without their bodies.
    ///
    /// # Errors
    /// [`ErrorKind::SubscriptionNotFound`]; those of the store.
    pub async fn dead_summaries(
        &self,
        subscription: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadSummary>> {
        self.0.store.dead_summaries(subscription, after, limit).await
    }

    /// The places of events among the dead letters of a subscription, to requeue or drop them.
    ///
    /// # Errors
    /// [`ErrorKind::SubscriptionNotFound`]; [`ErrorKind::NotFound`] for an event that is no dead letter of it;
    /// those of the store.
    pub async fn dead_places(&self, subscription: &str, event_ids: &[String]) -> Result<Vec<i64>> {
        // Says whether there is such a subscription.
        self.0.store.dead_summaries(subscription, i64::MAX, 1).await?;
        let mut places = Vec::new();
        for event_id in event_ids {
            let before = places.len();
            let dead = |delivery: &EventDelivery| {
                delivery.subscription == subscription && delivery.state == DeliveryState::Dead
            };
            let deliveries = self.0.store.deliveries(event_id).await?;
            places.extend(deliveries.iter().filter(|one| dead(one)).filter_map(|one| Some(one.token?.place)));
            if places.len() == before {
                let said = format!("{event_id:?} is no dead letter of {subscription:?}");
                return Err(Error::new(ErrorKind::NotFound, said).with_field("event_ids"));
            }
        }
        Ok(places)
    }
}
