//! What a forked process has in its memory of the tender, and how it forgets that.
//!
//! An image runs in the address space that it was forked with. A system call with a pointer tells by its
//! error what is mapped where, so an image could look for what whoever started the tender would not have
//! it know: their environment, other arguments than its own, what the tender has read.
//!
//! Everything here runs between `fork` and the image's first instruction, so it neither allocates
//! nor panics.

use std::arch::asm;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::ptr;

use arrayvec::ArrayVec;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, Result, read};
use rustix::mm::{Advice, madvise};

use crate::image::PAGE;

/// Mappings that are forgotten, of all that there may be.
const MOST: usize = 512;
/// Longest line of `/proc/self/maps`: 73 bytes, and a path, which has 4,096 at most (PATH_MAX).
const LINE: usize = 4_352;
/// Which field of `/proc/self/stat` says where the arguments begin, counted from the one behind the
/// program's name (proc_pid_stat(5): arg_start, 48, where that is 3).
const ARG_START: usize = 48 - 3;

/// Where the traces are.
pub(super) struct Traces {
    mappings: ArrayVec<(usize, usize), MOST>,
    // Arguments, environment and the program's name, which are at the end of the first thread's stack.
    arguments: (usize, usize),
    // Where the mapping begins that has the stack of this thread, which grows towards that.
    stack: usize,
}

impl Traces {
    /// Looks for what is to be forgotten of memory from the address `from` on: all that was allocated, and
    /// the stacks of other threads. It is not what the program and its libraries begin with, nor what
    /// is in use of the stack of this thread, but for arguments and environment, nor what the C library keeps
    /// of this thread.
    ///
    /// # Errors
    /// What the kernel says of `/proc/self`; `EINVAL` if it says something else than it used to, `E2BIG` if
    /// there is too much.
    pub(super) fn find(from: usize) -> Result<Self> {
        let arg_start = arg_start()?;
        let mut traces = Self { mappings: ArrayVec::new(), arguments: (0, 0), stack: 0 };
        let mut file_end = 0;
        let mut lines = Lines::open(c"/proc/self/maps")?;
        while let Some(line) = lines.next()? {
            let Mapping { pages, private, writable, file, heap } =
                Mapping::parse(line).ok_or(Errno::INVAL)?;
            // What a program begins with goes on behind what is in its file.
            let begins = file || (pages.start == file_end && !heap);
            if file {
                file_end = pages.end;
            }
            if pages.contains(&arg_start) && writable {
                traces.arguments = (arg_start, pages.end);
            }
            let has_stack = pages.contains(&stack_pointer());
            if has_stack {
                traces.stack = pages.start;
            }
            let needed = has_stack || pages.contains(&thread());
            if private && writable && !begins && !needed && pages.start >= from {
                let pushed = traces.mappings.try_push((pages.start, pages.end));
                pushed.map_err(|_| Errno::TOOBIG)?;
            }
        }
        let found = traces.arguments.0 != 0 && traces.stack != 0;
        if found { Ok(traces) } else { Err(Errno::INVAL) }
    }

    /// Forgets them: there are zeros in their place.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Safety
    /// This process uses nothing any more but what its code and the stack of this thread hold, and its
    /// memory is its own.
    pub(super) unsafe fn forget(&self) -> Result<()> {
        let (start, end) = self.arguments;
        // SAFETY: these are bytes of a mapping that is there, and writable; nobody uses them any more, as
        // the caller promises.
        unsafe { ptr::with_exposed_provenance_mut::<u8>(start).write_bytes(0, end - start) };
        for &(start, end) in &self.mappings {
            let pages = ptr::with_exposed_provenance_mut(start);
            // SAFETY: these pages are private to this process, which needs them no more, as the caller
            // promises: `find` has left out its stack and what the C library has for its thread.
            unsafe { madvise(pages, end - start, Advice::LinuxDontNeed)? };
        }
        // What calls that have returned have left below the stack, but for a page, in which the one that is
        // made here has what it needs.
        let page = PAGE as usize;
        let unused = (stack_pointer() / page).saturating_sub(1) * page;
        let length = unused.saturating_sub(self.stack);
        // SAFETY: nothing is there that is used: a system call's few words, and the 128 bytes that a function
        // may use below its stack (System V ABI §3.2.2), are in that page or above. The kernel's signals
        // find nobody who handles them.
        unsafe {
            madvise(ptr::with_exposed_provenance_mut(self.stack), length, Advice::LinuxDontNeed)
        }
    }
}

