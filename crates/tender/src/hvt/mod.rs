//! The hvt target: the image is a guest of KVM, in a process of its own behind seccomp.

mod calls;
mod counters;
mod frames;
mod launch;
mod memory;
mod page_tables;
mod processor;
mod refusal;
mod ring;
mod seccomp;

use kvm_ioctls::Kvm;
use solo5_abi::hvt::{BootInfo, MAX_MEMORY, MEMORY_UNIT};
use solo5_abi::{Entry, GUEST_MIN_BASE};

use crate::boot;
use crate::config::Config;
use crate::device::{Backing, Device};
use crate::error::{Error, KvmError};
use crate::image::Image;

pub use counters::RingUse;
pub use refusal::{Fault, Refusal};

use counters::Counters;

/// Where the boot info lies: what is below is the tender's own, and the guest cannot see it.
const BOOT_INFO_BASE: u64 = 0x1_0000;
// Below the page tables of a large image, which are below the image.
const _: () = assert!(BOOT_INFO_BASE + boot::most::<BootInfo>() <= page_tables::MORE_BASE);
const _: () = assert!(page_tables::MORE_BASE < GUEST_MIN_BASE);

/// The version of KVM's API that there is, and will be.
const KVM_API_VERSION: i32 = 12;

/// An image with all that it needs, ready to be entered by a forked process.
#[derive(Debug)]
pub(crate) struct Guest {
    image: Image,
    /// All memory in bytes, the ring included.
    size: u64,
    /// Address of the ring.
    ring: Option<u64>,
    entries: Vec<Entry>,
    cmdline: Vec<u8>,
    devices: Vec<Device>,
    kvm: Kvm,
    counters: Counters,
}

impl Guest {
    /// Puts together an image and its devices (one for each entry of its manifest).
    pub(crate) fn new(image: Image, config: &Config, devices: Vec<Device>) -> Result<Self, Error> {
        let mem = config.mem;
        if mem.bytes() > MAX_MEMORY {
            return Err(Error::MemoryTooLarge { mem, why: "an hvt image has at most 4096" });
        }
        let size = mem.bytes() & !(MEMORY_UNIT - 1);
        let has_network =
            devices.iter().any(|device| matches!(device.backing, Backing::Net { .. }));
        let has_ring = has_network && config.net_ring;
        let for_ring = if has_ring { ring::SIZE } else { 0 };
        let least = image.least_memory().saturating_add(for_ring);
        if size < least {
            let least = least.next_multiple_of(MEMORY_UNIT) >> 20;
            return Err(Error::MemoryTooSmall { mem, least });
        }
        if !page_tables::reach(image.end()) {
            let source = crate::image::ImageError::TooLargeInMemory;
            return Err(Error::Image { path: config.image.clone(), source });
        }
        let cmdline = boot::cmdline(&config.args).ok_or(Error::CommandLine)?;
        let mut entries = image.manifest().to_vec();
        for device in &devices {
            // What the descriptor is, is nothing to the guest.
            match device.backing {
                Backing::Net { mac, mtu } => entries[device.index].attach_net(0, mac.0, mtu),
                Backing::Block { capacity, block_size } => {
                    entries[device.index].attach_block(0, capacity, block_size);
                }
            }
        }
        let kvm = Kvm::new().map_err(|error| Error::Kvm(KvmError::open(error.errno())))?;
        match kvm.get_api_version() {
            KVM_API_VERSION => {}
            version => return Err(Error::Kvm(KvmError::Version(version))),
        }
        let counters =
            Counters::new().map_err(|source| Error::System { what: "map counters", source })?;
        let ring = has_ring.then_some(size - ring::SIZE);
        Ok(Self { image, size, ring, entries, cmdline, devices, kvm, counters })
    }

    /// Closes its devices in this process: they are the guest's alone.
    pub(crate) fn close(&mut self) {
        self.devices.clear();
    }

    /// How its ring was used so far; `None` if it has none.
    pub(crate) fn ring_use(&self) -> Option<RingUse> {
        self.ring.map(|_| self.counters.ring_use())
    }
}

/// What the guest's process said of why it was ended, if it was refused something.
pub(crate) fn refusal(report: &[u8]) -> Option<Refusal> {
    Refusal::from_bytes(report)
}
