//! What a host remembers of those it sends to: how to reach them, how much passes on the way (RFC
//! 1191, RFC 8201), and what it has sent, so that errors about anything else are not believed (RFC
//! 5927 §4.1).

mod entry;
mod flows;

use alloc::vec::Vec;
use core::mem;
use core::net::IpAddr;
use core::time::Duration;

use netdev::Instant;

use self::entry::{Destination, Exceptions, PathMtu, Redirect};
pub(crate) use self::flows::{Flow, Flows};
use super::Route;
use crate::index::Index;
use crate::keyed::ByAddress;
use crate::lists::Lists;

/// How long a path's MTU is believed to be lower than the link's (RFC 1191 §6.3, RFC 8201 §4).
const PATH_MTU: Duration = Duration::from_secs(600);

/// How long a redirect is followed: whoever sends one that is wrong has to go on (RFC 1122
/// §3.3.1.4).
const REDIRECT: Duration = Duration::from_secs(600);

/// The list of those that make way before all others.
const ASIDE: usize = 0;
/// The list of those that were sent to.
const SENT: usize = 1;

/// Those that a host sends to, the least recently used of which is forgotten when there are too many.
pub(crate) struct Destinations {
    index: Index,
    entries: Vec<Destination>,
    // All of them, in two lists, the least recently used first.
    order: Lists,
    max: usize,
    // Changes when anything does on which routes depend.
    generation: u32,
    // Changes when a route does, or may.
    changes: u32,
    // Whether any router has ever said that something goes by another neighbour.
    redirected: bool,
}

/// That a destination is not remembered, and where it would be.
pub(crate) struct Absent(u32);

impl Destinations {
    pub(crate) fn new(max: usize, keyed: ByAddress) -> Self {
        Self {
            index: Index::new(keyed, max),
            entries: Vec::new(),
            order: Lists::default(),
            max: max.max(1),
            generation: 0,
            changes: 0,
            redirected: false,
        }
    }

    /// Forgets the routes: something on which they depend has changed.
    pub(crate) fn invalidate(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.change();
    }

    fn change(&mut self) {
        self.changes = self.changes.wrapping_add(1);
    }

    /// Another number than before, once any route that is remembered has changed or may have.
    #[inline]
    pub(crate) fn changes(&self) -> u32 {
        self.changes
    }

    /// Another number than before, once no route holds that was remembered.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Forgets the routes, and what routers have said against them: others have been given.
    pub(crate) fn reroute(&mut self) {
        self.invalidate();
        self.entries.iter_mut().for_each(Destination::end_redirect);
    }

    /// Where a destination is remembered, until another is.
    ///
    /// # Errors
    /// [`Absent`], if it is not known.
    #[inline]
    pub(crate) fn slot(&self, destination: IpAddr) -> Result<usize, Absent> {
        let hash = self.index.hash(destination);
        let is = |slot: usize| {
            self.entries.get(slot).is_some_and(|entry| entry.route.destination == destination)
        };
        self.index.find(hash, is).ok_or(Absent(hash))
    }

    /// What is remembered there of a destination.
    #[inline]
    pub(crate) fn at(&mut self, slot: usize) -> &mut Destination {
        &mut self.entries[slot]
    }

    fn get(&mut self, destination: IpAddr) -> Option<&mut Destination> {
        let slot = self.slot(destination).ok()?;
        self.entries.get_mut(slot)
    }

    fn peek(&self, destination: IpAddr) -> Option<&Destination> {
        self.slot(destination).ok().and_then(|slot| self.entries.get(slot))
    }

    /// The route to a destination, if it is remembered and goes from this source.
    #[inline]
    pub(crate) fn route(
        &mut self,
        now: Instant,
        destination: IpAddr,
        source: Option<IpAddr>,
    ) -> Option<Route> {
        self.route_at(now, self.slot(destination).ok()?, source)
    }

    /// The same of a destination that is remembered there.
    #[inline]
    pub(crate) fn route_at(
        &mut self,
        now: Instant,
        slot: usize,
        source: Option<IpAddr>,
    ) -> Option<Route> {
        let entry = &self.entries[slot];
        let lasts = |exceptions: &Exceptions| {
            exceptions.path_mtu.is_none_or(|path| now < path.until)
                && exceptions.redirect.is_none_or(|redirect| now < redirect.until)
        };
        let fresh = entry.generation == self.generation
            && !entry.aside
            && entry.exceptions.as_deref().is_none_or(lasts)
            && entry.goes_from(source);
        if !fresh {
            return None;
        }
        self.order.put(slot, SENT, Instant::ZERO);
        Some(entry.route)
    }

