//! Membership in multicast groups: IGMP for IPv4 (RFC 3376, and with older routers RFC 2236 and
//! RFC 1112), MLD for IPv6 (RFC 3810, and RFC 2710).
//!
//! The two are one protocol with two spellings. What a host remembers is here; `igmp` and `mld` know
//! how it is spelt, and whom to believe.

mod filter;
mod group;
mod igmp;
mod mld;
mod querier;
mod report;

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use netdev::Instant;

pub use self::filter::Filter;
use self::filter::Sources;
use self::group::{Group, Older};
use self::querier::{Generation, Querier};
pub(crate) use self::report::Report;
use crate::ip::earlier;

/// The member that is the host itself: for all-nodes groups and those of its own addresses.
pub(crate) const HOST: u32 = u32::MAX;

/// Longest time until a change is told again (Unsolicited Report Interval: RFC 3376 §8.11,
/// RFC 3810 §9.11).
const AGAIN: Duration = Duration::from_secs(1);
/// The same with older routers (RFC 2236 §8.10, RFC 2710 §7.10).
const AGAIN_OLDER: Duration = Duration::from_secs(10);

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Groups that sockets are members of. The host's own are not counted.
    pub(crate) groups: usize,
    /// Sources that the members of a group name, all members together.
    pub(crate) sources: usize,
}

impl Limits {
    /// The sources that a query names; none, and so all, if they are more than are kept.
    fn named(&self, sources: impl ExactSizeIterator<Item = IpAddr>) -> Vec<IpAddr> {
        let mut named = Vec::new();
        if sources.len() <= self.sources {
            named.extend(sources);
        }
        named
    }
}

/// Why a group cannot be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The address is not one of a group.
    #[error("Not a multicast address")]
    NotMulticast,
    /// A source cannot be a host's address, or is not of the group's family.
    #[error("Not a source that a group can have")]
    Source,
    /// The group is one of those that are joined only for named sources (RFC 4607).
    #[error("Not without the sources named")]
    SourceSpecific,
    /// The group's members name too many sources.
    #[error("Too many sources")]
    TooManySources,
    /// There are too many groups.
    #[error("Too many groups")]
    TooManyGroups,
    /// The IP layers that UDP was put on know of no groups.
    #[error("These IP layers know of no groups")]
    Unsupported,
}

/// Why a message was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// It is cut short, or its lengths contradict each other.
    Malformed,
    /// Its checksum is wrong.
    Checksum,
    /// Its source is none that may say so.
    Source,
    /// It was sent to somebody else than it speaks to.
    Destination,
    /// It is of no matter to a host.
    Unhandled,
}

/// A query, whatever its spelling.
struct Query {
    generation: Generation,
    group: Option<IpAddr>,
    max_response: Duration,
    // None for all, or for more than are kept.
    sources: Vec<IpAddr>,
}

/// The groups that sockets and host are members of, and what is to be told of them.
pub(crate) struct Multicast {
    // By address.
    groups: Vec<(IpAddr, Group)>,
    limits: Limits,
    igmp: Querier,
    mld: Querier,
    // What is due and has not been taken yet.
    outbox: Vec<Report>,
    // Not later than the first timer.
    next_timer: Option<Instant>,
    random: u64,
}

impl Multicast {
    /// No groups. Times are spread by `seed`.
    pub(crate) const fn new(limits: Limits, seed: u64) -> Self {
        Self {
            groups: Vec::new(),
            limits,
            igmp: Querier::new(),
            mld: Querier::new(),
            outbox: Vec::new(),
            next_timer: None,
            random: seed,
        }
    }

    /// Makes a socket, or [`HOST`], a member of a group, or changes what sources it wants.
    pub(crate) fn join(
        &mut self,
        now: Instant,
        member: u32,
        group: IpAddr,
        filter: Filter,
    ) -> Result<(), JoinError> {
        let sources = Sources::new(group, filter)?;
        if sources.is_none() {
            self.leave(now, member, group);
            return Ok(());
        }
        let known = self.group(group);
        let others = known.map_or(0, |known| known.sources_without(member));
        if others + sources.list().len() > self.limits.sources {
            return Err(JoinError::TooManySources);
        }
        if known.is_none() && member != HOST && !self.make_room() {
            return Err(JoinError::TooManyGroups);
        }
        self.set(now, member, group, sources);
        Ok(())
    }

    /// Ends a membership; `false` if there was none.
    pub(crate) fn leave(&mut self, now: Instant, member: u32, group: IpAddr) -> bool {
        let is_member = self.group(group).is_some_and(|group| group.member(member).is_some());
        if is_member {
            self.set(now, member, group, Sources::NONE);
        }
        is_member
    }

    /// Ends all memberships of a member.
    pub(crate) fn leave_all(&mut self, now: Instant, member: u32) {
        let is_member = |(_, group): &&(IpAddr, Group)| group.member(member).is_some();
        while let Some(&(group, _)) = self.groups.iter().find(is_member) {
            self.set(now, member, group, Sources::NONE);
        }
    }

