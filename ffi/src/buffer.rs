//! Bytes that the library made for the caller.

use crate::boundary::value;
use crate::slice::amochats_slice;

/// Bytes made by a call, freed by the caller with amochats_buffer_free(). Never changes: any
/// thread may read it.
pub struct amochats_buffer(Vec<u8>);

impl amochats_buffer {
    pub(crate) fn into_raw(bytes: Vec<u8>) -> *mut Self {
        Box::into_raw(Box::new(Self(bytes)))
    }
}

/// Returns the bytes, which end with the buffer; nothing for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_buffer_slice(buffer: Option<&amochats_buffer>) -> amochats_slice<'_> {
    value(amochats_slice::ABSENT, || {
        buffer.map_or(amochats_slice::ABSENT, |buffer| buffer.0.as_slice().into())
    })
}

/// Frees a buffer; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_buffer_free(buffer: Option<Box<amochats_buffer>>) {
    value((), || drop(buffer));
}
