//! Small images, written by hand, and what runs them in the tender.

use std::arch::global_asm;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{ptr, slice};

use solo5_abi::Entry;
use solo5_abi::spt::BOOT_INFO_BASE;

use crate::elf::{self, Elf};

/// Memory of the image that it may write to.
pub(crate) const SCRATCH: u64 = 0x20_0000;
/// Where the data behind the code of an image lies, see [`Code::data`].
pub(crate) const DATA: u64 = elf::BASE + 0x800;

/// Where the image finds the descriptors that it was given.
pub(crate) const EPOLL: u64 = BOOT_INFO_BASE + 32;
pub(crate) const TIMER: u64 = BOOT_INFO_BASE + 36;

/// Where the image finds the descriptor of its device of this index.
pub(crate) const fn device(index: u64) -> u64 {
    BOOT_INFO_BASE + 40 + 8 + 104 * index + 88
}

/// An argument of a system call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arg {
    Value(u64),
    /// The `i32` at this address.
    At(u64),
}

use Arg::{At, Value};

/// Machine code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Code(Vec<u8>);

impl Code {
    /// Makes a system call.
    pub(crate) fn call(mut self, number: u64, args: &[Arg]) -> Self {
        // mov r, imm64, and movsxd r, [disp32], for rdi, rsi, rdx, r10, r8, r9
        let set =
            [[0x48, 0xbf], [0x48, 0xbe], [0x48, 0xba], [0x49, 0xba], [0x49, 0xb8], [0x49, 0xb9]];
        let load =
            [[0x48, 0x3c], [0x48, 0x34], [0x48, 0x14], [0x4c, 0x14], [0x4c, 0x04], [0x4c, 0x0c]];
        for (index, arg) in args.iter().enumerate() {
            match *arg {
                Value(value) => {
                    self.0.extend(set[index]);
                    self.0.extend(value.to_le_bytes());
                }
                At(address) => {
                    self.0.extend([load[index][0], 0x63, load[index][1], 0x25]);
                    self.0.extend((address as u32).to_le_bytes());
                }
            }
        }
        self.0.extend([0x48, 0xb8]); // mov rax, imm64
        self.0.extend(number.to_le_bytes());
        self.0.extend([0x0f, 0x05]); // syscall
        self
    }

    pub(crate) fn exit(self, status: u64) -> Self {
        self.call(231, &[Value(status)])
    }

    /// Exits with the byte at this address.
    pub(crate) fn exit_with(self, address: u64) -> Self {
        self.call(231, &[At(address)])
    }

    /// Other instructions.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Code with this data at [`DATA`].
    pub(crate) fn data(mut self, data: &[u8]) -> Self {
        assert!(self.0.len() <= 0x800);
        self.0.resize(0x800, 0);
        self.0.extend(data);
        self
    }

    /// An image with these devices.
    pub(crate) fn image(self, devices: &[Entry]) -> Image {
        Image::new(&Elf::new(&self.0, devices))
    }
}

/// Runs until it is ended.
pub(crate) fn spin() -> Code {
    Code::default().raw(&[0xeb, 0xfe])
}

// Sends every frame back where it came from, its addresses and ports exchanged, which leaves all
// checksums as they are. Its network is device 1.
global_asm!(
    "reflector:",
    "mov r12d, [0x11028 + 8 + 104 + 88]",
    "mov r13d, [0x11020]",
    "2: mov eax, 281",
    "mov edi, r13d",
    "mov esi, 0x200000",
    "mov edx, 1",
    "mov r10, -1",
    "xor r8d, r8d",
    "syscall",
    "3: xor eax, eax",
    "mov edi, r12d",
    "mov esi, 0x201000",
    "mov edx, 2048",
    "syscall",
    "test rax, rax",
    "js 2b",
    "mov r14, rax",
    "mov esi, 0x201000",
    "mov eax, [rsi]",
    "mov cx, [rsi + 4]",
    "mov r8d, [rsi + 6]",
    "mov r9w, [rsi + 10]",
    "mov [rsi], r8d",
    "mov [rsi + 4], r9w",
    "mov [rsi + 6], eax",
    "mov [rsi + 10], cx",
    "mov eax, [rsi + 26]",
    "mov r8d, [rsi + 30]",
    "mov [rsi + 26], r8d",
    "mov [rsi + 30], eax",
    "rol dword ptr [rsi + 34], 16",
    "4: mov eax, 1",
    "mov edi, r12d",
    "mov esi, 0x201000",
    "mov rdx, r14",
    "syscall",
    "cmp rax, -11",
    "je 4b",
    "jmp 3b",
    "reflector_end:",
);

