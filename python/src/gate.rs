//! Who may still run Python code on behalf of the native half.
//!
//! At the end of a process a thread that runs Python is ended by the interpreter where it stands, and
//! before Python 3.14 that unwinds through the frames of Rust and aborts the process. So the end waits
//! for the threads that are inside, and those that come later are stopped at the gate, as Python 3.14
//! itself stops them.

use pyo3::prelude::*;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

static INSIDE: Mutex<usize> = Mutex::new(0);
static LEFT: Condvar = Condvar::new();
/// The thread that ends the process, once it does.
static CLOSED_BY: OnceLock<ThreadId> = OnceLock::new();

fn inside() -> MutexGuard<'static, usize> {
    INSIDE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that is inside, until this is dropped.
pub(crate) struct Inside(());

impl Drop for Inside {
    fn drop(&mut self) {
        *inside() -= 1;
        LEFT.notify_all();
    }
}

/// To be held while Python code is run. At the end of the process it does not return, but for the
/// thread that ends it.
pub(crate) fn enter(py: Python<'_>) -> Inside {
    {
        let mut inside = inside();
        if CLOSED_BY.get().is_none_or(|thread| *thread == std::thread::current().id()) {
            *inside += 1;
            return Inside(());
        }
    }
    py.detach(|| {
        loop {
            std::thread::park();
        }
    })
}

#[cfg(feature = "runtime")]
pub(crate) fn is_closed() -> bool {
    CLOSED_BY.get().is_some()
}

/// Lets nobody in any more; says whether this is the first time.
pub(crate) fn close() -> bool {
    let _inside = inside();
    CLOSED_BY.set(std::thread::current().id()).is_ok()
}

/// Waits until nobody is inside.
pub(crate) fn wait_for_all(at_most: Duration) {
    let waited = LEFT.wait_timeout_while(inside(), at_most, |count| *count > 0);
    drop(waited.unwrap_or_else(PoisonError::into_inner));
}
