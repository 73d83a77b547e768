//! The command line: one file for each group of commands.
//!
//! A command prints its answer on standard output and returns an `Exit`, or fails with a `Failure`,
//! which becomes one line on standard error.

mod accounts;
mod api;
mod backfill;
mod channel;
mod config;
mod crm;
mod dev;
mod doctor;
mod events;
mod generate;
mod io;
mod listen;
mod look;
mod media;
mod notify;
mod outbox;
mod process;
mod remote;
mod sandbox;
mod secret;
mod serve;
mod sign;
mod subscriptions;
mod token;
mod top;
mod version;
mod webhook;
mod widget;

use amochats::{Error, ErrorKind};
use clap::error::{ContextKind, ContextValue, ErrorKind as ParseErrorKind};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The chat channel of amoCRM and Kommo: call the service, sign, verify and look into what goes over the wire.
#[derive(Parser)]
#[command(
    name = "amochats",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes:
  0  ok
  1  the answer is no: a signature is not genuine, a webhook is not JSON, the service refuses a call
  2  wrong usage: a flag, a secret or another argument cannot be used
  3  could not be done: a file or standard input cannot be read, output cannot be written, the
     service does not answer as it should

Examples:
  amochats dev
  amochats connect --region kommo --channel-id CHANNEL_ID --account-id ACCOUNT_ID --title Shop
  printf '{\"account_id\":\"13fa84f7\"}' | amochats sign body --secret-file channel.secret"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Dev(dev::Dev),
    Serve(serve::Serve),
    Sandbox(Box<sandbox::Sandbox>),
    Listen(listen::Listen),
    Accounts(accounts::Accounts),
    Backfill(backfill::Backfill),
    #[command(subcommand)]
    Media(media::Media),
    #[command(subcommand)]
    Events(events::Events),
    #[command(subcommand)]
    Subscriptions(subscriptions::Subscriptions),
    #[command(subcommand)]
    Outbox(outbox::Outbox),
    Doctor(doctor::Doctor),
    Top(top::Top),
    #[command(subcommand)]
    Config(config::Config),
    Connect(api::Connect),
    Disconnect(api::Disconnect),
    Send(Box<api::SendMessage>),
    Status(api::Status),
    Edit(Box<api::Edit>),
    #[command(subcommand)]
    Chat(api::Chat),
    History(api::History),
    Typing(api::Typing),
    React(Box<api::React>),
    #[command(subcommand)]
    Account(crm::Account),
    Link(crm::Link),
    #[command(subcommand)]
    Source(crm::Source),
    #[command(subcommand)]
    Template(crm::Template),
    #[command(subcommand)]
    Talk(crm::Talk),
    #[command(subcommand)]
    Sign(sign::Sign),
    #[command(subcommand)]
    Token(token::Token),
    #[command(subcommand)]
    Webhook(webhook::Webhook),
    #[command(subcommand)]
    Channel(channel::Channel),
    #[command(subcommand)]
    Widget(widget::Widget),
    Completions(generate::Completions),
    Man(generate::Man),
    Version(version::Version),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let ended = match Cli::try_parse() {
        Ok(cli) => run(cli.command),
        Err(error) => not_run(&error),
    };
    let exit = ended.unwrap_or_else(|failure| {
        io::complain(&failure.message);
        failure.exit
    });
    ExitCode::from(exit as u8)
}

