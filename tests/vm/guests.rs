//! Guests of a few instructions, which do what no image of ours does: look at how they start, and do
//! what they may not.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mnet_tests::Running;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use solo5_abi::Entry;
use zerocopy::IntoBytes;

#[path = "../../crates/tender/tests/tender/elf.rs"]
#[allow(dead_code, reason = "the tender's tests need more of it")]
mod elf;

use elf::{Elf, R, Segment, W, abi};

/// Memory that a guest may write to: one page, which the tender fills in.
const DATA: u64 = 0x20_0000;
/// The file of a guest.
const IMAGE: &str = "/tmp/guest.hvt";

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

/// `mov [address], rax`
fn store(address: u64) -> Vec<u8> {
    [&[0x48, 0x89, 0x04, 0x25][..], &(address as u32).to_le_bytes()].concat()
}

/// A tender about to run a guest of this code and data, on a user network.
fn tender(code: &[u8], data: &[u8]) -> Command {
    let mut command = with(code, data, &[Entry::net("service")]);
    command.args(["--net:service=user", IMAGE]);
    command
}

/// A tender for a guest of this code, data and devices: what is to follow is options and [`IMAGE`].
fn with(code: &[u8], data: &[u8], devices: &[Entry]) -> Command {
    let mut image = Elf::new(code, devices);
    image.notes[0] = abi(1, 2);
    image.segments.push(Segment { memory_size: 4096, ..Segment::new(DATA, data, R | W) });
    fs::write(IMAGE, image.build()).unwrap();
    let mut tender = Command::new("/mnet-tender");
    tender.arg("--mem=4");
    tender
}

/// Runs a tender to its end, and gives its status and what it says.
fn run(mut tender: Command) -> (i32, String) {
    let output = tender.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), [String::from_utf8(output.stdout).unwrap(), said].concat())
}

/// The processor is as Solo5 starts it, except that pages may be kept from being executed; and a
/// call that no image makes here works, too.
pub(super) fn start_as_under_solo5() {
    // Each is brought into rax.
    let state: [(&str, &[u8], u64); 11] = [
        ("rsp", &[0x48, 0x89, 0xe0], (4 << 20) - 8),
        ("rdi", &[0x48, 0x89, 0xf8], 0x1_0000),
        ("rflags", &[0x9c, 0x58], 2),
        // The bit of the coprocessor is always set.
        ("cr0", &[0x0f, 0x20, 0xc0], 0x8001_0031),
        ("cr3", &[0x0f, 0x20, 0xd8], 0x2000),
        ("cr4", &[0x0f, 0x20, 0xe0], 0x620),
        ("efer", &[0xb9, 0x80, 0, 0, 0xc0, 0x0f, 0x32], 0xd00),
        ("cs", &[0x8c, 0xc8], 8),
        ("ss", &[0x8c, 0xd0], 16),
        ("ds", &[0x8c, 0xd8], 16),
        // cpuid 1; and edx, 1 << 9; mov eax, edx: whether there are interrupts.
        ("apic", &[0xb8, 1, 0, 0, 0, 0x0f, 0xa2, 0x81, 0xe2, 0, 2, 0, 0, 0x89, 0xd0], 0),
    ];
    let size = (state.len() as u64 + 1) * 8;
    let arguments = DATA + size;
    let mut code = Vec::new();
    for (place, (_, read, _)) in (DATA..).step_by(8).zip(state) {
        code.extend([read, &store(place)].concat());
    }
    // What it has found, and the time, are put to the console.
    code.extend(call(1, (arguments - 8) as u32));
    code.extend(call(2, arguments as u32));
    code.extend(call(8, arguments as u32 + 16));
    let mut data = vec![0; size as usize];
    data.extend([DATA, size, 0, 3].map(u64::to_le_bytes).as_flattened());
    let mut tender = with(&code, &data, &[]);
    let output = tender.arg(IMAGE).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let (words, _) = output.stdout.as_chunks();
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
    for (what, _, expected) in state {
        assert_eq!(words.next(), Some(expected), "{what}");
    }
    let told = UNIX_EPOCH + Duration::from_nanos(words.next().unwrap());
    let now = SystemTime::now();
    assert!(told <= now && now < told + Duration::from_secs(10), "{told:?}, not {now:?}");
}

