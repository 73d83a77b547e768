//! Consumers: what hands events out, in three ways.

use crate::boundary::{boundary, required, value};
use crate::channel::{Channel, amochats_channel};
use crate::completion::{Completion, amochats_callback, in_callback, outside_of_callbacks};
use crate::delivery::{Delivery, Settlement, amochats_delivery};
use crate::engine::{Engine, Timeout, is_closed};
use crate::error::amochats_error;
use crate::handle::{self, Kind};
use crate::queue::{Next, Queue};
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use amochats_core::{Error, ErrorKind, Result};
use amochats_runtime::store::{Filter, Start};
use amochats_runtime::{ConsumerOptions, Event, Inbox, Outbox};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// Receives the events of a subscription, one of possibly several that share it. Made by
/// amochats_consumer_open(), freed by the caller with amochats_consumer_free(). Any thread may use it.
///
/// There are three ways to receive: amochats_consumer_next() that waits; amochats_consumer_fd() in a
/// loop of the caller's, with amochats_consumer_next() that does not wait, or with
/// amochats_consumer_dispatch(); and a handler on a thread of the library.
pub struct amochats_consumer {
    _opaque: [u8; 0],
}

/// How a consumer works. Made by amochats_consumer_options_new(), freed by the caller with
/// amochats_consumer_options_free(). Not for several threads at once.
#[expect(clippy::struct_excessive_bools, reason = "each has its own setter")]
pub struct amochats_consumer_options {
    options: ConsumerOptions,
    create: bool,
    temporary: bool,
    live: bool,
    dispatch: bool,
}

/// What a handler says of a delivery.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum amochats_verdict {
    /// It was dealt with. The library acknowledges and frees it.
    Ack = 0,
    /// Hand it out again, later each time. The library refuses and frees it.
    Nack = 1,
    /// Give it up. The library makes it a dead letter and frees it.
    Dead = 2,
    /// The handler keeps it: it settles and frees it itself, then or later.
    Keep = 3,
}

/// Receives deliveries, one at a time, and returns an amochats_verdict. It may call nothing that
/// blocks. A number that is none counts as AMOCHATS_VERDICT_NACK.
pub type amochats_handler =
    Option<unsafe extern "C" fn(user_data: *mut c_void, delivery: *mut amochats_delivery) -> u32>;

/// Makes options with the defaults: at most 100 unsettled deliveries, leases of 60 s.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_options_new() -> *mut amochats_consumer_options {
    value(std::ptr::null_mut(), || {
        Box::into_raw(Box::new(amochats_consumer_options {
            options: ConsumerOptions::default(),
            create: false,
            temporary: false,
            live: true,
            dispatch: false,
        }))
    })
}

/// Sets the most deliveries that may be unsettled at a time, 1 to 10000; those that wait in the
/// consumer count.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_options_set_max_outstanding(
    options: Option<&mut amochats_consumer_options>,
    max: u32,
) {
    set(options, |options| options.options.max_outstanding = max as usize);
}

/// Sets the most bytes of bodies that may be unsettled at a time, 1 or more; of one delivery it may be more, or
/// a larger event would never come. At first only their number is bounded.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_options_set_max_outstanding_bytes(
    options: Option<&mut amochats_consumer_options>,
    max: u64,
) {
    set(options, |options| {
        options.options.max_outstanding_bytes = usize::try_from(max).unwrap_or(usize::MAX);
    });
}

/// Sets how long a delivery may stay unsettled before it is handed out again, 1 s to 12 h. It counts
/// from when the consumer got it, so what waits long in the consumer has less.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_options_set_lease_ms(
    options: Option<&mut amochats_consumer_options>,
    lease_ms: u64,
) {
    set(options, |options| options.options.lease = Duration::from_millis(lease_ms));
}

