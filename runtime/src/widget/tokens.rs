//! An account's tokens, durable and encrypted.

use super::seal::Sealer;
use super::store::{Change, Kind, Record};
use crate::store::Store;
use amochats::crm::{Token, Tokens};
use amochats::{Error, ErrorKind, Result, TokenStore};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
struct Written {
    access: String,
    refresh: Option<String>,
}

/// A pair in the form in which it is sealed.
pub(crate) fn write(tokens: &Tokens) -> Vec<u8> {
    let written = Written {
        access: tokens.access_token.expose().to_owned(),
        refresh: tokens.refresh_token.as_ref().map(|token| token.expose().to_owned()),
    };
    serde_json::to_vec(&written).expect("texts can be written")
}

/// The pair that was written.
pub(crate) fn read(bytes: &[u8]) -> Result<Tokens> {
    let damaged = || Error::new(ErrorKind::StoreFailed, "the tokens that are kept cannot be read");
    // The cause is not kept: it could quote a token.
    let written: Written = serde_json::from_slice(bytes).map_err(|_| damaged())?;
    let refresh_token = written.refresh.map(Token::new).transpose().map_err(|_| damaged())?;
    Ok(Tokens { refresh_token, ..Tokens::long_lived(written.access).map_err(|_| damaged())? })
}

/// The tokens of one account.
pub(crate) struct KeptTokens {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) key: String,
}

impl KeptTokens {
    async fn record(&self) -> Result<Record> {
        let record = self.store.widget().record(Kind::Account, &self.key).await?;
        record.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the integration is not installed in this account")
        })
    }
}

fn switched_off() -> Error {
    Error::new(ErrorKind::NotFound, "the account switched the integration off; install it anew")
}

/// The place that sealed bytes are bound to.
pub(crate) fn place(kind: Kind, key: &str) -> String {
    format!("{kind:?}/{key}")
}

#[async_trait]
impl TokenStore for KeptTokens {
    async fn load(&self) -> Result<Tokens> {
        let sealed = self.record().await?.sealed.ok_or_else(switched_off)?;
        read(&self.sealer.open(&place(Kind::Account, &self.key), &sealed)?.plain)
    }

    async fn store(&self, tokens: &Tokens) -> Result<()> {
        let mut record = self.record().await?;
        if record.sealed.is_none() {
            return Err(switched_off());
        }
        record.sealed = Some(self.sealer.seal(&place(Kind::Account, &self.key), &write(tokens)));
        self.store.widget().change(vec![Change::Put(record)]).await
    }
}
