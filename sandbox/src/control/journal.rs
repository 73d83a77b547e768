//! The journal: filtered, by pages, one entry as a command, a webhook once more.

use super::{Answer, Path, Query, Refused, Shared, not_found};
use crate::hooks;
use crate::journal::{Direction, JournalEntry};
use amochats::Error;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

/// How many journal entries a page has at most, and where the request does not say.
const PAGE_MAX: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only entries with a larger number.
    #[serde(default)]
    after: u64,
    /// Only entries with a smaller number.
    before: Option<u64>,
    limit: Option<usize>,
    kind: Option<String>,
    direction: Option<Direction>,
    ok: Option<bool>,
    /// Part of target, verdict, body or answer, in any case.
    q: Option<String>,
}

impl Wanted {
    fn fits(&self, entry: &JournalEntry, q: Option<&str>) -> bool {
        let summary = &entry.summary;
        let plain = self.kind.as_ref().is_none_or(|kind| *kind == summary.kind)
            && self.direction.is_none_or(|direction| direction == summary.direction)
            && self.ok.is_none_or(|ok| ok == summary.verdict.ok);
        let Some(q) = q.filter(|_| plain) else { return plain };
        [
            &*summary.target,
            &*summary.verdict.name,
            &*summary.verdict.sentence,
            &*entry.body.text,
            &*entry.answer.text,
        ]
        .iter()
        .any(|text| text.to_lowercase().contains(q))
    }
}

/// The newest entries that fit, the oldest of them first.
pub(super) async fn list(State(inner): Shared, Query(wanted): Query<Wanted>) -> Answer {
    let limit = wanted.limit.unwrap_or(PAGE_MAX);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be 1 to {PAGE_MAX}")).into());
    }
    let q = wanted.q.as_ref().map(|q| q.trim().to_lowercase()).filter(|q| !q.is_empty());
    let journal = inner.journal();
    let mut fitting = journal
        .entries()
        .rev()
        .skip_while(|entry| wanted.before.is_some_and(|before| entry.summary.seq >= before))
        .take_while(|entry| entry.summary.seq > wanted.after)
        .filter(|entry| wanted.fits(entry, q.as_deref()));
    let mut entries: Vec<_> = fitting.by_ref().take(limit).map(|entry| &entry.summary).collect();
    let more = fitting.next().is_some();
    entries.reverse();
    Ok(Json(json!({ "entries": entries, "more": more })))
}

pub(super) async fn entry(State(inner): Shared, Path(seq): Path<u64>) -> Answer {
    let entry = inner.journal().get(seq).cloned().ok_or_else(not_found)?;
    let mut shown = json!(entry);
    shown["curl"] = json!(curl(&entry, &inner.api_url()));
    Ok(Json(shown))
}

/// The call as a command for a shell; none where its body is not kept whole, or is no text.
fn curl(entry: &JournalEntry, api_url: &str) -> Option<String> {
    if entry.body.truncated || entry.body.text.contains(['\u{fffd}', '\0']) {
        return None;
    }
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let url = match entry.summary.direction {
        Direction::Request => format!("{api_url}{}", entry.summary.target),
        Direction::Webhook => entry.summary.target.clone(),
    };
    let mut command = format!("curl -X {} {}", entry.summary.method, quoted(&url));
    for (name, value) in &entry.headers {
        // What curl writes by itself.
        if !matches!(
            &**name,
            "host" | "content-length" | "connection" | "transfer-encoding" | "accept-encoding"
        ) {
            command += &format!(" -H {}", quoted(&format!("{name}: {value}")));
        }
    }
    if !entry.body.text.is_empty() {
        command += &format!(" --data-binary {}", quoted(&entry.body.text));
    }
    Some(command)
}

/// Sends a webhook again: the same bytes, the same signature, to the address it went to.
pub(super) async fn replay(State(inner): Shared, Path(seq): Path<u64>) -> Answer {
    let entry = inner.journal().get(seq).cloned().ok_or_else(not_found)?;
    if entry.summary.direction != Direction::Webhook {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "only a webhook can be sent again"));
    }
    let sending = {
        let inner = inner.clone();
        inner.tasks.clone().spawn(async move { hooks::send_again(&inner, &entry).await })
    };
    let outcome = sending
        .await
        .map_err(|_| Refused::new(StatusCode::SERVICE_UNAVAILABLE, "the sandbox is stopping"))?;
    Ok(Json(json!({ "hook": outcome.verdict() })))
}
