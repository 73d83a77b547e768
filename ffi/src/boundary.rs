//! Where Rust meets C: panics stop here, and results become codes.

use crate::error::amochats_error;
use crate::result::amochats_result;
use amochats_core::{Error, ErrorKind, Result};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// An output of a call: where C wants a value, or NULL.
pub(crate) type Out<'a, T> = Option<&'a mut MaybeUninit<T>>;

/// Runs a call that can fail. `error` is written on failure alone.
pub(crate) fn boundary(
    error: Out<'_, *mut amochats_error>,
    call: impl FnOnce() -> Result<()>,
) -> amochats_result {
    let failure = match catch(call) {
        Some(Ok(())) => return amochats_result::Ok,
        Some(Err(failure)) => failure,
        None => Error::new(ErrorKind::Panic, "a bug in amochats was caught; the call had no result"),
    };
    let result = failure.kind().into();
    if let Some(error) = error {
        error.write(amochats_error::into_raw(failure));
    }
    result
}

/// Runs a call that only reads; a bug shows as `fallback`.
pub(crate) fn value<T>(fallback: T, call: impl FnOnce() -> T) -> T {
    catch(call).unwrap_or(fallback)
}

fn catch<T>(call: impl FnOnce() -> T) -> Option<T> {
    // Unwind safety: after a panic nothing that `call` wrote to is read, but handles, whose
    // mutations are single pushes.
    catch_unwind(AssertUnwindSafe(call))
        // Dropping a payload can panic, too.
        .map_err(std::mem::forget)
        .ok()
}

/// A handle that must be there.
pub(crate) fn required<T>(pointer: Option<T>, name: &str) -> Result<T> {
    pointer.ok_or_else(|| Error::new(ErrorKind::NullPointer, format!("{name}: is NULL")).with_field(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{
        amochats_error_code, amochats_error_field, amochats_error_free, amochats_error_message,
    };

    #[test]
    fn a_panic_becomes_a_result_and_an_error() {
        let mut error = MaybeUninit::uninit();
        let result = boundary(Some(&mut error), || panic!("with text-of-a-client"));
        assert_eq!(result, amochats_result::Panic);
        // SAFETY: a failure writes the error, made by `Box::into_raw`.
        let error = unsafe { Box::from_raw(error.assume_init()) };
        assert_eq!(amochats_error_code(Some(&error)), amochats_result::Panic);
        let said = amochats_error_message(Some(&error)).text("message").expect("text");
        assert!(!said.contains("text-of-a-client"), "the payload may be private: {said}");
        amochats_error_free(Some(error));

        assert_eq!(boundary(None, || panic!()), amochats_result::Panic);
        assert_eq!(value(7, || panic!()), 7);
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_caught() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("again");
            }
        }
        assert_eq!(boundary(None, || std::panic::panic_any(Bomb)), amochats_result::Panic);
    }

    #[test]
    fn the_error_is_written_on_failure_alone() {
        let untouched = std::ptr::dangling_mut();
        let mut error = MaybeUninit::new(untouched);
        assert_eq!(boundary(Some(&mut error), || Ok(())), amochats_result::Ok);
        // SAFETY: it was initialised above.
        assert_eq!(unsafe { error.assume_init() }, untouched);

        let result = boundary(Some(&mut error), || required(None::<&u8>, "webhook").map(drop));
        assert_eq!(result, amochats_result::NullPointer);
        // SAFETY: a failure writes the error, made by `Box::into_raw`.
        let error = unsafe { Box::from_raw(error.assume_init()) };
        assert_eq!(amochats_error_field(Some(&error)).bytes("field").expect("text"), b"webhook");
    }
}
