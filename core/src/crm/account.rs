//! Who the account and its users are inside the chat service (chats API reference, 7.1 and 12).

use super::{Extra, Request, answer, lenient, query};
use crate::error::Result;
use crate::ids::{AccountId, UserRefId};
use serde::{Deserialize, Serialize};

impl Request {
    /// Asks for the account, with its id inside the chat service. Open to every user; answered by
    /// [`Account`].
    pub fn account() -> Self {
        Self::get("/api/v4/account?with=amojo_id,amojo_rights,drive_url,version")
    }

    /// Asks for a page of the users, with their ids inside the chat service, beginning with page 1;
    /// answered by a [`Page`](super::Page) of [`User`]. Needs admin rights; on amoCRM.ru external
    /// integrations are refused.
    pub fn users(page: u32) -> Self {
        Self::get(format!("/api/v4/users?with=amojo_id&page={page}&limit=250"))
    }

    /// Asks for one user; answered by [`User`].
    pub fn user(id: i64) -> Self {
        Self::get(format!("/api/v4/users/{id}?with=amojo_id"))
    }

    /// Asks for the account in the first generation's way, with a user's login and API key instead
    /// of a token; answered by [`LegacyAccount`]. Both stand in the address: do not log it.
    pub fn legacy_account(login: &str, api_key: &str) -> Self {
        let query = query([
            ("amojo", "Y".to_owned()),
            ("USER_LOGIN", login.to_owned()),
            ("USER_HASH", api_key.to_owned()),
        ]);
        let request = Self::get(format!("/private/api/v2/json/accounts/current{query}"));
        Self { needs_token: false, ..request }
    }
}

/// A CRM account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// The number of the account in the CRM. It is not the [`AccountId`] of the chats API.
    #[serde(deserialize_with = "lenient::id")]
    pub id: i64,
    /// The account inside the chat service: what [`Connect`](crate::Connect) takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amojo_id: Option<AccountId>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The first label of its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// The user whose token it is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub current_user_id: Option<i64>,
    /// The country, two letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The address of the file service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drive_url: Option<String>,
    /// The version of the account.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub version: Option<i64>,
    /// What the answer embeds.
    #[serde(rename = "_embedded", default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<AccountEmbedded>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What is embedded in an [`Account`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountEmbedded {
    /// What chats are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amojo_rights: Option<AmojoRights>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Rights of the account's own, internal chats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AmojoRights {
    /// Whether users may write to each other.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::flag")]
    pub can_direct: Option<bool>,
    /// Whether users may make groups.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::flag")]
    pub can_create_groups: Option<bool>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Account {
    /// Reads the answer.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`](crate::ErrorKind::UnexpectedResponse) for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        answer(json, "the account")
    }
}

/// A user of the CRM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The number of the user in the CRM.
    #[serde(deserialize_with = "lenient::id")]
    pub id: i64,
    /// The user inside the chat service: `user_ref_id` of a manager who writes. Some have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amojo_id: Option<UserRefId>,
    /// The user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl User {
    /// Reads the answer about one user.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`](crate::ErrorKind::UnexpectedResponse) for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        answer(json, "the user")
    }
}

/// A CRM account as the first generation shows it. Its numbers may be texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegacyAccount {
    /// The number of the account in the CRM.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub id: Option<i64>,
    /// The account inside the chat service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amojo_id: Option<AccountId>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The first label of its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl LegacyAccount {
    /// Reads the answer: `{"response":{"account":{…}}}`.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`](crate::ErrorKind::UnexpectedResponse) for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Envelope {
            response: Inside,
        }
        #[derive(Deserialize)]
        struct Inside {
            account: LegacyAccount,
        }
        answer(json, "the account").map(|Envelope { response }| response.account)
    }
}
