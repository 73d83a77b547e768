//! A disk whose power can be cut: an ext4 image in a mount namespace of its own, which goes away
//! with the test.

use crate::command::skipped;
use crate::soon;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// Compiles a file of `tests/c` into this folder.
///
/// # Panics
/// Where there is no C compiler.
pub async fn compiled(folder: &Path, source: &str, shared: bool) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("c").join(source);
    let to = folder.join(source).with_extension(if shared { "so" } else { "" });
    let flags: &[&str] = if shared { &["-shared", "-fPIC"] } else { &[] };
    let mut compiler = Command::new("cc");
    compiler.args(["-Wall", "-Wextra", "-Werror"]).args(flags).arg("-o").args([&to, &from]);
    assert!(compiler.status().await.expect("cc runs").success());
    to
}

/// Whether this machine allows a disk of the test's own. Where it does, nothing but a broken
/// promise may stop the test; where not, the test is counted as skipped.
pub async fn allowed() -> bool {
    for command in ["unshare -m true", "losetup -f", "mkfs.ext4 -V"] {
        let mut words = command.split(' ');
        let mut tried = Command::new(words.next().expect("a program"));
        let tried = tried.args(words).stdin(Stdio::null()).output().await;
        if !tried.as_ref().is_ok_and(|output| output.status.success()) {
            skipped(&format!("no loop device of its own: `{command}` does not work"));
            return false;
        }
    }
    true
}

/// An image of a disk, and where it is mounted.
pub struct Disk {
    image: PathBuf,
    folder: PathBuf,
    cutter: PathBuf,
    options: String,
}

impl Disk {
    /// An empty disk, to be mounted on this folder.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub async fn new(beside: &Path, folder: PathBuf, options: &str) -> Self {
        let image = beside.join("disk.img");
        File::create(&image).and_then(|file| file.set_len(512 << 20)).expect("made");
        let made = Command::new("mkfs.ext4").args(["-q", "-E", "nodiscard"]).arg(&image).status().await;
        assert!(made.expect("mkfs.ext4 runs").success());
        let cutter = compiled(beside, "powercut.c", false).await;
        Self { image, folder, cutter, options: options.into() }
    }

    /// Mounts it, which replays its journal.
    ///
    /// # Panics
    /// Where it cannot be mounted.
    pub async fn mount(&self) -> Mounted<'_> {
        let script = "mount -o \"loop,$1\" \"$2\" \"$3\" && echo mounted && read -r _";
        let mut holder = Command::new("unshare")
            .args(["-m", "sh", "-c", script, "sh", &self.options])
            .args([&self.image, &self.folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("unshare runs");
        said(&mut holder, "mounted").await;
        let mut mounted = Mounted { disk: self, holder, cutter: None };
        let mut cutter = mounted.inside(&mut Command::new(&self.cutter));
        cutter.arg(&self.folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut cutter = cutter.spawn().expect("nsenter runs");
        said(&mut cutter, "armed").await;
        mounted.cutter = Some(cutter);
        mounted
    }
}

/// A mounted disk. It goes away when dropped.
pub struct Mounted<'a> {
    disk: &'a Disk,
    holder: Child,
    cutter: Option<Child>,
}

impl Mounted<'_> {
    /// A command that sees the disk.
    ///
    /// # Panics
    /// Where the holder of the disk has ended.
    pub fn inside(&self, command: &mut Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(["-t", &self.holder.id().expect("it runs").to_string(), "-m", "--"]);
        inside.arg(command.as_std().get_program()).args(command.as_std().get_args()).kill_on_drop(true);
        inside
    }

    /// Cuts the power, within microseconds.
    ///
    /// # Panics
    /// Where the system refuses.
    pub async fn cut(&mut self) {
        let mut cutter = self.cutter.take().expect("power is cut once");
        let stdin = cutter.stdin.as_mut().expect("a pipe");
        stdin.write_all(b"!").await.expect("written");
        assert!(soon("cut", cutter.wait()).await.expect("waited").success());
    }

    /// Makes the disk read-only, as the system does after an error of the device.
    ///
    /// # Panics
    /// Where the system refuses.
    pub async fn break_down(&self) {
        let script = "echo test >/sys/fs/ext4/$(basename $(findmnt -no SOURCE \"$1\"))/trigger_fs_error";
        let mut broken = self.inside(Command::new("sh").args(["-c", script, "sh"]).arg(&self.disk.folder));
        assert!(broken.status().await.expect("sh runs").success());
    }

    /// Takes the disk off, once nobody uses it.
    ///
    /// # Panics
    /// Where it is in use.
    pub async fn unmount(mut self) {
        if let Some(mut cutter) = self.cutter.take() {
            cutter.kill().await.expect("killed");
        }
        let mut unmount = self.inside(Command::new("umount").arg(&self.disk.folder));
        assert!(unmount.status().await.expect("umount runs").success());
        self.holder.kill().await.expect("killed");
        // One image on two devices would be two disks.
        soon("end of the loop device", async {
            loop {
                let used = Command::new("losetup").arg("-j").arg(&self.disk.image).output().await;
                if used.expect("losetup runs").stdout.is_empty() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

async fn said(child: &mut Child, what: &str) {
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = soon(what, lines.next_line()).await.expect("readable");
    assert_eq!(line.as_deref(), Some(what));
}
