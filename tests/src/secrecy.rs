//! What the product must not say of itself (G11). It is planted into the traffic of all tests, and
//! looked for in what every server and every command of theirs has said. `planted.json` has the same for
//! tests in other languages.

use crate::server::SECRET;
use std::fmt::Write;

/// A message's text.
pub const TEXT: &str = "PLANTED-TEXT";
/// A client's phone.
pub const PHONE: &str = "+79160004242";
/// A client's e-mail.
pub const EMAIL: &str = "planted@secret.example";

/// A secret of a channel.
pub const OTHER_SECRET: &str = "PLANTEDSECRET0123456789";

/// What the servers of all tests say: whatever this project's own code may say, of others as usual. Not
/// what traces are made of, which would be much: `tests/secrecy.rs` has that.
pub const LOG: &str = "info,amochats=debug,amochats::trace=info";

/// Names what was said that should not be: something planted, or what can only be a signature, a secret
/// or a token.
pub fn leaks(who: &str, said: &str, planted: &[&str]) -> String {
    let mut leaks = String::new();
    for line in said.lines() {
        for secret in planted.iter().filter(|secret| line.contains(**secret)) {
            writeln!(leaks, "{secret} was said by {who}: {line}").expect("a string takes all");
        }
        // The hex of a SHA-1 or of more; a JSON web token.
        let secret = |word: &str| {
            (word.len() >= 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
                || (word.len() > 10 && word.starts_with("eyJ"))
        };
        if line.split(|c: char| !c.is_ascii_alphanumeric()).any(secret) {
            writeln!(leaks, "a signature, secret or token was said by {who}: {line}")
                .expect("a string takes all");
        }
    }
    leaks
}

/// Checks what a server or command has said about what it did.
///
/// # Panics
/// Where it said too much.
pub fn check(who: &str, said: &str) {
    let leaks = leaks(who, said, &[SECRET, OTHER_SECRET, TEXT, PHONE, EMAIL]);
    assert!(leaks.is_empty(), "{leaks}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_planted_in_every_language() {
        let planted: serde_json::Value = serde_json::from_str(include_str!("../planted.json")).expect("JSON");
        let ours =
            serde_json::json!({ "text": TEXT, "phone": PHONE, "email": EMAIL, "secret": OTHER_SECRET });
        assert_eq!(planted, ours);
    }

    #[test]
    fn the_scan_finds_what_is_said() {
        let said = format!("fine\nbad {PHONE}\n");
        assert!(
            leaks("a log", &said, &[TEXT, PHONE]).starts_with(&format!("{PHONE} was said by a log: bad"))
        );
        assert_eq!(leaks("a log", &said, &[TEXT]), "");
        let token = format!("amochats_{SECRET}{}", "0".repeat(24));
        for private in [SECRET, &token, "eyJhbGciOiJIUzI1NiJ9.eyJh-_.x"] {
            assert!(leaks("a log", &format!("it={private}."), &[]).starts_with("a signature"), "{private}");
        }
    }
}
