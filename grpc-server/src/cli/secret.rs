//! Where a command takes the channel's secret, or the CRM's token, from.

use super::Failure;
use amochats::crm::Token;
use amochats::{ChannelSecret, Error};
use clap::Args;
use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const VARIABLE: &str = "AMOCHATS_SECRET";
const TOKEN_VARIABLE: &str = "AMOCHATS_TOKEN";

/// More than any secret; a larger file is another file.
const FILE_MAX: u64 = 4096;

/// The secrets given: by flags, and if there are none by the environment.
///
/// They are plain text here, so that no message of the argument parser can quote one.
#[derive(Args)]
#[expect(clippy::doc_markdown, reason = "--help shows these lines as they are")]
pub(super) struct Secrets {
    /// The channel secret. Other users of this machine can see arguments: prefer --secret-file or
    /// the environment variable AMOCHATS_SECRET
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,
    /// A file with the channel secret; a line end after it is ignored
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
}

impl Secrets {
    /// All of them, at least one.
    pub(super) fn all(self) -> Result<Vec<ChannelSecret>, Failure> {
        let mut secrets = Vec::new();
        for secret in self.secret {
            secrets.push(ChannelSecret::new(secret)?);
        }
        for file in self.secret_file {
            secrets.push(from_file(&file)?);
        }
        if secrets.is_empty() {
            let variable = env::var_os(VARIABLE).ok_or_else(|| {
                Failure::usage(format!(
                    "there is no channel secret: give --secret-file FILE, set {VARIABLE}, or give --secret SECRET"
                ))
            })?;
            secrets.push(from_variable(variable)?);
        }
        Ok(secrets)
    }

    /// All of them; none is fine, too.
    pub(super) fn several(self) -> Result<Vec<ChannelSecret>, Failure> {
        let given =
            !self.secret.is_empty() || !self.secret_file.is_empty() || env::var_os(VARIABLE).is_some();
        if given { self.all() } else { Ok(Vec::new()) }
    }

    /// The only one.
    pub(super) fn one(self) -> Result<ChannelSecret, Failure> {
        let mut secrets = self.all()?;
        match (secrets.pop(), secrets.is_empty()) {
            (Some(secret), true) => Ok(secret),
            _ => Err(Failure::usage("more than one channel secret is given: this command takes one")),
        }
    }
}

fn from_file(path: &Path) -> Result<ChannelSecret, Failure> {
    ChannelSecret::new(read_line(path, "secret")?)
        .map_err(|error| in_place(&error, &format!("in {}", path.display())))
}

/// The one line of a file that holds a secret or a token.
pub(super) fn read_line(path: &Path, what: &str) -> Result<String, Failure> {
    let shown = path.display();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::failed(format!("cannot read the {what} file {shown}: {error}")))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(Failure::usage(format!(
            "{shown} is larger than a {what}: name the file that holds only the {what}"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::usage(format!("the {what} file {shown} is not UTF-8 text: save it as plain text"))
    })?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(text.to_owned())
}

/// The OAuth token of the CRM: from a file, or from the environment.
pub(super) fn token(file: Option<&Path>) -> Result<Token, Failure> {
    let (text, place) = match (file, env::var_os(TOKEN_VARIABLE)) {
        (Some(file), _) => (read_line(file, "token")?, format!("in {}", file.display())),
        (None, Some(value)) => {
            let said = || Failure::usage(format!("{TOKEN_VARIABLE} is not UTF-8 text"));
            (value.into_string().map_err(|_| said())?, format!("in {TOKEN_VARIABLE}"))
        }
        (None, None) => {
            let said =
                format!("there is no token of the CRM: give --token-file FILE, or set {TOKEN_VARIABLE}");
            return Err(Failure::usage(said));
        }
    };
    Token::new(text).map_err(|error| in_place(&error, &place))
}

fn from_variable(value: OsString) -> Result<ChannelSecret, Failure> {
    let text = value.into_string().map_err(|_| Failure::usage(format!("{VARIABLE} is not UTF-8 text")))?;
    ChannelSecret::new(text).map_err(|error| in_place(&error, &format!("in {VARIABLE}")))
}

fn in_place(error: &Error, place: &str) -> Failure {
    Failure::usage(format!("{error} ({place})"))
}
