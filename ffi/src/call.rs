//! Calls of the chats API: what is asked, apart from when and how it is sent.

use crate::boundary::{Out, boundary, required, value};
use crate::builder::given;
use crate::builder::{amochats_message, amochats_user};
use crate::delivery::status;
use crate::error::amochats_error;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use amochats_core::{
    AccountId, Client, Connect, CreateChat, Error, ErrorKind, History, HookVersion, Reaction, ReactionKind,
    Result, ScopeId, Typing,
};
use amochats_runtime::outbox::{Call, NewItem};
use serde::Serialize;
use serde_json::Value;
use std::mem::MaybeUninit;

/// A call of the chats API, as it will be made: at once by amochats_client_call() and
/// amochats_client_call_async(), or kept and made by amochats_outbox_enqueue(). Made by a function for each
/// call, freed by the caller with amochats_call_free(). Never changes: any thread may use it, and more than
/// once.
pub struct amochats_call {
    scope: ScopeId,
    what: What,
}

#[derive(Clone)]
pub(crate) enum What {
    Connect(Connect),
    Disconnect(AccountId),
    /// What the outbox takes, too.
    Kept(Box<Call>),
    SendTyping(Typing),
    History(History),
}

impl amochats_call {
    pub(crate) fn parts(&self) -> (ScopeId, What) {
        (self.scope.clone(), self.what.clone())
    }

    pub(crate) fn to_item(&self) -> Result<NewItem> {
        match &self.what {
            What::Kept(call) => Ok(NewItem::new(self.scope.clone(), Call::clone(call))),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                "call: is not one that is kept; make it with amochats_client_call()",
            )
            .with_field("call")),
        }
    }
}

/// Makes the call; its answer in the form that C reads.
pub(crate) async fn make(client: &Client, scope: &ScopeId, what: What) -> Result<Option<Value>> {
    Ok(match what {
        What::Connect(connect) => Some(answer(&client.connect(&connect).await?)),
        What::Disconnect(account) => {
            client.disconnect(&account).await?;
            None
        }
        What::SendTyping(typing) => {
            client.send_typing(scope, &typing).await?;
            None
        }
        What::History(history) => Some(answer(&client.history(scope, &history).await?)),
        What::Kept(call) => match *call {
            Call::SendMessage(message) => Some(answer(&client.send_message(scope, &message).await?)),
            Call::EditMessage(edit) => Some(answer(&client.edit_message(scope, &edit).await?)),
            Call::CreateChat(chat) => Some(answer(&client.create_chat(scope, &chat).await?)),
            Call::SetDeliveryStatus { message_ref_id, status, .. } => {
                client.set_delivery_status(scope, &message_ref_id, &status).await?;
                None
            }
            Call::React(reaction) => {
                client.react(scope, &reaction).await?;
                None
            }
            _ => return Err(Error::invalid("call", "is not known here")),
        },
    })
}

pub(crate) fn answer(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).expect("answers have text keys and finite numbers only")
}

fn give(output: Out<'_, *mut amochats_call>, scope: &str, what: What) -> Result<()> {
    let call = amochats_call { scope: scope.into(), what };
    required(output, "call")?.write(Box::into_raw(Box::new(call)));
    Ok(())
}

fn kept(output: Out<'_, *mut amochats_call>, scope: amochats_slice<'_>, call: Call) -> Result<()> {
    // What the service would refuse is refused here, where it was written.
    let scope = scope.text("scope_id")?;
    give(output, scope, What::Kept(Box::new(call)))
}

/// Connects the channel to an account, by the account's amojo id. `title`, which may be empty, is the
/// channel's name there, which Kommo wants; `hook_version` is "v2" unless "v1" is given. The answer is
/// {"account_id", "scope_id", "title", "hook_api_version", "is_time_window_disabled"}.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_call_connect(
    account_id: amochats_slice<'_>,
    title: amochats_slice<'_>,
    hook_version: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let mut connect = Connect::new(account_id.text("account_id")?);
        connect.title = given(title, "title")?.map(str::to_owned);
        connect.hook_api_version = match given(hook_version, "hook_version")? {
            None | Some("v2") => HookVersion::V2,
            Some("v1") => HookVersion::V1,
            Some(_) => return Err(Error::invalid("hook_version", "must be \"v2\" or \"v1\"")),
        };
        give(call, "", What::Connect(connect))
    })
}

/// Disconnects the channel from an account: no more webhooks come from it. There is no answer.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_call_disconnect(
    account_id: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || give(call, "", What::Disconnect(account_id.text("account_id")?.into())))
}

/// Creates a chat with its client, without a message. `source`, which may be empty, is the source's external
/// id. The answer is {"conversation_ref_id", "user"}.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_call_create_chat(
    scope_id: amochats_slice<'_>,
    conversation_id: amochats_slice<'_>,
    user: Option<&amochats_user>,
    source: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let user = required(user, "user")?.sender().clone();
        let mut chat = CreateChat::new(conversation_id.text("conversation_id")?, user);
        chat.source_external_id = given(source, "source")?.map(str::to_owned);
        chat.to_json()?;
        kept(call, scope_id, Call::CreateChat(chat))
    })
}

