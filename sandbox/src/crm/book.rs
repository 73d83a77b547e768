//! What the CRM knows: integrations, tokens, and a book for each account.

use crate::state::{Account, Ids};
use amochats::{AccountId, ChannelId, ConversationRefId, Error, Result, UserRefId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// An integration as it was registered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Integration {
    /// Its UUID: `client_id` of OAuth, `client_uuid` of hooks and one-time tokens.
    pub client_id: String,
    /// Its secret key.
    pub client_secret: String,
    /// Its name.
    pub name: String,
    /// Where codes go; calls must name it letter by letter.
    pub redirect_uri: String,
    /// Where the disable hook goes, if it wants one.
    pub disable_url: Option<String>,
    /// The code of its widget, also the `external_id` of the source that an installation makes.
    pub code: String,
    /// Whether it makes its sources itself, so that an installation makes none.
    pub multiple_sources: bool,
    /// Whether it is an external one, which has no widget, no sources and, at amoCRM, no users.
    pub is_external: bool,
    /// The channel that was registered for it.
    pub channel_id: Option<ChannelId>,
}

/// A user as the CRM numbers it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct CrmUser {
    /// The number in the CRM.
    pub id: i64,
    /// The id inside the chat service.
    pub user_ref_id: UserRefId,
    /// The name shown.
    pub name: String,
    /// The login, an e-mail address.
    pub login: String,
    /// The API key of the first generation, `USER_HASH`.
    pub api_key: String,
    /// Whether the user is an administrator.
    pub is_admin: bool,
}

