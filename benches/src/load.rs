use std::collections::VecDeque;

use crate::{Case, Family, Way, frames};

/// Where a host's bound ports begin.
pub const FIRST_PORT: u16 = 1_000;

/// The link: what is said to the host, and what it answers.
pub struct Load {
    // Those of one datagram: others differ in a field, or not at all.
    datagram: Vec<Vec<u8>>,
    // Which of them is delivered next.
    frame: usize,
    turns: Option<Turns>,
    window: usize,
    // Whether the host has answered before, and so knows its neighbour.
    met: bool,
    // Datagrams that may yet begin, and that may begin now.
    remaining: u64,
    allowed: usize,
    // Frames of answers that are yet to come to what may begin now, or has; one answer takes so many.
    outstanding: usize,
    frames_each: usize,
    // What was asked of the link itself.
    answers: VecDeque<Vec<u8>>,
    answer: Vec<u8>,
    last: Vec<u8>,
}

impl Load {
    /// What a case asks for.
    #[must_use]
    pub fn new(case: &Case) -> Self {
        let address = match case.peers {
            1 => frames::neighbor(case.family, 0),
            _ => frames::remote(case.family, 0),
        };
        let payload = frames::payload(case.size);
        let datagram = match case.way {
            Way::Copy | Way::Reply | Way::Sink => {
                frames::datagram((address, 5_000), FIRST_PORT, &payload)
            }
            Way::Source | Way::Segments => Vec::new(),
        };
        Self {
            frames_each: datagram.len().max(1),
            turns: datagram.first().and_then(|frame| Turns::new(case, frame)),
            datagram,
            frame: 0,
            window: case.window,
            met: false,
            remaining: 0,
            allowed: 0,
            outstanding: 0,
            answers: VecDeque::new(),
            answer: Vec::new(),
            last: Vec::new(),
        }
    }

    /// Lets so many datagrams more come, or, of a host that speaks first, waits for so many.
    pub fn start(&mut self, count: u64) {
        if self.datagram.is_empty() {
            self.outstanding += count as usize;
            return;
        }
        self.remaining += count;
        if self.outstanding == 0 {
            self.allow();
        }
    }

    fn allow(&mut self) {
        // Only so many answers wait for a neighbour's address: the first is let through alone.
        let window = if self.met { self.window } else { 1 };
        self.allowed = window.min(self.remaining as usize);
        self.remaining -= self.allowed as u64;
        self.outstanding = self.allowed * self.frames_each;
    }

    /// Whether everything has been answered.
    #[must_use]
    #[inline]
    pub fn is_done(&self) -> bool {
        self.outstanding == 0 && self.remaining == 0
    }

    /// Whether [`Load::deliver`] has a frame.
    #[must_use]
    #[inline]
    pub fn has_next(&self) -> bool {
        self.allowed > 0 || !self.answers.is_empty()
    }

    /// The next frame for the host.
    #[inline]
    pub fn deliver(&mut self) -> Option<&[u8]> {
        if self.allowed == 0 {
            return if self.answers.is_empty() { None } else { self.deliver_answer() };
        }
        let frame = self.datagram.get_mut(self.frame)?;
        if let Some(turns) = &mut self.turns {
            turns.next(frame);
        }
        self.frame += 1;
        if self.frame == self.frames_each {
            self.frame = 0;
            self.allowed -= 1;
        }
        Some(frame)
    }

    #[cold]
    fn deliver_answer(&mut self) -> Option<&[u8]> {
        self.answer = self.answers.pop_front()?;
        Some(&self.answer)
    }

    /// Takes a frame that the host sends.
    #[inline]
    pub fn take(&mut self, frame: &[u8]) {
        if !frames::is_udp(frame) {
            return self.take_question(frame);
        }
        self.outstanding -= 1;
        if self.outstanding == 0 {
            self.go_on();
            if self.is_done() {
                self.keep(frame);
            }
        }
    }

    #[cold]
    fn take_question(&mut self, frame: &[u8]) {
        self.answers.extend(frames::answer(frame));
    }

