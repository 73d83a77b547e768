//! The file of tokens: who may do what. It holds hashes, so that who reads it learns no token; and names
//! of certificates, which need no secret here.
//!
//! ```text
//! # name  permissions  hash of the token, or a name in the client's certificate  [until=TIME]
//! crm     read,send    sha256:9f86d08188…
//! guest   read         sha256:60303ae22b… until=2027-01-01T00:00:00Z
//! billing send         cert:"CN=billing service"
//! audit   read         cert:DNS=audit.example.com
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
    key: Key,
    until: Option<Timestamp>,
}

/// What a caller must show.
#[derive(Debug)]
enum Key {
    Token(Hash),
    /// One of the names in its certificate, as [`CertificateName`] has them.
    Certificate(String),
}

/// The tokens of a file.
#[derive(Debug)]
pub(super) struct Tokens(Vec<Line>);

/// A token or a certificate that is known.
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
            let Key::Token(known) = &line.key else { continue };
            let same = known.ct_eq(hash);
            at.conditional_assign(&index, same);
            found |= same;
        }
        let line = bool::from(found).then(|| &self.0[usize::try_from(at).expect("an index")])?;
        line.at(now)
    }

    /// The first line of these names of a certificate, unless its time is over.
    pub(super) fn find_certificate(&self, names: &[String], now: Timestamp) -> Option<Known<'_>> {
        let named = |line: &&Line| matches!(&line.key, Key::Certificate(name) if names.contains(name));
        self.0.iter().filter(named).find_map(|line| line.at(now))
    }

    /// Whether a line is about a certificate.
    pub(super) fn name_certificates(&self) -> bool {
        self.0.iter().any(|line| matches!(line.key, Key::Certificate(_)))
    }
}

impl Line {
    fn at(&self, now: Timestamp) -> Option<Known<'_>> {
        let current = self.until.is_none_or(|until| now < until);
        current.then_some(Known { name: &self.name, permissions: &self.permissions })
    }
}

fn parse_line(line: &str) -> std::result::Result<Line, String> {
    let form = "must be: name, permissions, sha256:HASH or cert:NAME; `amochats token new` and \
                `amochats token certificate` write such lines";
    let split = |text: &'_ str| -> Option<(String, String)> {
        let (word, rest) = text.split_once(char::is_whitespace)?;
        Some((word.to_owned(), rest.trim_start().to_owned()))
    };
    let (name, permissions, rest) = split(line)
        .and_then(|(name, rest)| split(&rest).map(|(permissions, rest)| (name, permissions, rest)))
        .ok_or(form)?;
    let (name, permissions) = (name.as_str(), permissions.as_str());
    if !is_name(name) {
        return Err(format!("has a name that cannot be used; {NAME_RULE}"));
    }
    let permissions = permissions.split(',').map(permission).collect::<Option<_>>().ok_or_else(|| {
        let all = Permission::ALL.map(Permission::name).join(", ");
        format!("names a permission that does not exist; there are {all}, joined by commas")
    })?;
    let (key, rest) = if let Some(rest) = rest.strip_prefix("cert:") {
        let (name, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or("has a name without its second quote")?,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        (Key::Certificate(certificate_name(name)?), rest)
    } else {
        let (hash, rest) = rest.split_once(char::is_whitespace).unwrap_or((&rest, ""));
        (Key::Token(hash.strip_prefix("sha256:").and_then(from_hex).ok_or(form)?), rest)
    };
    let mut words = rest.split_whitespace();
    let until = match words.next() {
        None => None,
        Some(word) => {
            Some(word.strip_prefix("until=").and_then(|time| time.parse().ok()).ok_or_else(|| {
                "must end after the hash or the certificate's name, or with a time such as until=2027-01-01T00:00:00Z".to_owned()
            })?)
        }
    };
    if words.next().is_some() {
        Err(form.into())
    } else {
        Ok(Line { name: name.into(), permissions, key, until })
    }
}

