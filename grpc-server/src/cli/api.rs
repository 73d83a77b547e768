//! `amochats connect`, `disconnect`, `send`, `status` and those of `chats`: one call of the chats
//! API each.
#![expect(clippy::doc_markdown, reason = "--help shows these lines as they are")]

mod chats;

pub(super) use chats::{Chat, Edit, History, React, Typing};

use super::secret::Secrets;
use super::{Exit, Failure, io};
use amochats::{
    AccountId, ApiRequest, ChannelId, Client, Connect as ConnectBody, Connected, Content, ConversationId,
    ConversationRefId, DeliveryErrorCode, DeliveryStatus, Error, HookVersion, Media, MessageId,
    MessageReceipt, MessageRefId, NewMessage, QuotedMessage, Region, Result as ApiResult, ScopeId, Sender,
    SignedRequest, UserId, UserRefId,
};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use serde::Serialize;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The service that is called, and how.
#[derive(Args)]
#[command(next_help_heading = "Service")]
struct Service {
    /// The region in which the channel is registered
    #[arg(long, value_parser = region(), required_unless_present = "base_url")]
    region: Option<Region>,
    /// Another address of the service, such as a sandbox's
    #[arg(long, value_name = "URL", conflicts_with = "region")]
    base_url: Option<String>,
    /// A PEM file with certificates to trust, too
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// How long to wait for the whole answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Sign as in the first generation, for a service of that time
    #[arg(long)]
    body_signature_only: bool,
    #[command(flatten)]
    secrets: Secrets,
    /// Print the signed request as one JSON object, with method, url, headers and body, and do not send it
    #[arg(long)]
    dry_run: bool,
    /// Print the answer, or the error, as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn region() -> impl TypedValueParser<Value = Region> {
    PossibleValuesParser::new(Region::ALL.map(Region::name)).try_map(|name| name.parse())
}

impl Service {
    /// Makes a call, or shows it, and prints what came of it; `say` puts it into words for people.
    fn call<T: Serialize>(
        self,
        channel: ChannelId,
        request: ApiResult<ApiRequest>,
        read: impl FnOnce(&[u8]) -> ApiResult<T>,
        say: impl FnOnce(&T) -> String,
    ) -> Result<Exit, Failure> {
        let (json, dry_run) = (self.json, self.dry_run);
        let client = self.client(channel)?;
        let printed = match request {
            Ok(request) if dry_run => client.sign(&request).map(show),
            Ok(request) => runtime()?.block_on(client.call_for(&request, read)).map(|answer| {
                if json {
                    serde_json::to_string(&answer).expect("an answer has text for keys")
                } else {
                    say(&answer)
                }
            }),
            Err(error) => Err(error),
        };
        match printed {
            Ok(line) => {
                io::print(&line)?;
                Ok(Exit::Ok)
            }
            Err(error) => failed(json, error),
        }
    }

    fn client(self, channel: ChannelId) -> Result<Client, Failure> {
        let mut builder = Client::builder(channel, self.secrets.one()?)
            .timeout(Duration::from_secs(self.timeout))
            .send_once();
        if let Some(region) = self.region {
            builder = builder.region(region);
        }
        if let Some(base_url) = self.base_url {
            builder = builder.base_url(base_url);
        }
        if let Some(file) = self.cacert {
            builder = builder.add_root_certificate(read_file(&file)?);
        }
        if self.body_signature_only {
            builder = builder.body_signature_only();
        }
        Ok(builder.build()?)
    }
}

/// Says why a call failed: as JSON on standard output, else as a line on standard error.
fn failed(json: bool, error: Error) -> Result<Exit, Failure> {
    if !json {
        return Err(explain(error));
    }
    io::print(&describe(&error).to_string())?;
    Ok(Failure::from(error).exit)
}

/// A time in Unix milliseconds. One before 1973 is one in seconds.
fn unix_msec(text: &str) -> Result<i64, &'static str> {
    let msec: i64 = text.parse().map_err(|_| "must be a whole number of milliseconds")?;
    if msec >= 100_000_000_000 { Ok(msec) } else { Err("must be in milliseconds; this looks like seconds") }
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))
}

/// What `--payload-file` names; `-` is standard input.
pub(super) fn payload(path: &Path) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") { io::read_body() } else { read_file(path) }
}

