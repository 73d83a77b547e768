//! Subscriptions to the CRM's own webhooks and their delivery (chats API reference, 7.6):
//! form-encoded, not signed, 2 s, repeated after a failure.

use super::answer::{Answer, Problem};
use super::book::{Crm, Subscription};
use super::check::{Faults, Fields};
use super::{Caller, Context};
use crate::config::web_address;
use crate::hooks::millis;
use crate::journal::{Direction, JournalBody, JournalEntry, JournalSummary, Verdict, shown_headers};
use crate::sandbox::Inner;
use crate::state::State;
use amochats::AccountId;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many addresses an account may subscribe.
const SUBSCRIPTIONS_MAX: usize = 100;
/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long the CRM waits for the receiver of a code.
const REDIRECT_TIMEOUT: Duration = Duration::from_secs(3);
const FORM: &str = "application/x-www-form-urlencoded";
const MINUTE_MSEC: i64 = 60_000;
/// After how long a failed delivery comes again: the first two after any failure, the last two
/// only where the receiver was at fault (499 or 5xx).
const REPEATS: [(i64, bool); 4] =
    [(5 * MINUTE_MSEC, false), (15 * MINUTE_MSEC, false), (15 * MINUTE_MSEC, true), (60 * MINUTE_MSEC, true)];
/// More failures than these within this time switch a subscription off.
const FAILURES_MAX: usize = 100;
const FAILURES_MSEC: i64 = 120 * MINUTE_MSEC;
/// How many deliveries may wait; older ones are dropped.
const WAITING_MAX: usize = 10_000;
/// How often an injected clock is looked at while a repeat waits for it.
const LOOK: Duration = Duration::from_millis(100);

fn shown(cx: &Context<'_>, account: i64, subscription: &Subscription) -> Value {
    json!({
        "id": subscription.id, "destination": subscription.destination, "created_at": subscription.created_at,
        "updated_at": subscription.updated_at, "account_id": account, "created_by": 0,
        "sort": subscription.sort, "disabled": subscription.disabled, "settings": subscription.settings,
        "_links": { "self": { "href": format!("{}/api/v4/webhooks", cx.origin) } },
    })
}

pub(super) fn list(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    caller.admin()?;
    let book = &state.crm.books[&caller.account_id];
    let wanted = cx.value("filter[destination]");
    let found: Vec<Value> = book
        .subscriptions
        .iter()
        .filter(|subscription| wanted.is_none_or(|wanted| subscription.destination == wanted))
        .map(|subscription| shown(cx, book.id, subscription))
        .collect();
    Ok(Answer::list(&format!("{}/api/v4/webhooks", cx.origin), "webhooks", &found))
}

pub(super) fn subscribe(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    caller.admin()?;
    let item = Value::Object(cx.object()?);
    let (mut fields, mut faults) = (Fields::of(&item, 0), Faults::default());
    let destination = fields.text("destination", true).unwrap_or_default();
    if !destination.is_empty() && web_address("destination", destination).is_err() {
        fields.fault("InvalidValue", "destination", "must be an http or https address");
    }
    let events = fields.array("settings");
    let settings: Vec<String> =
        events.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if settings.is_empty() || settings.len() != events.map_or(0, <[Value]>::len) {
        fields.fault("NotBlank", "settings", "must be an array of events, such as add_talk");
    }
    let sort = fields.int("sort", false);
    fields.finish(&mut faults);
    faults.into_result(())?;
    let id = state.crm.number();
    let book = state.crm.books.get_mut(&caller.account_id).expect("the caller's");
    let known = book.subscriptions.iter().position(|known| known.destination == destination);
    let at = match known {
        Some(at) => at,
        None if book.subscriptions.len() == SUBSCRIPTIONS_MAX => {
            let detail = format!("an account may have {SUBSCRIPTIONS_MAX} subscriptions");
            return Err(Problem::field("0", "TooManyElements", "destination", detail));
        }
        None => {
            book.subscriptions.push(Subscription {
                id,
                destination: destination.to_owned(),
                settings: Vec::new(),
                sort: 0,
                created_at: cx.now,
                updated_at: cx.now,
                disabled: false,
                failures: Vec::new(),
            });
            book.subscriptions.len() - 1
        }
    };
    let subscription = &mut book.subscriptions[at];
    subscription.settings = settings;
    subscription.sort = sort.unwrap_or(subscription.sort);
    subscription.updated_at = cx.now;
    subscription.disabled = false;
    subscription.failures.clear();
    let subscription = subscription.clone();
    Ok(Answer::hal(&shown(cx, book.id, &subscription)).status(StatusCode::CREATED))
}