/// Where the stack of this thread ends.
#[inline(always)]
fn stack_pointer() -> usize {
    let address;
    // SAFETY: it reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}

/// What the C library has for this thread: by the System V ABI, at its beginning is its own address.
fn thread() -> usize {
    let address;
    // SAFETY: it reads a word that is there for each thread.
    unsafe {
        asm!("mov {}, fs:[0]", out(reg) address, options(nostack, pure, readonly, preserves_flags));
    }
    address
}

/// Where the arguments of this process are, and behind them its environment.
fn arg_start() -> Result<usize> {
    let mut lines = Lines::open(c"/proc/self/stat")?;
    let line = lines.next()?.ok_or(Errno::INVAL)?;
    // The name is in brackets, and may have some itself.
    let name_end = line.iter().rposition(|&byte| byte == b')').ok_or(Errno::INVAL)?;
    let mut fields = line.get(name_end + 2..).ok_or(Errno::INVAL)?.split(|&byte| byte == b' ');
    let field = fields.nth(ARG_START).and_then(|field| number(field, 10));
    field.filter(|&start| start > 0).ok_or(Errno::INVAL)
}

/// A line of `/proc/self/maps`: `START-END rw-p OFFSET DEVICE INODE PATH`.
struct Mapping {
    pages: Range<usize>,
    private: bool,
    writable: bool,
    // It shows what is in a file.
    file: bool,
    heap: bool,
}

impl Mapping {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let mut ends = fields.next()?.split(|&byte| byte == b'-');
        let start = number(ends.next()?, 16)?;
        let end = number(ends.next()?, 16)?;
        let &[_, write, _, share] = fields.next()? else { return None };
        let inode = fields.nth(2)?;
        (start < end).then_some(Self {
            pages: start..end,
            private: share == b'p',
            writable: write == b'w',
            file: inode != b"0",
            heap: line.ends_with(b"[heap]"),
        })
    }
}

fn number(digits: &[u8], radix: u32) -> Option<usize> {
    usize::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()
}

/// The lines of a file.
struct Lines {
    file: OwnedFd,
    buffer: [u8; LINE],
    // Those that have been read and not been given: a part of `buffer`.
    unread: Range<usize>,
}

impl Lines {
    fn open(path: &std::ffi::CStr) -> Result<Self> {
        let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { file, buffer: [0; LINE], unread: 0..0 })
    }

    /// The next line, without its end; `None` if there is no other.
    ///
    /// # Errors
    /// `E2BIG` if it is too long, or what the kernel says.
    fn next(&mut self) -> Result<Option<&[u8]>> {
        loop {
            let Range { start, end } = self.unread;
            if let Some(length) = self.buffer[start..end].iter().position(|&byte| byte == b'\n') {
                self.unread.start += length + 1;
                return Ok(Some(&self.buffer[start..start + length]));
            }
            self.buffer.copy_within(start..end, 0);
            self.unread = 0..end - start;
            if self.unread.end == LINE {
                return Err(Errno::TOOBIG);
            }
            let length = read(&self.file, &mut self.buffer[end - start..])?;
            if length == 0 {
                return Ok(None);
            }
            self.unread.end += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_allocated_is_found_and_what_is_needed_is_not() {
        let allocated = vec![7_u8; 1 << 20];
        let on_stack = 7_u8;
        static IN_PROGRAM: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);
        let traces = Traces::find(0).unwrap();
        let found = |address: usize| {
            let mut mappings = traces.mappings.iter();
            mappings.any(|&(start, end)| (start..end).contains(&address))
        };
        assert!(found(allocated.as_ptr().addr()));
        assert!(!found((&raw const on_stack).addr()));
        assert!(!found(IN_PROGRAM.as_ptr().addr()));
        assert!(!found(thread()));
        let (start, end) = traces.arguments;
        let variable = std::ffi::CString::new("PATH").unwrap();
        // SAFETY: nobody changes the environment here.
        let path = unsafe { libc::getenv(variable.as_ptr()) };
        assert!((start..end).contains(&path.addr()));
        let above = Traces::find(end).unwrap();
        assert!(above.mappings.is_empty(), "what is below is an image's");
    }

    #[test]
    fn lines_are_parsed_as_the_kernel_writes_them() {
        let line = b"7f12a000-7f12b000 rw-p 00021000 08:01 1234                  /lib/a b.so";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!(mapping.pages, 0x7f12_a000..0x7f12_b000);
        assert!(mapping.private && mapping.writable && mapping.file);
        let heap = Mapping::parse(b"1000-2000 r--s 00000000 00:00 0      [heap]").unwrap();
        assert!(!heap.private && !heap.writable && !heap.file && heap.heap && !mapping.heap);
        for bad in [&b""[..], b"1000", b"1000-2000", b"2000-1000 rw-p 0 00:00 0", b"x-y rw-p 0 0 0"]
        {
            assert!(Mapping::parse(bad).is_none());
        }
    }
}
