//! The command line.

use core::cell::Cell;
use core::ffi::CStr;

use solo5_abi::EXIT_FAILURE;

use super::local::local;
use crate::console;
use crate::platform::exit;

local! {
    static CMDLINE: Cell<&'static str> = Cell::new("");
}

/// Takes the command line that lies at `address`. One that is not UTF-8 ends the image.
///
/// # Safety
/// The address is that of the tender's boot info.
pub(super) unsafe fn init(address: u64) {
    // SAFETY: Solo5's ABI: a string with a terminating zero, which stays as it is.
    let cmdline: &'static CStr = unsafe { CStr::from_ptr(address as *const _) };
    match cmdline.to_str() {
        Ok(cmdline) => CMDLINE.with(|cell| cell.set(cmdline)),
        Err(_) => {
            console::print(format_args!("the arguments are not UTF-8"));
            exit(EXIT_FAILURE)
        }
    }
}

/// The arguments: the tender joins them with spaces.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    CMDLINE.with(Cell::get).split_ascii_whitespace()
}
