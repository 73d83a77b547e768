//! A model of the promises: it is told what was sent, answered, handed out and settled, over all
//! lives of a server, and notes what must not be.
//!
//! What a body is about is found by the tag in it, so that one model serves all shapes.

use amochats_proto::v1::Delivery;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use tokio::sync::watch;

/// A webhook of the test's.
#[derive(Clone, Debug)]
pub struct Hook {
    /// What tells it from all others; a repetition has the same. It is in the body as `k:TAG;`.
    pub tag: String,
    /// The body.
    pub body: String,
    /// Its conversation and its place in it, where order is promised.
    pub order: Option<(String, u64)>,
    /// It has an id that is known by its repetitions.
    pub once: bool,
    /// Its id was used before, with other content.
    pub conflicting: bool,
    /// It must be handed out; typing need not be.
    pub kept: bool,
}

/// What a consumer needs to know of a delivery to settle it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The event's id in the server's store.
    pub event_id: String,
    /// Which start of the server handed it out.
    pub life: u64,
    /// Its attempt.
    pub attempt: u32,
}

/// What is known and what was broken.
#[derive(Default)]
pub struct Model {
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

/// What a [`Model`] knows.
#[derive(Default)]
pub struct State {
    hooks: HashMap<String, Sent>,
    subscriptions: HashMap<String, Seen>,
    broken: Vec<String>,
    /// How many webhooks were answered 200 that must be handed out.
    pub promised: usize,
    /// How many settlements were confirmed.
    pub confirmed: usize,
    /// What is said now does not count.
    cutting: bool,
}

struct Sent {
    hook: Hook,
    bodies: HashSet<String>,
    promised: bool,
}

#[derive(Default)]
struct Seen {
    /// The events of each tag.
    of_tag: HashMap<String, HashSet<String>>,
    newest: HashMap<String, u64>,
    /// Events that were handed out and that no consumer has asked to settle, by conversation.
    open: HashMap<String, HashSet<String>>,
    settled: HashMap<String, (u64, u32)>,
    /// Tags that came while the power was cut.
    cut: HashSet<String>,
}

impl State {
    /// What was promised to a subscription and did not come.
    pub fn missing(&self, subscription: &str) -> Vec<&str> {
        let seen = self.subscriptions.get(subscription);
        let came =
            |tag: &str| seen.is_some_and(|seen| seen.of_tag.contains_key(tag) || seen.cut.contains(tag));
        let promised = self.hooks.values().filter(|sent| sent.promised && sent.hook.kept);
        promised.map(|sent| sent.hook.tag.as_str()).filter(|tag| !came(tag)).collect()
    }

    fn handed_out(&mut self, subscription: &str, delivery: &Delivery, handed: &Handed) {
        let event = delivery.event.as_ref().expect("an event");
        let raw = String::from_utf8_lossy(&event.raw);
        let tag = raw.split_once("k:").and_then(|(_, rest)| rest.split_once(';')).map(|(tag, _)| tag);
        let Some(sent) = tag.and_then(|tag| self.hooks.get(tag)) else {
            self.broken.push(format!("{raw} was never sent, or was refused"));
            return;
        };
        if self.cutting {
            // It may be settled before the cut, and then does not come again.
            self.subscriptions.entry(subscription.to_owned()).or_default().cut.insert(sent.hook.tag.clone());
            return;
        }
        let (hook, id) = (&sent.hook, &handed.event_id);
        if !sent.bodies.contains(raw.as_ref()) {
            self.broken.push(format!("{} came back as {raw}", hook.tag));
        }
        if delivery.ack_id.is_empty() {
            return;
        }
        if event.conflicting_duplicate != hook.conflicting {
            self.broken.push(format!("{} is flagged {}", hook.tag, event.conflicting_duplicate));
        }
        let seen = self.subscriptions.entry(subscription.to_owned()).or_default();
        let name = || format!("{} to {subscription}, event {id}", hook.tag);
        if let Some(settled) = seen.settled.get(id)
            && (handed.life, handed.attempt) >= *settled
        {
            let now = (handed.life, handed.attempt);
            let (name, when) = (name(), "came back after its settlement was confirmed");
            self.broken.push(format!("{name}: {when}, (life, attempt) {now:?} after {settled:?}"));
        }
        let ids = seen.of_tag.entry(hook.tag.clone()).or_default();
        if !ids.insert(id.clone()) {
            return;
        }
        if hook.once && ids.len() > 1 {
            self.broken.push(format!("{}: was kept twice: {ids:?}", name()));
        }
        if let Some((conversation, place)) = &hook.order {
            let newest = seen.newest.entry(conversation.clone()).or_insert(*place);
            if *place < *newest {
                self.broken.push(format!("{}: came after {newest}", name()));
            }
            *newest = (*newest).max(*place);
            let open = seen.open.entry(conversation.clone()).or_default();
            if !open.is_empty() {
                self.broken.push(format!("{}: came before {open:?} was settled", name()));
            }
            open.insert(id.clone());
        }
    }
}

impl Model {
    /// What is known by now.
    ///
    /// # Panics
    /// Where another user panicked.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic elsewhere")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changes.send_replace(());
    }

    /// Notes a webhook, before it is sent.
    pub fn sent(&self, hook: &Hook) {
        let mut state = self.state();
        let sent = state.hooks.entry(hook.tag.clone()).or_insert_with(|| Sent {
            hook: hook.clone(),
            bodies: HashSet::new(),
            promised: false,
        });
        sent.bodies.insert(hook.body.clone());
    }

