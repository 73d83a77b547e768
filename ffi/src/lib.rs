//! The C ABI of amochats: `libamochats`.
//!
//! This crate maps and never decides: what a call means is in the crate `amochats`. It is written
//! for its header, `include/amochats.h`, which `tests/header.rs` makes from these sources and the
//! preamble in `cbindgen.toml`; the documentation here speaks to C programmers.
//!
//! - Every entry point is one call of [`boundary::boundary`], or of [`boundary::value`] where it
//!   cannot fail, so that no panic crosses into C; only `amochats_version` is a constant.
//! - Handles are `Option<&T>`, `Option<&mut T>` and `Option<Box<T>>`, outputs
//!   `Option<&mut MaybeUninit<T>>`: the pointers that C may pass, with NULL and the lifetime in
//!   the type. All that is left to unsafe code is to read the text and bytes of C, in `slice.rs`.
//! - With the feature `runtime` there are objects at work, with threads of their own (`engine.rs`): a
//!   channel, its consumers, clients. Their pointers are looked at first (`handle.rs`). C is called back
//!   through `completion.rs`, `consumer.rs`, `log.rs`, `widget.rs` and `crm/client.rs` alone.
//!
//! # Size
//! Without `runtime` the library is 324 KB stripped (x86-64, the profile `small`). Code and constants by
//! owner:
//!
//! | | KB |
//! |---|---|
//! | `amochats` and this crate | 132 |
//! | std | 50 |
//! | JSON: `serde_json`, its maps, exact floating point | 33 |
//! | SHA-1, MD5, HMAC | 7 |
//!
//! Beside them are 55 KB of tables for unwinding, which keep a panic from crossing, 27 KB of constants, and
//! 20 KB that the dynamic linker reads. What counts most is one reader for all types (`strict.rs` in the
//! core), not one of serde's for each, and no reader of backtraces (`backtrace.rs`), which were 222 KB more.
#![expect(non_camel_case_types, reason = "types are named as C knows them")]
#![expect(clippy::doc_markdown, reason = "backticks would get into the header")]

// Not where the unwinder is asked for, nor in tests, whose failures shall have a backtrace.
#[cfg(all(target_os = "linux", not(feature = "runtime"), not(test), not(debug_assertions)))]
mod backtrace;

mod boundary;

// In the order of the header.
mod version;

mod result;

mod slice;

mod buffer;

mod error;

mod verifier;

mod webhook;

mod signing;

mod message;

mod value;

mod builder;

// The channel at work.
#[cfg(feature = "runtime")]
mod handle;

#[cfg(feature = "runtime")]
mod completion;

#[cfg(feature = "runtime")]
mod engine;

#[cfg(feature = "runtime")]
mod log;

#[cfg(feature = "runtime")]
mod call;

#[cfg(feature = "runtime")]
mod client;

#[cfg(feature = "runtime")]
mod config;

#[cfg(feature = "runtime")]
mod channel;

#[cfg(feature = "runtime")]
mod queue;

#[cfg(feature = "runtime")]
mod event;

#[cfg(feature = "runtime")]
mod delivery;

#[cfg(feature = "runtime")]
mod consumer;

#[cfg(feature = "runtime")]
mod inbox;

#[cfg(feature = "runtime")]
mod outbox;

#[cfg(feature = "runtime")]
mod media;

#[cfg(feature = "runtime")]
mod widget;

#[cfg(feature = "runtime")]
mod admin;

#[cfg(feature = "runtime")]
mod look;

#[cfg(feature = "runtime")]
mod crm;

#[cfg(feature = "runtime")]
pub use self::{
    admin::*, call::*, channel::*, client::*, completion::*, config::*, consumer::*, crm::*, delivery::*,
    engine::*, event::*, inbox::*, log::*, look::*, media::*, outbox::*, widget::*,
};
pub use buffer::*;
pub use builder::*;
pub use error::*;
pub use message::*;
pub use result::*;
pub use signing::*;
pub use slice::*;
pub use value::*;
pub use verifier::*;
pub use version::*;
pub use webhook::*;

/// The header promises that any thread may use what is behind a const pointer, and free it.
const _: () = {
    const fn any_thread<T: Send + Sync>() {}
    any_thread::<amochats_buffer>();
    any_thread::<amochats_error>();
    any_thread::<amochats_verifier>();
    any_thread::<amochats_webhook>();
    any_thread::<amochats_signed_headers>();
    any_thread::<amochats_value>();
    any_thread::<amochats_user>();
    any_thread::<amochats_message>();
};

#[cfg(feature = "runtime")]
const _: () = {
    const fn any_thread<T: Send + Sync>() {}
    any_thread::<amochats_call>();
    any_thread::<amochats_crm_call>();
    any_thread::<amochats_crm_integration>();
    any_thread::<amochats_event>();
    any_thread::<amochats_filter>();
    any_thread::<channel::Channel>();
    any_thread::<client::Client>();
    any_thread::<consumer::Consumer>();
    any_thread::<delivery::Delivery>();
};
