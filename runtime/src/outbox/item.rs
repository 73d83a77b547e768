//! What the outbox holds.

use crate::event::{NewEvent, Origin};
use amochats::{
    ApiRequest, ConversationId, ConversationRefId, CreateChat, DeliveryStatus, EditMessage, Error, ErrorKind,
    MessageId, MessageRefId, NewMessage, Reaction, Result, ScopeId, VendorError,
};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};
use std::fmt;
use std::time::Duration;

/// A call that the outbox makes for its caller. Typing is not among them: late, it is worth nothing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Call {
    /// A new message.
    SendMessage(Box<NewMessage>),
    /// The change of a message.
    EditMessage(Box<EditMessage>),
    /// What became of a message from the CRM.
    SetDeliveryStatus {
        /// The message, by amoCRM's id.
        message_ref_id: MessageRefId,
        /// What became of it.
        status: DeliveryStatus,
        /// Its chat, by amoCRM's id, so that the report keeps its place among the chat's other
        /// calls. Without it, it keeps its place among the reports on the same message.
        conversation_ref_id: Option<ConversationRefId>,
    },
    /// A reaction to a message.
    React(Reaction),
    /// A chat without a message.
    CreateChat(CreateChat),
}

impl Call {
    /// The name of the call on all surfaces, such as `send_message`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SendMessage(_) => SEND_MESSAGE,
            Self::EditMessage(_) => "edit_message",
            Self::SetDeliveryStatus { .. } => SET_DELIVERY_STATUS,
            Self::React(_) => "react",
            Self::CreateChat(_) => "create_chat",
        }
    }

    /// The chat, by the integration's id.
    pub fn conversation_id(&self) -> Option<&ConversationId> {
        match self {
            Self::SendMessage(message) => Some(&message.conversation_id),
            Self::EditMessage(edit) => Some(&edit.conversation_id),
            Self::SetDeliveryStatus { .. } => None,
            Self::React(reaction) => reaction.conversation_id.as_ref(),
            Self::CreateChat(chat) => Some(&chat.conversation_id),
        }
    }

    /// The chat, by amoCRM's id.
    pub fn conversation_ref_id(&self) -> Option<&ConversationRefId> {
        match self {
            Self::SendMessage(message) => message.conversation_ref_id.as_ref(),
            Self::EditMessage(edit) => edit.conversation_ref_id.as_ref(),
            Self::SetDeliveryStatus { conversation_ref_id, .. } => conversation_ref_id.as_ref(),
            Self::React(reaction) => reaction.conversation_ref_id.as_ref(),
            Self::CreateChat(_) => None,
        }
    }

    /// The message, by the integration's id.
    pub fn message_id(&self) -> Option<&MessageId> {
        match self {
            Self::SendMessage(message) => Some(&message.message_id),
            Self::EditMessage(edit) => edit.message_id.as_ref(),
            Self::React(reaction) => reaction.message_id.as_ref(),
            Self::SetDeliveryStatus { .. } | Self::CreateChat(_) => None,
        }
    }

    /// The message, by amoCRM's id.
    pub fn message_ref_id(&self) -> Option<&MessageRefId> {
        match self {
            Self::EditMessage(edit) => edit.message_ref_id.as_ref(),
            Self::SetDeliveryStatus { message_ref_id, .. } => Some(message_ref_id),
            Self::React(reaction) => reaction.message_ref_id.as_ref(),
            Self::SendMessage(_) | Self::CreateChat(_) => None,
        }
    }

    pub(crate) fn request(&self, scope: &ScopeId) -> Result<ApiRequest> {
        match self {
            Self::SendMessage(message) => ApiRequest::send_message(scope, message),
            Self::EditMessage(edit) => ApiRequest::edit_message(scope, edit),
            Self::SetDeliveryStatus { message_ref_id, status, .. } => {
                ApiRequest::set_delivery_status(scope, message_ref_id, status)
            }
            Self::React(reaction) => ApiRequest::react(scope, reaction),
            Self::CreateChat(chat) => ApiRequest::create_chat(scope, chat),
        }
    }

    /// Reads a call from its name and the vendor's JSON: the way for whatever a surface has no types
    /// for. A `set_delivery_status` names its message beside the JSON.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with the field that breaks a rule; `call` for another name.
    pub fn from_json(name: &str, body: &[u8], message: Option<MessageRefId>) -> Result<Self> {
        match (name, &message) {
            (SET_DELIVERY_STATUS, None) => {
                Err(Error::invalid("message_ref_id", "is required with this call"))
            }
            (SET_DELIVERY_STATUS, Some(_))
            | (SEND_MESSAGE | "edit_message" | "react" | "create_chat", None) => {
                Self::from_stored(name, body, &Ids { message_ref_id: message, ..Ids::default() })
            }
            (SEND_MESSAGE | "edit_message" | "react" | "create_chat", Some(_)) => {
                Err(Error::invalid("message_ref_id", "is for set_delivery_status alone"))
            }
            _ => Err(Error::invalid(
                "call",
                "must be send_message, edit_message, set_delivery_status, react or create_chat",
            )),
        }
    }

    /// Reads back what a [`Draft`] holds.
    fn from_stored(name: &str, body: &[u8], ids: &Ids) -> Result<Self> {
        Ok(match name {
            SEND_MESSAGE => Self::SendMessage(Box::new(NewMessage::from_json(body)?)),
            "edit_message" => Self::EditMessage(Box::new(EditMessage::from_json(body)?)),
            SET_DELIVERY_STATUS => Self::SetDeliveryStatus {
                message_ref_id: ids.message_ref_id.clone().ok_or_else(unreadable)?,
                status: DeliveryStatus::from_json(body)?,
                conversation_ref_id: ids.conversation_ref_id.clone(),
            },
            "react" => Self::React(Reaction::from_json(body)?),
            "create_chat" => Self::CreateChat(CreateChat::from_json(body)?),
            _ => return Err(unreadable()),
        })
    }
}

