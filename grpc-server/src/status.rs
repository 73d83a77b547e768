//! How an error looks on the gRPC surface: a status, and `google.rpc` details.

use amochats::{Error, ErrorKind};
use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every `ErrorInfo`.
pub(crate) const DOMAIN: &str = "amochats";

/// The status of an error: its code, `ErrorInfo` with the kind as `reason`, `BadRequest` where a
/// field is at fault, `RetryInfo` where the vendor asked for a delay.
pub(crate) fn status(error: &Error) -> Status {
    status_named(error, grpc_field)
}

/// Like [`status`], for a call with other names of fields.
pub(crate) fn status_named(error: &Error, name: impl Fn(&str) -> String) -> Status {
    let mut metadata = HashMap::new();
    if let Some(http_status) = error.http_status() {
        metadata.insert("http_status".to_owned(), http_status.to_string());
    }
    if let Some(vendor) = error.vendor() {
        // For the caller, who sent the data that they may quote; never logged here.
        let words = [
            ("vendor_error_code", vendor.code.map(|code| code.to_string())),
            ("vendor_error_type", vendor.error_type.clone()),
            ("vendor_error_description", vendor.description.clone()),
        ];
        metadata.extend(words.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(error.kind().name(), DOMAIN, metadata);
    let mut message = message(error).to_owned();
    // A word of the service, not its sentence, which may quote what was sent.
    let word = error.vendor().and_then(|vendor| vendor.error_type.as_deref());
    let is_word = |word: &&str| word.len() <= 64 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if let Some(word) = word.filter(is_word).filter(|_| error.kind() == ErrorKind::Forbidden) {
        message = format!("the service refused the signature or the right: it says {word}");
    }
    if let Some(field) = error.field().filter(|_| error.kind() != ErrorKind::Panic) {
        let rule = rule(error).map(str::to_owned);
        let field = name(field);
        if let Some(rule) = &rule {
            message = format!("{field}: {rule}");
        }
        details.add_bad_request_violation(field, rule.as_deref().unwrap_or(&message));
    }
    if let Some(delay) = error.retry_after() {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(code(error.kind()), message, details)
}

/// What is wrong with the field that an error names, without its name.
pub(crate) fn rule(error: &Error) -> Option<&str> {
    error.message().strip_prefix(error.field()?)?.strip_prefix(": ")
}

/// The path of a field as `amochats.v1` names it, for one that the core names as the vendor does.
pub(crate) fn grpc_field(vendor: &str) -> String {
    let Some(path) = vendor.strip_prefix("payload.") else { return vendor.to_owned() };
    let person = |person: &str, field: &str| match field {
        "id" | "ref_id" => format!("message.{person}.user_{field}"),
        field => format!("message.{person}.{field}"),
    };
    match path {
        "msec_timestamp" => "message.sent_at_msec".into(),
        "msgid" => "message.message_id".into(),
        "source.external_id" => "message.source_external_id".into(),
        "reply_to.message.id" => "message.reply_to.message_ref_id".into(),
        "reply_to.message.msgid" => "message.reply_to.message_id".into(),
        "message.callback_data" => "message.callback_data".into(),
        "message.text" => "message.content.text.text".into(),
        "message.media" => format!("message.{ADDRESS}"),
        path => match path.split_once('.') {
            Some((who @ ("sender" | "receiver"), field)) => person(who, field),
            Some(("message", rest)) => format!("message.content.{rest}"),
            _ => format!("message.{path}"),
        },
    }
}

/// An attachment's address, before it is known which kind of content has it.
const ADDRESS: &str = "content.url";

/// The path of a field of a request with content of this kind, as `amochats.v1` names that.
pub(crate) fn of_kind(field: &str, kind: Option<&str>) -> String {
    match (field.strip_suffix(ADDRESS), kind) {
        (Some(before), Some(kind)) => format!("{before}content.{kind}.url"),
        _ => field.to_owned(),
    }
}

/// As [`grpc_field`], for a call with a scope in its request.
pub(crate) fn call_field(vendor: &str) -> String {
    match vendor {
        // Which is made of both ids; that of the channel is known here.
        "scope_id" | "account_id" => "scope.account_id".into(),
        other => grpc_field(other),
    }
}

/// As [`grpc_field`], for `SetDeliveryStatus`.
pub(crate) fn delivery_field(vendor: &str) -> String {
    match vendor {
        "error" | "error_code" => format!("status.{vendor}"),
        other => call_field(other),
    }
}

/// As [`grpc_field`], for a subscription that is made.
pub(crate) fn subscription_field(ours: &str) -> String {
    match ours {
        "subscription" => "name".into(),
        other => option(other).map_or_else(|| other.to_owned(), |option| format!("options.{option}")),
    }
}

/// As [`grpc_field`], within `CreateOptions`.
fn option(ours: &str) -> Option<&str> {
    match ours {
        "event_id" => Some("after_event_id"),
        "since" | "kinds" | "account_ids" | "scope_ids" | "conversation_ids" => Some(ours),
        _ => None,
    }
}

/// As [`grpc_field`], for the first request of a stream.
pub(crate) fn subscribe_field(ours: &str) -> String {
    option(ours).map_or_else(|| format!("subscribe.{ours}"), |option| format!("subscribe.create.{option}"))
}

/// As [`grpc_field`], for `PullEvents`.
pub(crate) fn pull_field(ours: &str) -> String {
    match ours {
        "max_outstanding" => "max_events".into(),
        other => option(other).map_or_else(|| other.to_owned(), |option| format!("create.{option}")),
    }
}

/// As [`grpc_field`], for `EditMessage`.
pub(crate) fn edit_field(vendor: &str) -> String {
    match vendor {
        "payload.msec_timestamp" => "edit.edited_at_msec".into(),
        "payload.id" => "edit.message_ref_id".into(),
        vendor => match vendor.strip_prefix("payload.message.delivery_status.") {
            Some(field) => format!("edit.delivery_status.{field}"),
            None => match (vendor.starts_with("payload."), grpc_field(vendor)) {
                (true, ours) => ours.replacen("message.", "edit.", 1),
                (false, ours) => call_field(&ours),
            },
        },
    }
}

/// As [`grpc_field`], for `CreateChat`.
pub(crate) fn chat_field(vendor: &str) -> String {
    match vendor {
        "user.id" => "user.user_id",
        "user.ref_id" => "user.user_ref_id",
        "source.external_id" => "source_external_id",
        other => return call_field(other),
    }
    .to_owned()
}

/// As [`grpc_field`], for `SendTyping`.
pub(crate) fn typing_field(vendor: &str) -> String {
    if vendor == "sender.id" { "user_id".into() } else { call_field(vendor) }
}

/// As [`grpc_field`], for `React`.
pub(crate) fn reaction_field(vendor: &str) -> String {
    match vendor {
        "conversation_id" => "reaction.conversation_id",
        "conversation_ref_id" => "reaction.conversation_ref_id",
        "msgid" => "reaction.message_id",
        "id" => "reaction.message_ref_id",
        "user.id" => "reaction.user_id",
        "user.ref_id" => "reaction.user_ref_id",
        "emoji" => "reaction.emoji",
        other => return call_field(other),
    }
    .to_owned()
}

/// A bug's message may say anything, so it stays inside.
fn message(error: &Error) -> &str {
    if error.kind() == ErrorKind::Panic {
        "an internal error; the server's log says more"
    } else {
        error.message()
    }
}

/// The status code of a kind.
pub(crate) fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidArgument
        | ErrorKind::ConfigInvalid
        | ErrorKind::NullPointer
        | ErrorKind::InvalidUtf8
        | ErrorKind::SignatureMissing
        | ErrorKind::SignatureMismatch
        | ErrorKind::MalformedWebhook
        | ErrorKind::BodyTooLarge
        | ErrorKind::Rejected => Code::InvalidArgument,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Closed | ErrorKind::StoreFailed | ErrorKind::Unavailable | ErrorKind::Transport => {
            Code::Unavailable
        }
        ErrorKind::QueueFull | ErrorKind::StoreFull | ErrorKind::RateLimited => Code::ResourceExhausted,
        ErrorKind::Misuse | ErrorKind::Forked | ErrorKind::StoreLocked => Code::FailedPrecondition,
        ErrorKind::LeaseLost => Code::Aborted,
        ErrorKind::SubscriptionNotFound | ErrorKind::UnknownChannel | ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::Forbidden => Code::PermissionDenied,
        ErrorKind::Timeout => Code::DeadlineExceeded,
        // A bug, an answer that is not documented, and kinds that this server does not know yet;
        // the test below names those that may end here.
        _ => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::{Gate, GrpcConfig, GuardLayer};
    use amochats::VendorError;
    use amochats_proto::v1;
    use amochats_proto::v1::webhook_service_client::WebhookServiceClient;
    use amochats_proto::v1::webhook_service_server::{WebhookService, WebhookServiceServer};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::{Request, Response};

    /// Answers each call with an error of the kind that it names.
    struct Failing;

    #[tonic::async_trait]
    impl WebhookService for Failing {
        async fn verify(
            &self,
            request: Request<v1::VerifyRequest>,
        ) -> Result<Response<v1::VerifyResponse>, Status> {
            let name = request.into_inner().channel_id;
            let kind = ErrorKind::ALL.iter().find(|kind| kind.name() == name).expect("a kind");
            let error = Error::new(*kind, "payload.sender.name: must be there")
                .with_field("payload.sender.name")
                .with_http_status(418)
                .with_retry_after(Duration::from_millis(1500));
            Err(status(&error))
        }

        async fn ingest(
            &self,
            _: Request<v1::IngestRequest>,
        ) -> Result<Response<v1::IngestResponse>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn parse(&self, _: Request<v1::ParseRequest>) -> Result<Response<v1::ParseResponse>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn sign(&self, _: Request<v1::SignRequest>) -> Result<Response<v1::SignResponse>, Status> {
            Err(Status::unimplemented(""))
        }
    }

    /// The code that a kind is to have on the wire.
    fn expected(kind: ErrorKind) -> Code {
        use ErrorKind as Kind;
        match kind {
            Kind::Cancelled => Code::Cancelled,
            Kind::Timeout => Code::DeadlineExceeded,
            Kind::Unauthenticated => Code::Unauthenticated,
            Kind::Forbidden => Code::PermissionDenied,
            Kind::LeaseLost => Code::Aborted,
            Kind::SubscriptionNotFound | Kind::UnknownChannel | Kind::NotFound => Code::NotFound,
            Kind::Misuse | Kind::Forked | Kind::StoreLocked => Code::FailedPrecondition,
            Kind::QueueFull | Kind::StoreFull | Kind::RateLimited => Code::ResourceExhausted,
            Kind::Closed | Kind::StoreFailed | Kind::Unavailable | Kind::Transport => Code::Unavailable,
            Kind::Panic | Kind::UnexpectedResponse => Code::Internal,
            Kind::NullPointer
            | Kind::InvalidUtf8
            | Kind::InvalidArgument
            | Kind::ConfigInvalid
            | Kind::SignatureMissing
            | Kind::SignatureMismatch
            | Kind::MalformedWebhook
            | Kind::BodyTooLarge
            | Kind::Rejected => Code::InvalidArgument,
            other => panic!("{other:?} needs a code of its own"),
        }
    }

    #[tokio::test]
    async fn every_kind_of_error_goes_over_the_wire_with_its_details() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let gate = Arc::new(Gate::new(&GrpcConfig::default()).expect("open"));
        let router = tonic::transport::Server::builder()
            .layer(GuardLayer(gate))
            .add_service(WebhookServiceServer::new(Failing));
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        let channel = tonic::transport::Channel::from_shared(address).expect("an address");
        let mut client = WebhookServiceClient::new(channel.connect().await.expect("connected"));
        for kind in ErrorKind::ALL {
            let request = v1::VerifyRequest { channel_id: kind.name().into(), ..Default::default() };
            let status = client.verify(request).await.expect_err("fails");
            assert_eq!(status.code(), expected(*kind), "{kind:?}");
            let info = status.get_details_error_info().expect("always there");
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (kind.name(), DOMAIN));
            assert_eq!(info.metadata["http_status"], "418");
            match status.get_details_bad_request() {
                Some(request) => assert_eq!(request.field_violations[0].field, "message.sender.name"),
                None => assert_eq!(*kind, ErrorKind::Panic, "a bug says nothing of what it met"),
            }
            let retry = status.get_details_retry_info().expect("a delay").retry_delay;
            assert_eq!(retry, Some(Duration::from_millis(1500)));
        }
    }

    #[test]
    fn fields_have_the_names_of_this_interface() {
        for (vendor, ours) in [
            ("payload.msgid", "message.message_id"),
            ("payload.sender.ref_id", "message.sender.user_ref_id"),
            ("payload.receiver.id", "message.receiver.user_id"),
            ("payload.conversation_id", "message.conversation_id"),
            ("payload.message.text", "message.content.text.text"),
            ("payload.message.location.lon", "message.content.location.lon"),
            ("payload.reply_to.message.id", "message.reply_to.message_ref_id"),
            ("scope.account_id", "scope.account_id"),
        ] {
            assert_eq!(grpc_field(vendor), ours);
        }
        for (name, vendor, ours) in [
            (edit_field as fn(&str) -> String, "payload.msgid", "edit.message_id"),
            (edit_field, "payload.id", "edit.message_ref_id"),
            (edit_field, "payload.msec_timestamp", "edit.edited_at_msec"),
            (edit_field, "payload.message.text", "edit.content.text.text"),
            (edit_field, "payload.message.delivery_status.error", "edit.delivery_status.error"),
            (edit_field, "scope.account_id", "scope.account_id"),
            (chat_field, "user.ref_id", "user.user_ref_id"),
            (chat_field, "user.name", "user.name"),
            (chat_field, "source.external_id", "source_external_id"),
            (typing_field, "sender.id", "user_id"),
            (typing_field, "conversation_id", "conversation_id"),
            (reaction_field, "msgid", "reaction.message_id"),
            (reaction_field, "user.id", "reaction.user_id"),
            (reaction_field, "reaction.kind", "reaction.kind"),
        ] {
            assert_eq!(name(vendor), ours);
        }
    }

    #[test]
    fn details_carry_what_the_caller_can_use() {
        let vendor =
            VendorError { description: Some("sender: user not found".into()), ..VendorError::default() };
        let rejected = Error::new(ErrorKind::Rejected, "the service refused the data").with_http_status(400);
        let status_of = status(&rejected.with_vendor(vendor));
        let info = status_of.get_details_error_info().expect("always there");
        assert_eq!(info.metadata["http_status"], "400");
        assert_eq!(info.metadata["vendor_error_description"], "sender: user not found");
        assert_eq!(status_of.message(), "the service refused the data");

        for (word, said) in [
            ("not_connected", "the service refused the signature or the right: it says not_connected"),
            ("Anna said hello", "check the secret"),
        ] {
            let vendor = VendorError { error_type: Some(word.into()), ..VendorError::default() };
            let forbidden = Error::new(ErrorKind::Forbidden, "check the secret").with_vendor(vendor);
            assert_eq!(status(&forbidden).message(), said);
        }

        let invalid = status(&Error::invalid("payload.sender.name", "must not be empty"));
        let violation = &invalid.get_details_bad_request().expect("a field").field_violations[0];
        assert_eq!(
            (violation.field.as_str(), violation.description.as_str()),
            ("message.sender.name", "must not be empty")
        );

        let limited =
            Error::new(ErrorKind::RateLimited, "slow down").with_retry_after(Duration::from_secs(3));
        assert_eq!(
            status(&limited).get_details_retry_info().expect("a delay").retry_delay,
            Some(Duration::from_secs(3))
        );

        assert!(!status(&Error::new(ErrorKind::Panic, "index 7 of secret")).message().contains("secret"));
    }
}
