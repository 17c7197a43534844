use alloc::vec::Vec;
use core::net::IpAddr;

use super::JoinError;

/// From which sources a member of a group wants to hear (RFC 3376 §2, RFC 3810 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// From these alone; from none is not to be a member.
    Include(Vec<IpAddr>),
    /// From all but these.
    Exclude(Vec<IpAddr>),
}

impl Filter {
    /// From every source.
    pub const ANY: Self = Self::Exclude(Vec::new());
}

/// A filter whose sources are in order, each there once: of one member, or of all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) exclude: bool,
    list: Vec<IpAddr>,
}

impl Sources {
    /// What there is before anybody joins, and after all have left.
    pub(super) const NONE: Self = Self { exclude: false, list: Vec::new() };

    /// The filter, if it can be one for the group.
    pub(super) fn new(group: IpAddr, filter: Filter) -> Result<Self, JoinError> {
        let (exclude, list) = match filter {
            Filter::Include(list) => (false, list),
            Filter::Exclude(list) => (true, list),
        };
        if !group.is_multicast() {
            return Err(JoinError::NotMulticast);
        }
        if !list.iter().all(|&source| is_unicast(source) && source.is_ipv4() == group.is_ipv4()) {
            return Err(JoinError::Source);
        }
        if exclude && is_source_specific(group) {
            return Err(JoinError::SourceSpecific);
        }
        Ok(Self { exclude, list: in_order(&list) })
    }

    /// What is to be received so that each of the filters gets what it wants (RFC 3376 §3.2,
    /// RFC 3810 §4.2).
    pub(super) fn merge<'a>(filters: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let excluding = filters.clone().filter(|filter| filter.exclude);
        let including = filters.filter(|filter| !filter.exclude);
        let mut excluding = excluding.map(|filter| &filter.list);
        let Some(first) = excluding.next() else {
            let mut list = Vec::new();
            including.for_each(|filter| list.extend_from_slice(&filter.list));
            return Self { exclude: false, list: in_order(&list) };
        };
        let mut list = first.clone();
        excluding.for_each(|other| list.retain(|source| contains(other, source)));
        including.for_each(|other| list.retain(|source| !contains(&other.list, source)));
        Self { exclude: true, list }
    }

    /// Whether nothing is wanted.
    pub(super) fn is_none(&self) -> bool {
        !self.exclude && self.list.is_empty()
    }

    pub(super) fn accepts(&self, source: &IpAddr) -> bool {
        contains(&self.list, source) != self.exclude
    }

    pub(super) fn list(&self) -> &[IpAddr] {
        &self.list
    }

    /// The sources that are in one of the two lists alone.
    pub(super) fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = IpAddr> + 'a {
        let gone = self.list.iter().filter(|source| !contains(&other.list, source));
        let new = other.list.iter().filter(|source| !contains(&self.list, source));
        gone.chain(new).copied()
    }
}

/// Addresses in order, each once.
pub(super) fn in_order(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut list = Vec::new();
    for &address in addresses {
        if let Err(place) = list.binary_search(&address) {
            list.insert(place, address);
        }
    }
    list
}

fn contains(list: &[IpAddr], source: &IpAddr) -> bool {
    list.binary_search(source).is_ok()
}

/// Whether a source can be a host elsewhere.
fn is_unicast(source: IpAddr) -> bool {
    let reserved = matches!(source, IpAddr::V4(v4) if matches!(v4.octets()[0], 0 | 240..));
    !(reserved || source.is_unspecified() || source.is_loopback() || source.is_multicast())
}

/// Whether those who join the group must name their sources: 232.0.0.0/8 and ff3x::/32 (RFC 4607).
fn is_source_specific(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets()[0] == 232,
        IpAddr::V6(group) => group.segments()[0] & 0xfff0 == 0xff30 && group.segments()[1] == 0,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));

    fn source(number: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, number).into()
    }

    fn filter() -> impl Strategy<Value = Sources> {
        (any::<bool>(), proptest::collection::vec(0u8..6, 0..5)).prop_map(|(exclude, list)| {
            let list = list.into_iter().map(source).collect();
            let filter = if exclude { Filter::Exclude(list) } else { Filter::Include(list) };
            Sources::new(GROUP, filter).unwrap()
        })
    }

    #[test]
    fn what_can_be_no_source_is_refused() {
        let other_family = "2001:db8::1".parse().unwrap();
        let multicast = "224.1.1.1".parse().unwrap();
        let broadcast = "255.255.255.255".parse().unwrap();
        for bad in [other_family, multicast, broadcast, Ipv4Addr::UNSPECIFIED.into()] {
            let filter = Filter::Include(vec![source(1), bad]);
            assert_eq!(Sources::new(GROUP, filter), Err(JoinError::Source), "{bad}");
        }
    }

    #[test]
    fn the_source_specific_ranges_want_sources_named() {
        for group in ["232.1.2.3", "ff35::8000:1", "ff3e::1"] {
            let group = group.parse().unwrap();
            assert_eq!(Sources::new(group, Filter::ANY), Err(JoinError::SourceSpecific), "{group}");
        }
        for group in ["233.1.2.3", "ff15::1", "ff3e:30:2001:db8::1"] {
            let group = group.parse().unwrap();
            assert!(Sources::new(group, Filter::ANY).is_ok(), "{group}");
        }
        let named = Filter::Include(vec![source(1)]);
        assert!(Sources::new("232.1.2.3".parse().unwrap(), named).is_ok());
    }

    proptest! {
        #[test]
        fn all_together_accept_what_any_of_them_accepts(
            filters in proptest::collection::vec(filter(), 0..5), number in 0u8..8,
        ) {
            let merged = Sources::merge(filters.iter());
            let wanted = filters.iter().any(|filter| filter.accepts(&source(number)));
            prop_assert_eq!(merged.accepts(&source(number)), wanted);
        }

        #[test]
        fn the_difference_is_what_one_filter_accepts_and_the_other_does_not(
            a in filter(), b in filter(), number in 0u8..8,
        ) {
            let differs = a.difference(&b).any(|changed| changed == source(number));
            let in_one = a.list.contains(&source(number)) != b.list.contains(&source(number));
            prop_assert_eq!(differs, in_one);
        }
    }
}
