//! The version of the library, as opposed to that of the header.

use std::ffi::{CStr, c_char};

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version holds no NUL"),
};

/// Returns the version of the library, such as "0.1.0". The text is static. AMOCHATS_VERSION_MAJOR
/// and its siblings are the version of the header.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_version() -> *const c_char {
    VERSION.as_ptr()
}
