//! Why a signature is refused, as far as it can be known.

use super::verify::{claimed_mac, matches};
use crate::ids::ChannelSecret;
use crate::signing::{MAC_LEN, keyed};
use hmac::Mac;
use serde_json::Value;
use std::fmt::{self, Write as _};

/// What a signature turned out to be. For developers' eyes (the command line, the sandbox's
/// journal), never for the answer to a webhook: it would help a forger.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureVerdict {
    /// Genuine, over the body as received or without its final line end.
    Valid,
    /// No header.
    Missing,
    /// A header that is not 40 hex digits.
    NotHex,
    /// Made with a secret that is no longer current.
    ExpiredSecret,
    /// Made over the body and a line feed: something cut the line feed that the signer hashed, or
    /// the signer hashed one too many.
    WithNewline,
    /// Made with the secret decoded from hex; it is used as text.
    HexDecodedSecret,
    /// Made over the same JSON, written differently: the body was parsed and serialised again.
    Reserialised,
    /// None of these.
    Mismatch,
}

impl SignatureVerdict {
    /// Whether the signature is genuine.
    pub fn is_valid(self) -> bool {
        self == Self::Valid
    }

    /// The stable name, such as `expired_secret`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Missing => "missing",
            Self::NotHex => "not_hex",
            Self::ExpiredSecret => "expired_secret",
            Self::WithNewline => "with_newline",
            Self::HexDecodedSecret => "hex_decoded_secret",
            Self::Reserialised => "reserialised",
            Self::Mismatch => "mismatch",
        }
    }
}

impl fmt::Display for SignatureVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "the signature is genuine",
            Self::Missing => "there is no X-Signature header",
            Self::NotHex => "the X-Signature header is not 40 hex digits",
            Self::ExpiredSecret => "the signature was made with a secret that is no longer current",
            Self::WithNewline => "the signature matches the body with a final newline that is not there",
            Self::HexDecodedSecret => "the signature was made with the secret decoded from hex: use its text as the key",
            Self::Reserialised => {
                "the signature matches the same JSON written differently: verify the raw bytes, not a body that was \
                 parsed and serialised again"
            }
            Self::Mismatch => "the signature does not belong to this body and secret",
        })
    }
}

/// Says what a webhook's signature is, and if it is refused, why.
///
/// `expired` are secrets that were current once.
pub fn diagnose_signature(
    secrets: &[ChannelSecret],
    expired: &[ChannelSecret],
    body: &[u8],
    signature: Option<&str>,
) -> SignatureVerdict {
    let claimed = match claimed_mac(signature) {
        Ok(claimed) => claimed,
        Err(_) if signature.is_none() => return SignatureVerdict::Missing,
        Err(_) => return SignatureVerdict::NotHex,
    };
    let genuine = |secrets: &[ChannelSecret]| secrets.iter().any(|s| matches(s.key(), body, &claimed));
    if genuine(secrets) {
        return SignatureVerdict::Valid;
    }
    if genuine(expired) {
        return SignatureVerdict::ExpiredSecret;
    }
    let covers =
        |signed: &[u8]| secrets.iter().any(|s| keyed(s.key(), signed).verify_slice(&claimed).is_ok());
    if covers(&[body, b"\n"].concat()) || covers(&[body, b"\r\n"].concat()) {
        return SignatureVerdict::WithNewline;
    }
    if secrets.iter().any(|secret| hex_decoded_matches(secret, body, &claimed)) {
        return SignatureVerdict::HexDecodedSecret;
    }
    if spellings(body).iter().any(|signed| covers(signed.as_bytes())) {
        return SignatureVerdict::Reserialised;
    }
    SignatureVerdict::Mismatch
}

fn hex_decoded_matches(secret: &ChannelSecret, body: &[u8], claimed: &[u8; MAC_LEN]) -> bool {
    let key: Option<Vec<u8>> = secret
        .key()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    key.is_some_and(|key| matches(&key, body, claimed))
}

/// The same JSON as common encoders write it: compact, as PHP, as Go, as Python.
fn spellings(body: &[u8]) -> Vec<String> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Vec::new();
    };
    let compact = value.to_string();
    let mut spaced = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut spaced, Spaced);
    let spaced = match serde::Serialize::serialize(&value, &mut serializer) {
        Ok(()) => String::from_utf8(spaced).unwrap_or_default(),
        Err(_) => String::new(),
    };
    vec![
        ascii(&compact).replace('/', "\\/"),
        compact.replace('/', "\\/"),
        ascii(&compact),
        compact.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"),
        ascii(&spaced),
        spaced,
        compact,
    ]
}

/// Escapes what is not ASCII as `\uXXXX`; outside of strings JSON has none.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// `{"a": 1, "b": 2}`, as Python writes it.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::sign_body;

    #[test]
    fn each_mistake_is_named() {
        let current = ChannelSecret::new("da39a3ee5e6b4b0d3255bfef95601890afd80709").expect("clean");
        let old = ChannelSecret::new("old").expect("clean");
        let body = r#"{"text":"Ответ /<b>","n":[1,2]}"#.as_bytes();
        let check = |signature: Option<&str>| {
            diagnose_signature(std::slice::from_ref(&current), std::slice::from_ref(&old), body, signature)
        };
        let signed = |bytes: &str| sign_body(&current, bytes.as_bytes());
        let text = std::str::from_utf8(body).expect("UTF-8");

        assert_eq!(check(Some(&signed(text))), SignatureVerdict::Valid);
        assert_eq!(check(None), SignatureVerdict::Missing);
        assert_eq!(check(Some("12")), SignatureVerdict::NotHex);
        assert_eq!(check(Some(&sign_body(&old, body))), SignatureVerdict::ExpiredSecret);
        assert_eq!(check(Some(&signed(&format!("{text}\n")))), SignatureVerdict::WithNewline);
        for other in [
            r#"{"text":"\u041e\u0442\u0432\u0435\u0442 \/<b>","n":[1,2]}"#,
            r#"{"text":"Ответ /\u003cb\u003e","n":[1,2]}"#,
            r#"{"text": "\u041e\u0442\u0432\u0435\u0442 /<b>", "n": [1, 2]}"#,
            r#"{"text": "Ответ /<b>", "n": [1, 2]}"#,
        ] {
            assert_eq!(check(Some(&signed(other))), SignatureVerdict::Reserialised, "{other}");
        }
        let decoded: Vec<u8> = (0..20)
            .map(|i| {
                u8::from_str_radix(&"da39a3ee5e6b4b0d3255bfef95601890afd80709"[2 * i..2 * i + 2], 16)
                    .expect("hex")
            })
            .collect();
        let mac = hmac::Mac::finalize(crate::signing::keyed(&decoded, body)).into_bytes();
        let hex = crate::signing::hex(&mac);
        assert_eq!(check(Some(&hex)), SignatureVerdict::HexDecodedSecret);
        assert_eq!(check(Some(&"0".repeat(40))), SignatureVerdict::Mismatch);
    }
}
