//! What the CRM knows: integrations, tokens, and a book for each account.

use crate::state::{Account, Ids};
use amochats::{AccountId, ChannelId, ConversationRefId, UserRefId};
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
    fn new(pipeline_id: i64) -> Self {
        Self {
            id: 0,
            subdomain: String::new(),
            is_paid: true,
            pipeline_id,
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
        }
    }

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
    pub(crate) fn new(ids: Ids) -> Self {
        Self {
            integrations: Vec::new(),
            books: BTreeMap::new(),
            codes: BTreeMap::new(),
            access: BTreeMap::new(),
            refresh: BTreeMap::new(),
            last_number: 1_000_000,
            deliveries: Vec::new(),
            ids,
        }
    }

    /// Registers the integration that is there from the beginning, for this channel.
    pub(crate) fn register_for(&mut self, channel_id: &ChannelId) {
        let integration = Integration {
            client_id: self.ids.uuid(),
            client_secret: self.ids.secret(),
            name: "Sandbox integration".into(),
            redirect_uri: "http://127.0.0.1:8080/oauth".into(),
            disable_url: None,
            code: "sandbox_widget".into(),
            multiple_sources: false,
            is_external: false,
            channel_id: Some(channel_id.clone()),
        };
        self.integrations.push(integration);
    }

    /// Forgets what came of chats and what integrations made. Integrations, their tokens and the
    /// sources of their installations stay.
    pub(crate) fn clear(&mut self) {
        let Self { integrations, books, deliveries, .. } = self;
        deliveries.clear();
        let of_installation = |source: &Source| {
            let own = integrations.iter().find(|integration| integration.client_id == source.client_id);
            own.is_some_and(|integration| integration.code == source.external_id)
        };
        for book in books.values_mut() {
            book.contacts.clear();
            book.links.clear();
            book.talks.clear();
            book.templates.clear();
            book.subscriptions.clear();
            book.keys_traded.clear();
            book.sources.retain(of_installation);
            book.sources.iter_mut().for_each(|source| source.default = true);
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

    pub(super) fn integration(&self, client_id: &str) -> Option<&Integration> {
        self.integrations.iter().find(|integration| integration.client_id == client_id)
    }

    pub(super) fn access(&self, token: &str) -> Option<&Grant> {
        self.access.get(token)
    }

    /// Opens a book for each account that has none, and takes over who works there.
    pub(crate) fn sync(&mut self, accounts: &[Account]) {
        for account in accounts {
            if !self.books.contains_key(&account.account_id) {
                let pipeline_id = self.number();
                self.books.insert(account.account_id.clone(), Book::new(pipeline_id));
            }
            let Self { books, ids, .. } = self;
            let book = books.get_mut(&account.account_id).expect("it was opened above");
            book.id = number(account.id);
            book.subdomain.clone_from(&account.subdomain);
            let keys: BTreeMap<UserRefId, String> =
                book.users.drain(..).map(|user| (user.user_ref_id, user.api_key)).collect();
            book.users = account
                .users
                .iter()
                .map(|user| CrmUser {
                    id: number(user.id),
                    user_ref_id: user.user_ref_id.clone(),
                    name: user.name.clone(),
                    login: user.email.clone(),
                    api_key: keys.get(&user.user_ref_id).cloned().unwrap_or_else(|| ids.secret()),
                    is_admin: user.is_admin,
                })
                .collect();
        }
        self.books.retain(|id, _| accounts.iter().any(|account| account.account_id == *id));
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
    pub(crate) fn default_source(&self, account_id: &AccountId, channel_id: &ChannelId) -> Option<&str> {
        let book = self.books.get(account_id)?;
        let of_channel = |client: &str| {
            let integration = self.integration(client);
            book.installed.contains(client)
                && integration.is_some_and(|integration| integration.channel_id.as_ref() == Some(channel_id))
        };
        let default = book.sources.iter().find(|source| source.default && of_channel(&source.client_id));
        default.map(|source| source.external_id.as_str())
    }
}

/// The CRM's numbers fit into 63 bits.
pub(super) fn number(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}
