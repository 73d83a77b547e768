//! The CRM's own API, as far as a channel needs it.

mod hook;

mod call;

mod client;

pub use call::*;
pub use client::*;
pub use hook::*;

use crate::boundary::{Out, required};
use amochats_core::Result;
use amochats_core::crm::{Token, Tokens};
use serde::Serialize;
use serde_json::{Value, json};

/// An answer of the core as C reads it.
fn shown(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).expect("answers have text keys and finite numbers only")
}

/// A pair of tokens, with the names that all surfaces have.
fn tokens_json(tokens: &Tokens) -> Value {
    json!({
        "access_token": tokens.access_token.expose(),
        "refresh_token": tokens.refresh_token.as_ref().map(Token::expose),
        "expires_in": tokens.expires_in,
        "server_time": tokens.server_time,
    })
}

/// Gives C an object that it frees.
fn give<T>(output: Out<'_, *mut T>, name: &str, make: impl FnOnce() -> Result<T>) -> Result<()> {
    let output = required(output, name)?;
    output.write(Box::into_raw(Box::new(make()?)));
    Ok(())
}
