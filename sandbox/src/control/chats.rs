//! Chats: lists by pages, and all that a manager does.

use super::{Answer, Body, Path, Query, Refused, Shared, not_found};
use crate::files::file_name;
use crate::manager::{Answered, Writing};
use crate::state::{Attachment, ChatsWanted, Content, Line, PAGE_MAX};
use amochats::{
    AccountId, Button, ChannelId, ConversationRefId, Error, ListMessage, Markup, MessageRefId, Template,
    UserRefId,
};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::PoisonError;
use url::Url;

/// The page size where the request does not say.
const PAGE: usize = 50;
/// The kinds of attachments, by their field.
const KINDS: [&str; 6] = ["picture", "file", "video", "voice", "audio", "sticker"];

fn limit(asked: Option<usize>) -> Result<usize, Error> {
    let limit = asked.unwrap_or(PAGE);
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Error::invalid("limit", format!("must be 1 to {PAGE_MAX}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    account_id: Option<AccountId>,
    channel_id: Option<ChannelId>,
    q: Option<String>,
    limit: Option<usize>,
    before: Option<String>,
}

pub(super) async fn list(State(inner): Shared, Query(query): Query<ListQuery>) -> Answer {
    let wanted = ChatsWanted {
        limit: limit(query.limit)?,
        account_id: query.account_id,
        channel_id: query.channel_id,
        q: query.q,
        before: query.before,
    };
    let state = inner.state();
    let page = state.chats_page(&wanted)?;
    Ok(Json(json!({ "chats": page.chats, "next": page.next, "total": page.total })))
}

pub(super) async fn one(State(inner): Shared, Path(id): Path<String>) -> Answer {
    let state = inner.state();
    let chat = state.chat(&ConversationRefId::from(id)).ok_or_else(not_found)?;
    Ok(Json(json!({ "chat": chat })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessagesQuery {
    limit: Option<usize>,
    before: Option<MessageRefId>,
    /// Comments under this post alone.
    post_id: Option<String>,
}

pub(super) async fn messages(
    State(inner): Shared,
    Path(id): Path<String>,
    Query(query): Query<MessagesQuery>,
) -> Answer {
    let id = ConversationRefId::from(id);
    let state = inner.state();
    state.chat(&id).ok_or_else(not_found)?;
    let page =
        state.messages_page(&id, query.before.as_ref(), query.post_id.as_deref(), limit(query.limit)?)?;
    Ok(Json(json!({ "messages": page.messages, "previous": page.previous })))
}

/// What a manager writes: a text, attachments by their addresses, perhaps with a caption.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    user_ref_id: Option<UserRefId>,
    #[serde(default)]
    text: String,
    picture: Option<WrittenFile>,
    file: Option<WrittenFile>,
    video: Option<WrittenFile>,
    voice: Option<WrittenFile>,
    audio: Option<WrittenFile>,
    sticker: Option<WrittenFile>,
    #[serde(default)]
    attachments: Vec<WrittenAttachment>,
    /// The message that is answered.
    reply_to: Option<MessageRefId>,
    /// The message that is forwarded.
    forward: Option<MessageRefId>,
    template: Option<Template>,
    #[serde(default)]
    buttons: Vec<Vec<Button>>,
    list_message: Option<ListMessage>,
}

/// A file's address, alone or with its name and size.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenFile {
    Url(String),
    Named(NamedFile),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedFile {
    url: String,
    #[serde(default)]
    file_name: String,
    #[serde(default)]
    file_size: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAttachment {
    #[serde(rename = "type")]
    kind: String,
    url: String,
    #[serde(default)]
    file_name: String,
    #[serde(default)]
    file_size: u64,
}

impl WrittenFile {
    fn of(self, kind: &str) -> WrittenAttachment {
        let NamedFile { url, file_name, file_size } = match self {
            Self::Url(url) => NamedFile { url, file_name: String::new(), file_size: 0 },
            Self::Named(file) => file,
        };
        WrittenAttachment { kind: kind.to_owned(), url, file_name, file_size }
    }
}

impl Written {
    fn into_writing(self) -> Result<Writing, Refused> {
        let single = [self.picture, self.file, self.video, self.voice, self.audio, self.sticker];
        let mut attachments: Vec<WrittenAttachment> =
            single.into_iter().zip(KINDS).filter_map(|(file, kind)| Some(file?.of(kind))).collect();
        if attachments.len() > 1 || (!attachments.is_empty() && !self.attachments.is_empty()) {
            return Err(Error::invalid("attachments", "several attachments go into this list").into());
        }
        attachments.extend(self.attachments);
        if attachments.iter().any(|attachment| !KINDS.contains(&&*attachment.kind)) {
            let rule = format!("each has a type of {}", KINDS.join(", "));
            return Err(Error::invalid("attachments", rule).into());
        }
        let text = self.text;
        let mut contents: Vec<Content> = attachments
            .into_iter()
            .map(|WrittenAttachment { kind, url, file_name, file_size }| {
                Content::media(kind, Attachment { url, file_name, file_size })
            })
            .collect();
        match contents.first_mut() {
            Some(first) => first.text = text,
            None => contents.push(Content::text(text)),
        }
        let markup = (!self.buttons.is_empty() || self.list_message.is_some()).then(|| Markup {
            mode: (!self.buttons.is_empty()).then(|| "inline".to_owned()),
            buttons: self.buttons,
            list_message: self.list_message,
            ..Markup::default()
        });
        Ok(Writing {
            user_ref_id: self.user_ref_id,
            contents,
            reply_to: self.reply_to,
            forward: self.forward,
            markup,
            template: self.template,
        })
    }
}

pub(super) async fn answer(
    State(inner): Shared,
    Path(id): Path<String>,
    Body(written): Body<Written>,
) -> Answer {
    Ok(answered(&inner.write(&id.into(), written.into_writing()?).await?))
}

/// The first message, and all of them where there are several.
fn answered(sent: &[Answered]) -> Json<Value> {
    let all: Vec<Value> = sent
        .iter()
        .map(|one| {
            json!({
                "conversation_ref_id": one.conversation_ref_id,
                "message_ref_id": one.message_ref_id,
                "hook": one.hook.verdict(),
            })
        })
        .collect();
    let mut answer = all.first().cloned().unwrap_or_default();
    answer["messages"] = Value::Array(all);
    Json(answer)
}

/// A manager's reaction; without an emoji it is taken back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reacted {
    message_ref_id: MessageRefId,
    emoji: Option<String>,
    user_ref_id: Option<UserRefId>,
}

pub(super) async fn react(State(inner): Shared, Path(id): Path<String>, Body(body): Body<Reacted>) -> Answer {
    let Reacted { message_ref_id, emoji, user_ref_id } = body;
    let hook = inner.react(&id.into(), &message_ref_id, emoji.as_deref(), user_ref_id.as_ref()).await?;
    Ok(Json(json!({ "hook": hook.map(|hook| hook.verdict()) })))
}

#[derive(Deserialize)]
pub(super) struct WriteFirst {
    account_id: AccountId,
    /// The first channel if absent.
    channel_id: Option<ChannelId>,
    phone: String,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

pub(super) async fn write_first(State(inner): Shared, Body(body): Body<WriteFirst>) -> Answer {
    let WriteFirst { account_id, channel_id, phone, rest } = body;
    let written: Written = serde_path_to_error::deserialize(Value::Object(rest)).map_err(|error| {
        let path = error.path().to_string();
        Error::invalid(path, error.into_inner())
    })?;
    let channel_id = channel_id.unwrap_or_else(|| inner.state().channels[0].channel_id.clone());
    let line = Line::of(&channel_id, &account_id);
    Ok(answered(&inner.write_first(&line, &phone, written.into_writing()?).await?))
}

/// Who types, and under which post where it is an answer to a comment.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Typing {
    user_ref_id: Option<UserRefId>,
    post_id: Option<String>,
}

pub(super) async fn typing(State(inner): Shared, Path(id): Path<String>, Body(body): Body<Typing>) -> Answer {
    let hook = inner.typing(&id.into(), body.user_ref_id.as_ref(), body.post_id.as_deref()).await?;
    Ok(Json(json!({ "hook": hook.map(|hook| hook.verdict()) })))
}

pub(super) async fn mark_read(State(inner): Shared, Path(id): Path<String>) -> Answer {
    inner.mark_read(&id.into())?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upload {
    name: String,
    /// Whose path it stands in; the first account's if absent.
    account_id: Option<AccountId>,
}

/// Keeps a file, as the vendor keeps what managers send.
pub(super) async fn upload(State(inner): Shared, Query(query): Query<Upload>, body: Bytes) -> Answer {
    let (account_id, id) = {
        let mut state = inner.state();
        let account = query.account_id.unwrap_or_else(|| state.accounts[0].account_id.clone());
        state.account(&account).ok_or_else(|| Error::invalid("account_id", "there is no such account"))?;
        (account, state.new_id())
    };
    let name = file_name(&query.name);
    let mut url = Url::parse(&inner.api_url()).expect("an address with a scheme");
    url.path_segments_mut().expect("http has a path").extend([
        "attachments",
        account_id.as_str(),
        &*id,
        &*name,
    ]);
    let size = body.len();
    let mut files = inner.files.lock().unwrap_or_else(PoisonError::into_inner);
    files.keep(format!("{account_id}/{id}/{name}"), &name, body);
    Ok(Json(json!({ "url": url.as_str(), "file_name": name, "file_size": size })))
}