/// The one call that a second time is not the same as once: the message would appear twice, if the
/// service did not refuse the second one.
pub(crate) const SEND_MESSAGE: &str = "send_message";
pub(crate) const SET_DELIVERY_STATUS: &str = "set_delivery_status";

fn unreadable() -> Error {
    Error::new(ErrorKind::StoreFailed, "an item of the outbox is of a kind that this program does not know")
}

/// Something to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct NewItem {
    /// The connection it goes over.
    pub scope_id: ScopeId,
    /// The call.
    pub call: Call,
    /// Makes a repeated enqueue harmless: the same key with the same call is the same item. A message
    /// has its `message_id` as the key and takes no other.
    pub key: Option<String>,
    /// After so long it is not sent any more; without it, after the configured time.
    pub expires_in: Option<Duration>,
}

impl NewItem {
    /// A call over this connection.
    pub fn new(scope_id: impl Into<ScopeId>, call: Call) -> Self {
        Self { scope_id: scope_id.into(), call, key: None, expires_in: None }
    }

    /// Names it, so that it cannot be enqueued twice.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Gives it a deadline.
    pub fn with_expires_in(mut self, expires_in: Duration) -> Self {
        self.expires_in = Some(expires_in);
        self
    }
}

/// The longest key, in bytes.
const KEY_MAX: usize = 200;
/// The longest deadline.
pub(crate) const EXPIRY_MAX: Duration = Duration::from_hours(24 * 30);

/// The ids of both sides that a call or its answer names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// The chat, by the integration's id.
    pub conversation_id: Option<ConversationId>,
    /// The chat, by amoCRM's id.
    pub conversation_ref_id: Option<ConversationRefId>,
    /// The message, by the integration's id.
    pub message_id: Option<MessageId>,
    /// The message, by amoCRM's id.
    pub message_ref_id: Option<MessageRefId>,
}

/// An item on its way into a store.
#[derive(Clone)]
pub struct Draft {
    /// Unique among stores.
    pub item_id: String,
    /// The connection it goes over.
    pub scope_id: ScopeId,
    /// The key of a repeated enqueue, unique in its scope.
    pub key: Option<String>,
    /// What an item of the same key must share.
    pub digest: [u8; 20],
    /// The call's name.
    pub call: &'static str,
    /// What it names.
    pub ids: Ids,
    /// The body of the request.
    pub body: Bytes,
    /// In Unix milliseconds.
    pub created_at: i64,
    /// In Unix milliseconds.
    pub expires_at: i64,
}

