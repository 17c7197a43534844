use proptest::prelude::*;

use super::*;

#[path = "../../tests/tender/elf.rs"]
mod elf;

use elf::{BASE, Elf, R, Segment as ElfSegment, W, X, abi, manifest as manifest_note, note};

const CODE: &[u8] = b"\x0f\x05";

fn image() -> Elf {
    Elf::new(CODE, &[Entry::net("service")])
}

/// What is said of the image that is made so.
fn error(change: impl FnOnce(&mut Elf)) -> String {
    let mut elf = image();
    change(&mut elf);
    Image::parse(elf.build()).unwrap_err().to_string()
}

/// What is said of the image with these bytes of the file changed.
fn error_at(offset: usize, bytes: &[u8]) -> String {
    let mut file = image().build();
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    Image::parse(file).unwrap_err().to_string()
}

#[test]
fn an_image_is_its_segments_its_entry_point_and_its_manifest() {
    let mut elf = image();
    elf.segments
        .push(ElfSegment { memory_size: 0x2001, ..ElfSegment::new(BASE + 0x1008, b"data", R | W) });
    elf.segments.push(ElfSegment { memory_size: 1, ..ElfSegment::new(BASE + 0x5000, b"", R) });
    elf.segments.push(ElfSegment::new(0, b"", R));
    let image = Image::parse(elf.build()).unwrap();

    assert_eq!(image.entry(), BASE);
    assert_eq!(image.end(), BASE + 0x6000);
    let segments: Vec<_> = image
        .segments()
        .map(|(s, bytes)| {
            (s.pages.clone(), s.address - BASE, bytes, [s.readable, s.writable, s.executable])
        })
        .collect();
    assert_eq!(
        segments,
        [
            (BASE..BASE + 0x1000, 0, CODE, [true, false, true]),
            (BASE + 0x1000..BASE + 0x4000, 0x1008, &b"data"[..], [true, true, false]),
            (BASE + 0x5000..BASE + 0x6000, 0x5000, &b""[..], [true, false, false]),
        ]
    );
    let names: Vec<_> = image.manifest().iter().map(Entry::name).collect();
    assert_eq!(names, ["", "service"]);
}

#[test]
fn what_is_no_static_program_for_x86_64_is_refused() {
    assert_eq!(
        Image::parse(b"#!/bin/sh\n".to_vec()).unwrap_err().to_string(),
        "is not an ELF file; give an image built for spt"
    );
    assert_eq!(error_at(4, &[1]), "is not an ELF file of 64 bits; give an image built for spt");
    assert!(error_at(5, &[2]).contains("little endian"));
    assert!(error_at(20, &[2]).contains("ELF file of version 1"));
    assert!(error_at(18, &[183]).contains("for x86-64"));
    assert!(error_at(16, &[3]).contains("a static executable"));
    assert!(error_at(52, &[63]).contains("headers of the usual sizes"));
    assert!(error_at(54, &[57]).contains("headers of the usual sizes"));
    assert!(error_at(56, &[0]).contains("with program headers"));
    assert!(error_at(57, &[0xff]).contains("ends before its program headers"));
}

#[test]
fn a_file_that_was_cut_off_is_refused_wherever_that_was() {
    let whole = image().build();
    for length in 0..whole.len() {
        assert!(Image::parse(whole[..length].to_vec()).is_err(), "{length} bytes");
    }
    assert!(Image::parse(whole).is_ok());
}

#[test]
fn an_image_without_notes_or_for_another_tender_is_refused() {
    assert!(error(|elf| elf.notes.clear()).starts_with("has no Solo5 notes"));
    assert!(error(|elf| elf.notes.truncate(1)).starts_with("has no Solo5 manifest"));
    assert_eq!(
        error(|elf| elf.notes[0] = abi(3, 2)),
        "is built for virtio, not for spt or hvt; build it for spt"
    );
    assert_eq!(
        error(|elf| elf.notes[0] = abi(2, 1)),
        "is built for version 1 of spt, not 2; build it with Solo5 v0.12"
    );
    assert_eq!(
        error(|elf| elf.notes[0] = abi(1, 3)),
        "is built for version 3 of hvt, not 2; build it with Solo5 v0.12"
    );
    assert!(error(|elf| elf.notes[0] = note(ABI_NOTE_TYPE, &[2, 0, 0, 0])).contains("ABI1"));
}

