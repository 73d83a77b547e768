//! Whether a webhook is the vendor's.

use crate::error::{Error, ErrorKind, Result};
use crate::ids::ChannelSecret;
use crate::signing::{MAC_LEN, keyed};
use hmac::Mac;

/// A webhook body whose signature was found genuine.
#[derive(Clone, Copy)]
pub struct VerifiedBody<'a>(&'a [u8]);

impl<'a> VerifiedBody<'a> {
    /// Takes bytes whose signature was checked elsewhere, for instance before they were stored.
    pub fn trust(body: &'a [u8]) -> Self {
        Self(body)
    }

    /// The body exactly as it was received.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Checks a webhook's `X-Signature` against its raw body.
///
/// The body counts as received or without one final LF or CRLF: on the wire a webhook ends with a
/// line feed that its signature does not cover. The signature may be in either case. Every secret
/// given is tried, so that a secret can be rotated; the comparison is constant-time.
///
/// Pass the bytes as they came: a body that was decoded and encoded again has another signature.
///
/// ```
/// use amochats::{ChannelSecret, parse_webhook, verify_webhook};
///
/// let secret = ChannelSecret::new("da39a3ee5e6b4b0d3255bfef95601890afd80709")?;
/// let body = b"{\"receiver\":\"U1\",\"conversation_id\":\"c59678affa1db6\",\"type\":\"text\",\
///     \"text\":\"Yes, of course. This is just what I was looking for\",\
///     \"media\":\"\",\"thumbnail\":\"\",\"file_name\":\"\",\"file_size\":0}\n";
/// let verified = verify_webhook(&[secret], body, Some("ef2d1762bee0caef369991e584279e37383cc29f"))?;
/// assert_eq!(parse_webhook(verified)?.kind.name(), "message");
/// # Ok::<(), amochats::Error>(())
/// ```
///
/// # Errors
/// - [`ErrorKind::SignatureMissing`] without a signature, or with one that is not 40 hex digits.
/// - [`ErrorKind::SignatureMismatch`] where it belongs to another body or secret;
///   [`diagnose_signature`](crate::diagnose_signature) may tell why.
pub fn verify_webhook<'a>(
    secrets: &[ChannelSecret],
    body: &'a [u8],
    signature: Option<&str>,
) -> Result<VerifiedBody<'a>> {
    let claimed = claimed_mac(signature)?;
    // All secrets are tried, so that the time taken does not tell which one matched.
    let genuine = secrets.iter().fold(false, |found, secret| found | matches(secret.key(), body, &claimed));
    if genuine { Ok(VerifiedBody(body)) } else { Err(mismatch()) }
}

/// The 20 bytes of a signature header.
pub(super) fn claimed_mac(signature: Option<&str>) -> Result<[u8; MAC_LEN]> {
    let Some(signature) = signature else {
        return Err(Error::new(ErrorKind::SignatureMissing, "there is no X-Signature header"));
    };
    decode_hex(signature)
        .ok_or_else(|| Error::new(ErrorKind::SignatureMissing, "the X-Signature header is not 40 hex digits"))
}

pub(super) fn mismatch() -> Error {
    Error::new(ErrorKind::SignatureMismatch, "the X-Signature header does not belong to this body and secret")
}

/// Whether the signature covers the body as it is or without its final line end. What these share is
/// hashed once; all are tried, so that the time taken does not tell which one matched.
pub(super) fn matches(key: &[u8], body: &[u8], claimed: &[u8; MAC_LEN]) -> bool {
    let end = if body.ends_with(b"\r\n") { 2 } else { usize::from(body.ends_with(b"\n")) };
    let (text, end) = body.split_at(body.len() - end);
    let mac = keyed(key, text);
    (0..=end.len()).fold(false, |found, taken| {
        found | mac.clone().chain_update(&end[..taken]).verify_slice(claimed).is_ok()
    })
}

fn decode_hex(text: &str) -> Option<[u8; MAC_LEN]> {
    let mut bytes = [0; MAC_LEN];
    crate::signing::decode_hex(text, &mut bytes).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::sign_body;

    fn secret(text: &str) -> ChannelSecret {
        ChannelSecret::new(text).expect("clean")
    }

    #[test]
    fn one_final_line_end_may_be_outside_the_signature() {
        let secrets = [secret("old"), secret("new")];
        let signature = sign_body(&secrets[1], b"{}");
        for body in [&b"{}"[..], b"{}\n", b"{}\r\n"] {
            assert_eq!(verify_webhook(&secrets, body, Some(&signature)).expect("genuine").as_bytes(), body);
            assert!(verify_webhook(&secrets, body, Some(&signature.to_uppercase())).is_ok());
            assert!(verify_webhook(&secrets[..1], body, Some(&signature)).is_err());
        }
        for body in [&b"{}\n\n"[..], b" {}", b"{} ", b"{}\n\r", b""] {
            let error = verify_webhook(&secrets, body, Some(&signature)).err().expect("forged");
            assert_eq!(error.kind(), ErrorKind::SignatureMismatch);
        }
        let over_all = sign_body(&secrets[0], b"{}\n");
        assert!(verify_webhook(&secrets, b"{}\n", Some(&over_all)).is_ok(), "as received counts too");
    }

    #[test]
    fn a_signature_is_forty_hex_digits() {
        let secrets = [secret("s")];
        for (signature, said) in [
            (None, "no X-Signature"),
            (Some(""), "40 hex digits"),
            (Some("abc"), "40 hex digits"),
            (Some("zz39a3ee5e6b4b0d3255bfef95601890afd80709"), "40 hex digits"),
            (Some("+a39a3ee5e6b4b0d3255bfef95601890afd80709"), "40 hex digits"),
            (Some("дада3ee5e6b4b0d3255bfef95601890afd80709"), "40 hex digits"),
        ] {
            let error = verify_webhook(&secrets, b"{}", signature).err().expect("refused");
            assert_eq!(error.kind(), ErrorKind::SignatureMissing);
            assert!(error.to_string().contains(said), "{error}");
        }
        assert!(
            verify_webhook(&[], b"{}", Some(&sign_body(&secrets[0], b"{}"))).is_err(),
            "no secret, no entry"
        );
    }
}
