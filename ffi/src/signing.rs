//! Signatures that are made.

use crate::boundary::{boundary, required, value};
use crate::error::amochats_error;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use amochats_core::{ChannelSecret, SignedHeaders, sign_body, sign_request};
use std::ffi::c_char;
use std::mem::MaybeUninit;

/// The size of a signature in hex with the NUL that ends it.
pub const AMOCHATS_SIGNATURE_SIZE: usize = 41;

/// The four headers of a signed request. Made by amochats_sign_request(), freed by the caller with
/// amochats_signed_headers_free(). Never changes: any thread may read it.
pub struct amochats_signed_headers(SignedHeaders);

/// Signs bytes alone, as webhooks are, and requests of the first generation. The signature is 40
/// lower-case hex digits and a NUL.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT for a secret that is empty or holds blanks or line feeds.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_sign_body(
    secret: amochats_slice<'_>,
    body: amochats_slice<'_>,
    signature: Option<&mut MaybeUninit<[c_char; AMOCHATS_SIGNATURE_SIZE]>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let signature = required(signature, "signature")?;
        let secret = ChannelSecret::new(secret.text("secret")?)?;
        let hex = sign_body(&secret, body.bytes("body")?);
        let mut text: [c_char; AMOCHATS_SIGNATURE_SIZE] = [0; AMOCHATS_SIGNATURE_SIZE];
        for (to, from) in text[..AMOCHATS_SIGNATURE_SIZE - 1].iter_mut().zip(hex.bytes()) {
            *to = c_char::from_ne_bytes([from]);
        }
        signature.write(text);
        Ok(())
    })
}

/// Signs a request of the chats API. Send the four headers and the very bytes that were signed.
///
/// The path is signed without its query and holds neither scheme nor host. The date is sent and
/// signed as given; the vendor documents "Wed, 15 Dec 2021 23:12:55 +0000" and takes requests for
/// 15 minutes from it. The content type is "application/json".
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT, with the argument's name as the field, for a method that is
/// not letters, a path that does not begin with "/", or a control character in any part.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_sign_request(
    secret: amochats_slice<'_>,
    method: amochats_slice<'_>,
    path: amochats_slice<'_>,
    content_type: amochats_slice<'_>,
    date: amochats_slice<'_>,
    body: amochats_slice<'_>,
    headers: Option<&mut MaybeUninit<*mut amochats_signed_headers>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let headers = required(headers, "headers")?;
        let secret = ChannelSecret::new(secret.text("secret")?)?;
        let signed = sign_request(
            &secret,
            method.text("method")?,
            path.text("path")?,
            content_type.text("content_type")?,
            date.text("date")?,
            body.bytes("body")?,
        )?;
        headers.write(Box::into_raw(Box::new(amochats_signed_headers(signed))));
        Ok(())
    })
}

/// Returns the value of the header "Date".
#[unsafe(no_mangle)]
pub extern "C" fn amochats_signed_headers_date(
    headers: Option<&amochats_signed_headers>,
) -> amochats_slice<'_> {
    header(headers, |headers| &headers.date)
}

/// Returns the value of the header "Content-Type".
#[unsafe(no_mangle)]
pub extern "C" fn amochats_signed_headers_content_type(
    headers: Option<&amochats_signed_headers>,
) -> amochats_slice<'_> {
    header(headers, |headers| &headers.content_type)
}

/// Returns the value of the header "Content-MD5": MD5 of the body in lower-case hex.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_signed_headers_content_md5(
    headers: Option<&amochats_signed_headers>,
) -> amochats_slice<'_> {
    header(headers, |headers| &headers.content_md5)
}

/// Returns the value of the header "X-Signature".
#[unsafe(no_mangle)]
pub extern "C" fn amochats_signed_headers_x_signature(
    headers: Option<&amochats_signed_headers>,
) -> amochats_slice<'_> {
    header(headers, |headers| &headers.x_signature)
}

/// Frees the headers; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_signed_headers_free(headers: Option<Box<amochats_signed_headers>>) {
    value((), || drop(headers));
}

fn header<'a>(
    headers: Option<&'a amochats_signed_headers>,
    get: impl FnOnce(&'a SignedHeaders) -> &'a String,
) -> amochats_slice<'a> {
    value(amochats_slice::ABSENT, || headers.map(|headers| get(&headers.0)).into())
}
