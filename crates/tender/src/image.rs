//! Solo5 images: an ELF file and its notes, read and checked before anything is loaded.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use elf::abi::{EM_X86_64, ET_EXEC, PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::segment::{ProgramHeader, SegmentTable};
use solo5_abi::manifest::{self, ManifestError};
use solo5_abi::{
    ABI_NOTE_TYPE, AbiNote, Entry, GUEST_MIN_BASE, Kind, MANIFEST_NOTE_ALIGN, MANIFEST_NOTE_TYPE,
    NoteHeader, Target, hvt, spt,
};
use zerocopy::FromBytes;

/// Size of a page of guest memory in bytes.
pub(crate) const PAGE: u64 = 4096;

/// Least memory that an image gets behind its own end, for heap and stack, in bytes.
const LEAST_HEAP_AND_STACK: u64 = 64 << 10;
/// Most bytes of a file: there are none so large, and it is read whole.
const MAX_FILE: u64 = 1 << 30;
const IDENT_SIZE: usize = 16;
const HEADER_SIZE: usize = 64;
const PROGRAM_HEADER_SIZE: u16 = 56;

/// An image that has passed every check that needs no memory size.
#[derive(Debug)]
pub(crate) struct Image {
    file: Vec<u8>,
    target: Target,
    entry: u64,
    segments: Vec<Segment>,
    manifest: Vec<Entry>,
}

/// A part of the image that is loaded: ascending, not overlapping, never writable and executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The pages that it lies on, and that get its protection.
    pub(crate) pages: Range<u64>,
    /// Where its bytes go; what lies behind them up to the end of the pages is zero.
    pub(crate) address: u64,
    /// Where its bytes are in the file.
    bytes: Range<usize>,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) executable: bool,
}

impl Image {
    /// Reads and checks the image at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, ImageError> {
        let metadata = fs::metadata(path).map_err(ImageError::Open)?;
        if !metadata.is_file() {
            return Err(ImageError::NoFile);
        }
        if metadata.len() > MAX_FILE {
            return Err(ImageError::TooLarge);
        }
        let mut file = Vec::new();
        fs::File::open(path)
            .and_then(|opened| opened.take(metadata.len()).read_to_end(&mut file))
            .map_err(ImageError::Open)?;
        Self::parse(file)
    }

    /// Checks the image that is in `file`.
    pub(crate) fn parse(file: Vec<u8>) -> Result<Self, ImageError> {
        let header = parse_header(&file)?;
        let table_size = usize::from(header.e_phnum) * usize::from(PROGRAM_HEADER_SIZE);
        let table = slice(&file, header.e_phoff, table_size as u64)
            .ok_or(ImageError::Truncated("its program headers"))?;
        let headers: Vec<_> = SegmentTable::new(LittleEndian, Class::ELF64, table).iter().collect();

        let (target, manifest) = parse_notes(&file, &headers)?;
        let segments = parse_segments(&file, &headers)?;
        let entry = header.e_entry;
        if !segments.iter().any(|s| s.executable && s.pages.contains(&entry)) {
            return Err(ImageError::Entry(entry));
        }
        Ok(Self { file, target, entry, segments, manifest })
    }

    /// What it is built for.
    pub(crate) fn target(&self) -> Target {
        self.target
    }

    /// Address of its first instruction.
    pub(crate) fn entry(&self) -> u64 {
        self.entry
    }

    /// The first address behind it, page-aligned.
    pub(crate) fn end(&self) -> u64 {
        self.segments.last().map_or(GUEST_MIN_BASE, |segment| segment.pages.end)
    }

    /// The least memory that it can do with, in bytes.
    pub(crate) fn least_memory(&self) -> u64 {
        self.end().saturating_add(LEAST_HEAP_AND_STACK)
    }

    /// What to load where.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (&Segment, &[u8])> {
        self.segments.iter().map(|segment| (segment, &self.file[segment.bytes.clone()]))
    }

    /// The devices that it asks for, the reserved first entry included: the index is the handle.
    pub(crate) fn manifest(&self) -> &[Entry] {
        &self.manifest
    }
}

