//! Calls of the chats API with the channel's secret.

use crate::convert;
use crate::security::Deadline;
use crate::status::{
    call_field, chat_field, delivery_field, edit_field, of_kind, reaction_field, status, status_named,
    typing_field,
};
use amochats::{AccountId, Client, Connect, Error, History, MessageRefId, ScopeId, Typing};
use amochats_proto::v1;
use amochats_proto::v1::channel_service_server::ChannelService as Service;
use amochats_runtime::{Channel, Channels};
use std::sync::Arc;
use std::time::SystemTime;
use tonic::{Request, Response, Status};

/// `amochats.v1.ChannelService` over the channels of a runtime.
pub struct ChannelService {
    channels: Arc<Channels>,
}

impl ChannelService {
    /// The service over these channels.
    pub fn new(channels: Arc<Channels>) -> Self {
        Self { channels }
    }

    fn scope(&self, asked: Option<v1::Scope>) -> amochats::Result<(Arc<Channel>, AccountId)> {
        scope(&self.channels, asked)
    }
}

/// The channel that a request means, and the account.
pub(super) fn scope(
    channels: &Channels,
    scope: Option<v1::Scope>,
) -> amochats::Result<(Arc<Channel>, AccountId)> {
    let scope = scope.unwrap_or_default();
    let channel = match scope.channel_id.as_str() {
        "" => channels.only()?,
        id => channels.get(&id.into())?,
    };
    if scope.account_id.is_empty() {
        return Err(Error::invalid("scope.account_id", "is required: the account's amojo_id"));
    }
    Ok((channel, scope.account_id.into()))
}

/// The channel's client, whose calls end when the caller's time is over.
fn client(channel: &Channel, deadline: Option<Deadline>) -> Client {
    deadline.map_or_else(|| channel.client().clone(), |deadline| deadline.limit(channel.client()))
}

#[tonic::async_trait]
impl Service for ChannelService {
    async fn list_accounts(
        &self,
        _request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        let accounts = self.channels.accounts().list().into_iter().map(convert::account).collect();
        Ok(Response::new(v1::ListAccountsResponse { accounts }))
    }

