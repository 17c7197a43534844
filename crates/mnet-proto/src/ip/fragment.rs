//! Datagrams in pieces: reassembly for IPv4 (RFC 791, 815) and IPv6 (RFC 8200 §4.5), and where to
//! cut what is too long.
//!
//! Fragments are the cheapest way to make a host hold on to memory, and to show a filter something
//! other than what arrives. So:
//!
//! - A datagram of which two fragments overlap is discarded, and so is what comes of it later, in
//!   IPv6 (RFC 5722) as in IPv4: that also ends what RFC 1858 and 3128 warn of. A fragment that
//!   says again what is known is ignored.
//! - Memory is held for bytes that came, never for bytes that are only spoken of: a fragment at the
//!   far end of a datagram takes no more than one at its start. Room for more is taken where nobody
//!   has to leave for it, up to twice the bytes that came.
//! - Room is made at the cost of the sender that has most, so no sender can push out one that has
//!   less. Senders of which each has one datagram are equals: whoever can send from many addresses
//!   pushes out the oldest, and a datagram survives as long as fewer others begin after it than
//!   [`Limits::datagrams`].

mod body;
mod shares;

use alloc::vec::Vec;
use core::iter;
use core::net::IpAddr;
use core::time::Duration;

use netdev::{CONTROL_BLOCK, Instant, Packet, Pool};

use self::body::{Body, Place};
use self::shares::Shares;

/// Bytes of the longest payload behind an IPv4 header, with which it is of 65,535.
const LONGEST_V4: usize = 65_515;
/// The same without the header, as in IPv6.
const LONGEST_V6: usize = 65_535;

/// How much is kept of datagrams that are not whole yet.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes in all: buffers, first fragments that were kept, and lists of what came. One datagram
    /// of the largest size takes up to 128 KiB; one that came out of order takes its size once more
    /// while it is put in order, which is not counted.
    pub bytes: usize,
    /// Datagrams, those that were discarded and are remembered among them. Each of the others keeps
    /// its first fragment: one packet.
    pub datagrams: usize,
    /// Datagrams from one address.
    pub per_sender: usize,
    /// Time an IPv4 datagram has to become whole (RFC 791 §3.2, as short as Linux has it).
    pub v4_timeout: Duration,
    /// Time an IPv6 datagram has to become whole (RFC 8200 §4.5).
    pub v6_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            datagrams: 64,
            per_sender: 8,
            v4_timeout: Duration::from_secs(30),
            v6_timeout: Duration::from_secs(60),
        }
    }
}

/// What the fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Who sends it.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// IPv4's protocol; 0 in IPv6, where fragments need not agree on it.
    pub protocol: u8,
    /// The sender's number for it.
    pub identification: u32,
}

/// What a fragment says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Which datagram it is of.
    pub key: Key,
    /// Where in the datagram's payload it begins, in bytes.
    pub offset: usize,
    /// Whether others come behind it.
    pub more: bool,
    /// The ECN field of its IP header (RFC 3168 §5).
    pub ecn: u8,
    /// Length in bytes of its IP headers, which lie in front of the packet's window.
    pub header_len: u16,
}

/// What became of a fragment.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// It is kept, or was known already: there are others to come.
    Waiting,
    /// It was the last one missing.
    Complete(Whole),
    /// It was refused, and for most reasons its datagram with it.
    Dropped(Reason),
}

/// A datagram that is whole again.
#[derive(Debug)]
pub struct Whole {
    /// Its payload, in a [large packet](Pool::take_large) with 256 bytes in front of the window, and the
    /// control block of the fragment that was the last to come.
    pub payload: Packet,
    /// The fragment at offset 0, its IP headers in the window: they are the datagram's.
    pub first: Packet,
    /// Its ECN field (RFC 3168 §5.3): congestion was experienced if one fragment says so, and the
    /// transport can tell only if all do.
    pub ecn: u8,
}

