//! The audit log: one line for each administrative call, with who called what about which ids, and
//! how it ended. Never what a request holds beside ids.

use bytes::Bytes;
use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, ReflectMessage, Value,
};
use std::fmt::Write;
use std::net::IpAddr;
use tonic::Code;

/// The fields that are ids of ours, amoCRM's or the store's. What may name a person, such as `user_id`,
/// which is a phone with some messengers, is not among them.
const IDS: [&str; 14] = [
    "account_id",
    "channel_id",
    "conversation_ref_id",
    "event_id",
    "event_ids",
    "item_id",
    "item_ids",
    "media_id",
    "message_ref_id",
    "method",
    "name",
    "path",
    "scope_id",
    "subscription",
];
/// So much of an id is shown; a caller may put anything there.
const SHOWN: usize = 128;
/// So many of the ids of one call.
const MOST: usize = 16;

/// Finds the ids in requests.
#[derive(Debug)]
pub(super) struct Reader(DescriptorPool);

impl Reader {
    pub(super) fn new() -> Self {
        let pool = DescriptorPool::decode(amochats_proto::FILE_DESCRIPTOR_SET);
        Self(pool.expect("the descriptors that the build made are sound"))
    }

    /// The ids of a request that was framed for the wire, as `scope.account_id="…"`.
    pub(super) fn ids(&self, path: &str, framed: &Bytes) -> String {
        let mut found = Vec::new();
        let message = framed.get(5..).and_then(|bytes| DynamicMessage::decode(self.input(path)?, bytes).ok());
        if let Some(message) = message {
            collect(&message, "", &mut found);
        }
        found.truncate(MOST);
        found.join(" ")
    }

    /// Whether a call of this method may be of several requests.
    pub(super) fn is_stream(&self, path: &str) -> bool {
        self.method(path).is_some_and(|method| method.is_client_streaming())
    }

    fn input(&self, path: &str) -> Option<MessageDescriptor> {
        self.method(path).map(|method| method.input())
    }

    fn method(&self, path: &str) -> Option<MethodDescriptor> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let service = self.0.get_service_by_name(service)?;
        service.methods().find(|one| one.name() == method)
    }
}

fn collect(message: &DynamicMessage, prefix: &str, found: &mut Vec<String>) {
    for (field, value) in message.fields() {
        let name = format!("{prefix}{}", field.name());
        let mut id = |text: &str| {
            let shown: String = text.chars().take(SHOWN).collect();
            let mut said = String::new();
            // Quoted, so that no id can break the line or look like another field.
            write!(said, "{name}={shown:?}").expect("a string takes everything");
            found.push(said);
        };
        match value {
            Value::String(text) if IDS.contains(&field.name()) && !text.is_empty() => id(text),
            Value::List(values) if IDS.contains(&field.name()) => {
                values.iter().filter_map(Value::as_str).for_each(id);
            }
            Value::Message(inner) if inner.descriptor().package_name() == "amochats.v1" => {
                collect(inner, &format!("{name}."), found);
            }
            _ => {}
        }
    }
}

/// A call that is under way. The line is written when it ends, also where nobody waits for that.
pub(super) struct Entry {
    pub(super) who: String,
    pub(super) peer: IpAddr,
    pub(super) method: String,
    pub(super) ids: String,
    pub(super) outcome: Option<Code>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let outcome = self.outcome.map_or_else(|| "given up".to_owned(), |code| format!("{code:?}"));
        let Self { who, peer, method, ids, .. } = self;
        tracing::info!(target: "audit", who, %peer, method, ids, outcome, "an administrative call");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amochats_proto::v1;

    fn framed(message: &impl prost::Message) -> Bytes {
        let mut bytes = vec![0; 5];
        message.encode(&mut bytes).expect("a vector takes everything");
        bytes.into()
    }

    #[test]
    fn ids_are_found_and_nothing_else() {
        let reader = Reader::new();
        let connect = v1::ConnectRequest {
            scope: Some(v1::Scope { account_id: "a\n1".into(), ..Default::default() }),
            title: Some("a title".into()),
            ..Default::default()
        };
        assert_eq!(
            reader.ids("/amochats.v1.ChannelService/Connect", &framed(&connect)),
            r#"scope.account_id="a\n1""#
        );
        let sign = v1::SignRequest {
            method: "POST".into(),
            path: "/v2/origin/custom/x".into(),
            body: "a text".into(),
            ..Default::default()
        };
        let ids = reader.ids("/amochats.v1.WebhookService/Sign", &framed(&sign));
        assert_eq!(ids, r#"method="POST" path="/v2/origin/custom/x""#);
        for (path, bytes) in [("/none/None", &b"\0\0\0\0\0"[..]), ("/amochats.v1.WebhookService/Sign", b"\0")]
        {
            assert_eq!(reader.ids(path, &Bytes::from_static(bytes)), "");
        }
        let long = v1::DeleteSubscriptionRequest { name: "x".repeat(5000) };
        let ids = reader.ids("/amochats.v1.InboxService/DeleteSubscription", &framed(&long));
        assert_eq!(ids.len(), "name=\"\"".len() + SHOWN);
    }
}