/// What a guest has put into the ring is sent, even if it halts at once; and the network may be
/// whatever is open already, but whoever takes nothing does not keep the guest's process.
pub(super) fn send_all_before_they_end() {
    const FRAME: [u8; 64] = [7; 64];
    let buffer = DATA + 512;
    let received = |count| {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        fcntl_setfd(&theirs, FdFlags::empty()).unwrap();
        let (mut code, mut data) = call_with(7, &[1, buffer, 64, 9]);
        data.extend([0u64, 0, 5].map(u64::to_le_bytes).as_flattened());
        for number in 0..count {
            code.extend(entry(number, [1, 1, buffer as u32, 0, 64, number]));
        }
        // No kick: the host may sleep, and is to look by itself.
        code.extend(tail(count));
        code.extend(call(8, DATA as u32 + 40));
        let mut tender = with(&code, &data, &[Entry::net("service")]);
        tender.arg(format!("--net:service=@{}", theirs.as_raw_fd())).arg(IMAGE);
        ours.send(&FRAME).unwrap();
        assert_eq!(run(tender), (5, String::new()));
        ours.set_nonblocking(true).unwrap();
        let mut received = [0; 128];
        let lengths: Vec<usize> = std::iter::from_fn(|| ours.recv(&mut received).ok()).collect();
        assert_eq!(received[..64], FRAME);
        assert!(lengths.iter().all(|length| *length == 64), "{lengths:?}");
        lengths.len()
    };
    assert_eq!(received(9), 9);
    // More than the host holds of what nobody takes.
    let sent = received(1_000);
    assert!((1..1_000).contains(&sent), "{sent}");
}

