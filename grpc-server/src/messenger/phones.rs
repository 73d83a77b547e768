//! What the messenger keeps: its clients and their chats, in memory.

use amochats_proto::v1::{
    self as pb, DeliveryState, DeliveryStatus, MessageEvent, SendMessageRequest, SetDeliveryStatusRequest,
    content, event,
};
use serde::Serialize;
use serde_json::{Value, json};

/// The messages kept per chat and the chats kept; the oldest go.
const MESSAGES_KEPT: usize = 500;
const CLIENTS_MAX: usize = 200;

/// All clients, each with a phone of their own.
#[derive(Default)]
pub(super) struct Phones {
    clients: Vec<Client>,
    /// Whether events are arriving.
    pub(super) online: bool,
}

/// A client and the chat with them.
struct Client {
    /// What `?client=` names; part of the ids that amoCRM learns.
    key: String,
    name: String,
    conversation_id: String,
    user_id: String,
    /// The ids on the amoCRM side, until the first answer to a manager who wrote first binds them.
    to_bind: Option<ToBind>,
    typing_until_msec: i64,
    messages: Vec<Message>,
}

struct ToBind {
    conversation_ref_id: String,
    user_ref_id: Option<String>,
}

/// A message as the phone shows it.
#[derive(Clone, Serialize)]
struct Message {
    id: String,
    #[serde(flatten)]
    way: Way,
    /// As `MessageEvent.type`.
    kind: String,
    text: String,
    media: Option<String>,
    file_name: Option<String>,
    at_msec: i64,
}

