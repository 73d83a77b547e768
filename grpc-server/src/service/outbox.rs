//! The outbox: calls that are kept and made for the caller.

use super::channel::scope;
use crate::convert;
use crate::status::{
    call_field, chat_field, edit_field, of_kind, reaction_field, rule, status, status_named,
};
use amochats::{Error, ScopeId};
use amochats_proto::v1;
use amochats_proto::v1::enqueue_request::Call as Asked;
use amochats_proto::v1::outbox_service_server::OutboxService as Service;
use amochats_runtime::outbox::{Call, Item, ItemFilter, LIST_MAX, NewItem};
use amochats_runtime::{Channels, Outbox};
use std::sync::Arc;
use std::time::SystemTime;
use tonic::{Request, Response, Status};

/// How many items a page holds unless the client says otherwise.
const PAGE: usize = 100;

/// `amochats.v1.OutboxService` over an outbox.
pub struct OutboxService {
    outbox: Outbox,
    channels: Arc<Channels>,
}

impl OutboxService {
    /// The service over this outbox.
    pub fn new(outbox: Outbox, channels: Arc<Channels>) -> Self {
        Self { outbox, channels }
    }
}

fn item(item: &Item) -> v1::OutboxItem {
    convert::outbox_item(&item.to_json())
}

/// The call that a client asks for.
fn call(asked: Asked) -> amochats::Result<Call> {
    let now = SystemTime::now();
    Ok(match asked {
        Asked::Message(message) => Call::SendMessage(Box::new(convert::new_message(message, now)?)),
        Asked::Edit(edit) => Call::EditMessage(Box::new(convert::edit(edit, now)?)),
        Asked::DeliveryReport(report) => Call::SetDeliveryStatus {
            message_ref_id: report.message_ref_id.into(),
            status: convert::delivery_status(report.status.unwrap_or_default(), "delivery_report.status")?,
            conversation_ref_id: report.conversation_ref_id.map(Into::into),
        },
        Asked::Reaction(reaction) => Call::React(convert::reaction(reaction)?),
        Asked::NewChat(chat) => Call::CreateChat(convert::create_chat(v1::CreateChatRequest {
            scope: None,
            conversation_id: chat.conversation_id,
            source_external_id: chat.source_external_id,
            user: chat.user,
        })?),
        Asked::VendorCall(v1::VendorCall { call, body, message_ref_id }) => {
            Call::from_json(&call, &body, message_ref_id.map(Into::into))
                .map_err(|error| vendor_call(&error))?
        }
    })
}

/// An error of a call in the vendor's form: where it is in its body, the rule says.
fn vendor_call(error: &Error) -> Error {
    match (error.field(), rule(error)) {
        (Some(field @ ("call" | "message_ref_id")), Some(rule)) => {
            Error::invalid(format!("vendor_call.{field}"), rule)
        }
        _ => Error::invalid("vendor_call.body", error.message()),
    }
}

/// How a field of this call is named here.
fn named(asked: &Naming, field: &str) -> String {
    match asked {
        Naming::Message(kind) => of_kind(&call_field(field), *kind),
        Naming::Edit(kind) => of_kind(&edit_field(field), *kind),
        Naming::NewChat => match chat_field(field) {
            field
                if ["conversation_id", "source_external_id", "user"]
                    .iter()
                    .any(|own| field.starts_with(own)) =>
            {
                format!("new_chat.{field}")
            }
            field => field,
        },
        Naming::Reaction => reaction_field(field),
        Naming::DeliveryReport => match field {
            "message_ref_id" => "delivery_report.message_ref_id".into(),
            "error" | "error_code" => format!("delivery_report.status.{field}"),
            field => call_field(field),
        },
        Naming::VendorCall if field.starts_with("payload.") => "vendor_call.body".into(),
        Naming::VendorCall => call_field(field),
    }
}

/// What is kept of a call to name its fields.
enum Naming {
    Message(Option<&'static str>),
    Edit(Option<&'static str>),
    NewChat,
    Reaction,
    DeliveryReport,
    VendorCall,
}

impl Naming {
    fn of(asked: Option<&Asked>) -> Self {
        match asked {
            Some(Asked::Message(message)) => Self::Message(convert::attachment(message.content.as_ref())),
            Some(Asked::Edit(edit)) => Self::Edit(convert::attachment(edit.content.as_ref())),
            Some(Asked::NewChat(_)) => Self::NewChat,
            Some(Asked::Reaction(_)) => Self::Reaction,
            Some(Asked::DeliveryReport(_)) => Self::DeliveryReport,
            Some(Asked::VendorCall(_)) => Self::VendorCall,
            None => Self::Message(None),
        }
    }
}

#[tonic::async_trait]
impl Service for OutboxService {
    async fn enqueue(
        &self,
        request: Request<v1::EnqueueRequest>,
    ) -> Result<Response<v1::EnqueueResponse>, Status> {
        let request = request.into_inner();
        let naming = Naming::of(request.call.as_ref());
        let enqueue = async {
            let (channel, account) = scope(&self.channels, request.scope)?;
            let asked = request.call.ok_or_else(|| Error::invalid("call", "is required"))?;
            let expires_in =
                request.expires_in.map(|time| convert::duration(time, "expires_in")).transpose()?;
            let scope_id = ScopeId::of(channel.id(), &account);
            self.outbox.enqueue(NewItem { scope_id, call: call(asked)?, key: request.key, expires_in }).await
        };
        let kept = enqueue.await.map_err(|error| status_named(&error, |field| named(&naming, field)))?;
        Ok(Response::new(v1::EnqueueResponse { item: Some(item(&kept)) }))
    }

    async fn get_item(
        &self,
        request: Request<v1::GetItemRequest>,
    ) -> Result<Response<v1::GetItemResponse>, Status> {
        let found = self.outbox.get(&request.into_inner().item_id).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::GetItemResponse { item: Some(item(&found)), body: found.body }))
    }

    async fn list_items(
        &self,
        request: Request<v1::ListItemsRequest>,
    ) -> Result<Response<v1::ListItemsResponse>, Status> {
        let request = request.into_inner();
        let list = async {
            let limit = match usize::try_from(request.page_size).unwrap_or(usize::MAX) {
                0 => PAGE,
                size => size.min(LIST_MAX),
            };
            let states = request.states().map(convert::item_state).collect::<amochats::Result<_>>()?;
            let after = (!request.page_token.is_empty()).then_some(request.page_token);
            let scope_id = request.scope_id.map(ScopeId::new);
            let found = self.outbox.list(ItemFilter { states, scope_id, after, limit }).await?;
            let full = found.len() == limit;
            let last = found.last().filter(|_| full).map(|item| item.item_id.clone());
            Ok::<_, Error>((found, last.unwrap_or_default()))
        };
        let (found, next_page_token) = list.await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::ListItemsResponse { items: found.iter().map(item).collect(), next_page_token }))
    }

    async fn cancel_item(
        &self,
        request: Request<v1::CancelItemRequest>,
    ) -> Result<Response<v1::CancelItemResponse>, Status> {
        let item_id = request.into_inner().item_id;
        let cancelled = self.outbox.cancel(&item_id).await.map_err(|error| status(&error))?;
        // Who takes something back wants to know later that it was so.
        tracing::info!(item_id, "an item of the outbox was cancelled");
        Ok(Response::new(v1::CancelItemResponse { item: Some(item(&cancelled)) }))
    }
}
