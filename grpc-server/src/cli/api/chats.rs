//! `amochats edit`, `chat create`, `history`, `typing` and `react`.

use super::{Body, Service, failed, failure, now_msec, payload, runtime, words};
use crate::cli::{Exit, Failure, io};
use amochats::{
    ApiRequest, ConversationId, ConversationRefId, DeliveryStatus, EditMessage, HISTORY_PAGE_MAX,
    HistoryMessage, HistoryPage, MessageId, MessageReceipt, MessageRefId, Reaction, ReactionKind, ScopeId,
    Sender, UserId, UserRefId, format_date,
};
use clap::{ArgGroup, Args, Subcommand};
use futures_util::StreamExt;
use serde_json::json;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, UNIX_EPOCH};

/// Change a message that was sent before
///
/// Nobody is notified. By amoCRM's id a message from the CRM can be changed, too; with both ids it
/// gets the integration's one.
#[derive(Args)]
#[command(after_help = "\
Examples:
  amochats edit --region ru --secret-file channel.secret --scope-id SCOPE_ID \\
    --conversation-id c-9 --message-id m-17 --text 'Is it still for sale?'
  amochats edit --region ru --secret-file channel.secret --scope-id SCOPE_ID \\
    --payload-file edit.json")]
pub(in crate::cli) struct Edit {
    /// The connection: the channel id and the account id, joined by "_"
    #[arg(long, value_name = "ID")]
    scope_id: ScopeId,
    /// A file with the whole edit in the vendor's form (event_type and payload), or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["edit", "body"])]
    payload_file: Option<PathBuf>,
    #[command(flatten)]
    flags: EditFlags,
    #[command(flatten)]
    body: Body,
    #[command(flatten)]
    service: Service,
}

/// The edit, flag by flag.
#[derive(Args)]
#[command(next_help_heading = "Message")]
#[group(id = "edit")]
struct EditFlags {
    /// The chat, by the integration's id
    #[arg(long, value_name = "ID", required_unless_present = "payload_file")]
    conversation_id: Option<ConversationId>,
    /// The chat, by amoCRM's id
    #[arg(long, value_name = "ID")]
    conversation_ref_id: Option<ConversationRefId>,
    /// The message, by the integration's id
    #[arg(long, value_name = "ID", required_unless_present_any = ["message_ref_id", "payload_file"])]
    message_id: Option<MessageId>,
    /// The message, by amoCRM's id
    #[arg(long, value_name = "ID")]
    message_ref_id: Option<MessageRefId>,
    /// When it was changed, in Unix milliseconds [default: now]
    #[arg(long, value_name = "MSEC")]
    edited_at_msec: Option<i64>,
    /// Report along that it reached the client
    #[arg(long, conflicts_with_all = ["read", "failed"])]
    delivered: bool,
    /// Report along that the client read it
    #[arg(long, conflicts_with = "failed")]
    read: bool,
    /// Report along that it could not be delivered; the codes are those of `amochats status`
    #[arg(long, value_name = "CODE")]
    failed: Option<u16>,
    /// Why not; shown to the CRM user
    #[arg(long, value_name = "TEXT", requires = "failed")]
    error: Option<String>,
}

impl Edit {
    pub(in crate::cli) fn run(self) -> Result<Exit, Failure> {
        let (channel_id, _) = self.scope_id.split()?;
        let edit = match self.payload_file.as_deref() {
            Some(path) => EditMessage::from_json(&payload(path)?),
            None => Ok(self.flags.build(self.body)?),
        };
        let request = edit.and_then(|edit| ApiRequest::edit_message(&self.scope_id, &edit));
        let read = |body: &[u8]| Ok(MessageReceipt::from_edit_json(body));
        self.service.call(channel_id, request, read, |_| "edited".to_owned())
    }
}