// Looks for a word in its own address space, from where memory ends on: timerfd_settime fails with EFAULT
// where nothing can be read. Writes what it finds to the console, with the 15 bytes behind the word. Looked
// through is what lies where Linux puts programs and stacks if it does not choose at random.
global_asm!(
    "snoop:",
    "mov r13d, [0x11024]",
    "mov r12, 0x555555000000",
    "mov r15, 0x555560000000",
    "call 2f",
    "mov r12, 0x7ffff0000000",
    "mov r15, 0x7ffffffff000",
    "call 2f",
    "mov eax, 231",
    "xor edi, edi",
    "syscall",
    "2: mov eax, 286",
    "mov edi, r13d",
    "xor esi, esi",
    "mov rdx, r12",
    "xor r10d, r10d",
    "syscall",
    "cmp rax, -14",
    "je 5f",
    "mov rbx, 0x4853494644524f57", // WORDFISH
    "xor r14d, r14d",
    "3: cmp qword ptr [r12 + r14], rbx",
    "jne 4f",
    "lea rsi, [r12 + r14]",
    "mov eax, 1",
    "mov edi, 1",
    "mov edx, 16",
    "syscall",
    "4: inc r14d",
    "cmp r14d, 4080",
    "jbe 3b",
    "5: add r12, 0x1000",
    "cmp r12, r15",
    "jb 2b",
    "ret",
    "snoop_end:",
);

unsafe extern "C" {
    safe static reflector: u8;
    safe static reflector_end: u8;
    safe static snoop: u8;
    safe static snoop_end: u8;
}

/// The code between two symbols.
///
/// # Safety
/// They are begin and end of one of the pieces above.
unsafe fn code(start: &'static u8, end: &'static u8) -> &'static [u8] {
    let start = ptr::from_ref(start);
    let length = ptr::from_ref(end).addr() - start.addr();
    // SAFETY: as the caller promises, all between them is that piece's, in one section.
    unsafe { slice::from_raw_parts(start, length) }
}

/// An image that echoes whatever UDP comes to its network `service`, on any port.
pub(crate) fn reflect() -> Image {
    // SAFETY: they are begin and end of the first piece.
    let code = unsafe { code(&reflector, &reflector_end) };
    Image::new(&Elf::new(code, &[Entry::net("service")]))
}

/// An image that writes to the console each WORDFISH that it finds in its address space outside of its
/// memory, if Linux does not choose at random where things are.
pub(crate) fn snooper() -> Image {
    // SAFETY: they are begin and end of the second piece.
    Image::new(&Elf::new(unsafe { code(&snoop, &snoop_end) }, &[]))
}

/// An image in a file, which is removed in the end.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) path: PathBuf,
}

impl Image {
    pub(crate) fn new(elf: &Elf) -> Self {
        let file = Self { path: temporary("spt") };
        fs::write(&file.path, elf.build()).unwrap();
        file
    }

    /// The tender with these options, about to run this image with these arguments.
    pub(crate) fn tender(&self, options: &[&str], args: &[&str]) -> Command {
        let mut command = tender();
        command.args(options).arg("--").arg(&self.path).args(args);
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, options: &[&str]) -> Output {
        output(self.tender(options, &[]))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A file name that nobody has.
pub(crate) fn temporary(extension: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("tender-{}-{count}.{extension}", std::process::id());
    std::env::temp_dir().join(name)
}

pub(crate) fn tender() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mnet-tender"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What became of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end, for ten seconds at most.
pub(crate) fn output(mut command: Command) -> Output {
    let child = command.spawn().unwrap();
    wait(child)
}

pub(crate) fn wait(mut child: Child) -> Output {
    let deadline = Instant::now() + Duration::from_secs(10);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("{child:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let mut output = Output {
        status: status.code().unwrap_or(-1),
        stdout: String::new(),
        stderr: String::new(),
    };
    assert_eq!(status.signal().filter(|&signal| signal != libc::SIGKILL), None);
    if let Some(mut stdout) = child.stdout.take() {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).unwrap();
        output.stdout = String::from_utf8_lossy(&bytes).into_owned();
    }
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut output.stderr).unwrap();
    }
    output
}

/// A tender that runs in the background, and is killed in the end.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    /// Where its published ports are.
    pub(crate) published: Vec<SocketAddr>,
}

impl Running {
    /// Starts it, and reads what it says of so many published ports.
    pub(crate) fn start(mut command: Command, ports: usize) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.as_mut().unwrap());
        let mut published = Vec::new();
        for _ in 0..ports {
            let mut line = String::new();
            stderr.read_line(&mut line).unwrap();
            let host =
                line.strip_prefix("mnet-tender: ").and_then(|line| line.split_once("/udp -> "));
            published.push(host.unwrap_or_else(|| panic!("{line:?}")).0.parse().unwrap());
        }
        Self { child, published }
    }

    /// The process that is the image.
    pub(crate) fn image(&self) -> u32 {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Ok(pid) = fs::read_to_string(&path).unwrap().trim().parse() {
                return pid;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("the tender has no child")
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: kill only sends a signal, here to a child that was not waited for yet.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process is gone, or about to be.
pub(crate) fn is_gone(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if !stat.contains(") Z ") => std::thread::sleep(Duration::from_millis(1)),
            _ => return true,
        }
    }
    false
}
