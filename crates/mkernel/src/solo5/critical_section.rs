//! What crates for machines without threads ask for: that nobody else runs meanwhile.

use critical_section::{Impl, RawRestoreState, set_impl};

struct Alone;

set_impl!(Alone);

// SAFETY: A critical section must exclude all others, of other threads and of interrupts. An image
// has one core and no threads, spt delivers no signals, and hvt no interrupts: there is nothing to
// exclude.
unsafe impl Impl for Alone {
    unsafe fn acquire() -> RawRestoreState {}

    unsafe fn release(_: RawRestoreState) {}
}