fn parse_header(file: &[u8]) -> Result<FileHeader<LittleEndian>, ImageError> {
    if !file.starts_with(b"\x7fELF") {
        return Err(ImageError::NotElf);
    }
    let (ident, tail) =
        file.split_at_checked(IDENT_SIZE).ok_or(ImageError::Truncated("its header"))?;
    let unsupported = |what| ImageError::Unsupported(what);
    let ident =
        parse_ident(ident).map_err(|_| unsupported("an ELF file of 64 bits, little endian"))?;
    if ident.1 != Class::ELF64 {
        return Err(unsupported("an ELF file of 64 bits"));
    }
    if file.len() < HEADER_SIZE {
        return Err(ImageError::Truncated("its header"));
    }
    let header =
        FileHeader::parse_tail(ident, tail).map_err(|_| ImageError::Truncated("its header"))?;
    if header.version != 1 {
        return Err(unsupported("an ELF file of version 1"));
    }
    if header.e_machine != EM_X86_64 {
        return Err(unsupported("an ELF file for x86-64"));
    }
    if header.e_type != ET_EXEC {
        return Err(unsupported("a static executable at fixed addresses (ET_EXEC)"));
    }
    if usize::from(header.e_ehsize) != HEADER_SIZE || header.e_phentsize != PROGRAM_HEADER_SIZE {
        return Err(unsupported("an ELF file with headers of the usual sizes"));
    }
    if header.e_phnum == 0 {
        return Err(unsupported("an ELF file with program headers"));
    }
    Ok(header)
}

/// Checks the ABI note, and returns its target and the entries of the manifest note.
fn parse_notes(file: &[u8], headers: &[ProgramHeader]) -> Result<(Target, Vec<Entry>), ImageError> {
    let abi = find_note(file, headers, ABI_NOTE_TYPE)?.ok_or(ImageError::NoNotes)?;
    let (abi, _) = AbiNote::read_from_prefix(abi).map_err(|_| ImageError::Note("ABI1"))?;
    let (target, known) = match abi.target {
        target if target == Target::Hvt as u32 => (Target::Hvt, hvt::ABI_VERSION),
        target if target == Target::Spt as u32 => (Target::Spt, spt::ABI_VERSION),
        other => return Err(ImageError::Target(other)),
    };
    if abi.version != known {
        return Err(ImageError::Version { version: abi.version, target, known });
    }

    let note = find_note(file, headers, MANIFEST_NOTE_TYPE)?.ok_or(ImageError::NoManifest)?;
    // The alignment is counted from the note's start, and what it skips is part of the descriptor.
    let manifest = note
        .get(size_of::<NoteHeader>().next_multiple_of(MANIFEST_NOTE_ALIGN)..)
        .ok_or(ImageError::Note("MFT1"))?;
    let mut entries: Vec<_> = manifest::parse(manifest).map_err(ImageError::Manifest)?.collect();
    check_entries(&entries)?;
    entries.iter_mut().for_each(Entry::detach);
    Ok((target, entries))
}