    /// Whether anybody here is a member of the group.
    pub(crate) fn is_joined(&self, group: IpAddr) -> bool {
        self.group(group).is_some_and(Group::has_members)
    }

    /// Whether a member wants what a source sends to the group.
    pub(crate) fn accepts(&self, member: u32, group: IpAddr, source: IpAddr) -> bool {
        let sources = self.group(group).and_then(|group| group.member(member));
        sources.is_some_and(|sources| sources.accepts(&source))
    }

    /// Tells of all groups of a family as if they had just been joined: when the link has come
    /// up, or there is now an address to report from (RFC 3590 §4).
    pub(crate) fn announce(&mut self, now: Instant, ipv6: bool) {
        self.expire(now, ipv6);
        let robustness = self.querier(ipv6).robustness;
        for (_, group) in family(&mut self.groups, ipv6) {
            group.announce(now, robustness);
        }
        self.wait_until(now);
    }

    /// When [`Multicast::poll_transmit`] is to be called. It is to be called, too, after anything
    /// else that takes the time.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer
    }

    /// A message that is due, of at most `max` bytes behind the headers of IP; to be called until
    /// there is none. On a link that takes less than 44 bytes, it may be longer.
    pub(crate) fn poll_transmit(&mut self, now: Instant, max: usize) -> Option<Report> {
        if self.outbox.is_empty() && self.next_timer.is_some_and(|next| next <= now) {
            for ipv6 in [false, true] {
                self.expire(now, ipv6);
                match self.querier(ipv6).generation() {
                    Generation::Third => self.tell(now, ipv6, max),
                    older => self.tell_older(now, ipv6, older),
                }
            }
            self.groups.retain(|(_, group)| group.has_members() || group.times_left() > 0);
            let queriers = earlier(self.igmp.timer(), self.mld.timer());
            let groups = self.groups.iter().map(|(_, group)| group.timer());
            self.next_timer = groups.fold(queriers, earlier);
        }
        // There are few: about one for a group.
        (!self.outbox.is_empty()).then(|| self.outbox.remove(0))
    }

    /// Sees to it that there is a place for a group: one that nobody is a member of any more goes,
    /// although its leaving may be told less often than it should.
    fn make_room(&mut self) -> bool {
        let others = |group: &Group| group.member(HOST).is_none();
        if self.groups.iter().filter(|(_, group)| others(group)).count() < self.limits.groups {
            return true;
        }
        let left = self.groups.iter().enumerate().filter(|(_, (_, group))| !group.has_members());
        let victim = left.min_by_key(|(_, (_, group))| group.times_left()).map(|(at, _)| at);
        victim.map(|victim| self.groups.remove(victim)).is_some()
    }

    /// Sets what a member wants.
    fn set(&mut self, now: Instant, member: u32, address: IpAddr, sources: Sources) {
        let ipv6 = address.is_ipv6();
        self.expire(now, ipv6);
        let querier = if ipv6 { &self.mld } else { &self.igmp };
        let at = match find(&self.groups, address) {
            Ok(at) => at,
            Err(at) => {
                self.groups.insert(at, (address, Group::new()));
                at
            }
        };
        let group = &mut self.groups[at].1;
        let before = group.set(member, sources);
        if is_reported(address) {
            // What was wanted and what is: twice what is kept of either.
            let most = self.limits.sources.saturating_mul(2);
            group.changed(now, &before, querier.generation(), querier.robustness, most);
        }
        let timer = group.timer();
        if !group.has_members() && group.times_left() == 0 {
            self.groups.remove(at);
        }
        timer.into_iter().for_each(|timer| self.wait_until(timer));
    }

    /// Takes a query. What it says of robustness and interval has been taken note of.
    fn query(&mut self, now: Instant, ipv6: bool, query: Query) {
        self.expire(now, ipv6);
        // In IGMP a query of one group says nothing of who asks (RFC 3376 §7.2.1), in MLD it does
        // (RFC 3810 §8.2.1).
        if ipv6 || query.group.is_none() {
            let before = self.querier(ipv6).generation();
            self.querier(ipv6).heard(now, query.generation, query.max_response);
            self.switched(ipv6, before);
        }
        self.querier(ipv6).timer().into_iter().for_each(|timer| self.wait_until(timer));
        if self.querier(ipv6).generation() != Generation::Third {
            return self.query_older(now, ipv6, &query);
        }
        let at = now + self.spread(query.max_response);
        // RFC 3376 §5.2, RFC 3810 §6.2: one that comes sooner, and is for all, does for this, too.
        let querier = self.querier(ipv6);
        if querier.answer.is_some_and(|answer| answer <= at) {
            return;
        }
        let most = self.limits.sources;
        match query.group {
            None => self.querier(ipv6).answer = Some(at),
            Some(address) => {
                let Ok(known) = find(&self.groups, address) else { return };
                let group = &mut self.groups[known].1;
                if group.wanted.is_none() || !is_reported(address) {
                    return;
                }
                group.ask(at, query.sources, most);
            }
        }
        self.wait_until(at);
    }

    /// Takes a query while older versions are spoken: each group is answered for on its own.
    fn query_older(&mut self, now: Instant, ipv6: bool, query: &Query) {
        let latest = now + query.max_response;
        let random = &mut self.random;
        let mut first = None;
        for (address, group) in family(&mut self.groups, ipv6) {
            if query.group.is_none_or(|asked| asked == *address) {
                group.ask_older(now + spread(random, query.max_response), latest);
                first = earlier(first, group.timer());
            }
        }
        first.into_iter().for_each(|first| self.wait_until(first));
    }

    /// Takes note that somebody else reported a group as older versions do.
    fn heard_report(&mut self, now: Instant, address: IpAddr) {
        let ipv6 = address.is_ipv6();
        self.expire(now, ipv6);
        if self.querier(ipv6).generation() == Generation::Third {
            return;
        }
        let Ok(at) = find(&self.groups, address) else { return };
        let group = &mut self.groups[at].1;
        group.heard_report();
        if !group.has_members() {
            self.groups.remove(at);
        }
    }

    fn group(&self, address: IpAddr) -> Option<&Group> {
        find(&self.groups, address).ok().map(|at| &self.groups[at].1)
    }

    fn querier(&mut self, ipv6: bool) -> &mut Querier {
        if ipv6 { &mut self.mld } else { &mut self.igmp }
    }

    /// Forgets older queriers that have gone.
    fn expire(&mut self, now: Instant, ipv6: bool) {
        let querier = self.querier(ipv6);
        let before = querier.generation();
        querier.expire(now);
        self.switched(ipv6, before);
    }

    /// Drops what is planned if something else is spoken now than before (RFC 3376 §7.2.1,
    /// RFC 3810 §8.2.1).
    fn switched(&mut self, ipv6: bool, before: Generation) {
        let querier = self.querier(ipv6);
        if querier.generation() == before {
            return;
        }
        querier.answer = None;
        self.outbox.retain(|report| report.destination.is_ipv6() != ipv6);
        family(&mut self.groups, ipv6).for_each(|(_, group)| group.forget());
        self.groups.retain(|(_, group)| group.has_members() || group.times_left() > 0);
    }

    /// Puts into the outbox what is due to be told to routers of the third generation.
    fn tell(&mut self, now: Instant, ipv6: bool, max: usize) {
        let all = self.querier(ipv6).answer.take_if(|answer| *answer <= now).is_some();
        let mut records = Vec::new();
        let random = &mut self.random;
        for (address, group) in family(&mut self.groups, ipv6) {
            if all {
                records.extend(group.tell_all(*address));
            }
            group.tell(now, now + spread(random, AGAIN), *address, &mut records);
        }
        if ipv6 {
            self.outbox.extend(mld::reports(&records, max));
        } else {
            self.outbox.extend(igmp::reports(&records, max));
        }
    }

    /// Puts into the outbox what is due to be told to older routers.
    fn tell_older(&mut self, now: Instant, ipv6: bool, generation: Generation) {
        let random = &mut self.random;
        for (address, group) in family(&mut self.groups, ipv6) {
            let again = now + spread(random, AGAIN_OLDER);
            let Some(older) = group.tell_older(now, again) else { continue };
            self.outbox.push(match *address {
                IpAddr::V4(address) => igmp::older(address, older, generation),
                IpAddr::V6(address) => mld::older(address, older),
            });
        }
    }

    fn wait_until(&mut self, time: Instant) {
        self.next_timer = Some(self.next_timer.map_or(time, |next| next.min(time)));
    }

    fn spread(&mut self, longest: Duration) -> Duration {
        spread(&mut self.random, longest)
    }
}

