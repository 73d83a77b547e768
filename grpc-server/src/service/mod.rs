//! The services of `amochats.v1`: conversions around the runtime, no decisions.

mod channel;
mod inbox;

pub use channel::ChannelService;
pub use inbox::InboxService;
