mod pool;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;
use core::hint::cold_path;
use core::mem::ManuallyDrop;

pub use self::pool::Pool;
use self::pool::Shared;

/// Free bytes before a fresh packet's window, for the headers that layers put before it.
///
/// It is 2 modulo 4: behind an Ethernet header of 14 bytes, what is read at a fresh packet's start
/// has its IP header on a 16-byte boundary.
pub const HEADROOM: usize = 114;

/// Words of a packet's [control block](Packet::control_block), of 8 bytes each.
pub const CONTROL_BLOCK: usize = 8;

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
    start: usize,
    end: usize,
    // Of a large packet those that were ever in its window.
    bytes: Vec<u8>,
    // How many there may be: so many have been allocated.
    size: usize,
    // Whether the bytes are the packet's own, and not one of its pool's.
    large: bool,
    control_block: [u64; CONTROL_BLOCK],
    // Where it goes back to; nowhere while it is there.
    pool: Option<Rc<Shared>>,
    // While it is there, the one that was there before it.
    next: Option<Box<Buffer>>,
}

impl Buffer {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            start: HEADROOM,
            end: HEADROOM,
            size: bytes.len(),
            bytes,
            large: false,
            control_block: [0; CONTROL_BLOCK],
            pool: None,
            next: None,
        }
    }

    /// Sees to it that the first `count` bytes are there, of those that there may be.
    #[inline]
    fn reach(&mut self, count: usize) {
        if count > self.bytes.len() {
            self.bytes.resize(count, 0);
        }
    }

    /// Lets the window grow to the back by bytes of which some are beyond those that are there; `false`, and
    /// nothing done, if there is no room.
    #[inline(never)]
    fn extend(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.size - self.end {
            return false;
        }
        // What is written at once need not be there before.
        self.bytes.truncate(self.end);
        self.bytes.extend_from_slice(bytes);
        self.end = self.bytes.len();
        true
    }

    /// Lets the bytes of a large packet grow to `size`; `false`, and nothing done, if they cannot.
    fn reallocate(&mut self, size: usize) -> bool {
        let Some(pool) = &self.pool else { return false };
        let more = size - self.size;
        let used = pool.large_used.get().saturating_add(more);
        if used > pool.large.get() {
            return false;
        }
        drop(pool.take_spare());
        if self.bytes.try_reserve_exact(size - self.bytes.len()).is_err() {
            return false;
        }
        pool.large_used.set(used);
        self.size = size;
        self.reach(self.start);
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
        &bytes[*start..*end]
    }

    /// The bytes in the window, to be changed.
    #[must_use]
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let Buffer { start, end, bytes, .. } = self.buffer_mut();
        &mut bytes[*start..*end]
    }

    /// The bytes in the window, and the [control block](Packet::control_block), to be changed.
    #[must_use]
    #[inline]
    pub fn parts_mut(&mut self) -> (&mut [u8], &mut [u64; CONTROL_BLOCK]) {
        let Buffer { start, end, bytes, control_block, .. } = self.buffer_mut();
        (&mut bytes[*start..*end], control_block)
    }

    /// Length of the window in bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        let Buffer { start, end, .. } = self.buffer();
        end - start
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
        self.buffer().start
    }

    /// Bytes behind the window.
    #[must_use]
    #[inline]
    pub fn tailroom(&self) -> usize {
        let Buffer { end, size, .. } = self.buffer();
        size - end
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
        let end = buffer.start;
        let start = end.checked_sub(count)?;
        let bytes = buffer.bytes.get_mut(start..end)?;
        buffer.start = start;
        Some(bytes)
    }

    /// Lets the window grow by `count` bytes to the back and returns those; `None`, and nothing
    /// done, if there is no room.
    #[inline]
    pub fn append(&mut self, count: usize) -> Option<&mut [u8]> {
        let buffer = self.buffer_mut();
        let start = buffer.end;
        let end = start.checked_add(count).filter(|&end| end <= buffer.size)?;
        buffer.reach(end);
        buffer.end = end;
        buffer.bytes.get_mut(start..end)
    }

    /// Lets the window grow to the back by these bytes; `false`, and nothing done, if there is no room.
    #[must_use]
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) -> bool {
        let buffer = self.buffer_mut();
        let end = buffer.end + bytes.len();
        let Some(room) = buffer.bytes.get_mut(buffer.end..end) else {
            return buffer.extend(bytes);
        };
        room.copy_from_slice(bytes);
        buffer.end = end;
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
        buffer.start += count.min(buffer.end - buffer.start);
    }

    /// Shortens the window to `length` bytes; does nothing if it is no longer than that.
    #[inline]
    pub fn truncate(&mut self, length: usize) {
        let buffer = self.buffer_mut();
        buffer.end = buffer.start + length.min(buffer.end - buffer.start);
    }

    /// Lets the window be `length` of its bytes, those behind the first `at`, as far as they are there.
    ///
    /// ```
    /// use netdev::Pool;
    ///
    /// let mut packet = Pool::new(1, 256).take().unwrap();
    /// packet.append(8).unwrap().copy_from_slice(b"headdata");
    /// packet.narrow(4, 3);
    /// assert_eq!(packet.bytes(), b"dat");
    /// packet.narrow(1, 7);
    /// assert_eq!(packet.bytes(), b"at");
    /// ```
    #[inline]
    pub fn narrow(&mut self, at: usize, length: usize) {
        let buffer = self.buffer_mut();
        match at.checked_add(length) {
            Some(end) if end <= buffer.end - buffer.start => {
                buffer.end = buffer.start + end;
                buffer.start += at;
            }
            _ => {
                cold_path();
                self.trim_front(at);
                self.truncate(length);
            }
        }
    }

    /// Empties the window and puts it behind [`HEADROOM`], as in a fresh packet.
    #[inline]
    pub fn clear(&mut self) {
        let buffer = self.buffer_mut();
        buffer.start = HEADROOM;
        buffer.end = HEADROOM;
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
        let end = buffer.end;
        buffer.reach(buffer.size);
        let room = &mut buffer.bytes[end..];
        let length = read(room)?.min(room.len());
        buffer.end = end + length;
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
        let Some(needed) = room.checked_add(buffer.end) else { return false };
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
            pool.put_large(buffer);
        } else {
            pool.push(buffer);
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