impl EditFlags {
    fn build(self, body: Body) -> Result<EditMessage, Failure> {
        let delivery_status = match self.failed {
            Some(code) => Some(failure(code, self.error)?),
            None if self.read => Some(DeliveryStatus::Read),
            None => self.delivered.then_some(DeliveryStatus::Delivered),
        };
        Ok(EditMessage {
            edited_at_msec: self.edited_at_msec.unwrap_or_else(now_msec),
            message_id: self.message_id,
            message_ref_id: self.message_ref_id,
            conversation_id: self.conversation_id.expect("required without a payload file"),
            conversation_ref_id: self.conversation_ref_id,
            content: body.build(),
            delivery_status,
        })
    }
}

/// Work with chats
#[derive(Subcommand)]
pub(in crate::cli) enum Chat {
    Create(Box<CreateChat>),
}

impl Chat {
    pub(in crate::cli) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Create(create) => create.run(),
        }
    }
}

/// Create a chat and its client, without a message, a contact or a lead
///
/// For linking the chat to a contact that exists. Of a chat that exists it tells amoCRM's id.
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats chat create --region kommo --secret-file channel.secret --scope-id SCOPE_ID \\
    --conversation-id c-9 --user-id u-5 --name Anna")]
pub(in crate::cli) struct CreateChat {
    /// The connection: the channel id and the account id, joined by "_"
    #[arg(long, value_name = "ID")]
    scope_id: ScopeId,
    /// A file with the whole request in the vendor's form, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "chat")]
    payload_file: Option<PathBuf>,
    #[command(flatten)]
    chat: ChatFlags,
    #[command(flatten)]
    service: Service,
}

/// The chat, flag by flag.
#[derive(Args)]
#[command(next_help_heading = "Chat")]
#[group(id = "chat")]
struct ChatFlags {
    /// The chat, by the integration's id
    #[arg(long, value_name = "ID", required_unless_present = "payload_file")]
    conversation_id: Option<ConversationId>,
    /// The client, by the integration's id
    #[arg(long, value_name = "ID", required_unless_present = "payload_file")]
    user_id: Option<UserId>,
    /// The client's name
    #[arg(long, required_unless_present = "payload_file")]
    name: Option<String>,
    /// The address of a picture of the client
    #[arg(long, value_name = "URL")]
    avatar: Option<String>,
    /// The client's phone
    #[arg(long)]
    phone: Option<String>,
    /// The client's e-mail address
    #[arg(long)]
    email: Option<String>,
    /// The source (external_id), which decides the pipeline of the lead that the first message makes
    #[arg(long, value_name = "EXTERNAL_ID")]
    source: Option<String>,
}

impl CreateChat {
    fn run(self) -> Result<Exit, Failure> {
        let (channel_id, _) = self.scope_id.split()?;
        let chat = match self.payload_file.as_deref() {
            Some(path) => amochats::CreateChat::from_json(&payload(path)?),
            None => Ok(self.chat.build()),
        };
        let request = chat.and_then(|chat| ApiRequest::create_chat(&self.scope_id, &chat));
        self.service.call(channel_id, request, amochats::CreatedChat::from_json, |created| {
            format!("amoCRM's id of the chat is {}", created.conversation_ref_id)
        })
    }
}

impl ChatFlags {
    fn build(self) -> amochats::CreateChat {
        let given = "the argument parser requires it without a payload file";
        let user = Sender {
            avatar: self.avatar,
            phone: self.phone,
            email: self.email,
            ..Sender::new(self.user_id.expect(given), self.name.expect(given))
        };
        amochats::CreateChat {
            source_external_id: self.source,
            ..amochats::CreateChat::new(self.conversation_id.expect(given), user)
        }
    }
}

/// Read the history of a chat, the newest messages first
///
/// One page, or with --all every message to the beginning of the chat. With --json a page is one
/// JSON object, and with --all every message is one on its own line.
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats history --region ru --secret-file channel.secret --scope-id SCOPE_ID \\
    --conversation-ref-id ID --all --json")]