    async fn forget_account(
        &self,
        request: Request<v1::ForgetAccountRequest>,
    ) -> Result<Response<v1::ForgetAccountResponse>, Status> {
        let scope = ScopeId::new(request.into_inner().scope_id);
        self.channels.accounts().forget(&scope).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::ForgetAccountResponse {}))
    }

    async fn connect(
        &self,
        request: Request<v1::ConnectRequest>,
    ) -> Result<Response<v1::ConnectResponse>, Status> {
        let request = request.into_inner();
        let call = async {
            let (channel, account) = self.scope(request.scope)?;
            let mut connect = Connect::new(account);
            connect.title = request.title;
            connect.is_time_window_disabled = request.is_time_window_disabled;
            self.channels.accounts().connect(&channel, &connect).await
        };
        let connected = call.await.map_err(|error| status_named(&error, call_field))?;
        Ok(Response::new(v1::ConnectResponse {
            scope_id: connected.scope_id.to_string(),
            account_id: connected.account_id.to_string(),
            title: connected.title,
            hook_api_version: connected.hook_api_version,
            is_time_window_disabled: connected.is_time_window_disabled,
        }))
    }

    async fn disconnect(
        &self,
        request: Request<v1::DisconnectRequest>,
    ) -> Result<Response<v1::DisconnectResponse>, Status> {
        let call = async {
            let (channel, account) = self.scope(request.into_inner().scope)?;
            self.channels.accounts().disconnect(&channel, &account).await
        };
        call.await.map_err(|error| status_named(&error, call_field))?;
        Ok(Response::new(v1::DisconnectResponse {}))
    }

    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let deadline = request.extensions().get().copied();
        let request = request.into_inner();
        let kind = convert::attachment(request.message.as_ref().and_then(|message| message.content.as_ref()));
        let call = async {
            let (channel, account) = self.scope(request.scope)?;
            let message = request.message.ok_or_else(|| Error::invalid("message", "is required"))?;
            let message = convert::new_message(message, SystemTime::now())?;
            client(&channel, deadline).send_message(&ScopeId::of(channel.id(), &account), &message).await
        };
        Ok(Response::new(convert::receipt(
            call.await.map_err(|error| status_named(&error, |field| of_kind(&call_field(field), kind)))?,
        )))
    }

    async fn set_delivery_status(
        &self,
        request: Request<v1::SetDeliveryStatusRequest>,
    ) -> Result<Response<v1::SetDeliveryStatusResponse>, Status> {
        let deadline = request.extensions().get().copied();
        let request = request.into_inner();
        let call = async {
            let (channel, account) = self.scope(request.scope)?;
            let delivery = convert::delivery_status(request.status.unwrap_or_default(), "status")?;
            let message = MessageRefId::new(request.message_ref_id);
            client(&channel, deadline)
                .set_delivery_status(&ScopeId::of(channel.id(), &account), &message, &delivery)
                .await
        };
        call.await.map_err(|error| status_named(&error, delivery_field))?;
        Ok(Response::new(v1::SetDeliveryStatusResponse {}))
    }

    async fn edit_message(
        &self,
        request: Request<v1::EditMessageRequest>,
    ) -> Result<Response<v1::EditMessageResponse>, Status> {
        let deadline = request.extensions().get().copied();
        let request = request.into_inner();
        let kind = convert::attachment(request.edit.as_ref().and_then(|edit| edit.content.as_ref()));
        let call = async {
            let (channel, account) = self.scope(request.scope)?;
            let edit = request.edit.ok_or_else(|| Error::invalid("edit", "is required"))?;
            let edit = convert::edit(edit, SystemTime::now())?;
            client(&channel, deadline).edit_message(&ScopeId::of(channel.id(), &account), &edit).await
        };
        Ok(Response::new(convert::edit_receipt(
            call.await.map_err(|error| status_named(&error, |field| of_kind(&edit_field(field), kind)))?,
        )))
    }

    async fn create_chat(
        &self,
        request: Request<v1::CreateChatRequest>,
    ) -> Result<Response<v1::CreateChatResponse>, Status> {
        let deadline = request.extensions().get().copied();
        let mut request = request.into_inner();
        let call = async {
            let (channel, account) = self.scope(request.scope.take())?;
            let chat = convert::create_chat(request)?;
            client(&channel, deadline).create_chat(&ScopeId::of(channel.id(), &account), &chat).await
        };
        Ok(Response::new(convert::created_chat(
            call.await.map_err(|error| status_named(&error, chat_field))?,
        )))
    }

    async fn get_history(
        &self,
        request: Request<v1::GetHistoryRequest>,
    ) -> Result<Response<v1::GetHistoryResponse>, Status> {
        let deadline = request.extensions().get().copied();
        let request = request.into_inner();
        let call = async {
            let (channel, account) = self.scope(request.scope)?;
            let mut history = History::of(request.conversation_ref_id).with_offset(request.offset);
            if request.limit != 0 {
                history.limit = request.limit;
            }
            client(&channel, deadline).history(&ScopeId::of(channel.id(), &account), &history).await
        };
        Ok(Response::new(convert::history(call.await.map_err(|error| status_named(&error, call_field))?)))
    }

    async fn send_typing(
        &self,
        request: Request<v1::SendTypingRequest>,
    ) -> Result<Response<v1::SendTypingResponse>, Status> {
        let deadline = request.extensions().get().copied();
        let request = request.into_inner();
        let call = async {
            let (channel, account) = self.scope(request.scope)?;
            let mut typing = Typing::new(request.conversation_id, request.user_id);
            typing.duration_ms = request.duration_ms;
            client(&channel, deadline).send_typing(&ScopeId::of(channel.id(), &account), &typing).await
        };
        call.await.map_err(|error| status_named(&error, typing_field))?;
        Ok(Response::new(v1::SendTypingResponse {}))
    }

    async fn react(&self, request: Request<v1::ReactRequest>) -> Result<Response<v1::ReactResponse>, Status> {
        let deadline = request.extensions().get().copied();
        let request = request.into_inner();
        let call = async {
            let (channel, account) = self.scope(request.scope)?;
            let reaction = request.reaction.ok_or_else(|| Error::invalid("reaction", "is required"))?;
            let reaction = convert::reaction(reaction)?;
            client(&channel, deadline).react(&ScopeId::of(channel.id(), &account), &reaction).await
        };
        call.await.map_err(|error| status_named(&error, reaction_field))?;
        Ok(Response::new(v1::ReactResponse {}))
    }
}
