//! How much of the reassembler each sender has.

use alloc::vec::Vec;
use core::net::IpAddr;

/// What all datagrams of each sender take up, and all together.
#[derive(Default)]
pub(super) struct Shares {
    // Of those that have a datagram.
    senders: Vec<(IpAddr, Share)>,
    total: Share,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) datagrams: usize,
    pub(super) bytes: usize,
}

impl Shares {
    pub(super) fn of(&self, sender: IpAddr) -> Share {
        self.position(sender).map(|at| self.senders[at].1).unwrap_or_default()
    }

    fn position(&self, sender: IpAddr) -> Option<usize> {
        self.senders.iter().position(|(known, _)| *known == sender)
    }

    pub(super) fn total(&self) -> Share {
        self.total
    }

    /// Sees to it that there is memory for one more sender.
    pub(super) fn try_reserve(&mut self) -> bool {
        self.senders.try_reserve(1).is_ok()
    }

    /// Counts a new datagram of `bytes`, and returns its sender's share with it.
    pub(super) fn add(&mut self, sender: IpAddr, bytes: usize) -> Share {
        let at = self.position(sender).unwrap_or_else(|| {
            self.senders.push((sender, Share::default()));
            self.senders.len() - 1
        });
        for share in [&mut self.senders[at].1, &mut self.total] {
            share.datagrams += 1;
            share.bytes += bytes;
        }
        self.senders[at].1
    }

    /// Counts a datagram of `before` bytes that has `after` now.
    pub(super) fn resize(&mut self, sender: IpAddr, before: usize, after: usize) {
        // Mostly there was room, and no need to look up whose it is.
        if before != after
            && let Some(at) = self.position(sender)
        {
            let share = &mut self.senders[at].1;
            share.bytes = share.bytes - before + after;
            self.total.bytes = self.total.bytes - before + after;
        }
    }

    /// Counts a datagram of `bytes` no more.
    pub(super) fn remove(&mut self, sender: IpAddr, bytes: usize) {
        let Some(at) = self.position(sender) else { return };
        for share in [&mut self.senders[at].1, &mut self.total] {
            share.datagrams -= 1;
            share.bytes -= bytes;
        }
        if self.senders[at].1.datagrams == 0 {
            self.senders.swap_remove(at);
        }
    }
}
