//! From a forked process to a running image.

use std::arch::asm;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::mm::MprotectFlags;
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, getpid, getppid, kill_process,
    set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::set_no_new_privs;
use solo5_abi::spt::{BOOT_INFO_BASE, CONSOLE, STACK_OFFSET};

use super::Guest;
use crate::memory::Memory;
use crate::supervisor::ENDING;

/// What a forked process does on its way to the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    Confine = 1,
    Close,
    Map,
    Load,
    Protect,
}

impl Step {
    const ALL: [Self; 5] = [Self::Confine, Self::Close, Self::Map, Self::Load, Self::Protect];
}

/// What [`enter`] wrote into its report, if it did.
pub(crate) fn read_report(report: &OwnedFd) -> Option<(Step, Errno)> {
    let mut message = [0; 5];
    let 5 = rustix::io::read(report, &mut message).ok()? else { return None };
    let [step, errno @ ..] = message;
    let step = Step::ALL.into_iter().find(|&known| known as u8 == step)?;
    Some((step, Errno::from_raw_os_error(i32::from_ne_bytes(errno))))
}

/// Becomes the image. What goes wrong before its first instruction is written to `report`: the
/// [`Step`], then the error's number.
///
/// # Safety
/// This process has just been forked, and its memory is its own: it shares none with its parent.
/// (It runs no destructor, and makes no allocation, which another thread could have left locked.)
pub(crate) unsafe fn enter(guest: &Guest, parent: Pid, report: &OwnedFd) -> ! {
    // SAFETY: as the caller promises.
    let Err((step, error)) = unsafe { prepare(guest, parent, report.as_raw_fd()) };
    let mut message = [0; 5];
    message[0] = step as u8;
    message[1..].copy_from_slice(&error.raw_os_error().to_ne_bytes());
    // If even that fails, the status alone must do.
    let _ = rustix::io::write(report, &message);
    exit(1)
}

/// # Safety
/// As for [`enter`]; `report` is an open descriptor.
unsafe fn prepare(
    guest: &Guest,
    parent: Pid,
    report: RawFd,
) -> Result<std::convert::Infallible, (Step, Errno)> {
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

    // SAFETY: `report` is not used any more but in the error path above, which is behind us.
    let closed = unsafe { close_all_but(&guest.descriptors, None) };
    if closed.is_err() || seccompiler::apply_filter(&guest.filter).is_err() {
        // Nobody can be told any more but by a signal: one that no image can send itself.
        let _ = kill_process(getpid(), Signal::ABORT);
        exit(1)
    }
    // SAFETY: memory is mapped up to `mem_size`, and the entry point lies in a segment of the
    // image that was loaded and made executable; this process has nothing else left to do.
    unsafe { jump(guest.image.entry(), guest.mem.bytes() - STACK_OFFSET) }
}

/// Ties this process to its parent's life, and takes from it what it could ever gain or reveal.
fn confine(parent: Pid) -> rustix::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(parent) {
        // It died before it could be said.
        return Err(Errno::SRCH);
    }
    set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // SAFETY: setting the execution domain touches no memory. With READ_IMPLIES_EXEC gone, memory
    // that is mapped from here on is executable only where that is asked for.
    let changed = unsafe {
        let persona = libc::personality(0xffff_ffff);
        persona >= 0
            && (persona & libc::READ_IMPLIES_EXEC == 0
                || libc::personality((persona & !libc::READ_IMPLIES_EXEC) as libc::c_ulong) >= 0)
    };
    if !changed {
        return Err(Errno::PERM);
    }
    // SAFETY: the default dispositions run no code of ours, and an empty mask is a valid one.
    // (SIGKILL, SIGSTOP and the C library's own two refuse, as they may.)
    unsafe {
        for signal in 1..=64 {
            let before = libc::signal(signal, libc::SIG_DFL);
            // nohup and the like are obeyed. (Rust itself ignores SIGPIPE: that is not meant.)
            if before == libc::SIG_IGN && ENDING.contains(&signal) {
                libc::signal(signal, libc::SIG_IGN);
            }
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
    Ok(())
}

/// Closes every descriptor but the console, `keep`, and `also`.
///
/// # Safety
/// Nothing uses the others any more.
unsafe fn close_all_but(keep: &[RawFd], also: Option<RawFd>) -> rustix::io::Result<()> {
    let mut first = 0;
    while first <= RawFd::MAX as u32 {
        let kept = keep.iter().copied().chain(also).chain([CONSOLE]).map(|fd| fd as u32);
        let next = kept.filter(|&fd| fd >= first).min().unwrap_or(1 << 31);
        if first < next {
            // SAFETY: as the caller promises.
            let closed = unsafe { libc::syscall(libc::SYS_close_range, first, next - 1, 0) };
            if closed != 0 {
                return Err(Errno::from_raw_os_error(last_errno()));
            }
        }
        first = next + 1;
    }
    Ok(())
}

fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
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

fn exit(status: i32) -> ! {
    // SAFETY: it ends this process without running anything of the parent's.
    unsafe { libc::_exit(status) }
}
