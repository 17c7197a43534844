//! From a platform's entry to `main`, and out again.

use core::panic::PanicInfo;

use solo5_abi::{EXIT_ABORT, INTERPRETER};

use super::{arguments, memory, net};
use crate::console;
use crate::platform::exit;

#[used]
#[unsafe(link_section = ".interp")]
static INTERP: [u8; 20] = *INTERPRETER;

unsafe extern "Rust" {
    /// Made by `#[mkernel::main]`.
    safe fn __mkernel_main() -> u8;
}

/// What the boot info of every tender says. All are addresses.
pub(crate) struct Boot {
    /// The first one behind the image.
    pub(crate) kernel_end: u64,
    /// The end of memory.
    pub(crate) mem_size: u64,
    /// The command line's.
    pub(crate) cmdline: u64,
    /// The manifest's.
    pub(crate) manifest: u64,
}

/// Runs `main`, and ends the image with its status.
///
/// # Safety
/// `boot` is what the tender says, and this is called once, before all that allocates.
pub(crate) unsafe fn start(boot: &Boot) -> ! {
    // SAFETY: The addresses are the tender's, and this is the only call of each, before all else.
    unsafe {
        memory::init(boot.kernel_end, boot.mem_size);
        arguments::init(boot.cmdline);
        net::init(boot.manifest);
    }
    exit(i32::from(__mkernel_main()))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    console::print(format_args!("{info}"));
    exit(EXIT_ABORT)
}
