//! The calls.

use core::arch::asm;
use core::ptr;

use solo5_abi::hvt::{Call, KICK_PORT, PORT};

/// Makes a call: the host reads its arguments, and writes its results among them.
///
/// # Safety
/// Where the arguments hold an address, the host may read or write there what the call says.
pub(super) unsafe fn call<C: Call>(arguments: &mut C) {
    // Memory ends at 4 GiB at the latest.
    let address = ptr::from_mut(arguments).expose_provenance() as u32;
    // SAFETY: The host reads and writes the arguments, which are borrowed meanwhile, and what the
    // caller promises.
    unsafe {
        asm!(
            "out dx, eax",
            in("dx") PORT + C::NUMBER,
            in("eax") address,
            options(nostack, preserves_flags),
        );
    }
}

/// Tells the host of entries in the ring.
pub(super) fn kick() {
    // SAFETY: It touches nothing: the host looks into the ring, as it may at any time.
    unsafe {
        asm!(
            "out dx, eax",
            in("dx") KICK_PORT,
            in("eax") 0,
            options(nostack, preserves_flags),
        );
    }
}
