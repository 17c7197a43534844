use core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::manifest::Manifest;

/// The owner's name in every Solo5 note, with its terminating zero.
pub const NOTE_NAME: &[u8; 6] = b"Solo5\0";
/// Type of the note that names target and ABI version ("ABI1").
pub const ABI_NOTE_TYPE: u32 = 0x3149_4241;
/// Type of the note that holds the manifest ("MFT1").
pub const MANIFEST_NOTE_TYPE: u32 = 0x3154_464d;
/// Alignment of the manifest, counted from the start of its note.
pub const MANIFEST_NOTE_ALIGN: usize = 8;

/// What an image is built for: the first word of the `ABI1` note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Target {
    /// Hardware virtualization (KVM).
    Hvt = 1,
    /// A process behind seccomp.
    Spt = 2,
}

/// An ELF note header with Solo5's name, 20 bytes: what precedes the descriptor.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NoteHeader {
    /// Length of the name in bytes, with its terminating zero: 6.
    pub name_size: u32,
    /// Length of the descriptor in bytes, with the padding before it.
    pub descriptor_size: u32,
    /// [`ABI_NOTE_TYPE`] or [`MANIFEST_NOTE_TYPE`].
    pub kind: u32,
    /// [`NOTE_NAME`], padded with zeros.
    pub name: [u8; 8],
}

const _: () = assert!(size_of::<NoteHeader>() == 20);

impl NoteHeader {
    const fn new(kind: u32, descriptor_size: usize) -> Self {
        Self {
            name_size: NOTE_NAME.len() as u32,
            descriptor_size: descriptor_size as u32,
            kind,
            name: *b"Solo5\0\0\0",
        }
    }

    /// Whether this is one of Solo5's notes, and of this type.
    #[must_use]
    pub fn is(&self, kind: u32) -> bool {
        self.name_size as usize == NOTE_NAME.len()
            && self.name.starts_with(NOTE_NAME)
            && self.kind == kind
    }
}

/// The `ABI1` note: which tender an image needs.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AbiNote {
    /// The note's header.
    pub header: NoteHeader,
    /// A [`Target`], as a number.
    pub target: u32,
    /// Version of that target's ABI.
    pub version: u32,
    reserved: [u32; 2],
}

const _: () = assert!(size_of::<AbiNote>() == 36);
const _: () = assert!(offset_of!(AbiNote, target) == 20);

impl AbiNote {
    /// The note of an image built for `version` of `target`.
    #[must_use]
    pub const fn new(target: Target, version: u32) -> Self {
        Self {
            header: NoteHeader::new(ABI_NOTE_TYPE, size_of::<Self>() - size_of::<NoteHeader>()),
            target: target as u32,
            version,
            reserved: [0; 2],
        }
    }
}

/// The `MFT1` note: the manifest, 8-byte aligned behind its header.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ManifestNote<const N: usize> {
    header: NoteHeader,
    padding: u32,
    manifest: Manifest<N>,
}

const _: () = assert!(offset_of!(ManifestNote<1>, manifest) == 24);
const _: () = assert!(size_of::<ManifestNote<2>>() == 24 + 8 + 2 * 104);

impl<const N: usize> ManifestNote<N> {
    /// The note that holds this manifest.
    #[must_use]
    pub const fn new(manifest: Manifest<N>) -> Self {
        Self {
            header: NoteHeader::new(
                MANIFEST_NOTE_TYPE,
                size_of::<Self>() - size_of::<NoteHeader>(),
            ),
            padding: 0,
            manifest,
        }
    }

    /// The manifest in this note.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest<N> {
        &self.manifest
    }
}
