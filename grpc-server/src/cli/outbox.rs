//! `outbox`: what a server is to send, and what became of it.
#![expect(clippy::doc_markdown, reason = "--help shows these lines as they are")]

use super::api::{Body, Flags, payload};
use super::look::{AlwaysJson, Place, shown};
use super::process::run;
use super::remote::{Channel, Remote, refused};
use super::{Exit, Failure, io};
use crate::convert;
use amochats::{NewMessage, ScopeId};
use amochats_proto::v1;
use amochats_proto::v1::outbox_service_client::OutboxServiceClient;
use amochats_runtime::outbox::{ItemFilter, ItemState, LIST_MAX};
use amochats_runtime::store::{SqliteStore, Store};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Look into a server's outbox, and put messages into it
#[derive(Subcommand)]
pub(super) enum Outbox {
    Ls(Ls),
    Show(Show),
    Cancel(Cancel),
    Send(Box<Send>),
}

impl Outbox {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        run(async {
            match self {
                Self::Ls(ls) => ls.list().await,
                Self::Show(show) => show.show().await,
                Self::Cancel(cancel) => cancel.cancel().await,
                Self::Send(send) => send.send().await,
            }
        })
    }
}

async fn client(remote: &Remote) -> Result<OutboxServiceClient<Channel>, Failure> {
    Ok(OutboxServiceClient::new(remote.connect().await?))
}

/// List what is to be sent and what was sent, the oldest first
#[derive(Args)]
#[command(after_help = "\
Examples:
  amochats outbox ls
  amochats outbox ls --state rejected --state unknown --json
  amochats outbox ls --store amochats.db")]
