//! Guest memory, and what the guest says of it.

use rustix::io::Errno;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice};

use super::BOOT_INFO_BASE;

/// So many bytes at this address, as the guest says: only [`Memory::slice`] makes memory of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alleged {
    pub(crate) address: u64,
    pub(crate) length: u64,
}

/// The guest's memory, from address 0 up to its size.
#[derive(Debug)]
pub(crate) struct Memory {
    mapped: GuestMemoryMmap,
    size: u64,
}

impl Memory {
    /// Maps so many bytes, all of them zero.
    pub(crate) fn map(size: u64) -> Result<Self, Errno> {
        let range = (GuestAddress(0), usize::try_from(size).map_err(|_| Errno::NOMEM)?);
        let mapped = GuestMemoryMmap::from_ranges(&[range]).map_err(|_| Errno::NOMEM)?;
        Ok(Self { mapped, size })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Where it lies in this process. It stays there as long as `self` does.
    pub(crate) fn host_address(&self) -> Result<u64, Errno> {
        let host = self.mapped.get_host_address(GuestAddress(0)).map_err(|_| Errno::FAULT)?;
        Ok(host.expose_provenance() as u64)
    }

    /// Writes what the tender itself puts there.
    ///
    /// # Errors
    /// `EFAULT` if it does not fit there.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.mapped.write_slice(bytes, GuestAddress(address)).map_err(|_| Errno::FAULT)
    }

    /// The memory that the guest means: `None` if that is not all its own, or the tender's pages
    /// below what the guest sees.
    pub(crate) fn slice(&self, alleged: Alleged) -> Option<VolatileSlice<'_>> {
        let Alleged { address, length } = alleged;
        // Nothing lies anywhere.
        let address = if length == 0 { BOOT_INFO_BASE } else { address };
        let end = address.checked_add(length)?;
        if address < BOOT_INFO_BASE || end > self.size {
            return None;
        }
        self.mapped.get_slice(GuestAddress(address), usize::try_from(length).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_all_the_guests_own_is_given() {
        let size = 2 << 20;
        let memory = Memory::map(size).unwrap();
        let given = |address, length| {
            memory.slice(Alleged { address, length }).map(|slice| slice.len() as u64)
        };
        for (address, length) in
            [(BOOT_INFO_BASE, 1), (size - 1, 1), (BOOT_INFO_BASE, size - BOOT_INFO_BASE), (0, 0)]
        {
            assert_eq!(given(address, length), Some(length), "{length} bytes at {address:#x}");
        }
        for (address, length) in [
            (0, 1),
            (BOOT_INFO_BASE - 1, 2),
            (size, 1),
            (size - 1, 2),
            (BOOT_INFO_BASE, size),
            (BOOT_INFO_BASE, u64::MAX),
            (u64::MAX, 1),
            (u64::MAX, u64::MAX),
            (1 << 32, 1),
        ] {
            assert_eq!(given(address, length), None, "{length} bytes at {address:#x}");
        }
    }
}
