//! Between the types of `amochats.v1` and those of the core and runtime.

pub(crate) mod inbox;

use crate::status::rule;
use amochats::{
    Content, CreateChat, CreatedChat, DeliveryErrorCode, DeliveryStatus, EditMessage, Error, HistoryPage,
    HookVersion, Media, MessageReceipt, NewMessage, QuotedMessage, Reaction, ReactionKind, Result, Sender,
    WebhookKind,
};
use amochats_proto::v1;
use amochats_runtime::outbox::ItemState;
use amochats_runtime::{Account, AccountState, Delivery, Event, Origin};
use prost_types::Timestamp;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A message as the client sent it; `now` stands in where it names no time.
pub(crate) fn new_message(message: v1::Message, now: SystemTime) -> Result<NewMessage> {
    let sender = message.sender.ok_or_else(|| required("message.sender"))?;
    let content =
        message.content.and_then(|content| content.kind).ok_or_else(|| required("message.content"))?;
    let sent_at_msec = moment(message.sent_at_msec, now);
    let mut new = NewMessage::incoming(
        message.conversation_id,
        message.message_id,
        sent_at_msec,
        sender_of(sender),
        content_of(content, "message.content")?,
    );
    new.conversation_ref_id = message.conversation_ref_id.map(Into::into);
    new.receiver = message.receiver.map(sender_of);
    new.silent = message.silent;
    new.source_external_id = message.source_external_id;
    new.callback_data = message.callback_data;
    new.reply_to = match message.reply_to {
        None => None,
        Some(quoted) => Some(
            match quoted
                .id
                .ok_or_else(|| Error::invalid("message.reply_to", "needs message_id or message_ref_id"))?
            {
                v1::quoted_message::Id::MessageId(id) => QuotedMessage::ById(id.into()),
                v1::quoted_message::Id::MessageRefId(id) => QuotedMessage::ByRefId(id.into()),
            },
        ),
    };
    Ok(new)
}

/// A time in Unix milliseconds; 0 means now.
fn moment(msec: i64, now: SystemTime) -> i64 {
    let since = || now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    if msec == 0 { i64::try_from(since()).unwrap_or(i64::MAX) } else { msec }
}

/// The change of a message as the client sent it; `now` stands in where it names no time.
pub(crate) fn edit(edit: v1::MessageEdit, now: SystemTime) -> Result<EditMessage> {
    let content = edit.content.and_then(|content| content.kind).ok_or_else(|| required("edit.content"))?;
    Ok(EditMessage {
        edited_at_msec: moment(edit.edited_at_msec, now),
        message_id: edit.message_id.map(Into::into),
        message_ref_id: edit.message_ref_id.map(Into::into),
        conversation_id: edit.conversation_id.into(),
        conversation_ref_id: edit.conversation_ref_id.map(Into::into),
        content: content_of(content, "edit.content")?,
        delivery_status: edit
            .delivery_status
            .map(|status| delivery_status(status, "edit.delivery_status"))
            .transpose()?,
    })
}

/// The answer to an edit.
pub(crate) fn edit_receipt(receipt: MessageReceipt) -> v1::EditMessageResponse {
    v1::EditMessageResponse {
        message_ref_id: receipt.message_ref_id.map(text),
        message_id: receipt.message_id.map(text),
        conversation_ref_id: receipt.conversation_ref_id.map(text),
        sender_ref_id: receipt.sender_ref_id.map(text),
        receiver_ref_id: receipt.receiver_ref_id.map(text),
    }
}

/// A chat to be made.
pub(crate) fn create_chat(request: v1::CreateChatRequest) -> Result<CreateChat> {
    let user = request.user.ok_or_else(|| required("user"))?;
    Ok(CreateChat {
        conversation_id: request.conversation_id.into(),
        source_external_id: request.source_external_id,
        user: sender_of(user),
    })
}

