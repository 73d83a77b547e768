//! Text and bytes on their way between C and Rust.

use crate::boundary::value;
use amochats_core::{Error, ErrorKind, Result};
use std::ffi::{CStr, c_char};
use std::marker::PhantomData;

/// Bytes or UTF-8 text, not terminated by a NUL.
///
/// As an argument it is read during the call alone; data may be NULL only if len is 0. As a return
/// value it belongs to the object it was asked of and ends with it; a data of NULL means that
/// there is nothing, as opposed to something empty.
///
/// To print it: printf("%.*s", (int)slice.len, slice.data).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct amochats_slice<'a> {
    /// Where it begins.
    data: *const c_char,
    /// Its length in bytes.
    len: usize,
    /// A value of this type is readable for `'a`; for those that C passes, C answers.
    borrowed: PhantomData<&'a [u8]>,
}

/// Returns the slice of a NUL-terminated text, without its NUL; of NULL the one with nothing.
/// It borrows the text.
///
/// # Safety
/// The text must be NULL or end with a NUL, and outlive the slice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amochats_slice_of<'a>(text: *const c_char) -> amochats_slice<'a> {
    value(amochats_slice::ABSENT, || {
        if text.is_null() {
            return amochats_slice::ABSENT;
        }
        // SAFETY: the caller answers for the NUL and for the lifetime.
        unsafe { CStr::from_ptr(text) }.to_bytes().into()
    })
}

impl<'a> amochats_slice<'a> {
    /// Nothing.
    pub(crate) const ABSENT: Self = Self { data: std::ptr::null(), len: 0, borrowed: PhantomData };

    /// Whether there is something, be it empty.
    pub(crate) fn is_present(self) -> bool {
        !self.data.is_null()
    }

    /// The bytes of the argument `name`.
    pub(crate) fn bytes(self, name: &str) -> Result<&'a [u8]> {
        if self.len == 0 {
            return Ok(&[]);
        }
        if self.data.is_null() {
            let said = format!("{name}: data is NULL but len is {}", self.len);
            return Err(Error::new(ErrorKind::NullPointer, said).with_field(name));
        }
        if isize::try_from(self.len).is_err() {
            return Err(Error::invalid(name, "has an impossible len"));
        }
        // SAFETY: that the bytes are readable for `'a` is what this type says.
        Ok(unsafe { std::slice::from_raw_parts(self.data.cast(), self.len) })
    }

    /// The text of the argument `name`.
    pub(crate) fn text(self, name: &str) -> Result<&'a str> {
        std::str::from_utf8(self.bytes(name)?).map_err(|error| {
            let said = format!("{name}: is not UTF-8 from byte {} on", error.valid_up_to());
            Error::new(ErrorKind::InvalidUtf8, said).with_field(name)
        })
    }
}

impl<'a> From<&'a [u8]> for amochats_slice<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        // Rust's empty slices may point nowhere; C shall be able to look at any data that is there.
        let bytes = if bytes.is_empty() { c"".to_bytes() } else { bytes };
        Self { data: bytes.as_ptr().cast(), len: bytes.len(), borrowed: PhantomData }
    }
}

impl<'a> From<&'a str> for amochats_slice<'a> {
    fn from(text: &'a str) -> Self {
        text.as_bytes().into()
    }
}

impl<'a, T: AsRef<str> + ?Sized> From<Option<&'a T>> for amochats_slice<'a> {
    fn from(text: Option<&'a T>) -> Self {
        text.map_or(Self::ABSENT, |text| text.as_ref().into())
    }
}

/// The numbers of the argument `name`; NULL is none.
///
/// # Safety
/// `numbers` must be NULL or point to `count` numbers.
#[cfg(feature = "runtime")]
pub(crate) unsafe fn integers(numbers: *const i64, count: usize, name: &str) -> Result<Vec<i64>> {
    if numbers.is_null() {
        return Ok(Vec::new());
    }
    if !numbers.is_aligned() || count > isize::MAX.unsigned_abs() / size_of::<i64>() {
        return Err(Error::invalid(name, "must point to as many numbers as count says"));
    }
    // SAFETY: as many can be read, the caller says.
    Ok(unsafe { std::slice::from_raw_parts(numbers, count) }.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_empty_differ() {
        assert!(!amochats_slice::ABSENT.is_present());
        assert!(amochats_slice::from("").is_present());
        for slice in [amochats_slice::ABSENT, amochats_slice::from("")] {
            assert_eq!(slice.text("body").expect("empty"), "");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let data = c"abc".as_ptr();
        let slice = |data, len| amochats_slice { data, len, borrowed: PhantomData };
        for (slice, kind) in [
            (slice(std::ptr::null(), 1), ErrorKind::NullPointer),
            (slice(data, usize::MAX), ErrorKind::InvalidArgument),
            (amochats_slice::from(&b"ab\xff"[..]), ErrorKind::InvalidUtf8),
        ] {
            let error = slice.text("path").expect_err("refused");
            assert_eq!((error.kind(), error.field()), (kind, Some("path")), "{error}");
        }
        assert_eq!(slice(data, 3).text("path").expect("text"), "abc");
    }
}
