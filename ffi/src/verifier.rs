//! Signatures that are checked.

use crate::boundary::{boundary, required, value};
use crate::error::amochats_error;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use amochats_core::{ChannelSecret, Result, diagnose_signature, verify_webhook};
use std::mem::MaybeUninit;

/// Checks the signatures of webhooks with the secrets of one channel. Made by
/// amochats_verifier_new(), freed by the caller with amochats_verifier_free().
///
/// Give it its secrets first; then any number of threads may call what takes a const pointer.
#[derive(Default)]
pub struct amochats_verifier {
    secrets: Vec<ChannelSecret>,
}

/// Makes a verifier without a secret, which refuses everything.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_verifier_new() -> *mut amochats_verifier {
    value(std::ptr::null_mut(), || Box::into_raw(Box::default()))
}

/// Adds a secret, as the text that the vendor's support sent: it looks like hex but is not decoded.
/// While a secret is being changed, add the old and the new one.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT for a secret that is empty or holds blanks or line feeds.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_verifier_add_secret(
    verifier: Option<&mut amochats_verifier>,
    secret: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let verifier = required(verifier, "verifier")?;
        verifier.secrets.push(ChannelSecret::new(secret.text("secret")?)?);
        Ok(())
    })
}

/// Checks a webhook's X-Signature header against its raw body, in constant time. A signature whose
/// data is NULL means that there was no such header.
///
/// Pass the bytes as they came: a body that was parsed and written again has another signature.
/// The line feed that ends a webhook, which the vendor does not sign, may stay.
///
/// AMOCHATS_RESULT_SIGNATURE_MISSING without a signature, or with one that is not 40 hex digits;
/// AMOCHATS_RESULT_SIGNATURE_MISMATCH where it belongs to another body or secret. Answer both with
/// HTTP 401.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_verifier_verify(
    verifier: Option<&amochats_verifier>,
    body: amochats_slice<'_>,
    signature: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let verifier = required(verifier, "verifier")?;
        verify_webhook(&verifier.secrets, body.bytes("body")?, header(signature)?).map(drop)
    })
}

/// Says what a signature turned out to be: "valid", "missing", "not_hex", "with_newline" (it covers
/// a final line feed that the body has lost), "hex_decoded_secret" (the secret was decoded before
/// use), "reserialised" (it covers the same JSON written differently) or "mismatch" (none of
/// these). The text is static.
///
/// For the eyes of developers, never for the answer to a webhook: it would help a forger.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_verifier_diagnose(
    verifier: Option<&amochats_verifier>,
    body: amochats_slice<'_>,
    signature: amochats_slice<'_>,
    verdict: Option<&mut MaybeUninit<amochats_slice<'static>>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let verifier = required(verifier, "verifier")?;
        let verdict = required(verdict, "verdict")?;
        let found = diagnose_signature(&verifier.secrets, &[], body.bytes("body")?, header(signature)?);
        verdict.write(found.name().into());
        Ok(())
    })
}

/// Frees a verifier and wipes its secrets; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_verifier_free(verifier: Option<Box<amochats_verifier>>) {
    value((), || drop(verifier));
}

/// The header as text. Whoever sends a webhook chooses its bytes: where they are not UTF-8 that is
/// no mistake of the caller, but one more text that is not 40 hex digits.
fn header(signature: amochats_slice<'_>) -> Result<Option<&str>> {
    let bytes = signature.bytes("signature")?;
    Ok(signature.is_present().then(|| std::str::from_utf8(bytes).unwrap_or("")))
}
