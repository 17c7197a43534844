//! What the process of a guest may ask of the host's kernel once the guest runs. Everything else
//! ends it.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use rustix::io::Errno;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

use crate::device::{Backing, Device};
use crate::launch::CONSOLE;

/// `_IO(KVMIO, 0x80)`
const KVM_RUN: u64 = 0xae80;
/// `_IOR(KVMIO, 0x81, struct kvm_regs)`, for the message about what was refused.
const KVM_GET_REGS: u64 = 0x8090_ae81;

/// What the process has open besides the devices.
pub(crate) struct Descriptors {
    pub(crate) processor: RawFd,
    pub(crate) kick: RawFd,
    pub(crate) report: RawFd,
}

/// Confines all threads of this process.
pub(crate) fn apply(descriptors: &Descriptors, devices: &[Device]) -> Result<(), Errno> {
    let filter = filter(descriptors, devices).map_err(|_| Errno::INVAL)?;
    apply_filter_all_threads(&filter).map_err(|_| Errno::ACCESS)
}

fn filter(descriptors: &Descriptors, devices: &[Device]) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (call, arguments) in allowed(descriptors, devices) {
        let chain = rules.entry(call).or_default();
        if !arguments.is_empty() {
            let conditions: Result<Vec<_>, _> = arguments.into_iter().map(is).collect();
            chain.push(SeccompRule::new(conditions?)?);
        }
    }
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, TargetArch::x86_64)?
        .try_into()
}

fn is((argument, value): (u8, u64)) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

/// The calls, each with arguments that must be so.
fn allowed(descriptors: &Descriptors, devices: &[Device]) -> Vec<(i64, Vec<(u8, u64)>)> {
    let on = |descriptor: RawFd| (0, descriptor as u64);
    let processor = on(descriptors.processor);
    let mut allowed = vec![
        (libc::SYS_ioctl, vec![processor, (1, KVM_RUN)]),
        (libc::SYS_ioctl, vec![processor, (1, KVM_GET_REGS)]),
        (libc::SYS_read, vec![on(descriptors.kick)]),
        (libc::SYS_write, vec![on(descriptors.report)]),
        (libc::SYS_write, vec![on(CONSOLE)]),
        // It waits for the devices, which are all that it can name.
        (libc::SYS_ppoll, vec![]),
        // Asked of the kernel where the clock cannot be read from here.
        (libc::SYS_clock_gettime, vec![(0, libc::CLOCK_REALTIME as u64)]),
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