/// Somebody else's text on one line, without what could move the cursor.
pub(super) fn words(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))
}

/// A request as JSON. It holds the signature but not the secret.
fn show(request: SignedRequest) -> String {
    let headers: serde_json::Map<String, Value> =
        request.headers.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let body = String::from_utf8(request.body).expect("the core writes JSON");
    json!({"method": request.method, "url": request.url, "headers": headers, "body": body}).to_string()
}

/// An error as JSON. Who calls is shown the vendor's words.
pub(super) fn describe(error: &Error) -> Value {
    let vendor = error.vendor().map(|vendor| {
        let mut said =
            json!({"code": vendor.code, "type": vendor.error_type, "description": vendor.description});
        // The CRM alone tells of fields.
        if let Some(problem) = &vendor.problem {
            said["problem"] = json!(problem);
        }
        said
    });
    json!({"error": {
        "kind": error.kind().name(),
        "message": error.message(),
        "field": error.field(),
        "http_status": error.http_status(),
        "retry_after": error.retry_after().map(|delay| delay.as_secs()),
        "may_have_been_applied": error.may_have_been_applied(),
        "vendor": vendor,
    }})
}

/// An error as one line for the person who made the call.
pub(super) fn explain(error: Error) -> Failure {
    let mut parts = vec![error.message().to_owned()];
    if let Some(vendor) = error.vendor() {
        let code = vendor.code.map(|code| code.to_string());
        let said: Vec<String> = [&code, &vendor.error_type, &vendor.description]
            .into_iter()
            .flatten()
            .map(|part| words(part))
            .filter(|part| !part.is_empty())
            .collect();
        parts.push(format!("the service said: {}", said.join(" ")));
        for error in vendor.problem.iter().flat_map(|problem| &problem.errors) {
            let [path, detail] = [&error.path, &error.detail].map(|words| words.as_deref().unwrap_or("?"));
            parts.push(words(&format!("{path}: {detail}")));
        }
    }
    if let Some(delay) = error.retry_after() {
        parts.push(format!("try again in {} s", delay.as_secs()));
    }
    if error.may_have_been_applied() {
        parts.push("the call may have had its effect".to_owned());
    }
    Failure { message: parts.join("; "), ..Failure::from(error) }
}

/// Connect the channel to an account
///
/// To be done again after every installation of the integration. Prints the scope id, which is
/// part of the webhook address and of every later call.
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats connect --region kommo --secret-file channel.secret --title 'Shop chat' \\
    --channel-id a4490ccc-5d7f-11e7-907b-a6006ad3dba0 --account-id 13fa84f7-6b61-4086-98ed-0a9de19ee15c")]
pub(super) struct Connect {
    /// The channel's id
    #[arg(long, value_name = "ID")]
    channel_id: ChannelId,
    /// The account's id inside the chat service (amojo_id)
    #[arg(long, value_name = "ID")]
    account_id: AccountId,
    /// The channel's name in this account; Kommo requires one
    #[arg(long)]
    title: Option<String>,
    /// The form in which the account's webhooks come
    #[arg(long, value_name = "VERSION", value_parser = hook_version(), default_value = "v2")]
    hook_version: HookVersion,
    /// Switch the channel's time window off in this account
    #[arg(long)]
    disable_time_window: bool,
    #[command(flatten)]
    service: Service,
}

fn hook_version() -> impl TypedValueParser<Value = HookVersion> {
    PossibleValuesParser::new(["v1", "v2"])
        .map(|name| if name == "v1" { HookVersion::V1 } else { HookVersion::V2 })
}

impl Connect {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let connect = ConnectBody {
            account_id: self.account_id,
            title: self.title,
            hook_api_version: self.hook_version,
            is_time_window_disabled: self.disable_time_window.then_some(true),
        };
        let request = ApiRequest::connect(&self.channel_id, &connect);
        self.service.call(self.channel_id, request, Connected::from_json, |connected| {
            format!("connected; the scope is {}", connected.scope_id)
        })
    }
}

/// Disconnect the channel from an account
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats disconnect --region ru --secret-file channel.secret \\
    --channel-id CHANNEL_ID --account-id ACCOUNT_ID")]
