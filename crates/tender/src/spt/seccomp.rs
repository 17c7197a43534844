//! What an spt image may ask of the host's kernel. Everything else ends it.

use seccompiler::{BackendError, BpfProgram};
use solo5_abi::spt::{ARCH_SET_FS, CONSOLE, call};

use crate::device::{Backing, Device};
use crate::seccomp::Condition::{self, AtMost, Is};

/// Compiles the filter for an image with these devices.
pub(crate) fn filter(
    epoll: i32,
    timer: i32,
    devices: &[Device],
) -> Result<BpfProgram, BackendError> {
    let allowed = allowed(epoll, timer, devices).into_iter();
    crate::seccomp::filter(allowed.map(|(call, conditions)| (call as i64, conditions)).collect())
}

/// The calls an image may make, each with the conditions of which all must hold. This is the whole
/// list, and it is Solo5's, which looks at all 64 bits: an image that runs there runs here, and the
/// other way round.
fn allowed(epoll: i32, timer: i32, devices: &[Device]) -> Vec<(u64, Vec<Condition>)> {
    let descriptor = |descriptor: i32| Is(0, descriptor as u64);
    let mut allowed = vec![
        (call::EXIT_GROUP, vec![]),
        (call::WRITE, vec![descriptor(CONSOLE)]),
        // Its other arguments are free: they hold only the image's own memory, a timeout, and a
        // signal mask, which cannot stop the SIGKILL that ends an image.
        (call::EPOLL_PWAIT, vec![descriptor(epoll)]),
        (call::TIMERFD_SETTIME, vec![descriptor(timer)]),
        (call::CLOCK_GETTIME, vec![Is(0, libc::CLOCK_REALTIME as u64)]),
        (call::CLOCK_GETTIME, vec![Is(0, libc::CLOCK_MONOTONIC as u64)]),
        // Thread-local storage; without the FSGSBASE instructions only the kernel can set it.
        (call::ARCH_PRCTL, vec![Is(0, ARCH_SET_FS)]),
    ];
    for device in devices {
        let descriptor = descriptor(device.descriptor());
        match device.backing {
            Backing::Net { .. } => {
                allowed.push((call::READ, vec![descriptor]));
                allowed.push((call::WRITE, vec![descriptor]));
            }
            // One whole block, that ends within the capacity: else a file could be made to grow.
            Backing::Block { capacity, block_size } => {
                let size = Is(2, u64::from(block_size));
                let within = AtMost(3, capacity.saturating_sub(u64::from(block_size)));
                allowed.push((call::PREAD64, vec![descriptor, size, within]));
                allowed.push((call::PWRITE64, vec![descriptor, size, within]));
            }
        }
    }
    allowed
}
