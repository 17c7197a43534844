use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::{fmt, mem};

use super::{Buffer, HEADROOM, Packet};

/// Bytes that a pool's large packets may take up, unless [`Pool::with_large`] says otherwise.
const LARGE: usize = 4 << 20;
/// Bytes that the buffer of a large packet may have to be kept for the next.
const SPARE: usize = 16 << 10;

/// A fixed number of packet buffers, all allocated when the pool is made, and a number of bytes
/// that larger packets, allocated one by one, may take up besides.
///
/// Clones are handles of the same pool.
#[derive(Clone)]
pub struct Pool {
    shared: Rc<Shared>,
}

pub(super) struct Shared {
    // The buffer that came back last, which has the others behind it, and how many there are.
    free: Cell<Option<Box<Buffer>>>,
    available: Cell<usize>,
    packets: usize,
    size: usize,
    // In bytes: what the buffers of large packets may take up, and what they do.
    pub(super) large: Cell<usize>,
    pub(super) large_used: Cell<usize>,
    // That of the large packet that was dropped last. Whoever allocates for large packets frees it, so
    // that it never takes up what they may.
    spare: Cell<Option<Box<Buffer>>>,
}

impl Shared {
    /// Takes the buffer of a large packet back.
    pub(super) fn put_large(&self, buffer: Box<Buffer>) {
        self.large_used.set(self.large_used.get() - buffer.size);
        if buffer.size <= SPARE {
            self.spare.set(Some(buffer));
        }
    }

    /// The buffer that was kept, which is kept no longer.
    pub(super) fn take_spare(&self) -> Option<Box<Buffer>> {
        self.spare.take()
    }

    #[inline]
    pub(super) fn push(&self, mut buffer: Box<Buffer>) {
        // There was none, neither behind it nor in place of what was taken: not worth looking whether
        // there is something to drop.
        mem::forget(mem::replace(&mut buffer.next, self.free.take()));
        mem::forget(self.free.replace(Some(buffer)));
        self.available.set(self.available.get() + 1);
    }

    #[inline]
    fn pop(&self) -> Option<Box<Buffer>> {
        let mut buffer = self.free.take()?;
        mem::forget(self.free.replace(buffer.next.take()));
        self.available.set(self.available.get() - 1);
        Some(buffer)
    }
}

impl Drop for Shared {
    /// Drops one by one: each would drop those behind it, on the stack.
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

impl Pool {
    /// A pool of `packets` buffers of `size` bytes each, [`HEADROOM`] included.
    ///
    /// # Panics
    /// If there is no memory for it, a buffer has no room behind its headroom, or is 64 KiB or
    /// more.
    #[must_use]
    pub fn new(packets: usize, size: usize) -> Self {
        Self::try_new(packets, size).expect("there is memory for the packet pool")
    }

    /// As [`Pool::new`], but `None` if there is no memory for it.
    ///
    /// # Panics
    /// If a buffer has no room behind its headroom, or is 64 KiB or more.
    #[must_use]
    pub fn try_new(packets: usize, size: usize) -> Option<Self> {
        assert!(size > HEADROOM && size <= usize::from(u16::MAX), "a packet of {size} bytes");
        let (large, large_used) = (Cell::new(LARGE), Cell::new(0));
        let (free, available, spare) = (Cell::new(None), Cell::new(0), Cell::new(None));
        let shared = Shared { free, available, packets, size, large, large_used, spare };
        for _ in 0..packets {
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(size).ok()?;
            bytes.resize(size, 0);
            shared.push(Box::new(Buffer::new(bytes)));
        }
        Some(Self { shared: Rc::new(shared) })
    }

    /// The same pool, whose large packets may take up `bytes`, each [`HEADROOM`] included. It is
    /// 4 MiB unless this is called.
    #[must_use]
    pub fn with_large(self, bytes: usize) -> Self {
        self.shared.large.set(bytes);
        self
    }

    /// Takes a packet, its window empty behind [`HEADROOM`] bytes; `None` when all are in use.
    ///
    /// What the buffer held before is still in it.
    #[must_use]
    #[inline]
    pub fn take(&self) -> Option<Packet> {
        self.take_unless(0)
    }

    /// Takes a packet for a frame to be received, if there are more than are kept back for
    /// sending: an eighth of the pool. So a flood cannot silence a host.
    #[must_use]
    #[inline]
    pub fn take_for_receive(&self) -> Option<Packet> {
        self.take_unless(self.shared.packets / 8)
    }

    /// Takes a packet, unless there are so few.
    #[inline]
    fn take_unless(&self, few: usize) -> Option<Packet> {
        if self.available() <= few {
            return None;
        }
        let mut buffer = self.shared.pop()?;
        buffer.start = HEADROOM;
        buffer.end = HEADROOM;
        // It had none, which is not worth looking whether there is something to drop.
        mem::forget(buffer.pool.replace(Rc::clone(&self.shared)));
        Some(Packet::new(buffer))
    }

