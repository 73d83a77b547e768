//! The amochats channel at work: a listener that keeps every webhook before it answers, and an
//! inbox that hands it out until it is settled.
#![forbid(unsafe_code)]

pub mod clock;
mod event;
pub mod store;

pub use event::{Event, NewEvent, Origin};
