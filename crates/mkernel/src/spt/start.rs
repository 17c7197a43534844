//! From the tender's jump into the image, and out again.

use solo5_abi::spt::{self, BootInfo, call};
use solo5_abi::{AbiNote, Target};

use super::call::call;
use super::wait;
use crate::solo5::start::{Boot, start};

#[used]
#[unsafe(link_section = ".note.solo5.abi")]
static ABI: AbiNote = AbiNote::new(Target::Spt, spt::ABI_VERSION);

/// Where the tender enters the image, on a stack at the end of memory.
///
/// # Safety
/// Only the tender calls this, once, with the address of its boot info.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text._start")]
unsafe extern "C" fn _start(boot_info: *const BootInfo) -> ! {
    // SAFETY: Solo5's ABI: the argument is the address of a boot info, which stays as it is.
    let boot_info: &'static BootInfo = unsafe { &*boot_info };
    wait::init(boot_info);
    let &BootInfo { kernel_end, mem_size, cmdline, manifest, .. } = boot_info;
    // SAFETY: That is what the tender says, and this is the only call.
    unsafe { start(&Boot { kernel_end, mem_size, cmdline, manifest }) }
}

/// Ends the image.
pub(crate) fn exit(status: i32) -> ! {
    loop {
        // SAFETY: exit_group touches no memory, and does not return.
        unsafe { call(call::EXIT_GROUP, [status as u64]) };
    }
}