/// A certificate's name as it is compared: kind and value. Host names have no case.
///
/// # Errors
/// What it must be.
fn certificate_name(name: &str) -> std::result::Result<String, String> {
    let rule = "names a certificate by CN=, DNS=, URI= or EMAIL= and what stands in it, in quotes where that has blanks";
    let (kind, value) = name.split_once('=').ok_or(rule)?;
    match kind {
        _ if value.trim().is_empty() || value.contains(['"', '\n', '\r']) => Err(rule.into()),
        "DNS" => Ok(format!("DNS={}", value.to_ascii_lowercase())),
        "CN" | "URI" | "EMAIL" => Ok(name.to_owned()),
        _ => Err(rule.into()),
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
    let token = format!("amochats_{}", to_hex(&rand::random::<[u8; 32]>()));
    add_line(path, name, permissions, &format!("sha256:{}", to_hex(&hash(&token))), until)?;
    Ok(token)
}

/// Adds a line for the certificates that have this name, such as `CN=billing` or `DNS=billing.example.com`.
///
/// # Errors
/// As for [`add`]; [`amochats::ErrorKind::InvalidArgument`] for what is no such name.
pub(crate) fn add_certificate(
    path: &Path,
    name: &str,
    permissions: &[Permission],
    certificate: &str,
    until: Option<Timestamp>,
) -> Result<()> {
    let certificate = certificate_name(certificate).map_err(|rule| Error::invalid("certificate", rule))?;
    add_line(path, name, permissions, &format!("cert:\"{certificate}\""), until)
}

fn add_line(
    path: &Path,
    name: &str,
    permissions: &[Permission],
    key: &str,
    until: Option<Timestamp>,
) -> Result<()> {
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
    let names: Vec<_> = Permission::ALL.into_iter().filter(|one| permissions.contains(one)).collect();
    let names = names.into_iter().map(Permission::name).collect::<Vec<_>>().join(",");
    let until = until.map_or_else(String::new, |until| format!(" until={until}"));
    let end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let line = format!("{end}{name} {names} {key}{until}\n");
    // One write of one line: a server that reads at this moment sees the file with it or without.
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| {
            invalid(KEY, &format!("cannot write {}: {error}", path.display())).with_source(error)
        })
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
    fn a_certificate_is_known_by_one_of_its_names_until_its_end() {
        let text = "old read cert:CN=billing until=2026-01-01T00:00:00Z\nnew send cert:CN=billing\n\
                    wide read cert:\"CN=billing service\"  until=2027-01-01T00:00:00Z\nhost read cert:DNS=A.example\n";
        let tokens = Tokens::parse(text).expect("sound");
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().expect("a time");
        let found = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            tokens.find_certificate(&names, now).map(|known| known.name.to_owned())
        };
        assert_eq!(found(&["CN=billing"]).as_deref(), Some("new"), "the first one's time is over");
        assert_eq!(found(&["CN=billing service"]).as_deref(), Some("wide"));
        assert_eq!(found(&["CN=x", "DNS=a.example"]).as_deref(), Some("host"));
        for names in [&[][..], &["CN=Billing"], &["DNS=billing"], &["CN=billing "], &["CN=a.example"]] {
            assert_eq!(found(names), None, "{names:?}");
        }
        assert!(tokens.find(&hash("CN=billing"), now).is_none(), "a name is no token");
    }

    #[test]
    fn a_broken_line_is_named_and_not_quoted() {
        let good = hashed("one");
        for (line, said) in [
            ("crm".to_owned(), "line 2 must be: name, permissions, sha256:HASH or cert:NAME"),
            ("crm read cert:billing".to_owned(), "line 2 names a certificate by CN="),
            ("crm read cert:O=hunter2".to_owned(), "line 2 names a certificate by CN="),
            ("crm read cert:CN=".to_owned(), "line 2 names a certificate by CN="),
            ("crm read cert:\"CN=hunter2".to_owned(), "line 2 has a name without its second quote"),
            ("crm read cert:CN=billing service".to_owned(), "line 2 must end after the hash"),
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