fn check_entries(entries: &[Entry]) -> Result<(), ImageError> {
    let mut names = HashSet::new();
    for (index, entry) in entries.iter().enumerate() {
        match (index, entry.kind()) {
            (0, Some(Kind::ReservedFirst)) if entry.name().is_empty() => {}
            (0, _) | (_, Some(Kind::ReservedFirst) | None) => {
                return Err(ImageError::Entries(index));
            }
            _ if entry.name().is_empty() || !names.insert(entry.name()) => {
                return Err(ImageError::Entries(index));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The first of Solo5's notes of this type: header and descriptor.
fn find_note<'f>(
    file: &'f [u8],
    headers: &[ProgramHeader],
    kind: u32,
) -> Result<Option<&'f [u8]>, ImageError> {
    for header in headers.iter().filter(|header| header.p_type == PT_NOTE) {
        let mut notes = slice(file, header.p_offset, header.p_filesz)
            .ok_or(ImageError::Truncated("its notes"))?;
        // Solo5 gives each note a segment of its own; other linkers may put several into one.
        while let Ok((note, _)) = NoteHeader::read_from_prefix(notes) {
            let name_size = (note.name_size as usize).next_multiple_of(4);
            let end = (12 + name_size).saturating_add(note.descriptor_size as usize);
            if note.is(kind) {
                return notes.get(..end).map(Some).ok_or(ImageError::Truncated("its notes"));
            }
            let align = if header.p_align == 8 { 8 } else { 4 };
            match notes.get(end.next_multiple_of(align)..) {
                Some(rest) => notes = rest,
                None => break,
            }
        }
    }
    Ok(None)
}

fn parse_segments(file: &[u8], headers: &[ProgramHeader]) -> Result<Vec<Segment>, ImageError> {
    let mut segments: Vec<Segment> = Vec::new();
    for (index, header) in headers.iter().enumerate() {
        if header.p_type != PT_LOAD || header.p_memsz == 0 && header.p_filesz == 0 {
            continue;
        }
        let wrong = |what| ImageError::Segment { index, address: header.p_vaddr, what };
        if header.p_filesz > header.p_memsz {
            return Err(wrong("is larger in the file than in memory"));
        }
        let pages = pages(header).ok_or(wrong("is not aligned to pages"))?;
        if pages.start < GUEST_MIN_BASE {
            return Err(wrong("lies below 0x100000"));
        }
        if let Some(last) = segments.last() {
            if header.p_vaddr < last.address {
                return Err(wrong("is not in ascending order"));
            }
            if pages.start < last.pages.end {
                return Err(wrong("shares a page with the one before it"));
            }
        }
        let [readable, writable, executable] =
            [PF_R, PF_W, PF_X].map(|flag| header.p_flags & flag != 0);
        if writable && executable {
            return Err(wrong("is both writable and executable"));
        }
        let bytes = slice_range(file, header.p_offset, header.p_filesz)
            .ok_or(ImageError::Truncated("a segment"))?;
        let address = header.p_vaddr;
        segments.push(Segment { pages, address, bytes, readable, writable, executable });
    }
    Ok(segments)
}

/// The pages of a segment, by its own alignment; `None` if that is none, or they overflow.
fn pages(header: &ProgramHeader) -> Option<Range<u64>> {
    if !header.p_align.is_power_of_two() {
        return None;
    }
    let mask = header.p_align - 1;
    let start = header.p_vaddr & !mask;
    let end = header.p_vaddr.checked_add(header.p_memsz)?.checked_add(mask)? & !mask;
    (start.is_multiple_of(PAGE) && end.is_multiple_of(PAGE)).then_some(start..end)
}

fn slice(file: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    Some(&file[slice_range(file, offset, size)?])
}

fn slice_range(file: &[u8], offset: u64, size: u64) -> Option<Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    (end <= file.len()).then_some(start..end)
}

/// What is wrong with an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// It cannot be opened or read.
    #[error("cannot be read: {0}")]
    Open(#[source] io::Error),
    /// It is a directory, a device or the like.
    #[error("is not a file; name the image itself")]
    NoFile,
    /// Its file is larger than any image.
    #[error("is larger than 1 GiB; give an image built for spt")]
    TooLarge,
    /// It is nothing that the host can start, as a hosted unikernel must be.
    #[error("is not a program; give a unikernel built as hosted")]
    NoProgram,
    /// It does not begin as ELF files do.
    #[error("is not an ELF file; give an image built for spt")]
    NotElf,
    /// The file ends before this part of it does.
    #[error("ends before {0}; it was not copied or linked whole")]
    Truncated(&'static str),
    /// It is an ELF file, but none of this kind.
    #[error("is not {0}; give an image built for spt")]
    Unsupported(&'static str),
    /// It has no ABI note.
    #[error("has no Solo5 notes, so it is no unikernel; give an image built for spt")]
    NoNotes,
    /// It has no manifest note.
    #[error("has no Solo5 manifest; link it with one")]
    NoManifest,
    /// One of its notes is too short for what it must say.
    #[error("has a malformed {0} note; build it again")]
    Note(&'static str),
    /// It was built for another tender.
    #[error("is built for {target}, not for spt or hvt; build it for spt", target = target_name(*.0))]
    Target(u32),
    /// It was built for another version of its target.
    #[error(
        "is built for version {version} of {target}, not {known}; build it with Solo5 v0.12",
        target = target_name(*.target as u32)
    )]
    Version {
        /// The version.
        version: u32,
        /// The target.
        target: Target,
        /// The version of it that there is.
        known: u32,
    },
    /// It takes more memory than can be mapped page by page (hvt).
    #[error("is larger than 448 MiB in memory, so it is none for hvt; build it for spt")]
    TooLargeInMemory,
    /// Its manifest cannot be read.
    #[error("has a malformed manifest: {0}")]
    Manifest(#[source] ManifestError),
    /// An entry of its manifest has no valid name of its own, or an unknown kind.
    #[error("has a malformed manifest: entry {0} has no valid, unique name or no known kind")]
    Entries(usize),
    /// One of its segments cannot be loaded.
    #[error("cannot be loaded: segment {index} at {address:#x} {what}")]
    Segment {
        /// Which program header.
        index: usize,
        /// Where it asks to be.
        address: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Its entry point is not in an executable segment.
    #[error("cannot be started: its entry point {0:#x} is in no executable segment")]
    Entry(u64),
}

fn target_name(target: u32) -> String {
    match target {
        1 => "hvt".to_owned(),
        2 => "spt".to_owned(),
        3 => "virtio".to_owned(),
        4 => "muen".to_owned(),
        6 => "xen".to_owned(),
        other => format!("target {other}"),
    }
}

#[cfg(test)]
mod tests;
