//! The gRPC interface of amochats, generated from `amochats/v1/*.proto`. No logic.

/// `amochats.v1`.
#[expect(clippy::all, clippy::pedantic, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("amochats.v1");
}

/// The descriptors of `amochats.v1`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
