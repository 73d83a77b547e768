//! What the tests that cross a border share.

pub mod chaos;
pub mod command;
pub mod model;
pub mod powercut;
pub mod secrecy;
pub mod server;
pub mod syncgate;
pub mod traffic;
pub mod vectors;

use std::future::Future;
use std::time::Duration;

/// Guards against hanging for ever; no test depends on its length.
///
/// # Panics
/// Where it does not come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .unwrap_or_else(|_| panic!("no {what} in a minute"))
}

/// The Rust examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
