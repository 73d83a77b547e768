//! The amochats server and the command `amochats`.
//!
//! This crate joins the parts into a program; who embeds the channel uses `amochats-runtime`, who
//! only signs, verifies and parses uses `amochats`.
#![forbid(unsafe_code)]

pub mod cli;
mod console;
mod convert;
pub mod messenger;
#[cfg(feature = "otlp")]
mod otlp;
mod security;
mod server;
mod service;
mod status;

pub use console::ConsoleConfig;
pub use security::{GrpcConfig, Permission};
pub use server::{LogConfig, Server, ServerConfig};
pub use service::{
    BackfillService, ChannelService, InboxService, MediaService, OutboxService, WebhookService, WidgetService,
};
