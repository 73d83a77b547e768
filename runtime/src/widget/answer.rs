//! What the widget is answered.

use serde_json::{Value, json};

/// An answer, for whichever HTTP server asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WidgetAnswer {
    /// The status.
    pub status: u16,
    /// The headers; names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl WidgetAnswer {
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self::empty(status)
            .with("content-type", "application/json; charset=utf-8")
            .with("cache-control", "no-store")
            .body(value.to_string())
    }

    /// A line for people.
    pub(crate) fn line(status: u16, line: &str) -> Self {
        Self::empty(status).with("content-type", "text/plain; charset=utf-8").body(format!("{line}\n"))
    }

    /// A page for whoever installed the integration in a browser. It repeats nothing of the request,
    /// loads nothing and leads nowhere.
    pub(crate) fn page(status: u16, line: &str) -> Self {
        let page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{line}</title><p>{line}\n"
        );
        Self::empty(status)
            .with("content-type", "text/html; charset=utf-8")
            .with("content-security-policy", "default-src 'none'")
            .with("referrer-policy", "no-referrer")
            .with("cache-control", "no-store")
            .body(page)
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(self, body: String) -> Self {
        Self { body: body.into_bytes(), ..self }
    }
}

/// Why the widget does not get what it asks for. `docs/linking.md` lists them for its authors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Login, password, or both; or they may not connect this account.
    WrongCredentials,
    TokenInvalid,
    TokenExpired,
    /// With the seconds to wait.
    TooManyAttempts(u64),
    AccountMismatch,
    /// The CRM has not told of the installation yet, or the installation is over.
    NotInstalled,
    CrmUnavailable,
    ChannelRefused,
    BadRequest(&'static str),
    TooLarge,
    OriginNotAllowed,
    /// What this server itself depends on does not work.
    ServerUnavailable,
}

impl Refusal {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::WrongCredentials => "WRONG_CREDENTIALS",
            Self::TokenInvalid => "TOKEN_INVALID",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::TooManyAttempts(_) => "TOO_MANY_ATTEMPTS",
            Self::AccountMismatch => "ACCOUNT_MISMATCH",
            Self::NotInstalled => "NOT_INSTALLED",
            Self::CrmUnavailable => "CRM_UNAVAILABLE",
            Self::ChannelRefused => "CHANNEL_REFUSED",
            Self::BadRequest(_) | Self::TooLarge => "BAD_REQUEST",
            Self::OriginNotAllowed => "ORIGIN_NOT_ALLOWED",
            Self::ServerUnavailable => "SERVER_UNAVAILABLE",
        }
    }

    fn status(&self) -> u16 {
        match self {
            Self::TokenInvalid | Self::TokenExpired => 401,
            // Not 401, after which a page may want to log in to the CRM anew.
            Self::WrongCredentials | Self::AccountMismatch | Self::OriginNotAllowed => 403,
            Self::TooManyAttempts(_) => 429,
            Self::NotInstalled => 409,
            Self::CrmUnavailable | Self::ServerUnavailable => 503,
            Self::ChannelRefused => 502,
            Self::BadRequest(_) => 400,
            Self::TooLarge => 413,
        }
    }

    fn message(&self) -> &'static str {
        match self {
            Self::WrongCredentials => {
                "the login or the password is wrong, or they may not connect this account"
            }
            Self::TokenInvalid => "the one-time token is not accepted; reload the page",
            Self::TokenExpired => "the one-time token has expired; reload the page",
            Self::TooManyAttempts(_) => "too many attempts; wait",
            Self::AccountMismatch => "the page speaks for another account than its one-time token",
            Self::NotInstalled => "the CRM has not told of the installation yet; try again in a moment",
            Self::CrmUnavailable => "the CRM does not answer; try again in a moment",
            Self::ChannelRefused => {
                "the chat service refused the connection; is the channel allowed in this account?"
            }
            Self::BadRequest(why) => why,
            Self::TooLarge => "the body is larger than the limit",
            Self::OriginNotAllowed => "only pages of the CRM may call this",
            Self::ServerUnavailable => "the server cannot decide just now; try again in a moment",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyAttempts(seconds) => Some((*seconds).max(1)),
            Self::NotInstalled => Some(3),
            Self::CrmUnavailable | Self::ServerUnavailable => Some(10),
            _ => None,
        }
    }

    pub(crate) fn answer(&self) -> WidgetAnswer {
        let mut error = json!({ "code": self.code(), "message": self.message() });
        let retry_after = self.retry_after();
        if let Some(seconds) = retry_after {
            error["retry_after"] = seconds.into();
        }
        let answer = WidgetAnswer::json(self.status(), &json!({ "error": error }));
        match retry_after {
            Some(seconds) => answer.with("retry-after", seconds.to_string()),
            None => answer,
        }
    }
}
