//! `amochats serve` as a process that a test starts, kills and starts again.

use crate::command::amochats;
use crate::{secrecy, soon};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The one channel of the server.
pub const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
/// The account whose webhooks come.
pub const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
/// The channel's secret.
pub const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

/// A folder with a configuration and, once a server has run, its store.
pub struct Home {
    folder: TempDir,
}

/// All that its servers have said is looked through.
impl Drop for Home {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            secrecy::check("the server", &fs::read_to_string(self.log()).unwrap_or_default());
        }
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// A folder with a configuration of one channel and free ports.
    ///
    /// # Panics
    /// Where the disk does not allow it.
    pub fn new() -> Self {
        Self::with("")
    }

    /// As [`Home::new`], with further sections in the configuration.
    ///
    /// # Panics
    /// Where the disk does not allow it.
    pub fn with(sections: &str) -> Self {
        let home = Self { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir(home.data()).expect("made");
        let toml = format!(
            "[listener]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
             [grpc]\naddress = \"127.0.0.1:0\"\n[store]\npath = {:?}\nmin_free_bytes = 0\n\
             [backfill]\non_start = false\n\
             [[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\n\
             base_url = \"http://127.0.0.1:9\"\n{sections}",
            home.store().to_str().expect("temporary folders have plain names")
        );
        fs::write(home.config(), toml).expect("written");
        home
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the store alone.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        self.data().join("inbox.db")
    }

    /// The configuration's file.
    pub fn config(&self) -> PathBuf {
        self.path().join("amochats.toml")
    }

    /// What its servers have said, to standard error.
    pub fn log(&self) -> PathBuf {
        self.path().join("stderr")
    }

    /// The command that serves it.
    pub fn command(&self) -> Command {
        let mut command = Command::from(amochats());
        command.arg("serve").arg("--config").arg(self.config()).env("RUST_LOG", secrecy::LOG);
        command
    }

    /// Starts the server and waits until it is ready.
    pub async fn start(&self) -> Server {
        self.start_as(self.command()).await
    }

    /// As [`Home::start`], with a command that becomes the server.
    ///
    /// # Panics
    /// Where it does not become ready; what it said is in the message.
    pub async fn start_as(&self, command: Command) -> Server {
        self.try_start_as(command).await.unwrap_or_else(|said| panic!("the server ended: {said}"))
    }

    /// As [`Home::start_as`], where the server may refuse to start.
    ///
    /// # Errors
    /// What all servers of this home said.
    ///
    /// # Panics
    /// Where it says neither that it is ready nor ends.
    pub async fn try_start_as(&self, mut command: Command) -> Result<Server, String> {
        let path = self.log();
        let stderr = OpenOptions::new().create(true).append(true).open(&path).expect("a file");
        // What the tests are told by AMOCHATS_ variables is no configuration of the server.
        let own: Vec<_> = std::env::vars_os()
            .map(|(name, _)| name)
            .filter(|name| name.to_string_lossy().starts_with("AMOCHATS_"))
            .filter(|name| command.as_std().get_envs().all(|(set, _)| set != name))
            .collect();
        for name in own {
            command.env_remove(name);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = soon("ready line", lines.next_line()).await.expect("readable");
        let Some(line) = line else {
            return Err(fs::read_to_string(path).unwrap_or_default());
        };
        let ready: Value = serde_json::from_str(&line).expect("a line of JSON");
        assert_eq!(ready["ready"], true, "{line}");
        let address = |name: &str| {
            let url = ready[name].as_str().unwrap_or_else(|| panic!("{name} is missing in {line}"));
            url.split_once("://").expect("an address").1.to_owned()
        };
        Ok(Server { child, grpc: address("grpc"), listener: address("listener"), admin: address("admin") })
    }
}

/// A server that runs. It is killed when dropped.
pub struct Server {
    child: Child,
    /// Host and port of the gRPC services.
    pub grpc: String,
    /// Host and port of the webhook listener.
    pub listener: String,
    /// Host and port of health and metrics.
    pub admin: String,
}

impl Server {
    /// The process id.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// `kill -9`, and the end of it.
    ///
    /// # Panics
    /// Where it cannot be killed.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Sends a signal by its name, such as `TERM`.
    ///
    /// # Panics
    /// Where there is no command `kill`.
    pub async fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().await;
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it does not end.
    pub async fn ended(mut self) -> ExitStatus {
        soon("end of the server", self.child.wait()).await.expect("waited")
    }
}
