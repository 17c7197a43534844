//! What the process of a guest may ask of the host's kernel once the guest runs. Everything else
//! ends it.

use std::os::fd::RawFd;

use rustix::io::Errno;
use seccompiler::apply_filter_all_threads;

use crate::device::{Backing, Device};
use crate::launch::CONSOLE;
use crate::seccomp::Condition::{self, IsInt};

/// `_IO(KVMIO, 0x80)`
const KVM_RUN: u32 = 0xae80;
/// `_IOR(KVMIO, 0x81, struct kvm_regs)`, for the message about what was refused.
const KVM_GET_REGS: u32 = 0x8090_ae81;

/// What the process has open besides the devices.
pub(crate) struct Descriptors {
    pub(crate) processor: RawFd,
    pub(crate) kick: RawFd,
    pub(crate) report: RawFd,
}

/// Confines all threads of this process.
pub(crate) fn apply(descriptors: &Descriptors, devices: &[Device]) -> Result<(), Errno> {
    let filter = crate::seccomp::filter(allowed(descriptors, devices));
    apply_filter_all_threads(&filter.map_err(|_| Errno::INVAL)?).map_err(|_| Errno::ACCESS)
}

/// The calls, each with the conditions of which all must hold.
fn allowed(descriptors: &Descriptors, devices: &[Device]) -> Vec<(i64, Vec<Condition>)> {
    let on = |descriptor: RawFd| IsInt(0, descriptor as u32);
    let processor = on(descriptors.processor);
    let mut allowed = vec![
        (libc::SYS_ioctl, vec![processor, IsInt(1, KVM_RUN)]),
        (libc::SYS_ioctl, vec![processor, IsInt(1, KVM_GET_REGS)]),
        (libc::SYS_read, vec![on(descriptors.kick)]),
        // The ring's thread is woken so at the end.
        (libc::SYS_write, vec![on(descriptors.kick)]),
        (libc::SYS_write, vec![on(descriptors.report)]),
        (libc::SYS_write, vec![on(CONSOLE)]),
        // It waits for the devices, which are all that it can name.
        (libc::SYS_ppoll, vec![]),
        // Asked of the kernel where the clock cannot be read from here.
        (libc::SYS_clock_gettime, vec![IsInt(0, libc::CLOCK_REALTIME as u32)]),
        // What stopping and continuing it makes of a wait.
        (libc::SYS_restart_syscall, vec![]),
        (libc::SYS_exit_group, vec![]),
    ];
    for device in devices {
        let calls = match device.backing {
            Backing::Net { .. } => [libc::SYS_read, libc::SYS_write],
            Backing::Block { .. } => [libc::SYS_pread64, libc::SYS_pwrite64],
        };
        allowed.extend(calls.map(|call| (call, vec![on(device.descriptor())])));
    }
    allowed
}
