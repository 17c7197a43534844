//! What the processor itself complains of: the image says where, and ends.
//!
//! The tender's own descriptor table is out of the image's sight, so the image has one of its own,
//! and a stack for exceptions, as the one that it was on may be what is wrong.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::fmt;

use solo5_abi::EXIT_ABORT;
use solo5_abi::hvt::CODE_SELECTOR;

use super::exit;
use crate::console;

const VECTORS: usize = 32;
/// Bytes of code from one vector's entry to the next.
const ENTRY_SIZE: u64 = 16;
const STACK_SIZE: usize = 16 << 10;
/// Selector of the descriptor behind null, code and data.
const TASK_SELECTOR: u16 = 24;

// The entry of each vector brings the stack into one form: those without an error code push 0.
global_asm!(
    ".balign 16",
    "mkernel_exceptions:",
    ".set vector, 0",
    ".rept 32",
    ".balign 16",
    // 8, 10 to 14, 17, 21, 29 and 30 have an error code.
    ".if !((0x60227d00 >> vector) & 1)",
    "push 0",
    ".endif",
    "push vector",
    "jmp 2f",
    ".set vector, vector + 1",
    ".endr",
    ".balign 16",
    "2:",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push rbp",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "cld",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {report}",
    "ud2",
    report = sym report,
);

unsafe extern "C" {
    safe static mkernel_exceptions: u8;
}

/// What the entries push, and the processor before them: lowest address first.
#[repr(C)]
struct Frame {
    registers: [u64; 15],
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Names of what [`Frame::registers`] holds.
const REGISTERS: [&str; 15] = [
    "r15", "r14", "r13", "r12", "r11", "r10", "r9", "r8", "rbp", "rdi", "rsi", "rdx", "rcx", "rbx",
    "rax",
];

/// The task state segment: all that counts is where its first interrupt stack ends.
#[repr(C, packed(4))]
struct TaskState {
    reserved: u32,
    privilege_stacks: [u64; 3],
    reserved_1: u64,
    interrupt_stacks: [u64; 7],
    reserved_2: u64,
    reserved_3: u16,
    io_map: u16,
}

/// A gate of the interrupt descriptor table.
#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    low: u64,
    high: u64,
}

#[repr(C, align(16))]
struct Tables {
    /// Null, code, data, and the two halves of the task state's.
    segments: [u64; 5],
    gates: [Gate; VECTORS],
    task: TaskState,
}

#[repr(C, align(16))]
struct Stack([u8; STACK_SIZE]);

struct Shared<T>(UnsafeCell<T>);

// SAFETY: `init` writes it, before anything else runs; after that only the processor uses it.
unsafe impl<T> Sync for Shared<T> {}

// Apart from the tables, as it takes no place in the image's file.
static STACK: Shared<Stack> = Shared(UnsafeCell::new(Stack([0; STACK_SIZE])));

static TABLES: Shared<Tables> = Shared(UnsafeCell::new(Tables {
    // Flat, 64 bits of code, and data that can be written; accessed already.
    segments: [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0, 0],
    gates: [Gate { low: 0, high: 0 }; VECTORS],
    task: TaskState {
        reserved: 0,
        privilege_stacks: [0; 3],
        reserved_1: 0,
        interrupt_stacks: [0; 7],
        reserved_2: 0,
        reserved_3: 0,
        io_map: size_of::<TaskState>() as u16,
    },
}));

/// What `lgdt` and `lidt` read.
#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Lets exceptions be reported from here on.
///
/// # Safety
/// This is called once, before anything else runs.
pub(super) unsafe fn init() {
    let tables = TABLES.0.get();
    // SAFETY: Nobody else has it, as the caller promises.
    let (segments, gates) = unsafe {
        let Tables { segments, gates, task } = &mut *tables;
        task.interrupt_stacks[0] = (STACK.0.get() as usize + STACK_SIZE) as u64;
        let base = &raw const *task as u64;
        let limit = size_of::<TaskState>() as u64 - 1;
        // An available task state segment of 64 bits, present.
        segments[3] = limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        segments[4] = base >> 32;
        let first = &raw const mkernel_exceptions as u64;
        for (entry, gate) in (first..).step_by(ENTRY_SIZE as usize).zip(gates.iter_mut()) {
            // An interrupt gate, present, on the first interrupt stack.
            gate.low = entry & 0xffff
                | u64::from(CODE_SELECTOR) << 16
                | 1 << 32
                | 0x8e << 40
                | (entry >> 16 & 0xffff) << 48;
            gate.high = entry >> 32;
        }
        (pointer(segments), pointer(gates))
    };
    // SAFETY: The tables stay where they are. Their first three segments are those that the
    // processor uses already, and the fourth is a task state segment.
    unsafe {
        asm!(
            "lgdt [{segments}]",
            "lidt [{gates}]",
            "ltr {task:x}",
            segments = in(reg) &raw const segments,
            gates = in(reg) &raw const gates,
            task = in(reg) TASK_SELECTOR,
            options(nostack, preserves_flags),
        );
    }
}

fn pointer<T>(table: &[T]) -> TablePointer {
    TablePointer { limit: (size_of_val(table) - 1) as u16, base: table.as_ptr() as u64 }
}

extern "C" fn report(frame: &Frame) -> ! {
    console::print(format_args!("{frame}"));
    exit(EXIT_ABORT)
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.vector {
            0 => "division error",
            6 => "invalid instruction",
            8 => "double fault",
            13 => "general protection fault",
            14 => "page fault",
            _ => "exception",
        };
        let address: u64;
        // SAFETY: Reading the register of faulting addresses changes nothing.
        unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
        let Self { vector, error, rip, rsp, rflags, .. } = self;
        write!(f, "{what} ({vector}) at rip {rip:#x}, error code {error:#x}")?;
        if self.vector == 14 {
            write!(f, ", address {address:#x}")?;
        }
        write!(f, "\nrsp {rsp:#x} rflags {rflags:#x}")?;
        for (index, (name, value)) in REGISTERS.iter().zip(self.registers).rev().enumerate() {
            let before = if index.is_multiple_of(4) { '\n' } else { ' ' };
            write!(f, "{before}{name} {value:#x}")?;
        }
        write!(f, "\ncs {:#x} ss {:#x}", self.cs, self.ss)
    }
}