pub(super) struct Ls {
    /// Only what is in this state: queued, sending, resolving, sent, rejected, unknown, cancelled or expired; may be repeated
    #[arg(long, value_name = "STATE")]
    state: Vec<ItemState>,
    /// Only of this connection: the channel id and the account id, joined by "_"
    #[arg(long, value_name = "ID")]
    scope_id: Option<ScopeId>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Ls {
    async fn list(self) -> Result<Exit, Failure> {
        if let Some(store) = self.place.file().await? {
            return self.list_file(&store).await;
        }
        let mut client = client(&self.place.remote).await?;
        let states = self.state.iter().map(|state| state_of(*state).into()).collect();
        let mut request =
            v1::ListItemsRequest { states, scope_id: self.scope_id.map(Into::into), ..Default::default() };
        let mut left = self.limit;
        let mut head = !self.json;
        while left > 0 {
            request.page_size = u32::try_from(left.min(1000)).expect("at most 1000");
            let page =
                client.list_items(request.clone()).await.map_err(|status| refused(&status))?.into_inner();
            left -= page.items.len().min(left);
            if std::mem::take(&mut head) && !io::print_on(&heading())? {
                break;
            }
            for item in page.items {
                io::print(&if self.json { json_of(&item).to_string() } else { line(&item) })?;
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        Ok(Exit::Ok)
    }
    async fn list_file(self, store: &SqliteStore) -> Result<Exit, Failure> {
        let mut filter = ItemFilter {
            states: self.state,
            scope_id: self.scope_id,
            after: None,
            limit: LIST_MAX.min(self.limit),
        };
        let mut left = self.limit;
        let mut head = !self.json;
        while left > 0 {
            filter.limit = left.min(LIST_MAX);
            let page = store.outbox().list(filter.clone()).await?;
            left -= page.len();
            if std::mem::take(&mut head) && !io::print_on(&heading())? {
                break;
            }
            for item in &page {
                let item = convert::outbox_item(&item.to_json());
                if !io::print_on(&if self.json { json_of(&item).to_string() } else { line(&item) })? {
                    return Ok(Exit::Ok);
                }
            }
            if page.len() < filter.limit {
                break;
            }
            filter.after = page.last().map(|item| item.item_id.clone());
        }
        Ok(Exit::Ok)
    }
}

/// Show an item, with the request that it sends, as JSON
#[derive(Args)]
pub(super) struct Show {
    /// The item's id
    item_id: String,
    #[command(flatten)]
    place: Place,
}

impl Show {
    async fn show(self) -> Result<Exit, Failure> {
        if let Some(store) = self.place.file().await? {
            let found = store.outbox().item(&self.item_id).await?;
            let found =
                found.ok_or_else(|| Failure::no("there is no such item, or it is not kept any more"))?;
            return show(&convert::outbox_item(&found.to_json()), &found.body);
        }
        let request = v1::GetItemRequest { item_id: self.item_id };
        let found =
            client(&self.place.remote).await?.get_item(request).await.map_err(|status| refused(&status))?;
        let v1::GetItemResponse { item, body } = found.into_inner();
        show(&item.unwrap_or_default(), &body)
    }
}

fn show(item: &v1::OutboxItem, body: &[u8]) -> Result<Exit, Failure> {
    let mut json = json_of(item);
    json["body"] = serde_json::from_slice(body).unwrap_or_default();
    io::print(&json.to_string())?;
    Ok(Exit::Ok)
}

/// Take an item back that was not sent yet
///
/// Exit code 1 where it is too late, or there is no such item.
#[derive(Args)]
pub(super) struct Cancel {
    /// The item's id
    item_id: String,
    #[command(flatten)]
    remote: Remote,
}

impl Cancel {
    async fn cancel(self) -> Result<Exit, Failure> {
        let request = v1::CancelItemRequest { item_id: self.item_id };
        client(&self.remote).await?.cancel_item(request).await.map_err(|status| refused(&status))?;
        io::print("cancelled")?;
        Ok(Exit::Ok)
    }
}

/// Put a message into the outbox
///
/// It is kept when the command ends well, and sent when its turn comes. The same message id with
/// the same message is the same item: to repeat the command is safe. Prints the item as JSON.
#[derive(Args)]
#[command(after_help = "\
Examples:
  amochats outbox send --scope-id SCOPE_ID --conversation-id c-9 --user-id u-5 --name Anna \\
    --message-id m-17 --text 'Is it still there?'
  amochats outbox send --scope-id SCOPE_ID --payload-file message.json")]
pub(super) struct Send {
    /// The connection: the channel id and the account id, joined by "_"
    #[arg(long, value_name = "ID")]
    scope_id: ScopeId,
    /// A file with the whole message in the vendor's form (event_type and payload), or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["message", "body"])]
    payload_file: Option<PathBuf>,
    /// After so long it is not sent any more [default: the server's setting]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(1..))]
    expires_in: Option<i64>,
    #[command(flatten)]
    message: Flags,
    #[command(flatten)]
    body: Body,
    #[command(flatten)]
    _json: AlwaysJson,
    #[command(flatten)]
    remote: Remote,
}

impl Send {
    async fn send(self) -> Result<Exit, Failure> {
        let (channel_id, account_id) = self.scope_id.split()?;
        let message = match self.payload_file.as_deref() {
            Some(path) => NewMessage::from_json(&payload(path)?)?,
            None => self.message.build(self.body.build()),
        };
        let call = v1::VendorCall {
            call: "send_message".into(),
            body: message.to_json()?.into(),
            message_ref_id: None,
        };
        let request = v1::EnqueueRequest {
            scope: Some(v1::Scope { channel_id: channel_id.into(), account_id: account_id.into() }),
            key: None,
            expires_in: self.expires_in.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
            call: Some(v1::enqueue_request::Call::VendorCall(call)),
        };
        let kept = client(&self.remote).await?.enqueue(request).await.map_err(|status| named(&status))?;
        io::print(&json_of(&kept.into_inner().item.unwrap_or_default()).to_string())?;
        Ok(Exit::Ok)
    }
}

/// Why a message was not kept. It was checked before it was sent: what is wrong with it yet is its id.
fn named(status: &tonic::Status) -> Failure {
    let failure = refused(status);
    match failure.message.strip_prefix("vendor_call.body: was used") {
        Some(rest) => Failure { message: format!("message_id: was used{rest}"), ..failure },
        None => failure,
    }
}

fn state_of(state: ItemState) -> v1::OutboxState {
    let name = format!("OUTBOX_STATE_{}", state.name().to_ascii_uppercase());
    v1::OutboxState::from_str_name(&name).expect("both have the same states")
}

fn state_name(item: &v1::OutboxItem) -> String {
    item.state().as_str_name().trim_start_matches("OUTBOX_STATE_").to_ascii_lowercase()
}

fn heading() -> String {
    let row = ("ITEM", "CREATED (UTC)", "STATE", "CALL");
    format!("{:<36}  {:<19}  {:<9}  {:<19}  TRIES  MESSAGE OR CONVERSATION", row.0, row.1, row.2, row.3)
}

/// An item on a line for people.
fn line(item: &v1::OutboxItem) -> String {
    let named = [&item.message_id, &item.message_ref_id, &item.conversation_id, &item.conversation_ref_id];
    let named = named.into_iter().flatten().next().map_or("", String::as_str);
    let why = item.problem.as_ref().map_or_else(String::new, |problem| format!("  {}", problem.reason));
    let when = shown(item.created_at.as_ref());
    let (call, attempts) = (&item.call, item.attempts);
    format!(
        "{:<36}  {when:<19}  {:<9}  {call:<19}  {attempts:>5}  {named}{why}",
        item.item_id,
        state_name(item)
    )
}

/// An item as every surface shows it.
fn json_of(item: &v1::OutboxItem) -> Value {
    let msec = |time: Option<prost_types::Timestamp>| {
        time.map(|time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000)
    };
    let problem = item.problem.as_ref().map(|problem| {
        let mut json = json!({ "kind": problem.reason, "message": problem.message });
        if let Some(status) = problem.http_status {
            json["http_status"] = status.into();
        }
        let vendor =
            (problem.vendor_error_code, &problem.vendor_error_type, &problem.vendor_error_description);
        if vendor != (None, &None, &None) {
            json["vendor"] = json!({ "code": vendor.0, "type": vendor.1, "description": vendor.2 });
        }
        json
    });
    let mut json = json!({
        "state": state_name(item), "item_id": item.item_id, "scope_id": item.scope_id, "key": item.key,
        "call": item.call, "attempts": item.attempts, "conversation_id": item.conversation_id,
        "conversation_ref_id": item.conversation_ref_id, "message_id": item.message_id,
        "message_ref_id": item.message_ref_id, "created_at_msec": msec(item.created_at),
        "expires_at_msec": msec(item.expires_at), "ended_at_msec": msec(item.ended_at), "problem": problem,
    });
    if let Some(map) = json.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    json
}
