//! The stream that hands events out and takes their settlement.

use super::Sending;
use super::pull::settle;
use crate::convert;
use crate::status::status;
use amochats::{Error, ErrorKind};
use amochats_proto::v1;
use amochats_runtime::store::Filter;
use amochats_runtime::{Consumer, Delivery, Event, Inbox};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use prost::Message as _;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

/// How many bytes of events go into one message, unless one event alone is larger: clients take 4 MiB
/// unless they are told otherwise.
const MESSAGE: usize = 1 << 20;
/// How many settlements of a stream may be under way; a client that sends more waits.
const SETTLING: usize = 1000;

/// One stream.
pub(super) struct Session {
    pub(super) inbox: Inbox,
    pub(super) sending: Sending,
    pub(super) stop: CancellationToken,
    /// Of the subscription, for what is handed out live.
    pub(super) filter: Filter,
    pub(super) responses: mpsc::Sender<Result<v1::StreamEventsResponse, Status>>,
}

impl Session {
    /// Works until the client, the server or the subscription ends. `Err` is what the client is
    /// told last.
    pub(super) async fn run(
        &self,
        consumer: &mut Consumer,
        mut live: broadcast::Receiver<Arc<Event>>,
        mut requests: Streaming<v1::StreamEventsRequest>,
    ) -> Result<(), Status> {
        let subscribed = Some(v1::Subscribed { subscription: consumer.subscription().to_owned() });
        self.send(v1::StreamEventsResponse { subscribed, ..Default::default() }).await;
        let lease = consumer.lease();
        let mut settling = FuturesUnordered::new();
        loop {
            let mut response = v1::StreamEventsResponse::default();
            tokio::select! {
                () = self.stop.cancelled() => {
                    let stopping = Error::new(ErrorKind::Closed, "the server is stopping; connect again");
                    return Err(status(&stopping));
                }
                () = self.responses.closed() => return Ok(()),
                request = requests.message(), if settling.len() < SETTLING => match request {
                    // Cancelled, or the connection broke: nobody is there to be told.
                    Err(_) => return Ok(()),
                    // No more settlements will come: those under way are still confirmed.
                    Ok(None) => {
                        response.settled = settling.collect().await;
                        self.send(response).await;
                        return Ok(());
                    }
                    Ok(Some(v1::StreamEventsRequest { request: Some(request) })) => {
                        // A token that is gone settles nothing, though the stream began with it.
                        self.sending.last()?;
                        settling.push(settle(self.inbox.clone(), self.sending.clone(), request, lease));
                        continue;
                    }
                    Ok(Some(_)) => return Err(status(&Error::invalid("request", "is empty"))),
                },
                Some(settled) = settling.next() => response.settled.push(settled),
                event = live.recv() => match event {
                    Ok(event) if !self.filter.fits_live(&event) => continue,
                    Ok(event) => response.deliveries.push(convert::delivery(Delivery {
                        ack_id: String::new(),
                        attempt: 1,
                        again: false,
                        event: Arc::unwrap_or_clone(event),
                    })),
                    // Typing is worth nothing when it is late.
                    Err(_) => continue,
                },
                deliveries = consumer.next() => {
                    let deliveries = deliveries.map_err(|error| status(&error))?;
                    for delivery in deliveries.into_iter().map(convert::delivery) {
                        let size = response.encoded_len() + delivery.encoded_len();
                        if size > MESSAGE && !response.deliveries.is_empty() {
                            self.send(std::mem::take(&mut response)).await;
                        }
                        response.deliveries.push(delivery);
                    }
                }
            }
            // What else is settled by now goes along.
            while let Some(Some(settled)) = settling.next().now_or_never() {
                response.settled.push(settled);
            }
            self.send(response).await;
        }
    }

    /// Waits for a slow client, but not beyond the server's stop: what it has not received is handed
    /// out again. A client that went away is noticed by `closed`.
    async fn send(&self, response: v1::StreamEventsResponse) {
        let _ = self.stop.run_until_cancelled(self.responses.send(Ok(response))).await;
    }
}