/// The groups of a family of which routers are told.
fn family(
    groups: &mut [(IpAddr, Group)],
    ipv6: bool,
) -> impl Iterator<Item = &mut (IpAddr, Group)> {
    groups.iter_mut().filter(move |(group, _)| group.is_ipv6() == ipv6 && is_reported(*group))
}

/// Where a group is, or where it would have its place.
fn find(groups: &[(IpAddr, Group)], address: IpAddr) -> Result<usize, usize> {
    groups.binary_search_by_key(&address, |(group, _)| *group)
}

/// Whether routers are told of a group: not of those that everybody is a member of, nor of those
/// that do not leave the host (RFC 3376 §5, RFC 3810 §6).
fn is_reported(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group != crate::wire::igmp::ALL_SYSTEMS,
        IpAddr::V6(group) => {
            group != crate::wire::mld::ALL_NODES && group.segments()[0] & 0x000f > 1
        }
    }
}

/// A time at random, up to the longest, so that the hosts on a link do not speak all at once.
fn spread(random: &mut u64, longest: Duration) -> Duration {
    // Only to spread times: a linear congruential generator (Knuth's MMIX) will do.
    *random =
        random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    longest * ((*random >> 48) as u32 + 1) / (1 << 16)
}

#[cfg(test)]
mod tests;
