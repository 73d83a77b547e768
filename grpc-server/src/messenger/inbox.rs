//! Follows the events of the CRM.

use super::{Pauses, Shared, now_msec};
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::stream_events_request::Request;
use amochats_proto::v1::{
    Ack, CreateOptions, StreamEventsRequest, StreamEventsResponse, Subscribe, create_options::Start,
};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// The subscription belongs to the messenger, not to a connection: what arrives while the messenger
/// is away waits in it.
const SUBSCRIPTION: &str = "demo-messenger";
const MAX_OUTSTANDING: u32 = 100;

/// Keeps a stream of events open until the messenger stops.
pub(super) async fn follow(shared: Arc<Shared>) {
    let mut pauses = Pauses::new();
    loop {
        let ended = shared.stop.run_until_cancelled(stream(&shared, &mut pauses)).await;
        match ended {
            None => return,
            Some(Ok(())) => tracing::info!("the stream of events ended, it is opened again"),
            Some(Err(status)) => {
                tracing::warn!(code = %status.code(), "the stream of events broke, it is opened again");
            }
        }
        shared.change(|phones| phones.online = false);
        if !pauses.wait(&shared.stop).await {
            return;
        }
    }
}

/// One stream, from its opening to its end.
async fn stream(shared: &Shared, pauses: &mut Pauses) -> Result<(), Status> {
    // Room for an acknowledgement of everything that can be outstanding, so that sending one never
    // waits while the server waits for us to read.
    let (requests, outgoing) = mpsc::channel(MAX_OUTSTANDING as usize + 1);
    let subscribe = Subscribe {
        subscription: SUBSCRIPTION.to_owned(),
        max_outstanding: MAX_OUTSTANDING,
        create: Some(CreateOptions { start: Some(Start::Oldest(true)), ..CreateOptions::default() }),
        ..Subscribe::default()
    };
    if requests.send(request(Request::Subscribe(subscribe))).await.is_err() {
        return Ok(());
    }
    let mut inbox = InboxServiceClient::new(shared.grpc.clone());
    let mut responses = inbox.stream_events(ReceiverStream::new(outgoing)).await?.into_inner();

    let mut unconfirmed = HashMap::new();
    while let Some(StreamEventsResponse { subscribed, deliveries, settled }) = responses.message().await? {
        if subscribed.is_some() {
            *pauses = Pauses::new();
            shared.change(|phones| phones.online = true);
        }
        for delivery in deliveries {
            let Some(event) = delivery.event else { continue };
            // First keep, then acknowledge: what is acknowledged never comes back.
            let place = shared.change(|phones| phones.receive(event, now_msec()));
            if delivery.ack_id.is_empty() {
                continue;
            }
            let ack = Ack { ack_id: delivery.ack_id.clone(), ..Ack::default() };
            if requests.send(request(Request::Ack(ack))).await.is_err() {
                return Ok(());
            }
            unconfirmed.insert(delivery.ack_id, place);
        }
        for result in settled {
            match unconfirmed.remove(&result.ack_id) {
                Some(Some(place)) if result.ok => shared.change(|phones| phones.settled(&place)),
                _ if result.ok => {}
                // It comes again and is acknowledged again.
                _ => tracing::warn!(reason = result.reason, "an acknowledgement was not taken"),
            }
        }
    }
    Ok(())
}

fn request(request: Request) -> StreamEventsRequest {
    StreamEventsRequest { request: Some(request) }
}