pub(super) struct Disconnect {
    /// The channel's id
    #[arg(long, value_name = "ID")]
    channel_id: ChannelId,
    /// The account's id inside the chat service (amojo_id)
    #[arg(long, value_name = "ID")]
    account_id: AccountId,
    #[command(flatten)]
    service: Service,
}

impl Disconnect {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let request = ApiRequest::disconnect(&self.channel_id, &self.account_id);
        let done =
            json!({"channel_id": self.channel_id, "account_id": self.account_id, "disconnected": true});
        self.service.call(self.channel_id, request, |_| Ok(done), |_| "disconnected".to_owned())
    }
}

/// Report what became of a message from the CRM
#[derive(Args)]
#[command(
    group = ArgGroup::new("state").required(true),
    after_help = "\
Examples:
  amochats status --region ru --secret-file channel.secret --scope-id SCOPE_ID \\
    --message-ref-id ID --read
  amochats status --region ru --secret-file channel.secret --scope-id SCOPE_ID \\
    --message-ref-id ID --failed 905 --error 'the number is not on WhatsApp'

Codes of --failed:
  901  the client deleted the conversation (amoCRM) or the message (Kommo)
  902  the integration is switched off on the channel's side
  903  an error inside the integration
  904  the conversation cannot be made
  905  anything else; --error must say what"
)]
pub(super) struct Status {
    /// The connection: the channel id and the account id, joined by "_"
    #[arg(long, value_name = "ID")]
    scope_id: ScopeId,
    /// The message, by amoCRM's id of it: message_ref_id of the event
    #[arg(long, value_name = "ID")]
    message_ref_id: MessageRefId,
    /// It reached the client
    #[arg(long, group = "state")]
    delivered: bool,
    /// The client read it
    #[arg(long, group = "state")]
    read: bool,
    /// It could not be delivered
    #[arg(long, value_name = "CODE", group = "state")]
    failed: Option<u16>,
    /// Why not; shown to the CRM user
    #[arg(long, value_name = "TEXT", requires = "failed")]
    error: Option<String>,
    /// A file with the whole report in the vendor's form, or - for standard input
    #[arg(long, value_name = "FILE", group = "state")]
    payload_file: Option<PathBuf>,
    /// Report in the form from before 2025, for a service that does not know the current one
    #[arg(long)]
    old_form: bool,
    #[command(flatten)]
    service: Service,
}

impl Status {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let (channel_id, _) = self.scope_id.split()?;
        let status = match (self.payload_file.as_deref(), self.failed) {
            (Some(path), _) => DeliveryStatus::from_json(&payload(path)?),
            (None, Some(code)) => Ok(failure(code, self.error)?),
            (None, None) if self.delivered => Ok(DeliveryStatus::Delivered),
            (None, None) => Ok(DeliveryStatus::Read),
        };
        let name = match &status {
            Ok(DeliveryStatus::Delivered) => "delivered",
            Ok(DeliveryStatus::Read) => "read",
            Ok(DeliveryStatus::Failed { .. }) | Err(_) => "failed",
        };
        let encode =
            if self.old_form { ApiRequest::set_delivery_status_old } else { ApiRequest::set_delivery_status };
        let request = status.and_then(|status| encode(&self.scope_id, &self.message_ref_id, &status));
        let done = json!({"message_ref_id": self.message_ref_id, "status": name});
        self.service.call(channel_id, request, |_| Ok(done), |_| format!("reported as {name}"))
    }
}

/// A failed delivery, by its code and the words for the CRM user.
fn failure(code: u16, error: Option<String>) -> Result<DeliveryStatus, Failure> {
    let code = DeliveryErrorCode::from_code(code).map_err(|_| {
        Failure::usage(
            "--failed must be 901, 902, 903, 904 or 905: `amochats status --help` says what they mean",
        )
    })?;
    let error = error.unwrap_or_default();
    if code == DeliveryErrorCode::Other && error.is_empty() {
        return Err(Failure::usage("--failed 905 goes with --error, which says what happened"));
    }
    Ok(DeliveryStatus::Failed { code, error })
}

