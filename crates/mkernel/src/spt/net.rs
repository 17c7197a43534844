//! Network devices: descriptors that the tender has opened.

use core::cell::Cell;
use core::slice;

use netdev::{Gone, Mac};
use solo5_abi::spt::{BootInfo, call};
use solo5_abi::{Entry, Kind};

use super::call::call;
use super::local::local;

const EINTR: i64 = -4;
const EIO: i64 = -5;
const EAGAIN: i64 = -11;
const ENOMEM: i64 = -12;
const ENOBUFS: i64 = -105;

local! {
    static DEVICES: Cell<&'static [Entry]> = Cell::new(&[]);
}

/// Finds the manifest.
///
/// # Safety
/// `boot_info` is the tender's.
pub(super) unsafe fn init(boot_info: &BootInfo) {
    let manifest = boot_info.manifest as *const u32;
    // SAFETY: Solo5's ABI: a manifest, 8-byte aligned, which stays as it is. Its second word counts
    // the entries, which begin at its ninth byte.
    let entries: &'static [Entry] = unsafe {
        let count = manifest.add(1).read();
        slice::from_raw_parts(manifest.add(2).cast(), count as usize)
    };
    DEVICES.with(|devices| devices.set(entries));
}

/// Names of all network devices in the manifest.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    devices().map(|(_, entry)| entry.name())
}

/// The device of this name.
pub(crate) fn open(name: &str) -> Option<Port> {
    devices()
        .find(|(_, entry)| entry.name() == name && entry.is_attached())
        .map(|(handle, entry)| Port { handle, entry })
}

fn devices() -> impl Iterator<Item = (usize, &'static Entry)> {
    let entries = DEVICES.with(Cell::get);
    entries.iter().enumerate().filter(|(_, entry)| entry.kind() == Some(Kind::Net))
}

/// Throws away what has come for a device. One that is gone is left alone.
pub(crate) fn discard(handle: usize) {
    if let Some((handle, entry)) = devices().find(|&(other, _)| other == handle) {
        let mut port = Port { handle, entry };
        while let Ok(Some(_)) = port.read(&mut [0]) {}
    }
}

/// A device: its index in the manifest is what the epoll set calls it.
#[derive(Debug)]
pub(crate) struct Port {
    handle: usize,
    entry: &'static Entry,
}

impl Port {
    pub(crate) fn handle(&self) -> usize {
        self.handle
    }

    pub(crate) fn mac(&self) -> Mac {
        Mac(self.entry.mac())
    }

    pub(crate) fn mtu(&self) -> u16 {
        self.entry.mtu()
    }

    /// Reads a frame and says how long it is; `None` if there is none. What does not fit is lost.
    pub(crate) fn read(&mut self, room: &mut [u8]) -> Result<Option<usize>, Gone> {
        let descriptor = self.entry.host_descriptor() as u64;
        let (address, length) = (room.as_mut_ptr() as u64, room.len() as u64);
        // SAFETY: The kernel writes at most `length` bytes to `room`, which is borrowed meanwhile.
        match unsafe { call(call::READ, [descriptor, address, length]) } {
            EAGAIN | EINTR => Ok(None),
            length @ 1.. => Ok(Some(length as usize)),
            _ => Err(Gone),
        }
    }

    /// Writes a frame; `false` if the host takes none now.
    pub(crate) fn write(&mut self, frame: &[u8]) -> Result<bool, Gone> {
        let descriptor = self.entry.host_descriptor() as u64;
        let (address, length) = (frame.as_ptr() as u64, frame.len() as u64);
        // SAFETY: The kernel reads `length` bytes of `frame`, which is borrowed meanwhile.
        match unsafe { call(call::WRITE, [descriptor, address, length]) } {
            EAGAIN | EINTR | ENOBUFS | ENOMEM => Ok(false),
            // The host has set its interface down, and may set it up again. Until then frames are
            // lost, as on a cable that is unplugged.
            EIO => Ok(true),
            0.. => Ok(true),
            _ => Err(Gone),
        }
    }
}
