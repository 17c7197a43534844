use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::Errno;
use vm_memory::volatile_memory::VolatileMemory;
use vm_memory::{Bytes, MmapRegion};

/// How the ring of an hvt image was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingUse {
    /// Frames that the image has sent by it.
    pub sent: u64,
    /// Frames that it has received by it.
    pub received: u64,
    /// How often it asked for a frame when there was none.
    pub empty: u64,
    /// How often the tender was woken for it.
    pub kicks: u64,
}

impl fmt::Display for RingUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, received, empty, kicks } = self;
        write!(f, "the ring: {sent} sent, {received} received, {empty} empty, {kicks} kicks")
    }
}

/// What is counted, in memory that both processes see: it is still there when the image is not.
#[derive(Debug)]
pub(crate) struct Counters(MmapRegion);

/// One of the [`Counters`]: its place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counter {
    Sent = 0,
    Received = 8,
    Empty = 16,
    Kicks = 24,
}

impl Counters {
    pub(crate) fn new() -> Result<Self, Errno> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let region = MmapRegion::build(None, 4096, libc::PROT_READ | libc::PROT_WRITE, flags);
        region.map(Self).map_err(|_| Errno::NOMEM)
    }

    /// Counts one more. Only one thread does.
    pub(crate) fn count(&self, counter: Counter) {
        // It cannot fail: the place is in the page, and aligned.
        let _ = self.0.as_volatile_slice().store(self.get(counter) + 1, counter as usize, Relaxed);
    }

    fn get(&self, counter: Counter) -> u64 {
        self.0.as_volatile_slice().load(counter as usize, Relaxed).unwrap_or(0)
    }

    pub(crate) fn ring_use(&self) -> RingUse {
        RingUse {
            sent: self.get(Counter::Sent),
            received: self.get(Counter::Received),
            empty: self.get(Counter::Empty),
            kicks: self.get(Counter::Kicks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        let counters = Counters::new().unwrap();
        assert_eq!(counters.ring_use(), RingUse::default());
        (0..3).for_each(|_| counters.count(Counter::Sent));
        counters.count(Counter::Kicks);
        let counted = counters.ring_use();
        assert_eq!(counted, RingUse { sent: 3, kicks: 1, ..RingUse::default() });
        assert_eq!(counted.to_string(), "the ring: 3 sent, 0 received, 0 empty, 1 kicks");
    }
}
