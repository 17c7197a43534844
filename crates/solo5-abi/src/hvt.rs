//! hvt, the hardware virtualized tender: the image is a guest of KVM and may make eight calls.
//!
//! A call is a 32-bit `out` of the address of its arguments to port [`PORT`] plus its number. The
//! results of those that may fail are in [`result`].

use core::mem::{offset_of, size_of};
use core::sync::atomic::AtomicU32;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of this ABI.
pub const ABI_VERSION: u32 = 2;
/// Memory is a multiple of this, in bytes: what one entry of a page directory maps.
pub const MEMORY_UNIT: u64 = 2 << 20;
/// The most memory that an image may have, in bytes: addresses of calls have 32 bits.
pub const MAX_MEMORY: u64 = 4 << 30;
/// How far below the end of memory the stack starts, as if a return address had been pushed.
pub const STACK_OFFSET: u64 = 8;
/// Where the boot GDT lies, which the image cannot see.
pub const GDT_BASE: u64 = 0x1000;
/// Where the page tables begin, which the image cannot see.
pub const PAGE_TABLES_BASE: u64 = 0x2000;
/// Selector of the flat 64-bit code segment.
pub const CODE_SELECTOR: u16 = 8;
/// Selector of the flat data segment.
pub const DATA_SELECTOR: u16 = 16;
/// The port of call 0, which is none.
pub const PORT: u16 = 0x500;
/// The port that tells the host of entries in the ring: a 32-bit `out` of 0.
pub const KICK_PORT: u16 = 0x600;
/// The bit of [`BootInfo::host_features`] that says that there is a [`Ring`].
pub const FEATURE_RING: u32 = 1;

/// What the tender tells the image (`struct hvt_boot_info`); its address is the only argument of
/// the entry point.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BootInfo {
    /// End of memory, as an address: below the ring, if there is one.
    pub mem_size: u64,
    /// First address behind the image, page-aligned.
    pub kernel_end: u64,
    /// How many times a second the time stamp counter counts.
    pub cpu_cycle_freq: u64,
    /// Address of the command line, terminated by zero.
    pub cmdline: u64,
    /// Address of the manifest, as filled in by the tender.
    pub manifest: u64,
    /// What the tender has, such as [`FEATURE_RING`].
    pub host_features: u32,
    /// What the image uses of it; nobody reads that yet.
    pub guest_features: u32,
    /// Address of the [`Ring`]; 0 if there is none.
    pub net_ring: u64,
}

const _: () = assert!(size_of::<BootInfo>() == 56);
const _: () = assert!(offset_of!(BootInfo, manifest) == 32);
const _: () = assert!(offset_of!(BootInfo, net_ring) == 48);

/// How a call ended.
pub mod result {
    /// It did what it was asked.
    pub const OK: i32 = 0;
    /// There is nothing to be read, or no room to write, now.
    pub const AGAIN: i32 = 1;
    /// There is no such device, or its like is not read or written so.
    pub const INVALID: i32 = 2;
    /// It failed for another reason.
    pub const UNSPECIFIED: i32 = 3;
}

/// The arguments of a call, and its results.
pub trait Call: FromBytes + IntoBytes {
    /// Its number.
    const NUMBER: u16;
    /// Its name, as Solo5 has it.
    const NAME: &'static str;
}