/// A command that waits for the network makes its own runtime in its `run`: the others then start
/// without one.
fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Dev(dev) => dev.run(),
        Command::Serve(serve) => serve.run(),
        Command::Sandbox(sandbox) => sandbox.run(),
        Command::Listen(listen) => listen.run(),
        Command::Accounts(accounts) => accounts.run(),
        Command::Backfill(backfill) => backfill.run(),
        Command::Media(media) => media.run(),
        Command::Events(events) => events.run(),
        Command::Subscriptions(subscriptions) => subscriptions.run(),
        Command::Outbox(outbox) => outbox.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Top(top) => top.run(),
        Command::Config(config) => config.run(),
        Command::Connect(connect) => connect.run(),
        Command::Disconnect(disconnect) => disconnect.run(),
        Command::Send(send) => send.run(),
        Command::Status(status) => status.run(),
        Command::Edit(edit) => edit.run(),
        Command::Chat(chat) => chat.run(),
        Command::History(history) => history.run(),
        Command::Typing(typing) => typing.run(),
        Command::React(react) => react.run(),
        Command::Account(account) => account.run(),
        Command::Link(link) => link.run(),
        Command::Source(source) => source.run(),
        Command::Template(template) => template.run(),
        Command::Talk(talk) => talk.run(),
        Command::Sign(sign) => sign.run(),
        Command::Token(token) => token.run(),
        Command::Webhook(webhook) => webhook.run(),
        Command::Channel(channel) => channel.run(),
        Command::Widget(widget) => widget.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
        Command::Version(version) => version.run(),
    }
}

/// Prints the help that was asked for, or says in one line what is wrong with the arguments.
fn not_run(error: &clap::Error) -> Result<Exit, Failure> {
    let shown = match error.kind() {
        ParseErrorKind::DisplayHelp | ParseErrorKind::DisplayVersion => Exit::Ok,
        ParseErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Exit::Usage,
        _ => return Err(Failure::usage(usage_error(error))),
    };
    io::printed(error.print())?;
    Ok(shown)
}

/// The paragraphs of clap's message that say what is wrong, as one line.
fn usage_error(error: &clap::Error) -> String {
    let mut rendered = error.render().to_string();
    if let Some(stray) = stray_value(error) {
        rendered = rendered.replace(&format!("'{stray}'"), "(not shown, it may be a secret)");
    }
    let mut parts: Vec<String> = rendered
        .trim_start_matches("error: ")
        .split("\n\n")
        .filter(|part| !part.starts_with("Usage:") && !part.starts_with("For more information"))
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    parts.push("try --help".into());
    parts.join("; ")
}

/// A value where none belongs. It may be a secret whose flag was forgotten or mistyped.
fn stray_value(error: &clap::Error) -> Option<&str> {
    let place = match error.kind() {
        ParseErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ParseErrorKind::TooManyValues => ContextKind::InvalidValue,
        _ => return None,
    };
    let Some(ContextValue::String(value)) = error.get(place) else { return None };
    let is_flag = value.starts_with('-') && !value.contains("secret");
    (!is_flag).then_some(value)
}

/// What the exit code says; `--help` documents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// Done, or the answer is yes.
    Ok = 0,
    /// The answer is no.
    No = 1,
    /// Wrong usage.
    Usage = 2,
    /// Could not be done.
    Failed = 3,
}

/// Why a command ended early: one line that says what to do, without anything private.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn no(message: impl Into<String>) -> Self {
        Self { exit: Exit::No, message: message.into() }
    }

    fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into() }
    }
}

