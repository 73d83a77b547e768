//! What waits in a consumer for C, and the descriptor that says so.

use crate::completion::{Mailbox, Ready};
use crate::engine::Timeout;
use amochats_core::{Error, ErrorKind, Result};
use amochats_runtime::Delivery;
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// So many events that are not kept may wait; typing is worth nothing when it is late.
const LIVE: usize = 256;

pub(crate) struct Queue {
    state: Mutex<State>,
    /// For those who block.
    changed: Condvar,
    /// For the task that calls a handler.
    pub(crate) filled: Notify,
    bell: Bell,
}

#[derive(Default)]
struct State {
    deliveries: VecDeque<Delivery>,
    /// What the store said, once each time. The consumer goes on.
    problem: Option<Error>,
    end: Option<Error>,
    completions: VecDeque<Ready>,
    /// Nobody takes completions any more.
    freed: bool,
    /// A task that calls a handler is at work.
    driven: bool,
    /// Whether the descriptor is readable.
    rung: bool,
}

impl State {
    fn has_next(&self) -> bool {
        !self.deliveries.is_empty() || self.problem.is_some() || self.end.is_some()
    }
}

/// What a consumer has to say next.
pub(crate) enum Next {
    Delivery(Box<Delivery>),
    Problem(Error),
    End(Error),
}

impl Queue {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            filled: Notify::new(),
            bell: Bell::new()?,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what waits; the descriptor follows before anybody else can look.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        let ring = state.has_next() || !state.completions.is_empty();
        if ring != state.rung {
            self.bell.set(ring);
            state.rung = ring;
        }
        let has_next = state.has_next();
        drop(state);
        self.changed.notify_all();
        if has_next {
            self.filled.notify_one();
        }
        result
    }

    pub(crate) fn fd(&self) -> i32 {
        self.bell.readable.as_raw_fd()
    }

    pub(crate) fn push(&self, deliveries: impl IntoIterator<Item = Delivery>) {
        self.change(|state| state.deliveries.extend(deliveries));
    }

    /// Takes an event in that is not kept, unless too many wait.
    pub(crate) fn push_live(&self, delivery: Delivery) {
        self.change(|state| {
            if state.deliveries.len() < LIVE {
                state.deliveries.push_back(delivery);
            }
        });
    }

    pub(crate) fn problem(&self, error: Error) {
        self.change(|state| state.problem = Some(error));
    }

    /// Nothing more comes; what waits was given back.
    pub(crate) fn end(&self, error: Error) {
        self.change(|state| {
            state.deliveries.clear();
            state.problem = None;
            state.end.get_or_insert(error);
        });
    }

    /// What is next, if there is something.
    pub(crate) fn try_next(&self) -> Option<Next> {
        self.change(State::take_next)
    }

    /// Waits for what is next.
    pub(crate) fn next(&self, timeout: Timeout) -> Option<Next> {
        let ends = timeout.ends();
        loop {
            if let Some(next) = self.try_next() {
                return Some(next);
            }
            let mut state = self.state();
            while !state.has_next() {
                state = self.wait(state, ends)?;
            }
        }
    }

    pub(crate) fn take_completion(&self) -> Option<Ready> {
        self.change(|state| state.completions.pop_front())
    }

    /// Completions go elsewhere from now on; gives those that wait.
    pub(crate) fn free(&self) -> VecDeque<Ready> {
        self.change(|state| {
            state.freed = true;
            std::mem::take(&mut state.completions)
        })
    }

    pub(crate) fn set_driven(&self, driven: bool) {
        self.change(|state| state.driven = driven);
    }

    /// Waits until nothing more comes and no handler runs.
    pub(crate) fn wait_for_end(&self, timeout: Timeout) -> Result<()> {
        let late = || Error::new(ErrorKind::Timeout, "the consumer did not end in time; it ends later");
        let ends = timeout.ends();
        let mut state = self.state();
        while state.end.is_none() || state.driven {
            state = self.wait(state, ends).ok_or_else(late)?;
        }
        Ok(())
    }

    /// Waits for a change; `None` once the time is over.
    fn wait<'a>(&self, state: MutexGuard<'a, State>, ends: Option<Instant>) -> Option<MutexGuard<'a, State>> {
        let Some(ends) = ends else {
            return Some(self.changed.wait(state).unwrap_or_else(PoisonError::into_inner));
        };
        let left = ends.saturating_duration_since(Instant::now());
        (!left.is_zero())
            .then(|| self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0)
    }
}

impl State {
    fn take_next(&mut self) -> Option<Next> {
        if let Some(delivery) = self.deliveries.pop_front() {
            return Some(Next::Delivery(Box::new(delivery)));
        }
        if let Some(problem) = self.problem.take() {
            return Some(Next::Problem(problem));
        }
        // Said as often as it is asked.
        self.end.as_ref().map(|end| Next::End(Error::new(end.kind(), end.message())))
    }
}

impl Mailbox for Queue {
    fn post(&self, ready: Ready) -> Option<Ready> {
        self.change(|state| {
            if state.freed {
                return Some(ready);
            }
            state.completions.push_back(ready);
            None
        })
    }
}

/// A descriptor that is readable while it is rung.
struct Bell {
    readable: OwnedFd,
    /// The other end, where it is a pipe.
    #[cfg(not(target_os = "linux"))]
    writable: OwnedFd,
}

impl Bell {
    #[cfg(target_os = "linux")]
    fn new() -> Result<Self> {
        use nix::sys::eventfd::{EfdFlags, EventFd};
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self { readable: EventFd::from_flags(flags).map_err(no_descriptor)?.into() })
    }

    #[cfg(not(target_os = "linux"))]
    fn new() -> Result<Self> {
        use nix::fcntl::{FcntlArg, FdFlag, fcntl};
        let (readable, writable) = nix::unistd::pipe().map_err(no_descriptor)?;
        for end in [&readable, &writable] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(no_descriptor)?;
        }
        Ok(Self { readable, writable })
    }

    /// To be called when it changes, so one write and one read alternate and neither ever waits.
    fn set(&self, ring: bool) {
        #[cfg(target_os = "linux")]
        let writable = &self.readable;
        #[cfg(not(target_os = "linux"))]
        let writable = &self.writable;
        let one = 1u64.to_ne_bytes();
        // The host may have closed what is not its own; nothing can be done for it then.
        let _ = if ring {
            nix::unistd::write(writable, &one)
        } else {
            nix::unistd::read(&self.readable, &mut [0; 8])
        };
    }
}

fn no_descriptor(error: nix::errno::Errno) -> Error {
    Error::new(ErrorKind::QueueFull, format!("no descriptor could be made: {error}"))
}
