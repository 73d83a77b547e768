//! Requests to be sent, and the history that is read.

use crate::boundary::{boundary, required};
use crate::buffer::amochats_buffer;
use crate::error::amochats_error;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use amochats_core::{HistoryPage, NewMessage, encode_request};
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

/// Checks a request in the vendor's JSON by all rules that the vendor documents, and writes the body
/// to sign and send. Each call has its own path:
///
/// | call | POST to /v2/origin/custom/... |
/// |---|---|
/// | send_message | {scope_id} |
/// | edit_message | {scope_id} |
/// | create_chat | {scope_id}/chats |
/// | set_delivery_status | {scope_id}/{message_ref_id}/delivery_status |
/// | set_delivery_status_old | the same, in and out in the form from before 2025 |
/// | send_typing | {scope_id}/typing |
/// | react | {scope_id}/react |
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT, with the path of the field, where it breaks a rule, and with
/// the field "call" for another call. Fields that are not documented are refused.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_request_encode(
    call: amochats_slice<'_>,
    json: amochats_slice<'_>,
    body: Option<&mut MaybeUninit<*mut amochats_buffer>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let body = required(body, "body")?;
        let encoded = encode_request(call.text("call")?, json.bytes("json")?)?;
        body.write(amochats_buffer::into_raw(encoded));
        Ok(())
    })
}

/// Reads the answer to GET {scope_id}/chats/{conversation_ref_id}/history and writes it as stable
/// JSON: {"messages":[...]}, the newest message first, with the names of a message event. An empty
/// body, as a 204 has it, is a page without messages.
///
/// AMOCHATS_RESULT_UNEXPECTED_RESPONSE where it is of another form.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_history_parse(
    answer: amochats_slice<'_>,
    page: Option<&mut MaybeUninit<*mut amochats_buffer>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let page = required(page, "page")?;
        let parsed = HistoryPage::from_json(answer.bytes("answer")?)?;
        let json = serde_json::to_vec(&parsed).expect("a page has text keys and finite numbers only");
        page.write(amochats_buffer::into_raw(json));
        Ok(())
    })
}