    /// Whether anything was sent to a destination of late.
    pub(crate) fn is_known(&self, destination: IpAddr) -> bool {
        self.peek(destination).is_some_and(|entry| !entry.aside)
    }

    /// The neighbour that a router has named for a destination.
    pub(crate) fn redirect(&self, now: Instant, destination: IpAddr) -> Option<IpAddr> {
        let redirect = self.peek(destination)?.redirect();
        redirect.filter(|redirect| now < redirect.until).map(|redirect| redirect.next_hop)
    }

    /// Remembers the route to a destination, with the path's MTU in it, and returns it so. Its source
    /// is what the host chooses, or was asked for: `by_request`.
    pub(crate) fn set_route(&mut self, now: Instant, route: Route, by_request: bool) -> Route {
        let slot = match self.slot(route.destination) {
            Ok(slot) => slot,
            Err(absent) => self.insert(absent, route, by_request, (0, 0)),
        };
        self.update(now, slot, route, by_request)
    }

    fn update(&mut self, now: Instant, slot: usize, mut route: Route, by_request: bool) -> Route {
        self.order.put(slot, SENT, Instant::ZERO);
        let entry = &mut self.entries[slot];
        if let Some(exceptions) = &mut entry.exceptions {
            exceptions.redirect = exceptions.redirect.filter(|redirect| now < redirect.until);
            exceptions.path_mtu = exceptions.path_mtu.filter(|path| now < path.until);
            if let Some(path) = exceptions.path_mtu {
                route.mtu = route.mtu.min(path.mtu);
            }
        }
        if entry.route != route || entry.generation != self.generation {
            entry.template = None;
        }
        entry.route = route;
        entry.by_request = by_request;
        entry.aside = false;
        entry.generation = self.generation;
        route
    }

    /// Remembers the route to a destination of which nothing was known, and what goes there.
    pub(crate) fn begin(&mut self, absent: Absent, route: Route, by_request: bool, flow: Flow) {
        let slot = self.insert(absent, route, by_request, flow);
        self.order.put(slot, SENT, Instant::ZERO);
    }

    /// Takes up a destination of which nothing is known, perhaps in another's place.
    fn insert(
        &mut self,
        Absent(hash): Absent,
        route: Route,
        by_request: bool,
        flow: Flow,
    ) -> usize {
        let slot = if self.entries.len() < self.max {
            self.entries.push(Destination {
                route,
                generation: self.generation,
                by_request,
                aside: false,
                used: false,
                exceptions: None,
                flows: Flows::new(flow),
                template: None,
            });
            self.entries.len() - 1
        } else {
            let slot = self.next_to_go();
            self.index.remove(slot);
            let entry = &mut self.entries[slot];
            entry.route = route;
            entry.generation = self.generation;
            entry.by_request = by_request;
            entry.aside = false;
            entry.template = None;
            entry.exceptions = None;
            entry.flows = Flows::new(flow);
            slot
        };
        self.index.insert(slot, hash);
        slot
    }

    /// Who is forgotten for the next that is new: of those set aside the last, or else the least recently
    /// used. Those that have been sent to by templates since they were last looked at stay.
    fn next_to_go(&mut self) -> usize {
        if let Some(aside) = self.order.last(ASIDE) {
            return aside;
        }
        loop {
            let (slot, _) = self.order.first(SENT).unwrap_or_default();
            if !mem::take(&mut self.entries[slot].used) {
                return slot;
            }
            self.order.put(slot, SENT, Instant::ZERO);
        }
    }

    /// Remembers the route to one of whom others have spoken, or who was answered. That takes no place
    /// from those to whom anything was sent by itself: if they have them all, it is not remembered.
    pub(crate) fn set_aside(&mut self, now: Instant, route: Route) {
        let slot = match self.slot(route.destination) {
            Ok(slot) if self.entries[slot].aside => slot,
            Ok(_) => return,
            Err(absent) => {
                if self.entries.len() == self.max && self.order.last(ASIDE).is_none() {
                    return;
                }
                self.insert(absent, route, false, (0, 0))
            }
        };
        self.update(now, slot, route, false);
        self.order.put(slot, ASIDE, Instant::ZERO);
        self.entries[slot].aside = true;
    }

