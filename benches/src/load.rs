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
    field: Field,
    // What is said in which turn, made before so that it costs the measured little; the next of these.
    turns: Vec<Turn>,
    next: usize,
    // The port of the one before it, as an index.
    port: usize,
}

/// A port, as an index, and what is written for it into the field and its checksums.
struct Turn {
    port: u16,
    field: [u8; 2],
    checksums: [[u8; 2]; 2],
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
        let turn = |turn: usize| {
            // Those that are spoken to lie far from each other.
            let port = (turn * 7_919 % ports) as u16;
            let value = if ports > 1 { FIRST_PORT + port } else { turn as u16 };
            Turn { port, field: value.to_be_bytes(), checksums: field.sums(value) }
        };
        let turns = (0..ports.max(peers).min(10_000)).map(turn).collect();
        Some(Self { field, turns, next: 0, port: 0 })
    }

    #[inline]
    fn next(&mut self, frame: &mut [u8]) {
        let turn = &self.turns[self.next];
        let Field { at, sums: [first, second] } = &self.field;
        frame[*at..at + 2].copy_from_slice(&turn.field);
        for (Sum { at, .. }, checksum) in [first, second].into_iter().zip(&turn.checksums) {
            frame[*at..at + 2].copy_from_slice(checksum);
        }
        self.port = turn.port.into();
        self.next = if self.next + 1 == self.turns.len() { 0 } else { self.next + 1 };
    }
}

/// Sixteen bits of a frame that differ from one datagram to the next, and the checksums over them: two,
/// or one twice.
struct Field {
    at: usize,
    sums: [Sum; 2],
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
        Self::new(frame, udp + 2, [udp + 6; 2])
    }

    /// The last bits of the address from which it comes.
    fn peer(family: Family, frame: &[u8]) -> Self {
        let udp = udp_at(family) + 6;
        match family {
            Family::V4 => Self::new(frame, 28, [24, udp]),
            Family::V6 => Self::new(frame, 36, [udp; 2]),
        }
    }

    fn new(frame: &[u8], at: usize, sums: [usize; 2]) -> Self {
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let sum = |sum: usize| {
            let (at_zero, carry) = word(sum).overflowing_add(word(at));
            Sum { at: sum, at_zero: at_zero + u16::from(carry) }
        };
        Self { at, sums: sums.map(sum) }
    }

    /// The checksums where it has a value (RFC 1624).
    fn sums(&self, value: u16) -> [[u8; 2]; 2] {
        [&self.sums[0], &self.sums[1]].map(|sum| {
            let (sum, borrow) = sum.at_zero.overflowing_sub(value);
            // Of UDP, 0 would say that there is none (RFC 768).
            match sum - u16::from(borrow) {
                0 => [0xff; 2],
                sum => sum.to_be_bytes(),
            }
        })
    }
}

/// Where UDP's header begins in a frame that is no fragment.
fn udp_at(family: Family) -> usize {
    match family {
        Family::V4 => 34,
        Family::V6 => 54,
    }
}
