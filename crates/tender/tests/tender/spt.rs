//! Whole images in the tender: how they start, what they may do, and how they end.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::elf::{BASE, Elf, R, Segment, W};
use crate::guest::{
    self, Arg, Code, DATA, EPOLL, Image, Running, SCRATCH, TIMER, device, is_gone, output, spin,
};
use solo5_abi::Entry;
use solo5_abi::spt::BOOT_INFO_BASE;

use Arg::{At, Value};

const FORBIDDEN: &str =
    "mnet-tender: the image was ended: it made a system call that is not allowed\n";

#[test]
fn the_status_of_an_image_is_passed_on_without_a_word() {
    for status in [0, 7, 255] {
        let output = Code::default().exit(status).image(&[]).run(&[]);
        assert_eq!((output.status, &*output.stdout, &*output.stderr), (status as i32, "", ""));
    }
}

#[test]
fn what_an_image_writes_to_its_console_is_on_standard_output() {
    let code = Code::default().call(1, &[Value(1), Value(DATA), Value(6)]).exit(0);
    let output = code.data(b"hello\n").image(&[]).run(&[]);
    assert_eq!((output.status, &*output.stdout), (0, "hello\n"));
}

#[test]
fn arguments_reach_the_image_as_one_line() {
    let cmdline = BOOT_INFO_BASE + 40 + 8 + 104;
    let image = Code::default().call(1, &[Value(1), Value(cmdline), Value(17)]).exit(0).image(&[]);
    let output = output(image.tender(&["--mem=4"], &["--port=7", "--", "a b"]));
    assert_eq!(output.stdout, "--port=7 -- a b\0\0");
}

#[test]
fn an_image_starts_with_clear_registers_and_the_stack_at_the_end_of_memory() {
    // or everything but rdi, rsp and r11 together, compare the others
    let code = Code::default().raw(&[
        0x48, 0x09, 0xd8, // or rax, rbx
        0x48, 0x09, 0xc8, // or rax, rcx
        0x48, 0x09, 0xd0, // or rax, rdx
        0x48, 0x09, 0xf0, // or rax, rsi
        0x48, 0x09, 0xe8, // or rax, rbp
        0x4c, 0x09, 0xc0, // or rax, r8
        0x4c, 0x09, 0xc8, // or rax, r9
        0x4c, 0x09, 0xd0, // or rax, r10
        0x4c, 0x09, 0xe0, // or rax, r12
        0x4c, 0x09, 0xe8, // or rax, r13
        0x4c, 0x09, 0xf0, // or rax, r14
        0x4c, 0x09, 0xf8, // or rax, r15
        0x75, 0x28, // jnz wrong
        0x81, 0xff, 0x00, 0x10, 0x01, 0x00, // cmp edi, 0x11000
        0x75, 0x20, // jne wrong
        0x48, 0x81, 0xfc, 0xf8, 0xff, 0x2f, 0x00, // cmp rsp, 0x2ffff8
        0x75, 0x17, // jne wrong
        0x9c, // pushf
        0x58, // pop rax
        0xf6, 0xc4, 0x04, // test ah, 4 (direction flag)
        0x75, 0x10, // jnz wrong
        0xbf, 0x2a, 0x00, 0x00, 0x00, // mov edi, 42
        0xb8, 0xe7, 0x00, 0x00, 0x00, // mov eax, 231
        0x0f, 0x05, // syscall
        0x90, 0x90, 0x90, 0x90, // nop
        0x0f, 0x0b, // wrong: ud2
    ]);
    assert_eq!(code.image(&[]).run(&["--mem=3"]).status, 42);
}

#[test]
fn boot_info_says_where_memory_and_the_image_end() {
    let mut elf = Elf::new(&[], &[]);
    let mut code = Code::default();
    // write(1, boot info, 16)
    code = code.call(1, &[Value(1), Value(BOOT_INFO_BASE), Value(16)]).exit(0);
    elf.segments = vec![code_segment(code)];
    elf.segments
        .push(Segment { memory_size: 0x3000, ..Segment::new(BASE + 0x1000, &[0x11; 16], R | W) });
    let output = Image::new(&elf).run(&["--mem=5"]);
    let words: Vec<u64> = output
        .stdout
        .as_bytes()
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
        .collect();
    assert_eq!(words, [5 << 20, BASE + 0x4000]);
}

