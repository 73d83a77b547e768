//! What a failed call has to say beyond its result.

use crate::boundary::value;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use amochats_core::Error;

/// Tells why a call failed. Made by the call, freed by the caller with amochats_error_free().
/// Never changes: any thread may read it.
pub struct amochats_error(Error);

impl amochats_error {
    #[cfg(feature = "runtime")]
    pub(crate) fn new(error: Error) -> Self {
        Self(error)
    }

    pub(crate) fn into_raw(error: Error) -> *mut Self {
        Box::into_raw(Box::new(Self(error)))
    }
}

/// Returns the result that the call returned; AMOCHATS_RESULT_OK for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_error_code(error: Option<&amochats_error>) -> amochats_result {
    value(amochats_result::Panic, || error.map_or(amochats_result::Ok, |error| error.0.kind().into()))
}

/// Returns one line of English for people. It holds no secret, message text, phone or e-mail.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_error_message(error: Option<&amochats_error>) -> amochats_slice<'_> {
    value(amochats_slice::ABSENT, || error.map_or(amochats_slice::ABSENT, |error| error.0.message().into()))
}

/// Returns the argument or the field at fault, such as "payload.sender.name", if there is one.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_error_field(error: Option<&amochats_error>) -> amochats_slice<'_> {
    value(amochats_slice::ABSENT, || error.and_then(|error| error.0.field()).into())
}

/// Returns the HTTP status of the vendor's answer; 0 where there was none.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_error_http_status(error: Option<&amochats_error>) -> u16 {
    value(0, || error.and_then(|error| error.0.http_status()).unwrap_or(0))
}

/// Returns how many milliseconds the vendor asked to wait; 0 where it did not.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_error_retry_after_ms(error: Option<&amochats_error>) -> u64 {
    value(0, || {
        let delay = error.and_then(|error| error.0.retry_after()).unwrap_or_default();
        u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Frees an error; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_error_free(error: Option<Box<amochats_error>>) {
    value((), || drop(error));
}

#[cfg(test)]
mod tests {
    use super::*;
    use amochats_core::ErrorKind;
    use std::time::Duration;

    #[test]
    fn all_that_the_vendor_said_comes_through() {
        let error = Error::new(ErrorKind::RateLimited, "the service asks to slow down")
            .with_http_status(429)
            .with_retry_after(Duration::from_millis(1500));
        let error = amochats_error(error);
        assert_eq!(amochats_error_code(Some(&error)), amochats_result::RateLimited);
        assert_eq!(amochats_error_http_status(Some(&error)), 429);
        assert_eq!(amochats_error_retry_after_ms(Some(&error)), 1500);
        assert!(!amochats_error_field(Some(&error)).is_present());
        let endless = amochats_error(error.0.with_retry_after(Duration::MAX));
        assert_eq!(amochats_error_retry_after_ms(Some(&endless)), u64::MAX);
    }
}
