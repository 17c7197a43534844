//! What has come of one datagram.

use alloc::vec::Vec;

use netdev::{HEADROOM, Packet, Pool};

use super::{Piece, Reason};

/// Bytes between a large packet's [`HEADROOM`] and the payload, for headers put before it: it
/// begins 256 bytes into the buffer.
const FRONT: usize = 256 - HEADROOM;
/// Runs of one datagram. In order there is one; the largest one in fragments of 576 bytes, shuffled
/// in any way, makes no more than 119.
const MAX_RUNS: usize = 128;
/// By how many the list of runs grows.
const RUNS_STEP: usize = 8;

const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// The bytes that have come of a datagram.
///
/// They are stored in the order in which they came, so that there is no more memory than bytes, and
/// put in order once all are there, unless they came so.
#[derive(Default)]
pub(super) struct Body {
    // None until there is a byte.
    stored: Option<Packet>,
    // By offset; no two overlap.
    runs: Vec<Run>,
    // Length of the whole, once the last fragment has come.
    end: Option<usize>,
    // A bit for each ECN codepoint that was seen.
    ecn: u8,
    /// The fragment at offset 0, if it came.
    pub(super) first: Option<Packet>,
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
    // The bytes continue the run before, in the store too.
    extends: bool,
}

impl Body {
    /// Finds the place of a fragment.
    pub(super) fn place(&self, piece: &Piece, bytes: &[u8]) -> Result<Place, Reason> {
        let (start, end) = (piece.offset, piece.offset + bytes.len());
        let reached = self.runs.last().map_or(0, Run::end);
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
        let behind = self.runs.partition_point(|run| run.offset < end);
        if index < behind {
            let known = self.runs.get(index..behind).unwrap_or_default();
            return if self.repeats(known, start, bytes) {
                Ok(Place::Known)
            } else {
                Err(Reason::Overlap)
            };
        }
        let ecn = self.ecn | 1 << (piece.ecn & CE);
        if ecn & 1 << CE != 0 && ecn & 1 << NOT_ECT != 0 {
            return Err(Reason::Ecn);
        }
        let before = index.checked_sub(1).and_then(|before| self.runs.get(before));
        let stored = self.stored_len();
        let extends = before.is_some_and(|run| run.end() == start && run.at + run.len == stored);
        if !extends && self.runs.len() >= MAX_RUNS {
            return Err(Reason::Scattered);
        }
        Ok(Place::Free(Gap { index, extends }))
    }

    /// Whether `bytes` from offset `start` on all lie in `runs`, and are the same there.
    fn repeats(&self, runs: &[Run], mut start: usize, mut bytes: &[u8]) -> bool {
        let stored = self.stored.as_ref().map_or(&[][..], Packet::bytes);
        for run in runs {
            let Some(skip) = start.checked_sub(run.offset) else { return false };
            let (here, rest) = bytes.split_at(bytes.len().min(run.len.saturating_sub(skip)));
            if stored.get(run.at + skip..).is_none_or(|known| !known.starts_with(here)) {
                return false;
            }
            start += here.len();
            bytes = rest;
        }
        bytes.is_empty()
    }

    /// By how many bytes [`Body::size`] grows, at the most, if `len` bytes are added.
    pub(super) fn growth(&self, pool: &Pool, len: usize) -> usize {
        let stored = match &self.stored {
            None => HEADROOM + (FRONT + len).max(pool.room() + 1),
            Some(stored) if len <= stored.tailroom() => 0,
            Some(stored) => (stored.capacity() / 2).max(len - stored.tailroom()),
        };
        let full = self.runs.len() == self.runs.capacity();
        stored + if full { RUNS_STEP * size_of::<Run>() } else { 0 }
    }

    /// Adds a fragment's bytes at the place found for them; `None` if there is no memory.
    pub(super) fn add(&mut self, pool: &Pool, gap: Gap, piece: &Piece, bytes: &[u8]) -> Option<()> {
        if self.runs.len() == self.runs.capacity() {
            self.runs.try_reserve_exact(RUNS_STEP).ok()?;
        }
        let mut stored = match self.stored.take() {
            Some(stored) => stored,
            None => take(pool, bytes.len())?,
        };
        let at = stored.len();
        let added = stored.grow(bytes.len()) && stored.extend(bytes);
        self.stored = Some(stored);
        if !added {
            return None;
        }
        match gap.index.checked_sub(1).and_then(|before| self.runs.get_mut(before)) {
            Some(run) if gap.extends => run.len += bytes.len(),
            _ => self.runs.insert(gap.index, Run { offset: piece.offset, len: bytes.len(), at }),
        }
        if !piece.more {
            self.end = Some(piece.offset + bytes.len());
        }
        self.ecn |= 1 << (piece.ecn & CE);
        Some(())
    }

    /// Whether every byte is there.
    pub(super) fn is_whole(&self) -> bool {
        // No two runs overlap, and none goes beyond the end.
        self.end == Some(self.stored_len())
    }

    /// The bytes in order, and the first fragment if it was kept; `None` if there is no memory.
    pub(super) fn into_payload(self, pool: &Pool) -> Option<(Packet, Option<Packet>)> {
        let stored = self.stored?;
        if self.runs.len() == 1 {
            return Some((stored, self.first));
        }
        let mut payload = take(pool, stored.len())?;
        for run in &self.runs {
            let bytes = stored.bytes().get(run.at..run.at + run.len)?;
            payload.extend(bytes).then_some(())?;
        }
        Some((payload, self.first))
    }

    /// The ECN field of the whole.
    pub(super) fn ecn(&self) -> u8 {
        // The first that any fragment has. CE is never seen beside NOT_ECT.
        let seen = |codepoint: &u8| self.ecn & 1 << codepoint != 0;
        [CE, NOT_ECT, ECT_0, ECT_1].into_iter().find(seen).unwrap_or(NOT_ECT)
    }

    /// Bytes of memory held.
    pub(super) fn size(&self) -> usize {
        let packets = [&self.stored, &self.first].into_iter().flatten();
        packets.map(Packet::capacity).sum::<usize>() + self.runs.capacity() * size_of::<Run>()
    }

    fn stored_len(&self) -> usize {
        self.stored.as_ref().map_or(0, Packet::len)
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
