//! The command `amochats`; see [`amochats_server::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    amochats_server::cli::main()
}
