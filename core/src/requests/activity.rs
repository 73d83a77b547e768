//! What people do beside writing: typing and reactions.

use super::{ApiRequest, segment};
use crate::error::{Error, Result};
use crate::ids::{ConversationId, ConversationRefId, MessageId, MessageRefId, ScopeId, UserId, UserRefId};
use crate::message::filled;
use crate::strict::{self, wire};
use serde::{Deserialize, Serialize};

/// A client is typing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typing {
    /// The chat, by the integration's id; the call knows no other.
    pub conversation_id: ConversationId,
    /// Who types, by the integration's id.
    pub user_id: UserId,
    /// How long to show it, in milliseconds; the service shows it for 5000 unless told otherwise.
    pub duration_ms: Option<u32>,
}

wire! {
    struct WireTyping {
        conversation_id: String,
        sender: TypingSender,
        duration_ms: Option<u32>,
    }

    struct TypingSender {
        id: String,
    }
}

impl Typing {
    /// This client is typing in this chat.
    pub fn new(conversation_id: impl Into<ConversationId>, user_id: impl Into<UserId>) -> Self {
        Self { conversation_id: conversation_id.into(), user_id: user_id.into(), duration_ms: None }
    }

    /// Shows it for as many milliseconds.
    pub fn with_duration_ms(mut self, duration_ms: u32) -> Self {
        self.duration_ms = Some(duration_ms);
        self
    }

    /// The request's body in the vendor's form.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) with the path of the
    /// field, as the vendor names it, and the rule.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.validate()?;
        Ok(strict::to_vec(&WireTyping {
            conversation_id: self.conversation_id.to_string(),
            sender: TypingSender { id: self.user_id.to_string() },
            duration_ms: self.duration_ms,
        }))
    }

    /// Reads the vendor's form.
    ///
    /// # Errors
    /// As [`Typing::to_json`].
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let WireTyping { conversation_id, sender, duration_ms } = strict::from_slice(json)?;
        let typing = Self { conversation_id: conversation_id.into(), user_id: sender.id.into(), duration_ms };
        typing.validate()?;
        Ok(typing)
    }

    fn validate(&self) -> Result<()> {
        filled(self.conversation_id.as_str(), "conversation_id")?;
        filled(self.user_id.as_str(), "sender.id")
    }
}

/// Somebody reacts to a message, or takes the reaction back.
///
/// Chat, message and person each need one of their two ids; where both are given, both are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// The chat, by the integration's id.
    pub conversation_id: Option<ConversationId>,
    /// The chat, by amoCRM's id.
    pub conversation_ref_id: Option<ConversationRefId>,
    /// The message, by the integration's id.
    pub message_id: Option<MessageId>,
    /// The message, by amoCRM's id.
    pub message_ref_id: Option<MessageRefId>,
    /// Who reacts, by the integration's id.
    pub user_id: Option<UserId>,
    /// Who reacts, by amoCRM's id; required of a CRM user.
    pub user_ref_id: Option<UserRefId>,
    /// What they do.
    pub kind: ReactionKind,
    /// The emoji. Kommo requires it of [`ReactionKind::React`].
    pub emoji: Option<String>,
}

/// Whether a reaction comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReactionKind {
    /// It comes.
    React,
    /// It goes.
    Unreact,
}

impl ReactionKind {
    /// `react` or `unreact`, as on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::React => "react",
            Self::Unreact => "unreact",
        }
    }

    fn of(word: &str) -> Result<Self> {
        match word {
            "react" => Ok(Self::React),
            "unreact" => Ok(Self::Unreact),
            _ => Err(Error::invalid("type", "must be `react` or `unreact`")),
        }
    }
}

wire! {
    struct WireReaction {
        conversation_id: Option<String>,
        conversation_ref_id: Option<String>,
        msgid: Option<String>,
        id: Option<String>,
        user: WireUser,
        kind as "type": String,
        emoji: Option<String>,
    }

    struct WireUser {
        id: Option<String>,
        ref_id: Option<String>,
    }
}

impl Reaction {
    /// A client's reaction, all by the integration's ids.
    pub fn react(
        conversation_id: impl Into<ConversationId>,
        message_id: impl Into<MessageId>,
        user_id: impl Into<UserId>,
        emoji: impl Into<String>,
    ) -> Self {
        let back = Self::unreact(conversation_id, message_id, user_id);
        Self { kind: ReactionKind::React, emoji: Some(emoji.into()), ..back }
    }

    /// A client takes their reaction back, all by the integration's ids.
    pub fn unreact(
        conversation_id: impl Into<ConversationId>,
        message_id: impl Into<MessageId>,
        user_id: impl Into<UserId>,
    ) -> Self {
        Self {
            conversation_id: Some(conversation_id.into()),
            conversation_ref_id: None,
            message_id: Some(message_id.into()),
            message_ref_id: None,
            user_id: Some(user_id.into()),
            user_ref_id: None,
            kind: ReactionKind::Unreact,
            emoji: None,
        }
    }

