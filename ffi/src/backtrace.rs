//! Leaves the readers of backtraces out of the library without the channel.
//!
//! When anything panics, std may print a backtrace, for which it reads the program's debug information:
//! 222 KB, two thirds of all the rest of a library that signs, verifies and parses. All of it hangs on the function
//! that std passes to `_Unwind_Backtrace`. With one of our own that never calls it, the optimisation at link
//! time finds that it is unused. A panic prints its message then, and no frames; that it is caught goes
//! through other functions of the unwinder, which are untouched.
//!
//! Nobody else may get it in place of the real one: it is hidden in the shared library, and
//! `packaging/c/install.sh` leaves only `amochats_*` visible in the static one.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`.
const END_OF_STACK: c_int = 5;

std::arch::global_asm!(".hidden _Unwind_Backtrace");

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(
    _frame: Option<unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int>,
    _argument: *mut c_void,
) -> c_int {
    END_OF_STACK
}