pub(in crate::cli) struct History {
    /// The connection: the channel id and the account id, joined by "_"
    #[arg(long, value_name = "ID")]
    scope_id: ScopeId,
    /// The chat, by amoCRM's id of it: conversation_ref_id of the event
    #[arg(long, value_name = "ID")]
    conversation_ref_id: ConversationRefId,
    /// How many of the newest messages to skip
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    offset: u64,
    /// How many messages to read at a time, up to 50
    #[arg(long, value_name = "NUMBER", default_value_t = HISTORY_PAGE_MAX)]
    limit: u32,
    /// Read on to the beginning of the chat
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    service: Service,
}

impl History {
    pub(in crate::cli) fn run(self) -> Result<Exit, Failure> {
        let (channel_id, _) = self.scope_id.split()?;
        let history =
            amochats::History::of(self.conversation_ref_id).with_offset(self.offset).with_limit(self.limit);
        if !self.all || self.service.dry_run {
            let request = ApiRequest::history(&self.scope_id, &history);
            return self.service.call(channel_id, request, HistoryPage::from_json, |page| {
                let lines: Vec<String> = page.messages.iter().map(line).collect();
                if lines.is_empty() { "no messages".to_owned() } else { lines.join("\n") }
            });
        }
        let json = self.service.json;
        let client = self.service.client(channel_id)?;
        runtime()?.block_on(async {
            let mut messages = pin!(client.history_all(&self.scope_id, history));
            while let Some(message) = messages.next().await {
                match message {
                    Ok(message) if json => io::print(
                        &serde_json::to_string(&message).expect("a message has text keys and finite numbers"),
                    )?,
                    Ok(message) => io::print(&line(&message))?,
                    Err(error) => return failed(json, error),
                }
            }
            Ok(Exit::Ok)
        })
    }
}

/// A message for people, as one line.
fn line(message: &HistoryMessage) -> String {
    let seconds = message.timestamp.or_else(|| Some(message.msec_timestamp? / 1000));
    let date = seconds
        .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?)))
        .and_then(|time| format_date(time).ok());
    let name = message.sender.as_ref().and_then(|sender| sender.name.as_deref());
    let said = if message.text.is_empty() { &message.message_type } else { &message.text };
    let date = date.unwrap_or_else(|| "no date".to_owned());
    format!("{date}  {}: {}", words(name.unwrap_or("somebody")), words(said))
}

/// Show the CRM users that a client is typing
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats typing --region ru --secret-file channel.secret --scope-id SCOPE_ID \\
    --conversation-id c-9 --user-id u-5")]
pub(in crate::cli) struct Typing {
    /// The connection: the channel id and the account id, joined by "_"
    #[arg(long, value_name = "ID")]
    scope_id: ScopeId,
    /// A file with the whole request in the vendor's form, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["conversation_id", "user_id", "duration_ms"])]
    payload_file: Option<PathBuf>,
    /// The chat, by the integration's id
    #[arg(long, value_name = "ID", required_unless_present = "payload_file")]
    conversation_id: Option<ConversationId>,
    /// The client, by the integration's id
    #[arg(long, value_name = "ID", required_unless_present = "payload_file")]
    user_id: Option<UserId>,
    /// How long to show it, in milliseconds [default: 5000, by the service]
    #[arg(long, value_name = "MSEC")]
    duration_ms: Option<u32>,
    #[command(flatten)]
    service: Service,
}

impl Typing {
    pub(in crate::cli) fn run(self) -> Result<Exit, Failure> {
        let (channel_id, _) = self.scope_id.split()?;
        let typing = match (self.payload_file.as_deref(), self.conversation_id, self.user_id) {
            (Some(path), ..) => amochats::Typing::from_json(&payload(path)?),
            (None, chat, user) => {
                let given = "the argument parser requires it without a payload file";
                let typing = amochats::Typing::new(chat.expect(given), user.expect(given));
                Ok(amochats::Typing { duration_ms: self.duration_ms, ..typing })
            }
        };
        let request = typing.and_then(|typing| ApiRequest::send_typing(&self.scope_id, &typing));
        let done = json!({"typing": true});
        self.service.call(channel_id, request, |_| Ok(done), |_| "shown as typing".to_owned())
    }
}

