//! Who reaches the services, and how much they may take: TLS, tokens, permissions, limits, deadlines,
//! the audit log.
//!
//! A connection passes `connections`, each of its calls `guard`. The services know nothing of this.

mod audit;
mod config;
mod connections;
mod deadline;
mod guard;
mod permissions;
mod tls;
mod tokens;
mod watched;

pub use config::GrpcConfig;
pub use permissions::Permission;

pub(crate) use connections::Connections;
pub(crate) use deadline::Deadline;
pub(crate) use guard::{Gate, GuardLayer, Rights};
pub(crate) use tokens::{add as add_token, add_certificate};