/// Send a message to the CRM
///
/// From a client, unless a receiver is named: then from a manager or bot to that client, written
/// outside of the CRM. A second message with the same id is refused by the service.
#[derive(Args)]
#[command(after_help = "\
Examples:
  amochats send --region ru --secret-file channel.secret --scope-id SCOPE_ID \\
    --conversation-id c-9 --user-id u-5 --name Anna --text 'Is it still there?'
  amochats send --region ru --secret-file channel.secret --scope-id SCOPE_ID \\
    --payload-file message.json")]
pub(super) struct SendMessage {
    /// The connection: the channel id and the account id, joined by "_"
    #[arg(long, value_name = "ID")]
    scope_id: ScopeId,
    /// A file with the whole message in the vendor's form (event_type and payload), or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["message", "body"])]
    payload_file: Option<PathBuf>,
    // Beside each other: clap leaves a group empty that holds another one.
    #[command(flatten)]
    message: Flags,
    #[command(flatten)]
    body: Body,
    #[command(flatten)]
    service: Service,
}

/// The message, flag by flag.
#[derive(Args)]
#[command(next_help_heading = "Message")]
#[group(id = "message")]
pub(super) struct Flags {
    /// The chat, by the integration's id; an unknown one makes a new chat
    #[arg(long, value_name = "ID", required_unless_present = "payload_file")]
    conversation_id: Option<ConversationId>,
    /// The chat, by amoCRM's id, to bind the two
    #[arg(long, value_name = "ID")]
    conversation_ref_id: Option<ConversationRefId>,
    /// The message, by the integration's id [default: a new UUID]
    #[arg(long, value_name = "ID")]
    message_id: Option<MessageId>,
    /// When it was written, in Unix milliseconds [default: now]
    #[arg(long, value_name = "MSEC", value_parser = unix_msec)]
    sent_at_msec: Option<i64>,
    /// Who writes, by the integration's id
    #[arg(long, value_name = "ID", required_unless_present = "payload_file")]
    user_id: Option<UserId>,
    /// Who writes, by amoCRM's id; required of a manager or bot
    #[arg(long, value_name = "ID")]
    user_ref_id: Option<UserRefId>,
    /// The name of who writes
    #[arg(long, required_unless_present = "payload_file")]
    name: Option<String>,
    /// The address of a picture of who writes
    #[arg(long, value_name = "URL")]
    avatar: Option<String>,
    /// The phone of who writes
    #[arg(long)]
    phone: Option<String>,
    /// The e-mail address of who writes
    #[arg(long)]
    email: Option<String>,
    /// The client to whom a manager or bot writes, by the integration's id
    #[arg(long, value_name = "ID", requires = "receiver_name", requires = "user_ref_id")]
    receiver_user_id: Option<UserId>,
    /// The name of that client
    #[arg(long, value_name = "NAME", requires = "receiver_user_id")]
    receiver_name: Option<String>,
    /// The source it came through (external_id)
    #[arg(long, value_name = "EXTERNAL_ID")]
    source: Option<String>,
    /// The message it answers, by the integration's id
    #[arg(long, value_name = "MESSAGE_ID")]
    reply_to: Option<MessageId>,
    /// Import it: no notification and no incoming lead
    #[arg(long)]
    silent: bool,
}

/// What is written.
#[derive(Args)]
#[group(id = "body")]
pub(super) struct Body {
    /// The text, or the caption of an attachment
    #[arg(long, required_unless_present_any = ["attachment", "payload_file"])]
    text: Option<String>,
    /// The address of a picture
    #[arg(long, value_name = "URL", groups = ["attachment", "media"])]
    picture: Option<String>,
    /// The address of a file
    #[arg(long, value_name = "URL", groups = ["attachment", "media"])]
    file: Option<String>,
    /// The address of a video
    #[arg(long, value_name = "URL", groups = ["attachment", "media"])]
    video: Option<String>,
    /// The address of a voice message
    #[arg(long, value_name = "URL", groups = ["attachment", "media"])]
    voice: Option<String>,
    /// The address of a sound
    #[arg(long, value_name = "URL", groups = ["attachment", "media"])]
    audio: Option<String>,
    /// The address of a sticker's picture
    #[arg(long, value_name = "URL", groups = ["attachment", "media"])]
    sticker: Option<String>,
    /// A place, in degrees
    #[arg(long, value_name = "LON,LAT", value_parser = place, allow_hyphen_values = true, group = "attachment")]
    location: Option<(f64, f64)>,
    /// The name on a contact card
    #[arg(long, value_name = "NAME", requires = "contact_phone", group = "attachment")]
    contact: Option<String>,
    /// The phone on the contact card
    #[arg(long, value_name = "PHONE", requires = "contact")]
    contact_phone: Option<String>,
    /// The attachment's file name
    #[arg(long, value_name = "NAME", requires = "media")]
    file_name: Option<String>,
    /// The attachment's size in bytes
    #[arg(long, value_name = "BYTES", requires = "media")]
    file_size: Option<u64>,
    /// The attachment's length in seconds
    #[arg(long, value_name = "SECONDS", requires = "media")]
    duration: Option<u64>,
}