    #[cold]
    fn keep(&mut self, frame: &[u8]) {
        self.last.clear();
        self.last.extend_from_slice(frame);
    }

    /// Takes note that a datagram is done with that is not answered.
    #[inline]
    pub fn finish(&mut self) {
        self.outstanding -= self.frames_each;
        if self.outstanding == 0 {
            self.go_on();
        }
    }

    fn go_on(&mut self) {
        self.met = true;
        self.allow();
    }

    /// The port to which the last datagram came, counted from the first.
    #[must_use]
    pub fn port_index(&self) -> usize {
        self.turns.as_ref().map_or(0, |turns| turns.port)
    }

    /// The last frame of what was waited for.
    #[must_use]
    pub fn last(&self) -> &[u8] {
        &self.last
    }
}

/// Which port is spoken to, and by which peer: each in its turn. One frame serves all of them, so that
/// what is in the cache or not is the host's, and not what is said to it.
struct Turns {
    ports: usize,
    // What tells the datagrams apart: the port, or the peer.
    field: Field,
    // Of so many this is the next; the port of the one before it, as an index.
    count: usize,
    turn: usize,
    port: usize,
}

impl Turns {
    /// None if there is only one port, and one peer.
    fn new(case: &Case, frame: &[u8]) -> Option<Self> {
        let Case { ports, peers, .. } = *case;
        let field = match (ports, peers) {
            (1, 1) => return None,
            (_, 1) => Field::port(case.family, frame),
            (1, _) => Field::peer(case.family, frame),
            _ => unreachable!("there are many ports or many peers"),
        };
        Some(Self { ports, field, count: ports.max(peers).min(10_000), turn: 0, port: 0 })
    }

    fn next(&mut self, frame: &mut [u8]) {
        if self.ports > 1 {
            // Those that are spoken to lie far from each other.
            self.port = self.turn * 7_919 % self.ports;
            self.field.set(frame, FIRST_PORT + self.port as u16);
        } else {
            self.field.set(frame, self.turn as u16);
        }
        self.turn = if self.turn + 1 == self.count { 0 } else { self.turn + 1 };
    }
}

/// Sixteen bits of a frame that differ from one datagram to the next, and the checksums over them.
struct Field {
    at: usize,
    checksums: Vec<Sum>,
}

struct Sum {
    at: usize,
    // What it is where the field is 0.
    at_zero: u16,
}

impl Field {
    /// The port to which it goes.
    fn port(family: Family, frame: &[u8]) -> Self {
        let udp = udp_at(family);
        Self::new(frame, udp + 2, &[udp + 6])
    }

    /// The last bits of the address from which it comes.
    fn peer(family: Family, frame: &[u8]) -> Self {
        let udp = udp_at(family) + 6;
        match family {
            Family::V4 => Self::new(frame, 28, &[24, udp]),
            Family::V6 => Self::new(frame, 36, &[udp]),
        }
    }

    fn new(frame: &[u8], at: usize, checksums: &[usize]) -> Self {
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let sum = |&sum: &usize| {
            let (at_zero, carry) = word(sum).overflowing_add(word(at));
            Sum { at: sum, at_zero: at_zero + u16::from(carry) }
        };
        Self { at, checksums: checksums.iter().map(sum).collect() }
    }

    /// Sets it, and lets the checksums be right (RFC 1624).
    fn set(&self, frame: &mut [u8], value: u16) {
        frame[self.at..self.at + 2].copy_from_slice(&value.to_be_bytes());
        for &Sum { at, at_zero } in &self.checksums {
            let (sum, borrow) = at_zero.overflowing_sub(value);
            let sum = sum - u16::from(borrow);
            // Of UDP, 0 would say that there is none (RFC 768).
            let sum = if sum == 0 { u16::MAX } else { sum };
            frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
    }
}

/// Where UDP's header begins in a frame that is no fragment.
fn udp_at(family: Family) -> usize {
    match family {
        Family::V4 => 34,
        Family::V6 => 54,
    }
}
