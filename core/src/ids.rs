//! Identifiers, one type for each meaning.
//!
//! The vendor's `id` changes its owner with the direction: in requests `id`, `msgid` and
//! `conversation_id` are the integration's, in webhooks `id` is amoCRM's. Here `…RefId` always
//! means the id on the amoCRM side and the plain name the integration's own, so that a mix-up
//! does not compile.

use crate::error::{Error, Result};
use crate::strict::{Field, Problem};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the id as it is written; the service treats ids as opaque text.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl Field for $name {
            fn read(value: Value) -> Result<Self, Problem> {
                String::read(value).map(Self)
            }

            fn write(&self) -> Option<Value> {
                self.0.write()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}

ids! {
    /// The account inside the chat service: `account_id` here, `amojo_id` in the CRM. A UUID; not
    /// the numeric id of the CRM account.
    AccountId;
    /// The registered chat channel, a UUID that support hands out.
    ChannelId;
    /// A channel connected to an account: `{channel_id}_{account_id}`.
    ScopeId;
    /// A chat, by the integration's id (`conversation_id` in requests, `conversation.client_id` in webhooks).
    ConversationId;
    /// A chat, by amoCRM's id (`conversation_ref_id` in requests, `conversation.id` in webhooks).
    ConversationRefId;
    /// A message, by the integration's id (`msgid` in requests, `message.client_id` in history).
    MessageId;
    /// A message, by amoCRM's id (`message.id` in webhooks, `{msgid}` in the delivery-status path).
    MessageRefId;
    /// A participant, by the integration's id (`sender.id` in requests, `receiver.client_id` in webhooks).
    UserId;
    /// A participant, by amoCRM's id (`sender.ref_id` in requests, `receiver.id` in webhooks).
    UserRefId;
}

impl ScopeId {
    /// The scope that a connection of this channel and account has; it is derived, not drawn
    /// (chats API reference, connect).
    pub fn of(channel: &ChannelId, account: &AccountId) -> Self {
        Self(format!("{channel}_{account}"))
    }

    /// Takes the scope apart again.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) where it is not two
    /// non-empty parts joined by one `_`.
    pub fn split(&self) -> Result<(ChannelId, AccountId)> {
        match self.0.split_once('_') {
            Some((channel, account))
                if !channel.is_empty() && !account.is_empty() && !account.contains('_') =>
            {
                Ok((channel.into(), account.into()))
            }
            _ => Err(Error::invalid(
                "scope_id",
                "must be the channel id and the account id joined by one \"_\"",
            )),
        }
    }
}

/// The channel's secret: the key of every signature, as the text that support sent (it looks
/// like hex but is not decoded).
///
/// It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct ChannelSecret(SecretString);

impl ChannelSecret {
    /// Takes the secret as support sent it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for an empty secret, or
    /// one with blanks or control characters, which is how a stray line feed from a file shows.
    pub fn new(secret: impl Into<String>) -> Result<Self> {
        let secret = SecretString::from(secret.into());
        let text = secret.expose_secret();
        if text.is_empty() {
            return Err(Error::invalid("secret", "must not be empty"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Error::invalid("secret", "must not hold blanks, line feeds or control characters"));
        }
        Ok(Self(secret))
    }

    /// The secret itself, for a program that must pass it on.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl fmt::Debug for ChannelSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelSecret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_channel_and_account() {
        let scope = ScopeId::of(&"a4490ccc".into(), &"13fa84f7".into());
        assert_eq!(scope.as_str(), "a4490ccc_13fa84f7");
        assert_eq!(scope.split().expect("two parts"), ("a4490ccc".into(), "13fa84f7".into()));
        for broken in ["", "_", "a_", "_b", "a", "a_b_c"] {
            assert!(ScopeId::from(broken).split().is_err(), "{broken}");
        }
    }

    #[test]
    fn a_secret_is_not_printed_and_must_be_clean() {
        let secret = ChannelSecret::new("hunter2").expect("clean");
        assert_eq!(format!("{secret:?}"), "ChannelSecret(redacted)");
        for broken in ["", "abc\n", "a b", "\u{feff} x"] {
            let error = ChannelSecret::new(broken).expect_err("dirty");
            assert_eq!(error.field(), Some("secret"));
        }
    }
}
