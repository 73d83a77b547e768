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
        let room = rustix::fs::statvfs(path)?;
        Ok(Self { free_bytes: room.f_bavail.saturating_mul(room.f_frsize), network: network(path)? })
    }
}

/// By the magic numbers of Linux (`statfs(2)`).
#[cfg(target_os = "linux")]
fn network(path: &Path) -> io::Result<Option<&'static str>> {
    let number = rustix::fs::statfs(path)?.f_type;
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
