//! Events on their way to Python: leased here, taken there, several at a time.

use crate::bridge::{self, Home, Work};
use crate::client::unknown_call;
use crate::records;
use amochats::Result;
use amochats_runtime::{Consumer, ConsumerOptions, Delivery, Event, Inbox};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// An event that waits to be taken.
struct Taken {
    ack_id: String,
    attempt: u32,
    again: bool,
    json: Map<String, Value>,
    raw: bytes::Bytes,
}

impl Taken {
    fn of(delivery: Delivery) -> Self {
        let Delivery { ack_id, attempt, again, event } = delivery;
        let Value::Object(mut json) = event.to_json() else { unreachable!("an event is an object") };
        // A body that is not JSON is there as text, too.
        json.shift_remove("raw");
        Self { ack_id, attempt, again, json, raw: event.raw }
    }
}

/// A consumer of a channel.
pub(crate) struct Receiving {
    inbox: Inbox,
    source: tokio::sync::Mutex<Source>,
    taken: Mutex<Vec<Taken>>,
    ended: CancellationToken,
}

enum Source {
    New { subscription: Option<String>, options: ConsumerOptions },
    Open { consumer: Consumer, live: broadcast::Receiver<Arc<Event>> },
    Ended,
}

impl Receiving {
    /// Of a subscription, or of one of its own. `ended` ends it without giving anything back.
    pub(crate) fn new(
        inbox: Inbox,
        subscription: Option<String>,
        options: ConsumerOptions,
        ended: CancellationToken,
    ) -> Self {
        let source = tokio::sync::Mutex::new(Source::New { subscription, options });
        Self { inbox, source, taken: Mutex::default(), ended }
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self, source: &mut Source) -> Result<()> {
        let Source::New { subscription, options } = source else { return Ok(()) };
        let live = self.inbox.live();
        let consumer = match subscription {
            Some(name) => self.inbox.consumer(name, options.clone()).await?,
            None => self.inbox.temporary_consumer(options.clone()).await?,
        };
        *source = Source::Open { consumer, live };
        Ok(())
    }

    /// Waits until there is something to take. What was received before the caller gave up waiting is
    /// there for the next one. Says `false` at the end.
    async fn ready(&self) -> Result<Vec<u8>> {
        let mut source = self.source.lock().await;
        if self.ended.is_cancelled() {
            return Ok(b"false".to_vec());
        }
        self.open(&mut source).await?;
        loop {
            if !self.taken().is_empty() {
                return Ok(b"true".to_vec());
            }
            let Source::Open { consumer, live } = &mut *source else { return Ok(b"false".to_vec()) };
            tokio::select! {
                () = self.ended.cancelled() => return Ok(b"false".to_vec()),
                event = live.recv() => match event {
                    Ok(event) => self.taken().push(Taken::of(Delivery {
                        ack_id: String::new(),
                        attempt: 1,
                        again: false,
                        event: Arc::unwrap_or_clone(event),
                    })),
                    // Typing is worth nothing when it is late.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Ok(b"false".to_vec()),
                },
                deliveries = consumer.next() => {
                    let deliveries: Vec<Taken> = deliveries?.into_iter().map(Taken::of).collect();
                    self.taken().extend(deliveries);
                }
            }
        }
    }

    /// Gives back what was not settled; after a failure as a failed attempt.
    pub(crate) async fn end(&self, failed: bool) {
        self.ended.cancel();
        self.taken().clear();
        let source = std::mem::replace(&mut *self.source.lock().await, Source::Ended);
        if let Source::Open { consumer, .. } = source {
            if failed { consumer.abandon().await } else { consumer.close().await }
        }
    }
}

/// A consumer, for Python.
#[pyclass(frozen, module = "amochats._amochats", name = "Consumer")]
pub(crate) struct NativeConsumer(Home<Arc<Receiving>>);

impl NativeConsumer {
    pub(crate) fn of(receiving: Arc<Receiving>) -> Self {
        Self(Home::new(receiving))
    }

    pub(crate) fn work(&self, name: &str) -> Work {
        let receiving = Arc::clone(&self.0);
        match name {
            "open" => Box::pin(async move {
                receiving.open(&mut *receiving.source.lock().await).await?;
                Ok(Vec::new())
            }),
            "ready" => Box::pin(async move { receiving.ready().await }),
            "close" | "abandon" => {
                let failed = name == "abandon";
                Box::pin(async move {
                    receiving.end(failed).await;
                    Ok(Vec::new())
                })
            }
            _ => {
                let error = unknown_call(name);
                Box::pin(async move { Err(error) })
            }
        }
    }
}

type ForPython<'py> = (String, u32, bool, Bound<'py, PyAny>);

#[pymethods]
impl NativeConsumer {
    /// What is there: `ack_id`, attempt, whether it comes again, and the event, an object of one of the
    /// `shapes` by its kind.
    fn take<'py>(&self, shapes: &Bound<'py, PyDict>) -> PyResult<Vec<ForPython<'py>>> {
        let taken = std::mem::take(&mut *self.0.taken());
        let for_python = |taken: Taken| {
            let Taken { ack_id, attempt, again, mut json, raw } = taken;
            let kind = json.shift_remove("kind").unwrap_or_default();
            let kind = kind.as_str().unwrap_or_default();
            let raw = PyBytes::new(shapes.py(), &raw);
            let event = records::event(shapes, kind, &mut records::named(json), raw)?;
            Ok((ack_id, attempt, again, event))
        };
        taken.into_iter().map(for_python).collect()
    }
}

impl Drop for NativeConsumer {
    /// Nobody can settle any more what it has: it vanished, which is a failed attempt.
    fn drop(&mut self) {
        if let Ok(bridge) = bridge::bridge() {
            let receiving = Arc::clone(&self.0);
            bridge.finish(async move { receiving.end(true).await });
        }
    }
}
