//! No backtraces in the small build.
//!
//! What reads debug information, to put names to the frames of a panic, would be a fifth of it. The walk
//! over the stack finds no frame here, so that the linker sees that nothing is ever named. A panic still
//! becomes an exception, and says where it was.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK` of the Itanium ABI.
const END_OF_STACK: c_int = 5;

// Other libraries of the process go on with their own.
std::arch::global_asm!(".hidden _Unwind_Backtrace");

// SAFETY: it stands in for the unwinder's function of the same name, for this library alone, and to have
// called `trace` for no frame is one of the things which that may do.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_trace: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}
