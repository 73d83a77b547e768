//! Standard input and output, without panics.

use super::Failure;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use tokio_util::sync::CancellationToken;

/// What a command reads from standard input at most, far above any webhook.
const BODY_MAX: u64 = 64 * 1024 * 1024;

/// Reads a body from standard input, byte for byte.
pub(super) fn read_body() -> Result<Vec<u8>, Failure> {
    let stdin = io::stdin().lock();
    if stdin.is_terminal() {
        remark("reading the body from the terminal; end it with Ctrl-D");
    }
    let mut body = Vec::new();
    stdin
        .take(BODY_MAX + 1)
        .read_to_end(&mut body)
        .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    if body.len() as u64 > BODY_MAX {
        return Err(Failure::failed("the body on standard input is larger than 64 MiB: pass a smaller one"));
    }
    Ok(body)
}

/// Prints a line on standard output.
pub(super) fn print(line: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    printed(writeln!(stdout, "{line}").and_then(|()| stdout.flush()))
}

/// As [`print`]; says whether anybody still reads, so that a long list can end.
pub(super) fn print_on(line: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => printed(written).map(|()| true),
    }
}

/// Cancelled once nobody can read standard output any more, also while nothing is printed.
pub(super) fn reader_gone() -> CancellationToken {
    let gone = CancellationToken::new();
    let tell = gone.clone();
    // It ends with the process: a file, and a terminal that stays, never end the wait.
    std::thread::spawn(move || {
        let stdout = io::stdout();
        // That there is no reader is told without being asked for.
        let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        while let Err(Errno::EINTR) = poll(&mut watched, PollTimeout::NONE) {}
        if watched[0].revents().is_some_and(|found| found.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))
        {
            tell.cancel();
        }
    });
    gone
}

/// What became of output. A reader that went away, as `head` does, is no failure.
pub(super) fn printed(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says on standard error why the command fails.
pub(super) fn complain(message: &str) {
    remark(&format!("error: {message}"));
}

/// Says something to the person at the keyboard.
pub(super) fn remark(message: &str) {
    // Where standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "amochats: {message}");
}

/// Says something longer, without the prefix of a remark.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
