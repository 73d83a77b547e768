//! `backfill`: has a server fetch what no webhook brought.

use super::listen::event_of;
use super::look::AlwaysJson;
use super::process::run;
use super::remote::{Channel, Remote, refused};
use super::{Exit, Failure, io};
use amochats_proto::v1;
use amochats_proto::v1::backfill_service_client::BackfillServiceClient;
use serde_json::json;

/// Have a running server read the histories of all known conversations
///
/// Messages that no webhook brought come to the subscriptions like any other event. The command
/// returns at once; the server reads at its own pace, and goes on after a restart.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  amochats backfill
  amochats backfill --status
  amochats backfill --unreported")]
pub(super) struct Backfill {
    /// Only say how far it is
    #[arg(long, conflicts_with = "unreported")]
    status: bool,
    /// List the messages that were settled without a delivery status, as JSON, instead
    #[arg(long)]
    unreported: bool,
    #[command(flatten)]
    _json: AlwaysJson,
    #[command(flatten)]
    remote: Remote,
}

impl Backfill {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        run(async {
            let mut client = BackfillServiceClient::new(self.remote.connect().await?)
                .max_decoding_message_size(usize::MAX);
            if self.unreported {
                return unreported(&mut client).await;
            }
            let progress = if self.status {
                client.get_backfill(v1::GetBackfillRequest {}).await.map(|got| got.into_inner().progress)
            } else {
                client.start_backfill(v1::StartBackfillRequest {}).await.map(|got| got.into_inner().progress)
            };
            let progress = progress.map_err(|status| refused(&status))?.unwrap_or_default();
            let v1::BackfillProgress { running, pending, read, failed, appended } = progress;
            let json = json!({
                "running": running, "pending": pending, "read": read, "failed": failed, "appended": appended,
            });
            io::print(&json.to_string())?;
            Ok(Exit::Ok)
        })
    }
}

async fn unreported(client: &mut BackfillServiceClient<Channel>) -> Result<Exit, Failure> {
    let mut request = v1::ListUnreportedRequest::default();
    loop {
        let page =
            client.list_unreported(request.clone()).await.map_err(|status| refused(&status))?.into_inner();
        for event in page.events {
            io::print(&event_of(event).to_json().to_string())?;
        }
        if page.next_page_token.is_empty() {
            return Ok(Exit::Ok);
        }
        request.page_token = page.next_page_token;
    }
}
