//! Guests of a few instructions, which do what they may not.

use std::fs;
use std::process::Command;

use solo5_abi::Entry;

#[path = "../../crates/tender/tests/tender/elf.rs"]
#[allow(dead_code, reason = "the tender's tests need more of it")]
mod elf;

use elf::{Elf, R, Segment, W, abi};

/// Memory that a guest may write to: one page, which the tender fills in.
const DATA: u64 = 0x20_0000;

/// `mov eax, value`
fn set(value: u32) -> Vec<u8> {
    [&[0xb8], &value.to_le_bytes()[..]].concat()
}

/// `mov dx, port; out dx, eax`
fn out(port: u16) -> Vec<u8> {
    [&[0x66, 0xba], &port.to_le_bytes()[..], &[0xef]].concat()
}

/// Makes a call with arguments at this address.
fn call(number: u16, address: u32) -> Vec<u8> {
    [set(address), out(0x500 + number)].concat()
}

/// Makes a call with these words for arguments.
fn call_with(number: u16, words: &[u64]) -> (Vec<u8>, Vec<u8>) {
    let data = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    (call(number, DATA as u32), data)
}

/// Runs a guest of this code and data, and gives its status and what the tender says of it.
fn run(code: &[u8], data: &[u8], options: &[&str]) -> (i32, String) {
    let devices: &[Entry] = if options.is_empty() { &[] } else { &[Entry::net("service")] };
    let mut image = Elf::new(code, devices);
    image.notes[0] = abi(1, 2);
    image.segments.push(Segment { memory_size: 4096, ..Segment::new(DATA, data, R | W) });
    fs::write("/tmp/guest.hvt", image.build()).unwrap();
    let mut tender = Command::new("/mnet-tender");
    let output = tender.arg("--mem=4").args(options).arg("/tmp/guest.hvt").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), [String::from_utf8(output.stdout).unwrap(), said].concat())
}

pub(super) fn are_refused() {
    let halt = |status: u64| call_with(8, &[0, status]);
    let (code, data) = halt(7);
    assert_eq!(run(&code, &data, &[]), (7, String::new()));

    let end = 4u64 << 20;
    let refused = |(code, data): (Vec<u8>, Vec<u8>), expected: &str| {
        let (status, said) = run(&code, &data, &["--net:service=user"]);
        assert_eq!(status, 255, "{said}");
        assert!(
            said.starts_with(&format!("mnet-tender: the image was ended: {expected}")),
            "{said}"
        );
        assert_eq!(said.contains(", at rip 0x1000"), !said.contains("exception"), "{said}");
    };
    // The arguments themselves are where there is nothing, or where the guest sees nothing.
    for address in [0, 0x1000, 0x8000, end as u32 - 4, end as u32, u32::MAX] {
        let (name, size) = ("its call puts has memory that it may not", 16);
        refused((call(2, address), vec![]), &format!("{name}: {size} bytes at {address:#x}"));
    }
    for (number, name, words, length) in [
        (2, "puts", &[end - 1, 2][..], 2),
        (2, "puts", &[0x10_0000, u64::MAX], u64::MAX),
        (2, "puts", &[u64::MAX, 1], 1),
        (6, "net_write", &[1, end, 64, 0], 64),
        (7, "net_read", &[1, 1 << 32, 64, 0], 64),
        (4, "block_write", &[1, 0, end, 512, 0], 512),
        (5, "block_read", &[1, 0, 0x2000, 512, 0], 512),
    ] {
        let expected = format!("its call {name} has memory that it may not: {length} bytes at ");
        refused(call_with(number, words), &expected);
    }
    for (number, name) in [(6, "net_write"), (7, "net_read")] {
        let words = [1, 0x20_0000, 1 << 20, 0];
        refused(call_with(number, &words), &format!("its call {name} has 1048576 bytes"));
    }
    refused(call_with(9, &[]), "it made call 9, which there is not");
    refused(call_with(0, &[]), "it made call 0, which there is not");
    refused((out(0x80), vec![]), "it used port 0x80, at which there is nothing");
    // hlt; ud2, which no handler takes; a read beyond all memory; a write to code
    refused((vec![0xf4], vec![]), "it halted its processor for good");
    refused((vec![0x0f, 0x0b], vec![]), "it had an exception that it could not handle");
    for address in [end as u32, 0x10_0000, 0x1_0000, 0x1000, 0] {
        // mov [address], eax
        let code = [&[0x89, 0x04, 0x25], &address.to_le_bytes()[..]].concat();
        refused((code, vec![]), "it had an exception that it could not handle");
    }
    // jmp to data
    refused(([set(DATA as u32), vec![0xff, 0xe0]].concat(), vec![0x90]), "it had an exception");

    // What is not there but no danger is an error of the call: block_read of a network.
    let (mut code, data) = call_with(5, &[1, 0, DATA, 512, 0]);
    // mov eax, [DATA + 32]; mov [DATA + 8], eax: the result is the status of halt.
    code.extend([&[0x8b, 0x04, 0x25][..], &(DATA as u32 + 32).to_le_bytes()].concat());
    code.extend([&[0x89, 0x04, 0x25][..], &(DATA as u32 + 8).to_le_bytes()].concat());
    code.extend(call(8, DATA as u32));
    assert_eq!(run(&code, &data, &["--net:service=user"]).0, 2);
}
