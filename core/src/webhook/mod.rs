//! Webhooks: first [`verify`](verify_webhook), then [parse](parse_webhook).
//!
//! Only a verified body can be parsed; [`VerifiedBody::trust`] is the one way around, for bytes
//! whose signature was checked elsewhere.

mod diagnose;
mod event;
mod parse;
mod verify;

pub use diagnose::{SignatureVerdict, diagnose_signature};
pub use event::{
    Button, EmbeddedMessage, Forwards, HookVersion, ListMessage, ListRow, ListSection, Markup, MessageEvent,
    Participant, Post, ReactionEvent, Template, TemplateParam, TypingEvent, WebhookEvent, WebhookKind,
};
pub use parse::parse_webhook;
pub use verify::{VerifiedBody, verify_webhook};