    /// Takes note of an echo reply that goes by this route, and may be too long for some link.
    pub(crate) fn answered(&mut self, now: Instant, route: Route, echo: [u8; 4]) {
        self.set_aside(now, route);
        if let Some(entry) = self.get(route.destination) {
            entry.route.mtu = route.mtu;
            entry.exceptions_mut().echo = Some(echo);
        }
    }

    /// Whether this was the last echo reply of that kind.
    pub(crate) fn was_answered(&self, destination: IpAddr, echo: [u8; 4]) -> bool {
        let exceptions = self.peek(destination).and_then(|entry| entry.exceptions.as_ref());
        exceptions.is_some_and(|exceptions| exceptions.echo == Some(echo))
    }

    /// A route with the path's MTU in it, if anything is known of the path. Nothing is remembered:
    /// this is for those that are answered, who may be as many as like to ask.
    pub(crate) fn narrow(&self, now: Instant, mut route: Route) -> Route {
        let known = self.peek(route.destination).and_then(Destination::path_mtu);
        if let Some(path) = known.filter(|path| now < path.until) {
            route.mtu = route.mtu.min(path.mtu);
        }
        route
    }

    /// Whether this was sent to a destination of late.
    pub(crate) fn was_sent(&self, destination: IpAddr, flow: Flow) -> bool {
        self.peek(destination).is_some_and(|entry| entry.flows.contains(flow))
    }

    /// Lowers the MTU of the path to a destination; `true` if that was news.
    pub(crate) fn lower_mtu(&mut self, now: Instant, destination: IpAddr, mtu: u16) -> bool {
        let Some(entry) = self.get(destination) else { return false };
        if mtu >= entry.route.mtu {
            return false;
        }
        entry.exceptions_mut().path_mtu = Some(PathMtu { mtu, until: now + PATH_MTU });
        entry.route.mtu = mtu;
        self.change();
        true
    }

    /// Sends what goes to a destination by another neighbour from now on; `false` if nothing goes
    /// there by `from`.
    pub(crate) fn set_redirect(
        &mut self,
        now: Instant,
        destination: IpAddr,
        from: IpAddr,
        next_hop: IpAddr,
    ) -> bool {
        let generation = self.generation;
        let Some(entry) = self.get(destination) else { return false };
        if entry.route.next_hop != from || entry.generation != generation {
            return false;
        }
        entry.exceptions_mut().redirect = Some(Redirect { next_hop, until: now + REDIRECT });
        entry.route.next_hop = next_hop;
        self.redirected = true;
        self.change();
        true
    }

    /// Takes note that a neighbour is no router: nothing goes by it because a router has said so,
    /// but what is for itself.
    pub(crate) fn no_router(&mut self, neighbor: IpAddr) {
        if !self.redirected {
            return;
        }
        self.change();
        for entry in &mut self.entries {
            if entry.goes_by(neighbor) && entry.route.destination != neighbor {
                entry.end_redirect();
                entry.generation = self.generation.wrapping_sub(1);
            }
        }
    }

    /// Sends nothing by this neighbour any more only because a router has said so.
    pub(crate) fn remove_redirects(&mut self, next_hop: IpAddr) {
        if !self.redirected {
            return;
        }
        self.change();
        let by_it = self.entries.iter_mut().filter(|entry| entry.goes_by(next_hop));
        by_it.for_each(Destination::end_redirect);
    }

