//! From a forked process to a running guest.

use std::convert::Infallible;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread;

use rustix::event::poll;
use rustix::io::Errno;
use rustix::process::Pid;
use solo5_abi::EXIT_ABORT;
use solo5_abi::hvt::{BootInfo, FEATURE_RING, GDT_BASE};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EventFd};

use super::calls::Calls;
use super::memory::Memory;
use super::page_tables::{self, Access};
use super::processor::{GDT, Machine};
use super::refusal::{Fault, Refusal};
use super::ring::{Ended, Ring};
use super::{BOOT_INFO_BASE, Guest, seccomp};
use crate::boot;
use crate::image::{PAGE, Segment};
use crate::launch::{self, Failure, Step, close_all_but, confine, exit};

impl launch::Guest for Guest {
    // It allocates, and starts a thread. The C library sees to it that both can be done in a
    // forked process, whatever other threads of the parent were about.
    unsafe fn enter(&self, parent: Pid, report: &OwnedFd) -> Result<Infallible, Failure> {
        confine(parent).map_err(|error| (Step::Confine, error))?;
        let mut kept: Vec<_> = self.devices.iter().map(|device| device.descriptor()).collect();
        kept.push(self.kvm.as_raw_fd());
        // SAFETY: nothing in this process uses the others any more: it never returns.
        unsafe { close_all_but(&kept, Some(report.as_raw_fd())) }
            .map_err(|error| (Step::Close, error))?;

        let memory = Memory::map(self.size).map_err(|error| (Step::Map, error))?;
        let memory: &'static Memory = Box::leak(Box::new(memory));
        let mut machine =
            Machine::new(&self.kvm, memory).map_err(|error| (Step::Machine, error))?;
        let kick = EventFd::new(EFD_CLOEXEC).map_err(|error| {
            (Step::Machine, Errno::from_io_error(&error).unwrap_or(Errno::MFILE))
        })?;
        if self.ring.is_some() {
            machine.tell_kicks(&kick).map_err(|error| (Step::Machine, error))?;
        }
        self.load(&machine, memory).map_err(|error| (Step::Load, error))?;

        let (started, ended) = (AtomicBool::new(false), Ended::new());
        thread::scope(|scope| {
            if let Some(base) = self.ring {
                let (devices, counters) = (&self.devices, &self.counters);
                let (kick, started, ended) = (&kick, &started, &ended);
                scope.spawn(move || {
                    started.store(true, Release);
                    let ring = Ring::new(memory, base, devices, kick, ended, counters);
                    end(
                        report,
                        ring.ok_or(Refusal::in_ring(Fault::Memory(base))).and_then(Ring::run),
                    )
                });
                // What a thread does to begin is not allowed any more after.
                while !started.load(Acquire) {
                    thread::yield_now();
                }
            }
            let mut calls = Calls::new(memory, &self.devices);
            let descriptors = seccomp::Descriptors {
                processor: machine.processor().as_raw_fd(),
                kick: kick.as_raw_fd(),
                report: report.as_raw_fd(),
            };
            if let Err(error) = seccomp::apply(&descriptors, &self.devices) {
                // The ring's thread would be waited for, for ever.
                launch::fail(report, (Step::Filter, error))
            }
            match machine.run(&mut calls) {
                Ok(status) if self.ring.is_some() => {
                    // What is in the ring is still sent: its thread ends the process.
                    let _ = ended.set(status);
                    let _ = kick.write(1);
                    loop {
                        let _ = poll(&mut [], None);
                    }
                }
                ended => end(report, ended),
            }
        })
    }
}

/// Ends this process, as the guest has ended, or did what it may not.
fn end(report: &OwnedFd, ended: Result<i32, Refusal>) -> ! {
    exit(ended.unwrap_or_else(|refusal| {
        // If that fails, the status alone must do.
        let _ = rustix::io::write(report, &refusal.to_bytes());
        EXIT_ABORT
    }))
}

impl Guest {
    /// Puts everything in its place.
    fn load(&self, machine: &Machine, memory: &Memory) -> Result<(), Errno> {
        let cpu_cycle_freq = machine.frequency()?;
        // What is above is the ring's.
        let mem_size = self.ring.unwrap_or(self.size);
        let info = |boot::Addresses { manifest, cmdline }| BootInfo {
            mem_size,
            kernel_end: self.image.end(),
            cpu_cycle_freq,
            cmdline,
            manifest,
            host_features: if self.ring.is_some() { FEATURE_RING } else { 0 },
            guest_features: 0,
            net_ring: self.ring.unwrap_or(0),
        };
        let boot = boot::pages(BOOT_INFO_BASE, info, &self.entries, &self.cmdline);
        memory.write(GDT_BASE, GDT.map(u64::to_le_bytes).as_flattened())?;
        memory.write(BOOT_INFO_BASE, &boot)?;
        for (segment, bytes) in self.image.segments() {
            memory.write(segment.address, bytes)?;
        }
        let boot_end = (BOOT_INFO_BASE + boot.len() as u64).next_multiple_of(PAGE);
        let mut pages = vec![(BOOT_INFO_BASE..boot_end, Access::ReadOnly)];
        pages.extend(self.image.segments().map(|(it, _)| (it.pages.clone(), access(it))));
        for (address, table) in page_tables::build(self.size, &pages) {
            memory.write(address, &table)?;
        }
        machine.set_up(self.image.entry(), mem_size, BOOT_INFO_BASE)
    }
}

/// A processor can read whatever it can execute or write.
fn access(segment: &Segment) -> Access {
    match (segment.writable, segment.executable) {
        (true, _) => Access::Write,
        (false, true) => Access::Execute,
        (false, false) => Access::ReadOnly,
    }
}
