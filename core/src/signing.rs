//! Signatures of requests, and the raw MAC under those of webhooks.
//!
//! A request is signed over `METHOD\nContent-MD5\nContent-Type\nDate\npath` (chats API, "headers
//! and signature"), with the header values exactly as they are sent. The first generation signed
//! the body alone, as webhooks still are. Every rule here reproduces the vendor's published
//! requests; see `tests/vectors/signing`.
//!
//! The caller gives the date and sends the very bytes that were signed: serialise once, hash and
//! send the same buffer.

use crate::error::{Error, ErrorKind, Result};
use crate::ids::ChannelSecret;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use serde::Serialize;
use sha1::Sha1;
use std::time::SystemTime;

/// The header that carries the signature, of requests and of webhooks.
pub const SIGNATURE_HEADER: &str = "X-Signature";
/// The header that carries the MD5 of the body, in lower-case hex (not base64 as in RFC 1864).
pub const CONTENT_MD5_HEADER: &str = "Content-MD5";
/// The one content type the service takes, without a charset.
pub const CONTENT_TYPE: &str = "application/json";
/// How long a signed request is valid, counted from its `Date`.
pub const SIGNATURE_LIFETIME: std::time::Duration = std::time::Duration::from_mins(15);

/// The length of an HMAC-SHA1 in bytes.
pub(crate) const MAC_LEN: usize = 20;

/// The four headers of a signed request, spelled as they go on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedHeaders {
    /// `Date`, as it was given.
    #[serde(rename = "Date")]
    pub date: String,
    /// `Content-Type`, as it was given.
    #[serde(rename = "Content-Type")]
    pub content_type: String,
    /// `Content-MD5`: MD5 of the body in lower-case hex.
    #[serde(rename = "Content-MD5")]
    pub content_md5: String,
    /// `X-Signature`: the HMAC-SHA1 in lower-case hex.
    #[serde(rename = "X-Signature")]
    pub x_signature: String,
}

impl SignedHeaders {
    /// The headers as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("Date", self.date.as_str()),
            ("Content-Type", &self.content_type),
            (CONTENT_MD5_HEADER, &self.content_md5),
            (SIGNATURE_HEADER, &self.x_signature),
        ]
        .into_iter()
    }
}

/// Signs a request in the canonical form, which every method of the chats API takes.
///
/// `path` is signed without its query string, as the service does; scheme and host are not part
/// of it. `date` is sent and signed as it is written: make it with [`format_date`].
///
/// ```
/// use amochats::{ChannelSecret, sign_request};
///
/// let secret = ChannelSecret::new("da39a3ee5e6b4b0d3255bfef95601890afd80709")?;
/// let path = "/v2/origin/custom/a4490ccc-5d7f-11e7-907b-a6006ad3dba0/disconnect";
/// let body = br#"{"account_id":"13fa84f7-6b61-4086-98ed-0a9de19ee15c"}"#;
/// let headers = sign_request(&secret, "DELETE", path, "application/json", "Mon, 01 Jan 2024 00:00:00 +0000", body)?;
/// assert_eq!(headers.x_signature, "62efa5f09a7087abcf8becba15570b1805560aef");
/// # Ok::<(), amochats::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a method that is not letters, a path that does not begin
/// with `/`, or a line break in any part: they would let one request's signature fit another.
pub fn sign_request(
    secret: &ChannelSecret,
    method: &str,
    path: &str,
    content_type: &str,
    date: &str,
    body: &[u8],
) -> Result<SignedHeaders> {
    if method.is_empty() || !method.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(Error::invalid("method", "must be an HTTP method such as POST"));
    }
    if !path.starts_with('/') {
        return Err(Error::invalid("path", "must begin with \"/\" and hold neither scheme nor host"));
    }
    for (field, value) in [("path", path), ("content_type", content_type), ("date", date)] {
        if value.chars().any(char::is_control) {
            return Err(Error::invalid(field, "must not hold line breaks or control characters"));
        }
    }
    let content_md5 = content_md5(body);
    let text = canonical_string(&method.to_ascii_uppercase(), &content_md5, content_type, date, path);
    Ok(SignedHeaders {
        date: date.to_owned(),
        content_type: content_type.to_owned(),
        content_md5,
        x_signature: hex(&mac(secret, text.as_bytes())),
    })
}

/// The text a canonical signature covers. An absent header counts as an empty line; the path
/// loses its query string.
pub fn canonical_string(
    method: &str,
    content_md5: &str,
    content_type: &str,
    date: &str,
    path: &str,
) -> String {
    let path = path.split_once('?').map_or(path, |(path, _query)| path);
    format!("{method}\n{content_md5}\n{content_type}\n{date}\n{path}")
}

