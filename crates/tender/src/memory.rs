//! Guest memory: where an spt image lives, in the address space of the process that becomes it.
//!
//! Everything here runs between `fork` and the image's first instruction, so it neither allocates
//! nor panics.

use std::ffi::c_void;
use std::ops::Range;
use std::ptr;

use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use solo5_abi::spt::MEMORY_BASE;

use crate::image::PAGE;

/// Bytes behind the end of memory that can be neither read nor written.
const GUARD: u64 = 16 * PAGE;

/// Memory from [`MEMORY_BASE`] up to its size, and a guard behind it.
///
/// It is never executable but where [`Memory::protect`] makes it so.
#[derive(Debug)]
pub(crate) struct Memory {
    size: u64,
}

impl Memory {
    /// Maps memory up to the address `size`, which is a multiple of the page size.
    ///
    /// # Errors
    /// `EEXIST` if something else is mapped there, or what the kernel says.
    pub(crate) fn map(size: u64) -> Result<Self> {
        let end = size.checked_add(GUARD).ok_or(Errno::OVERFLOW)?;
        let length = end.checked_sub(MEMORY_BASE).ok_or(Errno::INVAL)? as usize;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
        let base = pointer(MEMORY_BASE);
        // SAFETY: FIXED_NOREPLACE takes only addresses where nothing is mapped, so no memory that
        // Rust knows of is touched.
        let mapped = unsafe { mmap_anonymous(base, length, ProtFlags::empty(), flags)? };
        if mapped != base {
            // A kernel before 4.17 takes the address for a hint.
            // SAFETY: this is the mapping made just now.
            unsafe { munmap(mapped, length)? };
            return Err(Errno::EXIST);
        }
        // From here on, dropping `memory` unmaps it.
        let memory = Self { size };
        let usable = (size - MEMORY_BASE) as usize;
        // SAFETY: it is the mapping made just now, without the guard.
        unsafe { mprotect(base, usable, MprotectFlags::READ | MprotectFlags::WRITE)? };
        Ok(memory)
    }

    /// Copies `bytes` to `address`.
    ///
    /// # Errors
    /// `EFAULT` if they do not fit there.
    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        let end = address.checked_add(bytes.len() as u64).ok_or(Errno::FAULT)?;
        if address < MEMORY_BASE || end > self.size {
            return Err(Errno::FAULT);
        }
        // SAFETY: the target lies in the mapping that `self` owns and that nothing else refers
        // to, `bytes` lies outside of it (it is safe Rust's), and as long as `self` is written to
        // the mapping is writable: `protect` takes `self`.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), pointer(address).cast(), bytes.len());
        }
        Ok(())
    }

    /// Gives each of these ranges of pages its protection; memory is not written to from here on.
    ///
    /// # Errors
    /// `EFAULT` for pages that are not of this memory, or what the kernel says.
    pub(crate) fn protect(
        self,
        protections: impl Iterator<Item = (Range<u64>, MprotectFlags)>,
    ) -> Result<Protected> {
        for (pages, flags) in protections {
            if pages.start < MEMORY_BASE || pages.start > pages.end || pages.end > self.size {
                return Err(Errno::FAULT);
            }
            let length = (pages.end - pages.start) as usize;
            // SAFETY: the pages lie in the mapping that `self` owns; no reference into it exists,
            // and none is made any more.
            unsafe { mprotect(pointer(pages.start), length, flags)? };
        }
        Ok(Protected { _memory: self })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let length = (self.size - MEMORY_BASE + GUARD) as usize;
        // SAFETY: `map` mapped exactly this range where nothing was before, and nothing refers to
        // it.
        let unmapped = unsafe { munmap(pointer(MEMORY_BASE), length) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Memory that is loaded and protected: what remains is to run it.
#[derive(Debug)]
pub(crate) struct Protected {
    _memory: Memory,
}

fn pointer(address: u64) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address as usize)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;

    use super::*;

    /// There is one guest memory in a process.
    static ONE: Mutex<()> = Mutex::new(());

    /// What `/proc` says of the mappings below `size` and its guard.
    fn mappings(size: u64) -> Vec<(Range<u64>, String)> {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let parse = |text| u64::from_str_radix(text, 16).unwrap();
        maps.lines()
            .map(|line| {
                let (range, rest) = line.split_once(' ').unwrap();
                let (start, end) = range.split_once('-').unwrap();
                (parse(start)..parse(end), rest[..4].to_owned())
            })
            .filter(|(range, _)| range.start < size + GUARD)
            .collect()
    }

    #[test]
    fn memory_is_where_the_abi_says_with_a_guard_behind_it_and_never_executable() {
        let _one = ONE.lock();
        let size = 4 << 20;
        let mut memory = Memory::map(size).unwrap();
        let expected = [(MEMORY_BASE..size, "rw-p"), (size..size + GUARD, "---p")];
        assert_eq!(mappings(size), expected.map(|(range, flags)| (range, flags.to_owned())));

        assert_eq!(Memory::map(size).unwrap_err(), Errno::EXIST);
        assert_eq!(mappings(size).len(), 2, "an attempt that fails takes nothing away");

        memory.write(0x10_0000, b"code").unwrap();
        assert_eq!(memory.write(size - 3, b"code"), Err(Errno::FAULT));
        assert_eq!(memory.write(MEMORY_BASE - 1, b"code"), Err(Errno::FAULT));
        assert_eq!(memory.write(u64::MAX, b"code"), Err(Errno::FAULT));

        let code = (0x10_0000..0x10_1000, MprotectFlags::READ | MprotectFlags::EXEC);
        let protected = memory.protect([code].into_iter()).unwrap();
        assert!(mappings(size).contains(&(0x10_0000..0x10_1000, "r-xp".to_owned())));
        drop(protected);
        assert_eq!(mappings(size), []);
    }

    #[test]
    fn memory_beyond_what_a_process_can_address_is_refused() {
        let _one = ONE.lock();
        assert!(Memory::map(1 << 60).is_err());
        assert!(Memory::map(!(PAGE - 1)).is_err());
    }
}
