//! The inbox: subscriptions, the ways in which events are handed out, and a look into what is kept.

pub(crate) mod events;
mod pull;
mod stream;

use crate::convert;
use crate::security::{Deadline, Permission, Rights};
use crate::status::{pull_field, status, status_named, subscribe_field, subscription_field};
use amochats::Error;
use amochats_proto::v1;
use amochats_proto::v1::inbox_service_server::InboxService as Service;
use amochats_proto::v1::stream_events_request::Request as Asked;
use amochats_runtime::store::{Filter, Start};
use amochats_runtime::{Consumer, ConsumerOptions, Inbox, Outbox};
use stream::Session;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

/// How many messages may wait in a stream for a slow client; the client slows only itself.
const BUFFER: usize = 4;

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

    /// The outbox, as far as the caller may use it.
    fn sending<T>(&self, request: &Request<T>) -> Sending {
        Sending { outbox: self.outbox.clone(), rights: request.extensions().get().cloned() }
    }

    /// The consumer that a stream asks for, and what its subscription lets through; the subscription
    /// is made first where the stream asks for that.
    async fn subscribe(&self, asked: v1::Subscribe) -> amochats::Result<(Consumer, Filter)> {
        let mut options = ConsumerOptions::default();
        if asked.max_outstanding > 0 {
            options.max_outstanding = usize::try_from(asked.max_outstanding).unwrap_or(usize::MAX);
        }
        if asked.max_outstanding_bytes > 0 {
            options.max_outstanding_bytes =
                usize::try_from(asked.max_outstanding_bytes).unwrap_or(usize::MAX);
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
            let create = asked.create.unwrap_or_default();
            let start = convert::inbox::start(&create)?.unwrap_or(Start::Now);
            let filter = convert::inbox::filter(create)?;
            let consumer = self.inbox.temporary_filtered(options, start, filter.clone()).await?;
            return Ok((consumer, filter));
        }
        if let Some(options) = asked.create {
            create(&self.inbox, &asked.subscription, options).await?;
        }
        let consumer = self.inbox.consumer(&asked.subscription, options).await?;
        let all = self.inbox.subscriptions().await?;
        let own = all.into_iter().find(|state| state.name == asked.subscription);
        Ok((consumer, own.map(|state| state.filter).unwrap_or_default()))
    }
}

/// Sends delivery statuses for a caller, as long as its rights let it.
#[derive(Clone)]
struct Sending {
    outbox: Outbox,
    /// None where nobody needs any.
    rights: Option<Rights>,
}

impl Sending {
    /// The outbox, if the caller may send now.
    fn outbox(&self) -> Option<&Outbox> {
        let may = self.rights.as_ref().is_none_or(|rights| rights.permit(Permission::Send));
        may.then_some(&self.outbox)
    }

    /// Whether the caller may still do what it does.
    fn last(&self) -> Result<(), Status> {
        self.rights.as_ref().map_or(Ok(()), Rights::last)
    }
}

/// Makes a subscription, unless there is one of that name.
async fn create(inbox: &Inbox, name: &str, options: v1::CreateOptions) -> amochats::Result<()> {
    let start = convert::inbox::start(&options)?.unwrap_or(Start::Oldest);
    inbox.create_filtered(name, start, convert::inbox::filter(options)?).await.map(drop)
}

fn answered<T>(answer: amochats::Result<T>) -> Result<Response<T>, Status> {
    answer.map(Response::new).map_err(|error| status(&error))
}

#[tonic::async_trait]
impl Service for InboxService {
    type StreamEventsStream = ReceiverStream<Result<v1::StreamEventsResponse, Status>>;

    async fn stream_events(
        &self,
        request: Request<Streaming<v1::StreamEventsRequest>>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let sending = self.sending(&request);
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|first| first.request);
        let Some(Asked::Subscribe(asked)) = first else {
            return Err(status(&Error::invalid("subscribe", "must be the first request")));
        };
        let live = self.inbox.live();
        let (mut consumer, filter) =
            self.subscribe(asked).await.map_err(|error| status_named(&error, subscribe_field))?;
        let (responses, stream) = mpsc::channel(BUFFER);
        let session =
            Session { inbox: self.inbox.clone(), sending, stop: self.stop.clone(), filter, responses };
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

    async fn pull_events(
        &self,
        request: Request<v1::PullEventsRequest>,
    ) -> Result<Response<v1::PullEventsResponse>, Status> {
        let deadline = request.extensions().get::<Deadline>().copied();
        let pulled = pull::pull(&self.inbox, request.into_inner(), deadline, &self.stop).await;
        pulled.map(Response::new).map_err(|error| status_named(&error, pull_field))
    }

    async fn settle_events(
        &self,
        request: Request<v1::SettleEventsRequest>,
    ) -> Result<Response<v1::SettleEventsResponse>, Status> {
        let sending = self.sending(&request);
        answered(pull::settle_events(&self.inbox, &sending, request.into_inner()).await)
    }

    async fn create_subscription(
        &self,
        request: Request<v1::CreateSubscriptionRequest>,
    ) -> Result<Response<v1::CreateSubscriptionResponse>, Status> {
        let created = events::create_subscription(&self.inbox, request.into_inner()).await;
        created.map(Response::new).map_err(|error| status_named(&error, subscription_field))
    }

    async fn list_subscriptions(
        &self,
        request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        answered(events::list_subscriptions(&self.inbox, request.into_inner()).await)
    }

    async fn delete_subscription(
        &self,
        request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        answered(events::delete_subscription(&self.inbox, request.into_inner()).await)
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        answered(events::list_events(&self.inbox, request.into_inner()).await)
    }

    async fn get_event(
        &self,
        request: Request<v1::GetEventRequest>,
    ) -> Result<Response<v1::GetEventResponse>, Status> {
        answered(events::get_event(&self.inbox, request.into_inner()).await)
    }

    async fn replay_events(
        &self,
        request: Request<v1::ReplayEventsRequest>,
    ) -> Result<Response<v1::ReplayEventsResponse>, Status> {
        answered(events::replay_events(&self.inbox, request.into_inner()).await)
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        answered(events::list_dead_letters(&self.inbox, request.into_inner()).await)
    }

    async fn requeue_dead_letters(
        &self,
        request: Request<v1::RequeueDeadLettersRequest>,
    ) -> Result<Response<v1::RequeueDeadLettersResponse>, Status> {
        answered(events::requeue_dead_letters(&self.inbox, request.into_inner()).await)
    }

    async fn drop_dead_letters(
        &self,
        request: Request<v1::DropDeadLettersRequest>,
    ) -> Result<Response<v1::DropDeadLettersResponse>, Status> {
        answered(events::drop_dead_letters(&self.inbox, request.into_inner()).await)
    }

    async fn purge_conversation(
        &self,
        request: Request<v1::PurgeConversationRequest>,
    ) -> Result<Response<v1::PurgeConversationResponse>, Status> {
        answered(events::purge_conversation(&self.inbox, request.into_inner()).await)
    }
}