    /// Notes a webhook that was answered 200; says whether that is a promise.
    ///
    /// # Panics
    /// Where it was not sent.
    pub fn promised(&self, hook: &Hook) -> bool {
        let mut counts = true;
        self.change(|state| {
            let sent = state.hooks.get_mut(&hook.tag).expect("it was sent");
            counts = !state.cutting;
            if counts && !std::mem::replace(&mut sent.promised, true) && hook.kept {
                state.promised += 1;
            }
        });
        counts
    }

    /// Notes a delivery.
    ///
    /// # Panics
    /// Where there is no event in it.
    pub fn handed_out(&self, subscription: &str, life: u64, delivery: &Delivery) -> Handed {
        let event_id = delivery.event.as_ref().expect("an event").event_id.clone();
        let handed = Handed { event_id, life, attempt: delivery.attempt };
        self.change(|state| state.handed_out(subscription, delivery, &handed));
        handed
    }

    /// Notes that a consumer is about to settle a delivery for good.
    pub fn settling(&self, subscription: &str, handed: &Handed) {
        self.change(|state| {
            let seen = state.subscriptions.entry(subscription.to_owned()).or_default();
            for open in seen.open.values_mut() {
                open.remove(&handed.event_id);
            }
        });
    }

    /// Notes that a settlement was confirmed.
    pub fn settled(&self, subscription: &str, handed: &Handed) {
        self.change(|state| {
            if state.cutting {
                return;
            }
            let seen = state.subscriptions.entry(subscription.to_owned()).or_default();
            seen.settled.insert(handed.event_id.clone(), (handed.life, handed.attempt));
            state.confirmed += 1;
        });
    }

    /// While the power is cut: what the server says then is neither before nor after it, so nothing
    /// of it is a promise.
    pub fn cutting(&self, cutting: bool) {
        self.change(|state| state.cutting = cutting);
    }

    /// Waits until this holds.
    pub async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let mut changes = self.changes.subscribe();
        crate::soon(what, changes.wait_for(|()| holds(&self.state()))).await.expect("the model lives");
    }

    /// Checks that nothing was broken.
    ///
    /// # Panics
    /// Where something was; the first ten are in the message.
    pub fn check(&self) {
        let state = self.state();
        let count = state.broken.len();
        assert!(count == 0, "{count} promises were broken: {:#?}", &state.broken[..count.min(10)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amochats_proto::v1::Event;

    fn hook(place: u64) -> Hook {
        let tag = format!("t{place}");
        let body = format!("k:{tag};");
        let order = Some(("c".into(), place));
        Hook { tag, body, order, once: true, conflicting: false, kept: true }
    }

    fn delivery(hook: &Hook, event_id: &str, attempt: u32) -> Delivery {
        let raw = hook.body.clone().into();
        let event = Event { event_id: event_id.into(), raw, ..Event::default() };
        Delivery { ack_id: format!("{event_id}/{attempt}"), attempt, event: Some(event) }
    }

    /// A model where both of two messages were promised and the first was handed out.
    fn model() -> (Model, [Hook; 2], Handed) {
        let (model, hooks) = (Model::default(), [hook(0), hook(1)]);
        for hook in &hooks {
            model.sent(hook);
            model.promised(hook);
        }
        let handed = model.handed_out("s", 0, &delivery(&hooks[0], "e0", 1));
        (model, hooks, handed)
    }

    fn broken(model: &Model, part: &str) {
        let state = model.state();
        assert!(state.broken.iter().any(|line| line.contains(part)), "{part}: {:?}", state.broken);
    }

    #[test]
    fn what_is_promised_is_fine() {
        let (model, hooks, first) = model();
        model.handed_out("s", 0, &delivery(&hooks[0], "e0", 2));
        model.settling("s", &first);
        model.handed_out("s", 1, &delivery(&hooks[0], "e0", 1));
        model.settled("s", &Handed { life: 1, attempt: 2, ..first });
        // Read late: it was handed out before the one that was settled.
        model.handed_out("s", 1, &delivery(&hooks[0], "e0", 1));
        assert_eq!(model.state().missing("s"), ["t1"]);
        assert_eq!(model.state().missing("other").len(), 2);
        model.handed_out("s", 1, &delivery(&hooks[1], "e1", 1));
        model.check();
        assert!(model.state().missing("s").is_empty());
    }

    #[test]
    fn what_is_confirmed_may_not_come_back() {
        for (life, attempt) in [(0, 2), (1, 1)] {
            let (model, hooks, first) = model();
            model.settling("s", &first);
            model.settled("s", &first);
            model.handed_out("s", life, &delivery(&hooks[0], "e0", attempt));
            broken(&model, "came back after");
        }
    }

    #[test]
    fn a_conversation_has_an_order() {
        let (model, hooks, first) = model();
        model.handed_out("s", 0, &delivery(&hooks[1], "e1", 1));
        broken(&model, "was settled");
        model.settling("s", &first);
        model.handed_out("other", 0, &delivery(&hooks[1], "e1", 1));
        model.handed_out("other", 0, &delivery(&hooks[0], "e0", 1));
        broken(&model, "came after");
    }

    #[test]
    fn nothing_is_made_up_twice_or_changed() {
        let (model, hooks, _) = model();
        model.handed_out("s", 0, &delivery(&hooks[0], "e7", 1));
        broken(&model, "kept twice");
        model.handed_out("s", 0, &delivery(&hook(9), "e9", 1));
        broken(&model, "never sent");
        let changed = Hook { body: "k:t0; ".into(), ..hooks[0].clone() };
        model.handed_out("s", 0, &delivery(&changed, "e0", 1));
        broken(&model, "came back as");
        let mut flagged = delivery(&hooks[0], "e0", 1);
        flagged.event.as_mut().expect("it has one").conflicting_duplicate = true;
        model.handed_out("s", 0, &flagged);
        broken(&model, "flagged");
    }
}
