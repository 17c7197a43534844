//! Heap and stack: what is between the image and the end of memory.
//!
//! ```text
//! kernel_end              nobody's   canary        mem_size
//!     │ heap                   │ page    │ stack         │
//!     ├───────────────────────▶┼─────────┼◀──────────────┤
//! ```

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, RefCell};
use core::ptr::{self, NonNull};

use rlsf::Tlsf;
use solo5_abi::EXIT_FAILURE;

use super::local::{Local, local};
use crate::console;
use crate::platform::exit;
use crate::stats::Heap;

/// The most that is kept for the stack, in bytes; an eighth of memory if that is less.
const STACK_SIZE: u64 = 1 << 20;
/// The least that is worth starting with, in bytes.
const LEAST: u64 = 64 << 10;
const PAGE: u64 = 4096;
const CANARY: u64 = 0x6b63_6174_735f_6b6d;

// Two levels of free lists, for blocks of up to 2^33 bytes.
type Lists = Tlsf<'static, u32, u16, 28, 16>;

#[global_allocator]
static HEAP: Allocator = Allocator(Local::new(RefCell::new(Lists::new())));

local! {
    static STACK_END: Cell<*mut u64> = Cell::new(ptr::null_mut());
}

local! {
    static USE: Use = Use { size: Cell::new(0), used: Cell::new(0), peak: Cell::new(0) };
}

struct Allocator(Local<RefCell<Lists>>);

/// How much of the heap is in use, in bytes.
struct Use {
    size: Cell<usize>,
    used: Cell<usize>,
    peak: Cell<usize>,
}

impl Use {
    fn change(&self, before: usize, after: usize) {
        let used = self.used.get() - before + after;
        self.used.set(used);
        self.peak.set(self.peak.get().max(used));
    }
}

/// The heap, as it is now.
pub(crate) fn heap() -> Option<Heap> {
    Some(USE.with(|heap| Heap {
        used: heap.used.get(),
        peak: heap.peak.get(),
        size: heap.size.get(),
    }))
}

/// Divides memory into heap and stack.
///
/// # Safety
/// Both are of the tender's boot info, nothing has been allocated, and this is called once.
pub(super) unsafe fn init(kernel_end: u64, mem_size: u64) {
    let free = mem_size.saturating_sub(kernel_end);
    if free < LEAST {
        console::print(format_args!("too little memory: {free} bytes behind the image"));
        exit(EXIT_FAILURE);
    }
    let stack_end = (mem_size - STACK_SIZE.min(free / 8)) & !(PAGE - 1);
    // A page between them is nobody's: a stack that grows too far spoils that first.
    let (start, end) = (kernel_end as usize, (stack_end - PAGE) as usize);
    if let Some(start) = NonNull::new(start as *mut u8) {
        let heap =
            NonNull::slice_from_raw_parts(start, end.saturating_sub(start.as_ptr() as usize));
        // SAFETY: Solo5's ABI: memory from kernel_end to mem_size is mapped and nobody's. The part
        // above `stack_end` is the stack's; this part is the heap's from here on.
        HEAP.0.with(|lists| unsafe { lists.borrow_mut().insert_free_block_ptr(heap) });
        USE.with(|counted| counted.size.set(heap.len()));
    }
    let canary = stack_end as *mut u64;
    // SAFETY: The stack's lowest word: mapped, aligned, and nobody's so far.
    unsafe { canary.write(CANARY) };
    STACK_END.with(|cell| cell.set(canary));
}

/// Ends the image if the stack's lowest word has been written to: it has overflowed. It is looked
/// at once a round; what a deep call has spoilt until then beyond the page below is not noticed.
pub(crate) fn check_stack() {
    // SAFETY: `init` has set it to an aligned and mapped word that only the stack writes to.
    let canary = unsafe { STACK_END.with(Cell::get).read_volatile() };
    assert!(canary == CANARY, "the stack has overflowed");
}

// SAFETY: Tlsf gives out blocks that fit their layouts and do not overlap, until they are given
// back. The RefCell is free at each call: nothing is allocated while Tlsf works.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(block) = self.0.with(|lists| lists.borrow_mut().allocate(layout)) else {
            return ptr::null_mut();
        };
        USE.with(|heap| heap.change(0, layout.size()));
        block.as_ptr()
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: The caller's promise: it had the block from `alloc`, with this layout.
            self.0.with(|lists| unsafe { lists.borrow_mut().deallocate(block, layout.align()) });
            USE.with(|heap| heap.change(layout.size(), 0));
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let before = layout.size();
        let (Some(block), Ok(layout)) =
            (NonNull::new(block), Layout::from_size_align(size, layout.align()))
        else {
            return ptr::null_mut();
        };
        // SAFETY: The caller's promise: it had the block from `alloc`, with this alignment.
        let block = self.0.with(|lists| unsafe { lists.borrow_mut().reallocate(block, layout) });
        let Some(block) = block else { return ptr::null_mut() };
        USE.with(|heap| heap.change(before, size));
        block.as_ptr()
    }
}
