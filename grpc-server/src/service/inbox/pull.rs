//! Deliveries and settlements for clients without a stream.

use super::Sending;
use crate::convert;
use crate::security::Deadline;
use amochats::{Error, ErrorKind, Result};
use amochats_proto::v1;
use amochats_proto::v1::settlement::Settlement;
use amochats_proto::v1::stream_events_request::Request as Asked;
use amochats_runtime::{ConsumerOptions, Inbox, Verdict};
use futures_util::future::join_all;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The lease that an extension gets where it names none.
const LEASE: Duration = Duration::from_secs(60);
/// Kept back of a call's deadline, at most, for the answer to travel.
const TRAVEL: Duration = Duration::from_secs(1);

/// What is ready in a subscription, by the end of a wait, of the call's deadline or of the server.
pub(super) async fn pull(
    inbox: &Inbox,
    request: v1::PullEventsRequest,
    deadline: Option<Deadline>,
    stop: &CancellationToken,
) -> Result<v1::PullEventsResponse> {
    let mut options = ConsumerOptions::default();
    if request.max_events > 0 {
        options.max_outstanding = usize::try_from(request.max_events).unwrap_or(usize::MAX);
    }
    if let Some(lease) = request.lease {
        options.lease = convert::duration(lease, "lease")?;
    }
    let mut wait = request.wait.map_or(Ok(Duration::ZERO), |wait| convert::duration(wait, "wait"))?;
    if let Some(left) = deadline.map(Deadline::left) {
        wait = wait.min(left.saturating_sub(TRAVEL.min(left / 4)));
    }
    if let Some(create) = request.create {
        super::create(inbox, &request.subscription, create).await?;
    }
    let pulled = stop.run_until_cancelled(inbox.pull(&request.subscription, options, wait)).await;
    let stopping = || Error::new(ErrorKind::Closed, "the server is stopping; call again");
    let deliveries = pulled.ok_or_else(stopping)??;
    Ok(v1::PullEventsResponse { deliveries: deliveries.into_iter().map(convert::delivery).collect() })
}

/// Settles each for itself; together, so that one commit serves many.
pub(super) async fn settle_events(
    inbox: &Inbox,
    sending: &Sending,
    request: v1::SettleEventsRequest,
) -> Result<v1::SettleEventsResponse> {
    if request.settlements.is_empty() {
        return Err(Error::invalid("settlements", "is required"));
    }
    convert::inbox::bounded(&request.settlements, "settlements")?;
    let asked = |(place, settlement): (usize, v1::Settlement)| match settlement.settlement {
        Some(Settlement::Ack(ack)) => Ok(Asked::Ack(ack)),
        Some(Settlement::Nack(nack)) => Ok(Asked::Nack(nack)),
        Some(Settlement::ExtendLease(extend)) => Ok(Asked::ExtendLease(extend)),
        None => Err(Error::invalid(format!("settlements[{place}]"), "must be ack, nack or extend_lease")),
    };
    let asked: Vec<Asked> = request.settlements.into_iter().enumerate().map(asked).collect::<Result<_>>()?;
    let settle = |asked| settle(inbox.clone(), sending.clone(), asked, LEASE);
    Ok(v1::SettleEventsResponse { results: join_all(asked.into_iter().map(settle)).await })
}

/// Does what a request asks and says what became of it, after the commit.
pub(super) async fn settle(
    inbox: Inbox,
    sending: Sending,
    request: Asked,
    lease: Duration,
) -> v1::SettleResult {
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
            let settled = match (convert::delivery_status(status, "delivery_status"), sending.outbox()) {
                (Ok(status), Some(outbox)) => {
                    outbox.acknowledge(&ack_id, status).await.map(|item| outbox_item_id = item.item_id)
                }
                (Ok(_), None) => {
                    let said =
                        "to acknowledge with a delivery status sends it, which needs the permission send";
                    Err(Error::new(ErrorKind::Forbidden, said))
                }
                (Err(error), _) => Err(error),
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