/// The answer to it.
pub(crate) fn created_chat(created: CreatedChat) -> v1::CreateChatResponse {
    v1::CreateChatResponse {
        conversation_ref_id: text(created.conversation_ref_id),
        user: Some(participant(created.user)),
    }
}

/// A page of the history.
pub(crate) fn history(page: HistoryPage) -> v1::GetHistoryResponse {
    v1::GetHistoryResponse { messages: page.messages.into_iter().map(history_message).collect() }
}

fn history_message(message: amochats::HistoryMessage) -> v1::HistoryMessage {
    v1::HistoryMessage {
        message_id: message.message_id.map(text),
        message_ref_id: message.message_ref_id.map(text),
        timestamp: message.timestamp,
        msec_timestamp: message.msec_timestamp,
        sender: message.sender.map(participant),
        receiver: message.receiver.map(participant),
        r#type: message.message_type,
        text: message.text,
        media: message.media,
        thumbnail: message.thumbnail,
        file_name: message.file_name,
        file_size: message.file_size,
        media_group_id: message.media_group_id,
        location: message.location.map(|place| v1::LocationContent {
            lon: place.lon,
            lat: place.lat,
            text: None,
        }),
        contact: message.contact.map(|card| v1::ContactContent {
            name: card.name,
            phone: card.phone,
            text: None,
        }),
        extra_json: if message.extra.is_null() { String::new() } else { message.extra.to_string() },
    }
}

/// A reaction as the client sent it.
pub(crate) fn reaction(reaction: v1::Reaction) -> Result<Reaction> {
    let kind = match reaction.kind() {
        v1::ReactionKind::Unspecified => return Err(required("reaction.kind")),
        v1::ReactionKind::React => ReactionKind::React,
        v1::ReactionKind::Unreact => ReactionKind::Unreact,
    };
    Ok(Reaction {
        conversation_id: reaction.conversation_id.map(Into::into),
        conversation_ref_id: reaction.conversation_ref_id.map(Into::into),
        message_id: reaction.message_id.map(Into::into),
        message_ref_id: reaction.message_ref_id.map(Into::into),
        user_id: reaction.user_id.map(Into::into),
        user_ref_id: reaction.user_ref_id.map(Into::into),
        kind,
        emoji: reaction.emoji,
    })
}

fn required(field: &str) -> Error {
    Error::invalid(field, "is required")
}

fn sender_of(sender: v1::Sender) -> Sender {
    Sender {
        user_id: sender.user_id.into(),
        user_ref_id: sender.user_ref_id.map(Into::into),
        name: sender.name,
        avatar: sender.avatar,
        phone: sender.phone,
        email: sender.email,
        profile_link: sender.profile_link,
    }
}

fn content_of(content: v1::content::Kind, path: &str) -> Result<Content> {
    use v1::content::Kind;
    Ok(match content {
        Kind::Text(text) => Content::Text { text: text.text },
        Kind::Contact(contact) => {
            Content::Contact { name: contact.name, phone: contact.phone, text: contact.text }
        }
        Kind::File(media) => Content::File(media_of(media)),
        Kind::Video(media) => Content::Video(media_of(media)),
        Kind::Picture(media) => Content::Picture(media_of(media)),
        Kind::Voice(media) => Content::Voice(media_of(media)),
        Kind::Audio(media) => Content::Audio(media_of(media)),
        Kind::Sticker(sticker) => {
            let media = sticker.media.ok_or_else(|| required(&format!("{path}.sticker.media")))?;
            Content::Sticker { media: media_of(media), sticker_id: sticker.sticker_id }
        }
        Kind::Location(place) => Content::Location { lon: place.lon, lat: place.lat, text: place.text },
    })
}