/// React to a message, or take a reaction back
#[derive(Args)]
#[command(
    group = ArgGroup::new("what").required(true),
    after_help = "\
Examples:
  amochats react --region ru --secret-file channel.secret --scope-id SCOPE_ID \\
    --conversation-id c-9 --message-id m-17 --user-id u-5 --emoji 👍
  amochats react --region ru --secret-file channel.secret --scope-id SCOPE_ID \\
    --conversation-id c-9 --message-id m-17 --user-id u-5 --remove"
)]
pub(in crate::cli) struct React {
    /// The connection: the channel id and the account id, joined by "_"
    #[arg(long, value_name = "ID")]
    scope_id: ScopeId,
    /// A file with the whole request in the vendor's form, or - for standard input
    #[arg(long, value_name = "FILE", group = "what", conflicts_with = "reaction")]
    payload_file: Option<PathBuf>,
    #[command(flatten)]
    reaction: ReactionFlags,
    /// The reaction
    #[arg(long, group = "what")]
    emoji: Option<String>,
    /// Take the reaction back
    #[arg(long, group = "what")]
    remove: bool,
    #[command(flatten)]
    service: Service,
}

/// Who reacts to which message.
#[derive(Args)]
#[command(next_help_heading = "Message")]
#[group(id = "reaction", multiple = true)]
#[expect(clippy::struct_field_names, reason = "the flags are of ids")]
struct ReactionFlags {
    /// The chat, by the integration's id
    #[arg(long, value_name = "ID", required_unless_present_any = ["conversation_ref_id", "payload_file"])]
    conversation_id: Option<ConversationId>,
    /// The chat, by amoCRM's id
    #[arg(long, value_name = "ID")]
    conversation_ref_id: Option<ConversationRefId>,
    /// The message, by the integration's id
    #[arg(long, value_name = "ID", required_unless_present_any = ["message_ref_id", "payload_file"])]
    message_id: Option<MessageId>,
    /// The message, by amoCRM's id
    #[arg(long, value_name = "ID")]
    message_ref_id: Option<MessageRefId>,
    /// Who reacts, by the integration's id
    #[arg(long, value_name = "ID", required_unless_present_any = ["user_ref_id", "payload_file"])]
    user_id: Option<UserId>,
    /// Who reacts, by amoCRM's id; required of a CRM user
    #[arg(long, value_name = "ID")]
    user_ref_id: Option<UserRefId>,
}

impl React {
    pub(in crate::cli) fn run(self) -> Result<Exit, Failure> {
        let (channel_id, _) = self.scope_id.split()?;
        let flags = self.reaction;
        let reaction = match self.payload_file.as_deref() {
            Some(path) => Reaction::from_json(&payload(path)?),
            None => Ok(Reaction {
                conversation_id: flags.conversation_id,
                conversation_ref_id: flags.conversation_ref_id,
                message_id: flags.message_id,
                message_ref_id: flags.message_ref_id,
                user_id: flags.user_id,
                user_ref_id: flags.user_ref_id,
                kind: if self.remove { ReactionKind::Unreact } else { ReactionKind::React },
                emoji: self.emoji,
            }),
        };
        let kind = reaction.as_ref().map_or(ReactionKind::React, |reaction| reaction.kind);
        let request = reaction.and_then(|reaction| ApiRequest::react(&self.scope_id, &reaction));
        let done = json!({"type": kind});
        self.service.call(
            channel_id,
            request,
            |_| Ok(done),
            |_| {
                match kind {
                    ReactionKind::React => "reacted",
                    ReactionKind::Unreact => "taken back",
                }
                .to_owned()
            },
        )
    }
}