fn code_segment(code: Code) -> Segment {
    let image = code.image(&[]);
    let file = fs::read(&image.path).unwrap();
    Segment::new(BASE, &file[64 + 3 * 56..], 5)
}

/// The devices of an image that may make all the calls there are.
const DEVICES: [Entry; 1] = [Entry::net("service")];

#[test]
fn every_call_that_is_allowed_goes_through() {
    let net = At(device(1));
    let calls: [(&str, u64, &[Arg]); 8] = [
        ("write the console", 1, &[Value(1), Value(DATA), Value(0)]),
        ("read a network", 0, &[net, Value(SCRATCH), Value(2048)]),
        ("write a network", 1, &[net, Value(DATA), Value(64)]),
        ("wall clock", 228, &[Value(0), Value(SCRATCH)]),
        ("monotonic clock", 228, &[Value(1), Value(SCRATCH)]),
        ("set FS", 158, &[Value(0x1002), Value(SCRATCH)]),
        ("set the timer", 286, &[At(TIMER), Value(1), Value(SCRATCH), Value(0)]),
        ("wait", 281, &[At(EPOLL), Value(SCRATCH), Value(1), Value(0), Value(0), Value(0)]),
    ];
    for (what, number, args) in calls {
        let code = Code::default().call(number, args).exit(42).data(&[0; 64]);
        let output = code.image(&DEVICES).run(&["--net:service=user"]);
        assert_eq!((output.status, &*output.stderr), (42, ""), "{what}");
    }
}

#[test]
fn every_other_call_ends_the_image() {
    let (net, epoll, timer) = (At(device(1)), At(EPOLL), At(TIMER));
    let [scratch, data] = [SCRATCH, DATA].map(Value);
    let calls: &[(&str, u64, &[Arg])] = &[
        ("read standard input", 0, &[Value(0), scratch, Value(1)]),
        ("read the console", 0, &[Value(1), scratch, Value(1)]),
        ("read the timer", 0, &[timer, scratch, Value(8)]),
        ("write standard input", 1, &[Value(0), data, Value(1)]),
        ("write standard error", 1, &[Value(2), data, Value(1)]),
        ("write the epoll set", 1, &[epoll, data, Value(1)]),
        ("write with more than a descriptor", 1, &[Value(1 << 32 | 1), data, Value(1)]),
        ("open", 2, &[data, Value(0)]),
        ("close a network", 3, &[net]),
        ("map", 9, &[Value(0), Value(4096), Value(7), Value(0x22), Value(u64::MAX), Value(0)]),
        ("protect", 10, &[Value(BASE), Value(4096), Value(7)]),
        ("return from a signal", 15, &[]),
        ("control a network", 16, &[net, Value(0x5401), scratch]),
        ("read at, from a network", 17, &[net, scratch, Value(512), Value(0)]),
        ("duplicate", 32, &[net]),
        ("who am I", 39, &[]),
        ("make a socket", 41, &[Value(2), Value(1), Value(0)]),
        ("send", 44, &[net, data, Value(1), Value(0), Value(0), Value(0)]),
        ("fork", 57, &[]),
        ("execute", 59, &[data, Value(0), Value(0)]),
        ("exit one thread", 60, &[Value(0)]),
        ("kill", 62, &[Value(0), Value(9)]),
        ("get FS", 158, &[Value(0x1003), scratch]),
        ("set GS", 158, &[Value(0x1001), scratch]),
        ("open at", 257, &[Value(u64::MAX - 99), data, Value(0), Value(0)]),
        ("poll", 271, &[scratch, Value(0), Value(0), Value(0), Value(0)]),
        ("clock of this process", 228, &[Value(2), scratch]),
        ("clock since boot", 228, &[Value(7), scratch]),
        ("wait on a network", 281, &[net, scratch, Value(1), Value(0), Value(0), Value(0)]),
        ("set the epoll set", 286, &[epoll, Value(1), scratch, Value(0)]),
        ("change the epoll set", 233, &[epoll, Value(2), net, scratch]),
        ("filter", 317, &[Value(1), Value(0), scratch]),
        ("use a ring", 425, &[Value(1), scratch]),
        ("a call of x32", 0x4000_0001, &[Value(1), data, Value(1)]),
        ("no call", 9999, &[]),
    ];
    for (what, number, args) in calls {
        let code = Code::default().call(*number, args).exit(42).data(&[0; 64]);
        let output = code.image(&DEVICES).run(&["--net:service=user"]);
        assert_eq!((output.status, &*output.stderr), (255, FORBIDDEN), "{what}");
    }
    // mov eax, 4; mov ebx, 1; int 0x80: write to the console, as a 32-bit program does
    let old = Code::default().raw(&[0xb8, 4, 0, 0, 0, 0xbb, 1, 0, 0, 0, 0xcd, 0x80]).exit(42);
    let output = old.image(&[]).run(&[]);
    assert_eq!((output.status, &*output.stderr), (255, FORBIDDEN));
}

