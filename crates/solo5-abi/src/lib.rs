#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod hvt;
pub mod manifest;
mod note;
pub mod spt;

pub use manifest::{Entry, Kind, Manifest, ManifestError};
pub use note::{
    ABI_NOTE_TYPE, AbiNote, MANIFEST_NOTE_ALIGN, MANIFEST_NOTE_TYPE, ManifestNote, NOTE_NAME,
    NoteHeader, Target,
};

/// Exit status of an image that did what it was asked.
pub const EXIT_SUCCESS: i32 = 0;
/// Exit status of an image that failed.
pub const EXIT_FAILURE: i32 = 1;
/// Exit status of an image that panicked or otherwise gave up (`SOLO5_EXIT_ABORT`).
pub const EXIT_ABORT: i32 = 255;

/// Longest command line in bytes, with its terminating zero.
pub const CMDLINE_SIZE: usize = 8192;

/// What the `PT_INTERP` segment holds, so that no host kernel runs an image as a program.
pub const INTERPRETER: &[u8; 20] = b"/nonexistent/solo5/\0";

/// Lowest address at which a segment of an image may lie.
pub const GUEST_MIN_BASE: u64 = 0x10_0000;
