//! What C is told when a call has ended that it did not wait for.

use crate::error::amochats_error;
use crate::result::amochats_result;
use crate::value::amochats_value;
use amochats_core::{Error, ErrorKind, Result};
use serde_json::Value;
use std::cell::Cell;
use std::ffi::c_void;
use std::sync::Arc;

/// Is told once how a call ended, see amochats_client_call_async().
///
/// `value` is the answer where there is one, else NULL; `error` says why where the result is not
/// AMOCHATS_RESULT_OK. Both end with the callback. It must return soon, and may call nothing that
/// blocks: that is AMOCHATS_RESULT_MISUSE.
pub type amochats_callback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        result: amochats_result,
        value: *const amochats_value,
        error: *const amochats_error,
    ),
>;

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Runs code of C's that must not wait for this library.
pub(crate) fn in_callback<T>(call: impl FnOnce() -> T) -> T {
    let before = IN_CALLBACK.replace(true);
    let result = call();
    IN_CALLBACK.set(before);
    result
}

/// Refuses what would wait for the thread it is called on.
pub(crate) fn outside_of_callbacks() -> Result<()> {
    if IN_CALLBACK.get() {
        let said = "this call may block, which a callback must not; use the _async form, or another thread";
        return Err(Error::new(ErrorKind::Misuse, said));
    }
    Ok(())
}

/// Where completions wait for the thread that is to run them.
pub(crate) trait Mailbox: Send + Sync {
    /// Takes a completion; gives it back where nobody will run it any more.
    fn post(&self, ready: Ready) -> Option<Ready>;
}

/// Calls C back exactly once, even if the task that should is dropped, so that nobody waits for ever.
pub(crate) struct Completion {
    callback: amochats_callback,
    user_data: *mut c_void,
    mailbox: Option<Arc<dyn Mailbox>>,
}

// SAFETY: C promises that the callback may be called from any thread with its user data.
unsafe impl Send for Completion {}
// SAFETY: nothing can be done with a shared one.
unsafe impl Sync for Completion {}

/// A completion that knows what to say.
pub(crate) struct Ready {
    callback: amochats_callback,
    user_data: *mut c_void,
    outcome: Result<Option<Value>>,
}

// SAFETY: as for `Completion`.
unsafe impl Send for Ready {}

impl Completion {
    pub(crate) fn new(
        callback: amochats_callback,
        user_data: *mut c_void,
        mailbox: Option<Arc<dyn Mailbox>>,
    ) -> Self {
        Self { callback, user_data, mailbox }
    }

    /// Says how it ended, here or where its mailbox is emptied.
    pub(crate) fn fire(mut self, outcome: Result<Option<Value>>) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: Result<Option<Value>>) {
        let Some(callback) = self.callback.take() else { return };
        let ready = Ready { callback: Some(callback), user_data: self.user_data, outcome };
        let unsent = match self.mailbox.take() {
            Some(mailbox) => mailbox.post(ready),
            None => Some(ready),
        };
        if let Some(ready) = unsent {
            ready.run();
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.send(Err(cancelled()));
    }
}

impl Ready {
    /// Calls C.
    pub(crate) fn run(self) {
        let Some(callback) = self.callback else { return };
        let (result, value, error) = match self.outcome {
            Ok(value) => (amochats_result::Ok, value.map(amochats_value::from), None),
            Err(error) => (error.kind().into(), None, Some(amochats_error::new(error))),
        };
        let value = value.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let error = error.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: both outlive the call; that the callback may be called is C's promise.
        in_callback(|| unsafe { callback(self.user_data, result, value, error) });
    }
}

pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the call was cancelled; it may have had its effect")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    type Seen = Mutex<Vec<amochats_result>>;

    unsafe extern "C" fn note(
        seen: *mut c_void,
        result: amochats_result,
        _value: *const amochats_value,
        error: *const amochats_error,
    ) {
        assert_eq!(result == amochats_result::Ok, error.is_null());
        assert!(outside_of_callbacks().is_err());
        // SAFETY: each test passes what it holds to its end.
        unsafe { &*seen.cast::<Seen>() }.lock().expect("no panic").push(result);
    }

    fn completion(seen: &Seen) -> Completion {
        Completion::new(Some(note), std::ptr::from_ref(seen).cast_mut().cast(), None)
    }

    #[test]
    fn fires_once_also_when_it_is_dropped() {
        let seen = Seen::default();
        completion(&seen).fire(Ok(None));
        drop(completion(&seen));
        let seen = seen.into_inner().expect("no panic");
        assert_eq!(seen, [amochats_result::Ok, amochats_result::Cancelled]);
        assert!(outside_of_callbacks().is_ok());
    }

    /// Keeps what is posted, or gives it back.
    struct Letters(Mutex<Vec<Ready>>, bool);

    impl Mailbox for Letters {
        fn post(&self, ready: Ready) -> Option<Ready> {
            if self.1 {
                return Some(ready);
            }
            self.0.lock().expect("no panic").push(ready);
            None
        }
    }

    #[test]
    fn waits_in_its_mailbox_unless_nobody_empties_that() {
        let seen = Seen::default();
        let open = Arc::new(Letters(Mutex::default(), false));
        let mut waiting = completion(&seen);
        waiting.mailbox = Some(open.clone());
        waiting.fire(Ok(None));
        assert!(seen.lock().expect("no panic").is_empty());
        for ready in open.0.lock().expect("no panic").drain(..) {
            ready.run();
        }
        let mut homeless = completion(&seen);
        homeless.mailbox = Some(Arc::new(Letters(Mutex::default(), true)));
        drop(homeless);
        let seen = seen.into_inner().expect("no panic");
        assert_eq!(seen, [amochats_result::Ok, amochats_result::Cancelled]);
    }
}