#[test]
fn an_open_descriptor_is_a_network_too() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let descriptor = theirs.as_raw_fd();
    let scratch = Value(SCRATCH);
    let image = Code::default()
        .call(281, &[At(EPOLL), scratch, Value(1), Value(u64::MAX), Value(0)])
        .call(0, &[At(device(1)), scratch, Value(64)])
        .call(1, &[At(device(1)), scratch, Value(5)])
        .exit(0)
        .image(&DEVICES);
    let mut command = image.tender(&[&format!("--net:service=@{descriptor}")], &[]);
    // SAFETY: it makes one system call, which changes a flag of the descriptor.
    unsafe {
        command.pre_exec(move || match libc::fcntl(descriptor, libc::F_SETFD, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    ours.send(b"frame").unwrap();
    assert_eq!(output(command).status, 0);
    let mut buffer = [0; 64];
    let length = ours.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"frame");
}

#[test]
fn a_block_device_is_read_and_written_by_whole_blocks_within_its_capacity() {
    let file = guest::temporary("disk");
    fs::write(&file, [7; 4096]).unwrap();
    let run = |call: u64, offset: u64, size: u64| {
        // Solo5's tests call theirs so as well.
        let storage = block("storage");
        let args = [At(device(1)), Value(SCRATCH), Value(size), Value(offset)];
        let code = Code::default().call(call, &args).exit_with(SCRATCH);
        let option = format!("--block:storage={}", file.display());
        code.image(&[storage]).run(&[&option]).status
    };
    const READ: u64 = 17;
    const WRITE: u64 = 18;
    assert_eq!(run(READ, 0, 512), 7);
    assert_eq!(run(READ, 4096 - 512, 512), 7);
    assert_eq!(run(WRITE, 4096 - 512, 512), 0);
    assert_eq!(run(READ, 4096 - 512, 512), 0, "it was written");
    for (offset, size) in [
        (4096 - 511, 512),
        (4096, 512),
        (u64::MAX, 512),
        (0, 511),
        (0, 513),
        (0, 0),
        (1 << 32, 512),
    ] {
        assert_eq!(run(READ, offset, size), 255, "{size} bytes at {offset}");
        assert_eq!(run(WRITE, offset, size), 255, "{size} bytes at {offset}");
    }
    assert_eq!(fs::metadata(&file).unwrap().len(), 4096);
    fs::remove_file(file).unwrap();
}

/// An entry of the manifest that asks for a block device.
fn block(name: &str) -> Entry {
    use zerocopy::{FromBytes, IntoBytes};
    let mut entry = Entry::net(name);
    entry.as_mut_bytes()[68] = 1;
    Entry::read_from_bytes(entry.as_bytes()).unwrap()
}

#[test]
fn an_image_that_touches_what_is_not_its_own_is_ended() {
    let at = |address: u32, write: bool| {
        // mov [address], eax, or mov eax, [address]
        let opcode = if write { 0x89 } else { 0x8b };
        let code = Code::default().raw(&[opcode, 0x04, 0x25]).raw(&address.to_le_bytes()).exit(0);
        code.image(&[]).run(&["--mem=4"])
    };
    let ended = "mnet-tender: the image was ended: it touched memory, or ran an instruction, that it may not (SIGSEGV)\n";
    for (address, write) in [(0, false), (BASE as u32, true), (4 << 20, false), (0xf000, false)] {
        let output = at(address, write);
        assert_eq!((output.status, &*output.stderr), (255, ended), "{address:#x}");
    }
    assert_eq!(at(BASE as u32, false).status, 0);
    assert_eq!(at(SCRATCH as u32, true).status, 0);
    // jmp to memory that is writable
    let code = Code::default().raw(&[0xb8]).raw(&(SCRATCH as u32).to_le_bytes()).raw(&[0xff, 0xe0]);
    assert_eq!(code.image(&[]).run(&[]).status, 255);
}

#[test]
fn a_signal_to_the_tender_ends_the_image_and_leaves_nothing() {
    for (signal, status) in [(libc::SIGTERM, 143), (libc::SIGINT, 130), (libc::SIGHUP, 129)] {
        let image = spin().image(&[]);
        let mut command = image.tender(&[], &[]);
        // Whoever runs the tests may ignore SIGINT, as shells do for what is in the background.
        dispose(&mut command, libc::SIG_DFL);
        let mut running = Running::start(command, 0);
        let pid = running.image();
        running.signal(signal);
        let ended = running.child.wait().unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(running.child.stderr.as_mut().unwrap(), &mut said).unwrap();
        assert_eq!((ended.code(), &*said), (Some(status), "mnet-tender: interrupted\n"));
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
    }
}

/// Starts a command with this disposition of the signals that end a tender.
fn dispose(command: &mut Command, disposition: libc::sighandler_t) {
    // SAFETY: it makes nothing but system calls, as nohup does.
    unsafe {
        command.pre_exec(move || {
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
                libc::signal(signal, disposition);
            }
            Ok(())
        });
    }
}

