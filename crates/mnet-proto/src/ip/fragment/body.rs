//! What has come of one datagram.

use alloc::vec::Vec;
use core::iter;

use netdev::{HEADROOM, Packet, Pool};

use super::{LONGEST_V4, LONGEST_V6, Piece, Reason, Whole};

/// Bytes between a large packet's [`HEADROOM`] and the payload, for headers put before it: it
/// begins 256 bytes into the buffer.
const FRONT: usize = 256 - HEADROOM;
/// For how many times the bytes that came there is room, if nobody has to leave for it: so that what is
/// stored moves seldom.
const AMPLE: usize = 3;
/// Runs of one datagram. The largest one in fragments of 576 bytes, shuffled in any way, makes no
/// more than 119.
const MAX_RUNS: usize = 128;
/// By how many the list of runs grows.
const RUNS_STEP: usize = 8;

const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// The bytes that have come of a datagram.
///
/// They are stored in the order in which they came, so that memory is held for what came and no more
/// than [`AMPLE`], and put in order once all are there, unless they came so.
#[derive(Default)]
pub(super) struct Body {
    // None until there is more than the first fragment.
    store: Option<Packet>,
    // How many bytes have come.
    len: usize,
    // How many bytes from the datagram's start on are stored as they follow each other, from the
    // store's start on.
    front: usize,
    // What else is stored, by offset; no two overlap.
    runs: Vec<Run>,
    // Length of the whole, once the last fragment has come.
    end: Option<usize>,
    // A bit for each ECN codepoint that was seen.
    ecn: u8,
    // The fragment at offset 0, if it came, and the length of its headers in front of the window.
    first: Option<Packet>,
    header_len: u16,
}

/// Bytes that follow each other, in the datagram as in the store.
#[derive(Clone, Copy)]
struct Run {
    offset: usize,
    len: usize,
    // Where in the store they are.
    at: usize,
}

/// Where a fragment's bytes belong.
pub(super) enum Place {
    /// They are there already.
    Known,
    /// Among the runs.
    Free(Gap),
}

/// Where among the runs there is room.
#[derive(Clone, Copy)]
pub(super) struct Gap {
    index: usize,
    // The bytes continue the run before, or the front, in the store too.
    extends: bool,
}

/// What it takes to add a fragment.
#[derive(Clone, Copy)]
pub(super) struct Cost {
    /// By how many bytes [`Body::size`] grows, at the most.
    pub(super) bytes: usize,
    /// For how many bytes of the datagram the store is to have room.
    pub(super) room: usize,
}

impl Body {
    /// That of a datagram of which the first fragment has come, and others are to come: the fragment is
    /// kept as it came, and not stored before there is another.
    pub(super) fn starting(piece: &Piece, packet: Packet) -> Self {
        Self {
            len: packet.len(),
            front: packet.len(),
            ecn: 1 << (piece.ecn & CE),
            first: Some(packet),
            header_len: piece.header_len,
            ..Self::default()
        }
    }

    /// Adds a fragment behind all others, as fragments mostly come; `false`, and nothing done, if that is
    /// not its place, it may be none, or it takes more than to copy it. If others come behind it, the
    /// datagram waits for them.
    #[inline]
    pub(super) fn append(&mut self, piece: &Piece, packet: &Packet) -> bool {
        let (bytes, len) = (packet.bytes(), self.len + packet.len());
        let plain = !bytes.is_empty() && (!piece.more || bytes.len().is_multiple_of(8));
        // Of a datagram that begins with all that has come, the last fragment has not.
        let in_order = self.len == piece.offset && self.front == piece.offset && len <= LONGEST_V4;
        let alike = self.ecn == 1 << (piece.ecn & CE);
        let store = self.store.as_mut().filter(|_| plain && in_order && alike);
        if !store.is_some_and(|store| store.extend(bytes)) {
            return false;
        }
        (self.len, self.front) = (len, len);
        self.end = (!piece.more).then_some(len);
        true
    }

