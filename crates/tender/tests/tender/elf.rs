//! Builds small Solo5 spt images, right and wrong ones.

use solo5_abi::manifest::header;
use solo5_abi::{ABI_NOTE_TYPE, Entry, MANIFEST_NOTE_TYPE, spt};
use zerocopy::IntoBytes;

/// Where the code of an image begins.
pub(crate) const BASE: u64 = 0x10_0000;
pub(crate) const R: u32 = 4;
pub(crate) const W: u32 = 2;
pub(crate) const X: u32 = 1;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

/// A part of the image that is loaded.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) address: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) memory_size: u64,
    pub(crate) flags: u32,
    pub(crate) align: u64,
}

impl Segment {
    pub(crate) fn new(address: u64, bytes: &[u8], flags: u32) -> Self {
        let memory_size = bytes.len() as u64;
        Self { address, bytes: bytes.to_vec(), memory_size, flags, align: 0x1000 }
    }
}

/// An image in pieces, each of which a test may change before it builds it.
#[derive(Clone, Debug)]
pub(crate) struct Elf {
    pub(crate) entry: u64,
    pub(crate) segments: Vec<Segment>,
    /// One segment of notes each.
    pub(crate) notes: Vec<Vec<u8>>,
}

impl Elf {
    /// An image that has this code at [`BASE`] and asks for these devices.
    pub(crate) fn new(code: &[u8], devices: &[Entry]) -> Self {
        let entries = [&[Entry::RESERVED], devices].concat();
        Self {
            entry: BASE,
            segments: vec![Segment::new(BASE, code, R | X)],
            notes: vec![abi(2, spt::ABI_VERSION), manifest(&entries)],
        }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let count = self.segments.len() + self.notes.len();
        let mut file = Vec::new();
        file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        for half in [2u16, 62] {
            file.extend(half.to_le_bytes());
        }
        file.extend(1u32.to_le_bytes());
        for word in [self.entry, 64, 0] {
            file.extend(word.to_le_bytes());
        }
        file.extend(0u32.to_le_bytes());
        for half in [64u16, 56, count as u16, 0, 0, 0] {
            file.extend(half.to_le_bytes());
        }

        let mut contents: Vec<u8> = Vec::new();
        let mut add = |file: &mut Vec<u8>, kind: u32, segment: &Segment| {
            let offset = (64 + 56 * count + contents.len()) as u64;
            contents.extend(&segment.bytes);
            file.extend(kind.to_le_bytes());
            file.extend(segment.flags.to_le_bytes());
            let size = segment.bytes.len() as u64;
            for word in
                [offset, segment.address, segment.address, size, segment.memory_size, segment.align]
            {
                file.extend(word.to_le_bytes());
            }
        };
        for segment in &self.segments {
            add(&mut file, PT_LOAD, segment);
        }
        for note in &self.notes {
            add(&mut file, PT_NOTE, &Segment { align: 4, ..Segment::new(0, note, R) });
        }
        file.extend(contents);
        file
    }
}

/// A note of Solo5's, with this descriptor.
pub(crate) fn note(kind: u32, descriptor: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    for word in [6, descriptor.len() as u32, kind] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Solo5\0\0\0");
    note.extend(descriptor);
    note
}

/// The note of an image for this version of this target.
pub(crate) fn abi(target: u32, version: u32) -> Vec<u8> {
    let words = [target, version, 0, 0].map(u32::to_le_bytes);
    note(ABI_NOTE_TYPE, words.as_flattened())
}

/// The note of a manifest.
pub(crate) fn manifest(entries: &[Entry]) -> Vec<u8> {
    let padding = [0; 4];
    note(MANIFEST_NOTE_TYPE, &[&padding[..], &header(entries.len()), entries.as_bytes()].concat())
}