/// Why a fragment or a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The fragment is empty, or not of whole 8 bytes though others come behind it (RFC 8200
    /// §4.5). Its datagram stays.
    Length,
    /// The fragment ends where no datagram can reach (RFC 8200 §4.5). Its datagram stays.
    TooLong,
    /// The fragment overlaps with others (RFC 5722), and its datagram was discarded.
    Overlap,
    /// Fragments disagree on where the datagram ends, and it was discarded.
    Inconsistent,
    /// Congestion was experienced on the way of one fragment, and another's transport cannot tell
    /// (RFC 3168 §5.3); the datagram was discarded.
    Ecn,
    /// The datagram came in too many pieces out of order, and was discarded.
    Scattered,
    /// There is no memory for the datagram, or not within the bounds, and it was discarded.
    NoRoom,
    /// The fragment is of a datagram that was discarded.
    Poisoned,
    /// The datagram made room for others.
    Evicted,
    /// The datagram's time ran out before its last fragment came.
    TimedOut,
}

/// A datagram whose time ran out.
#[derive(Debug)]
pub struct Expired {
    /// Which one.
    pub key: Key,
    /// The fragment at offset 0, its IP headers in the window, if it came: then its sender is to be
    /// told (RFC 1122 §3.3.2, RFC 8200 §4.5).
    pub first: Option<Packet>,
}

/// Datagrams that are not whole yet.
pub struct Reassembler {
    // As they began, the oldest first. They are few: a table of hashes would find none sooner.
    datagrams: Vec<Datagram>,
    shares: Shares,
    limits: Limits,
    // Not later than the first to expire.
    next_timer: Option<Instant>,
}

struct Datagram {
    key: Key,
    expires: Instant,
    // None in one that is only remembered for having been discarded.
    body: Option<Body>,
}

