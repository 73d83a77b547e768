//! Result codes: the numbers of `ErrorKind`, and 0.

use crate::boundary::value;
use amochats_core::ErrorKind;
use std::ffi::{CStr, c_char};

/// What became of a call. The numbers are stable; later versions may add some.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum amochats_result {
    /// It succeeded.
    Ok = 0,
    /// A pointer that must not be NULL was.
    NullPointer = 1,
    /// Text that is not UTF-8.
    InvalidUtf8 = 2,
    /// A bug in this library was caught.
    Panic = 3,
    /// An argument breaks a documented rule; amochats_error_field() names it.
    InvalidArgument = 10,
    /// The configuration cannot be used.
    ConfigInvalid = 11,
    /// The caller cancelled the call.
    Cancelled = 20,
    /// The object is closed or the process is stopping.
    Closed = 21,
    /// A bounded queue had no room in time.
    QueueFull = 22,
    /// The interface was used in a way that its documentation rules out.
    Misuse = 23,
    /// The object was made before a fork() and cannot be used after it.
    Forked = 24,
    /// The store failed; what was not confirmed is not kept.
    StoreFailed = 30,
    /// The store has no room left.
    StoreFull = 31,
    /// Another process has the store open.
    StoreLocked = 32,
    /// The lease on the event ended or the event was settled before.
    LeaseLost = 33,
    /// There is no subscription of that name.
    SubscriptionNotFound = 34,
    /// The caller did not show who it is.
    Unauthenticated = 35,
    /// A webhook came without a usable X-Signature. Answer 401.
    SignatureMissing = 100,
    /// A webhook's X-Signature does not belong to its body. Answer 401.
    SignatureMismatch = 101,
    /// Bytes that were to be parsed are not JSON in UTF-8.
    MalformedWebhook = 102,
    /// A body is larger than the limit.
    BodyTooLarge = 103,
    /// The channel is not configured here.
    UnknownChannel = 104,
    /// The vendor refused the data (HTTP 400).
    Rejected = 200,
    /// The vendor refused the signature or the right (HTTP 401, 403).
    Forbidden = 201,
    /// The vendor does not know the resource (HTTP 404).
    NotFound = 202,
    /// The vendor asks to slow down (HTTP 429).
    RateLimited = 203,
    /// The vendor is out of order (HTTP 5xx).
    Unavailable = 204,
    /// The vendor answered something that is not in its documentation.
    UnexpectedResponse = 205,
    /// No answer in time; the call may have had its effect.
    Timeout = 210,
    /// The connection could not be made or broke; the call may have had its effect.
    Transport = 211,
}

/// Every result with its name.
const NAMES: &[(amochats_result, &CStr)] = &[
    (amochats_result::Ok, c"OK"),
    (amochats_result::NullPointer, c"NULL_POINTER"),
    (amochats_result::InvalidUtf8, c"INVALID_UTF8"),
    (amochats_result::Panic, c"PANIC"),
    (amochats_result::InvalidArgument, c"INVALID_ARGUMENT"),
    (amochats_result::ConfigInvalid, c"CONFIG_INVALID"),
    (amochats_result::Cancelled, c"CANCELLED"),
    (amochats_result::Closed, c"CLOSED"),
    (amochats_result::QueueFull, c"QUEUE_FULL"),
    (amochats_result::Misuse, c"MISUSE"),
    (amochats_result::Forked, c"FORKED"),
    (amochats_result::StoreFailed, c"STORE_FAILED"),
    (amochats_result::StoreFull, c"STORE_FULL"),
    (amochats_result::StoreLocked, c"STORE_LOCKED"),
    (amochats_result::LeaseLost, c"LEASE_LOST"),
    (amochats_result::SubscriptionNotFound, c"SUBSCRIPTION_NOT_FOUND"),
    (amochats_result::Unauthenticated, c"UNAUTHENTICATED"),
    (amochats_result::SignatureMissing, c"SIGNATURE_MISSING"),
    (amochats_result::SignatureMismatch, c"SIGNATURE_MISMATCH"),
    (amochats_result::MalformedWebhook, c"MALFORMED_WEBHOOK"),
    (amochats_result::BodyTooLarge, c"BODY_TOO_LARGE"),
    (amochats_result::UnknownChannel, c"UNKNOWN_CHANNEL"),
    (amochats_result::Rejected, c"REJECTED"),
    (amochats_result::Forbidden, c"FORBIDDEN"),
    (amochats_result::NotFound, c"NOT_FOUND"),
    (amochats_result::RateLimited, c"RATE_LIMITED"),
    (amochats_result::Unavailable, c"UNAVAILABLE"),
    (amochats_result::UnexpectedResponse, c"UNEXPECTED_RESPONSE"),
    (amochats_result::Timeout, c"TIMEOUT"),
    (amochats_result::Transport, c"TRANSPORT"),
];

impl From<ErrorKind> for amochats_result {
    /// A kind that is missing above shows as a panic: the test below keeps that from happening.
    fn from(kind: ErrorKind) -> Self {
        NAMES
            .iter()
            .map(|(result, _name)| *result)
            .find(|result| *result as u32 == kind.code())
            .unwrap_or(amochats_result::Panic)
    }
}

/// Returns the name of a result, such as "SIGNATURE_MISMATCH", the same on all surfaces of
/// amochats; "UNKNOWN" for a number that is none. The text is static.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_result_name(result: u32) -> *const c_char {
    value(c"UNKNOWN", || {
        NAMES.iter().find(|(known, _name)| *known as u32 == result).map_or(c"UNKNOWN", |(_known, name)| name)
    })
    .as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_result_of_the_same_number_and_name() {
        let header = include_str!("../include/amochats.h");
        for kind in ErrorKind::ALL {
            assert_eq!(amochats_result::from(*kind) as u32, kind.code(), "{kind:?}");
            let name =
                NAMES.iter().find(|(result, _name)| *result as u32 == kind.code()).expect("found above").1;
            assert_eq!(name.to_str(), Ok(kind.name()));
            let line = format!("  AMOCHATS_RESULT_{} = {},\n", kind.name(), kind.code());
            assert!(header.contains(&line), "not in amochats.h: {line}");
        }
        assert_eq!(NAMES.len(), ErrorKind::ALL.len() + 1, "and none but these and OK");
    }
}
