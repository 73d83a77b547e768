//! Subscriptions to the CRM's own webhooks (chats API reference, 7.6). They are not the webhooks
//! of a channel: nobody signs them, and they tell of incoming messages only.

use super::{Extra, Request};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

const PATH: &str = "/api/v4/webhooks";

impl Request {
    /// Subscribes an address; answered by 201 and [`Subscription`]. An account may have 100.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for no events, or an
    /// address that is not http or https.
    pub fn subscribe(subscription: &NewSubscription) -> Result<Self> {
        destination(&subscription.destination)?;
        if subscription.settings.is_empty() {
            return Err(Error::invalid("settings", "must name an event, such as add_talk"));
        }
        Ok(Self::with_body("POST", PATH, subscription))
    }

    /// Asks for the subscriptions; answered by a [`Page`](super::Page) of [`Subscription`].
    pub fn subscriptions() -> Self {
        Self::get(PATH)
    }

    /// Ends the subscription of an address; answered by 204.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for an address that is
    /// not http or https.
    pub fn unsubscribe(address: &str) -> Result<Self> {
        destination(address)?;
        Ok(Self::with_body("DELETE", PATH, &json!({ "destination": address })))
    }
}

fn destination(address: &str) -> Result<()> {
    if address.starts_with("https://") || address.starts_with("http://") {
        return Ok(());
    }
    Err(Error::invalid("destination", "must be an http or https address"))
}

/// A subscription to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewSubscription {
    /// Where webhooks go.
    pub destination: String,
    /// The events, such as `add_message`, `add_talk`, `update_talk`, `add_chat_template_review`.
    pub settings: Vec<String>,
    /// Its place among the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<i64>,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::lenient::int")]
    pub id: Option<i64>,
    /// Where webhooks go.
    pub destination: String,
    /// The events.
    #[serde(default)]
    pub settings: Vec<String>,
    /// Whether the CRM switched it off after too many failures.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::lenient::flag")]
    pub disabled: Option<bool>,
    /// Its place among the others.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::lenient::int")]
    pub sort: Option<i64>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Subscription {
    /// Reads the answer of `subscribe`.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`](crate::ErrorKind::UnexpectedResponse) for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        super::answer(json, "the subscription")
    }
}
