use alloc::boxed::Box;
use core::ops::RangeInclusive;

use super::SocketId;
use crate::ip::Network;

/// How often to guess a free port before looking at all of them in turn.
const GUESSES: usize = 8;

/// Which socket has which port: a table of 256 tables, of which only those are there that have
/// had something in them. One look into each finds any port, however many are taken.
pub(super) struct Ports {
    pages: Box<[Option<Box<Page>>; 256]>,
    ephemeral: RangeInclusive<u16>,
}

/// Where what nobody can guess comes from.
pub(super) trait Random {
    /// 32 bits of it.
    fn random(&mut self) -> u32;
}

impl<N: Network> Random for N {
    fn random(&mut self) -> u32 {
        Network::random(self)
    }
}

type Page = [Option<SocketId>; 256];

impl Ports {
    pub(super) fn new(ephemeral: RangeInclusive<u16>) -> Self {
        Self { pages: Box::new([const { None }; 256]), ephemeral }
    }

    /// The socket on this port.
    #[inline]
    pub(super) fn get(&self, port: u16) -> Option<SocketId> {
        let [page, index] = port.to_be_bytes().map(usize::from);
        self.pages[page].as_ref()?[index]
    }

    pub(super) fn set(&mut self, port: u16, socket: Option<SocketId>) {
        let [page, index] = port.to_be_bytes().map(usize::from);
        self.pages[page].get_or_insert_with(|| Box::new([None; 256]))[index] = socket;
    }

    /// A random port that is free, and never 0: RFC 6056 §3.3.1, "simple port randomization".
    pub(super) fn ephemeral(&self, random: &mut impl Random) -> Option<u16> {
        let (first, last) = (u32::from(*self.ephemeral.start()), u32::from(*self.ephemeral.end()));
        let count = last.checked_sub(first)? + 1;
        let free = |offset: u32| {
            let port = (first + offset % count) as u16;
            (port != 0 && self.get(port).is_none()).then_some(port)
        };
        // The bias towards low ports is at most one in 65,536.
        let guess = (0..GUESSES).find_map(|_| free(random.random()));
        guess.or_else(|| {
            let start = random.random() % count;
            (start..start + count).find_map(free)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chacha20::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};

    use super::*;

    impl Random for ChaCha20Rng {
        fn random(&mut self) -> u32 {
            self.next_u32()
        }
    }

    #[test]
    fn every_port_has_a_place_of_its_own() {
        let mut ports = Ports::new(1..=u16::MAX);
        for port in 0..=u16::MAX {
            assert_eq!(ports.get(port), None);
            ports.set(port, Some(SocketId(port)));
        }
        for port in 0..=u16::MAX {
            assert_eq!(ports.get(port), Some(SocketId(port)));
        }
        ports.set(7, None);
        assert_eq!((ports.get(7), ports.get(8)), (None, Some(SocketId(8))));
    }

    #[test]
    fn ephemeral_ports_are_spread_over_their_range_and_never_in_use() {
        let mut random = ChaCha20Rng::from_seed([1; 32]);
        let mut ports = Ports::new(40_000..=40_999);
        (40_000..40_500).for_each(|port| ports.set(port, Some(SocketId(1))));
        let picked: HashSet<_> = (0..10_000).filter_map(|_| ports.ephemeral(&mut random)).collect();
        assert_eq!(picked, (40_500..=40_999).collect());
    }

    #[test]
    fn the_last_free_port_is_found_and_then_there_is_none() {
        let mut random = ChaCha20Rng::from_seed([2; 32]);
        let mut ports = Ports::new(32_768..=65_535);
        (32_768..=65_535).filter(|&p| p != 50_123).for_each(|p| ports.set(p, Some(SocketId(1))));
        assert_eq!(ports.ephemeral(&mut random), Some(50_123));
        ports.set(50_123, Some(SocketId(1)));
        assert_eq!(ports.ephemeral(&mut random), None);
    }
}
