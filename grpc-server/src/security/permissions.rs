//! What a caller may do: one table, from method to permission.

use std::fmt;

/// What a token permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Permission {
    /// To receive events and settle them, to look at what is kept.
    Read,
    /// To send to the CRM, and to hand in webhooks.
    Send,
    /// To connect and disconnect accounts, to delete, to replay, to sign with the channel's secret.
    Admin,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Send, Self::Admin];

    /// Its name in the file of tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Send => "send",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a method needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Anybody may ask.
    Nothing,
    /// A caller with this permission.
    Permission(Permission),
}

const READ: Need = Need::Permission(Permission::Read);
const SEND: Need = Need::Permission(Permission::Send);
const ADMIN: Need = Need::Permission(Permission::Admin);

/// Every method, service by service.
const TABLE: &[(&str, &[(&str, Need)])] = &[
    (
        "amochats.v1.ChannelService",
        &[
            ("Connect", ADMIN),
            ("ListAccounts", READ),
            ("ForgetAccount", ADMIN),
            ("Disconnect", ADMIN),
            ("SendMessage", SEND),
            ("SetDeliveryStatus", SEND),
            ("EditMessage", SEND),
            ("CreateChat", SEND),
            ("GetHistory", READ),
            ("SendTyping", SEND),
            ("React", SEND),
        ],
    ),
    (
        "amochats.v1.InboxService",
        &[
            // A consumer makes its subscription where it opens its stream.
            ("StreamEvents", READ),
            ("PullEvents", READ),
            ("SettleEvents", READ),
            ("ListEvents", READ),
            ("GetEvent", READ),
            ("CreateSubscription", READ),
            ("ListSubscriptions", READ),
            ("DeleteSubscription", ADMIN),
            ("ReplayEvents", ADMIN),
            ("ListDeadLetters", READ),
            ("RequeueDeadLetters", ADMIN),
            ("DropDeadLetters", ADMIN),
            ("PurgeConversation", ADMIN),
        ],
    ),
    (
        "amochats.v1.OutboxService",
        // Who sends sees what became of it, and may take it back.
        &[("Enqueue", SEND), ("GetItem", SEND), ("ListItems", SEND), ("CancelItem", SEND)],
    ),
    (
        "amochats.v1.BackfillService",
        &[("StartBackfill", ADMIN), ("GetBackfill", READ), ("ListUnreported", READ)],
    ),
    ("amochats.v1.MediaService", &[("AttachMedia", SEND), ("GetAttachment", READ)]),
    // Who decides sees logins and passwords.
    ("amochats.v1.WidgetService", &[("StreamDecisions", ADMIN)]),
    (
        "amochats.v1.WebhookService",
        // Who signs speaks as the channel, whatever the request.
        &[("Ingest", SEND), ("Verify", READ), ("Parse", READ), ("Sign", ADMIN)],
    ),
    ("grpc.health.v1.Health", &[("Check", Need::Nothing), ("Watch", Need::Nothing)]),
    ("grpc.reflection.v1.ServerReflection", &[("ServerReflectionInfo", READ)]),
    ("grpc.reflection.v1alpha.ServerReflection", &[("ServerReflectionInfo", READ)]),
];

/// What the method at a path such as `/amochats.v1.ChannelService/Connect` needs. What is not in the
/// table is for those who may do everything.
pub(super) fn need(path: &str) -> Need {
    listed(path).unwrap_or(ADMIN)
}

fn listed(path: &str) -> Option<Need> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let (_, methods) = TABLE.iter().find(|(name, _)| *name == service)?;
    methods.iter().find(|(name, _)| *name == method).map(|(_, need)| *need)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_reflect::DescriptorPool;

    #[test]
    fn every_method_has_an_entry_and_every_entry_a_method() {
        let mut pool = DescriptorPool::new();
        for set in [
            amochats_proto::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            pool.decode_file_descriptor_set(set).expect("sound descriptors");
        }
        let paths: Vec<_> = pool
            .services()
            .flat_map(|service| {
                let method = |method: prost_reflect::MethodDescriptor| {
                    format!("/{}/{}", method.parent_service().full_name(), method.name())
                };
                service.methods().map(method).collect::<Vec<_>>()
            })
            .collect();
        assert!(paths.len() > 25, "{paths:?}");
        for path in &paths {
            assert!(listed(path).is_some(), "{path} needs an entry: who may call it?");
        }
        for (service, methods) in TABLE {
            for (method, _) in *methods {
                assert!(paths.contains(&format!("/{service}/{method}")), "{service}/{method} is gone");
            }
        }
    }

    #[test]
    fn what_is_not_listed_is_for_administrators() {
        for path in ["/amochats.v1.ChannelService/New", "/x", "", "/a/b/c"] {
            assert_eq!(need(path), ADMIN, "{path}");
        }
    }
}