/// Where tokens lead.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Grant {
    pub(super) client_id: String,
    pub(super) account_id: AccountId,
    pub(super) user_id: i64,
    /// Unix seconds.
    pub(super) expires_at: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Contact {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) created_at: i64,
    /// `custom_fields_values` and whatever else was sent.
    pub(super) extra: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Link {
    pub(super) id: i64,
    pub(super) contact_id: i64,
    pub(super) chat_id: ConversationRefId,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Source {
    pub(super) id: i64,
    pub(super) client_id: String,
    pub(super) name: String,
    pub(super) external_id: String,
    pub(super) pipeline_id: i64,
    pub(super) default: bool,
    pub(super) origin_code: Option<String>,
    pub(super) services: Vec<Value>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Template {
    pub(super) id: i64,
    pub(super) client_id: String,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    /// The vendor's fields as they were sent and checked.
    pub(super) fields: Map<String, Value>,
    pub(super) reviews: Vec<Review>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Review {
    pub(super) id: i64,
    pub(super) source_id: i64,
    pub(super) status: String,
    pub(super) reject_reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Talk {
    pub(super) id: i64,
    pub(super) chat_id: ConversationRefId,
    pub(super) contact_id: i64,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) is_in_work: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Subscription {
    pub(super) id: i64,
    pub(super) destination: String,
    pub(super) settings: Vec<String>,
    pub(super) sort: i64,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) disabled: bool,
    /// When deliveries failed, in Unix milliseconds, of the last two hours.
    #[serde(default)]
    pub(super) failures: Vec<i64>,
}

/// What an account may still call this second.
#[derive(Default)]
pub(super) struct Bucket {
    pub(super) level: f64,
    pub(super) at_msec: i64,
    /// How many calls in a row came too early.
    pub(super) refused: u32,
}

/// All that the CRM keeps of an account.
#[derive(Deserialize, Serialize)]
pub(super) struct Book {
    /// The number of the account in the CRM.
    pub(super) id: i64,
    pub(super) subdomain: String,
    pub(super) is_paid: bool,
    pub(super) pipeline_id: i64,
    pub(super) users: Vec<CrmUser>,
    /// The `client_id`s of the integrations that are switched on.
    pub(super) installed: BTreeSet<String>,
    pub(super) contacts: Vec<Contact>,
    pub(super) links: Vec<Link>,
    pub(super) sources: Vec<Source>,
    pub(super) templates: Vec<Template>,
    pub(super) talks: Vec<Talk>,
    pub(super) subscriptions: Vec<Subscription>,
    /// When each user's API key was traded last, in Unix seconds.
    pub(super) keys_traded: BTreeMap<i64, i64>,
    #[serde(skip)]
    pub(super) bucket: Bucket,
}

impl Book {
    pub(super) fn user(&self, id: i64) -> Option<&CrmUser> {
        self.users.iter().find(|user| user.id == id)
    }

    pub(super) fn link_of(&self, chat: &ConversationRefId) -> Option<&Link> {
        self.links.iter().find(|link| link.chat_id == *chat)
    }
}

/// The CRM.
#[derive(Deserialize, Serialize)]
pub(crate) struct Crm {
    pub(super) integrations: Vec<Integration>,
    pub(super) books: BTreeMap<AccountId, Book>,
    /// By the text of the code.
    pub(super) codes: BTreeMap<String, Grant>,
    /// By the text of the token.
    pub(super) access: BTreeMap<String, Grant>,
    pub(super) refresh: BTreeMap<String, Grant>,
    /// The last number given to anything.
    last_number: i64,
    #[serde(skip)]
    pub(super) deliveries: Vec<super::webhooks::Delivery>,
    #[serde(skip, default = "Ids::random")]
    pub(super) ids: Ids,
}

/// A token's life ends the search for it: no more than these many are kept besides.
const TOKENS_MAX: usize = 10_000;

impl Crm {
    /// A CRM with one integration, which the channel was registered for.
    pub(crate) fn new(mut ids: Ids, channel_id: ChannelId) -> Self {
        let integration = Integration {
            client_id: ids.uuid(),
            client_secret: ids.secret(),
            name: "Sandbox integration".into(),
            redirect_uri: "http://127.0.0.1:8080/oauth".into(),
            disable_url: None,
            code: "sandbox_widget".into(),
            multiple_sources: false,
            is_external: false,
            channel_id: Some(channel_id),
        };
        Self {
            integrations: vec![integration],
            books: BTreeMap::new(),
            codes: BTreeMap::new(),
            access: BTreeMap::new(),
            refresh: BTreeMap::new(),
            last_number: 1_000_000,
            deliveries: Vec::new(),
            ids,
        }
    }

    /// A number that nothing else has.
    pub(super) fn number(&mut self) -> i64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn integrations(&self) -> &[Integration] {
        &self.integrations
    }

    pub(crate) fn set_admin(&mut self, account_id: &AccountId, user: i64, is_admin: bool) -> Result<()> {
        let book = self
            .books
            .get_mut(account_id)
            .ok_or_else(|| Error::invalid("account_id", "there is no such account"))?;
        let user = book.users.iter_mut().find(|known| known.id == user);
        user.ok_or_else(|| Error::invalid("user_id", "there is no such user in this account"))?.is_admin =
            is_admin;
        Ok(())
    }

    pub(super) fn integration(&self, client_id: &str) -> Option<&Integration> {
        self.integrations.iter().find(|integration| integration.client_id == client_id)
    }

    pub(super) fn access(&self, token: &str) -> Option<&Grant> {
        self.access.get(token)
    }

    /// Opens a book for each account that has none, and numbers users that are new.
    pub(crate) fn sync(&mut self, accounts: &[Account]) {
        for account in accounts {
            if !self.books.contains_key(&account.account_id) {
                let at = self.books.len();
                let book = Book {
                    id: self.number(),
                    subdomain: if at == 0 { "sandbox".into() } else { format!("sandbox{}", at + 1) },
                    is_paid: true,
                    pipeline_id: self.number(),
                    users: Vec::new(),
                    installed: BTreeSet::new(),
                    contacts: Vec::new(),
                    links: Vec::new(),
                    sources: Vec::new(),
                    templates: Vec::new(),
                    talks: Vec::new(),
                    subscriptions: Vec::new(),
                    keys_traded: BTreeMap::new(),
                    bucket: Bucket::default(),
                };
                self.books.insert(account.account_id.clone(), book);
            }
            for manager in &account.managers {
                let book = &self.books[&account.account_id];
                if book.users.iter().any(|user| user.user_ref_id == manager.user_ref_id) {
                    continue;
                }
                let (id, api_key) = (self.number(), self.ids.secret());
                let book = self.books.get_mut(&account.account_id).expect("it was opened above");
                book.users.push(CrmUser {
                    id,
                    user_ref_id: manager.user_ref_id.clone(),
                    name: manager.name.clone(),
                    login: format!("user{id}@example.com"),
                    api_key,
                    is_admin: true,
                });
            }
        }
    }

    /// Drops what has expired, and of too many tokens those that end first.
    pub(super) fn tidy(&mut self, now: i64) {
        for grants in [&mut self.codes, &mut self.access, &mut self.refresh] {
            grants.retain(|_, grant| grant.expires_at > now);
            while grants.len() > TOKENS_MAX {
                let first =
                    grants.iter().min_by_key(|(_, grant)| grant.expires_at).map(|(token, _)| token.clone());
                let Some(first) = first else { break };
                grants.remove(&first);
            }
        }
    }

    /// The `external_id` of the source that stands in for a chat that was never given one.
    pub(crate) fn default_source(&self, account_id: &AccountId, channel_id: &ChannelId) -> Option<String> {
        let book = self.books.get(account_id)?;
        let of_channel = |client: &str| {
            self.integration(client)
                .is_some_and(|integration| integration.channel_id.as_ref() == Some(channel_id))
        };
        book.sources
            .iter()
            .find(|source| source.default && of_channel(&source.client_id))
            .map(|source| source.external_id.clone())
    }
}
