use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use netdev::Mac;

/// A device of the image: what stands behind one entry of its manifest.
#[derive(Debug)]
pub(crate) struct Device {
    /// Which entry.
    pub(crate) index: usize,
    /// What the image reads from and writes to.
    pub(crate) file: OwnedFd,
    pub(crate) backing: Backing,
}

/// What the image is told of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    Net { mac: Mac, mtu: u16 },
    Block { capacity: u64, block_size: u16 },
}

impl Device {
    /// Its number, which is the same in the image.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}
