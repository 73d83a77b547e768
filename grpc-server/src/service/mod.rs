//! The services of `amochats.v1`: conversions around the runtime, no decisions.

mod channel;
mod inbox;
mod outbox;

pub use channel::ChannelService;
pub use inbox::InboxService;
pub use outbox::OutboxService;