impl Draft {
    /// Checks an item and writes it down. `default` is the time after which it expires unless it
    /// says otherwise.
    pub(crate) fn new(item: &NewItem, now: i64, default: Duration) -> Result<Self> {
        let call = &item.call;
        let request = call.request(&item.scope_id)?;
        let key = match (&item.call, &item.key) {
            (Call::SendMessage(message), None) => Some(format!("message/{}", message.message_id)),
            (Call::SendMessage(_), Some(_)) => {
                return Err(Error::invalid("key", "must be absent: the key of a message is its message_id"));
            }
            (_, Some(key)) if key.is_empty() || key.len() > KEY_MAX => {
                return Err(Error::invalid("key", format!("must be 1 to {KEY_MAX} bytes")));
            }
            (_, Some(key)) => Some(format!("key/{key}")),
            (_, None) => None,
        };
        let expires_in = item.expires_in.unwrap_or(default);
        if !(Duration::from_secs(1)..=EXPIRY_MAX).contains(&expires_in) {
            return Err(Error::invalid("expires_in", "must be 1 s to 30 days"));
        }
        let msec = i64::try_from(expires_in.as_millis()).expect("30 days are few milliseconds");
        Ok(Self {
            item_id: uuid::Uuid::new_v4().to_string(),
            scope_id: item.scope_id.clone(),
            key,
            digest: digest(&request),
            call: call.name(),
            ids: Ids {
                conversation_id: call.conversation_id().cloned(),
                conversation_ref_id: call.conversation_ref_id().cloned(),
                message_id: call.message_id().cloned(),
                message_ref_id: call.message_ref_id().cloned(),
            },
            body: request.body.into(),
            created_at: now,
            expires_at: now.saturating_add(msec),
        })
    }

    /// What the items have in common that are sent one after the other. `known` is the integration's
    /// id of the chat, where amoCRM's alone is given and both were seen together before.
    pub(crate) fn order(&self, known: Option<&str>) -> String {
        match (self.ids.conversation_id.as_ref().map(AsRef::as_ref).or(known), &self.ids.conversation_ref_id)
        {
            (Some(own), _) => format!("chat/{own}"),
            (None, Some(theirs)) => format!("ref/{theirs}"),
            (None, None) => match &self.ids.message_ref_id {
                Some(message) => format!("message/{message}"),
                None => format!("item/{}", self.item_id),
            },
        }
    }

    /// The item as it is at first.
    pub(crate) fn into_item(self, seq: i64) -> Item {
        Item {
            seq,
            item_id: self.item_id,
            scope_id: self.scope_id,
            key: self.key,
            call: self.call.to_owned(),
            ids: self.ids,
            body: self.body,
            state: ItemState::Queued,
            attempts: 0,
            uncertain: false,
            repeated: false,
            created_at: self.created_at,
            expires_at: self.expires_at,
            ended_at: None,
            problem: None,
        }
    }
}

/// What two enqueues of one key must share. The time is not part of it: whoever repeats an enqueue
/// often has no other than now.
fn digest(request: &ApiRequest) -> [u8; 20] {
    let mut body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    if let Some(payload) = body.get_mut("payload").and_then(Value::as_object_mut) {
        payload.shift_remove("timestamp");
        payload.shift_remove("msec_timestamp");
    }
    Sha1::digest(format!("{} {body}", request.path)).into()
}

/// Where an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ItemState {
    /// It waits: for its turn, or for the next attempt.
    Queued,
    /// It is on the wire.
    Sending,
    /// It may have arrived: the history is being asked.
    Resolving,
    /// It arrived.
    Sent,
    /// The service refused it.
    Rejected,
    /// Whether it arrived could not be found out.
    Unknown,
    /// The caller took it back before it was sent.
    Cancelled,
    /// Its deadline came before it was sent.
    Expired,
}

impl ItemState {
    /// Every state; its place is its number in a store.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Sending,
        Self::Resolving,
        Self::Sent,
        Self::Rejected,
        Self::Unknown,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The name on all surfaces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Resolving => "resolving",
            Self::Sent => "sent",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether nothing more will happen to it.
    pub fn is_final(self) -> bool {
        self > Self::Resolving
    }

    pub(crate) fn number(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_number(number: i64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|place| Self::ALL.get(place)).copied()
    }
}

impl std::str::FromStr for ItemState {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let rule = || format!("must be one of {}", Self::ALL.map(Self::name).join(", "));
        Self::ALL
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or_else(|| Error::invalid("state", rule()))
    }
}

/// Why an item was not sent, or not yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The kind.
    pub kind: ErrorKind,
    /// A sentence, without anything private.
    pub message: String,
    /// The HTTP status of the answer.
    pub http_status: Option<u16>,
    /// The vendor's words; they may quote what was sent.
    pub vendor: Option<VendorError>,
}