/// Makes the subscription, from the oldest event that is kept on, where there is none of its name.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_options_set_create(
    options: Option<&mut amochats_consumer_options>,
    create: bool,
) {
    set(options, |options| options.create = create);
}

/// Gives the consumer a subscription of its own that begins now and leaves no trace; the name must be
/// empty.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_options_set_temporary(
    options: Option<&mut amochats_consumer_options>,
    temporary: bool,
) {
    set(options, |options| options.temporary = temporary);
}

/// Says whether events that are not kept, as typing, are handed out, too; true unless set.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_options_set_live(
    options: Option<&mut amochats_consumer_options>,
    live: bool,
) {
    set(options, |options| options.live = live);
}

/// Runs the handler, and the completions of settlements and calls that
/// amochats_channel_set_dispatcher() sends here, in amochats_consumer_dispatch() alone: no callback comes
/// from a thread of the library.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_options_set_dispatch(
    options: Option<&mut amochats_consumer_options>,
    dispatch: bool,
) {
    set(options, |options| options.dispatch = dispatch);
}

fn set(options: Option<&mut amochats_consumer_options>, set: impl FnOnce(&mut amochats_consumer_options)) {
    value((), || options.map_or((), set));
}

/// Frees options; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_options_free(options: Option<Box<amochats_consumer_options>>) {
    value((), || drop(options));
}

pub(crate) struct Consumer {
    engine: Arc<Engine>,
    inbox: Inbox,
    outbox: Outbox,
    queue: Arc<Queue>,
    stop: CancellationToken,
    dispatch: bool,
    /// Whether there is a handler; asked where it may be running on this thread.
    handled: AtomicBool,
    current: Mutex<Option<Handler>>,
}

impl Kind for Consumer {
    type C = amochats_consumer;
    const NAME: &'static str = "amochats_consumer";
    const MARK: u64 = 0x616d_6f63_6f6e_7375;
}

/// What is called with deliveries, and once at the end.
struct Handler {
    callback: amochats_handler,
    user_data: *mut c_void,
    /// Gone once it was told.
    ended: Option<Completion>,
}

// SAFETY: C promises that the handler may be called from any thread with its user data.
unsafe impl Send for Handler {}

impl Handler {
    /// Calls C.
    fn call(&self, delivery: Delivery) {
        let Some(callback) = self.callback else { return };
        let raw = handle::into_raw(delivery);
        // SAFETY: the delivery is C's until the handler returns; the rest is C's promise.
        let verdict = in_callback(|| unsafe { callback(self.user_data, raw) });
        if verdict == amochats_verdict::Keep as u32 {
            return;
        }
        // A handler that freed or settled it, and kept it not, was wrong; what can be noticed is let be.
        let Ok(Some(delivery)) = handle::take::<Delivery>(raw, "delivery") else { return };
        let how = match verdict {
            0 => Settlement::Ack(None),
            2 => Settlement::Dead,
            _ => Settlement::Nack(None),
        };
        let delivery = delivery.object();
        if let Ok(settle) = delivery.settle(how) {
            let settle = async move {
                if let Err(error) = settle.await {
                    tracing::warn!(target: "amochats", kind = error.kind().name(), "an event could not be settled: {error}");
                }
            };
            // Where the channel is closing, it comes again.
            let _ = delivery.engine().spawn(settle);
        }
    }

    /// Says once how it ended.
    fn end(&mut self, error: Error) {
        if let Some(ended) = self.ended.take() {
            ended.fire(Err(error));
        }
    }
}

