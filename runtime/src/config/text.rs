//! How a configuration is written: TOML, the environment over it, and errors that name the key and quote no
//! value.

use amochats::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;

/// The environment's prefix: `AMOCHATS_LISTENER_ADDRESS` is `address` in `[listener]`.
pub const ENV_PREFIX: &str = "AMOCHATS_";

/// Parses TOML. The error names line and rule; the line itself is not quoted, it may hold a secret.
///
/// # Errors
/// [`ErrorKind::ConfigInvalid`].
pub fn parse(toml: &str) -> Result<toml::Table> {
    toml.parse::<toml::Table>().map_err(|error| {
        let before = error.span().map_or(0, |span| span.start.min(toml.len()));
        let line = 1 + toml.bytes().take(before).filter(|byte| *byte == b'\n').count();
        Error::new(
            ErrorKind::ConfigInvalid,
            format!("line {line} is not TOML: {}", first_line(error.message())),
        )
    })
}

/// Reads one section.
///
/// # Errors
/// [`ErrorKind::ConfigInvalid`] with the key and what to do.
pub fn section<'de, T: Deserialize<'de>>(name: &str, section: toml::Value) -> Result<T> {
    T::deserialize(section).map_err(|error| {
        let error = toml_error(error);
        let field = error.field().map_or_else(|| name.to_owned(), |key| format!("{name}.{key}"));
        Error::new(ErrorKind::ConfigInvalid, format!("[{name}] {error}")).with_field(field)
    })
}

/// Sets a key of a section from the environment: `LISTENER_ADDRESS` is `address` in `[listener]`.
///
/// # Errors
/// [`ErrorKind::ConfigInvalid`] for a variable that belongs to no section.
pub fn overlay(table: &mut toml::Table, sections: &[&str], key: &str, value: &str) -> Result<()> {
    let lower = key.to_ascii_lowercase();
    let found = sections.iter().find_map(|section| {
        lower.strip_prefix(section).and_then(|rest| rest.strip_prefix('_')).map(|rest| (*section, rest))
    });
    let Some((section, field)) = found else {
        let rule = if lower.starts_with("channel") {
            format!(
                "is not known; channels are set in the file, and {ENV_PREFIX}SECRET is the secret of a single one"
            )
        } else {
            let known = sections.join(", ").to_ascii_uppercase();
            format!("is not known; a variable is {ENV_PREFIX}, one of {known}, \"_\" and the key")
        };
        return Err(invalid(format!("{ENV_PREFIX}{key}"), rule));
    };
    // Only what is written as a number is one: `007` may be a name.
    let number = value.parse::<i64>().ok().filter(|number| number.to_string() == value);
    let decimal = value.parse::<f64>().ok().filter(|_| value.contains('.'));
    let list = value.starts_with('[').then(|| value.parse::<toml::Value>().ok()).flatten();
    let value = match (number, decimal, list, value.parse::<bool>()) {
        (Some(number), ..) => toml::Value::Integer(number),
        (_, Some(decimal), ..) => toml::Value::Float(decimal),
        (_, _, Some(list), _) => list,
        (.., Ok(flag)) => toml::Value::Boolean(flag),
        _ => toml::Value::String(value.to_owned()),
    };
    let entry = table.entry(section).or_insert_with(|| toml::Table::new().into());
    let section = entry.as_table_mut().ok_or_else(|| invalid(section, "must be a section"))?;
    section.insert(field.to_owned(), value);
    Ok(())
}

/// An error of the configuration's shape, without the value that was found.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(crate) fn toml_error(error: toml::de::Error) -> Error {
    let said = first_line(error.message());
    // The value that was found comes first, and may hold anything.
    let said = match said.rsplit_once(", expected ") {
        Some((_found, expected)) if said.starts_with("invalid ") => format!("must be {}", plain(expected)),
        _ if said.ends_with("socket address syntax") => format!("must be {}", plain("socket address")),
        _ => said.to_owned(),
    };
    let key = error
        .to_string()
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("in `").map(|key| key.trim_end_matches('`').to_owned()));
    match key {
        Some(key) => invalid(key, said),
        None => Error::new(ErrorKind::ConfigInvalid, said),
    }
}

/// What a value must be, in words for people who do not write Rust.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more, not too large",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a boolean" => "true or false",
        "a string" | "path string" => "text in quotes",
        "a sequence" => "a list, such as [\"a\", \"b\"]",
        "f32" | "f64" => "a number",
        "a map" => "a section",
        "socket address" => "an address with a port, such as 127.0.0.1:8080",
        other if other.starts_with("struct ") => "a section",
        other => other,
    }
}

/// A path. The environment may give one that looks like a number or a flag.
pub(super) fn path<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<PathBuf, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "must be text in quotes")]
    enum Written {
        Text(PathBuf),
        Number(i64),
        Flag(bool),
    }
    Ok(match Written::deserialize(from)? {
        Written::Text(path) => path,
        Written::Number(number) => number.to_string().into(),
        Written::Flag(flag) => flag.to_string().into(),
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// An error about one value, under the key it stands at.
pub(super) fn misfit(key: &str, error: &Error) -> Error {
    let named = error.field().and_then(|field| error.message().strip_prefix(field)?.strip_prefix(": "));
    invalid(key, named.unwrap_or(error.message()))
}

pub(crate) fn invalid(key: impl Into<String>, rule: impl fmt::Display) -> Error {
    let key = key.into();
    Error::new(ErrorKind::ConfigInvalid, format!("{key}: {rule}")).with_field(key)
}
