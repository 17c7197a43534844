//! How much of the reassembler each sender has.

use core::net::IpAddr;

use hashbrown::HashMap;

use crate::keyed::Keyed;

/// What all datagrams of each sender take up, and all together.
pub(super) struct Shares {
    // Of those that have a datagram.
    senders: HashMap<IpAddr, Share, Keyed>,
    total: Share,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) datagrams: usize,
    pub(super) bytes: usize,
}

impl Shares {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self { senders: HashMap::with_hasher(keyed), total: Share::default() }
    }

    pub(super) fn of(&self, sender: IpAddr) -> Share {
        self.senders.get(&sender).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> Share {
        self.total
    }

    /// Sees to it that there is memory for one more sender.
    pub(super) fn try_reserve(&mut self) -> bool {
        self.senders.try_reserve(1).is_ok()
    }

    /// Counts a new datagram, of no bytes yet.
    pub(super) fn add(&mut self, sender: IpAddr) {
        self.senders.entry(sender).or_default().datagrams += 1;
        self.total.datagrams += 1;
    }

    /// Counts a datagram of `before` bytes that has `after` now.
    pub(super) fn resize(&mut self, sender: IpAddr, before: usize, after: usize) {
        // Mostly there was room, and no need to look up whose it is.
        if before != after
            && let Some(share) = self.senders.get_mut(&sender)
        {
            share.bytes = share.bytes - before + after;
            self.total.bytes = self.total.bytes - before + after;
        }
    }

    /// Counts a datagram of `bytes` no more.
    pub(super) fn remove(&mut self, sender: IpAddr, bytes: usize) {
        self.resize(sender, bytes, 0);
        if let Some(share) = self.senders.get_mut(&sender) {
            share.datagrams -= 1;
            self.total.datagrams -= 1;
            if share.datagrams == 0 {
                self.senders.remove(&sender);
            }
        }
    }
}