impl Reassembler {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { datagrams: Vec::new(), shares: Shares::default(), limits, next_timer: None }
    }

    /// Takes in a fragment: its payload is in the packet's window, its IP headers in front.
    ///
    /// Buffers are large packets of `pool`. Each datagram that has to go for this one is told to
    /// `evicted`.
    // One that comes in order is soon done with.
    #[inline(always)]
    pub fn handle(
        &mut self,
        now: Instant,
        pool: &Pool,
        piece: Piece,
        packet: Packet,
        evicted: &mut impl FnMut(Reason),
    ) -> Outcome {
        let at = self.datagrams.iter().position(|datagram| datagram.key == piece.key);
        if let Some(at) = at
            && let Datagram { expires, body: Some(body), .. } = &mut self.datagrams[at]
            && *expires > now
            && body.append(&piece, &packet)
        {
            return self.outcome(at, pool, piece.more, packet.control_block());
        }
        self.handle_apart(now, at, pool, &piece, packet, evicted)
    }

    /// Takes in a fragment that does not come in order, or for which more is to be done.
    #[inline(never)]
    fn handle_apart(
        &mut self,
        now: Instant,
        at: Option<usize>,
        pool: &Pool,
        piece: &Piece,
        packet: Packet,
        evicted: &mut impl FnMut(Reason),
    ) -> Outcome {
        if let Err(reason) = piece.check(packet.len()) {
            return Outcome::Dropped(reason);
        }
        if let Some(at) = at.filter(|&at| self.is_in_time(at, now, evicted)) {
            return self.add(at, pool, piece, packet, evicted);
        }
        let free = self.limits.bytes.saturating_sub(self.shares.bytes());
        if piece.offset == 0 && piece.more && packet.capacity() <= free {
            let began = self.begin(now, piece.key, Body::starting(piece, packet), evicted);
            return began.map_or(Outcome::Dropped(Reason::NoRoom), |_| Outcome::Waiting);
        }
        match self.begin(now, piece.key, Body::default(), evicted) {
            Some(at) => self.add(at, pool, piece, packet, evicted),
            None => Outcome::Dropped(Reason::NoRoom),
        }
    }

    /// When [`Reassembler::handle_timeout`] is to be called. It may become sooner with each
    /// fragment.
    #[must_use]
    #[inline]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer
    }

    /// Gives up the datagrams whose time has run out. Calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Instant, expired: &mut impl FnMut(Expired)) {
        if self.next_timer.is_none_or(|next| next > now) {
            return;
        }
        let shares = &mut self.shares;
        for datagram in self.datagrams.extract_if(.., |datagram| datagram.expires <= now) {
            let key = datagram.key;
            shares.remove(key.source, datagram.size());
            // One that was discarded has been told of.
            if let Some(body) = datagram.body {
                expired(Expired { key, first: body.into_first() });
            }
        }
        self.next_timer = self.datagrams.iter().map(|datagram| datagram.expires).min();
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shares.bytes()
    }

    /// Datagrams that are not whole yet, or remembered for having been discarded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// Whether there is nothing to wait for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Whether a datagram's time has not run out yet; if it has, the datagram is removed.
    fn is_in_time(&mut self, at: usize, now: Instant, evicted: &mut impl FnMut(Reason)) -> bool {
        let is_in_time = self.datagrams[at].expires > now;
        if !is_in_time && self.remove(at).is_some() {
            evicted(Reason::TimedOut);
        }
        is_in_time
    }

    /// Opens a datagram, the last of all, and evicts another if there are too many. `None` if there
    /// is no memory for it.
    fn begin(
        &mut self,
        now: Instant,
        key: Key,
        body: Body,
        evicted: &mut impl FnMut(Reason),
    ) -> Option<usize> {
        let Limits { datagrams, per_sender, v4_timeout, v6_timeout, .. } = self.limits;
        let reserved = self.datagrams.try_reserve(1).is_ok() && self.shares.try_reserve();
        if datagrams == 0 || per_sender == 0 || !reserved {
            return None;
        }
        let expires = now + if key.source.is_ipv4() { v4_timeout } else { v6_timeout };
        let at = self.datagrams.len();
        let of_sender = self.shares.add(key.source, body.size());
        self.datagrams.push(Datagram { key, expires, body: Some(body) });
        self.next_timer = Some(self.next_timer.map_or(expires, |next| next.min(expires)));
        let too_many = of_sender > per_sender;
        if too_many || self.shares.datagrams() > datagrams {
            let among = |other: &Datagram| !too_many || other.key.source == key.source;
            let weight = |this: &Self, sender| this.shares.of(sender);
            return self.evict(at, &among, &weight, evicted);
        }
        Some(at)
    }

    /// Adds a fragment to its datagram, which is removed if it is whole then.
    fn add(
        &mut self,
        mut at: usize,
        pool: &Pool,
        piece: &Piece,
        packet: Packet,
        evicted: &mut impl FnMut(Reason),
    ) -> Outcome {
        let Some(body) = &mut self.datagrams[at].body else {
            return Outcome::Dropped(Reason::Poisoned);
        };
        let gap = match body.place(piece, packet.bytes()) {
            Ok(Place::Free(gap)) => gap,
            Ok(Place::Known) => return Outcome::Waiting,
            Err(reason) => return self.poison(at, reason),
        };
        let free = self.limits.bytes.saturating_sub(self.shares.bytes());
        let cost = body.cost(pool, gap, piece, &packet, free);
        let before = if cost.bytes > 0 { body.size() } else { 0 };
        if cost.bytes > free {
            if before + cost.bytes > self.limits.bytes {
                return self.poison(at, Reason::NoRoom);
            }
            at = self.make_room(at, cost.bytes, evicted);
        }
        let Some(body) = &mut self.datagrams[at].body else {
            return Outcome::Dropped(Reason::Poisoned);
        };
        let block = *packet.control_block();
        let added = body.add(pool, gap, piece, packet, cost.room);
        if cost.bytes > 0 {
            let after = body.size();
            self.shares.resize(before, after);
        }
        match added {
            Some(waits) => self.outcome(at, pool, waits, &block),
            None => self.poison(at, Reason::NoRoom),
        }
    }

    /// What has become of a datagram to which a fragment with this control block was added: if it does not
    /// wait for others, it is removed.
    #[inline]
    fn outcome(
        &mut self,
        at: usize,
        pool: &Pool,
        waits: bool,
        last: &[u64; CONTROL_BLOCK],
    ) -> Outcome {
        if waits { Outcome::Waiting } else { self.complete(at, pool, last) }
    }

    #[inline(never)]
    fn complete(&mut self, at: usize, pool: &Pool, last: &[u64; CONTROL_BLOCK]) -> Outcome {
        match self.remove(at).and_then(|body| body.into_whole(pool)) {
            Some(mut whole) => {
                *whole.payload.control_block_mut() = *last;
                Outcome::Complete(whole)
            }
            None => Outcome::Dropped(Reason::NoRoom),
        }
    }

    /// Evicts others until a datagram may take `growth` bytes more. Says where it is then.
    fn make_room(
        &mut self,
        mut at: usize,
        growth: usize,
        evicted: &mut impl FnMut(Reason),
    ) -> usize {
        while self.shares.bytes() + growth > self.limits.bytes
            && let Some(moved) = self.evict(at, &|other| other.size() > 0, &Self::weight, evicted)
        {
            at = moved;
        }
        at
    }

    /// Evicts, among the datagrams other than the one at `at`, the oldest of the sender whose share
    /// weighs most. Says where the one is then; `None` if there is no other.
    fn evict(
        &mut self,
        at: usize,
        among: &dyn Fn(&Datagram) -> bool,
        weight: &dyn Fn(&Self, IpAddr) -> usize,
        evicted: &mut impl FnMut(Reason),
    ) -> Option<usize> {
        // Of those that weigh the same it is the last that counts: the oldest.
        let others = self.datagrams.iter().enumerate().rev();
        let others = others.filter(|&(other, datagram)| other != at && among(datagram));
        let victim = others.max_by_key(|(_, other)| weight(self, other.key.source));
        let (victim, _) = victim?;
        if self.remove(victim).is_some() {
            evicted(Reason::Evicted);
        }
        Some(if victim < at { at - 1 } else { at })
    }

    /// How many bytes a sender's datagrams need: room that was taken for more, as nobody had to leave
    /// for it, does not count against it.
    fn weight(&self, sender: IpAddr) -> usize {
        let of_sender = self.datagrams.iter().filter(|datagram| datagram.key.source == sender);
        of_sender.filter_map(|datagram| datagram.body.as_ref()).map(Body::weight).sum()
    }

    fn remove(&mut self, at: usize) -> Option<Body> {
        let datagram = self.datagrams.remove(at);
        self.shares.remove(datagram.key.source, datagram.size());
        if self.datagrams.is_empty() {
            self.next_timer = None;
        }
        datagram.body
    }

    /// Discards a datagram, but remembers until its time runs out that it was.
    fn poison(&mut self, at: usize, reason: Reason) -> Outcome {
        let datagram = &mut self.datagrams[at];
        let before = datagram.size();
        datagram.body = None;
        self.shares.resize(before, 0);
        Outcome::Dropped(reason)
    }
}