/// Signs bytes alone: the form of webhooks, and of requests in the first generation.
///
/// ```
/// use amochats::{ChannelSecret, sign_body};
///
/// let secret = ChannelSecret::new("da39a3ee5e6b4b0d3255bfef95601890afd80709")?;
/// let body = br#"{"account_id":"13fa84f7-6b61-4086-98ed-0a9de19ee15c"}"#;
/// assert_eq!(sign_body(&secret, body), "c5a129044c7c85ee3685873158551599b923002c");
/// # Ok::<(), amochats::Error>(())
/// ```
pub fn sign_body(secret: &ChannelSecret, body: &[u8]) -> String {
    hex(&mac(secret, body))
}

/// The MD5 of a body in lower-case hex, as the `Content-MD5` header wants it. A request without
/// a body still sends it: the MD5 of nothing.
pub fn content_md5(body: &[u8]) -> String {
    hex(&Md5::digest(body))
}

/// Writes a time as the service documents it: `Wed, 15 Dec 2021 23:12:55 +0000`.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a time outside the years 0 to 9999.
pub fn format_date(time: SystemTime) -> Result<String> {
    jiff::Timestamp::try_from(time)
        .and_then(|time| jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time))
        .map(|date| date.replace("GMT", "+0000"))
        .map_err(|_| {
            Error::new(ErrorKind::InvalidArgument, "the time is outside the calendar").with_field("date")
        })
}

/// Reads a `Date` in the documented spelling or another of RFC 2822: ` GMT` and offsets such as
/// `+0300` are accepted by the service.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] where it is no such date.
pub fn parse_date(date: &str) -> Result<SystemTime> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).map(SystemTime::from).map_err(|_| {
        Error::invalid("date", "must be a date of RFC 2822, such as \"Wed, 15 Dec 2021 23:12:55 +0000\"")
    })
}

/// A MAC over `bytes`, ready to be compared in constant time.
pub(crate) fn keyed(key: &[u8], bytes: &[u8]) -> Hmac<Sha1> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(bytes);
    mac
}

fn mac(secret: &ChannelSecret, bytes: &[u8]) -> [u8; MAC_LEN] {
    keyed(secret.key(), bytes).finalize().into_bytes().into()
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Reads hex digits in either case; whether they are as many as `bytes` wants.
pub(crate) fn decode_hex(text: &str, bytes: &mut [u8]) -> bool {
    let digits = text.as_bytes();
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.len() == 2 * bytes.len()
        && bytes.iter_mut().zip(digits.chunks_exact(2)).all(|(byte, pair)| {
            let value = digit(pair[0]).zip(digit(pair[1])).map(|(high, low)| high << 4 | low);
            *byte = value.unwrap_or_default();
            value.is_some()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn secret() -> ChannelSecret {
        ChannelSecret::new("da39a3ee5e6b4b0d3255bfef95601890afd80709").expect("clean")
    }

    #[test]
    fn dates_are_written_and_read_as_documented() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200);
        let date = format_date(time).expect("in the calendar");
        assert_eq!(date, "Mon, 01 Jan 2024 00:00:00 +0000");
        for spelling in [&date, "Mon, 01 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 03:00:00 +0300"] {
            assert_eq!(parse_date(spelling).expect("valid"), time, "{spelling}");
        }
        assert!(parse_date("2024-01-01T00:00:00Z").is_err());
        assert!(parse_date("Mon, 03 Oct 2020 15:11:21 +0000").is_err(), "that day was a Saturday");
    }

    #[test]
    fn a_line_break_cannot_move_between_the_parts() {
        let sign = |method, path, ty, date| sign_request(&secret(), method, path, ty, date, b"");
        for (field, result) in [
            ("method", sign("PO\nST", "/p", "t", "d")),
            ("method", sign("", "/p", "t", "d")),
            ("path", sign("POST", "p", "t", "d")),
            ("path", sign("POST", "/p\n", "t", "d")),
            ("content_type", sign("POST", "/p", "t\n", "d")),
            ("date", sign("POST", "/p", "t", "d\r\n")),
        ] {
            assert_eq!(result.expect_err("refused").field(), Some(field));
        }
    }

    #[test]
    fn method_is_upper_case_and_query_is_left_out() {
        let a = sign_request(&secret(), "get", "/p?limit=1", CONTENT_TYPE, "d", b"").expect("valid");
        let b = sign_request(&secret(), "GET", "/p", CONTENT_TYPE, "d", b"").expect("valid");
        assert_eq!(a, b);
        assert_eq!(a.content_md5, "d41d8cd98f00b204e9800998ecf8427e");
    }
}