#[test]
fn a_tender_that_is_to_ignore_a_signal_goes_on() {
    let image = spin().image(&[]);
    let mut command = image.tender(&[], &[]);
    dispose(&mut command, libc::SIG_IGN);
    let mut running = Running::start(command, 0);
    let pid = running.image();
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
        running.signal(signal);
        // SAFETY: kill only sends a signal, to the process of the image.
        assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
    }
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(running.child.try_wait().unwrap(), None);
    assert!(fs::exists(format!("/proc/{pid}")).unwrap());
}

#[test]
fn an_image_does_not_outlive_its_tender() {
    let image = spin().image(&[]);
    let mut running = Running::start(image.tender(&[], &[]), 0);
    let pid = running.image();
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert!(is_gone(pid));
}

#[test]
fn an_image_that_is_killed_from_outside_ends_with_a_message() {
    let image = spin().image(&[]);
    let mut running = Running::start(image.tender(&[], &[]), 0);
    // SAFETY: kill only sends a signal, to the process of the image.
    assert_eq!(unsafe { libc::kill(running.image() as i32, libc::SIGKILL) }, 0);
    assert_eq!(running.child.wait().unwrap().code(), Some(255));
}

#[test]
fn an_image_has_no_privileges_to_gain_and_no_handlers_of_the_tenders() {
    let image = spin().image(&[]);
    let mut running = Running::start(image.tender(&[], &[]), 0);
    let status = format!("/proc/{}/status", running.image());
    let deadline = Instant::now() + Duration::from_secs(10);
    let status = loop {
        let status = fs::read_to_string(&status).unwrap();
        if status.contains("Seccomp:\t2") || Instant::now() > deadline {
            break status;
        }
    };
    for line in
        ["Seccomp:\t2", "NoNewPrivs:\t1", "SigBlk:\t0000000000000000", "SigCgt:\t0000000000000000"]
    {
        assert!(status.contains(line), "{line} in {status}");
    }
    running.child.kill().unwrap();
}

#[test]
#[ignore = "needs root: looks into the process of the image"]
fn an_image_has_nothing_open_but_its_console_and_its_devices() {
    let image = spin().image(&DEVICES);
    let mut running =
        Running::start(image.tender(&["--net:service=user", "--publish=0:7"], &[]), 1);
    let pid = running.image();
    let deadline = Instant::now() + Duration::from_secs(10);
    let open = loop {
        let mut open: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .map(|target| target.to_string_lossy().split(['[', ']']).next().unwrap().to_owned())
            .collect();
        open.sort();
        if open.len() == 4 || Instant::now() > deadline {
            break open;
        }
    };
    assert_eq!(open, ["anon_inode:", "anon_inode:", "pipe:", "socket:"]);
    running.child.kill().unwrap();
}

#[test]
fn an_image_finds_nothing_of_who_started_the_tender_in_its_address_space() {
    let image = guest::snooper();
    let secret = image.path.with_extension("WORDFISH-of-a-path");
    fs::copy(&image.path, &secret).unwrap();
    let mut command = guest::tender();
    command.arg(&secret).env("TOKEN", "WORDFISH-of-the-environment");
    // SAFETY: it makes one system call, which changes where the kernel puts this process's memory.
    unsafe {
        command.pre_exec(|| match libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let output = output(command);
    fs::remove_file(secret).unwrap();
    assert_eq!((output.status, &*output.stdout, &*output.stderr), (0, "", ""));
}
