//! Messages to be sent.

use crate::boundary::{boundary, required};
use crate::buffer::amochats_buffer;
use crate::error::amochats_error;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use amochats_core::NewMessage;
use std::mem::MaybeUninit;

/// Checks a new message in the vendor's JSON, {"event_type":"new_message","payload":{...}}, by all
/// rules that the vendor documents, and writes the body to sign and send.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT, with the path of the field, where it breaks a rule. Fields
/// that are not documented are refused, so that a typing error does not lose a field.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_encode(
    json: amochats_slice<'_>,
    body: Option<&mut MaybeUninit<*mut amochats_buffer>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let body = required(body, "body")?;
        let encoded = NewMessage::from_json(json.bytes("json")?)?.to_json()?;
        body.write(amochats_buffer::into_raw(encoded));
        Ok(())
    })
}