    /// Lets the next datagram to each destination go without a template.
    #[cfg(test)]
    pub(crate) fn forget_templates(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.template = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_nanos(1_000_000_000_000);

    fn route(number: u32) -> Route {
        let host = |number: u32| IpAddr::V4((0x0a00_0000 + number).into());
        let (destination, source, next_hop) = (host(number), host(1), host(2));
        Route { destination, source, next_hop, mtu: 1_500, header_len: 20 }
    }

    fn destinations(max: usize) -> Destinations {
        Destinations::new(max, ByAddress(0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03))
    }

    #[test]
    fn a_route_is_remembered_until_something_changes() {
        let mut known = destinations(4);
        let route = known.set_route(START, route(9), false);
        assert_eq!(known.route(START, route.destination, None), Some(route));
        assert_eq!(known.route(START, route.destination, Some(route.source)), Some(route));
        assert_eq!(known.route(START, route.destination, Some(route.next_hop)), None);
        known.invalidate();
        assert_eq!(known.route(START, route.destination, None), None);
    }

    #[test]
    fn a_source_that_was_asked_for_is_not_taken_for_the_hosts_choice() {
        let mut known = destinations(4);
        let asked = known.set_route(START, route(9), true);
        assert_eq!(known.route(START, asked.destination, Some(asked.source)), Some(asked));
        assert_eq!(known.route(START, asked.destination, None), None);
        known.set_route(START, route(9), false);
        assert_eq!(known.route(START, asked.destination, None), Some(asked));
    }

    #[test]
    fn a_path_narrows_and_widens_again_after_ten_minutes() {
        let mut known = destinations(4);
        let to = known.set_route(START, route(9), false).destination;
        assert!(!known.lower_mtu(START, to, 1_500));
        assert!(known.lower_mtu(START, to, 1_000));
        assert!(!known.lower_mtu(START, to, 1_001));
        // What else changes does not widen it.
        known.invalidate();
        assert_eq!(known.set_route(START, route(9), false).mtu, 1_000);
        let later = START + PATH_MTU;
        assert_eq!(known.route(later, to, None), None);
        assert_eq!(known.set_route(later, route(9), false).mtu, 1_500);
    }

    #[test]
    fn only_what_was_sent_of_late_is_known() {
        let mut known = destinations(4);
        let to = known.set_route(START, route(9), false).destination;
        let flows = known.get(to).unwrap().flows();
        for port in 1..=20 {
            assert_eq!(flows.note((7, port)), port > 1);
        }
        assert!(flows.contains((7, 20)) && flows.contains((7, 13)));
        assert!(!flows.contains((7, 12)) && !flows.contains((8, 20)));
        assert!(known.get(route(8).destination).is_none());
        let quiet = known.set_route(START, route(7), false).destination;
        assert!(!known.was_sent(quiet, (0, 0)));
        assert!(!known.lower_mtu(START, route(8).destination, 1_000));
    }

    #[test]
    fn of_too_many_the_least_recently_used_is_forgotten() {
        let mut known = destinations(1_024);
        let used = known.set_route(START, route(0), false).destination;
        for number in 1..10_000 {
            known.set_route(START, route(number), false);
            assert!(known.route(START, used, None).is_some());
        }
        assert_eq!(known.entries.len(), 1_024);
        assert!(known.route(START, route(8_000).destination, None).is_none());
    }

    #[test]
    fn who_was_only_answered_makes_way_for_those_that_are_sent_to() {
        let mut known = destinations(4);
        let first = known.set_route(START, route(1), false).destination;
        (10..20).for_each(|number| known.answered(START, route(number), [1; 4]));
        assert_eq!(known.entries.len(), 4);
        assert!(known.was_answered(route(19).destination, [1; 4]));
        assert!(!known.was_answered(route(19).destination, [2; 4]));
        // It is looked up anew when something is sent there, and stays then.
        assert_eq!(known.route(START, route(19).destination, None), None);
        known.set_route(START, route(19), false);
        for number in 2..4 {
            known.set_route(START, route(number), false);
        }
        assert!(known.is_known(first) && known.entries.len() == 4);
        known.answered(START, route(30), [1; 4]);
        assert!(!known.was_answered(route(30).destination, [1; 4]));
        known.answered(START, route(19), [3; 4]);
        assert!(known.was_answered(route(19).destination, [3; 4]) && known.is_known(first));
        assert!(known.route(START, route(19).destination, None).is_some());
    }

    #[test]
    fn a_redirect_holds_for_what_goes_by_who_sent_it() {
        let mut known = destinations(4);
        let old = known.set_route(START, route(9), false);
        let [other, better] = [50, 60].map(|number| route(number).destination);
        assert!(!known.set_redirect(START, old.destination, other, better));
        assert!(known.set_redirect(START, old.destination, old.next_hop, better));
        assert_eq!(known.route(START, old.destination, None).unwrap().next_hop, better);
        assert_eq!(known.redirect(START, old.destination), Some(better));
        let later = START + REDIRECT;
        assert_eq!(known.redirect(later, old.destination), None);
        assert_eq!(known.route(later, old.destination, None), None);
        known.remove_redirects(better);
        assert_eq!(known.redirect(START, old.destination), None);
    }
}
