//! From a forked process to a running image.

use std::arch::asm;
use std::convert::Infallible;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use arrayvec::ArrayVec;
use rustix::io::Errno;
use rustix::mm::MprotectFlags;
use rustix::process::{Pid, Signal, getpid, kill_process};
use seccompiler::apply_filter;
use solo5_abi::spt::{BOOT_INFO_BASE, STACK_OFFSET};

use super::Guest;
use super::traces::Traces;
use crate::launch::{self, Failure, Step, close_all_but, confine, exit};
use crate::memory::Memory;

/// Most instructions of a seccomp program: the kernel takes no more (BPF_MAXINSNS).
const MAX_FILTER: usize = 4_096;

impl launch::Guest for Guest {
    unsafe fn enter(&self, parent: Pid, report: &OwnedFd) -> Result<Infallible, Failure> {
        // SAFETY: as the caller promises.
        unsafe { prepare(self, parent, report.as_raw_fd()) }
    }
}

/// # Safety
/// As for [`launch::Guest::enter`]. It makes no allocation, which another thread of the parent's
/// could have left locked.
unsafe fn prepare(guest: &Guest, parent: Pid, report: RawFd) -> Result<Infallible, Failure> {
    confine(parent).map_err(|error| (Step::Confine, error))?;
    // SAFETY: nothing in this process uses the others any more: it never returns.
    unsafe { close_all_but(&guest.descriptors, Some(report)) }.map_err(|e| (Step::Close, e))?;
    let mut memory = Memory::map(guest.mem.bytes()).map_err(|error| (Step::Map, error))?;
    let load = |memory: &mut Memory| {
        memory.write(BOOT_INFO_BASE, &guest.boot)?;
        guest.image.segments().try_for_each(|(segment, bytes)| memory.write(segment.address, bytes))
    };
    load(&mut memory).map_err(|error| (Step::Load, error))?;
    let protections = guest.image.segments().map(|(segment, _)| {
        let flags = [
            (segment.readable, MprotectFlags::READ),
            (segment.writable, MprotectFlags::WRITE),
            (segment.executable, MprotectFlags::EXEC),
        ];
        let flags = flags.into_iter().filter_map(|(set, flag)| set.then_some(flag)).collect();
        (segment.pages.clone(), flags)
    });
    let _protected = memory.protect(protections).map_err(|error| (Step::Protect, error))?;
    let traces = Traces::find(guest.mem.bytes() as usize).map_err(|error| (Step::Forget, error))?;
    // What is still needed is here, on the stack.
    let (entry, stack) = (guest.image.entry(), guest.mem.bytes() - STACK_OFFSET);
    let mut filter = ArrayVec::<_, MAX_FILTER>::new();
    for instruction in &guest.filter {
        let pushed = filter.try_push(instruction.clone());
        pushed.map_err(|_| (Step::Filter, Errno::TOOBIG))?;
    }

    // SAFETY: `report` is not used any more but in the error path above, which is behind us.
    let closed = unsafe { close_all_but(&guest.descriptors, None) };
    // SAFETY: `guest` is not looked at any more; what is called below works on what is on the stack, and
    // allocates nothing. Control never comes back to whoever had something else.
    let forgotten = unsafe { traces.forget() };
    if closed.is_err() || forgotten.is_err() || apply_filter(&filter).is_err() {
        // Nobody can be told any more but by a signal: one that no image can send itself.
        let _ = kill_process(getpid(), Signal::ABORT);
        exit(1)
    }
    // SAFETY: memory is mapped up to `mem_size`, and the entry point lies in a segment of the
    // image that was loaded and made executable; this process has nothing else left to do.
    unsafe { jump(entry, stack) }
}

/// Starts the image: boot info in `rdi`, the stack at `stack`, everything else cleared.
///
/// # Safety
/// Code lies at `entry`, and writable memory below `stack`.
unsafe fn jump(entry: u64, stack: u64) -> ! {
    // SAFETY: as the caller promises; control never comes back, so it does not matter that no
    // register keeps what Rust had in it. r11 alone tells where the image begins, which it knows.
    unsafe {
        asm!(
            "mov rsp, rcx",
            "cld",
            "fninit",
            "mov dword ptr [rsp - 8], 0x1f80",
            "ldmxcsr [rsp - 8]",
            "mov dword ptr [rsp - 8], 0",
            "pxor xmm0, xmm0",
            "pxor xmm1, xmm1",
            "pxor xmm2, xmm2",
            "pxor xmm3, xmm3",
            "pxor xmm4, xmm4",
            "pxor xmm5, xmm5",
            "pxor xmm6, xmm6",
            "pxor xmm7, xmm7",
            "pxor xmm8, xmm8",
            "pxor xmm9, xmm9",
            "pxor xmm10, xmm10",
            "pxor xmm11, xmm11",
            "pxor xmm12, xmm12",
            "pxor xmm13, xmm13",
            "pxor xmm14, xmm14",
            "pxor xmm15, xmm15",
            "xor eax, eax",
            "xor ebx, ebx",
            "xor ecx, ecx",
            "xor edx, edx",
            "xor esi, esi",
            "xor ebp, ebp",
            "xor r8d, r8d",
            "xor r9d, r9d",
            "xor r10d, r10d",
            "xor r12d, r12d",
            "xor r13d, r13d",
            "xor r14d, r14d",
            "xor r15d, r15d",
            "jmp r11",
            in("r11") entry,
            in("rcx") stack,
            in("rdi") BOOT_INFO_BASE,
            options(noreturn),
        )
    }
}
