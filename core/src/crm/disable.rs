//! The call that tells that an account switched the integration off (chats API reference, 7.7).

use super::ClientSecret;
use crate::error::{Error, ErrorKind, Result};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The length of an HMAC-SHA256 in bytes.
const MAC_LEN: usize = 32;

/// An HMAC-SHA256, ready to be compared in constant time.
pub(super) fn keyed(secret: &ClientSecret, bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length");
    mac.update(bytes);
    mac
}

/// Checks the disable hook: the `GET` that the CRM sends when an account switches the integration
/// off, with `account_id`, `client_uuid` and `signature` in the query. The comparison is
/// constant-time.
///
/// `account_id` is the number of the account in the CRM, as it stands in the query. Once the hook is
/// genuine and names this integration, drop the account's tokens, which are revoked, and count the
/// channel as disconnected. The hook carries no time, so it can be replayed.
///
/// ```
/// use amochats::crm::{ClientSecret, verify_disable_hook};
///
/// let secret = ClientSecret::new("secret-of-integration")?;
/// let signature = "59ee1bc5e857eb345c1408c2710748f973acc270dafe8741816a5fac5669f1db";
/// verify_disable_hook(&secret, "dbcb764d-b02d-4a3b-bc4d-25e1d80fdcad", "11223344", Some(signature))?;
/// # Ok::<(), amochats::Error>(())
/// ```
///
/// # Errors
/// - [`ErrorKind::SignatureMissing`] without a signature, or with one that is not 64 hex digits.
/// - [`ErrorKind::SignatureMismatch`] where it belongs to other ids or another secret.
pub fn verify_disable_hook(
    secret: &ClientSecret,
    client_uuid: &str,
    account_id: &str,
    signature: Option<&str>,
) -> Result<()> {
    let claimed = signature.and_then(decode_hex).ok_or_else(|| {
        Error::new(ErrorKind::SignatureMissing, "the disable hook has no signature of 64 hex digits")
    })?;
    // With a "|" inside an id two different pairs would be the same text.
    let plain = |id: &str| !id.contains('|');
    let genuine =
        keyed(secret, format!("{client_uuid}|{account_id}").as_bytes()).verify_slice(&claimed).is_ok();
    if genuine && plain(client_uuid) && plain(account_id) {
        return Ok(());
    }
    let said = "the signature of the disable hook does not belong to these ids and this secret";
    Err(Error::new(ErrorKind::SignatureMismatch, said))
}

fn decode_hex(text: &str) -> Option<[u8; MAC_LEN]> {
    let mut bytes = [0; MAC_LEN];
    crate::signing::decode_hex(text, &mut bytes).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_vendor_can_switch_off() {
        let secret = ClientSecret::new("example-integration-secret-0123456789").expect("clean");
        let (client, account) = ("11111111-2222-4333-8444-555555555555", "12345678");
        let signature = "a3cb537621b26721f24dafa30fbd6daed6e36ec657f39973b537e81adb251e58";
        let check = |client: &str, account: &str, signature: Option<&str>| {
            verify_disable_hook(&secret, client, account, signature).map_err(|error| error.kind())
        };
        assert_eq!(check(client, account, Some(signature)), Ok(()));
        assert_eq!(check(client, account, Some(&signature.to_uppercase())), Ok(()));
        let (not_hex, not_ascii) = ("z".repeat(64), "я".repeat(32));
        for missing in [None, Some(""), Some("a3"), Some(&*not_hex), Some(&*not_ascii)] {
            assert_eq!(check(client, account, missing), Err(ErrorKind::SignatureMissing));
        }
        assert_eq!(check(client, "12345679", Some(signature)), Err(ErrorKind::SignatureMismatch));
        assert_eq!(check("other", account, Some(signature)), Err(ErrorKind::SignatureMismatch));
        let other = ClientSecret::new("other").expect("clean");
        let error = verify_disable_hook(&other, client, account, Some(signature)).expect_err("forged");
        assert_eq!(error.kind(), ErrorKind::SignatureMismatch);

        let moved = crate::signing::hex(&keyed(&secret, b"a|b|c").finalize().into_bytes());
        assert_eq!(check("a|b", "c", Some(&moved)), Err(ErrorKind::SignatureMismatch));
    }
}