    /// The request's body in the vendor's form.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) with the path of the
    /// field, as the vendor names it, and the rule.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.validate()?;
        Ok(strict::to_vec(&WireReaction {
            conversation_id: self.conversation_id.as_ref().map(ToString::to_string),
            conversation_ref_id: self.conversation_ref_id.as_ref().map(ToString::to_string),
            msgid: self.message_id.as_ref().map(ToString::to_string),
            id: self.message_ref_id.as_ref().map(ToString::to_string),
            user: WireUser {
                id: self.user_id.as_ref().map(ToString::to_string),
                ref_id: self.user_ref_id.as_ref().map(ToString::to_string),
            },
            kind: self.kind.as_str().into(),
            emoji: self.emoji.clone(),
        }))
    }

    /// Reads the vendor's form.
    ///
    /// # Errors
    /// As [`Reaction::to_json`].
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let wire: WireReaction = strict::from_slice(json)?;
        let reaction = Self {
            conversation_id: wire.conversation_id.map(Into::into),
            conversation_ref_id: wire.conversation_ref_id.map(Into::into),
            message_id: wire.msgid.map(Into::into),
            message_ref_id: wire.id.map(Into::into),
            user_id: wire.user.id.map(Into::into),
            user_ref_id: wire.user.ref_id.map(Into::into),
            kind: ReactionKind::of(&wire.kind)?,
            emoji: wire.emoji,
        };
        reaction.validate()?;
        Ok(reaction)
    }

    fn validate(&self) -> Result<()> {
        let chat = [text(self.conversation_id.as_ref()), text(self.conversation_ref_id.as_ref())];
        one_of(chat, ["conversation_id", "conversation_ref_id"])?;
        one_of([text(self.message_id.as_ref()), text(self.message_ref_id.as_ref())], ["msgid", "id"])?;
        one_of([text(self.user_id.as_ref()), text(self.user_ref_id.as_ref())], ["user.id", "user.ref_id"])?;
        match &self.emoji {
            Some(emoji) => filled(emoji, "emoji"),
            None => Ok(()),
        }
    }
}

fn text<T: AsRef<str>>(id: Option<&T>) -> Option<&str> {
    id.map(AsRef::as_ref)
}

/// At least one of two ids, and none that is empty.
pub(crate) fn one_of(ids: [Option<&str>; 2], fields: [&str; 2]) -> Result<()> {
    for (id, field) in ids.into_iter().zip(fields) {
        if let Some(id) = id {
            filled(id, field)?;
        }
    }
    if ids == [None, None] {
        return Err(Error::invalid(fields[0], format!("is required, or {} instead", fields[1])));
    }
    Ok(())
}

impl ApiRequest {
    /// Shows the CRM users that a client is typing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) with the path of the field
    /// that breaks a rule.
    pub fn send_typing(scope: &ScopeId, typing: &Typing) -> Result<Self> {
        Ok(Self::new("POST", [segment("scope_id", scope.as_str())?, "typing"], typing.to_json()?))
    }

    /// Adds a reaction to a message, or takes it back.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) with the path of the field
    /// that breaks a rule.
    pub fn react(scope: &ScopeId, reaction: &Reaction) -> Result<Self> {
        Ok(Self::new("POST", [segment("scope_id", scope.as_str())?, "react"], reaction.to_json()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rules_name_the_field() {
        let reaction = || Reaction::react("c", "m", "u", "👍");
        for (reaction, field) in [
            (Reaction { conversation_id: None, ..reaction() }, "conversation_id"),
            (Reaction { conversation_ref_id: Some("".into()), ..reaction() }, "conversation_ref_id"),
            (Reaction { message_id: None, ..reaction() }, "msgid"),
            (Reaction { message_ref_id: Some("".into()), ..reaction() }, "id"),
            (Reaction { user_id: None, ..reaction() }, "user.id"),
            (Reaction { user_ref_id: Some("".into()), ..reaction() }, "user.ref_id"),
            (Reaction { emoji: Some(String::new()), ..reaction() }, "emoji"),
        ] {
            assert_eq!(reaction.to_json().expect_err(field).field(), Some(field));
        }
        assert_eq!(Typing::new("", "u").to_json().expect_err("no chat").field(), Some("conversation_id"));
        assert_eq!(Typing::new("c", "").to_json().expect_err("no one").field(), Some("sender.id"));
    }

    proptest! {
        #[test]
        fn decoding_gives_back_what_was_encoded(
            ids in prop::collection::vec("\\PC{1,20}", 6),
            given in prop::collection::vec(0..3u8, 3),
            duration_ms: Option<u32>,
            emoji in prop::option::of("\\PC{1,4}"),
            back: bool,
        ) {
            let typing = Typing { duration_ms, ..Typing::new(&*ids[0], &*ids[1]) };
            prop_assert_eq!(Typing::from_json(&typing.to_json().expect("valid")).expect("valid"), typing);

            // 0 gives our id, 1 amoCRM's, 2 both.
            let ours = |n: usize| (given[n] != 1).then(|| ids[n].as_str());
            let theirs = |n: usize| (given[n] != 0).then(|| ids[n + 3].as_str());
            let reaction = Reaction {
                conversation_id: ours(0).map(Into::into),
                conversation_ref_id: theirs(0).map(Into::into),
                message_id: ours(1).map(Into::into),
                message_ref_id: theirs(1).map(Into::into),
                user_id: ours(2).map(Into::into),
                user_ref_id: theirs(2).map(Into::into),
                kind: if back { ReactionKind::Unreact } else { ReactionKind::React },
                emoji,
            };
            prop_assert_eq!(Reaction::from_json(&reaction.to_json().expect("valid")).expect("valid"), reaction);
        }
    }
}
