use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::{fmt, mem};

/// Free bytes before a fresh packet's window, for the headers that layers put before it.
///
/// It is 2 modulo 4: behind an Ethernet header of 14 bytes, what is read at a fresh packet's start
/// has its IP header on a 16-byte boundary.
pub const HEADROOM: usize = 114;

/// A fixed number of packet buffers, all allocated when the pool is made.
///
/// Clones are handles of the same pool.
#[derive(Clone)]
pub struct Pool {
    shared: Rc<Shared>,
}

struct Shared {
    free: RefCell<Vec<Box<[u8]>>>,
    packets: usize,
    size: usize,
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
            let mut buffer = Vec::new();
            buffer.try_reserve_exact(size).ok()?;
            buffer.resize(size, 0);
            free.push(buffer.into_boxed_slice());
        }
        Some(Self { shared: Rc::new(Shared { free: RefCell::new(free), packets, size }) })
    }

    /// Takes a packet, its window empty behind [`HEADROOM`] bytes; `None` when all are in use.
    ///
    /// What the buffer held before is still in it.
    #[must_use]
    pub fn take(&self) -> Option<Packet> {
        let buffer = self.shared.free.borrow_mut().pop()?;
        Some(Packet {
            buffer,
            start: HEADROOM as u16,
            end: HEADROOM as u16,
            pool: Rc::clone(&self.shared),
        })
    }

    /// Takes a packet for a frame to be received, if there are more than are kept back for
    /// sending: an eighth of the pool. So a flood cannot silence a host.
    #[must_use]
    pub fn take_for_receive(&self) -> Option<Packet> {
        if self.available() <= self.shared.packets / 8 {
            return None;
        }
        self.take()
    }

    /// How many packets are free.
    #[must_use]
    pub fn available(&self) -> usize {
        self.shared.free.borrow().len()
    }

    /// How many packets there are, free or in use.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.packets
    }

    /// The most bytes that fit behind a packet's [`HEADROOM`].
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
            .finish()
    }
}

/// A buffer from a [`Pool`], and a window on its bytes. Dropping it gives the buffer back.
pub struct Packet {
    // Empty only while dropped.
    buffer: Box<[u8]>,
    // start <= end <= buffer.len()
    start: u16,
    end: u16,
    pool: Rc<Shared>,
}

impl Packet {
    /// The bytes in the window.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[usize::from(self.start)..usize::from(self.end)]
    }

    /// The bytes in the window, to be changed.
    #[must_use]
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[usize::from(self.start)..usize::from(self.end)]
    }

    /// Length of the window in bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.end - self.start)
    }

    /// Whether the window is empty.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes in front of the window.
    #[must_use]
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.start)
    }

    /// Bytes behind the window.
    #[must_use]
    #[inline]
    pub fn tailroom(&self) -> usize {
        self.buffer.len() - usize::from(self.end)
    }

    /// Lets the window grow by `count` bytes to the front and returns those; `None`, and nothing
    /// done, if there is no room.
    #[inline]
    pub fn prepend(&mut self, count: usize) -> Option<&mut [u8]> {
        let end = usize::from(self.start);
        let start = end.checked_sub(count)?;
        self.start = start as u16;
        Some(&mut self.buffer[start..end])
    }

    /// Lets the window grow by `count` bytes to the back and returns those; `None`, and nothing
    /// done, if there is no room.
    #[inline]
    pub fn append(&mut self, count: usize) -> Option<&mut [u8]> {
        let start = usize::from(self.end);
        let end = start.checked_add(count)?;
        let bytes = self.buffer.get_mut(start..end)?;
        self.end = end as u16;
        Some(bytes)
    }

    /// Takes `count` bytes, or all there are, off the window's front. They can be had back with
    /// [`Packet::prepend`].
    #[inline]
    pub fn trim_front(&mut self, count: usize) {
        self.start += count.min(self.len()) as u16;
    }

    /// Shortens the window to `length` bytes; does nothing if it is no longer than that.
    #[inline]
    pub fn truncate(&mut self, length: usize) {
        self.end = self.start + length.min(self.len()) as u16;
    }

    /// Empties the window and puts it behind [`HEADROOM`], as in a fresh packet.
    #[inline]
    pub fn clear(&mut self) {
        self.start = HEADROOM as u16;
        self.end = HEADROOM as u16;
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
        let end = usize::from(self.end);
        let room = &mut self.buffer[end..];
        let length = read(room)?.min(room.len());
        self.end = (end + length) as u16;
        Ok(length)
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        // The vector has had room for every buffer of the pool since the pool was made.
        self.pool.free.borrow_mut().push(mem::take(&mut self.buffer));
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("headroom", &self.start)
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
}
