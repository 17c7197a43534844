//! Guest memory, and what the guest says of it.

use std::ffi::c_void;
use std::ptr;

use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::volatile_memory::VolatileMemory;
use vm_memory::{Bytes, MmapRegion, VolatileSlice};

use super::BOOT_INFO_BASE;
use crate::image::PAGE;

/// Bytes before and behind it that can be neither read nor written.
const GUARD: u64 = 16 * PAGE;

/// So many bytes at this address, as the guest says: only [`Memory::slice`] makes memory of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alleged {
    pub(crate) address: u64,
    pub(crate) length: u64,
}

/// The guest's memory, from address 0 up to its size.
#[derive(Debug)]
pub(crate) struct Memory {
    mapped: MmapRegion,
    size: u64,
    /// What it lies in.
    _reserved: Reserved,
}

/// Addresses of this process, with nothing there but what is put there: taken until it is dropped.
#[derive(Debug)]
struct Reserved {
    start: u64,
    length: usize,
}

impl Memory {
    /// Maps so many bytes, all of them zero, with a guard on both sides.
    pub(crate) fn map(size: u64) -> Result<Self, Errno> {
        let length = size.checked_add(2 * GUARD).ok_or(Errno::NOMEM)?;
        let reserved = Reserved::new(usize::try_from(length).map_err(|_| Errno::NOMEM)?)?;
        // It fits, as all that is reserved does.
        let (start, usable) = (pointer(reserved.start + GUARD), size as usize);
        let access = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: it is what has just been reserved, without the guards, and there is nothing yet.
        unsafe { mprotect(start, usable, access)? };
        // SAFETY: that is mapped there, and stays as long as `reserved`, which is dropped after it.
        let mapped = unsafe { MmapRegionBuilder::new(usable).with_raw_mmap_pointer(start.cast()) };
        let mapped = mapped.build().map_err(|_| Errno::NOMEM)?;
        Ok(Self { mapped, size, _reserved: reserved })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Where it lies in this process. It stays there as long as `self` does.
    pub(crate) fn host_address(&self) -> u64 {
        self.mapped.as_ptr().expose_provenance() as u64
    }

    /// Writes what the tender itself puts there.
    ///
    /// # Errors
    /// `EFAULT` if it does not fit there.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let address = usize::try_from(address).map_err(|_| Errno::FAULT)?;
        let memory = self.mapped.as_volatile_slice();
        memory.write_slice(bytes, address).map_err(|_| Errno::FAULT)
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
        self.mapped.get_slice(address.try_into().ok()?, length.try_into().ok()?).ok()
    }
}

impl Reserved {
    fn new(length: usize) -> Result<Self, Errno> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: the kernel chooses where, so no memory that Rust knows of is touched.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), length, ProtFlags::empty(), flags)? };
        Ok(Self { start: start.expose_provenance() as u64, length })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // SAFETY: it is what `new` has mapped, and nothing refers to it any more.
        let unmapped = unsafe { munmap(pointer(self.start), self.length) };
        debug_assert!(unmapped.is_ok());
    }
}

fn pointer(address: u64) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address as usize)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What may be done with this address of this process.
    fn access(address: u64) -> Option<String> {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let parse = |text| u64::from_str_radix(text, 16).unwrap();
        maps.lines().find_map(|line| {
            let (range, rest) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            (parse(start)..parse(end)).contains(&address).then(|| rest[..4].to_owned())
        })
    }

    #[test]
    fn memory_has_a_guard_on_both_sides_and_is_never_executable() {
        let size = 4 << 20;
        let memory = Memory::map(size).unwrap();
        let base = memory.host_address();
        for (address, expected) in [
            (base - GUARD, "---p"),
            (base - 1, "---p"),
            (base, "rw-p"),
            (base + size - 1, "rw-p"),
            (base + size, "---p"),
            (base + size + GUARD - 1, "---p"),
        ] {
            assert_eq!(access(address).as_deref(), Some(expected), "{:#x}", address - base);
        }
        assert_eq!(memory.write(size - 3, b"code"), Err(Errno::FAULT));
        assert_eq!(memory.write(u64::MAX, b"code"), Err(Errno::FAULT));
        memory.write(size - 4, b"code").unwrap();
        let mut written = [0; 4];
        memory.slice(Alleged { address: size - 4, length: 4 }).unwrap().copy_to(&mut written[..]);
        assert_eq!(&written, b"code");
        assert!(Memory::map(1 << 60).is_err() && Memory::map(u64::MAX).is_err());
    }

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
