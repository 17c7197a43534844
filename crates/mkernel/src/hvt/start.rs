//! From the tender's jump into the image, and out again.

use solo5_abi::hvt::{self, BootInfo, Halt};
use solo5_abi::{AbiNote, EXIT_FAILURE, Target};

use super::call::call;
use super::{clock, exception, ring};
use crate::console;
use crate::solo5::start::{Boot, start};

#[used]
#[unsafe(link_section = ".note.solo5.abi")]
static ABI: AbiNote = AbiNote::new(Target::Hvt, hvt::ABI_VERSION);

/// Where the tender enters the image, on a stack at the end of memory.
///
/// # Safety
/// Only the tender calls this, once, with the address of its boot info.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text._start")]
unsafe extern "C" fn _start(boot_info: *const BootInfo) -> ! {
    // SAFETY: Solo5's ABI: the argument is the address of a boot info, which stays as it is.
    let boot_info: &'static BootInfo = unsafe { &*boot_info };
    // SAFETY: Nothing has been done yet, and this is the only call.
    unsafe { exception::init() };
    let &BootInfo { kernel_end, mem_size, cmdline, manifest, cpu_cycle_freq, .. } = boot_info;
    if cpu_cycle_freq == 0 {
        console::print(format_args!("the tender does not know how fast the processor's clock is"));
        exit(EXIT_FAILURE);
    }
    clock::init(cpu_cycle_freq);
    ring::init(boot_info);
    // SAFETY: That is what the tender says, and this is the only call.
    unsafe { start(&Boot { kernel_end, mem_size, cmdline, manifest }) }
}

/// Ends the image.
pub(crate) fn exit(status: i32) -> ! {
    loop {
        let mut halt = Halt { status, ..Halt::default() };
        // SAFETY: It holds no address, and does not return.
        unsafe { call(&mut halt) };
    }
}
