//! What is wrong with a request is said with the path of the field, as the request has it.

mod support;

use amochats_proto::v1;
use amochats_proto::v1::channel_service_client::ChannelServiceClient;
use amochats_proto::v1::content::Kind;
use amochats_proto::v1::enqueue_request::Call;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::outbox_service_client::OutboxServiceClient;
use amochats_proto::v1::webhook_service_client::WebhookServiceClient;
use prost_reflect::{DescriptorPool, Kind as FieldKind, MessageDescriptor};
use support::{ACCOUNT, Office, message, reason};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The descriptors of the interface.
struct Interface(DescriptorPool);

impl Interface {
    fn message(&self, name: &str) -> MessageDescriptor {
        self.0.get_message_by_name(&format!("amochats.v1.{name}")).expect("a message")
    }

    /// Fails unless the error names this field, and the request has it.
    fn check(&self, request: &str, result: Result<(), Status>, expected: &str) {
        let status = result.expect_err(expected);
        assert_eq!(
            reason(&status),
            (Code::InvalidArgument, "INVALID_ARGUMENT".into()),
            "{expected}: {status:?}"
        );
        let violations = status.get_details_bad_request().unwrap_or_else(|| panic!("no field: {status:?}"));
        let [violation] = &violations.field_violations[..] else { panic!("{violations:?}") };
        assert_eq!(violation.field, expected, "{request}: {status:?}");
        assert!(!violation.description.is_empty() && !violation.description.starts_with(expected));
        assert_eq!(status.message(), format!("{expected}: {}", violation.description));

        let mut inside = self.message(request);
        let mut parts = expected.split('.').peekable();
        while let Some(part) = parts.next() {
            let field = inside
                .get_field_by_name(part)
                .unwrap_or_else(|| panic!("{} has no {part}: {expected}", inside.full_name()));
            match field.kind() {
                FieldKind::Message(message) => inside = message,
                _ => assert!(parts.peek().is_none(), "{part} of {expected} is no message"),
            }
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as the fields of requests want it")]
fn scope(account: &str) -> Option<v1::Scope> {
    Some(v1::Scope { account_id: account.into(), ..Default::default() })
}

#[expect(clippy::unnecessary_wraps, reason = "as the fields of requests want it")]
fn content(kind: Kind) -> Option<v1::Content> {
    Some(v1::Content { kind: Some(kind) })
}

fn media(url: &str) -> v1::MediaContent {
    v1::MediaContent { url: url.into(), ..Default::default() }
}

/// A message with one thing wrong.
fn wrong(change: impl FnOnce(&mut v1::Message)) -> v1::Message {
    let mut message = message().message.expect("there");
    change(&mut message);
    message
}

/// Every way in which a message can be wrong, and the field that is to be named.
fn wrong_messages() -> Vec<(v1::Message, &'static str)> {
    let kind = |kind| wrong(|message| message.content = content(kind));
    let quoted = |id| wrong(|message| message.reply_to = Some(v1::QuotedMessage { id: Some(id) }));
    vec![
        (wrong(|message| message.message_id.clear()), "message.message_id"),
        (wrong(|message| message.conversation_id.clear()), "message.conversation_id"),
        (wrong(|message| message.conversation_ref_id = Some(String::new())), "message.conversation_ref_id"),
        (wrong(|message| message.sent_at_msec = -1), "message.sent_at_msec"),
        (wrong(|message| message.sender = None), "message.sender"),
        (wrong(|message| message.sender.as_mut().expect("there").user_id.clear()), "message.sender.user_id"),
        (wrong(|message| message.sender.as_mut().expect("there").name.clear()), "message.sender.name"),
        (wrong(|message| message.receiver = message.sender.clone()), "message.sender.user_ref_id"),
        (wrong(|message| message.receiver = Some(v1::Sender::default())), "message.receiver.user_id"),
        (wrong(|message| message.content = None), "message.content"),
        (kind(Kind::Text(v1::TextContent::default())), "message.content.text.text"),
        (kind(Kind::Contact(v1::ContactContent::default())), "message.content.contact.name"),
        (
            kind(Kind::Contact(v1::ContactContent { name: "A".into(), ..Default::default() })),
            "message.content.contact.phone",
        ),
        (
            kind(Kind::Location(v1::LocationContent { lon: 181.0, ..Default::default() })),
            "message.content.location.lon",
        ),
        (kind(Kind::Picture(media("x"))), "message.content.picture.url"),
        (kind(Kind::File(media(""))), "message.content.file.url"),
        (kind(Kind::Video(media("x"))), "message.content.video.url"),
        (kind(Kind::Voice(media("x"))), "message.content.voice.url"),
        (kind(Kind::Audio(media("x"))), "message.content.audio.url"),
        (kind(Kind::Sticker(v1::StickerContent::default())), "message.content.sticker.media"),
        (
            kind(Kind::Sticker(v1::StickerContent { media: Some(media("x")), sticker_id: None })),
            "message.content.sticker.media.url",
        ),
        (wrong(|message| message.source_external_id = Some("é".into())), "message.source_external_id"),
        (quoted(v1::quoted_message::Id::MessageId(String::new())), "message.reply_to.message_id"),
        (quoted(v1::quoted_message::Id::MessageRefId(String::new())), "message.reply_to.message_ref_id"),
        (wrong(|message| message.reply_to = Some(v1::QuotedMessage::default())), "message.reply_to"),
        (
            wrong(|message| {
                message.callback_data = Some("x".into());
                message.content = content(Kind::Picture(media("https://host/x")));
            }),
            "message.callback_data",
        ),
    ]
}

fn edit(change: impl FnOnce(&mut v1::MessageEdit)) -> v1::MessageEdit {
    let mut edit = v1::MessageEdit {
        message_id: Some("m-1".into()),
        conversation_id: "c-1".into(),
        content: content(Kind::Text(v1::TextContent { text: "hello".into() })),
        ..Default::default()
    };
    change(&mut edit);
    edit
}

fn failed(error_code: Option<u32>) -> v1::DeliveryStatus {
    v1::DeliveryStatus { state: v1::DeliveryState::Failed.into(), error_code, error: Some("why".into()) }
}

fn wrong_edits() -> Vec<(v1::MessageEdit, &'static str)> {
    vec![
        (edit(|edit| edit.conversation_id.clear()), "edit.conversation_id"),
        (edit(|edit| edit.message_id = None), "edit.message_id"),
        (edit(|edit| edit.message_ref_id = Some(String::new())), "edit.message_ref_id"),
        (edit(|edit| edit.edited_at_msec = -1), "edit.edited_at_msec"),
        (edit(|edit| edit.content = None), "edit.content"),
        (edit(|edit| edit.content = content(Kind::Video(media("x")))), "edit.content.video.url"),
        (
            edit(|edit| edit.content = content(Kind::Sticker(v1::StickerContent::default()))),
            "edit.content.sticker.media",
        ),
        (
            edit(|edit| edit.delivery_status = Some(v1::DeliveryStatus::default())),
            "edit.delivery_status.state",
        ),
        (edit(|edit| edit.delivery_status = Some(failed(None))), "edit.delivery_status.error_code"),
        (edit(|edit| edit.delivery_status = Some(failed(Some(1)))), "edit.delivery_status.error_code"),
    ]
}

fn reaction(change: impl FnOnce(&mut v1::Reaction)) -> v1::Reaction {
    let mut reaction = v1::Reaction {
        conversation_id: Some("c-1".into()),
        message_id: Some("m-1".into()),
        user_id: Some("u-1".into()),
        kind: v1::ReactionKind::React.into(),
        ..Default::default()
    };
    change(&mut reaction);
    reaction
}

fn wrong_reactions() -> Vec<(v1::Reaction, &'static str)> {
    vec![
        (reaction(|reaction| reaction.conversation_id = None), "reaction.conversation_id"),
        (reaction(|reaction| reaction.message_id = None), "reaction.message_id"),
        (reaction(|reaction| reaction.message_ref_id = Some(String::new())), "reaction.message_ref_id"),
        (reaction(|reaction| reaction.user_id = None), "reaction.user_id"),
        (reaction(|reaction| reaction.user_ref_id = Some(String::new())), "reaction.user_ref_id"),
        (reaction(|reaction| reaction.kind = 0), "reaction.kind"),
        (reaction(|reaction| reaction.emoji = Some(String::new())), "reaction.emoji"),
    ]
}

#[tokio::test]
async fn direct_calls_name_the_field_that_is_wrong() {
    let interface = Interface(DescriptorPool::decode(amochats_proto::FILE_DESCRIPTOR_SET).expect("sound"));
    let office = Office::new("").await;
    let mut client = ChannelServiceClient::new(office.connect().await);
    for (message, field) in wrong_messages() {
        let request = v1::SendMessageRequest { scope: scope(ACCOUNT), message: Some(message) };
        let sent = client.send_message(request).await.map(drop);
        interface.check("SendMessageRequest", sent, field);
    }
    for (edit, field) in wrong_edits() {
        let request = v1::EditMessageRequest { scope: scope(ACCOUNT), edit: Some(edit) };
        interface.check("EditMessageRequest", client.edit_message(request).await.map(drop), field);
    }
    for (reaction, field) in wrong_reactions() {
        let request = v1::ReactRequest { scope: scope(ACCOUNT), reaction: Some(reaction) };
        interface.check("ReactRequest", client.react(request).await.map(drop), field);
    }
    let user = |id: &str, reference: Option<&str>| {
        let reference = reference.map(str::to_owned);
        Some(v1::Sender {
            user_id: id.into(),
            name: "Anna".into(),
            user_ref_id: reference,
            ..Default::default()
        })
    };
    let chat = |id: &str, user| v1::CreateChatRequest {
        scope: scope(ACCOUNT),
        conversation_id: id.into(),
        user,
        ..Default::default()
    };
    for (request, field) in [
        (chat("", user("u-1", None)), "conversation_id"),
        (chat("c-1", None), "user"),
        (chat("c-1", user("", None)), "user.user_id"),
        (chat("c-1", user("u-1", Some("r"))), "user.user_ref_id"),
        (
            v1::CreateChatRequest { source_external_id: Some("é".into()), ..chat("c-1", user("u-1", None)) },
            "source_external_id",
        ),
    ] {
        interface.check("CreateChatRequest", client.create_chat(request).await.map(drop), field);
    }
    let report = |message: &str, status| v1::SetDeliveryStatusRequest {
        scope: scope(ACCOUNT),
        message_ref_id: message.into(),
        status,
    };
    for (request, field) in [
        (report("m", None), "status.state"),
        (report("m", Some(failed(None))), "status.error_code"),
        (report("m", Some(failed(Some(9)))), "status.error_code"),
        (report("m", Some(v1::DeliveryStatus { error: None, ..failed(Some(905)) })), "status.error"),
        (report("a/b", Some(failed(Some(905)))), "message_ref_id"),
    ] {
        interface.check(
            "SetDeliveryStatusRequest",
            client.set_delivery_status(request).await.map(drop),
            field,
        );
    }
    let typing = |conversation: &str, user: &str| v1::SendTypingRequest {
        scope: scope(ACCOUNT),
        conversation_id: conversation.into(),
        user_id: user.into(),
        ..Default::default()
    };
    for (request, field) in [(typing("", "u"), "conversation_id"), (typing("c", ""), "user_id")] {
        interface.check("SendTypingRequest", client.send_typing(request).await.map(drop), field);
    }
    let history = |id: &str, limit| v1::GetHistoryRequest {
        scope: scope(ACCOUNT),
        conversation_ref_id: id.into(),
        limit,
        ..Default::default()
    };
    for (request, field) in [(history("a/b", 1), "conversation_ref_id"), (history("a", 51), "limit")] {
        interface.check("GetHistoryRequest", client.get_history(request).await.map(drop), field);
    }
}

#[tokio::test]
async fn a_scope_that_is_wrong_is_named_everywhere() {
    let interface = Interface(DescriptorPool::decode(amochats_proto::FILE_DESCRIPTOR_SET).expect("sound"));
    let office = Office::new("").await;
    let mut client = ChannelServiceClient::new(office.connect().await);
    let field = "scope.account_id";
    for account in ["", "a/b"] {
        let scope = || scope(account);
        let request = v1::SendMessageRequest { scope: scope(), ..message() };
        interface.check("SendMessageRequest", client.send_message(request).await.map(drop), field);
        let request = v1::EditMessageRequest { scope: scope(), edit: Some(edit(|_| {})) };
        interface.check("EditMessageRequest", client.edit_message(request).await.map(drop), field);
        let request = v1::ReactRequest { scope: scope(), reaction: Some(reaction(|_| {})) };
        interface.check("ReactRequest", client.react(request).await.map(drop), field);
        let request =
            v1::GetHistoryRequest { scope: scope(), conversation_ref_id: "x".into(), ..Default::default() };
        interface.check("GetHistoryRequest", client.get_history(request).await.map(drop), field);
        let request = v1::SendTypingRequest {
            scope: scope(),
            conversation_id: "c".into(),
            user_id: "u".into(),
            ..Default::default()
        };
        interface.check("SendTypingRequest", client.send_typing(request).await.map(drop), field);
    }
    let request = v1::ConnectRequest::default();
    interface.check("ConnectRequest", client.connect(request).await.map(drop), field);
    let request = v1::DisconnectRequest::default();
    interface.check("DisconnectRequest", client.disconnect(request).await.map(drop), field);
    let request =
        v1::ConnectRequest { scope: scope(ACCOUNT), title: Some(String::new()), ..Default::default() };
    interface.check("ConnectRequest", client.connect(request).await.map(drop), "title");
}

#[tokio::test]
async fn calls_that_are_kept_name_the_field_that_is_wrong() {
    let interface = Interface(DescriptorPool::decode(amochats_proto::FILE_DESCRIPTOR_SET).expect("sound"));
    let office = Office::new("").await;
    let mut client = OutboxServiceClient::new(office.connect().await);
    let request = |call| v1::EnqueueRequest { scope: scope(ACCOUNT), call, ..Default::default() };
    let vendor = |call: &str, body: &str, message: Option<&str>| {
        Call::VendorCall(v1::VendorCall {
            call: call.into(),
            body: body.to_owned().into(),
            message_ref_id: message.map(Into::into),
        })
    };
    let report = |message: &str, status| {
        Call::DeliveryReport(v1::DeliveryReport {
            message_ref_id: message.into(),
            status,
            ..Default::default()
        })
    };
    let mut cases: Vec<(v1::EnqueueRequest, String)> = vec![
        (request(None), "call".into()),
        (v1::EnqueueRequest { scope: None, ..request(None) }, "scope.account_id".into()),
        (request(Some(Call::NewChat(v1::NewChat::default()))), "new_chat.user".into()),
        (
            request(Some(Call::NewChat(v1::NewChat {
                user: Some(v1::Sender::default()),
                ..Default::default()
            }))),
            "new_chat.conversation_id".into(),
        ),
        (request(Some(report("m", None))), "delivery_report.status.state".into()),
        (request(Some(report("m", Some(failed(Some(1)))))), "delivery_report.status.error_code".into()),
        (request(Some(vendor("nonsense", "{}", None))), "vendor_call.call".into()),
        (request(Some(vendor("send_message", "{", None))), "vendor_call.body".into()),
        (request(Some(vendor("send_message", "{}", None))), "vendor_call.body".into()),
        (request(Some(vendor("send_message", "{}", Some("m")))), "vendor_call.message_ref_id".into()),
        (
            v1::EnqueueRequest { key: Some("k".into()), ..request(message().message.map(Call::Message)) },
            "key".into(),
        ),
        (
            v1::EnqueueRequest {
                expires_in: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
                ..request(message().message.map(Call::Message))
            },
            "expires_in".into(),
        ),
    ];
    let messages = wrong_messages().into_iter();
    cases.extend(messages.map(|(message, field)| (request(Some(Call::Message(message))), field.into())));
    cases.extend(
        wrong_edits().into_iter().map(|(edit, field)| (request(Some(Call::Edit(edit))), field.into())),
    );
    let reactions = wrong_reactions().into_iter();
    cases.extend(reactions.map(|(reaction, field)| (request(Some(Call::Reaction(reaction))), field.into())));
    for (request, field) in cases {
        if field == "call" {
            let status = client.enqueue(request).await.expect_err("no call");
            assert_eq!(status.get_details_bad_request().expect("a field").field_violations[0].field, "call");
            continue;
        }
        interface.check("EnqueueRequest", client.enqueue(request).await.map(drop), &field);
    }
}

#[tokio::test]
async fn subscriptions_and_signatures_name_the_field_that_is_wrong() {
    let interface = Interface(DescriptorPool::decode(amochats_proto::FILE_DESCRIPTOR_SET).expect("sound"));
    let office = Office::new("").await;
    let channel = office.connect().await;
    let mut inbox = InboxServiceClient::new(channel.clone());
    let options = |kind: &str| Some(v1::CreateOptions { kinds: vec![kind.into()], ..Default::default() });
    for (name, options, field) in [("", None, "name"), ("crm", options("nonsense"), "options.kinds")] {
        let request = v1::CreateSubscriptionRequest { name: name.into(), options };
        interface.check(
            "CreateSubscriptionRequest",
            inbox.create_subscription(request).await.map(drop),
            field,
        );
    }
    let subscribe = v1::Subscribe { subscription: "crm".into(), ..Default::default() };
    for (subscribe, field) in [
        (v1::Subscribe { create: options("nonsense"), ..subscribe.clone() }, "subscribe.create.kinds"),
        (
            v1::Subscribe { create: options("message"), subscription: String::new(), ..subscribe.clone() },
            "subscribe.subscription",
        ),
        (
            v1::Subscribe { create: options("message"), max_outstanding: 1_000_000, ..subscribe },
            "subscribe.max_outstanding",
        ),
    ] {
        let first = v1::stream_events_request::Request::Subscribe(subscribe);
        let requests = tokio_stream::once(v1::StreamEventsRequest { request: Some(first) });
        interface.check("StreamEventsRequest", inbox.stream_events(requests).await.map(drop), field);
    }
    let empty = tokio_stream::once(v1::StreamEventsRequest::default());
    interface.check("StreamEventsRequest", inbox.stream_events(empty).await.map(drop), "subscribe");

    let mut webhooks = WebhookServiceClient::new(channel);
    let sign = |method: &str, path: &str, date: &str| v1::SignRequest {
        method: method.into(),
        path: path.into(),
        date: date.into(),
        ..Default::default()
    };
    for (request, field) in
        [(sign("", "/x", ""), "method"), (sign("GET", "x", ""), "path"), (sign("GET", "/x", "a\nb"), "date")]
    {
        interface.check("SignRequest", webhooks.sign(request).await.map(drop), field);
    }
}

#[test]
fn where_traces_go_is_checked() {
    let config = |endpoint: &str| {
        let toml = format!(
            "[log]\notlp_endpoint = \"{endpoint}\"\n[[channel]]\nid = \"a4490ccc-5d7f-11e7-907b-a6006ad3dba0\"\nsecret = \"s\"\n"
        );
        amochats_server::ServerConfig::load(&toml, [])
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    let sound = config("http://127.0.0.1:4317");
    if cfg!(feature = "otlp") {
        assert_eq!(sound, "");
        assert!(config("127.0.0.1:4317").contains("log.otlp_endpoint: must be the address"));
    } else {
        assert!(sound.contains("log.otlp_endpoint") && sound.contains("feature \"otlp\""), "{sound}");
    }
}
