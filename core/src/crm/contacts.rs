//! Linking chats to contacts (chats API reference, 7.2), and contacts to link to.

use super::{Extra, Request, batch, lenient, query};
use crate::error::{Error, Result};
use crate::ids::ConversationRefId;
use serde::{Deserialize, Serialize};

/// How many entities the CRM takes in one call.
const BATCH_MAX: usize = 250;

impl Request {
    /// Links chats to contacts; answered by a [`Page`](super::Page) of [`LinkedChat`]. Needs admin
    /// rights and must go without cookies. A chat has one contact: linking it again moves it, and
    /// Kommo refuses that with the code `AlreadyExists`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for no link, or an empty chat id.
    pub fn link_chats(links: &[ChatLink]) -> Result<Self> {
        batch(links, "links", BATCH_MAX)?;
        for (at, link) in links.iter().enumerate() {
            if link.chat_id.as_str().is_empty() {
                return Err(Error::invalid(format!("links.{at}.chat_id"), "must not be empty"));
            }
        }
        Ok(Self::with_body("POST", "/api/v4/contacts/chats", links))
    }

    /// Asks what is linked to contacts or to chats; answered by a [`Page`](super::Page) of
    /// [`LinkedChat`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for no id.
    pub fn linked_chats(to: LinkedTo<'_>) -> Result<Self> {
        let (name, values): (_, Vec<String>) = match to {
            LinkedTo::Contacts(ids) => ("contact_id", ids.iter().map(ToString::to_string).collect()),
            LinkedTo::Chats(ids) => ("chat_id", ids.iter().map(ToString::to_string).collect()),
        };
        batch(&values, name, BATCH_MAX)?;
        let name = if values.len() == 1 { name.to_owned() } else { format!("{name}[]") };
        let query = query(values.into_iter().map(|value| (name.as_str(), value)));
        Ok(Self::get(format!("/api/v4/contacts/chats{query}")))
    }

    /// Makes contacts, to link chats to; answered by a [`Page`](super::Page) of [`CreatedContact`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for none or more than 250.
    pub fn add_contacts(contacts: &[NewContact]) -> Result<Self> {
        batch(contacts, "contacts", BATCH_MAX)?;
        Ok(Self::with_body("POST", "/api/v4/contacts", contacts))
    }
}

/// What a look-up of links goes by. Kommo takes one of the two in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkedTo<'a> {
    /// By numbers of contacts.
    Contacts(&'a [i64]),
    /// By amoCRM's ids of chats.
    Chats(&'a [ConversationRefId]),
}

/// A link to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatLink {
    /// The contact.
    pub contact_id: i64,
    /// The chat, by amoCRM's id.
    pub chat_id: ConversationRefId,
    /// Comes back in the answer; its place in the batch unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl ChatLink {
    /// A link of a chat, by amoCRM's id, to a contact.
    pub fn new(contact_id: i64, chat_id: impl Into<ConversationRefId>) -> Self {
        Self { contact_id, chat_id: chat_id.into(), request_id: None }
    }
}

/// A link of a chat to its contact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkedChat {
    /// The link itself; another one once the chat is linked anew.
    #[serde(deserialize_with = "lenient::id")]
    pub id: i64,
    /// The contact; of a chat in an incoming lead, the contact of that lead.
    #[serde(deserialize_with = "lenient::id")]
    pub contact_id: i64,
    /// The chat, by amoCRM's id.
    pub chat_id: ConversationRefId,
    /// As it was sent, or the place in the batch; only where links were made.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub request_id: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A contact to be made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NewContact {
    /// The whole name, where it is not split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The first name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// The last name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// Comes back in the answer; its place in the batch unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Everything else, such as `custom_fields_values`.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A contact that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreatedContact {
    /// Its number.
    #[serde(deserialize_with = "lenient::id")]
    pub id: i64,
    /// As it was sent, or the place in the batch.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub request_id: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}
