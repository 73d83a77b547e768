//! The amochats channel at work: a listener that keeps every webhook durably before it answers
//! 200, and an inbox that hands it out until it is settled.
//!
//! The vendor sends each webhook once, waits 5 s for the 200 and never repeats it. So a 200 here
//! means that the event is on disk: after a crash it is handed out, to every subscription at
//! least once, in order within its conversation.
//!
//! This crate is for Rust programs that want the channel inside; other languages use the gRPC
//! server or the bindings. Who only needs signing, payloads and parsing uses `amochats` alone.
//!
//! ```no_run
//! use amochats_runtime::{Config, ConsumerOptions, Runtime, Verdict, store::Start};
//!
//! # async fn run() -> amochats::Result<()> {
//! let config = Config::load(&std::fs::read_to_string("amochats.toml").unwrap_or_default(), std::env::vars())?;
//! let runtime = Runtime::start(config).await?;
//! let inbox = runtime.inbox();
//! inbox.create_subscription("crm", Start::Oldest).await?;
//! let mut consumer = inbox.consumer("crm", ConsumerOptions::default()).await?;
//! loop {
//!     for delivery in consumer.next().await? {
//!         println!("{}", delivery.event.to_json());
//!         inbox.settle(&delivery.ack_id, Verdict::Ack).await?;
//!     }
//! }
//! # }
//! ```
#![forbid(unsafe_code)]

mod accounts;
mod admin;
pub mod backfill;
mod channels;
pub mod clock;
pub mod config;
mod event;
mod front;
mod inbox;
mod json;
mod listener;
pub mod media;
mod metrics;
pub mod outbox;
mod reload;
mod runtime;
mod serve;
pub mod store;
mod trace;
pub mod widget;

pub use accounts::{Account, AccountState, AccountStore, Accounts};
pub use backfill::Backfill;
pub use channels::{Channel, Channels, Ingested};
pub use config::Config;
pub use event::{Event, NewEvent, Origin};
pub use inbox::{
    Consumer, ConsumerOptions, Delivery, EventLife, Inbox, PULL_MAX, PULL_WAIT_MAX, Redelivery, Retention,
    SUMMARIES_MAX, Verdict,
};
pub use media::{Media, MediaStore};
pub use metrics::Metrics;
pub use outbox::Outbox;
pub use runtime::Runtime;
pub use trace::TRACE;
pub use widget::Widget;
