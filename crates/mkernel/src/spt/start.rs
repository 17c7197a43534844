//! From the tender's jump to `main`, and out again.

use core::panic::PanicInfo;

use solo5_abi::spt::{self, BootInfo, call};
use solo5_abi::{AbiNote, EXIT_ABORT, INTERPRETER, Target};

use super::call::call;
use super::{arguments, memory, net, wait};
use crate::console;

#[used]
#[unsafe(link_section = ".note.solo5.abi")]
static ABI: AbiNote = AbiNote::new(Target::Spt, spt::ABI_VERSION);

#[used]
#[unsafe(link_section = ".interp")]
static INTERP: [u8; 20] = *INTERPRETER;

unsafe extern "Rust" {
    /// Made by `#[mkernel::main]`.
    safe fn __mkernel_main() -> u8;
}

/// Where the tender enters the image, on a stack at the end of memory.
///
/// # Safety
/// Only the tender calls this, once, with the address of its boot info.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text._start")]
unsafe extern "C" fn _start(boot_info: *const BootInfo) -> ! {
    // SAFETY: Solo5's ABI: the argument is the address of a boot info, which stays as it is.
    let boot_info: &'static BootInfo = unsafe { &*boot_info };
    // SAFETY: The boot info is the tender's, and this is the only call of each, before all else.
    unsafe {
        memory::init(boot_info);
        arguments::init(boot_info);
        net::init(boot_info);
    }
    wait::init(boot_info);
    exit(i32::from(__mkernel_main()))
}

/// Ends the image.
pub(crate) fn exit(status: i32) -> ! {
    loop {
        // SAFETY: exit_group touches no memory, and does not return.
        unsafe { call(call::EXIT_GROUP, [status as u64]) };
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    console::print(format_args!("{info}"));
    exit(EXIT_ABORT)
}