/// The failure of something that names the fields of its configuration, with the flags that set them.
fn flagged(error: Error, flags: &[(&str, &str)]) -> Failure {
    let flag = flags.iter().find(|(field, _)| error.field() == Some(field));
    let said = flag.and_then(|(field, flag)| Some((error.message().strip_prefix(field)?, flag)));
    let said = said.map(|(rest, flag)| format!("{flag}{rest}"));
    let failure = Failure::from(error);
    Failure { message: said.unwrap_or(failure.message), ..failure }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            // The flag is right; the machine did not let it be done.
            ErrorKind::InvalidArgument | ErrorKind::ConfigInvalid
                if std::error::Error::source(&error)
                    .is_some_and(<dyn std::error::Error>::is::<std::io::Error>) =>
            {
                Exit::Failed
            }
            ErrorKind::InvalidArgument | ErrorKind::ConfigInvalid | ErrorKind::Misuse => Exit::Usage,
            ErrorKind::SignatureMissing
            | ErrorKind::SignatureMismatch
            | ErrorKind::MalformedWebhook
            | ErrorKind::UnknownChannel
            | ErrorKind::SubscriptionNotFound
            | ErrorKind::LeaseLost
            | ErrorKind::Unauthenticated
            | ErrorKind::Rejected
            | ErrorKind::Forbidden
            | ErrorKind::NotFound => Exit::No,
            _ => Exit::Failed,
        };
        Self { exit, message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_tells_what_to_do() {
        fn walk(command: &clap::Command, seen: &mut usize) {
            for sub in command.get_subcommands() {
                let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
                let verb = about.split([' ', ',']).next().unwrap_or_default();
                assert!(!verb.is_empty() && !verb.ends_with('s'), "{}: {about}", sub.get_name());
                for arg in sub.get_arguments() {
                    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                    let third =
                        ["Makes ", "Keeps ", "Serves ", "Takes ", "Prints ", "Posts ", "Ends ", "Sends "];
                    assert!(!help.is_empty(), "{} {} has no help", sub.get_name(), arg.get_id());
                    assert!(!third.iter().any(|verb| help.starts_with(verb)), "{}: {help}", sub.get_name());
                }
                *seen += 1;
                walk(sub, seen);
            }
        }
        let mut seen = 0;
        walk(&Cli::command(), &mut seen);
        assert!(seen > 25, "{seen}");
    }

    #[test]
    fn every_call_of_the_service_has_the_same_flags() {
        let of = |path: &str| {
            let mut command = Cli::command();
            for name in path.split(' ') {
                command = command.find_subcommand(name).unwrap_or_else(|| panic!("{path}")).clone();
            }
            command
        };
        let signed =
            ["connect", "disconnect", "send", "edit", "status", "typing", "react", "history", "chat create"];
        for path in signed {
            for flag in
                ["json", "region", "base-url", "secret", "secret-file", "dry-run", "timeout", "cacert"]
            {
                assert!(of(path).get_arguments().any(|arg| arg.get_long() == Some(flag)), "{path} --{flag}");
            }
        }
        for path in ["account id", "link", "source ls", "source add", "template ls", "template add"] {
            for flag in ["json", "region", "base-url", "token-file", "timeout", "cacert"] {
                assert!(of(path).get_arguments().any(|arg| arg.get_long() == Some(flag)), "{path} --{flag}");
            }
        }
        for flag in ["json", "secret", "secret-file", "dry-run", "set", "to"] {
            let trigger = of("webhook trigger");
            assert!(trigger.get_arguments().any(|arg| arg.get_long() == Some(flag)), "--{flag}");
        }
    }

    #[test]
    fn errors_tell_a_no_from_a_failure() {
        for (kind, exit) in [
            (ErrorKind::InvalidArgument, Exit::Usage),
            (ErrorKind::SignatureMismatch, Exit::No),
            (ErrorKind::MalformedWebhook, Exit::No),
            (ErrorKind::Forbidden, Exit::No),
            (ErrorKind::Timeout, Exit::Failed),
            (ErrorKind::StoreFull, Exit::Failed),
        ] {
            assert_eq!(Failure::from(Error::new(kind, "said")).exit, exit, "{kind:?}");
        }
    }

    #[test]
    fn usage_errors_become_one_line() {
        for (args, said) in [
            (&["sign", "body", "--sekret", "hunter2"][..], "unexpected argument '--sekret' found; tip: "),
            (
                &["sign", "request", "--method", "GET"],
                "the following required arguments were not provided: --path <PATH>; try --help",
            ),
            (
                &["versoin"],
                "unrecognized subcommand 'versoin'; tip: a similar subcommand exists: 'version'; try --help",
            ),
        ] {
            let error = Cli::try_parse_from(["amochats"].iter().chain(args)).err().expect("refused");
            let failure = not_run(&error).expect_err("wrong usage");
            assert!(failure.message.starts_with(said), "{}", failure.message);
            assert!(
                !failure.message.contains('\n') && !failure.message.contains("hunter2"),
                "{}",
                failure.message
            );
            assert_eq!(failure.exit, Exit::Usage);
        }
    }
}
