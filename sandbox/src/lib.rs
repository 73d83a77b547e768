//! A local amoCRM for chat channels: the chats API, the webhooks and the manager's page.
//!
//! A channel is developed, tested and demonstrated against it with no account at the vendor. It
//! follows the chats API strictly and says in plain words which rule a request broke. It is not a
//! proxy and not a store: state lives in memory and ends with the process, unless
//! [`SandboxConfig::state`] names a file for it.
//!
//! Here: every method of the chats API, for any number of channels, accounts and users; webhooks v1
//! and v2 for answers and "write first", v2 for typing, reactions, quotes and answers to comments;
//! [`Switches`] for what the vendor's pages leave open; [`Faults`] with a seed. Of the CRM's own API
//! what a channel needs: OAuth, account, users, contacts and their chats, sources, templates, talks,
//! its webhooks; other methods of it answer 404.
//!
//! Tests in other languages use the same by HTTP: the page's address serves a control API under
//! `/api/`, described by `/api/openapi.json`.
//!
//! ```no_run
//! use amochats_sandbox::{Content, Sandbox, SandboxConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = SandboxConfig { webhook_url: Some("http://127.0.0.1:8080/in/:scope_id".into()), ..SandboxConfig::default() };
//! let sandbox = Sandbox::start(config).await?;
//! println!("API http://{}, page http://{}", sandbox.api_addr(), sandbox.page_addr());
//! // … the channel connects and sends a message; then a manager answers:
//! let chat = sandbox.chats().remove(0);
//! let sent = sandbox.answer(&chat.conversation_ref_id, Content::text("hello")).await?;
//! assert!(sent.hook.is_accepted());
//! sandbox.shutdown().await;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod api;
mod config;
mod control;
mod crm;
mod faults;
mod files;
mod guard;
mod hooks;
mod journal;
mod manager;
mod page;
mod persist;
mod plug;
mod sandbox;
mod state;
mod switches;
mod throttle;
mod tls;
mod widget;

pub use config::{Clock, Personality, SandboxConfig};
pub use crm::{CrmHandle, CrmUser, Integration, IntegrationSettings};
pub use faults::{FaultName, FaultRule, Faults, Side};
pub use guard::own_page_only;
pub use hooks::HookOutcome;
pub use journal::{Direction, JournalBody, JournalEntry, JournalSummary, Verdict};
pub use manager::{Answered, Writing};
pub use sandbox::{Change, Sandbox};
pub use state::{
    Account, Attachment, Author, Channel, Chat, Client, Connection, Content, Delivery, Features, Lead,
    Message, NewAccount, NewChannel, NewUser, Party, Reaction, User,
};
pub use switches::{
    Absent, Answers, Duplicates, HookContacts, HookEscaping, RequiredFields, Signatures, Switches,
    Transitions, UnknownFields,
};
pub use tls::Identity;