    /// Takes a large packet: its buffer is allocated for it, with `room` bytes or more behind
    /// [`HEADROOM`], more than any other of the pool has, and can [grow](Packet::grow). `None`
    /// if large packets would take up more than they may, or there is no memory.
    ///
    /// The buffer may be one of the same size that was dropped before, and what it held still in it.
    #[must_use]
    pub fn take_large(&self, room: usize) -> Option<Packet> {
        let size = self.large_size(room);
        self.take_large_of(size, size)
    }

    fn large_size(&self, room: usize) -> usize {
        room.saturating_add(HEADROOM).max(self.shared.size + 1)
    }

    /// Takes a large packet of `size` bytes, or of up to `most` if one was dropped before.
    fn take_large_of(&self, size: usize, most: usize) -> Option<Packet> {
        let available = self.large_available();
        let sizes = size..=most.min(available);
        let spare = self.shared.take_spare().filter(|spare| sizes.contains(&spare.size));
        if let Some(mut buffer) = spare {
            (buffer.start, buffer.end) = (HEADROOM, HEADROOM);
            buffer.pool = Some(Rc::clone(&self.shared));
            self.shared.large_used.set(self.shared.large_used.get() + buffer.size);
            return Some(Packet::new(buffer));
        }
        if size > available {
            return None;
        }
        let mut buffer = Box::new(Buffer::new(Vec::new()));
        buffer.large = true;
        buffer.pool = Some(Rc::clone(&self.shared));
        buffer.reallocate(size).then(|| Packet::new(buffer))
    }

    /// Takes a packet with `room` bytes or more behind [`HEADROOM`]: a large one only if others
    /// have not so many.
    ///
    /// ```
    /// use netdev::Pool;
    ///
    /// let pool = Pool::new(2, 2_048).with_large(64 * 1_024);
    /// assert!(!pool.take_sized(1_472).unwrap().is_large());
    /// assert!(pool.take_sized(9_000).unwrap().is_large());
    /// assert!(pool.take_sized(100_000).is_none());
    /// ```
    #[must_use]
    #[inline]
    pub fn take_sized(&self, room: usize) -> Option<Packet> {
        if room <= self.room() {
            return self.take();
        }
        let size = self.large_size(room);
        self.take_large_of(size, size.saturating_mul(2))
    }

    /// How many packets are free, large ones aside.
    #[must_use]
    #[inline]
    pub fn available(&self) -> usize {
        self.shared.available.get()
    }

    /// How many bytes large packets may take up, all together.
    #[must_use]
    pub fn large_capacity(&self) -> usize {
        self.shared.large.get()
    }

    /// How many bytes more large packets may take up.
    #[must_use]
    pub fn large_available(&self) -> usize {
        self.shared.large.get().saturating_sub(self.shared.large_used.get())
    }

    /// How many packets there are, free or in use, large ones aside.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.packets
    }