/// Where in the content of a request an attachment is.
pub(crate) fn attachment(content: Option<&v1::Content>) -> Option<&'static str> {
    use v1::content::Kind;
    match content?.kind.as_ref()? {
        Kind::File(_) => Some("file"),
        Kind::Video(_) => Some("video"),
        Kind::Picture(_) => Some("picture"),
        Kind::Voice(_) => Some("voice"),
        Kind::Audio(_) => Some("audio"),
        Kind::Sticker(_) => Some("sticker.media"),
        Kind::Text(_) | Kind::Contact(_) | Kind::Location(_) => None,
    }
}

fn media_of(media: v1::MediaContent) -> Media {
    Media {
        url: media.url,
        file_name: media.file_name,
        file_size: media.file_size,
        duration: media.duration_seconds,
        text: media.text,
    }
}

/// The answer to a message.
pub(crate) fn receipt(receipt: MessageReceipt) -> v1::SendMessageResponse {
    v1::SendMessageResponse {
        message_ref_id: receipt.message_ref_id.map(text),
        message_id: receipt.message_id.map(text),
        conversation_ref_id: receipt.conversation_ref_id.map(text),
        sender_ref_id: receipt.sender_ref_id.map(text),
        receiver_ref_id: receipt.receiver_ref_id.map(text),
    }
}

/// What became of a message, as the client reports it in the field `path`.
pub(crate) fn delivery_status(status: v1::DeliveryStatus, path: &str) -> Result<DeliveryStatus> {
    match status.state() {
        v1::DeliveryState::Unspecified => Err(required(&format!("{path}.state"))),
        v1::DeliveryState::Delivered => Ok(DeliveryStatus::Delivered),
        v1::DeliveryState::Read => Ok(DeliveryStatus::Read),
        v1::DeliveryState::Failed => {
            let code = status.error_code.ok_or_else(|| required(&format!("{path}.error_code")))?;
            let code =
                DeliveryErrorCode::from_code(u16::try_from(code).unwrap_or(u16::MAX)).map_err(|error| {
                    Error::invalid(format!("{path}.error_code"), rule(&error).unwrap_or(error.message()))
                })?;
            Ok(DeliveryStatus::Failed { code, error: status.error.unwrap_or_default() })
        }
    }
}

/// A length of time that a client gave.
pub(crate) fn duration(duration: prost_types::Duration, field: &str) -> Result<Duration> {
    Duration::try_from(duration).map_err(|_| Error::invalid(field, "must not be negative"))
}

/// A delivery with its event.
pub(crate) fn delivery(delivery: Delivery) -> v1::Delivery {
    v1::Delivery { ack_id: delivery.ack_id, attempt: delivery.attempt, event: Some(event(delivery.event)) }
}

/// An account of a channel.
pub(crate) fn account(account: Account) -> v1::Account {
    let state = match account.state {
        AccountState::Discovered => v1::AccountState::Discovered,
        AccountState::Connected => v1::AccountState::Connected,
        AccountState::Disconnected => v1::AccountState::Disconnected,
        AccountState::Disabled => v1::AccountState::Disabled,
    };
    let (channel_id, account_id) = account
        .scope_id
        .split()
        .map_or_else(|_| (String::new(), String::new()), |(channel, account)| (text(channel), text(account)));
    v1::Account {
        scope_id: text(account.scope_id),
        channel_id,
        account_id,
        state: state.into(),
        since: Some(timestamp(account.since)),
        checked_at: account.checked_at.map(timestamp),
        heard_at: account.heard_at.map(timestamp),
        problem: account.problem,
        title: account.title,
        hook_api_version: account.hook_version,
    }
}

