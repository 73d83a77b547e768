//! `completions` and `man`: what is made from the command tree itself.

use super::{Cli, Exit, Failure, io};
use clap::CommandFactory;
use clap_complete::Shell;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

const NAME: &str = "amochats";

/// Print the completions for a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  amochats completions bash > /etc/bash_completion.d/amochats
  amochats completions zsh > \"${fpath[1]}/_amochats\"
  amochats completions fish > ~/.config/fish/completions/amochats.fish")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), NAME, &mut script);
        io::printed(std::io::stdout().lock().write_all(&script))?;
        Ok(Exit::Ok)
    }
}

/// Write the man pages, one for each command
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  amochats man --out /usr/local/share/man/man1")]
pub(super) struct Man {
    /// The folder to write them into; it is made if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let cannot = |error| Failure::failed(format!("cannot write to {}: {error}", self.out.display()));
        fs::create_dir_all(&self.out).map_err(cannot)?;
        // `help` has no page: each command has one of its own.
        let command = Cli::command().disable_help_subcommand(true);
        clap_mangen::generate_to(command, &self.out).map_err(cannot)?;
        Ok(Exit::Ok)
    }
}