macro_rules! calls {
    ($($(#[$meta:meta])* $number:literal $name:literal $call:ident {
        $($(#[$field_meta:meta])* $field:ident: $type:ty,)*
    })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
            #[repr(C)]
            pub struct $call {
                $($(#[$field_meta])* pub $field: $type,)*
            }

            impl Call for $call {
                const NUMBER: u16 = $number;
                const NAME: &'static str = $name;
            }
        )*
    };
}

calls! {
    /// Reads the wall clock.
    1 "walltime" Walltime {
        /// Out: nanoseconds since 1970-01-01 00:00 UTC.
        nanoseconds: u64,
    }

    /// Writes to the console.
    2 "puts" Puts {
        /// Address of the bytes.
        data: u64,
        /// How many.
        length: u64,
    }

    /// Waits until a network device has a frame, or for so long.
    3 "poll" Poll {
        /// In nanoseconds, from the call on.
        timeout: u64,
        /// Out: a bit for each device that has a frame, by its index in the manifest.
        ready: u64,
        /// Out: how many these are.
        result: i32,
        /// Not used.
        padding: u32,
    }

    /// Writes a block.
    4 "block_write" BlockWrite {
        /// Index of the device in the manifest.
        handle: u64,
        /// Where on the device, in bytes.
        offset: u64,
        /// Address of the bytes.
        data: u64,
        /// How many.
        length: u64,
        /// Out: see [`result`].
        result: i32,
        /// Not used.
        padding: u32,
    }

    /// Reads a block.
    5 "block_read" BlockRead {
        /// Index of the device in the manifest.
        handle: u64,
        /// Where on the device, in bytes.
        offset: u64,
        /// Address of the room for it.
        data: u64,
        /// In: how much room; out: how much of it was filled.
        length: u64,
        /// Out: see [`result`].
        result: i32,
        /// Not used.
        padding: u32,
    }

    /// Sends a frame.
    6 "net_write" NetWrite {
        /// Index of the device in the manifest.
        handle: u64,
        /// Address of the frame.
        data: u64,
        /// How many bytes it has.
        length: u64,
        /// Out: see [`result`].
        result: i32,
        /// Not used.
        padding: u32,
    }

    /// Receives a frame. What does not fit is lost.
    7 "net_read" NetRead {
        /// Index of the device in the manifest.
        handle: u64,
        /// Address of the room for it.
        data: u64,
        /// In: how much room; out: how much of it was filled.
        length: u64,
        /// Out: see [`result`].
        result: i32,
        /// Not used.
        padding: u32,
    }

    /// Ends the image.
    8 "halt" Halt {
        /// Address of 512 bytes about why, or 0.
        cookie: u64,
        /// The exit status.
        status: i32,
        /// Not used.
        padding: u32,
    }
}

/// How many entries are in a [`Ring`], and how many completions. Indices run on, and are taken
/// modulo this.
pub const RING_SIZE: u32 = 1024;

/// What may be asked in a ring.
pub mod operation {
    /// Send the frame. It has no completion.
    pub const NET_WRITE: u32 = 1;
    /// Receive a frame, if there is one.
    pub const NET_READ: u32 = 2;
}

/// What the image asks for in a ring (`struct hvt_ring_entry`).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Entry {
    /// One of [`operation`].
    pub operation: u32,
    /// Index of the device in the manifest.
    pub handle: u32,
    /// Address of the frame, or of the room for it. It is the host's until `entry_head` has passed
    /// the entry.
    pub data: u64,
    /// How many bytes these are.
    pub length: u32,
    /// What the completion will say.
    pub id: u32,
    /// Not used.
    pub reserved: u64,
}

/// What came of a read (`struct hvt_ring_commit`).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Completion {
    /// The entry's.
    pub id: u32,
    /// One of [`result`].
    pub result: i32,
    /// How long the frame is, or what was taken of it.
    pub length: u32,
    /// Not used.
    pub reserved: u32,
}

/// The ring (`struct hvt_ring`): entries from the image to the host, and completions back.
///
/// Each side writes its own cache line only. Who puts something in writes it first, then the
/// tail; who takes something out reads the tail first. The image kicks the host when it finds
/// `needs_kick` after it has moved the tail, with a full fence between the two; the host sets it
/// and looks at the tail once more, with a full fence between these, before it sleeps.
#[derive(Debug)]
#[repr(C)]
pub struct Ring {
    /// The image's: behind the last entry.
    pub entry_tail: AtomicU32,
    /// The image's: the first completion that it has not taken.
    pub completion_head: AtomicU32,
    guest_padding: [u8; 56],
    /// The host's: the first entry that it has not seen to.
    pub entry_head: AtomicU32,
    /// The host's: behind the last completion.
    pub completion_tail: AtomicU32,
    /// The host's: whether it sleeps until it is kicked.
    pub needs_kick: AtomicU32,
    host_padding: [u8; 52],
    /// What is asked for.
    pub entries: [Entry; RING_SIZE as usize],
    /// What came of it.
    pub completions: [Completion; RING_SIZE as usize],
}

const _: () = assert!(size_of::<Entry>() == 32 && size_of::<Completion>() == 16);
const _: () = assert!(offset_of!(Ring, entry_head) == 64);
const _: () = assert!(offset_of!(Ring, entries) == 128);
const _: () = assert!(offset_of!(Ring, completions) == 128 + 1024 * 32);
