//! The IPv6 addresses that the guest has made itself.

use std::net::Ipv6Addr;
use std::time::Duration;

use netdev::Instant;

/// Most addresses that are known at a time.
const MAX: usize = 4;
/// For so long a host looks for others with the same address before it takes it (RFC 4862 §5.4):
/// one solicitation, and a second of RFC 4861's `RetransTimer`.
const PROBE: Duration = Duration::from_secs(1);

/// The guest's addresses in the network's prefix, as far as it was heard to use them.
///
/// When there are too many, the one that was not heard of for longest leaves.
#[derive(Debug, Default)]
pub(super) struct Residents(Vec<Resident>);

#[derive(Clone, Copy, Debug)]
struct Resident {
    address: Ipv6Addr,
    /// When the guest took it, or will have taken it if nobody else has it.
    taken: Instant,
    heard: Instant,
}

impl Residents {
    /// The guest looks for others with this address: nobody answers, and it will take it.
    pub(super) fn probe(&mut self, now: Instant, address: Ipv6Addr) {
        let resident = self.hear(now, address);
        resident.taken = now + PROBE;
    }

    /// The guest uses this address.
    pub(super) fn confirm(&mut self, now: Instant, address: Ipv6Addr) {
        let resident = self.hear(now, address);
        resident.taken = resident.taken.min(now);
    }

    /// The address that the guest took last, which is where it is to be reached.
    pub(super) fn current(&self, now: Instant) -> Option<Ipv6Addr> {
        let taken = self.0.iter().filter(|resident| resident.taken <= now);
        taken.max_by_key(|resident| resident.taken).map(|resident| resident.address)
    }

    fn hear(&mut self, now: Instant, address: Ipv6Addr) -> &mut Resident {
        let heard = Resident { address, taken: now, heard: now };
        let known = self.0.iter().position(|resident| resident.address == address);
        let index = known.unwrap_or_else(|| {
            if self.0.len() < MAX {
                self.0.push(heard);
                return self.0.len() - 1;
            }
            let times = self.0.iter().map(|resident| resident.heard).enumerate();
            let index = times.min_by_key(|&(_, heard)| heard).map_or(0, |(index, _)| index);
            self.0[index] = heard;
            index
        });
        self.0[index].heard = now;
        &mut self.0[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn address(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x10, 2, 0, 0, 0, 0, last)
    }

    #[test]
    fn an_address_counts_once_nobody_has_answered_or_the_guest_uses_it() {
        let mut residents = Residents::default();
        assert_eq!(residents.current(at(0)), None);
        residents.probe(at(0), address(1));
        assert_eq!(residents.current(at(999)), None);
        assert_eq!(residents.current(at(1000)), Some(address(1)));
        residents.probe(at(1100), address(2));
        assert_eq!(residents.current(at(1200)), Some(address(1)));
        residents.confirm(at(1200), address(2));
        assert_eq!(residents.current(at(1200)), Some(address(2)));
        residents.confirm(at(1300), address(1));
        assert_eq!(residents.current(at(1300)), Some(address(2)), "the one taken last");
    }

    #[test]
    fn there_are_four_at_most_and_those_in_use_stay() {
        let mut residents = Residents::default();
        for last in 1..100 {
            residents.confirm(at(u64::from(last)), address(last));
            residents.confirm(at(u64::from(last)), address(1));
        }
        assert_eq!(residents.0.len(), MAX);
        assert!(residents.0.iter().any(|resident| resident.address == address(1)));
        assert_eq!(residents.current(at(100)), Some(address(99)));
    }
}