impl Piece {
    /// Whether a datagram can have a fragment of `len` bytes like this.
    fn check(&self, len: usize) -> Result<(), Reason> {
        let longest = if self.key.source.is_ipv4() { LONGEST_V4 } else { LONGEST_V6 };
        if len == 0 || self.more && !len.is_multiple_of(8) || !self.offset.is_multiple_of(8) {
            Err(Reason::Length)
        } else if self.offset > longest || len > longest - self.offset {
            Err(Reason::TooLong)
        } else {
            Ok(())
        }
    }
}

impl Datagram {
    fn size(&self) -> usize {
        self.body.as_ref().map_or(0, Body::size)
    }
}

/// Where to cut a payload of `payload_len` bytes into fragments of at most `room` bytes: offset and
/// length of each, and whether others come behind it.
///
/// All but the last are a multiple of 8 long (RFC 791 §3.2, RFC 8200 §4.5). There are none if
/// `room` is less than 8.
pub fn cuts(payload_len: usize, room: usize) -> impl Iterator<Item = (usize, usize, bool)> {
    let step = room & !7;
    let mut offset = 0;
    iter::from_fn(move || {
        let rest = payload_len - offset;
        if rest == 0 || step == 0 {
            return None;
        }
        let len = if rest <= room { rest } else { step };
        let cut = (offset, len, len < rest);
        offset += len;
        Some(cut)
    })
}

#[cfg(test)]
mod tests;
