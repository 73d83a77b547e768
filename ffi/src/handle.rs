//! Objects that live longer than a call: channels, consumers, deliveries.
//!
//! Each begins with the mark of its kind, so that an object of another kind, and as a rule one that
//! was freed, is refused with a sentence. That a freed one is noticed cannot be promised: its memory
//! may belong to something else by then.

use amochats_core::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicU64, Ordering};

/// What stands behind a pointer of C.
#[repr(C)]
pub(crate) struct Handle<T> {
    mark: AtomicU64,
    object: T,
}

/// A kind of object.
pub(crate) trait Kind: Sized {
    /// What C knows it as.
    type C;
    /// Its name in sentences.
    const NAME: &'static str;
    /// Unlike that of any other kind, and unlike what memory often holds.
    const MARK: u64;
}

const FREED: u64 = 0x616d_6f2d_6465_6164;

/// Gives an object to C.
pub(crate) fn into_raw<T: Kind>(object: T) -> *mut T::C {
    Box::into_raw(Box::new(Handle { mark: AtomicU64::new(T::MARK), object })).cast()
}

/// The object behind a pointer, the argument `name`.
pub(crate) fn get<'a, T: Kind>(pointer: *const T::C, name: &str) -> Result<&'a T> {
    let handle = checked::<T>(pointer, name)?;
    // SAFETY: the mark is there, so `into_raw` made it; that it lives during the call is C's promise.
    Ok(unsafe { &(*handle).object })
}

/// Takes an object back, to be freed; `None` for NULL.
pub(crate) fn take<T: Kind>(pointer: *mut T::C, name: &str) -> Result<Option<Box<Handle<T>>>> {
    if pointer.is_null() {
        return Ok(None);
    }
    let handle = checked::<T>(pointer, name)?.cast_mut();
    // SAFETY: as in `get`; the mark is atomic because two threads may free one object by mistake.
    let mark = unsafe { &(*handle).mark };
    if mark.compare_exchange(T::MARK, FREED, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return Err(misuse::<T>(name));
    }
    // SAFETY: `into_raw` made it of a box, and nobody else gets here.
    Ok(Some(unsafe { Box::from_raw(handle) }))
}

impl<T> Handle<T> {
    pub(crate) fn object(&self) -> &T {
        &self.object
    }
}

fn checked<T: Kind>(pointer: *const T::C, name: &str) -> Result<*const Handle<T>> {
    let handle = pointer.cast::<Handle<T>>();
    if handle.is_null() {
        return Err(Error::new(ErrorKind::NullPointer, format!("{name}: is NULL")).with_field(name));
    }
    if !handle.is_aligned() {
        return Err(misuse::<T>(name));
    }
    // SAFETY: C promises a pointer of this library's; whatever the kind, it begins with a mark.
    let mark = unsafe { (*handle.cast::<AtomicU64>()).load(Ordering::Relaxed) };
    if mark == T::MARK { Ok(handle) } else { Err(misuse::<T>(name)) }
}

fn misuse<T: Kind>(name: &str) -> Error {
    let said = format!("{name}: is no {}: it was freed before, or is another object", T::NAME);
    Error::new(ErrorKind::Misuse, said).with_field(name)
}
