use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::mem::{self, ManuallyDrop};

/// Free bytes before a fresh packet's window, for the headers that layers put before it.
///
/// It is 2 modulo 4: behind an Ethernet header of 14 bytes, what is read at a fresh packet's start
/// has its IP header on a 16-byte boundary.
pub const HEADROOM: usize = 114;

/// Words of a packet's [control block](Packet::control_block), of 8 bytes each.
pub const CONTROL_BLOCK: usize = 8;

/// Bytes that a pool's large packets may take up, unless [`Pool::with_large`] says otherwise.
const LARGE: usize = 4 << 20;

/// A fixed number of packet buffers, all allocated when the pool is made, and a number of bytes
/// that larger packets, allocated one by one, may take up besides.
///
/// Clones are handles of the same pool.
#[derive(Clone)]
pub struct Pool {
    shared: Rc<Shared>,
}

struct Shared {
    #[expect(clippy::vec_box, reason = "a packet is its box")]
    free: RefCell<Vec<Box<Buffer>>>,
    packets: usize,
    size: usize,
    // In bytes: what the buffers of large packets may take up, and what they do.
    large: Cell<usize>,
    large_used: Cell<usize>,
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
        let mut free = Vec::new();
        free.try_reserve_exact(packets).ok()?;
        for _ in 0..packets {
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(size).ok()?;
            bytes.resize(size, 0);
            free.push(Box::new(Buffer::new(bytes)));
        }
        let free = RefCell::new(free);
        let (large, large_used) = (Cell::new(LARGE), Cell::new(0));
        Some(Self { shared: Rc::new(Shared { free, packets, size, large, large_used }) })
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
        let mut free = self.shared.free.borrow_mut();
        if free.len() <= few {
            return None;
        }
        let mut buffer = free.pop()?;
        buffer.start = HEADROOM as u32;
        buffer.end = HEADROOM as u32;
        // It had none, which is not worth looking whether there is something to drop.
        mem::forget(buffer.pool.replace(Rc::clone(&self.shared)));
        Some(Packet::new(buffer))
    }

    /// Takes a large packet: its buffer is allocated for it, with `room` bytes or more behind
    /// [`HEADROOM`], more than any other of the pool has, and can [grow](Packet::grow). `None`
    /// if large packets would take up more than they may, or there is no memory.
    #[must_use]
    pub fn take_large(&self, room: usize) -> Option<Packet> {
        let size = room.checked_add(HEADROOM)?.max(self.shared.size + 1);
        if size > self.large_available() {
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
        if room <= self.room() { self.take() } else { self.take_large(room) }
    }

    /// How many packets are free, large ones aside.
    #[must_use]
    pub fn available(&self) -> usize {
        self.shared.free.borrow().len()
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

/// A buffer from a [`Pool`], and a window on its bytes. Dropping it gives the buffer back, or frees
/// it if it is a large one.
///
/// It is as large as a pointer, so that it costs nothing to hand it on.
pub struct Packet {
    // There until the packet is dropped, which takes it out by itself.
    buffer: ManuallyDrop<Option<Box<Buffer>>>,
}

struct Buffer {
    // start <= end <= bytes.len() <= size
    start: u32,
    end: u32,
    // Of a large packet those that were ever in its window.
    bytes: Vec<u8>,
    // How many there may be: so many have been allocated.
    size: usize,
    // Whether the bytes are the packet's own, and not one of its pool's.
    large: bool,
    control_block: [u64; CONTROL_BLOCK],
    // Where it goes back to; nowhere while it is there.
    pool: Option<Rc<Shared>>,
}

impl Buffer {
    fn new(bytes: Vec<u8>) -> Self {
        let (start, end, size) = (HEADROOM as u32, HEADROOM as u32, bytes.len());
        let (large, control_block, pool) = (false, [0; CONTROL_BLOCK], None);
        Self { start, end, bytes, size, large, control_block, pool }
    }

    /// Sees to it that the first `count` bytes are there, of those that there may be.
    #[inline]
    fn reach(&mut self, count: usize) {
        if count > self.bytes.len() {
            self.bytes.resize(count, 0);
        }
    }

    /// Lets the bytes of a large packet grow to `size`; `false`, and nothing done, if they cannot.
    fn reallocate(&mut self, size: usize) -> bool {
        let Some(pool) = &self.pool else { return false };
        let more = size - self.size;
        let used = pool.large_used.get().saturating_add(more);
        if used > pool.large.get() || u32::try_from(size).is_err() {
            return false;
        }
        if self.bytes.try_reserve_exact(size - self.bytes.len()).is_err() {
            return false;
        }
        pool.large_used.set(used);
        self.size = size;
        self.reach(self.start as usize);
        true
    }
}

impl Packet {
    #[inline]
    fn new(buffer: Box<Buffer>) -> Self {
        Self { buffer: ManuallyDrop::new(Some(buffer)) }
    }

    #[inline]
    fn buffer(&self) -> &Buffer {
        self.buffer.as_deref().unwrap_or_else(|| gone())
    }

    #[inline]
    fn buffer_mut(&mut self) -> &mut Buffer {
        self.buffer.as_deref_mut().unwrap_or_else(|| gone())
    }

    /// Room for what whoever holds the packet has to remember of it: it stays with the packet, but
    /// means nothing to who takes one from the pool.
    #[must_use]
    #[inline]
    pub fn control_block(&self) -> &[u64; CONTROL_BLOCK] {
        &self.buffer().control_block
    }

    /// The same, to be changed.
    #[must_use]
    #[inline]
    pub fn control_block_mut(&mut self) -> &mut [u64; CONTROL_BLOCK] {
        &mut self.buffer_mut().control_block
    }

    /// The bytes in the window.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        let Buffer { start, end, bytes, .. } = self.buffer();
        &bytes[*start as usize..*end as usize]
    }

    /// The bytes in the window, to be changed.
    #[must_use]
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let Buffer { start, end, bytes, .. } = self.buffer_mut();
        &mut bytes[*start as usize..*end as usize]
    }

    /// Length of the window in bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        let Buffer { start, end, .. } = self.buffer();
        (end - start) as usize
    }

    /// Whether the window is empty.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in front of the window.
    #[must_use]
    #[inline]
    pub fn headroom(&self) -> usize {
        self.buffer().start as usize
    }

    /// Bytes behind the window.
    #[must_use]
    #[inline]
    pub fn tailroom(&self) -> usize {
        let Buffer { end, size, .. } = self.buffer();
        size - *end as usize
    }

    /// Bytes in the buffer: in front of the window, in it, and behind it.
    #[must_use]
    #[inline]
    pub fn capacity(&self) -> usize {
        self.buffer().size
    }

    /// Lets the window grow by `count` bytes to the front and returns those; `None`, and nothing
    /// done, if there is no room.
    #[inline]
    pub fn prepend(&mut self, count: usize) -> Option<&mut [u8]> {
        let buffer = self.buffer_mut();
        let end = buffer.start as usize;
        let start = end.checked_sub(count)?;
        let bytes = buffer.bytes.get_mut(start..end)?;
        buffer.start = start as u32;
        Some(bytes)
    }

    /// Lets the window grow by `count` bytes to the back and returns those; `None`, and nothing
    /// done, if there is no room.
    #[inline]
    pub fn append(&mut self, count: usize) -> Option<&mut [u8]> {
        let buffer = self.buffer_mut();
        let start = buffer.end as usize;
        let end = start.checked_add(count).filter(|&end| end <= buffer.size)?;
        buffer.reach(end);
        buffer.end = end as u32;
        buffer.bytes.get_mut(start..end)
    }

    /// Lets the window grow to the back by these bytes; `false`, and nothing done, if there is no room.
    #[must_use]
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) -> bool {
        let tailroom = self.tailroom();
        let buffer = self.buffer_mut();
        if buffer.bytes.len() > buffer.end as usize || bytes.len() > tailroom {
            return self.append(bytes.len()).is_some_and(|room| {
                room.copy_from_slice(bytes);
                true
            });
        }
        // What is written at once need not be there before.
        buffer.bytes.extend_from_slice(bytes);
        buffer.end = buffer.bytes.len() as u32;
        true
    }

    /// Takes `count` bytes, or all there are, off the window's front. They can be had back with
    /// [`Packet::prepend`].
    ///
    /// ```
    /// use netdev::Pool;
    ///
    /// let mut packet = Pool::new(1, 256).take().unwrap();
    /// packet.append(8).unwrap().copy_from_slice(b"headdata");
    /// packet.trim_front(4);
    /// assert_eq!(packet.bytes(), b"data");
    /// packet.prepend(4).unwrap().copy_from_slice(b"HEAD");
    /// assert_eq!(packet.bytes(), b"HEADdata");
    /// ```
    #[inline]
    pub fn trim_front(&mut self, count: usize) {
        let buffer = self.buffer_mut();
        buffer.start += count.min((buffer.end - buffer.start) as usize) as u32;
    }

    /// Shortens the window to `length` bytes; does nothing if it is no longer than that.
    #[inline]
    pub fn truncate(&mut self, length: usize) {
        let buffer = self.buffer_mut();
        buffer.end = buffer.start + length.min((buffer.end - buffer.start) as usize) as u32;
    }

    /// Empties the window and puts it behind [`HEADROOM`], as in a fresh packet.
    #[inline]
    pub fn clear(&mut self) {
        let buffer = self.buffer_mut();
        buffer.start = HEADROOM as u32;
        buffer.end = HEADROOM as u32;
    }

    /// Fills an empty window by `read`, which is given all the room behind it and says how many
    /// bytes it wrote there.
    ///
    /// # Errors
    /// What `read` says; the window is then as it was.
    #[inline]
    pub fn fill<E>(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let buffer = self.buffer_mut();
        let end = buffer.end as usize;
        buffer.reach(buffer.size);
        let room = &mut buffer.bytes[end..];
        let length = read(room)?.min(room.len());
        buffer.end = (end + length) as u32;
        Ok(length)
    }

    /// Sees to it that there are `room` bytes or more behind the window, whose bytes may move in
    /// memory; `false`, and nothing done, if there are not and the packet is not a large one, large
    /// packets would take up more than they may, or there is no memory.
    ///
    /// A buffer that grows does so by half or more, if it may: many small steps move the bytes
    /// seldom.
    #[must_use]
    pub fn grow(&mut self, room: usize) -> bool {
        if room <= self.tailroom() {
            return true;
        }
        let buffer = self.buffer_mut();
        let Some(needed) = room.checked_add(buffer.end as usize) else { return false };
        let half_more = buffer.size + buffer.size / 2;
        buffer.large
            && (half_more > needed && buffer.reallocate(half_more) || buffer.reallocate(needed))
    }

    /// Whether the buffer is the packet's own, and not one of its pool's.
    #[must_use]
    #[inline]
    pub fn is_large(&self) -> bool {
        self.buffer().large
    }
}

