//! OAuth 2.0: a code or a refresh token is traded for a pair of tokens (chats API reference, 7.7).

use super::{Extra, Request};
use crate::error::{Error, ErrorKind, Result};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fmt;

const PATH: &str = "/oauth2/access_token";

/// The secret key of an integration: `client_secret` of OAuth, and the key of its one-time tokens
/// and disable hooks. It is not the secret of a channel.
///
/// It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct ClientSecret(SecretString);

impl ClientSecret {
    /// Takes the secret as the integration's page shows it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an empty secret, or one with blanks or control characters.
    pub fn new(secret: impl Into<String>) -> Result<Self> {
        secret_text(secret.into(), "client_secret").map(Self)
    }

    /// The secret itself, for a program that must pass it on.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

/// An access or refresh token. It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct Token(SecretString);

impl Token {
    /// Takes a token.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an empty one, or one with what no token holds: blanks,
    /// control characters or letters outside ASCII.
    pub fn new(token: impl Into<String>) -> Result<Self> {
        let token = token.into();
        if !token.is_ascii() {
            return Err(Error::invalid("token", "must be ASCII"));
        }
        secret_text(token, "token").map(Self)
    }

    /// The token itself, for a program that must send or keep it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Token {
    /// For telling an old token from a new one, not for checking a foreign one: the time it takes
    /// depends on both.
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

fn secret_text(text: String, field: &str) -> Result<SecretString> {
    let secret = SecretString::from(text);
    let text = secret.expose_secret();
    if text.is_empty() {
        return Err(Error::invalid(field, "must not be empty"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Error::invalid(field, "must not hold blanks, line feeds or control characters"));
    }
    Ok(secret)
}

/// An integration, as OAuth knows it.
#[derive(Clone, Debug)]
pub struct Integration {
    /// `client_id`: the integration's UUID.
    pub client_id: String,
    /// `client_secret`: its secret key.
    pub client_secret: ClientSecret,
    /// `redirect_uri`, exactly as it is registered.
    pub redirect_uri: String,
}

impl Request {
    /// Trades the code of an installation for tokens; answered by [`Tokens`]. A code lives 20
    /// minutes and works once.
    pub fn exchange_code(integration: &Integration, code: &str) -> Self {
        Self::grant(integration, "authorization_code", ("code", code))
    }

    /// Trades a refresh token for a new pair; answered by [`Tokens`]. It lives 3 months and works
    /// once: keep the new pair before it is used, since its use ends the old one.
    pub fn refresh(integration: &Integration, refresh_token: &Token) -> Self {
        Self::grant(integration, "refresh_token", ("refresh_token", refresh_token.expose()))
    }

    /// Asks where an account is now, which may have got another name; answered by [`Domain`]. Sent to
    /// the `api_domain` of the access token, which stays.
    pub fn current_domain(refresh_token: &Token) -> Self {
        let request = Self::get("/oauth2/account/current/subdomain");
        let headers = vec![("X-Refresh-Token", refresh_token.expose().to_owned())];
        Self { needs_token: false, headers, ..request }
    }

    /// Trades a user's API key of the old kind for a code, once in 5 minutes; answered by 202, and the
    /// code goes to the redirect URI with `from_exchange=1` and the `state`.
    pub fn exchange_api_key(
        integration: &Integration,
        login: &str,
        api_key: &str,
        state: Option<&str>,
    ) -> Self {
        let mut body = json!({
            "login": login,
            "api_key": api_key,
            "client_uuid": integration.client_id,
            "client_secret": integration.client_secret.expose(),
        });
        if let Some(state) = state {
            body["state"] = state.into();
        }
        Self { needs_token: false, ..Self::with_body("POST", "/oauth2/exchange_api_key", &body) }
    }

    fn grant(integration: &Integration, grant_type: &str, (name, value): (&str, &str)) -> Self {
        let body = json!({
            "client_id": integration.client_id,
            "client_secret": integration.client_secret.expose(),
            "grant_type": grant_type,
            name: value,
            "redirect_uri": integration.redirect_uri,
        });
        Self { needs_token: false, ..Self::with_body("POST", PATH, &body) }
    }
}

/// Where an account is. Which fields the answer has beside `subdomain` differs by region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The number of the account in the CRM.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::lenient::int")]
    pub id: Option<i64>,
    /// The first label of its host.
    pub subdomain: String,
    /// The whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The last label, such as `ru`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_level_domain: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Domain {
    /// Reads the answer.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`] for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        super::answer(json, "the account's domain")
    }
}

/// A pair of tokens. `Debug` does not show them.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// What calls are made with.
    pub access_token: Token,
    /// What the next pair is got with, once. A long-lived token has none.
    pub refresh_token: Option<Token>,
    /// How long the access token lives, in seconds.
    pub expires_in: Option<i64>,
    /// The CRM's time, in Unix seconds; absent in older answers.
    pub server_time: Option<i64>,
    /// Everything else but the type, which is always `Bearer`.
    pub extra: Extra,
}

impl Tokens {
    /// A long-lived token, which is made by hand and not refreshed.
    ///
    /// # Errors
    /// Those of [`Token::new`].
    pub fn long_lived(token: impl Into<String>) -> Result<Self> {
        let access_token = Token::new(token)?;
        Ok(Self {
            access_token,
            refresh_token: None,
            expires_in: None,
            server_time: None,
            extra: Extra::new(),
        })
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`] for another body, or tokens of another type than `Bearer`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Answer {
            token_type: String,
            #[serde(default, deserialize_with = "super::lenient::int")]
            expires_in: Option<i64>,
            #[serde(default, deserialize_with = "super::lenient::int")]
            server_time: Option<i64>,
            access_token: String,
            refresh_token: Option<String>,
            #[serde(flatten)]
            extra: Extra,
        }
        let refused = |_| super::not_documented("tokens");
        let Answer { token_type, expires_in, server_time, access_token, refresh_token, extra } =
            super::answer(json, "tokens")?;
        if !token_type.eq_ignore_ascii_case("Bearer") {
            return Err(Error::new(ErrorKind::UnexpectedResponse, "the tokens are not of type Bearer"));
        }
        Ok(Self {
            access_token: Token::new(access_token).map_err(refused)?,
            refresh_token: refresh_token.map(Token::new).transpose().map_err(refused)?,
            expires_in,
            server_time,
            extra,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let integration = Integration {
            client_id: "id".into(),
            client_secret: ClientSecret::new("hunter2").expect("clean"),
            redirect_uri: "https://example.com".into(),
        };
        let tokens = Tokens::from_json(
            br#"{"token_type":"Bearer","access_token":"hunter3","refresh_token":"hunter4"}"#,
        )
        .expect("tokens");
        let request = Request::exchange_code(&integration, "hunter5");
        let shown = format!("{integration:?} {tokens:?} {request:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn what_cannot_be_a_token_is_refused() {
        for token in ["", "a b", "a\n", "я"] {
            assert_eq!(Token::new(token).expect_err("refused").field(), Some("token"));
        }
        for json in [
            r#"{"token_type":"mac","access_token":"a"}"#,
            r#"{"token_type":"Bearer","access_token":""}"#,
            r#"{"token_type":"Bearer"}"#,
        ] {
            let error = Tokens::from_json(json.as_bytes()).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::UnexpectedResponse);
        }
    }
}
