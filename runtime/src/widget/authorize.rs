//! Who may connect an account: the operator's decision.

use amochats::{AccountId, Result};
use async_trait::async_trait;
use secrecy::SecretString;
use std::fmt;
use std::net::IpAddr;

/// Somebody wants to connect an account, and says who they are. The CRM has vouched for the account
/// and the user, and nobody yet for the rest.
#[derive(Clone)]
pub struct Attempt {
    /// The login in the operator's own service.
    pub login: String,
    /// The password that belongs to it.
    pub password: SecretString,
    /// The integration.
    pub client_id: String,
    /// The account's number in the CRM.
    pub crm_account_id: i64,
    /// The number of the CRM's user.
    pub crm_user_id: i64,
    /// The account's address, such as `https://example.amocrm.ru`.
    pub origin: String,
    /// The account inside the chat service, as the page says; it is compared with the CRM's own word
    /// before anything is connected.
    pub account_id: AccountId,
    /// Who asks.
    pub peer: IpAddr,
}

/// Without login and password.
impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("client_id", &self.client_id)
            .field("crm_account_id", &self.crm_account_id)
            .field("account_id", &self.account_id)
            .finish_non_exhaustive()
    }
}

/// Decides who may connect an account.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Whether this one may. What is wrong must not be told: an unknown login and a wrong password are
    /// both `false`, and should take the same time.
    ///
    /// # Errors
    /// Any, where it cannot be decided now; the widget is told to try again.
    async fn authorize(&self, attempt: &Attempt) -> Result<bool>;

    /// What the audit calls it.
    fn name(&self) -> &'static str {
        "program"
    }
}