#[derive(Clone, Serialize)]
#[serde(tag = "direction", rename_all = "snake_case")]
enum Way {
    /// From the client.
    Out { status: Dispatch, error: Option<String> },
    /// From the CRM.
    In {
        author: Option<String>,
        #[serde(skip)]
        message_ref_id: Option<String>,
        /// What the CRM was told.
        status: Reported,
        /// The person has looked at it.
        #[serde(skip)]
        seen: bool,
        /// The server has confirmed that the event never comes back.
        #[serde(skip)]
        settled: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Dispatch {
    Sending,
    Sent,
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reported {
    Received,
    Delivered,
    Read,
    /// The CRM refused to hear it: it is not tried again.
    Refused,
}

/// A message of a client, by its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageKey {
    client: String,
    message: String,
}

impl Phones {
    /// The phone of a client as JSON. A client who never wrote has an empty one.
    pub(super) fn view(&self, client: &str) -> Value {
        let key = key_of(client);
        let shown = self.clients.iter().find(|client| client.key == key);
        let others: Vec<_> = self
            .clients
            .iter()
            .map(|client| json!({ "key": client.key, "name": client.name, "unread": client.unread() }))
            .collect();
        json!({
            "client": { "key": key, "name": shown.map_or(client, |client| &client.name) },
            "clients": others,
            "messages": shown.map(|client| &client.messages[..]).unwrap_or_default(),
            "typing_until_msec": shown.map_or(0, |client| client.typing_until_msec),
            "online": self.online,
        })
    }

    /// A client writes, or tries a failed message again: the same id is the same message. `None`
    /// where nothing is to be sent, because it is on its way or arrived.
    pub(super) fn write(
        &mut self,
        client: &str,
        id: &str,
        text: &str,
        now_msec: i64,
    ) -> Result<Option<MessageKey>, &'static str> {
        let id_ok =
            (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !id_ok {
            return Err("message_id: must be 1 to 64 letters, digits and \"-\"");
        }
        if text.trim().is_empty() {
            return Err("text: must not be empty");
        }
        let client = self.client(client)?;
        let place = MessageKey { client: client.key.clone(), message: id.to_owned() };
        if let Some(Message { way: Way::Out { status, error }, .. }) = client.written(id) {
            let again = *status == Dispatch::Failed;
            if again {
                (*status, *error) = (Dispatch::Sending, None);
            }
            return Ok(again.then_some(place));
        }
        client.add(Message {
            id: id.to_owned(),
            way: Way::Out { status: Dispatch::Sending, error: None },
            kind: "text".to_owned(),
            text: text.to_owned(),
            media: None,
            file_name: None,
            at_msec: now_msec,
        });
        Ok(Some(place))
    }

    /// The request that sends a client's message.
    pub(super) fn request(&self, place: &MessageKey, scope: pb::Scope) -> Option<SendMessageRequest> {
        let client = self.clients.iter().find(|client| client.key == place.client)?;
        let message = client
            .messages
            .iter()
            .find(|message| message.id == place.message && matches!(message.way, Way::Out { .. }))?;
        Some(SendMessageRequest {
            scope: Some(scope),
            message: Some(pb::Message {
                sent_at_msec: message.at_msec,
                message_id: message.id.clone(),
                conversation_id: client.conversation_id.clone(),
                conversation_ref_id: client.to_bind.as_ref().map(|ids| ids.conversation_ref_id.clone()),
                sender: Some(pb::Sender {
                    user_id: client.user_id.clone(),
                    user_ref_id: client.to_bind.as_ref().and_then(|ids| ids.user_ref_id.clone()),
                    name: client.name.clone(),
                    ..pb::Sender::default()
                }),
                content: Some(pb::Content {
                    kind: Some(content::Kind::Text(pb::TextContent { text: message.text.clone() })),
                }),
                ..pb::Message::default()
            }),
        })
    }

    /// What became of a client's message: sent, or a sentence that says why not.
    pub(super) fn sent(&mut self, place: &MessageKey, outcome: Result<(), String>) {
        let Some(client) = self.clients.iter_mut().find(|client| client.key == place.client) else { return };
        if outcome.is_ok() {
            client.to_bind = None;
        }
        if let Some(Message { way: Way::Out { status, error }, .. }) = client.written(&place.message) {
            (*status, *error) = match outcome {
                Ok(()) => (Dispatch::Sent, None),
                Err(sentence) => (Dispatch::Failed, Some(sentence)),
            };
        }
    }

    /// Takes in an event; the same one again changes nothing. Returns the place of a message,
    /// whose delivery is to be reported.
    pub(super) fn receive(&mut self, event: pb::Event, now_msec: i64) -> Option<MessageKey> {
        match event.kind {
            Some(event::Kind::Message(message)) => {
                // Two contents under one id of amoCRM are two messages.
                let by_ref = (!event.conflicting_duplicate).then(|| message.message_ref_id.clone()).flatten();
                let id = by_ref.unwrap_or_else(|| event.event_id.clone());
                let place = self.receive_message(id, message, now_msec);
                if place.is_none() {
                    tracing::warn!(event_id = event.event_id, "a message of no chat, or of one too many");
                }
                place
            }
            Some(event::Kind::Typing(typing)) => {
                let key = chat_key(typing.conversation_id.as_deref(), typing.conversation_ref_id.as_deref())?;
                let client = self.clients.iter_mut().find(|client| client.key == key)?;
                client.typing_until_msec = typing.expired_at.unwrap_or_default().saturating_mul(1000);
                None
            }
            Some(event::Kind::Reaction(_) | event::Kind::Outbox(_)) | None => {
                tracing::info!(event_id = event.event_id, "an event of a kind that the phone does not show");
                None
            }
        }
    }

    fn receive_message(&mut self, id: String, event: MessageEvent, now_msec: i64) -> Option<MessageKey> {
        let key = chat_key(event.conversation_id.as_deref(), event.conversation_ref_id.as_deref())?;
        let receiver = event.receiver.unwrap_or_default();
        let known = self.clients.iter().position(|client| client.key == key);
        let client = if let Some(at) = known {
            &mut self.clients[at]
        } else {
            let name = receiver.name.or(receiver.phone).unwrap_or_else(|| key.clone());
            let client = self.add_client(Client::new(key, name)).ok()?;
            if let (None, Some(conversation_ref_id)) = (&event.conversation_id, event.conversation_ref_id) {
                // A manager wrote first.
                client.to_bind = Some(ToBind { conversation_ref_id, user_ref_id: receiver.user_ref_id });
            }
            client
        };
        if let Some(id) = event.conversation_id {
            // As it is spelt there: it may be another program's.
            client.conversation_id = id;
            client.user_id = receiver.user_id.unwrap_or_else(|| client.user_id.clone());
        }
        client.typing_until_msec = 0;
        let place = MessageKey { client: client.key.clone(), message: id.clone() };
        if client.received(&id).is_none() {
            client.add(Message {
                id,
                way: Way::In {
                    author: event.sender.and_then(|sender| sender.name),
                    message_ref_id: event.message_ref_id,
                    status: Reported::Received,
                    seen: false,
                    settled: false,
                },
                kind: event.r#type,
                text: event.text,
                media: event.media,
                file_name: event.file_name,
                at_msec: event.msec_timestamp.unwrap_or(now_msec),
            });
        }
        Some(place)
    }

    /// The event of a message is settled for good: its delivery can be reported.
    pub(super) fn settled(&mut self, place: &MessageKey) {
        if let Some(Way::In { settled, .. }) = self.way(place) {
            *settled = true;
        }
    }

    /// The person looks at a phone. Whether something was unseen.
    pub(super) fn see(&mut self, client: &str) -> bool {
        let key = key_of(client);
        let client = self.clients.iter_mut().find(|client| client.key == key);
        let mut changed = false;
        for message in client.into_iter().flat_map(|client| &mut client.messages) {
            if let Way::In { seen, .. } = &mut message.way {
                changed |= !*seen;
                *seen = true;
            }
        }
        changed
    }

    /// The next report that is due: each message's delivery first, then that it was read.
    pub(super) fn due(&self, scope: &pb::Scope) -> Option<(MessageKey, Reported, SetDeliveryStatusRequest)> {
        let due = |client: &Client, message: &Message| {
            let Way::In { message_ref_id: Some(message_ref_id), status, seen, settled: true, .. } =
                &message.way
            else {
                return None;
            };
            let (next, state) = match (status, seen) {
                (Reported::Received, _) => (Reported::Delivered, DeliveryState::Delivered),
                (Reported::Delivered, true) => (Reported::Read, DeliveryState::Read),
                _ => return None,
            };
            let request = SetDeliveryStatusRequest {
                scope: Some(scope.clone()),
                message_ref_id: message_ref_id.clone(),
                status: Some(DeliveryStatus { state: state.into(), ..DeliveryStatus::default() }),
            };
            let place = MessageKey { client: client.key.clone(), message: message.id.clone() };
            Some((place, next, request))
        };
        self.clients.iter().find_map(|client| client.messages.iter().find_map(|message| due(client, message)))
    }

    /// What the CRM was told of a message.
    pub(super) fn reported(&mut self, place: &MessageKey, reported: Reported) {
        if let Some(Way::In { status, .. }) = self.way(place) {
            *status = reported;
        }
    }

    fn way(&mut self, place: &MessageKey) -> Option<&mut Way> {
        let client = self.clients.iter_mut().find(|client| client.key == place.client)?;
        client.received(&place.message).map(|message| &mut message.way)
    }

    /// The client of a name, made where it is new.
    fn client(&mut self, name: &str) -> Result<&mut Client, &'static str> {
        let key = key_of(name);
        if let Some(at) = self.clients.iter().position(|client| client.key == key) {
            return Ok(&mut self.clients[at]);
        }
        let name = name.trim();
        if !(1..=64).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err("client: must be a name of 1 to 64 characters");
        }
        self.add_client(Client::new(key, name.to_owned()))
    }