/// An event.
pub(crate) fn event(event: Event) -> v1::Event {
    use v1::event::Kind;
    if event.origin == Origin::Outbox {
        let item = serde_json::from_slice(&event.raw).unwrap_or_default();
        return v1::Event {
            event_id: event.event_id,
            channel_id: text(event.channel_id),
            account_id: text(event.account_id),
            scope_id: text(event.scope_id),
            received_at: Some(timestamp(event.received_at)),
            origin: v1::Origin::Outbox.into(),
            kind: Some(Kind::Outbox(outbox_item(&item))),
            raw: event.raw,
            ..Default::default()
        };
    }
    let webhook = event.parse();
    let api_version = match webhook.api_version {
        Some(HookVersion::V1) => v1::ApiVersion::V1,
        Some(HookVersion::V2) => v1::ApiVersion::V2,
        None => v1::ApiVersion::Unspecified,
    };
    let kind = match webhook.kind {
        WebhookKind::Message(message) => Some(Kind::Message(message_event(*message))),
        WebhookKind::Typing(typing) => Some(Kind::Typing(v1::TypingEvent {
            conversation_id: typing.conversation_id.map(text),
            conversation_ref_id: typing.conversation_ref_id.map(text),
            user_ref_id: typing.user_ref_id.map(text),
            expired_at: typing.expired_at,
            post_id: typing.post_id,
        })),
        WebhookKind::Reaction(reaction) => Some(Kind::Reaction(v1::ReactionEvent {
            conversation_id: reaction.conversation_id.map(text),
            conversation_ref_id: reaction.conversation_ref_id.map(text),
            user_ref_id: reaction.user_ref_id.map(text),
            message_id: reaction.message_id.map(text),
            message_ref_id: reaction.message_ref_id.map(text),
            r#type: reaction.reaction_type,
            emoji: reaction.emoji,
        })),
        _ => None,
    };
    let possible_duplicate = event.is_possible_duplicate();
    v1::Event {
        event_id: event.event_id,
        channel_id: text(event.channel_id),
        account_id: text(event.account_id),
        scope_id: text(event.scope_id),
        received_at: Some(timestamp(event.received_at)),
        origin: inbox::origin(event.origin).into(),
        api_version: api_version.into(),
        conflicting_duplicate: event.conflicting_duplicate,
        possible_duplicate,
        kind,
        raw: event.raw,
    }
}

/// An item of the outbox, from the JSON that every surface shows.
pub(crate) fn outbox_item(item: &Value) -> v1::OutboxItem {
    let text = |name: &str| item[name].as_str().map(str::to_owned);
    let time = |name: &str| item[name].as_i64().map(timestamp);
    let state = item["state"].as_str().and_then(|name| name.parse().ok()).map(outbox_state);
    v1::OutboxItem {
        item_id: text("item_id").unwrap_or_default(),
        scope_id: text("scope_id").unwrap_or_default(),
        key: text("key"),
        call: text("call").unwrap_or_default(),
        state: state.unwrap_or_default().into(),
        attempts: item["attempts"].as_u64().and_then(|count| count.try_into().ok()).unwrap_or_default(),
        conversation_id: text("conversation_id"),
        conversation_ref_id: text("conversation_ref_id"),
        message_id: text("message_id"),
        message_ref_id: text("message_ref_id"),
        created_at: time("created_at_msec"),
        expires_at: time("expires_at_msec"),
        ended_at: time("ended_at_msec"),
        problem: item.get("problem").map(outbox_problem),
    }
}

fn outbox_problem(problem: &Value) -> v1::OutboxProblem {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let vendor = &problem["vendor"];
    v1::OutboxProblem {
        reason: text(&problem["kind"]).unwrap_or_default(),
        message: text(&problem["message"]).unwrap_or_default(),
        http_status: problem["http_status"].as_u64().and_then(|status| status.try_into().ok()),
        vendor_error_code: vendor["code"].as_i64(),
        vendor_error_type: text(&vendor["type"]),
        vendor_error_description: text(&vendor["description"]),
    }
}

fn outbox_state(state: ItemState) -> v1::OutboxState {
    match state {
        ItemState::Queued => v1::OutboxState::Queued,
        ItemState::Sending => v1::OutboxState::Sending,
        ItemState::Resolving => v1::OutboxState::Resolving,
        ItemState::Sent => v1::OutboxState::Sent,
        ItemState::Rejected => v1::OutboxState::Rejected,
        ItemState::Unknown => v1::OutboxState::Unknown,
        ItemState::Cancelled => v1::OutboxState::Cancelled,
        ItemState::Expired => v1::OutboxState::Expired,
    }
}