#[cold]
fn gone() -> ! {
    unreachable!("a packet has its buffer until it is dropped")
}

impl Drop for Packet {
    fn drop(&mut self) {
        let Some(mut buffer) = self.buffer.take() else { return };
        let Some(pool) = buffer.pool.take() else { return };
        if buffer.large {
            pool.large_used.set(pool.large_used.get() - buffer.size);
        } else {
            // The vector has had room for every buffer of the pool since the pool was made.
            pool.free.borrow_mut().push(buffer);
        }
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("headroom", &self.headroom())
            .field("len", &self.len())
            .finish_non_exhaustive()
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
    fn the_window_never_leaves_the_buffer() {
        let pool = Pool::new(1, 200);
        let mut packet = pool.take().unwrap();
        assert_eq!((packet.headroom(), packet.tailroom()), (HEADROOM, 86));
        assert!(packet.append(87).is_none());
        assert!(packet.append(usize::MAX).is_none());
        assert!(packet.prepend(HEADROOM + 1).is_none());
        assert!(packet.is_empty());
        packet.append(86).unwrap()[0] = 7;
        assert_eq!(packet.prepend(HEADROOM).map(|front| front.len()), Some(HEADROOM));
        assert_eq!(packet.len(), 200);
        packet.trim_front(HEADROOM);
        assert_eq!((packet.bytes()[0], packet.len()), (7, 86));
        packet.truncate(100);
        assert_eq!(packet.len(), 86);
        packet.trim_front(1000);
        assert!(packet.is_empty());
        packet.clear();
        assert_eq!(packet.fill(|room| Ok::<_, ()>(room.len() + 1)), Ok(86));
        assert_eq!(packet.len(), 86);
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
        assert!(pool.take_large(u32::MAX as usize).is_none());
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

    #[test]
    fn a_large_packet_grows_and_keeps_its_window() {
        let pool = Pool::new(1, 200).with_large(2_500);
        let mut packet = pool.take_large(1_000 - HEADROOM).unwrap();
        packet.append(500).unwrap().fill(7);
        packet.trim_front(100);
        assert!(packet.grow(packet.tailroom()));
        assert_eq!(packet.capacity(), 1_000);
        assert!(packet.grow(packet.tailroom() + 1));
        assert_eq!((packet.capacity(), pool.large_available()), (1_500, 1_000));
        assert_eq!((packet.headroom(), packet.len()), (HEADROOM + 100, 400));
        assert!(packet.bytes().iter().all(|&byte| byte == 7));

        // By half is more than there is, then anything is.
        assert!(packet.grow(packet.tailroom() + 1_000));
        assert_eq!((packet.capacity(), pool.large_available()), (2_500, 0));
        for more in [packet.tailroom() + 1, usize::MAX] {
            assert!(!packet.grow(more));
        }
        assert_eq!((packet.len(), packet.bytes()[399]), (400, 7));
        drop(packet);
        assert_eq!(pool.large_available(), 2_500);
    }

    #[test]
    fn only_a_large_packet_grows() {
        let pool = Pool::new(1, 200);
        let mut packet = pool.take().unwrap();
        assert!(packet.grow(pool.room()));
        assert!(!packet.grow(pool.room() + 1));
        assert_eq!(packet.capacity(), 200);
    }
}