#[test]
fn notes_are_found_beside_others_and_in_one_segment() {
    let gnu = b"\x04\0\0\0\x02\0\0\0\x01\0\0\0GNU\0\xff\xff\0\0";
    let mut elf = image();
    elf.notes.insert(0, gnu.to_vec());
    assert!(Image::parse(elf.build()).is_ok());
    elf.notes = vec![[&gnu[..], &elf.notes[1], &elf.notes[2]].concat()];
    assert_eq!(Image::parse(elf.build()).unwrap().manifest().len(), 2);
}

#[test]
fn a_malformed_manifest_is_refused() {
    let manifest = |entries: &[Entry]| error(|elf| elf.notes[1] = manifest_note(entries));
    let (net, first) = (Entry::net("service"), Entry::RESERVED);
    assert!(manifest(&[net]).contains("entry 0"));
    assert!(manifest(&[first, first]).contains("entry 1"));
    assert!(manifest(&[first, net, net]).contains("entry 2"), "the same name twice");
    assert!(manifest(&[]).contains("0 manifest entries"));
    assert!(manifest(&[first; 65]).contains("65 manifest entries"));
    let short = note(MANIFEST_NOTE_TYPE, &[0; 3]);
    assert!(error(|elf| elf.notes[1] = short).contains("MFT1"));
}

#[test]
fn what_an_image_says_of_the_tenders_part_of_its_manifest_is_not_believed() {
    let mut entry = Entry::net("service");
    entry.attach_net(7, [2, 0, 0, 0, 0, 1], 9000);
    let image = Image::parse(Elf::new(CODE, &[entry]).build()).unwrap();
    let entry = &image.manifest()[1];
    assert!(!entry.is_attached());
    assert_eq!((entry.mtu(), entry.host_descriptor()), (0, 0));
}

#[test]
fn a_segment_that_cannot_be_loaded_as_it_is_is_refused() {
    let segment = |segment: ElfSegment| error(|elf| elf.segments.push(segment));
    let after = BASE + 0x1000;
    let data = |address| ElfSegment::new(address, b"data", R | W);
    assert_eq!(
        segment(ElfSegment::new(after, b"data", R | W | X)),
        "cannot be loaded: segment 1 at 0x101000 is both writable and executable"
    );
    assert!(segment(data(BASE + 8)).contains("shares a page"));
    assert!(segment(ElfSegment { align: 0x2000, ..data(after) }).contains("shares a page"));
    assert!(segment(ElfSegment { memory_size: 3, ..data(after) }).contains("larger in the file"));
    assert!(segment(ElfSegment { align: 0, ..data(after) }).contains("not aligned"));
    assert!(segment(ElfSegment { align: 0x1800, ..data(after) }).contains("not aligned"));
    assert!(segment(ElfSegment { align: 8, ..data(after + 8) }).contains("not aligned"));
    assert!(segment(ElfSegment { memory_size: u64::MAX, ..data(after) }).contains("not aligned"));
    assert!(segment(data(u64::MAX - 8)).contains("not aligned"));

    let first = |address| error(|elf| elf.segments.insert(0, data(address)));
    assert!(first(0xff000).contains("lies below 0x100000"));
    assert!(first(0).contains("lies below 0x100000"));
    assert!(first(BASE + 0x1000).contains("not in ascending order"));
}

#[test]
fn an_entry_point_that_is_not_executable_is_refused() {
    let expected = "cannot be started: its entry point 0x101000 is in no executable segment";
    assert_eq!(error(|elf| elf.entry = BASE + 0x1000), expected);
    let data = ElfSegment::new(BASE + 0x1000, b"data", R | W);
    assert_eq!(
        error(|elf| {
            elf.entry = BASE + 0x1000;
            elf.segments.push(data);
        }),
        expected
    );
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(changes in proptest::collection::vec((0usize..600, any::<u8>()), 1..8)) {
        let mut file = image().build();
        for (at, byte) in changes {
            if let Some(target) = file.get_mut(at) {
                *target = byte;
            }
        }
        if let Ok(image) = Image::parse(file) {
            // What was accepted can be loaded, segment by segment.
            for (segment, bytes) in image.segments() {
                prop_assert!(segment.pages.start <= segment.address);
                prop_assert!(segment.address + bytes.len() as u64 <= segment.pages.end);
                prop_assert!(segment.pages.end <= image.end());
            }
        }
    }
}
