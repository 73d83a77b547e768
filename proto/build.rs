//! Compiles the .proto files with protox, so that nobody needs protoc.

use prost::Message as _;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=amochats");
    let files = [
        "channel",
        "inbox",
        "event",
        "message",
        "outbox",
        "outbox_item",
        "backfill",
        "media",
        "webhook",
        "widget",
    ]
    .map(|name| format!("amochats/v1/{name}.proto"));
    let descriptors = protox::compile(&files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // `ChannelService.Connect` would clash with a generated `connect` constructor.
    tonic_prost_build::configure().bytes(".").build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
