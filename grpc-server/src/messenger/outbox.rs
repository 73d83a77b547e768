//! Sends what clients write, and reports what became of the CRM's messages.

use super::phones::{MessageKey, Reported};
use super::{Pauses, Shared};
use amochats_proto::v1::channel_service_client::ChannelServiceClient;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Sends messages one after the other, so that they arrive in the order in which they were written.
pub(super) async fn send(shared: Arc<Shared>, mut queue: mpsc::Receiver<MessageKey>) {
    let mut channel = ChannelServiceClient::new(shared.grpc.clone());
    while let Some(Some(place)) = shared.stop.run_until_cancelled(queue.recv()).await {
        let Some(request) = shared.with(|phones| phones.request(&place, shared.scope())) else { continue };
        let answer = channel.send_message(with_timeout(request)).await;
        // No attempt is made again by itself: the person decides, and the same message id makes
        // sure that it cannot appear twice.
        let outcome = answer.map(drop).map_err(|status| sentence(&status));
        shared.change(|phones| phones.sent(&place, outcome));
    }
}

/// Reports deliveries as they become due. A report that cannot be made now is made later.
pub(super) async fn report(shared: Arc<Shared>) {
    let mut channel = ChannelServiceClient::new(shared.grpc.clone());
    let mut changes = shared.changes.subscribe();
    let mut pauses = Pauses::new();
    let scope = shared.scope();
    loop {
        // Before the look: a change after it wakes us up again.
        changes.mark_unchanged();
        while let Some((place, next, request)) = shared.with(|phones| phones.due(&scope)) {
            match channel.set_delivery_status(with_timeout(request)).await {
                Ok(_) => {
                    pauses = Pauses::new();
                    shared.change(|phones| phones.reported(&place, next));
                }
                Err(status) if passes(&status) => {
                    tracing::warn!(code = ?status.code(), "a delivery cannot be reported now, it is tried again");
                    if !pauses.wait(&shared.stop).await {
                        return;
                    }
                }
                Err(status) => {
                    tracing::warn!(code = ?status.code(), "the CRM does not take the report of a delivery");
                    shared.change(|phones| phones.reported(&place, Reported::Refused));
                }
            }
        }
        if shared.stop.run_until_cancelled(changes.changed()).await.is_none() {
            return;
        }
    }
}

/// Whether the same call may succeed later.
fn passes(status: &Status) -> bool {
    let later = [Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted, Code::Cancelled];
    later.contains(&status.code())
}

/// What went wrong: the words of the chats API where it refused, the server's otherwise.
fn sentence(status: &Status) -> String {
    match status.get_details_error_info() {
        Some(mut info) => {
            let vendor = info.metadata.remove("vendor_error_description");
            vendor.unwrap_or_else(|| status.message().to_owned())
        }
        // The server explains each of its errors, so this is none of its.
        None => "the amochats server does not answer".to_owned(),
    }
}

fn with_timeout<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}