fn place(text: &str) -> Result<(f64, f64), &'static str> {
    let parse = |text: &str| text.trim().parse::<f64>().ok();
    text.split_once(',')
        .and_then(|(lon, lat)| Some((parse(lon)?, parse(lat)?)))
        .ok_or("must be two numbers, such as 37.6,55.7")
}

impl SendMessage {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let (channel_id, _) = self.scope_id.split()?;
        let message = match self.payload_file.as_deref() {
            Some(path) => NewMessage::from_json(&payload(path)?),
            None => Ok(self.message.build(self.body.build())),
        };
        let encoded = message.and_then(|message| {
            Ok((ApiRequest::send_message(&self.scope_id, &message)?, message.message_id))
        });
        let (request, message_id) = match encoded {
            Ok((request, message_id)) => (Ok(request), Some(message_id)),
            Err(error) => (Err(error), None),
        };
        // Older answers do not repeat the id, which may have been made up here.
        let read = |body: &[u8]| {
            let receipt = MessageReceipt::from_json(body)?;
            Ok(MessageReceipt { message_id: receipt.message_id.or(message_id), ..receipt })
        };
        self.service.call(channel_id, request, read, |receipt| {
            let id = |id: Option<&str>| id.unwrap_or("unknown").to_owned();
            let message_id = id(receipt.message_id.as_ref().map(AsRef::as_ref));
            let message_ref_id = id(receipt.message_ref_id.as_ref().map(AsRef::as_ref));
            format!("sent as {message_id}; amoCRM's id of it is {message_ref_id}")
        })
    }
}

impl Flags {
    pub(super) fn build(self, content: Content) -> NewMessage {
        let given = "the argument parser requires it without a payload file";
        let sender = Sender {
            user_ref_id: self.user_ref_id,
            avatar: self.avatar,
            phone: self.phone,
            email: self.email,
            ..Sender::new(self.user_id.expect(given), self.name.expect(given))
        };
        let mut message = NewMessage::incoming(
            self.conversation_id.expect(given),
            self.message_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string().into()),
            self.sent_at_msec.unwrap_or_else(now_msec),
            sender,
            content,
        );
        message.conversation_ref_id = self.conversation_ref_id;
        message.receiver =
            self.receiver_user_id.zip(self.receiver_name).map(|(id, name)| Sender::new(id, name));
        message.source_external_id = self.source;
        message.reply_to = self.reply_to.map(QuotedMessage::ById);
        message.silent = self.silent;
        message
    }
}

fn now_msec() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Body {
    pub(super) fn build(self) -> Content {
        let Self { text, file_name, file_size, duration, .. } = self;
        if let Some((lon, lat)) = self.location {
            return Content::Location { lon, lat, text };
        }
        if let Some((name, phone)) = self.contact.zip(self.contact_phone) {
            return Content::Contact { name, phone, text };
        }
        let media = |url| Media { url, file_name, file_size, duration, text: text.clone() };
        match (self.picture, self.file, self.video, self.voice, self.audio, self.sticker) {
            (Some(url), ..) => Content::Picture(media(url)),
            (_, Some(url), ..) => Content::File(media(url)),
            (_, _, Some(url), ..) => Content::Video(media(url)),
            (_, _, _, Some(url), ..) => Content::Voice(media(url)),
            (_, _, _, _, Some(url), _) => Content::Audio(media(url)),
            (_, _, _, _, _, Some(url)) => Content::Sticker { media: media(url), sticker_id: None },
            _ => Content::text(text.unwrap_or_default()),
        }
    }
}
