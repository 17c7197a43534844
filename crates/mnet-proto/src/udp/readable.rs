//! The sockets to which something has come.

use alloc::collections::VecDeque;

use super::SocketId;

/// Sockets of which it is to be said that something has come, each once, in that order. Mostly there is one,
/// which is not worth a place in a ring.
#[derive(Default)]
pub(super) struct Readable {
    // There if any is.
    first: Option<SocketId>,
    others: VecDeque<SocketId>,
}

impl Readable {
    #[inline]
    pub(super) fn push_back(&mut self, id: SocketId) {
        if self.first.is_none() {
            self.first = Some(id);
        } else {
            self.others.push_back(id);
        }
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<SocketId> {
        let id = self.first?;
        self.first = self.others.pop_front();
        Some(id)
    }

    /// Takes a socket out, if it is there.
    pub(super) fn remove(&mut self, id: SocketId) {
        self.others.retain(|&other| other != id);
        if self.first == Some(id) {
            self.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::iter;

    use super::*;

    #[test]
    fn sockets_are_said_in_order_but_for_those_that_are_closed() {
        for closed in 0..5 {
            let mut readable = Readable::default();
            for id in 0..4 {
                readable.push_back(SocketId(id));
            }
            readable.remove(SocketId(closed));
            assert!(readable.pop_front().is_some());
            readable.push_back(SocketId(5));
            let left: Vec<u16> = iter::from_fn(|| readable.pop_front()).map(|id| id.0).collect();
            let all = [0, 1, 2, 3, 5].into_iter().filter(|&id| id != closed);
            assert_eq!(left, all.skip(1).collect::<Vec<_>>());
        }
    }
}
