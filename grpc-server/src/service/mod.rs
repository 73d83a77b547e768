//! The services of `amochats.v1`: conversions around the runtime, no decisions.

mod backfill;
mod channel;
pub(crate) mod inbox;
mod media;
mod outbox;
mod webhook;
mod widget;

pub use backfill::BackfillService;
pub use channel::ChannelService;
pub use inbox::InboxService;
pub use media::MediaService;
pub use outbox::OutboxService;
pub use webhook::WebhookService;
pub use widget::WidgetService;
