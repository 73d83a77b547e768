//! The file of tokens: who may do what. It holds hashes, so that who reads it learns no token.
//!
//! ```text
//! # name  permissions  hash of the token  [until=TIME]
//! crm     read,send    sha256:9f86d08188…
//! guest   read         sha256:60303ae22b… until=2027-01-01T00:00:00Z
//! ```
//!
//! A token has 256 random bits, so a plain hash of it cannot be guessed backwards.

use super::config::invalid;
use super::permissions::Permission;
use amochats::{Error, Result};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

const KEY: &str = "grpc.tokens_file";

/// A token, as it is known here.
pub(super) type Hash = [u8; 32];

#[derive(Debug)]
struct Line {
    name: String,
    permissions: Vec<Permission>,
    hash: Hash,
    until: Option<Timestamp>,
}

/// The tokens of a file.
#[derive(Debug)]
pub(super) struct Tokens(Vec<Line>);

/// A token that is known.
pub(super) struct Known<'a> {
    pub(super) name: &'a str,
    pub(super) permissions: &'a [Permission],
}

/// Reads a file of tokens.
///
/// # Errors
/// [`amochats::ErrorKind::ConfigInvalid`] with the line at fault, which is not quoted.
pub(super) fn load(path: &Path) -> Result<Tokens> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| invalid(KEY, &format!("cannot read {}: {error}", path.display())))?;
    Tokens::parse(&text)
}

pub(super) fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

impl Tokens {
    fn parse(text: &str) -> Result<Self> {
        let mut lines: Vec<Line> = Vec::new();
        for (at, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = parse_line(line).map_err(|rule| invalid(KEY, &format!("line {at} {rule}")))?;
            if lines.iter().any(|other| other.name == line.name) {
                return Err(invalid(KEY, &format!("line {at} has the name of another line")));
            }
            lines.push(line);
        }
        Ok(Self(lines))
    }

    /// The token with this hash, unless its time is over. Takes as long whichever it is.
    pub(super) fn find(&self, hash: &Hash, now: Timestamp) -> Option<Known<'_>> {
        let (mut found, mut at) = (Choice::from(0), 0_u64);
        for (index, line) in (0_u64..).zip(&self.0) {
            let same = line.hash.ct_eq(hash);
            at.conditional_assign(&index, same);
            found |= same;
        }
        let line = bool::from(found).then(|| &self.0[usize::try_from(at).expect("an index")])?;
        let current = line.until.is_none_or(|until| now < until);
        current.then_some(Known { name: &line.name, permissions: &line.permissions })
    }
}

fn parse_line(line: &str) -> std::result::Result<Line, String> {
    let form = "must be: name, permissions, sha256:HASH; `amochats token new` writes such a line";
    let mut words = line.split_whitespace();
    let (Some(name), Some(permissions), Some(hash)) = (words.next(), words.next(), words.next()) else {
        return Err(form.into());
    };
    if !is_name(name) {
        return Err(format!("has a name that cannot be used; {NAME_RULE}"));
    }
    let permissions = permissions.split(',').map(permission).collect::<Option<_>>().ok_or_else(|| {
        let all = Permission::ALL.map(Permission::name).join(", ");
        format!("names a permission that does not exist; there are {all}, joined by commas")
    })?;
    let hash = hash.strip_prefix("sha256:").and_then(from_hex).ok_or(form)?;
    let until = match words.next() {
        None => None,
        Some(word) => {
            Some(word.strip_prefix("until=").and_then(|time| time.parse().ok()).ok_or_else(|| {
                "must end after the hash, or with a time such as until=2027-01-01T00:00:00Z".to_owned()
            })?)
        }
    };
    if words.next().is_some() {
        Err(form.into())
    } else {
        Ok(Line { name: name.into(), permissions, hash, until })
    }
}