    /// Finds the place of a fragment.
    pub(super) fn place(&self, piece: &Piece, bytes: &[u8]) -> Result<Place, Reason> {
        let (start, end) = (piece.offset, piece.offset + bytes.len());
        let reached = self.runs.last().map_or(self.front, Run::end);
        // A fragment that is not the last says that there is a byte behind it.
        let agrees = match self.end {
            Some(whole) if piece.more => end < whole,
            Some(whole) => end == whole,
            None => piece.more || end > reached,
        };
        if !agrees {
            return Err(Reason::Inconsistent);
        }
        let index = self.runs.partition_point(|run| run.end() <= start);
        let behind = self.runs.get(index);
        if start < self.front || behind.is_some_and(|run| run.offset < end) {
            let known = self.repeats(start, bytes);
            return if known { Ok(Place::Known) } else { Err(Reason::Overlap) };
        }
        let ecn = self.ecn | 1 << (piece.ecn & CE);
        if ecn & 1 << CE != 0 && ecn & 1 << NOT_ECT != 0 {
            return Err(Reason::Ecn);
        }
        let before = index.checked_sub(1).and_then(|before| self.runs.get(before));
        let before = before.copied().unwrap_or_else(|| self.front());
        let extends = before.end() == start && before.at + before.len == self.len;
        if !extends && self.runs.len() >= MAX_RUNS {
            return Err(Reason::Scattered);
        }
        Ok(Place::Free(Gap { index, extends }))
    }

    fn front(&self) -> Run {
        Run { offset: 0, len: self.front, at: 0 }
    }

    /// Whether `bytes` from offset `start` on are all there, and the same.
    fn repeats(&self, start: usize, mut bytes: &[u8]) -> bool {
        let runs = iter::once(self.front()).chain(self.runs.iter().copied());
        let mut at = start;
        for run in runs.filter(|run| run.end() > start) {
            let Some(skip) = at.checked_sub(run.offset) else { return false };
            let (here, rest) = bytes.split_at(bytes.len().min(run.len - skip));
            let known = self.stored().get(run.at + skip..).unwrap_or_default();
            if !known.starts_with(here) {
                return false;
            }
            if rest.is_empty() {
                return true;
            }
            at = run.end();
            bytes = rest;
        }
        false
    }

    /// What it takes to add a fragment at the place found for it, where `free` bytes may be taken
    /// without anybody's leaving.
    pub(super) fn cost(
        &self,
        pool: &Pool,
        gap: Gap,
        piece: &Piece,
        packet: &Packet,
        free: usize,
    ) -> Cost {
        let needed = self.len + packet.len();
        let tailroom = self.store.as_ref().map_or(0, Packet::tailroom);
        if gap.extends && packet.len() <= tailroom {
            return Cost { bytes: 0, room: needed };
        }
        let first = if piece.offset == 0 { packet.capacity() } else { 0 };
        if self.stays_alone(piece) {
            return Cost { bytes: first, room: 0 };
        }
        let another = !gap.extends && self.runs.len() == self.runs.capacity();
        let runs = if another { RUNS_STEP * size_of::<Run>() } else { 0 };
        let for_room = |room| Cost { bytes: first + runs + self.store_growth(pool, room), room };
        let ample = for_room((AMPLE * needed).min(LONGEST_V6));
        let may_be_ample = ample.bytes <= free.min(pool.large_available());
        if packet.len() > tailroom && may_be_ample { ample } else { for_room(needed) }
    }

    /// By how many bytes the store grows, at the most, to have room for so many of the datagram.
    fn store_growth(&self, pool: &Pool, room: usize) -> usize {
        let size = HEADROOM + FRONT + room;
        match self.store.as_ref().map(Packet::capacity) {
            None => size.max(HEADROOM + pool.room() + 1),
            Some(capacity) if size <= capacity => 0,
            Some(capacity) => (size - capacity).max(capacity / 2),
        }
    }

    /// Whether a fragment is the first in both senses: it is kept as it came, and not stored before
    /// there is another.
    fn stays_alone(&self, piece: &Piece) -> bool {
        piece.offset == 0 && self.len == 0
    }

