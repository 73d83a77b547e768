//! Backfill: what no webhook brought.

use crate::convert;
use crate::status::status;
use amochats_proto::v1;
use amochats_proto::v1::backfill_service_server::BackfillService as Service;
use amochats_runtime::Backfill;
use amochats_runtime::backfill::Progress;
use tonic::{Request, Response, Status};

/// How many events a page holds unless the client says otherwise, and at most.
const PAGE: (usize, usize) = (100, 1000);

/// `amochats.v1.BackfillService` over a backfill.
pub struct BackfillService(Backfill);

impl BackfillService {
    /// The service over this backfill.
    pub fn new(backfill: Backfill) -> Self {
        Self(backfill)
    }
}

fn progress(progress: Progress) -> v1::BackfillProgress {
    let Progress { running, pending, read, failed, appended } = progress;
    v1::BackfillProgress { running, pending, read, failed, appended }
}

#[tonic::async_trait]
impl Service for BackfillService {
    async fn start_backfill(
        &self,
        _request: Request<v1::StartBackfillRequest>,
    ) -> Result<Response<v1::StartBackfillResponse>, Status> {
        let begun = self.0.run().await.map_err(|error| status(&error))?;
        tracing::info!(conversations = begun.pending, "a backfill was asked for");
        Ok(Response::new(v1::StartBackfillResponse { progress: Some(progress(begun)) }))
    }

    async fn get_backfill(
        &self,
        _request: Request<v1::GetBackfillRequest>,
    ) -> Result<Response<v1::GetBackfillResponse>, Status> {
        let now = self.0.progress().await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::GetBackfillResponse { progress: Some(progress(now)) }))
    }

    async fn list_unreported(
        &self,
        request: Request<v1::ListUnreportedRequest>,
    ) -> Result<Response<v1::ListUnreportedResponse>, Status> {
        let request = request.into_inner();
        let limit = match usize::try_from(request.page_size).unwrap_or(usize::MAX) {
            0 => PAGE.0,
            size => size.min(PAGE.1),
        };
        let after = (!request.page_token.is_empty()).then_some(request.page_token);
        let found = self.0.unreported(after, limit).await.map_err(|error| status(&error))?;
        let last = found.last().filter(|_| found.len() == limit).map(|event| event.event_id.clone());
        Ok(Response::new(v1::ListUnreportedResponse {
            events: found.into_iter().map(convert::event).collect(),
            next_page_token: last.unwrap_or_default(),
        }))
    }
}
