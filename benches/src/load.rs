use std::collections::VecDeque;

use crate::{Case, Way, frames};

/// Where a host's bound ports begin.
pub const FIRST_PORT: u16 = 1_000;

/// The link: what is said to the host, and what it answers.
pub struct Load {
    // Of each datagram its frames.
    datagrams: Vec<Vec<Vec<u8>>>,
    // The frame to be delivered next.
    at: (usize, usize),
    ports: usize,
    // The port that was spoken to last, as an index.
    port: usize,
    window: usize,
    // Whether the host has answered before, and so knows its neighbour.
    met: bool,
    // Datagrams that may yet begin, that may begin now, and whose answers are not all there.
    remaining: u64,
    allowed: usize,
    outstanding: usize,
    // Frames that one answer takes, and those of the present one that have come.
    frames_each: usize,
    frames: usize,
    // What was asked of the link itself.
    answers: VecDeque<Vec<u8>>,
    answer: Vec<u8>,
    last: Vec<u8>,
}

impl Load {
    /// What a case asks for.
    #[must_use]
    pub fn new(case: &Case) -> Self {
        let count = match case.way {
            Way::Copy | Way::Reply | Way::Sink => case.ports.max(case.peers).min(10_000),
            Way::Source | Way::Segments => 0,
        };
        let payload = frames::payload(case.size);
        let datagrams: Vec<_> = (0..count)
            .map(|index| {
                let peer = index % case.peers;
                let address = match case.peers {
                    1 => frames::neighbor(case.family, 0),
                    _ => frames::remote(case.family, peer),
                };
                // Those that are spoken to lie far from each other.
                let port = FIRST_PORT + port_index(index, case.ports) as u16;
                frames::datagram((address, 5_000), port, &payload)
            })
            .collect();
        let frames_each = datagrams.first().map_or(1, Vec::len);
        Self {
            datagrams,
            at: (0, 0),
            ports: case.ports,
            port: 0,
            window: case.window,
            met: false,
            remaining: 0,
            allowed: 0,
            outstanding: 0,
            frames_each,
            frames: 0,
            answers: VecDeque::new(),
            answer: Vec::new(),
            last: Vec::new(),
        }
    }

    /// Lets so many datagrams more come, or, of a host that speaks first, waits for so many.
    pub fn start(&mut self, count: u64) {
        self.remaining += count;
        if self.datagrams.is_empty() {
            self.outstanding += self.remaining as usize;
            self.remaining = 0;
        }
        self.allow();
    }

    fn allow(&mut self) {
        if self.outstanding == 0 {
            // Only so many answers wait for a neighbour's address: the first is let through alone.
            let window = if self.met { self.window } else { 1 };
            self.allowed = window.min(self.remaining as usize);
            self.remaining -= self.allowed as u64;
            self.outstanding = self.allowed;
        }
    }

    /// Whether everything has been answered.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.remaining == 0 && self.outstanding == 0
    }

    /// Whether [`Load::deliver`] has a frame.
    #[must_use]
    pub fn has_next(&self) -> bool {
        self.allowed > 0 || !self.answers.is_empty()
    }

    /// The next frame for the host.
    pub fn deliver(&mut self) -> Option<&[u8]> {
        if let Some(answer) = self.answers.pop_front() {
            self.answer = answer;
            return Some(&self.answer);
        }
        if self.allowed == 0 {
            return None;
        }
        let (datagram, frame) = self.at;
        let frames = &self.datagrams[datagram];
        self.port = port_index(datagram, self.ports);
        self.at = if frame + 1 < frames.len() {
            (datagram, frame + 1)
        } else {
            self.allowed -= 1;
            ((datagram + 1) % self.datagrams.len(), 0)
        };
        Some(&frames[frame])
    }

    /// Takes a frame that the host sends.
    pub fn take(&mut self, frame: &[u8]) {
        if !frames::is_udp(frame) {
            self.answers.extend(frames::answer(frame));
            return;
        }
        self.frames += 1;
        if self.frames == self.frames_each {
            self.frames = 0;
            self.finish();
        }
        if self.is_done() {
            self.last.clear();
            self.last.extend_from_slice(frame);
        }
    }

    /// Takes note that a datagram is done with.
    pub fn finish(&mut self) {
        self.met = true;
        self.outstanding -= 1;
        self.allow();
    }

    /// The port to which the last datagram came, counted from the first.
    #[must_use]
    pub fn port_index(&self) -> usize {
        self.port
    }

    /// The last frame of what was waited for.
    #[must_use]
    pub fn last(&self) -> &[u8] {
        &self.last
    }
}

fn port_index(datagram: usize, ports: usize) -> usize {
    datagram * 7_919 % ports
}
