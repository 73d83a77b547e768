//! What went in and out, with what became of it: the developer's view.

use amochats::ChannelId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::VecDeque;

/// The longest body an entry keeps, in bytes.
const BODY_MAX: usize = 64 * 1024;

/// A request to the chats API, or a webhook.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournalEntry {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: JournalSummary,
    /// The headers as sent. Credentials of other systems (`Authorization`, `Cookie`) are blanked;
    /// signatures are shown, this is a developer's tool.
    pub headers: Vec<(String, String)>,
    /// The body as sent.
    pub body: JournalBody,
    /// The body of the answer. Of a webhook's answer only where it was refused.
    pub answer: JournalBody,
    #[serde(skip)]
    pub(crate) raw: Option<RawHook>,
}

/// A webhook as it went out, to be sent again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawHook {
    pub(crate) channel_id: ChannelId,
    pub(crate) signature: String,
    pub(crate) wire: Bytes,
}

/// An entry without headers and bodies.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournalSummary {
    /// Counts entries from 1, gaps never occur.
    pub seq: u64,
    /// When it began, in Unix milliseconds.
    pub at_msec: i64,
    /// Which way it went.
    pub direction: Direction,
    /// The method or the kind of webhook, such as `new_message`, `webhook v2` or `typing`.
    pub kind: String,
    /// The HTTP method.
    pub method: String,
    /// The path of a request, the URL of a webhook.
    pub target: String,
    /// The HTTP status of the answer; none where none came.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What became of it.
    pub verdict: Verdict,
    /// The faults that struck, such as `latency=200`.
    pub faults: Vec<String>,
}

/// Which way a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The channel called the chats API.
    Request,
    /// The sandbox called the channel's webhook.
    Webhook,
}

/// What became of a call, in a word and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Verdict {
    /// Whether all is well.
    pub ok: bool,
    /// A stable name: the signature's scheme (`canonical`, `body_only`) of a request that was
    /// taken, else the `error_type` of its answer; of a webhook `accepted` or why not.
    pub name: Cow<'static, str>,
    /// The same as a sentence that teaches.
    pub sentence: String,
}

/// A body, cut at 64 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JournalBody {
    /// The beginning; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// The length of the whole, in bytes.
    pub bytes: usize,
    /// Whether `text` is not the whole.
    pub truncated: bool,
}

impl JournalBody {
    pub(crate) fn of(body: &[u8]) -> Self {
        let kept = &body[..body.len().min(BODY_MAX)];
        Self {
            text: String::from_utf8_lossy(kept).into_owned(),
            bytes: body.len(),
            truncated: kept.len() < body.len(),
        }
    }
}

impl JournalEntry {
    /// About how much memory it takes, in bytes.
    fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let raw = self.raw.as_ref().map_or(0, |raw| raw.wire.len());
        512 + raw + headers + self.body.text.len() + self.answer.text.len() + self.summary.target.len()
    }
}

/// The headers that an entry shows.
pub(crate) fn shown_headers<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<(String, String)> {
    const BLANKED: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];
    headers
        .map(|(name, value)| {
            let value =
                if BLANKED.contains(&name) { "(not shown)".into() } else { String::from_utf8_lossy(value) };
            (name.to_owned(), value.into_owned())
        })
        .collect()
}

/// The last entries.
pub(crate) struct Journal {
    entries: VecDeque<JournalEntry>,
    capacity: usize,
    bytes: usize,
    bytes_max: usize,
    next: u64,
}

impl Journal {
    pub(crate) fn new(capacity: usize, bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), capacity, bytes: 0, bytes_max, next: 1 }
    }

    /// Forgets all entries; their numbers do not come again.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// Adds an entry, whose number it sets and returns.
    pub(crate) fn push(&mut self, mut entry: JournalEntry) -> u64 {
        let seq = self.next;
        self.next += 1;
        entry.summary.seq = seq;
        self.bytes += entry.weight();
        self.entries.push_back(entry);
        while self.entries.len() > self.capacity || (self.bytes > self.bytes_max && self.entries.len() > 1) {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.weight();
        }
        seq
    }

    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &JournalEntry> {
        self.entries.iter()
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&JournalEntry> {
        let first = self.entries.front()?.summary.seq;
        self.entries.get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }
}
