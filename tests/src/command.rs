//! The command `amochats`, as a process.

use crate::secrecy;
use std::env;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::process::{Command, Output, Stdio};
use std::thread;

/// The built command, without the environment of whoever runs the tests.
///
/// # Panics
/// Where it is not built: it belongs to another package, so cargo does not build it on its own.
pub fn amochats() -> Command {
    let here = env::current_exe().expect("a test knows its own path");
    let profile = here.ancestors().nth(2).expect("tests are built into target/<profile>/deps");
    let path = profile.join("amochats").with_extension(env::consts::EXE_EXTENSION);
    assert!(path.is_file(), "{} is missing: run `cargo build -p amochats-server` first", path.display());
    let mut command = Command::new(path);
    command.env_clear();
    command
}

/// Runs a command to its end, with these bytes on its standard input.
///
/// # Panics
/// Where it cannot be started, is ended by a signal, or says what is private.
pub fn run(command: &mut Command, stdin: &[u8]) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut pipe = child.stdin.take().expect("standard input is a pipe");
    // Written by a thread of its own, so that a command may answer before it has read everything.
    let output = thread::scope(|scope| {
        scope.spawn(move || match pipe.write_all(stdin) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("cannot feed the command: {error}"),
            _ => {}
        });
        child.wait_with_output().expect("the command ends")
    });
    let ended = Ended::from(output);
    secrecy::check("a command", &ended.stderr);
    ended
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("the command was not ended by a signal"),
            stdout: String::from_utf8(output.stdout).expect("the command writes UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("the command writes UTF-8"),
        }
    }
}

impl Ended {
    /// The one line of an error, after its prefix.
    ///
    /// # Panics
    /// Where standard error is anything else.
    pub fn error(&self) -> &str {
        let line = self.stderr.strip_prefix("amochats: error: ").and_then(|line| line.strip_suffix('\n'));
        let line = line.filter(|line| !line.contains('\n'));
        line.unwrap_or_else(|| panic!("not one line of error: {self:?}"))
    }
}

/// Notes that this machine does not allow what a test needs. `make test` counts it as skipped, which
/// neither of Rust's test runners can do for a test that has begun.
///
/// # Panics
/// Where the note cannot be written.
pub fn skipped(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("SKIPPED: {test}: {reason}");
    if let Ok(path) = env::var("AMOCHATS_SKIPPED") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a file");
        writeln!(file, "{test}: {reason}").expect("written");
    }
}
