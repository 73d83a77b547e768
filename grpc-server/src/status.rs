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
pub(crate) fn status_named(error: &Error, name: fn(&str) -> String) -> Status {
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
    if let Some(field) = error.field() {
        let rule = message.strip_prefix(field).and_then(|rest| rest.strip_prefix(": ")).map(str::to_owned);
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
        // Which of the kinds with an address it is, the request says.
        "message.media" => "message.content.url".into(),
        path => match path.split_once('.') {
            Some((who @ ("sender" | "receiver"), field)) => person(who, field),
            Some(("message", rest)) => format!("message.content.{rest}"),
            _ => format!("message.{path}"),
        },
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
                (false, ours) => ours,
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
        other => other,
    }
    .to_owned()
}

/// As [`grpc_field`], for `SendTyping`.
pub(crate) fn typing_field(vendor: &str) -> String {
    if vendor == "sender.id" { "user_id" } else { vendor }.to_owned()
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
        other => other,
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
    use amochats::VendorError;
    use std::time::Duration;

    #[test]
    fn every_kind_has_a_status_and_says_its_name() {
        for kind in ErrorKind::ALL {
            let status = status(&Error::new(*kind, "why"));
            let info = status.get_details_error_info().expect("always there");
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (kind.name(), DOMAIN));
            let internal = matches!(kind, ErrorKind::Panic | ErrorKind::UnexpectedResponse);
            assert_eq!(status.code() == Code::Internal, internal, "{kind:?} needs a code of its own");
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
