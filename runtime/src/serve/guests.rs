//! Who is connected, and who must leave.
//!
//! A listener that is full does not shut the door: whoever has been silent longest makes room, those
//! first that never sent a whole request. Thousands of idle connections so keep nobody else out.

use crate::clock::Clock;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What a listener takes from its peers. It can be changed while it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerLimits {
    /// In all.
    pub(crate) connections: usize,
    /// Of one address; trusted proxies are exempt.
    pub(crate) per_peer: usize,
    /// For a request's head, from its first byte; for the first one from the connection on.
    pub(crate) head: Duration,
    /// Without a request.
    pub(crate) keep_alive: Duration,
}

pub(crate) struct Guests {
    clock: Arc<dyn Clock>,
    /// As in the limits, in microseconds, for every request to read.
    head: AtomicU64,
    keep_alive: AtomicU64,
    state: Mutex<State>,
    /// Somebody left, or fell silent and may be asked to leave.
    room: Notify,
}

struct State {
    limits: PeerLimits,
    next: u64,
    open: HashMap<u64, (Arc<Phase>, CancellationToken)>,
    of_peer: HashMap<IpAddr, usize>,
}

impl Guests {
    pub(crate) fn new(limits: PeerLimits, clock: Arc<dyn Clock>) -> Arc<Self> {
        let state = State { limits, next: 0, open: HashMap::new(), of_peer: HashMap::new() };
        let (head, keep_alive) =
            (AtomicU64::new(micros(limits.head)), AtomicU64::new(micros(limits.keep_alive)));
        Arc::new(Self { clock, head, keep_alive, state: Mutex::new(state), room: Notify::new() })
    }

    /// Limits for those who come from now on, and for what the others do next.
    pub(crate) fn set_limits(&self, limits: PeerLimits) {
        self.head.store(micros(limits.head), Ordering::Relaxed);
        self.keep_alive.store(micros(limits.keep_alive), Ordering::Relaxed);
        self.state().limits = limits;
        self.room.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in, once there is room; says whether another one had to leave for it.
    pub(crate) async fn admit(self: &Arc<Self>) -> (Guest, bool) {
        let mut asked = false;
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // From now on nobody leaves unnoticed.
            room.as_mut().enable();
            {
                let mut state = self.state();
                if state.open.len() < state.limits.connections {
                    return (self.seat(&mut state), asked);
                }
                let longest = state
                    .open
                    .values()
                    .filter(|(phase, _)| !phase.is_busy())
                    .min_by_key(|(phase, _)| (phase.has_served(), phase.since.load(Ordering::Relaxed)));
                if let Some((_, leave)) = longest {
                    leave.cancel();
                    asked = true;
                    // It counts until it is gone, which it says.
                }
            }
            room.await;
        }
    }

    fn seat(self: &Arc<Self>, state: &mut State) -> Guest {
        let now = self.clock.monotonic();
        let phase = Arc::new(Phase {
            deadline: AtomicU64::new(micros(now + state.limits.head)),
            since: AtomicU64::new(micros(now)),
            busy: AtomicUsize::new(0),
            served: AtomicBool::new(false),
            expired: AtomicBool::new(false),
            listening: AtomicBool::new(true),
        });
        let leave = CancellationToken::new();
        let number = state.next;
        state.next += 1;
        state.open.insert(number, (phase.clone(), leave.clone()));
        Guest { guests: self.clone(), number, peer: None, phase, leave }
    }
}

/// A connection's seat, free again once it is dropped.
pub(crate) struct Guest {
    guests: Arc<Guests>,
    number: u64,
    peer: Option<IpAddr>,
    phase: Arc<Phase>,
    leave: CancellationToken,
}

impl Guest {
    /// Counts the connection as one of this peer; `false` where it has too many already.
    pub(crate) fn belongs_to(&mut self, address: IpAddr) -> bool {
        let peer = household(address);
        let mut state = self.guests.state();
        let limit = state.limits.per_peer;
        let count = state.of_peer.entry(peer).or_default();
        if *count >= limit {
            return false;
        }
        *count += 1;
        self.peer = Some(peer);
        true
    }

