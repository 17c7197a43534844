//! spt, the sandboxed process tender: the image lives in the tender's address space and may make
//! nine system calls.

use core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of this ABI.
pub const ABI_VERSION: u32 = 2;
/// Where guest memory begins: the lowest address that Linux lets a process map.
pub const MEMORY_BASE: u64 = 0x1_0000;
/// Where [`BootInfo`] lies; command line and manifest follow, below
/// [`GUEST_MIN_BASE`](crate::GUEST_MIN_BASE).
pub const BOOT_INFO_BASE: u64 = MEMORY_BASE + 0x1000;
/// How far below the end of memory the stack starts, as if a return address had been pushed.
pub const STACK_OFFSET: u64 = 8;
/// What the timer's event carries in the epoll set; devices carry their manifest index.
pub const TIMER_EVENT: u64 = !1u32 as u64;

/// What the tender tells the image (`struct spt_boot_info`); its address is the only argument of
/// the entry point.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BootInfo {
    /// End of memory, as an address: memory is mapped from [`MEMORY_BASE`] up to here.
    pub mem_size: u64,
    /// First address behind the image, page-aligned.
    pub kernel_end: u64,
    /// Address of the command line, terminated by zero.
    pub cmdline: u64,
    /// Address of the manifest, as filled in by the tender.
    pub manifest: u64,
    /// The epoll descriptor.
    pub epoll: i32,
    /// The timer descriptor, a member of the epoll set.
    pub timer: i32,
}

const _: () = assert!(size_of::<BootInfo>() == 40);
const _: () = assert!(offset_of!(BootInfo, manifest) == 24);
const _: () = assert!(offset_of!(BootInfo, timer) == 36);

/// Numbers of the system calls that an image may make (x86-64), each on the descriptors that the
/// tender gave it.
pub mod call {
    /// `read` on a network descriptor.
    pub const READ: u64 = 0;
    /// `write` on a network descriptor, or on 1, the console.
    pub const WRITE: u64 = 1;
    /// `pread64` on a block descriptor.
    pub const PREAD64: u64 = 17;
    /// `pwrite64` on a block descriptor.
    pub const PWRITE64: u64 = 18;
    /// `arch_prctl`, with [`ARCH_SET_FS`](super::ARCH_SET_FS) only.
    pub const ARCH_PRCTL: u64 = 158;
    /// `clock_gettime` of `CLOCK_REALTIME` (0) and `CLOCK_MONOTONIC` (1).
    pub const CLOCK_GETTIME: u64 = 228;
    /// `exit_group`.
    pub const EXIT_GROUP: u64 = 231;
    /// `epoll_pwait` on [`BootInfo::epoll`](super::BootInfo::epoll).
    pub const EPOLL_PWAIT: u64 = 281;
    /// `timerfd_settime` on [`BootInfo::timer`](super::BootInfo::timer).
    pub const TIMERFD_SETTIME: u64 = 286;
}

/// The one `arch_prctl` that is allowed.
pub const ARCH_SET_FS: u64 = 0x1002;
/// Descriptor of the console, for `write`.
pub const CONSOLE: i32 = 1;
