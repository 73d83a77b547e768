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
#![expect(non_camel_case_types, reason = "types are named as C knows them")]
#![expect(clippy::doc_markdown, reason = "backticks would get into the header")]

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

pub use buffer::*;
pub use error::*;
pub use message::*;
pub use result::*;
pub use signing::*;
pub use slice::*;
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
};