/// Sends a message to the CRM. The answer is {"message_ref_id", "message_id", "conversation_ref_id",
/// "sender_ref_id", "receiver_ref_id"}.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT, with the path of the field, for a message that breaks a rule.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_call_send_message(
    scope_id: amochats_slice<'_>,
    message: Option<&amochats_message>,
    call: Option<&mut MaybeUninit<*mut amochats_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let message = required(message, "message")?.new_message()?;
        kept(call, scope_id, Call::SendMessage(Box::new(message)))
    })
}

/// Changes a message that was sent before: the content of `message` takes the place of what it was, of the
/// message with its message id or, where that is empty, its message ref id. The answer is as for
/// amochats_call_send_message(), perhaps without ids.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_call_edit_message(
    scope_id: amochats_slice<'_>,
    message: Option<&amochats_message>,
    call: Option<&mut MaybeUninit<*mut amochats_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let edit = required(message, "message")?.edit()?;
        kept(call, scope_id, Call::EditMessage(Box::new(edit)))
    })
}

/// Reports what became of a message from the CRM, by amoCRM's id of it: `status` 1 delivered, 2 read, -1
/// failed with `error_code` 901 (deleted), 902 (integration disabled), 903 (internal error), 904 (cannot
/// create the conversation) or 905 (other, with a text). `conversation_ref_id`, which may be empty, keeps a
/// report of the outbox in its place among the conversation's calls. There is no answer.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_call_set_delivery_status(
    scope_id: amochats_slice<'_>,
    message_ref_id: amochats_slice<'_>,
    conversation_ref_id: amochats_slice<'_>,
    status: i32,
    error_code: u32,
    error_text: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let status = self::status(status, error_code, error_text)?
            .ok_or_else(|| Error::invalid("status", "must be 1 (delivered), 2 (read) or -1 (failed)"))?;
        status.to_json()?;
        let report = Call::SetDeliveryStatus {
            message_ref_id: message_ref_id.text("message_ref_id")?.into(),
            status,
            conversation_ref_id: given(conversation_ref_id, "conversation_ref_id")?.map(Into::into),
        };
        kept(call, scope_id, report)
    })
}

/// Reads a page of a chat's history, the newest message first, by amoCRM's id of it: `limit` messages, 1 to
/// 50, from `offset` on. The answer is {"messages": [...]}.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_call_history(
    scope_id: amochats_slice<'_>,
    conversation_ref_id: amochats_slice<'_>,
    offset: u64,
    limit: u32,
    call: Option<&mut MaybeUninit<*mut amochats_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let history = History::of(conversation_ref_id.text("conversation_ref_id")?);
        let history = history.with_offset(offset).with_limit(limit);
        give(call, scope_id.text("scope_id")?, What::History(history))
    })
}

/// Shows the CRM users that a client is typing, for `duration_ms`, or as long as the service likes where it
/// is 0. There is no answer.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_call_send_typing(
    scope_id: amochats_slice<'_>,
    conversation_id: amochats_slice<'_>,
    user_id: amochats_slice<'_>,
    duration_ms: u32,
    call: Option<&mut MaybeUninit<*mut amochats_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let mut typing = Typing::new(conversation_id.text("conversation_id")?, user_id.text("user_id")?);
        typing.duration_ms = (duration_ms > 0).then_some(duration_ms);
        typing.to_json()?;
        give(call, scope_id.text("scope_id")?, What::SendTyping(typing))
    })
}

/// Adds a reaction to a message, or takes it back where `emoji` is empty. Of each thing one id is enough,
/// ours or amoCRM's; the other may be empty. There is no answer.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_call_react(
    scope_id: amochats_slice<'_>,
    conversation_id: amochats_slice<'_>,
    conversation_ref_id: amochats_slice<'_>,
    message_id: amochats_slice<'_>,
    message_ref_id: amochats_slice<'_>,
    user_id: amochats_slice<'_>,
    user_ref_id: amochats_slice<'_>,
    emoji: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let emoji = given(emoji, "emoji")?.map(str::to_owned);
        let reaction = Reaction {
            conversation_id: given(conversation_id, "conversation_id")?.map(Into::into),
            conversation_ref_id: given(conversation_ref_id, "conversation_ref_id")?.map(Into::into),
            message_id: given(message_id, "message_id")?.map(Into::into),
            message_ref_id: given(message_ref_id, "message_ref_id")?.map(Into::into),
            user_id: given(user_id, "user_id")?.map(Into::into),
            user_ref_id: given(user_ref_id, "user_ref_id")?.map(Into::into),
            kind: if emoji.is_some() { ReactionKind::React } else { ReactionKind::Unreact },
            emoji,
        };
        reaction.to_json()?;
        kept(call, scope_id, Call::React(reaction))
    })
}

/// Reads a call from its name and the vendor's JSON: "send_message", "edit_message", "create_chat",
/// "set_delivery_status" (which alone needs `message_ref_id`), "react" or "send_typing". The way for whatever
/// has no function here.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_call_from_json(
    name: amochats_slice<'_>,
    scope_id: amochats_slice<'_>,
    json: amochats_slice<'_>,
    message_ref_id: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let (name, json) = (name.text("name")?, json.bytes("json")?);
        if name == "send_typing" {
            let typing = Typing::from_json(json)?;
            return give(call, scope_id.text("scope_id")?, What::SendTyping(typing));
        }
        let message = given(message_ref_id, "message_ref_id")?.map(Into::into);
        kept(call, scope_id, Call::from_json(name, json, message)?)
    })
}

/// Frees a call; what was begun with it goes on. NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_call_free(call: Option<Box<amochats_call>>) {
    value((), || drop(call));
}
