//! What the tests that cross a border share.

pub mod command;
pub mod vectors;

/// The Rust examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