impl Problem {
    pub(crate) fn of(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            message: error.message().to_owned(),
            http_status: error.http_status(),
            vendor: error.vendor().cloned(),
        }
    }

    /// As one JSON object.
    pub fn to_json(&self) -> Value {
        let mut json = json!({ "kind": self.kind.name(), "message": self.message });
        if let Some(status) = self.http_status {
            json["http_status"] = status.into();
        }
        if let Some(vendor) = &self.vendor {
            json["vendor"] = json!({
                "code": vendor.code, "type": vendor.error_type, "description": vendor.description,
            });
        }
        json
    }

    pub(crate) fn from_json(json: &Value) -> Option<Self> {
        let text = |json: &Value, field: &str| json[field].as_str().map(str::to_owned);
        let kind = json["kind"].as_str()?;
        let vendor = json.get("vendor").map(|vendor| VendorError {
            code: vendor["code"].as_i64(),
            error_type: text(vendor, "type"),
            description: text(vendor, "description"),
            problem: None,
        });
        Some(Self {
            kind: ErrorKind::ALL.iter().copied().find(|known| known.name() == kind)?,
            message: text(json, "message")?,
            http_status: json["http_status"].as_u64().and_then(|status| u16::try_from(status).ok()),
            vendor,
        })
    }
}

/// An item of the outbox.
#[derive(Clone, PartialEq)]
pub struct Item {
    /// Its place in the store.
    pub(crate) seq: i64,
    /// Its id, unique among stores.
    pub item_id: String,
    /// The connection it goes over.
    pub scope_id: ScopeId,
    pub(crate) key: Option<String>,
    /// The call's name, such as `send_message`.
    pub call: String,
    /// The ids that it names, and those that the answer named.
    pub ids: Ids,
    /// The body of the request, as it is signed and sent.
    pub body: Bytes,
    /// Where it is.
    pub state: ItemState,
    /// How many times it went out.
    pub attempts: u32,
    /// An attempt may have been applied.
    pub uncertain: bool,
    /// It was sent once more after it may have arrived.
    pub repeated: bool,
    /// When it was enqueued, in Unix milliseconds.
    pub created_at: i64,
    /// When it is not sent any more, in Unix milliseconds.
    pub expires_at: i64,
    /// When it came to its end, in Unix milliseconds.
    pub ended_at: Option<i64>,
    /// Why it was not sent; while it is queued, why not the last time.
    pub problem: Option<Problem>,
}

impl Item {
    /// The key that the caller gave.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref().and_then(|key| key.strip_prefix("key/"))
    }

    /// The call that it makes.
    ///
    /// # Errors
    /// [`ErrorKind::StoreFailed`] for one that a later version wrote.
    pub fn call(&self) -> Result<Call> {
        Call::from_stored(&self.call, &self.body, &self.ids)
    }

    /// The item as one JSON object, without the body of its request.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                map.insert(name.to_owned(), value);
            }
        };
        put("item_id", Some(self.item_id.clone().into()));
        put("scope_id", Some(self.scope_id.as_str().into()));
        put("key", self.key().map(Into::into));
        put("call", Some(self.call.clone().into()));
        put("state", Some(self.state.name().into()));
        put("attempts", Some(self.attempts.into()));
        put("conversation_id", self.ids.conversation_id.as_ref().map(|id| id.as_str().into()));
        put("conversation_ref_id", self.ids.conversation_ref_id.as_ref().map(|id| id.as_str().into()));
        put("message_id", self.ids.message_id.as_ref().map(|id| id.as_str().into()));
        put("message_ref_id", self.ids.message_ref_id.as_ref().map(|id| id.as_str().into()));
        put("created_at_msec", Some(self.created_at.into()));
        put("expires_at_msec", Some(self.expires_at.into()));
        put("ended_at_msec", self.ended_at.map(Into::into));
        put("problem", self.problem.as_ref().map(Problem::to_json));
        Value::Object(map)
    }

    /// The event that tells of its end.
    ///
    /// # Errors
    /// Those of [`ScopeId::split`]; a scope was checked when the item was enqueued.
    pub(crate) fn to_event(&self, now: i64) -> Result<NewEvent> {
        let (channel_id, account_id) = self.scope_id.split()?;
        Ok(NewEvent {
            channel_id,
            account_id,
            kind: OUTBOX,
            conversation_ref_id: self.ids.conversation_ref_id.clone(),
            conversation_id: self.ids.conversation_id.clone(),
            message_ref_id: self.ids.message_ref_id.clone(),
            digest: None,
            received_at: now,
            origin: Origin::Outbox,
            signature: None,
            raw: self.to_json().to_string().into(),
        })
    }
}

/// The kind of the events that tell of an item's end.
pub(crate) const OUTBOX: &str = "outbox";

/// Ids only: what is sent is private.
impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item")
            .field("item_id", &self.item_id)
            .field("call", &self.call)
            .field("state", &self.state)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
