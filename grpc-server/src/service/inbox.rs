//! The inbox: subscriptions, and the stream that hands events out.

use crate::convert;
use crate::status::{status, status_named, subscribe_field, subscription_field};
use amochats::{Error, ErrorKind};
use amochats_proto::v1;
use amochats_proto::v1::inbox_service_server::InboxService as Service;
use amochats_proto::v1::stream_events_request::Request as Asked;
use amochats_runtime::{Consumer, ConsumerOptions, Delivery, Event, Inbox, Outbox, Verdict};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

/// How many messages may wait in a stream for a slow client; the client slows only itself.
const BUFFER: usize = 4;
/// How many bytes of events go into one message, unless one event alone is larger: clients take 4 MiB
/// unless they are told otherwise.
const MESSAGE: usize = 1 << 20;
/// How many settlements of a stream may be under way; a client that sends more waits.
const SETTLING: usize = 1000;

/// `amochats.v1.InboxService` over an inbox.
pub struct InboxService {
    inbox: Inbox,
    outbox: Outbox,
    stop: CancellationToken,
    streams: TaskTracker,
}

impl InboxService {
    /// The service over this inbox; delivery statuses go out through the outbox. Streams end at
    /// `stop`; `streams` tells when all have given back what they held.
    pub fn new(inbox: Inbox, outbox: Outbox, stop: CancellationToken, streams: TaskTracker) -> Self {
        Self { inbox, outbox, stop, streams }
    }

    /// The consumer that a stream asks for; its subscription is made first where it asks for that.
    async fn subscribe(&self, asked: v1::Subscribe) -> amochats::Result<Consumer> {
        let mut options = ConsumerOptions::default();
        if asked.max_outstanding > 0 {
            options.max_outstanding = usize::try_from(asked.max_outstanding).unwrap_or(usize::MAX);
        }
        if let Some(lease) = asked.lease {
            options.lease = convert::duration(lease, "lease")?;
        }
        if asked.temporary {
            if !asked.subscription.is_empty() {
                return Err(Error::invalid(
                    "subscription",
                    "must be empty where the subscription is temporary",
                ));
            }
            return self.inbox.temporary_consumer(options).await;
        }
        if let Some(create) = asked.create {
            let filter = convert::filter(&create)?;
            self.inbox.create_filtered(&asked.subscription, convert::start(Some(create))?, filter).await?;
        }
        self.inbox.consumer(&asked.subscription, options).await
    }
}

#[tonic::async_trait]
impl Service for InboxService {
    type StreamEventsStream = ReceiverStream<Result<v1::StreamEventsResponse, Status>>;

    async fn stream_events(
        &self,
        request: Request<Streaming<v1::StreamEventsRequest>>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|first| first.request);
        let Some(Asked::Subscribe(asked)) = first else {
            return Err(status(&Error::invalid("subscribe", "must be the first request")));
        };
        let live = self.inbox.live();
        let mut consumer =
            self.subscribe(asked).await.map_err(|error| status_named(&error, subscribe_field))?;
        let (responses, stream) = mpsc::channel(BUFFER);
        let session = Session {
            inbox: self.inbox.clone(),
            outbox: self.outbox.clone(),
            stop: self.stop.clone(),
            responses,
        };
        self.streams.spawn(async move {
            let end = session.run(&mut consumer, live, requests).await;
            if session.stop.is_cancelled() {
                consumer.close().await;
            } else {
                consumer.abandon().await;
            }
            if let Err(end) = end {
                // A client that went away, or does not read, gets no farewell.
                let _ = session.responses.try_send(Err(end));
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn create_subscription(
        &self,
        request: Request<v1::CreateSubscriptionRequest>,
    ) -> Result<Response<v1::CreateSubscriptionResponse>, Status> {
        let request = request.into_inner();
        let call = async {
            let filter = convert::filter(&request.options.clone().unwrap_or_default())?;
            self.inbox.create_filtered(&request.name, convert::start(request.options)?, filter).await?;
            self.inbox.subscriptions().await
        };
        let all = call.await.map_err(|error| status_named(&error, subscription_field))?;
        let made = all.into_iter().find(|state| state.name == request.name);
        Ok(Response::new(v1::CreateSubscriptionResponse { subscription: made.map(convert::subscription) }))
    }

    async fn list_subscriptions(
        &self,
        _request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        let all = self.inbox.subscriptions().await.map_err(|error| status(&error))?;
        let subscriptions = all.into_iter().map(convert::subscription).collect();
        Ok(Response::new(v1::ListSubscriptionsResponse { subscriptions }))
    }

    async fn delete_subscription(
        &self,
        request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        self.inbox.delete_subscription(&request.into_inner().name).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::DeleteSubscriptionResponse {}))
    }
}

/// One stream.
struct Session {
    inbox: Inbox,
    outbox: Outbox,
    stop: CancellationToken,
    responses: mpsc::Sender<Result<v1::StreamEventsResponse, Status>>,
}

impl Session {
    /// Works until the client, the server or the subscription ends. `Err` is what the client is
    /// told last.
    async fn run(
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
                        settling.push(settle(self.inbox.clone(), self.outbox.clone(), request, lease));
                        continue;
                    }
                    Ok(Some(_)) => return Err(status(&Error::invalid("request", "is empty"))),
                },
                Some(settled) = settling.next() => response.settled.push(settled),
                event = live.recv() => match event {
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

/// Does what a request asks and says what became of it, after the commit.
async fn settle(inbox: Inbox, outbox: Outbox, request: Asked, lease: Duration) -> v1::SettleResult {
    let mut outbox_item_id = String::new();
    let (ack_id, settled) = match request {
        Asked::Subscribe(_) => {
            (String::new(), Err(Error::invalid("request", "subscribe is the first request alone")))
        }
        Asked::Ack(v1::Ack { ack_id, delivery_status: None }) => {
            let settled = inbox.settle(&ack_id, Verdict::Ack).await;
            (ack_id, settled)
        }
        Asked::Ack(v1::Ack { ack_id, delivery_status: Some(status) }) => {
            let settled = match convert::delivery_status(status, "delivery_status") {
                Ok(status) => {
                    outbox.acknowledge(&ack_id, status).await.map(|item| outbox_item_id = item.item_id)
                }
                Err(error) => Err(error),
            };
            (ack_id, settled)
        }
        Asked::Nack(v1::Nack { ack_id, dead, delay }) => {
            let settled = match delay.map(|delay| convert::duration(delay, "delay")).transpose() {
                Ok(_) if dead => inbox.settle(&ack_id, Verdict::Dead).await,
                Ok(delay) => inbox.settle(&ack_id, Verdict::Nack(delay)).await,
                Err(error) => Err(error),
            };
            (ack_id, settled)
        }
        Asked::ExtendLease(v1::ExtendLease { ack_id, lease: asked }) => {
            let lease = asked.map_or(Ok(lease), |lease| convert::duration(lease, "lease"));
            let extended = lease.and_then(|lease| inbox.extend(&ack_id, lease));
            (ack_id, extended)
        }
    };
    match settled {
        Ok(()) => v1::SettleResult { ack_id, ok: true, outbox_item_id, ..Default::default() },
        Err(error) => v1::SettleResult {
            ack_id,
            ok: false,
            reason: error.kind().name().to_owned(),
            message: error.message().to_owned(),
            outbox_item_id,
        },
    }
}
