//! The processor's clock.

/// The processor's own counter, which goes on at an even pace.
pub(crate) fn ticks() -> u64 {
    // SAFETY: Every x86-64 processor has the instruction, which touches nothing but registers, and
    // on spt the tender's host lets processes use it unless it was told otherwise by `prctl`.
    unsafe { core::arch::x86_64::_rdtsc() }
}
