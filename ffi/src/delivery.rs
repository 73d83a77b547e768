//! Events that were handed out, and how they are settled.

use crate::boundary::{boundary, value};
use crate::completion::{Mailbox, amochats_callback, outside_of_callbacks};
use crate::engine::{Engine, Timeout, amochats_token};
use crate::error::amochats_error;
use crate::event::amochats_event;
use crate::handle::{self, Kind};
use crate::queue::Queue;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use amochats_core::{DeliveryErrorCode, DeliveryStatus, Error, ErrorKind, Result};
use amochats_runtime::{Inbox, Outbox, Verdict};
use serde_json::Value;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// An event, handed out to one consumer until it is settled or its lease ends. Made by
/// amochats_consumer_next() or given to a handler, freed with amochats_delivery_free().
///
/// Any thread may read and settle it; of several that settle, one succeeds. A second settlement is
/// AMOCHATS_RESULT_MISUSE.
pub struct amochats_delivery {
    _opaque: [u8; 0],
}

pub(crate) struct Delivery {
    engine: Arc<Engine>,
    inbox: Inbox,
    outbox: Outbox,
    ack_id: String,
    attempt: u32,
    again: bool,
    event: amochats_event,
    state: Arc<AtomicU8>,
    /// Where its consumer runs completions.
    queue: Option<Weak<Queue>>,
}

const OPEN: u8 = 0;
const SETTLING: u8 = 1;
const SETTLED: u8 = 2;

impl Kind for Delivery {
    type C = amochats_delivery;
    const NAME: &'static str = "amochats_delivery";
    const MARK: u64 = 0x616d_6f64_656c_6976;
}

/// What becomes of a delivery.
#[derive(Clone)]
pub(crate) enum Settlement {
    Ack(Option<DeliveryStatus>),
    Nack(Option<Duration>),
    Dead,
}

impl Delivery {
    pub(crate) fn new(
        engine: Arc<Engine>,
        inbox: Inbox,
        outbox: Outbox,
        queue: Option<Weak<Queue>>,
        delivery: amochats_runtime::Delivery,
    ) -> Self {
        let amochats_runtime::Delivery { ack_id, attempt, again, event } = delivery;
        let (event, state) = (event.into(), Arc::new(AtomicU8::new(OPEN)));
        Self { engine, inbox, outbox, ack_id, attempt, again, event, state, queue }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Settles it, unless that was begun before. What comes of it is the report's item, if there is one.
    pub(crate) fn settle(
        &self,
        how: Settlement,
    ) -> Result<impl Future<Output = Result<Option<Value>>> + Send + use<>> {
        let claimed = self.state.compare_exchange(OPEN, SETTLING, Ordering::AcqRel, Ordering::Acquire);
        if claimed.is_err() {
            let said = "delivery: was settled before, or is being settled";
            return Err(Error::new(ErrorKind::Misuse, said).with_field("delivery"));
        }
        let claim = Claim(self.state.clone());
        let (inbox, outbox, ack_id) = (self.inbox.clone(), self.outbox.clone(), self.ack_id.clone());
        Ok(async move {
            let settled = match how {
                // It is not kept, so there is nothing to settle.
                _ if ack_id.is_empty() => Ok(None),
                Settlement::Ack(None) => inbox.settle(&ack_id, Verdict::Ack).await.map(|()| None),
                Settlement::Ack(Some(status)) => {
                    outbox.acknowledge(&ack_id, status).await.map(|item| Some(item.to_json()))
                }
                Settlement::Nack(delay) => inbox.settle(&ack_id, Verdict::Nack(delay)).await.map(|()| None),
                Settlement::Dead => inbox.settle(&ack_id, Verdict::Dead).await.map(|()| None),
            };
            if settled.as_ref().map_or_else(|error| error.kind() == ErrorKind::LeaseLost, |_| true) {
                claim.0.store(SETTLED, Ordering::Release);
            }
            settled
        })
    }
}

/// The right to settle; without success it is given back.
struct Claim(Arc<AtomicU8>);

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = self.0.compare_exchange(SETTLING, OPEN, Ordering::AcqRel, Ordering::Acquire);
    }
}

fn nack(delay_ms: i64) -> Settlement {
    Settlement::Nack(u64::try_from(delay_ms).ok().map(Duration::from_millis))
}

/// A delivery status in the vendor's numbers; none where the code is 0.
pub(crate) fn status(
    code: i32,
    error_code: u32,
    error_text: amochats_slice<'_>,
) -> Result<Option<DeliveryStatus>> {
    Ok(match code {
        0 => None,
        1 => Some(DeliveryStatus::Delivered),
        2 => Some(DeliveryStatus::Read),
        -1 => {
            let code = u16::try_from(error_code).unwrap_or(0);
            let error = error_text.text("error_text")?.to_owned();
            Some(DeliveryStatus::Failed { code: DeliveryErrorCode::from_code(code)?, error })
        }
        _ => return Err(Error::invalid("status", "must be 0, 1 (delivered), 2 (read) or -1 (failed)")),
    })
}

/// Returns what the event says; it ends with the delivery.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_delivery_event<'a>(
    delivery: *const amochats_delivery,
) -> Option<&'a amochats_event> {
    value(None, || handle::get::<Delivery>(delivery, "delivery").ok().map(|delivery| &delivery.event))
}

