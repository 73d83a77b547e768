//! What an answer means. The status decides; the chats API documents no error bodies.

use crate::crm::CrmProblem;
use crate::error::{Error, ErrorKind, Result, VendorError};
use crate::signing::{SIGNATURE_LIFETIME, parse_date};
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// The longest answer that is read, in bytes. The largest documented one, a page of 50 messages of
/// the history, is far below.
pub const ANSWER_MAX: usize = 1 << 20;

/// The longest delay that is believed of `Retry-After`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// How much of the vendor's words is kept, in characters.
const WORDS_MAX: usize = 500;

/// Reads a body up to [`ANSWER_MAX`].
pub(super) async fn read_body(response: &mut Response, base_url: &str) -> Result<Vec<u8>> {
    let too_long = || {
        Error::new(ErrorKind::UnexpectedResponse, format!("the answer is longer than {ANSWER_MAX} bytes"))
            .with_may_have_been_applied(true)
    };
    if response.content_length().is_some_and(|length| length > ANSWER_MAX as u64) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(error, base_url))? {
        if body.len() + chunk.len() > ANSWER_MAX {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a failed exchange means: without an answer, or with one that broke off.
pub(super) fn failure(error: reqwest::Error, base_url: &str) -> Error {
    // The address could tell more than the base does.
    let error = error.without_url();
    // Nothing is sent before there is a connection, TLS included.
    let connecting = error.is_connect();
    let (kind, what) = match (error.is_timeout(), connecting) {
        (true, true) => (ErrorKind::Timeout, "no connection in time"),
        (true, false) => (ErrorKind::Timeout, "no answer in time"),
        (false, true) => (ErrorKind::Transport, "no connection"),
        (false, false) => (ErrorKind::Transport, "no whole answer"),
    };
    let mut root: &dyn std::error::Error = &error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    Error::new(kind, format!("{what} from {base_url}: {root}"))
        .with_may_have_been_applied(!connecting)
        .with_source(error)
}

/// Which service answered: it says more about what a status means.
pub(super) enum Service {
    Chats {
        /// Whether this machine's clock is part of the signature.
        clock_matters: bool,
    },
    Crm,
}

impl Service {
    fn name(&self) -> &'static str {
        match self {
            Self::Chats { .. } => "service",
            Self::Crm => "CRM",
        }
    }

    /// What it refuses, where only this service does or says why.
    fn refusal(&self, code: u16, clock: Option<String>) -> Option<Error> {
        let forbidden = |said: &str| Some(Error::new(ErrorKind::Forbidden, said));
        match (self, code) {
            (Self::Chats { clock_matters }, 401 | 403) => match clock {
                Some(clock) if *clock_matters => Some(Error::new(
                    ErrorKind::Forbidden,
                    format!("the service refused the signature: {clock}; set the clock and try again"),
                )),
                _ => forbidden(
                    "the service refused the signature or the right: check the secret, the channel and the account",
                ),
            },
            (Self::Chats { .. }, 404) => Some(Error::new(
                ErrorKind::NotFound,
                "the service does not know the channel, account, chat or message",
            )),
            (Self::Crm, 401) => forbidden(
                "the CRM refused the token: it has expired or was revoked; get a new one, by installing anew if need be",
            ),
            (Self::Crm, 402) => forbidden("the CRM refused the call: the account is not paid for"),
            (Self::Crm, 403) => forbidden(
                "the CRM refused the right: check the user's rights and what the integration may do",
            ),
            (Self::Crm, 404) => {
                Some(Error::new(ErrorKind::NotFound, "the CRM does not know what is asked for"))
            }
            (Self::Crm, 422) => Some(Error::new(
                ErrorKind::Rejected,
                "the CRM refused the data: they do not fit what it holds, or it has no room for more",
            )),
            _ => None,
        }
    }
}

/// What an answer other than 2xx means; `sent_at` is this machine's time of the request.
pub(super) fn refusal(
    service: &Service,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    sent_at: SystemTime,
) -> Error {
    let server_time = header(headers, &DATE).and_then(|date| parse_date(date).ok());
    let clock = server_time.and_then(|theirs| clock_error(sent_at, theirs));
    let (code, name) = (status.as_u16(), service.name());
    let error = service.refusal(code, clock).unwrap_or_else(|| match code {
        400 => Error::new(ErrorKind::Rejected, format!("the {name} refused the data")),
        413 => Error::new(ErrorKind::Rejected, format!("the {name} refused the request as too large")),
        429 => Error::new(ErrorKind::RateLimited, format!("the {name} asks to slow down")),
        // 503 says that the request was not handled. Behind any other a gateway may have lost the answer.
        500..=599 => Error::new(ErrorKind::Unavailable, format!("the {name} is out of order (HTTP {code})"))
            .with_may_have_been_applied(code != 503),
        300..=399 => Error::new(
            ErrorKind::UnexpectedResponse,
            format!(
                "the {name} redirects (HTTP {code}), which is not followed: check the region or base address"
            ),
        ),
        _ => Error::new(ErrorKind::UnexpectedResponse, format!("the {name} answered HTTP {code}")),
    });
    let mut error = error.with_http_status(code);
    let vendor = match service {
        Service::Chats { .. } => vendor_error(body),
        Service::Crm => crm_error(body).or_else(|| vendor_error(body)),
    };
    if let Some(vendor) = vendor {
        if let Some(path) = vendor.problem.as_deref().and_then(CrmProblem::path) {
            error = error.with_field(shorten(path));
        }
        error = error.with_vendor(vendor);
    }
    match retry_after(headers, server_time.unwrap_or(sent_at)) {
        Some(delay) if matches!(error.kind(), ErrorKind::RateLimited | ErrorKind::Unavailable) => {
            error.with_retry_after(delay)
        }
        _ => error,
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// How this machine's clock differs, if that is more than a signature lives.
fn clock_error(ours: SystemTime, theirs: SystemTime) -> Option<String> {
    let (difference, word) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let minutes = difference.as_secs() / 60;
    let amount = match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    };
    (difference > SIGNATURE_LIFETIME)
        .then(|| format!("this machine's clock is {amount} {word} the service's"))
}

/// `Retry-After` in seconds or as a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = header(headers, &RETRY_AFTER)?;
    let delay = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => parse_date(value).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(delay.min(RETRY_AFTER_MAX))
}

fn shorten(text: &str) -> String {
    text.chars().take(WORDS_MAX).collect()
}

/// `application/problem+json`, whatever its type is called.
fn crm_error(body: &[u8]) -> Option<VendorError> {
    let problem = CrmProblem::from_json(body)?;
    Some(VendorError {
        code: None,
        error_type: problem.code.as_deref().or(problem.title.as_deref()).map(shorten),
        description: problem.detail.as_deref().map(shorten),
        problem: Some(Box::new(problem)),
    })
}

fn vendor_error(body: &[u8]) -> Option<VendorError> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key| json.get(key).and_then(Value::as_str).map(shorten);
    let vendor = VendorError {
        code: json.get("error_code").and_then(Value::as_i64),
        error_type: text("error_type"),
        description: text("error_description"),
        problem: None,
    };
    if vendor != VendorError::default() {
        return Some(vendor);
    }
    let beginning = shorten(String::from_utf8_lossy(body).trim());
    (!beginning.is_empty()).then(|| VendorError { description: Some(beginning), ..VendorError::default() })
}