/// Opens a consumer of a subscription. `options` may be NULL.
///
/// AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND where there is none and it is not to be made.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_open(
    channel: *const amochats_channel,
    subscription: amochats_slice<'_>,
    options: Option<&amochats_consumer_options>,
    timeout_ms: i64,
    consumer: Option<&mut MaybeUninit<*mut amochats_consumer>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let consumer = required(consumer, "consumer")?;
        let name = subscription.text("subscription")?.to_owned();
        let (create, temporary, live, dispatch) =
            options.map_or((false, false, true, false), |o| (o.create, o.temporary, o.live, o.dispatch));
        let options = options.map_or_else(ConsumerOptions::default, |options| options.options.clone());
        if temporary && (create || !name.is_empty()) {
            return Err(Error::invalid("subscription", "must be empty where it is temporary"));
        }
        let inbox = channel.inbox().clone();
        let opening = async move {
            let live = live.then(|| inbox.live());
            if temporary {
                return Ok((inbox.temporary_consumer(options).await?, live));
            }
            if create {
                inbox.create_filtered(&name, Start::Oldest, Filter::default()).await?;
            }
            Ok((inbox.consumer(&name, options).await?, live))
        };
        let (inner, live) = channel.engine().run(Timeout::of_ms(timeout_ms), opening)?;
        let engine = channel.engine().clone();
        let (queue, stop) = (Queue::new()?, engine.stop().child_token());
        engine.spawn(hand_out(inner, live, queue.clone(), stop.clone()))?;
        let opened = Consumer {
            engine,
            inbox: channel.inbox().clone(),
            outbox: channel.outbox().clone(),
            queue,
            stop,
            dispatch,
            handled: AtomicBool::new(false),
            current: Mutex::new(None),
        };
        consumer.write(handle::into_raw(opened));
        Ok(())
    })
}

/// Brings deliveries to where C takes them, until it is stopped or the subscription ends.
async fn hand_out(
    mut consumer: amochats_runtime::Consumer,
    mut live: Option<broadcast::Receiver<Arc<Event>>>,
    queue: Arc<Queue>,
    stop: CancellationToken,
) {
    // Told also where this task is dropped.
    let ending = Ending(queue.clone());
    let end = loop {
        let event = async {
            match &mut live {
                Some(live) => live.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => break is_closed(),
            event = event => match event {
                Ok(event) => queue.push_live(amochats_runtime::Delivery {
                    ack_id: String::new(),
                    attempt: 1,
                    again: false,
                    event: Arc::unwrap_or_clone(event),
                }),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => live = None,
            },
            deliveries = consumer.next() => match deliveries {
                Ok(deliveries) => queue.push(deliveries),
                // The store may be well again in a while; until then it is said once each time.
                Err(error) if matches!(error.kind(), ErrorKind::StoreFailed | ErrorKind::StoreFull) => {
                    queue.problem(error);
                    let _ = stop.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await;
                }
                Err(error) => break error,
            },
        }
    };
    consumer.close().await;
    queue.end(end);
    drop(ending);
}

struct Ending(Arc<Queue>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(is_closed());
    }
}

impl Consumer {
    fn handler(&self) -> MutexGuard<'_, Option<Handler>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes deliveries for C.
    fn maker(&self) -> impl Fn(amochats_runtime::Delivery) -> Delivery + Send + use<> {
        let (engine, inbox, outbox) = (self.engine.clone(), self.inbox.clone(), self.outbox.clone());
        let queue = self.dispatch.then(|| Arc::downgrade(&self.queue));
        move |delivery| Delivery::new(engine.clone(), inbox.clone(), outbox.clone(), queue.clone(), delivery)
    }

    fn close(&self, timeout: Timeout) -> Result<()> {
        outside_of_callbacks()?;
        self.engine.same_process()?;
        self.stop.cancel();
        self.queue.wait_for_end(timeout)
    }
}

