//! What the tests that cross a border share.

pub mod command;
pub mod vectors;
