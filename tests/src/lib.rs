//! What the tests that cross a border share.

pub mod vectors;