    /// Adds a fragment at the place found for it, with room for so many bytes of the datagram. Whether the
    /// datagram waits for others; `None` if there is no memory.
    pub(super) fn add(
        &mut self,
        pool: &Pool,
        gap: Gap,
        piece: &Piece,
        packet: Packet,
        room: usize,
    ) -> Option<bool> {
        let (at, len) = (self.len, packet.len());
        if !self.stays_alone(piece) {
            self.store(pool, packet.bytes(), room)?;
        }
        match gap.index.checked_sub(1).and_then(|before| self.runs.get_mut(before)) {
            Some(run) if gap.extends => run.len += len,
            None if gap.extends => self.front += len,
            _ => {
                if self.runs.len() == self.runs.capacity() {
                    self.runs.try_reserve_exact(RUNS_STEP).ok()?;
                }
                self.runs.insert(gap.index, Run { offset: piece.offset, len, at });
            }
        }
        self.len += len;
        if !piece.more {
            self.end = Some(piece.offset + len);
        }
        self.ecn |= 1 << (piece.ecn & CE);
        if piece.offset == 0 {
            self.first = Some(packet);
            self.header_len = piece.header_len;
        }
        // No two runs overlap, and none goes beyond the end.
        Some(self.end != Some(self.len))
    }

    /// Puts bytes behind those that are stored, with room for so many; `None` if there is no memory.
    fn store(&mut self, pool: &Pool, bytes: &[u8], room: usize) -> Option<()> {
        let mut store = match self.store.take() {
            Some(store) => store,
            None => {
                let mut store = take(pool, room)?;
                store.extend(self.stored()).then_some(store)?
            }
        };
        let added = store.grow(room - store.len()) && store.extend(bytes);
        self.store = Some(store);
        added.then_some(())
    }

    /// The datagram, of which every byte is there; `None` if there is no memory to put them in order.
    pub(super) fn into_whole(mut self, pool: &Pool) -> Option<Whole> {
        let ecn = self.ecn();
        let payload = match self.store.take_if(|_| self.runs.is_empty()) {
            Some(store) => store,
            None => self.in_order(pool)?,
        };
        Some(Whole { payload, first: self.into_first()?, ecn })
    }

    fn in_order(&self, pool: &Pool) -> Option<Packet> {
        let stored = self.stored();
        let mut payload = take(pool, self.len)?;
        for run in iter::once(&self.front()).chain(&self.runs) {
            let bytes = stored.get(run.at..run.at + run.len)?;
            payload.extend(bytes).then_some(())?;
        }
        Some(payload)
    }

    /// The fragment at offset 0, if it came, its IP headers in the window.
    pub(super) fn into_first(self) -> Option<Packet> {
        let mut first = self.first?;
        // They are in front of the window: there is room for them.
        let _ = first.prepend(self.header_len.into());
        Some(first)
    }

    /// The ECN field of the whole.
    fn ecn(&self) -> u8 {
        // The first that any fragment has. CE is never seen beside NOT_ECT.
        let seen = |codepoint: &u8| self.ecn & 1 << codepoint != 0;
        [CE, NOT_ECT, ECT_0, ECT_1].into_iter().find(seen).unwrap_or(NOT_ECT)
    }

    /// Bytes of memory held.
    pub(super) fn size(&self) -> usize {
        let packets = [&self.store, &self.first].into_iter().flatten();
        packets.map(Packet::capacity).sum::<usize>() + self.runs.capacity() * size_of::<Run>()
    }

    /// The same without the room that is there for more.
    pub(super) fn weight(&self) -> usize {
        self.size() - self.store.as_ref().map_or(0, Packet::tailroom)
    }

    /// The bytes that came, in the order in which they did.
    fn stored(&self) -> &[u8] {
        let stored = self.store.as_ref().or(self.first.as_ref());
        stored.map_or(&[], Packet::bytes)
    }
}

impl Run {
    fn end(&self) -> usize {
        self.offset + self.len
    }
}

/// A large packet with room for `len` bytes behind [`FRONT`], its window empty.
fn take(pool: &Pool, len: usize) -> Option<Packet> {
    let mut packet = pool.take_large(FRONT + len)?;
    packet.append(FRONT)?;
    packet.trim_front(FRONT);
    Some(packet)
}
