//! The chats API of amoCRM and Kommo ("amojo"), from the channel's side: signing, payloads,
//! webhook verification and parsing.
//!
//! This crate does no I/O and reads no clock, unless the feature `client` adds an HTTP client. It
//! is for programs with an HTTP stack of their own, and it is what the other parts of amochats
//! share. Who wants the whole channel at work (a listener that keeps every webhook before it
//! answers, an inbox that hands it out until it is settled) uses `amochats-runtime` or the server.
//!
//! # Receive
//! ```
//! use amochats::{ChannelSecret, WebhookKind, parse_webhook, sign_body, verify_webhook};
//!
//! let secret = ChannelSecret::new("channel-secret")?;
//! # let body = br#"{"account_id":"a","message":{"conversation":{"id":"C","client_id":"c-9"},"message":{"id":"M","type":"text","text":"hi"}}}"#;
//! # let header = sign_body(&secret, body);
//! let verified = verify_webhook(&[secret], body, Some(&header))?;
//! if let WebhookKind::Message(message) = parse_webhook(verified)?.kind {
//!     assert_eq!((message.text.as_str(), message.message_ref_id), ("hi", Some("M".into())));
//! }
//! # Ok::<(), amochats::Error>(())
//! ```
//!
//! # Send
//! ```
//! use amochats::{ApiRequest, ChannelSecret, Content, NewMessage, Sender};
//!
//! let secret = ChannelSecret::new("channel-secret")?;
//! let message = NewMessage::incoming("c-9", "m-17", 1_704_067_200_000, Sender::new("u-5", "Anna"), Content::text("hi"));
//! let request = ApiRequest::send_message(&"channel_account".into(), &message)?;
//! let headers = request.sign(&secret, "Mon, 01 Jan 2024 00:00:00 +0000")?;
//! assert_eq!(request.path, "/v2/origin/custom/channel_account");
//! assert_eq!(headers.x_signature.len(), 40);
//! # Ok::<(), amochats::Error>(())
//! ```
//!
//! # Call
//! With the feature `client`:
#![cfg_attr(feature = "client", doc = "```no_run")]
#![cfg_attr(not(feature = "client"), doc = "```ignore")]
//! use amochats::{ChannelSecret, Client, Connect, Content, NewMessage, Region, Sender};
//!
//! # async fn call() -> amochats::Result<()> {
//! let secret = ChannelSecret::new("channel-secret")?;
//! let client = Client::builder("a4490ccc-5d7f-11e7-907b-a6006ad3dba0", secret).region(Region::Kommo).build()?;
//! let connect = Connect::new("13fa84f7-6b61-4086-98ed-0a9de19ee15c").with_title("Shop chat");
//! let connected = client.connect(&connect).await?;
//! let message = NewMessage::incoming("c-9", "m-17", 1_704_067_200_000, Sender::new("u-5", "Anna"), Content::text("hi"));
//! let receipt = client.send_message(&connected.scope_id, &message).await?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "client")]
mod client;
pub mod crm;
mod error;
mod ids;
mod lenient;
mod message;
mod requests;
mod signing;
mod strict;
mod webhook;

#[cfg(feature = "client")]
pub use client::{
    ANSWER_MAX, Client, ClientBuilder, Clock, CrmClient, CrmClientBuilder, DEADLINE, REQUEST_INTERVAL,
    REQUESTS_PER_SECOND, RETRY_AFTER_MAX, Region, SignedRequest, TokenStore,
};
pub use error::{Error, ErrorKind, Result, Retry, VendorError};
pub use ids::{
    AccountId, ChannelId, ChannelSecret, ConversationId, ConversationRefId, MessageId, MessageRefId, ScopeId,
    UserId, UserRefId,
};
pub use message::{
    CommentedPost, Content, DescribedMessage, EditMessage, Forward, Media, NewMessage, QuotedMessage,
    QuotedSender, SOURCE_ID_MAX, Sender, SharedPost, next_sent_at_msec,
};
pub use requests::{
    ApiRequest, Connect, Connected, CreateChat, CreatedChat, DeliveryErrorCode, DeliveryStatus,
    HISTORY_PAGE_MAX, History, HistoryContact, HistoryLocation, HistoryMessage, HistoryPage, MessageReceipt,
    Reaction, ReactionKind, Typing, encode_request,
};
pub use signing::{
    CONTENT_MD5_HEADER, CONTENT_TYPE, SIGNATURE_HEADER, SIGNATURE_LIFETIME, SignedHeaders, canonical_string,
    content_md5, format_date, parse_date, sign_body, sign_request,
};
pub use webhook::{
    Button, EmbeddedMessage, Forwards, HookVersion, ListMessage, ListRow, ListSection, Markup, MessageEvent,
    Participant, Post, ReactionEvent, SignatureVerdict, Template, TemplateParam, TypingEvent, VerifiedBody,
    WebhookEvent, WebhookKind, diagnose_signature, parse_webhook, verify_webhook,
};