pub(super) fn unsubscribe(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    caller.admin()?;
    let item = Value::Object(cx.object()?);
    let (mut fields, mut faults) = (Fields::of(&item, 0), Faults::default());
    let destination = fields.text("destination", true).unwrap_or_default();
    fields.finish(&mut faults);
    faults.into_result(())?;
    let book = state.crm.books.get_mut(&caller.account_id).expect("the caller's");
    let before = book.subscriptions.len();
    book.subscriptions.retain(|known| known.destination != destination);
    if book.subscriptions.len() == before {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", "no such address is subscribed"));
    }
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// What waits to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    kind: &'static str,
    /// The account and its subscription; none for a code's way to the redirect URI.
    subscription: Option<(AccountId, i64)>,
    url: String,
    /// Empty for a `GET`.
    body: String,
    /// How often it was tried.
    tries: usize,
    due_msec: i64,
}

impl Delivery {
    /// A code that the CRM itself brings to the redirect URI; once.
    pub(super) fn redirect(url: String, now_msec: i64) -> Self {
        Self {
            kind: "oauth code",
            subscription: None,
            url,
            body: String::new(),
            tries: 0,
            due_msec: now_msec,
        }
    }

    /// The call that tells of the end of an installation; once.
    pub(super) fn disabled(url: String, now_msec: i64) -> Self {
        Self { kind: "disable hook", ..Self::redirect(url, now_msec) }
    }
}

/// Puts an event on its way to all who subscribed to it.
#[expect(clippy::too_many_arguments, reason = "what a webhook says, each once")]
pub(super) fn tell(
    crm: &mut Crm,
    account_id: &AccountId,
    event: &'static str,
    entity: &str,
    action: &str,
    told: &Value,
    origin: &str,
    now_msec: i64,
) {
    let Some(book) = crm.books.get(account_id) else { return };
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    // A template's review comes without the name of its kind, and without the account.
    let path = if entity.is_empty() {
        format!("{action}[0]")
    } else {
        let account = json!({ "id": book.id, "subdomain": book.subdomain, "_links": { "self": origin } });
        encode(&mut form, "account", &account);
        format!("{entity}[{action}][0]")
    };
    encode(&mut form, &path, told);
    let body = form.finish();
    let wanting = |subscription: &&Subscription| {
        !subscription.disabled && subscription.settings.iter().any(|setting| setting == event)
    };
    for subscription in book.subscriptions.iter().filter(wanting) {
        crm.deliveries.push(Delivery {
            kind: event,
            subscription: Some((account_id.clone(), subscription.id)),
            url: subscription.destination.clone(),
            body: body.clone(),
            tries: 0,
            due_msec: now_msec,
        });
    }
    let too_many = crm.deliveries.len().saturating_sub(WAITING_MAX);
    crm.deliveries.drain(..too_many);
}

/// A tree as PHP writes it: brackets for keys, every leaf a text, flags as 0 and 1.
fn encode(form: &mut url::form_urlencoded::Serializer<'_, String>, path: &str, value: &Value) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| encode(form, &format!("{path}[{key}]"), value));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| encode(form, &format!("{path}[{at}]"), item));
        }
        // What has no value is left out, as in the vendor's examples.
        Value::Null => {}
        Value::Bool(flag) => drop(form.append_pair(path, if *flag { "1" } else { "0" })),
        Value::Number(number) => drop(form.append_pair(path, &number.to_string())),
        Value::String(text) => drop(form.append_pair(path, text)),
    }
}

/// Sends what is due, each in a task of its own, until the sandbox stops.
pub(crate) async fn run(inner: Arc<Inner>) {
    loop {
        let now_msec = inner.config.clock.now_msec();
        let (due, next) = {
            let mut state = inner.state();
            let waiting = std::mem::take(&mut state.crm.deliveries);
            let (due, later): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|delivery| delivery.due_msec <= now_msec);
            let next = later.iter().map(|delivery| delivery.due_msec).min();
            state.crm.deliveries = later;
            (due, next)
        };
        for delivery in due {
            let inner_of_task = inner.clone();
            inner.tasks.spawn(async move { deliver(&inner_of_task, delivery).await });
        }
        let repeat = async {
            match next {
                Some(_) => tokio::time::sleep(LOOK).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = inner.crm_wake.notified() => {}
            () = repeat => {}
        }
    }
}