pub(super) fn are_refused() {
    let halt = |status: u64| call_with(8, &[0, status]);
    let (code, data) = halt(7);
    let mut without_devices = with(&code, &data, &[]);
    without_devices.arg(IMAGE);
    assert_eq!(run(without_devices), (7, String::new()));

    let end = 4u64 << 20;
    let refused = |(code, data): (Vec<u8>, Vec<u8>), expected: &str| {
        let (status, said) = run(tender(&code, &data));
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
    let words = [1, DATA, 1 << 20, 0];
    refused(call_with(6, &words), "its call net_write has 1048576 bytes, more than there can be");
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

    by_the_ring_too();

    // One that runs for ever is in nobody's way, and ends with its tender.
    let (mut code, mut data) = call_with(2, &[DATA + 16, 6]);
    data.extend(b"spins\n");
    code.extend([0xeb, 0xfe]);
    let mut spinning = Running::start(&mut tender(&code, &data));
    let _ = spinning.line("spins");
    spinning.signal(Signal::TERM);
    assert_eq!(spinning.wait().code(), Some(143));

    // What is not there but no danger is an error of the call: block_read of a network.
    let (mut code, data) = call_with(5, &[1, 0, DATA, 512, 0]);
    // mov eax, [DATA + 32]; mov [DATA + 8], eax: the result is the status of halt.
    code.extend([&[0x8b, 0x04, 0x25][..], &(DATA as u32 + 32).to_le_bytes()].concat());
    code.extend([&[0x89, 0x04, 0x25][..], &(DATA as u32 + 8).to_le_bytes()].concat());
    code.extend(call(8, DATA as u32));
    assert_eq!(run(tender(&code, &data)).0, 2);
}

/// Where the ring of a guest is: at the end of 4 MiB, in 13 pages.
const RING: u32 = (4 << 20) - 13 * 4096;

/// `mov dword [address], value`
fn set_at(address: u32, value: u32) -> Vec<u8> {
    [&[0xc7, 0x04, 0x25], &address.to_le_bytes()[..], &value.to_le_bytes()].concat()
}

/// Puts an entry of these words into the ring.
fn entry(number: u32, words: [u32; 6]) -> Vec<u8> {
    let places = (RING + 128 + number * 32..).step_by(4);
    places.zip(words).flat_map(|(place, word)| set_at(place, word)).collect()
}

/// Moves the ring's tail.
fn tail(tail: u32) -> Vec<u8> {
    set_at(RING, tail)
}

fn by_the_ring_too() {
    let end = 4 << 20;
    for (words, tail, expected) in [
        ([1, 1, end, 0, 64, 0], 1, "its call of the ring has memory that it may not: 64 bytes at"),
        ([2, 1, end - 1, 0, 2, 0], 1, "its call of the ring has memory that it may not: 2 bytes"),
        ([2, 1, 0x1000, 0, 64, 0], 1, "its call of the ring has memory that it may not: 64 bytes"),
        ([1, 1, DATA as u32, 1, 64, 0], 1, "its call of the ring has memory that it may not"),
        ([1, 1, DATA as u32, 0, 1 << 20, 0], 1, "its call of the ring has 1048576 bytes, more"),
        ([3, 1, DATA as u32, 0, 64, 0], 1, "it asked for operation 3 in the ring"),
        ([1, 1, DATA as u32, 0, 64, 0], 1_025, "it put 1025 entries into the ring at once"),
    ] {
        let code = [entry(0, words), self::tail(tail), set(0), out(0x600), vec![0xeb, 0xfe]];
        let (status, said) = run(tender(&code.concat(), &[]));
        assert_eq!(status, 255, "{said}");
        assert!(
            said.starts_with(&format!("mnet-tender: the image was ended: {expected}")),
            "{said}"
        );
    }
}

/// Blocks of a device are read and written whole, within its capacity.
pub(super) fn have_block_devices() {
    const DISK: &str = "/tmp/disk";
    fs::write(DISK, [7; 4096]).unwrap();
    let mut storage = Entry::net("storage");
    storage.as_mut_bytes()[68] = 1;
    // Makes the call with these words, and ends with its result, and the byte at the buffer.
    let access = |number, offset, length| {
        let (mut code, data) = call_with(number, &[1, offset, DATA + 512, length, 9]);
        // xor eax, eax; mov al, [DATA + 512]; shl eax, 4; or al, [DATA + 32]; mov [DATA + 8], eax
        code.extend(
            [&[0x31, 0xc0, 0x8a, 0x04, 0x25][..], &(DATA as u32 + 512).to_le_bytes()].concat(),
        );
        code.extend(
            [&[0xc1, 0xe0, 4, 0x0a, 0x04, 0x25][..], &(DATA as u32 + 32).to_le_bytes()].concat(),
        );
        code.extend([&[0x89, 0x04, 0x25][..], &(DATA as u32 + 8).to_le_bytes()].concat());
        code.extend(call(8, DATA as u32));
        let mut tender = with(&code, &data, &[storage]);
        tender.arg(format!("--block:storage={DISK}")).arg(IMAGE);
        run(tender)
    };
    const WRITE: u16 = 4;
    const READ: u16 = 5;
    let (ok, invalid) = (0, 2);
    assert_eq!(access(READ, 512, 512), (7 << 4 | ok, String::new()));
    assert_eq!(access(WRITE, 512, 512), (ok, String::new()));
    assert_eq!(access(READ, 512, 512), (ok, String::new()), "it was written");
    assert_eq!(access(READ, 4096 - 512, 512), (7 << 4 | ok, String::new()));
    assert_eq!(access(WRITE, 0, 1_024), (ok, String::new()), "several at once");
    assert_eq!(access(READ, 512, 1_024), (ok, String::new()));
    for (offset, length) in [
        (4096, 512),
        (4096 - 512, 1_024),
        (1, 512),
        (u64::MAX - 511, 512),
        (0, 511),
        (0, 1_023),
        (0, 0),
    ] {
        assert_eq!(access(READ, offset, length).0, invalid, "{length} bytes at {offset}");
        assert_eq!(access(WRITE, offset, length).0, invalid, "{length} bytes at {offset}");
    }
    assert_eq!(fs::metadata(DISK).unwrap().len(), 4096);
}