    /// The most bytes that fit behind a packet's [`HEADROOM`], unless it is a large one.
    #[must_use]
    pub fn room(&self) -> usize {
        self.shared.size - HEADROOM
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("packets", &self.shared.packets)
            .field("available", &self.available())
            .field("size", &self.shared.size)
            .field("large", &self.shared.large.get())
            .field("large_available", &self.large_available())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_what_it_has_and_takes_it_back() {
        let pool = Pool::new(16, 256);
        let mut packets: Vec<_> = core::iter::from_fn(|| pool.take()).collect();
        assert_eq!((packets.len(), pool.available()), (16, 0));
        packets.truncate(3);
        assert_eq!(pool.available(), 13);
        drop(packets);
        assert_eq!(pool.available(), 16);
    }

    #[test]
    fn receiving_leaves_an_eighth_for_sending() {
        let pool = Pool::new(16, 256);
        let received: Vec<_> = core::iter::from_fn(|| pool.take_for_receive()).collect();
        assert_eq!((received.len(), pool.available()), (14, 2));
        assert!(pool.take().is_some());
    }

    #[test]
    fn a_large_packet_holds_the_largest_datagram() {
        let pool = Pool::new(1, 2048);
        let mut packet = pool.take_large(65_535).unwrap();
        assert_eq!((packet.headroom(), packet.tailroom()), (HEADROOM, 65_535));
        packet.append(65_535).unwrap().fill(7);
        assert!(packet.append(1).is_none());
        packet.trim_front(65_000);
        assert_eq!((packet.len(), packet.headroom()), (535, HEADROOM + 65_000));
        assert!(packet.bytes().iter().all(|&byte| byte == 7));
        packet.clear();
        assert_eq!(packet.fill(|room| Ok::<_, ()>(room.len())), Ok(65_535));
        packet.prepend(HEADROOM).unwrap();
        packet.truncate(65_600);
        assert_eq!(packet.len(), 65_600);
    }

    #[test]
    fn large_packets_have_a_budget_of_their_own() {
        let pool = Pool::new(1, 200).with_large(3_000);
        let room = 1_000 - HEADROOM;
        let mut packets: Vec<_> = core::iter::from_fn(|| pool.take_large(room)).collect();
        assert_eq!((packets.len(), pool.large_available(), pool.available()), (3, 0, 1));
        packets.pop();
        assert_eq!((pool.large_available(), pool.available()), (1_000, 1));
        assert!(pool.take_large(room + 1).is_none());
        assert!(pool.take_large(usize::MAX).is_none());
        assert!(pool.clone().take_large(room).is_some());
        drop(packets);
        assert_eq!((pool.large_available(), pool.available()), (3_000, 1));
        let pool = pool.with_large(usize::MAX);
        assert!(pool.take_large(isize::MAX as usize).is_none());
    }

    #[test]
    fn the_buffer_of_a_large_packet_is_kept_for_the_next() {
        let pool = Pool::new(1, 200).with_large(3_000);
        let mut packet = pool.take_large(1_000 - HEADROOM).unwrap();
        packet.append(500).unwrap().fill(7);
        packet.trim_front(100);
        let kept = packet.bytes().as_ptr().addr() - 100;
        drop(packet);

        // Of the same size, or of one that needs no more, and half of it.
        let takes =
            [(false, 1_000, 1_000), (true, 1_000, 1_000), (true, 700, 1_000), (true, 500, 1_000)];
        for (sized, size, expected) in takes {
            let room = size - HEADROOM;
            let packet = if sized { pool.take_sized(room) } else { pool.take_large(room) };
            let mut packet = packet.unwrap();
            assert_eq!((packet.capacity(), pool.large_available()), (expected, 3_000 - expected));
            assert_eq!((packet.headroom(), packet.is_empty()), (HEADROOM, true));
            assert_eq!(packet.append(packet.tailroom()).unwrap().as_ptr().addr(), kept);
            assert_eq!((packet.len(), packet.tailroom()), (expected - HEADROOM, 0));
        }
        for (sized, size) in [(false, 999), (false, 1_000), (true, 1_001), (true, 500)] {
            let room = size - HEADROOM;
            let packet = if sized { pool.take_sized(room) } else { pool.take_large(room) };
            assert_eq!(packet.unwrap().capacity(), size);
        }
    }

    #[test]
    fn a_buffer_that_is_kept_takes_no_memory_from_others() {
        let pool = Pool::new(1, 200).with_large(100_000);
        let is_kept = || {
            let spare = pool.shared.take_spare();
            let is_kept = spare.is_some();
            pool.shared.spare.set(spare);
            is_kept
        };
        let mut growing = pool.take_large(1_000).unwrap();
        drop(pool.take_large(2_000));
        assert!(is_kept());
        assert!(growing.grow(2_000));
        assert!(!is_kept());
        drop(pool.take_large(2_000));
        let other = pool.take_large(3_000);
        assert!(!is_kept());
        drop(other);
        assert!(is_kept() && pool.take_large(100_000).is_none() && !is_kept());
        assert!(growing.grow(SPARE));
        drop(growing);
        assert!(!is_kept());
        // What is kept is not given away either if it is more than there may be.
        drop(pool.take_large(1_800));
        let pool = pool.with_large(1_500);
        assert_eq!(pool.take_sized(1_000).unwrap().tailroom(), 1_000);
    }

    #[test]
    fn a_large_packet_is_larger_than_others_and_never_joins_them() {
        let pool = Pool::new(1, 200);
        let sizes = [0, pool.room() - 1, pool.room(), pool.room() + 1];
        for room in sizes {
            let packet = pool.take_large(room).unwrap();
            assert!(packet.tailroom() > pool.room());
            assert!(packet.tailroom() >= room);
            drop(packet);
            assert_eq!((pool.available(), pool.large_available()), (1, LARGE));
        }
    }

    #[test]
    fn a_packet_is_large_only_if_it_must_be() {
        let pool = Pool::new(1, 200);
        let small = pool.take_sized(pool.room()).unwrap();
        assert_eq!((pool.available(), small.tailroom()), (0, pool.room()));
        assert!(pool.take_sized(1).is_none());
        let large = pool.take_sized(pool.room() + 1).unwrap();
        assert_eq!(large.tailroom(), pool.room() + 1);
        assert_eq!(pool.large_available(), LARGE - large.capacity());
    }
}
