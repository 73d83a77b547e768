//! One error type with one kind, the same on every surface.
//!
//! The number of an [`ErrorKind`] is the code of the C ABI, its [`ErrorKind::name`] is the gRPC
//! `reason` and Python's `.code`. Numbers of retired kinds stay reserved.

use crate::crm::CrmProblem;
use std::fmt;
use std::time::Duration;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $retry:ident;)*) => {
        /// What went wrong, in one word.
        ///
        /// Reserved numbers: 1-29 the caller, 30-99 the runtime, 100-199 incoming webhooks,
        /// 200-299 answers of the vendor.
        #[non_exhaustive]
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $($(#[$doc])* $variant = $code,)* }

        impl ErrorKind {
            /// Every kind, so that a surface can be tested to map them all.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$variant,)*];

            /// The name on all surfaces, such as `SIGNATURE_MISMATCH`.
            pub const fn name(self) -> &'static str {
                match self { $(ErrorKind::$variant => $name,)* }
            }

            /// Whether repeating the same call can help.
            pub const fn retry(self) -> Retry {
                match self { $(ErrorKind::$variant => Retry::$retry,)* }
            }
        }
    };
}

kinds! {
    /// A pointer that must not be NULL was (C only).
    NullPointer = 1, "NULL_POINTER", No;
    /// Text that is not UTF-8 (C only).
    InvalidUtf8 = 2, "INVALID_UTF8", No;
    /// A bug in this library was caught at its border.
    Panic = 3, "PANIC", No;
    /// An argument breaks a documented rule; see [`Error::field`].
    InvalidArgument = 10, "INVALID_ARGUMENT", No;
    /// The configuration cannot be used.
    ConfigInvalid = 11, "CONFIG_INVALID", No;
    /// The caller cancelled the call.
    Cancelled = 20, "CANCELLED", No;
    /// The object is closed or the process is stopping.
    Closed = 21, "CLOSED", Later;
    /// A bounded queue had no room in time.
    QueueFull = 22, "QUEUE_FULL", Later;
    /// The interface was used in a way that its documentation rules out.
    Misuse = 23, "MISUSE", No;
    /// The object was made before a `fork` and cannot be used after it.
    Forked = 24, "FORKED", No;
    /// The store failed; what was not confirmed is not kept.
    StoreFailed = 30, "STORE_FAILED", Later;
    /// The store has no room left.
    StoreFull = 31, "STORE_FULL", Later;
    /// Another process has the store open.
    StoreLocked = 32, "STORE_LOCKED", No;
    /// The lease on the event ended or the event was settled before.
    LeaseLost = 33, "LEASE_LOST", No;
    /// There is no subscription of that name.
    SubscriptionNotFound = 34, "SUBSCRIPTION_NOT_FOUND", No;
    /// The caller did not show who it is.
    Unauthenticated = 35, "UNAUTHENTICATED", No;
    /// A webhook came without a usable `X-Signature`.
    SignatureMissing = 100, "SIGNATURE_MISSING", No;
    /// A webhook's `X-Signature` does not belong to its body.
    SignatureMismatch = 101, "SIGNATURE_MISMATCH", No;
    /// Bytes that were to be parsed are not a JSON object.
    MalformedWebhook = 102, "MALFORMED_WEBHOOK", No;
    /// A body is larger than the limit.
    BodyTooLarge = 103, "BODY_TOO_LARGE", No;
    /// The channel is not configured here.
    UnknownChannel = 104, "UNKNOWN_CHANNEL", No;
    /// The vendor refused the data (HTTP 400, 413).
    Rejected = 200, "REJECTED", No;
    /// The vendor refused the signature or the right (HTTP 401, 403).
    Forbidden = 201, "FORBIDDEN", No;
    /// The vendor does not know the resource (HTTP 404).
    NotFound = 202, "NOT_FOUND", No;
    /// The vendor asks to slow down (HTTP 429).
    RateLimited = 203, "RATE_LIMITED", AfterDelay;
    /// The vendor is out of order (HTTP 5xx).
    Unavailable = 204, "UNAVAILABLE", AfterDelay;
    /// The vendor answered something that is not in its documentation.
    UnexpectedResponse = 205, "UNEXPECTED_RESPONSE", No;
    /// No answer in time; the call may have had its effect.
    Timeout = 210, "TIMEOUT", MayHaveBeenApplied;
    /// The connection could not be made or broke; the call may have had its effect.
    Transport = 211, "TRANSPORT", MayHaveBeenApplied;
}

impl ErrorKind {
    /// The number on the C surface (`AMOCHATS_RESULT_*`).
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The kind with this number.
    pub fn from_code(code: u32) -> Option<ErrorKind> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }
}

/// Whether repeating a failed call can help.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The same call fails again.
    No,
    /// The same call may succeed later.
    Later,
    /// The same call may succeed after [`Error::retry_after`], or a delay of the caller's choice.
    AfterDelay,
    /// The call may have had its effect: repeat it only with the same message id.
    MayHaveBeenApplied,
}

