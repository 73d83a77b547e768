//! `widget`: what the linking of accounts needs on the server.

use super::{Exit, Failure, io};
use amochats_runtime::widget::{Users, new_key};
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

/// A password is one line, and not a long one.
const LINE_MAX: u64 = 4096;

/// Prepare the server's side of the widget that links accounts.
#[derive(clap::Subcommand)]
#[command(after_help = "\
docs/linking.md leads from the registration of a channel to the first linked account.

Examples:
  amochats widget key > widget.key
  amochats widget user add --file users anna@example.org < password")]
pub(super) enum Widget {
    /// Print a new key, with which tokens of accounts are encrypted at rest.
    Key,
    /// Add, list or remove who may connect accounts.
    #[command(subcommand)]
    User(User),
}

/// Add, list or remove who may connect accounts.
#[derive(clap::Subcommand)]
pub(super) enum User {
    /// Add a login, or change its password, which is read from standard input.
    Add {
        /// The file of logins: `widget.users_file`. Made where it is missing.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// The login.
        login: String,
    },
    /// List the logins, one a line.
    List {
        /// The file of logins: `widget.users_file`.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Remove a login. It counts at once, also for a server that runs.
    Remove {
        /// The file of logins: `widget.users_file`.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// The login.
        login: String,
    },
}

impl Widget {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Key => io::print(&new_key()).map(|()| Exit::Ok),
            Self::User(user) => user.run(),
        }
    }
}

impl User {
    fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Add { file, login } => {
                let mut users = Users::read(&file)?;
                let is_new = users.set(&login, &password()?.into())?;
                users.write(&file)?;
                io::remark(if is_new { "the login was added" } else { "the password was changed" });
            }
            Self::List { file } => {
                for login in existing(&file)?.logins() {
                    io::print(login)?;
                }
            }
            Self::Remove { file, login } => {
                let mut users = existing(&file)?;
                if !users.remove(&login) {
                    return Err(Failure::no(
                        "the file has no such login; `amochats widget user list` shows them",
                    ));
                }
                users.write(&file)?;
            }
        }
        Ok(Exit::Ok)
    }
}

fn existing(file: &Path) -> Result<Users, Failure> {
    if !file.exists() {
        return Err(Failure::failed(format!("cannot read {}: there is no such file", file.display())));
    }
    Ok(Users::read(file)?)
}

/// The password: asked for twice at a terminal, else the first line of standard input. Never an
/// argument, which other users of the machine can see.
fn password() -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let ask = |prompt| {
            let asked = rpassword::prompt_password(prompt);
            asked.map_err(|error| Failure::failed(format!("cannot read the password: {error}")))
        };
        let password = ask("Password: ")?;
        if ask("Once more: ")? != password {
            return Err(Failure::usage("the two passwords differ"));
        }
        return Ok(password);
    }
    let mut text = String::new();
    let read = stdin.lock().take(LINE_MAX).read_to_string(&mut text);
    read.map_err(|_| Failure::failed("cannot read the password from standard input as UTF-8 text"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains('\n') {
        return Err(Failure::usage("standard input must be the password alone, on one line"));
    }
    Ok(line.to_owned())
}
