//! How much of the reassembler each sender has.

use alloc::vec::Vec;
use core::net::IpAddr;

/// How many datagrams each sender has, and what all together take up.
#[derive(Default)]
pub(super) struct Shares {
    // Of those that have a datagram.
    senders: Vec<(IpAddr, usize)>,
    datagrams: usize,
    bytes: usize,
}

impl Shares {
    /// How many datagrams of a sender's there are.
    pub(super) fn of(&self, sender: IpAddr) -> usize {
        self.position(sender).map_or(0, |at| self.senders[at].1)
    }

    fn position(&self, sender: IpAddr) -> Option<usize> {
        self.senders.iter().position(|(known, _)| *known == sender)
    }

    /// How many datagrams there are.
    pub(super) fn datagrams(&self) -> usize {
        self.datagrams
    }

    /// What they take up.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sees to it that there is memory for one more sender.
    pub(super) fn try_reserve(&mut self) -> bool {
        self.senders.try_reserve(1).is_ok()
    }

    /// Counts a new datagram of `bytes`, and returns how many its sender has with it.
    pub(super) fn add(&mut self, sender: IpAddr, bytes: usize) -> usize {
        let at = self.position(sender).unwrap_or_else(|| {
            self.senders.push((sender, 0));
            self.senders.len() - 1
        });
        self.datagrams += 1;
        self.bytes += bytes;
        self.senders[at].1 += 1;
        self.senders[at].1
    }

    /// Counts a datagram of `before` bytes that has `after` now.
    pub(super) fn resize(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes - before + after;
    }

    /// Counts a datagram of `bytes` no more.
    pub(super) fn remove(&mut self, sender: IpAddr, bytes: usize) {
        let Some(at) = self.position(sender) else { return };
        self.datagrams -= 1;
        self.bytes -= bytes;
        self.senders[at].1 -= 1;
        if self.senders[at].1 == 0 {
            self.senders.swap_remove(at);
        }
    }
}
