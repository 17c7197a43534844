//! Network devices by the manifest, as the tender has filled it in.

use core::cell::Cell;
use core::slice;

use netdev::{Gone, Mac};
use solo5_abi::{Entry, Kind};

use super::local::local;
use crate::platform::net::{flush, read, write};

local! {
    static DEVICES: Cell<&'static [Entry]> = Cell::new(&[]);
}

/// Takes the manifest that lies at `address`.
///
/// # Safety
/// The address is that of the tender's boot info.
pub(super) unsafe fn init(address: u64) {
    let manifest = address as *const u32;
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
    devices().map(|port| port.entry.name())
}

/// The device of this name.
pub(crate) fn open(name: &str) -> Option<Port> {
    devices().find(|port| port.entry.name() == name && port.entry.is_attached())
}

fn devices() -> impl Iterator<Item = Port> {
    let entries = DEVICES.with(Cell::get);
    let ports = entries.iter().enumerate().map(|(handle, entry)| Port { handle, entry });
    ports.filter(|port| port.entry.kind() == Some(Kind::Net))
}

/// Throws away what has come for a device. One that is gone is left alone.
pub(crate) fn discard(handle: usize) {
    if let Some(mut port) = devices().find(|port| port.handle == handle) {
        while let Ok(Some(_)) = port.read(&mut [0]) {}
    }
}

/// A device: its index in the manifest is what the host calls it.
#[derive(Debug)]
pub(crate) struct Port {
    handle: usize,
    pub(crate) entry: &'static Entry,
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
        read(self, room)
    }

    /// Writes a frame; `false` if the host takes none now.
    pub(crate) fn write(&mut self, frame: &[u8]) -> Result<bool, Gone> {
        write(self, frame)
    }

    /// Ends a batch of frames that were written: none waits for another any more.
    pub(crate) fn flush(&mut self) {
        flush();
    }
}