/// Waits for a delivery: `timeout_ms` of 0 does not wait, a negative one waits for ever. Writes NULL
/// where none came in time. The caller settles the delivery and frees it.
///
/// AMOCHATS_RESULT_CLOSED, again and again, once the consumer or its channel is closed;
/// AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND likewise once the subscription is deleted; after
/// AMOCHATS_RESULT_STORE_FAILED and AMOCHATS_RESULT_STORE_FULL the consumer goes on.
/// AMOCHATS_RESULT_MISUSE where there is a handler. Several threads may wait; each gets its own.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_next(
    consumer: *const amochats_consumer,
    timeout_ms: i64,
    delivery: Option<&mut MaybeUninit<*mut amochats_delivery>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let consumer = handle::get::<Consumer>(consumer, "consumer")?;
        let delivery = required(delivery, "delivery")?;
        consumer.engine.same_process()?;
        if timeout_ms != 0 {
            outside_of_callbacks()?;
        }
        if consumer.handled.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Misuse, "consumer: has a handler, which gets the deliveries"));
        }
        let next = match timeout_ms {
            0 => consumer.queue.try_next(),
            _ => consumer.queue.next(Timeout::of_ms(timeout_ms)),
        };
        let next = match next {
            None => std::ptr::null_mut(),
            Some(Next::Delivery(next)) => handle::into_raw(consumer.maker()(*next)),
            Some(Next::Problem(error) | Next::End(error)) => return Err(error),
        };
        delivery.write(next);
        Ok(())
    })
}

/// Returns a descriptor to wait for with poll(), epoll or an event loop: readable exactly while
/// amochats_consumer_next() would return something without waiting, be it the end, or while
/// amochats_consumer_dispatch() has something to run. Level-triggered. It is the library's: do not read,
/// write or close it; it ends with amochats_consumer_free(). -1 for what is no consumer.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_fd(consumer: *const amochats_consumer) -> i32 {
    value(-1, || handle::get::<Consumer>(consumer, "consumer").map_or(-1, |consumer| consumer.queue.fd()))
}

/// Has deliveries given to a handler, one at a time, from now on: by a thread of the library, or by
/// amochats_consumer_dispatch() where the options say so. `ended` is called exactly once, after the last
/// delivery, with the error that amochats_consumer_next() would return; it may be NULL.
///
/// AMOCHATS_RESULT_MISUSE where there is a handler already.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_set_handler(
    consumer: *const amochats_consumer,
    handler: amochats_handler,
    ended: amochats_callback,
    user_data: *mut c_void,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let consumer = handle::get::<Consumer>(consumer, "consumer")?;
        let callback = Some(required(handler, "handler")?);
        consumer.engine.same_process()?;
        if consumer.handled.swap(true, Ordering::AcqRel) {
            return Err(Error::new(ErrorKind::Misuse, "consumer: has a handler already"));
        }
        if consumer.dispatch {
            let ended = Some(Completion::new(ended, user_data, None));
            *consumer.handler() = Some(Handler { callback, user_data, ended });
            return Ok(());
        }
        consumer.queue.set_driven(true);
        let driving = Driving(consumer.queue.clone());
        let mut handler = Handler { callback, user_data, ended: None };
        let (queue, make) = (consumer.queue.clone(), consumer.maker());
        let ended = Ended(ended, user_data);
        consumer.engine.spawn(async move {
            // Made here, where nothing can fail any more: who gets an error is not called.
            handler.ended = Some(ended.completion());
            drive(handler, queue, make).await;
            drop(driving);
        })
    })
}

/// A callback with its user data, on the way to another thread.
struct Ended(amochats_callback, *mut c_void);

// SAFETY: C promises that the callback may be called from any thread with its user data.
unsafe impl Send for Ended {}

impl Ended {
    fn completion(self) -> Completion {
        Completion::new(self.0, self.1, None)
    }
}

/// A task calls the handler for as long as this lives.
struct Driving(Arc<Queue>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.set_driven(false);
    }
}

