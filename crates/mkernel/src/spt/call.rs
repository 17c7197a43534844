//! The system calls.

use core::arch::asm;

/// Makes a system call of up to five arguments; absent ones are 0. The result is negative for an
/// error.
///
/// # Safety
/// Whatever the call does with its arguments must be sound: it reads and writes memory only where
/// the caller may let it.
pub(super) unsafe fn call<const N: usize>(number: u64, arguments: [u64; N]) -> i64 {
    const { assert!(N <= 5) };
    let argument = |i: usize| arguments.get(i).copied().unwrap_or(0);
    let result;
    // SAFETY: The kernel preserves all registers but rax, rcx and r11. What it does to memory is
    // the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") argument(0),
            in("rsi") argument(1),
            in("rdx") argument(2),
            in("r10") argument(3),
            in("r8") argument(4),
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