const NAME_RULE: &str = "it is 1 to 64 letters, digits, \"-\", \"_\" or \".\"";

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn permission(name: &str) -> Option<Permission> {
    Permission::ALL.into_iter().find(|permission| permission.name() == name)
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes everything");
        hex
    })
}

fn from_hex(hex: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

/// Makes a token, adds its hash to the file, which is made where there is none, and returns it.
///
/// # Errors
/// [`amochats::ErrorKind::InvalidArgument`] for a name that is taken or cannot be used;
/// [`amochats::ErrorKind::ConfigInvalid`] for a file that is not one of tokens or cannot be written.
pub(crate) fn add(
    path: &Path,
    name: &str,
    permissions: &[Permission],
    until: Option<Timestamp>,
) -> Result<String> {
    if !is_name(name) {
        return Err(Error::invalid("name", format!("cannot be used; {NAME_RULE}")));
    }
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            let said = invalid(KEY, &format!("cannot read {}: {error}", path.display()));
            return Err(said.with_source(error));
        }
    };
    if Tokens::parse(&before)?.0.iter().any(|line| line.name == name) {
        return Err(Error::invalid("name", "is taken; remove its line first, or choose another name"));
    }
    let token = format!("amochats_{}", to_hex(&rand::random::<[u8; 32]>()));
    let names: Vec<_> = Permission::ALL.into_iter().filter(|one| permissions.contains(one)).collect();
    let names = names.into_iter().map(Permission::name).collect::<Vec<_>>().join(",");
    let until = until.map_or_else(String::new, |until| format!(" until={until}"));
    let end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let line = format!("{end}{name} {names} sha256:{}{until}\n", to_hex(&hash(&token)));
    // One write of one line: a server that reads at this moment sees the file with it or without.
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| {
            invalid(KEY, &format!("cannot write {}: {error}", path.display())).with_source(error)
        })?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(token: &str) -> String {
        format!("sha256:{}", to_hex(&hash(token)))
    }

    #[test]
    fn a_token_is_known_by_its_hash_until_its_end() {
        let (crm, guest) = (hashed("one"), hashed("two"));
        let text =
            format!("# ours\n\ncrm read,send {crm}\n guest  read {guest}  until=2027-01-01T00:00:00Z\n");
        let tokens = Tokens::parse(&text).expect("sound");
        let at = |time: &str| time.parse::<Timestamp>().expect("a time");
        let found = tokens.find(&hash("one"), at("2030-01-01T00:00:00Z")).expect("known");
        assert_eq!((found.name, found.permissions), ("crm", &[Permission::Read, Permission::Send][..]));
        assert!(tokens.find(&hash("two"), at("2026-12-31T23:59:59Z")).is_some());
        assert!(tokens.find(&hash("two"), at("2027-01-01T00:00:00Z")).is_none(), "its time is over");
        assert!(tokens.find(&hash("three"), at("2026-01-01T00:00:00Z")).is_none());
        assert!(Tokens::parse("").expect("empty").find(&hash("one"), at("2026-01-01T00:00:00Z")).is_none());
    }

    #[test]
    fn a_broken_line_is_named_and_not_quoted() {
        let good = hashed("one");
        for (line, said) in [
            ("crm".to_owned(), "line 2 must be: name, permissions, sha256:HASH"),
            ("crm read hunter2".to_owned(), "line 2 must be: name, permissions, sha256:HASH"),
            (
                format!("crm write {good}"),
                "line 2 names a permission that does not exist; there are read, send, admin",
            ),
            (format!("c/m read {good}"), "line 2 has a name that cannot be used"),
            (format!("crm read {good} tomorrow"), "line 2 must end after the hash"),
            (format!("crm read {}", &good[..40]), "line 2 must be"),
            (format!("a read {good}\na read {good}"), "line 3 has the name of another line"),
        ] {
            let error = Tokens::parse(&format!("# ours\n{line}\n")).expect_err("refused");
            assert!(error.message().contains(said), "{error}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