/// Gives deliveries to a handler, on threads that may take their time.
async fn drive(
    mut handler: Handler,
    queue: Arc<Queue>,
    make: impl Fn(amochats_runtime::Delivery) -> Delivery,
) {
    loop {
        match queue.try_next() {
            None => queue.filled.notified().await,
            Some(Next::Delivery(next)) => {
                let next = make(*next);
                let called = tokio::task::spawn_blocking(move || {
                    handler.call(next);
                    handler
                });
                match called.await {
                    Ok(back) => handler = back,
                    // A bug was caught; the handler was told of its end when it was dropped.
                    Err(_) => return,
                }
            }
            // The store's trouble is in the log; the consumer goes on.
            Some(Next::Problem(error)) => {
                tracing::warn!(target: "amochats", kind = error.kind().name(), "the store could not hand out: {error}");
            }
            Some(Next::End(error)) => return handler.end(error),
        }
    }
}

/// Runs what waits on this thread, without waiting: completions first, then the handler, for at most
/// `max` of both together. Writes how many it ran; 0 means that nothing waits. After the end the
/// handler's `ended` is run once. `ran` may be NULL.
///
/// AMOCHATS_RESULT_MISUSE inside a callback. One thread at a time runs the handler of a consumer.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_dispatch(
    consumer: *const amochats_consumer,
    max: u32,
    ran: Option<&mut MaybeUninit<u32>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let consumer = handle::get::<Consumer>(consumer, "consumer")?;
        consumer.engine.same_process()?;
        outside_of_callbacks()?;
        let mut count = 0;
        while count < max && consumer.dispatch_one() {
            count += 1;
        }
        if let Some(ran) = ran {
            ran.write(count);
        }
        Ok(())
    })
}

impl Consumer {
    /// Runs one thing that waits; says whether there was one.
    fn dispatch_one(&self) -> bool {
        if let Some(ready) = self.queue.take_completion() {
            ready.run();
            return true;
        }
        if !self.dispatch {
            return false;
        }
        // Held while C is called, which may not come here again: a callback may not dispatch.
        let mut current = self.handler();
        let Some(handler) = current.as_mut() else { return false };
        match self.queue.try_next() {
            None => false,
            Some(Next::Delivery(next)) => {
                handler.call(self.maker()(*next));
                true
            }
            Some(Next::Problem(_)) => true,
            Some(Next::End(error)) => {
                let told = handler.ended.is_none();
                handler.end(error);
                !told
            }
        }
    }
}

/// Ends the consumer: what it holds unsettled is handed out again, as if it had not been, and
/// amochats_consumer_next() returns AMOCHATS_RESULT_CLOSED from now on. Waits until that is done and no
/// handler runs.
///
/// AMOCHATS_RESULT_MISUSE inside a callback; AMOCHATS_RESULT_TIMEOUT where it ends later than in time.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_close(
    consumer: *const amochats_consumer,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || handle::get::<Consumer>(consumer, "consumer")?.close(Timeout::of_ms(timeout_ms)))
}

/// Closes the consumer within 5 s where it is not, runs the completions that wait in it on this thread
/// and frees it with its descriptor. Its deliveries stay, and may be freed later. In a callback it does
/// nothing, since it would wait for itself. NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_consumer_free(consumer: *mut amochats_consumer) {
    value((), || {
        if outside_of_callbacks().is_err() {
            return;
        }
        let Ok(Some(consumer)) = handle::take::<Consumer>(consumer, "consumer") else { return };
        if consumer.object().engine.same_process().is_err() {
            // Its locks may be held by threads that are not here.
            std::mem::forget(consumer);
            return;
        }
        let object = consumer.object();
        // It ends later where it does not end now.
        let _ = object.close(Timeout::of_ms(5000));
        for ready in object.queue.free() {
            ready.run();
        }
        let handler = object.handler().take();
        if let Some(mut handler) = handler {
            handler.end(is_closed());
        }
    });
}

/// Where the completions of a channel's calls go, from `Queue` as a mailbox.
pub(crate) fn dispatcher(consumer: *const amochats_consumer) -> Result<Arc<Queue>> {
    Ok(handle::get::<Consumer>(consumer, "consumer")?.queue.clone())
}
