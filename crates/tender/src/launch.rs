//! A forked process on its way to becoming an image.

use std::convert::Infallible;
use std::os::fd::{OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, getppid, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::set_no_new_privs;

use crate::supervisor::ENDING;

/// Descriptor of the console.
pub(crate) const CONSOLE: RawFd = 1;

/// What a forked process does on its way to the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    Confine = 1,
    Close,
    Map,
    Load,
    Protect,
    Machine,
    Forget,
    Filter,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Confine,
        Self::Close,
        Self::Map,
        Self::Load,
        Self::Protect,
        Self::Machine,
        Self::Forget,
        Self::Filter,
    ];
}

/// Why an image was not started: what failed, and how.
pub(crate) type Failure = (Step, Errno);

/// An image with all that it needs, which a forked process can become.
pub(crate) trait Guest {
    /// Becomes the image, or says why not. `report` is where the process says it.
    ///
    /// # Safety
    /// This process has just been forked, and its memory is its own: it shares none with its
    /// parent. It ends itself, and runs no destructor of the parent's.
    unsafe fn enter(&self, parent: Pid, report: &OwnedFd) -> Result<Infallible, Failure>;
}

/// Becomes the image. What goes wrong before its first instruction is written to `report`.
///
/// # Safety
/// As for [`Guest::enter`].
pub(crate) unsafe fn enter(guest: &impl Guest, parent: Pid, report: &OwnedFd) -> ! {
    // SAFETY: as the caller promises.
    let Err(failure) = unsafe { guest.enter(parent, report) };
    fail(report, failure)
}

/// Ends this process, which has not become an image.
pub(crate) fn fail(report: &OwnedFd, (step, error): Failure) -> ! {
    let mut message = [0; 5];
    message[0] = step as u8;
    message[1..].copy_from_slice(&error.raw_os_error().to_ne_bytes());
    // If even that fails, the status alone must do.
    let _ = rustix::io::write(report, &message);
    exit(1)
}

/// What a process said of why it did not become an image, if it did not.
pub(crate) fn failure(report: &[u8]) -> Option<Failure> {
    let (&step, errno) = report.split_first()?;
    let errno = i32::from_ne_bytes(errno.try_into().ok()?);
    let step = Step::ALL.into_iter().find(|&known| known as u8 == step)?;
    Some((step, Errno::from_raw_os_error(errno)))
}

/// Ties this process to its parent's life, and takes from it what it could ever gain or reveal.
pub(crate) fn confine(parent: Pid) -> rustix::io::Result<()> {
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
pub(crate) unsafe fn close_all_but(keep: &[RawFd], also: Option<RawFd>) -> rustix::io::Result<()> {
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

pub(crate) fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Ends this process at once.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: it ends this process without running anything of the parent's.
    unsafe { libc::_exit(status) }
}