    /// Ends when the connection must make room for another and is not in the middle of a request.
    pub(crate) fn must_leave(&self) -> impl Future<Output = ()> + Send + 'static {
        let (guests, phase, leave) = (self.guests.clone(), self.phase.clone(), self.leave.clone());
        async move {
            leave.cancelled().await;
            loop {
                let mut ended = std::pin::pin!(guests.room.notified());
                ended.as_mut().enable();
                if !phase.is_busy() {
                    return;
                }
                ended.await;
            }
        }
    }

    /// By when a head must be there, or a silent connection has been silent too long; `None` while
    /// a request is answered.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let deadline = self.phase.deadline.load(Ordering::Acquire);
        (deadline != BUSY).then(|| Duration::from_micros(deadline))
    }

    /// The peer said something. Where it was silent before, a head has begun.
    pub(crate) fn heard(&self) {
        // Checked first, since a store is dearer and most reads belong to a request.
        if !self.phase.listening.load(Ordering::Relaxed) && !self.phase.is_busy() {
            let deadline = micros(self.guests.clock.monotonic()) + self.guests.head.load(Ordering::Relaxed);
            self.phase.listening.store(true, Ordering::Relaxed);
            self.phase.deadline.store(deadline, Ordering::Release);
        }
    }

    /// Its time is over.
    pub(crate) fn expired(&self) {
        self.phase.expired.store(true, Ordering::Relaxed);
    }

    /// Why it ended, where its time was over.
    pub(crate) fn end_reason(&self) -> Option<&'static str> {
        let idle = self.phase.has_served() && !self.phase.listening.load(Ordering::Relaxed);
        self.phase.expired.load(Ordering::Relaxed).then_some(if idle { "idle" } else { "slow" })
    }

    /// A request is here.
    pub(crate) fn begin(&self) {
        self.phase.busy.fetch_add(1, Ordering::AcqRel);
        self.phase.listening.store(false, Ordering::Relaxed);
        self.phase.deadline.store(BUSY, Ordering::Release);
    }

    /// It was answered.
    pub(crate) fn end(&self) {
        if self.phase.busy.fetch_sub(1, Ordering::AcqRel) == 1 {
            let now = micros(self.guests.clock.monotonic());
            let keep_alive = self.guests.keep_alive.load(Ordering::Relaxed);
            self.phase.since.store(now, Ordering::Relaxed);
            self.phase.served.store(true, Ordering::Relaxed);
            self.phase.deadline.store(now + keep_alive, Ordering::Release);
            self.guests.room.notify_waiters();
        }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.guests.clock.clone()
    }
}

/// Keeps a connection alive whose answer takes long, for as long as the peer takes some of it: as an
/// extension of the response, and in its body.
#[derive(Clone, Default)]
pub(crate) struct Progress(Arc<OnceLock<Arc<Guest>>>);

impl Progress {
    pub(super) fn is_of(&self, guest: Arc<Guest>) {
        // Each answer is of one guest.
        let _ = self.0.set(guest);
    }

    /// The peer took something.
    pub(crate) fn made(&self) {
        let Some(guest) = self.0.get() else { return };
        if !guest.phase.is_busy() {
            let now = micros(guest.guests.clock.monotonic());
            let keep_alive = guest.guests.keep_alive.load(Ordering::Relaxed);
            guest.phase.since.store(now, Ordering::Relaxed);
            guest.phase.deadline.store(now + keep_alive, Ordering::Release);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut state = self.guests.state();
        state.open.remove(&self.number);
        if let Some(peer) = self.peer
            && let Some(count) = state.of_peer.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                state.of_peer.remove(&peer);
            }
        }
        drop(state);
        self.guests.room.notify_waiters();
    }
}

const BUSY: u64 = u64::MAX;

/// What a connection does at the moment.
struct Phase {
    deadline: AtomicU64,
    /// Since when it is silent.
    since: AtomicU64,
    /// Requests being answered; several with HTTP/2.
    busy: AtomicUsize,
    /// Once a request was answered.
    served: AtomicBool,
    expired: AtomicBool,
    /// While a head is awaited or has begun.
    listening: AtomicBool,
}

impl Phase {
    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0
    }

    fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(BUSY - 1)
}

/// Whom an address counts for: with IPv6 one customer has a whole /64.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}