/// A state that a client asks for.
pub(crate) fn item_state(state: v1::OutboxState) -> Result<ItemState> {
    let mut all = ItemState::ALL.into_iter();
    all.find(|known| outbox_state(*known) == state).ok_or_else(|| Error::invalid("states", "must be states"))
}

fn message_event(message: amochats::MessageEvent) -> v1::MessageEvent {
    v1::MessageEvent {
        conversation_id: message.conversation_id.map(text),
        conversation_ref_id: message.conversation_ref_id.map(text),
        message_id: message.message_id.map(text),
        message_ref_id: message.message_ref_id.map(text),
        timestamp: message.timestamp,
        msec_timestamp: message.msec_timestamp,
        sender: message.sender.map(participant),
        receiver: message.receiver.map(participant),
        source_external_id: message.source_external_id,
        r#type: message.message_type,
        text: message.text,
        media: message.media,
        thumbnail: message.thumbnail,
        file_name: message.file_name,
        file_size: message.file_size,
        media_group_id: message.media_group_id,
        markup: message.markup.map(markup),
        template: message.template.map(template),
        reply_to: message.reply_to.map(embedded),
        forwards: message
            .forwards
            .map_or_else(Vec::new, |all| all.messages.into_iter().map(embedded).collect()),
        post_id: message.post.and_then(|post| post.id),
    }
}

fn participant(participant: amochats::Participant) -> v1::Participant {
    v1::Participant {
        user_id: participant.user_id.map(text),
        user_ref_id: participant.user_ref_id.map(text),
        name: participant.name,
        phone: participant.phone,
        email: participant.email,
        avatar: participant.avatar,
    }
}

fn markup(markup: amochats::Markup) -> v1::Markup {
    let button = |button: amochats::Button| v1::Button { text: button.text, url: button.url };
    let row = |row: Vec<amochats::Button>| v1::ButtonRow { buttons: row.into_iter().map(button).collect() };
    let list_row = |row: amochats::ListRow| v1::ListRow {
        callback_data: row.callback_data,
        title: row.title,
        description: row.description,
    };
    let section = |section: amochats::ListSection| v1::ListSection {
        title: section.title,
        rows: section.rows.into_iter().map(list_row).collect(),
    };
    v1::Markup {
        mode: markup.mode,
        rows: markup.buttons.into_iter().map(row).collect(),
        list_message: markup.list_message.map(|list| v1::ListMessage {
            header: list.header,
            body: list.body,
            footer: list.footer,
            button: list.button,
            sections: list.sections.into_iter().map(section).collect(),
        }),
    }
}

fn template(template: amochats::Template) -> v1::Template {
    let param = |param: amochats::TemplateParam| v1::TemplateParam { key: param.key, value: param.value };
    v1::Template {
        id: template.id,
        external_id: template.external_id,
        content: template.content,
        params: template.params.into_iter().map(param).collect(),
    }
}

fn embedded(message: amochats::EmbeddedMessage) -> v1::EmbeddedMessage {
    v1::EmbeddedMessage {
        message_id: message.message_id.map(text),
        message_ref_id: message.message_ref_id.map(text),
        r#type: message.message_type,
        text: message.text,
        media: message.media,
        thumbnail: message.thumbnail,
        file_name: message.file_name,
        file_size: message.file_size,
        msec_timestamp: message.msec_timestamp.or_else(|| message.timestamp?.checked_mul(1000)),
        sender: message.sender.map(participant),
    }
}

fn timestamp(msec: i64) -> Timestamp {
    let nanos = i32::try_from(msec.rem_euclid(1000) * 1_000_000).unwrap_or(0);
    Timestamp { seconds: msec.div_euclid(1000), nanos }
}

fn text(id: impl Into<String>) -> String {
    id.into()
}