/// What the vendor said in an error answer. Advice only: no vendor page shows these bodies of the
/// chats API, the three keys were seen by public clients (`error_code`, `error_type`,
/// `error_description`). The CRM's own API documents its form: see `problem`.
///
/// `Debug` shows the code alone, so that the rest does not reach a log by accident.
#[derive(Clone, Default, PartialEq)]
pub struct VendorError {
    /// `error_code`.
    pub code: Option<i64>,
    /// `error_type`.
    pub error_type: Option<String>,
    /// `error_description`, or the body's beginning where it is not of that form. It may quote
    /// what was sent: show it to the caller, never log it.
    pub description: Option<String>,
    /// What the CRM's own API says (`application/problem+json`), with the fields at fault.
    pub problem: Option<Box<CrmProblem>>,
}

impl fmt::Debug for VendorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VendorError").field("code", &self.code).finish_non_exhaustive()
    }
}

/// An error of any part of amochats.
///
/// `Display` is one line that never holds a secret, a message text, a phone or an e-mail.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    field: Option<String>,
    http_status: Option<u16>,
    retry_after: Option<Duration>,
    vendor: Option<VendorError>,
    may_have_been_applied: Option<bool>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of a kind with a sentence: lower case, no full stop, nothing private.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            field: None,
            http_status: None,
            retry_after: None,
            vendor: None,
            may_have_been_applied: None,
            source: None,
        }))
    }

    /// An [`ErrorKind::InvalidArgument`] that names the field and the rule it breaks.
    pub fn invalid(field: impl Into<String>, rule: impl fmt::Display) -> Self {
        let field = field.into();
        Error::new(ErrorKind::InvalidArgument, format!("{field}: {rule}")).with_field(field)
    }

    /// Names the field at fault, as a path such as `payload.sender.name`.
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Adds the HTTP status of the vendor's answer.
    pub fn with_http_status(mut self, status: u16) -> Self {
        self.0.http_status = Some(status);
        self
    }

    /// Adds the delay the vendor asked for.
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Adds the vendor's words.
    pub fn with_vendor(mut self, vendor: VendorError) -> Self {
        self.0.vendor = Some(vendor);
        self
    }

    /// Says whether the call may have had its effect, where more is known than the kind tells.
    pub fn with_may_have_been_applied(mut self, applied: bool) -> Self {
        self.0.may_have_been_applied = Some(applied);
        self
    }

    /// Adds the cause. It must not hold anything private.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence that `Display` prints.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The path of the field at fault, if one is.
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// The HTTP status of the vendor's answer, if there was one.
    pub fn http_status(&self) -> Option<u16> {
        self.0.http_status
    }

    /// How long to wait before a repeat, where the vendor said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What the vendor said. For the caller only: it may quote what was sent.
    pub fn vendor(&self) -> Option<&VendorError> {
        self.0.vendor.as_ref()
    }

    /// Whether the call may have had its effect although it failed. `false` is certain: the
    /// request never left, or the answer says that it was not taken.
    pub fn may_have_been_applied(&self) -> bool {
        self.0.may_have_been_applied.unwrap_or(self.0.kind.retry() == Retry::MayHaveBeenApplied)
    }

    /// Whether repeating the call can help. See [`Error::may_have_been_applied`] for whether a
    /// repeat could have the effect twice.
    pub fn retry(&self) -> Retry {
        match self.0.kind.retry() {
            Retry::MayHaveBeenApplied if !self.may_have_been_applied() => Retry::Later,
            retry => retry,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn kinds_are_distinct_and_reversible() {
        let codes: HashSet<u32> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        let names: HashSet<&str> = ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
        assert_eq!(names.len(), ErrorKind::ALL.len());
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_code(kind.code()), Some(*kind));
            assert!(kind.name().bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'));
        }
        assert_eq!(ErrorKind::from_code(0), None);
    }

    #[test]
    fn the_vendors_words_stay_out_of_display_and_source() {
        let vendor = VendorError { description: Some("phone +1555 is bad".into()), ..VendorError::default() };
        let error = Error::new(ErrorKind::Rejected, "the service refused the data")
            .with_http_status(400)
            .with_vendor(vendor);
        assert_eq!(error.to_string(), "the service refused the data");
        assert!(!format!("{error:?}").contains("1555"));
        assert!(std::error::Error::source(&error).is_none());
        assert_eq!(error.vendor().and_then(|v| v.description.as_deref()), Some("phone +1555 is bad"));
    }

    #[test]
    fn a_call_that_never_left_may_be_repeated_freely() {
        let lost = Error::new(ErrorKind::Transport, "the connection broke");
        assert!(lost.may_have_been_applied());
        assert_eq!(lost.retry(), Retry::MayHaveBeenApplied);
        let refused = lost.with_may_have_been_applied(false);
        assert!(!refused.may_have_been_applied());
        assert_eq!(refused.retry(), Retry::Later);
        assert!(!Error::new(ErrorKind::Rejected, "no").may_have_been_applied());
    }
}
