//! The spt target: the image is a process of its own behind seccomp.

mod launch;
mod seccomp;
mod traces;

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::event::epoll;
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
use seccompiler::BpfProgram;
use solo5_abi::spt::{BOOT_INFO_BASE, BootInfo, TIMER_EVENT};

use crate::boot;
use crate::config::Memory;
use crate::device::{Backing, Device};
use crate::error::Error;
use crate::image::Image;

// The largest boot info ends below the image.
const _: () = assert!(BOOT_INFO_BASE + boot::most::<BootInfo>() <= solo5_abi::GUEST_MIN_BASE);

/// An image with all that it needs, ready to be entered by a forked process.
#[derive(Debug)]
pub(crate) struct Guest {
    image: Image,
    mem: Memory,
    boot: Vec<u8>,
    filter: BpfProgram,
    /// What the image may have open besides the console.
    descriptors: Vec<RawFd>,
    _open: (OwnedFd, OwnedFd, Vec<Device>),
}

impl Guest {
    /// Puts together an image, its memory, its command line and its devices (one for each entry
    /// of its manifest).
    pub(crate) fn new(
        image: Image,
        mem: Memory,
        args: &[String],
        devices: Vec<Device>,
    ) -> Result<Self, Error> {
        let mem_size = mem.bytes();
        let least = image.least_memory();
        if mem_size < least {
            return Err(Error::MemoryTooSmall { mem, least: least.div_ceil(1 << 20) });
        }
        let cmdline = boot::cmdline(args).ok_or(Error::CommandLine)?;

        let system = |what| move |error| Error::System { what, source: error };
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )
        .map_err(system("create a timer"))?;
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system("create an epoll set"))?;
        let add = |fd: &OwnedFd, data| {
            epoll::add(&epoll, fd, epoll::EventData::new_u64(data), epoll::EventFlags::IN)
                .map_err(system("wait for a device"))
        };
        add(&timer, TIMER_EVENT)?;
        let mut entries = image.manifest().to_vec();
        for device in &devices {
            let descriptor = device.descriptor();
            match device.backing {
                Backing::Net { mac, mtu } => {
                    entries[device.index].attach_net(descriptor, mac.0, mtu);
                    add(&device.file, device.index as u64)?;
                }
                Backing::Block { capacity, block_size } => {
                    entries[device.index].attach_block(descriptor, capacity, block_size);
                }
            }
        }

        let (epoll_fd, timer_fd) = (epoll.as_raw_fd(), timer.as_raw_fd());
        let info = |boot::Addresses { manifest, cmdline }| BootInfo {
            mem_size,
            kernel_end: image.end(),
            cmdline,
            manifest,
            epoll: epoll_fd,
            timer: timer_fd,
        };
        let boot = boot::pages(BOOT_INFO_BASE, info, &entries, &cmdline);
        let filter = seccomp::filter(epoll_fd, timer_fd, &devices).map_err(Error::Filter)?;
        let mut descriptors: Vec<_> = devices.iter().map(Device::descriptor).collect();
        descriptors.extend([epoll_fd, timer_fd]);
        Ok(Self { image, mem, boot, filter, descriptors, _open: (epoll, timer, devices) })
    }
}