/// Whether the subscription is still there and on.
fn is_wanted(inner: &Inner, delivery: &Delivery) -> bool {
    let Some((account_id, id)) = &delivery.subscription else { return true };
    let state = inner.state();
    let book = state.crm.books.get(account_id);
    book.is_some_and(|book| book.subscriptions.iter().any(|known| known.id == *id && !known.disabled))
}

async fn deliver(inner: &Inner, delivery: Delivery) {
    if !is_wanted(inner, &delivery) {
        return;
    }
    let (at_msec, started) = (inner.config.clock.now_msec(), Instant::now());
    let is_hook = delivery.subscription.is_some();
    let agent = if is_hook { "amoCRM-Webhooks/3.0" } else { "amoService-oAuth-Code-Sender/1.0" };
    let mut headers = vec![("user-agent", agent)];
    let request = if is_hook {
        headers.push(("content-type", FORM));
        inner.http.post(&delivery.url).header("Content-Type", FORM).body(delivery.body.clone())
    } else {
        inner.http.get(&delivery.url)
    };
    let sending = request.header("User-Agent", agent).send();
    let limit = if is_hook { TIMEOUT } else { REDIRECT_TIMEOUT };
    let status = match tokio::time::timeout(limit, sending).await {
        Ok(Ok(answer)) => Some(answer.status().as_u16()),
        Ok(Err(_)) | Err(_) => None,
    };
    let accepted = status.is_some_and(|status| (100..300).contains(&status));
    let what = match status {
        Some(status) => format!("the receiver answered {status}"),
        None => format!("no answer within {} s", limit.as_secs()),
    };
    let after = settle(inner, &delivery, status, accepted);
    let verdict = Verdict {
        ok: accepted,
        name: if accepted { "accepted" } else { "failed" }.into(),
        sentence: match after {
            Some(after) => format!("{what}; {after}"),
            None => what,
        },
    };
    let method = if is_hook { "POST" } else { "GET" };
    inner.record(JournalEntry {
        summary: JournalSummary {
            seq: 0,
            at_msec,
            direction: Direction::Webhook,
            kind: delivery.kind.to_owned(),
            method: method.to_owned(),
            target: delivery.url,
            status,
            duration_ms: millis(started.elapsed()),
            verdict,
            faults: Vec::new(),
        },
        headers: shown_headers(headers.iter().map(|(name, value)| (*name, value.as_bytes()))),
        body: JournalBody::of(delivery.body.as_bytes()),
        answer: JournalBody::of(&[]),
        raw: None,
    });
}

/// Plans the repeat of a failed delivery, or gives it up; says which.
fn settle(inner: &Inner, delivery: &Delivery, status: Option<u16>, accepted: bool) -> Option<String> {
    let (account_id, id) = delivery.subscription.as_ref()?;
    let now_msec = inner.config.clock.now_msec();
    let mut state = inner.state();
    let subscription =
        state.crm.books.get_mut(account_id)?.subscriptions.iter_mut().find(|known| known.id == *id)?;
    if accepted {
        return None;
    }
    subscription.failures.retain(|at| now_msec - at < FAILURES_MSEC);
    subscription.failures.push(now_msec);
    if subscription.failures.len() > FAILURES_MAX {
        subscription.disabled = true;
        subscription.failures.clear();
        return Some(format!(
            "more than {FAILURES_MAX} failures in two hours: the subscription is switched off"
        ));
    }
    // A receiver that does not answer counts as one that hung up, 499.
    let at_fault = status.is_none_or(|status| status == 499 || status >= 500);
    let Some((delay, only_at_fault)) = REPEATS.get(delivery.tries).copied() else {
        return Some("it is given up".to_owned());
    };
    if only_at_fault && !at_fault {
        return Some("it is given up".to_owned());
    }
    let again = Delivery { tries: delivery.tries + 1, due_msec: now_msec + delay, ..delivery.clone() };
    state.crm.deliveries.push(again);
    drop(state);
    inner.crm_wake.notify_one();
    Some(format!("it comes again in {} min", delay / MINUTE_MSEC))
}