    fn add_client(&mut self, client: Client) -> Result<&mut Client, &'static str> {
        if self.clients.len() >= CLIENTS_MAX {
            return Err("client: this demo has no room for more clients");
        }
        self.clients.push(client);
        Ok(self.clients.last_mut().expect("it was just added"))
    }
}

impl Client {
    fn new(key: String, name: String) -> Self {
        Self {
            conversation_id: format!("{CHAT_PREFIX}{key}"),
            user_id: format!("client-{key}"),
            key,
            name,
            to_bind: None,
            typing_until_msec: 0,
            messages: Vec::new(),
        }
    }

    /// A message that the client wrote. Its id is ours, so one from the CRM may look the same.
    fn written(&mut self, id: &str) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.id == id && matches!(message.way, Way::Out { .. }))
    }

    /// A message that came from the CRM.
    fn received(&mut self, id: &str) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.id == id && matches!(message.way, Way::In { .. }))
    }

    fn add(&mut self, message: Message) {
        if self.messages.len() == MESSAGES_KEPT {
            self.messages.remove(0);
        }
        self.messages.push(message);
    }

    fn unread(&self) -> usize {
        let unread = |message: &&Message| matches!(message.way, Way::In { seen: false, .. });
        self.messages.iter().filter(unread).count()
    }
}

const CHAT_PREFIX: &str = "chat-";

/// Names that differ in case and spaces alone are one client.
fn key_of(name: &str) -> String {
    name.to_lowercase().split_whitespace().collect::<Vec<_>>().join("-")
}

/// The client of a chat: by our id, or, where a manager wrote first, by amoCRM's.
fn chat_key(conversation_id: Option<&str>, conversation_ref_id: Option<&str>) -> Option<String> {
    let id = conversation_id.map(|id| id.strip_prefix(CHAT_PREFIX).unwrap_or(id)).or(conversation_ref_id)?;
    Some(key_of(id))
}
