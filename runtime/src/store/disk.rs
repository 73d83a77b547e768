//! What a store's disk is like.

use std::io;
use std::path::Path;

/// The disk of a folder or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What this process may still write, in bytes.
    pub free_bytes: u64,
    /// The network file system that it is, if it is one: the write-ahead log of SQLite needs memory
    /// that all its users share, so it works on a local disk alone (SQLite, "Write-Ahead Logging").
    pub network: Option<&'static str>,
}

impl Disk {
    /// Asks the system.
    ///
    /// # Errors
    /// Where there is no such path, or the system does not say.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { free_bytes: free_bytes(path)?, network: network(path)? })
    }
}

/// What this process may still write to the disk of a folder or a file, in bytes.
///
/// # Errors
/// Where there is no such path, or the system does not say.
#[allow(clippy::useless_conversion, reason = "not every system counts in 64 bits")]
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let room = nix::sys::statvfs::statvfs(path)?;
    Ok(u64::from(room.blocks_available()).saturating_mul(u64::from(room.fragment_size())))
}

/// By the magic numbers of Linux (`statfs(2)`).
#[cfg(target_os = "linux")]
fn network(path: &Path) -> io::Result<Option<&'static str>> {
    let number = nix::sys::statfs::statfs(path)?.filesystem_type().0;
    Ok(Some(match u64::try_from(number).unwrap_or(u64::MAX) & 0xffff_ffff {
        0x6969 => "NFS",
        0x517b => "SMB",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB2",
        0x0102_1997 => "9P",
        0x00c3_6400 => "Ceph",
        0x5346_414f => "AFS",
        0x6573_5546 => "FUSE",
        _ => return Ok(None),
    }))
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
fn network(_path: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}