/// Returns which time it is handed out, from 1 on; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_delivery_attempt(delivery: *const amochats_delivery) -> u32 {
    value(0, || handle::get::<Delivery>(delivery, "delivery").map_or(0, |delivery| delivery.attempt))
}

/// Returns whether it was replayed or requeued, so that it is out of its order.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_delivery_is_again(delivery: *const amochats_delivery) -> bool {
    value(false, || handle::get::<Delivery>(delivery, "delivery").is_ok_and(|delivery| delivery.again))
}

/// Returns whether it is not kept, as typing: nobody waits for its settlement, which does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_delivery_is_live(delivery: *const amochats_delivery) -> bool {
    value(false, || {
        handle::get::<Delivery>(delivery, "delivery").is_ok_and(|delivery| delivery.ack_id.is_empty())
    })
}

fn wait(delivery: *const amochats_delivery, how: Settlement, timeout_ms: i64) -> Result<()> {
    let delivery = handle::get::<Delivery>(delivery, "delivery")?;
    // Before it is claimed: where this may not wait, nothing is begun.
    outside_of_callbacks()?;
    let settle = delivery.settle(how)?;
    delivery.engine.run(Timeout::of_ms(timeout_ms), settle).map(drop)
}

fn begin(
    delivery: *const amochats_delivery,
    how: Settlement,
    callback: amochats_callback,
    user_data: *mut c_void,
    token: Option<&mut MaybeUninit<*mut amochats_token>>,
) -> Result<()> {
    let delivery = handle::get::<Delivery>(delivery, "delivery")?;
    let settle = delivery.settle(how)?;
    let mailbox = delivery.queue.as_ref().and_then(Weak::upgrade).map(|queue| queue as Arc<dyn Mailbox>);
    delivery.engine.start_call(callback, user_data, mailbox, token, settle)
}

/// Acknowledges it. AMOCHATS_RESULT_OK means that this is on the disk: it never comes back.
///
/// `status` other than 0 reports to the CRM, in the same transaction, what became of the message: 1
/// delivered, 2 read, -1 failed, with `error_code` 901 to 905 and its text, see
/// amochats_call_set_delivery_status(). The outbox sends the report.
///
/// AMOCHATS_RESULT_LEASE_LOST where the lease ended: it is handed out again. After
/// AMOCHATS_RESULT_TIMEOUT it may be settled.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_delivery_ack(
    delivery: *const amochats_delivery,
    status: i32,
    error_code: u32,
    error_text: amochats_slice<'_>,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let status = self::status(status, error_code, error_text)?;
        wait(delivery, Settlement::Ack(status), timeout_ms)
    })
}

/// Refuses it, so that it is handed out again after `delay_ms`; negative is a delay that grows with
/// each attempt. Its conversation waits with it. After the last attempt it becomes a dead letter.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_delivery_nack(
    delivery: *const amochats_delivery,
    delay_ms: i64,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || wait(delivery, nack(delay_ms), timeout_ms))
}

/// Gives it up: it becomes a dead letter.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_delivery_dead(
    delivery: *const amochats_delivery,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || wait(delivery, Settlement::Dead, timeout_ms))
}

/// Acknowledges it without waiting, see amochats_delivery_ack() and amochats_client_call_async(). The
/// value is the report's item of the outbox, where there is one. The delivery may be freed at once.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_delivery_ack_async(
    delivery: *const amochats_delivery,
    status: i32,
    error_code: u32,
    error_text: amochats_slice<'_>,
    callback: amochats_callback,
    user_data: *mut c_void,
    token: Option<&mut MaybeUninit<*mut amochats_token>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let status = self::status(status, error_code, error_text)?;
        begin(delivery, Settlement::Ack(status), callback, user_data, token)
    })
}

/// Refuses it without waiting, see amochats_delivery_nack() and amochats_client_call_async().
#[unsafe(no_mangle)]
pub extern "C" fn amochats_delivery_nack_async(
    delivery: *const amochats_delivery,
    delay_ms: i64,
    callback: amochats_callback,
    user_data: *mut c_void,
    token: Option<&mut MaybeUninit<*mut amochats_token>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || begin(delivery, nack(delay_ms), callback, user_data, token))
}

/// Gives it up without waiting, see amochats_delivery_dead() and amochats_client_call_async().
#[unsafe(no_mangle)]
pub extern "C" fn amochats_delivery_dead_async(
    delivery: *const amochats_delivery,
    callback: amochats_callback,
    user_data: *mut c_void,
    token: Option<&mut MaybeUninit<*mut amochats_token>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || begin(delivery, Settlement::Dead, callback, user_data, token))
}

/// Gives it more time, from now on: 1 s to 12 h. Waits for nothing.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_delivery_extend(
    delivery: *const amochats_delivery,
    lease_ms: u64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let delivery = handle::get::<Delivery>(delivery, "delivery")?;
        delivery.engine.same_process()?;
        if delivery.ack_id.is_empty() {
            return Ok(());
        }
        delivery.inbox.extend(&delivery.ack_id, Duration::from_millis(lease_ms))
    })
}

/// Frees a delivery. One that was not settled stays leased: it is handed out again when its lease ends
/// or its consumer is closed. NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_delivery_free(delivery: *mut amochats_delivery) {
    value((), || drop(handle::take::<Delivery>(delivery, "delivery")));
}
