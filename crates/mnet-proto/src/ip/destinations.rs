//! What a host remembers of those it sends to: how to reach them, how much passes on the way (RFC
//! 1191, RFC 8201), and what it has sent, so that errors about anything else are not believed (RFC
//! 5927 §4.1).

use core::net::IpAddr;
use core::num::NonZeroUsize;
use core::time::Duration;

use lru::LruCache;
use netdev::Instant;

use super::Route;
use crate::keyed::ByAddress;

/// How long a path's MTU is believed to be lower than the link's (RFC 1191 §6.3, RFC 8201 §4).
const PATH_MTU: Duration = Duration::from_secs(600);

/// How long a redirect is followed: whoever sends one that is wrong has to go on (RFC 1122
/// §3.3.1.4).
const REDIRECT: Duration = Duration::from_secs(600);

/// How many of the last flows to a destination are remembered.
const FLOWS: usize = 8;

/// From which port to which a datagram went.
pub(crate) type Flow = (u16, u16);

/// Those that a host sends to, the least recently used of which is forgotten when there are too many.
pub(crate) struct Destinations {
    entries: LruCache<IpAddr, Destination, ByAddress>,
    // Changes when anything does on which routes depend.
    generation: u32,
    // Changes when a route does, or may.
    changes: u32,
    // Whether any router has ever said that something goes by another neighbour.
    redirected: bool,
}

struct Destination {
    route: Route,
    // Its source was asked for, and is not what the host would choose.
    by_request: bool,
    // Nothing was sent there by itself: it makes way for what is.
    aside: bool,
    generation: u32,
    path_mtu: Option<PathMtu>,
    /// The neighbour to which a router said to send (RFC 4861 §8).
    redirect: Option<Redirect>,
    // As they were when a template took note of them instead, if one does.
    flows: Flows,
    // Identifier and sequence number of the last echo reply that may be too long for the path.
    echo: Option<[u8; 4]>,
}

/// The last flows to a destination.
#[derive(Clone, Copy)]
pub(crate) struct Flows {
    flows: [Flow; FLOWS],
    newest: u8,
}

impl Flows {
    /// One, or none if it is to port 0, to which nothing goes.
    const fn new(flow: Flow) -> Self {
        let mut flows = [(0, 0); FLOWS];
        flows[0] = flow;
        Self { flows, newest: 0 }
    }

    /// Takes note of what is sent. Says whether it is not the first.
    #[inline]
    pub(crate) fn note(&mut self, flow: Flow) -> bool {
        let newest = self.flows[usize::from(self.newest) % FLOWS];
        if newest != flow && !self.flows.contains(&flow) {
            self.newest = (self.newest + 1) % FLOWS as u8;
            self.flows[usize::from(self.newest) % FLOWS] = flow;
        }
        newest != (0, 0)
    }

    /// Whether this flow is one of them.
    pub(crate) fn contains(&self, flow: Flow) -> bool {
        flow.1 != 0 && self.flows.contains(&flow)
    }
}

#[derive(Clone, Copy)]
struct Redirect {
    next_hop: IpAddr,
    until: Instant,
}

#[derive(Clone, Copy)]
struct PathMtu {
    mtu: u16,
    until: Instant,
}

impl Destination {
    /// One to which this flow goes, if any does.
    fn new(route: Route, by_request: bool, generation: u32, flow: Flow) -> Self {
        Self {
            route,
            by_request,
            aside: false,
            generation,
            path_mtu: None,
            redirect: None,
            flows: Flows::new(flow),
            echo: None,
        }
    }

    /// Whether it is reached by a neighbour because a router has said so.
    fn goes_by(&self, neighbor: IpAddr) -> bool {
        self.redirect.is_some_and(|redirect| redirect.next_hop == neighbor)
    }
}

impl Destinations {
    pub(crate) fn new(max: usize, keyed: ByAddress) -> Self {
        let max = NonZeroUsize::new(max).unwrap_or(NonZeroUsize::MIN);
        Self {
            entries: LruCache::with_hasher(max, keyed),
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

    /// Forgets the routes, and what routers have said against them: others have been given.
    pub(crate) fn reroute(&mut self) {
        self.invalidate();
        self.entries.iter_mut().for_each(|(_, entry)| entry.redirect = None);
    }

    /// The route to a destination, if it is remembered and goes from this source.
    #[inline]
    pub(crate) fn route(
        &mut self,
        now: Instant,
        destination: IpAddr,
        source: Option<IpAddr>,
    ) -> Option<Route> {
        let generation = self.generation;
        let entry = self.entries.get(&destination)?;
        let fresh = entry.generation == generation
            && !entry.aside
            && entry.path_mtu.is_none_or(|path| now < path.until)
            && entry.redirect.is_none_or(|redirect| now < redirect.until)
            && source.map_or(!entry.by_request, |source| source == entry.route.source);
        fresh.then_some(entry.route)
    }

    /// The route to a destination that something has been sent to, and whether its source was asked for.
    pub(crate) fn known(&self, destination: IpAddr) -> Option<(Route, bool)> {
        let entry = self.entries.peek(&destination)?;
        let sent = entry.generation == self.generation && !entry.aside;
        sent.then_some((entry.route, entry.by_request))
    }

    /// The destination that will be forgotten for the next that is new, if one will.
    pub(crate) fn next_to_go(&self) -> Option<IpAddr> {
        let is_full = self.entries.len() == self.entries.cap().get();
        self.entries.peek_lru().filter(|_| is_full).map(|(&destination, _)| destination)
    }

    /// Lets a destination be the last to be forgotten.
    pub(crate) fn keep(&mut self, destination: IpAddr) {
        self.entries.promote(&destination);
    }

    /// Whether anything was sent to a destination of late.
    pub(crate) fn is_known(&self, destination: IpAddr) -> bool {
        self.entries.peek(&destination).is_some_and(|entry| !entry.aside)
    }

    /// The neighbour that a router has named for a destination.
    pub(crate) fn redirect(&self, now: Instant, destination: IpAddr) -> Option<IpAddr> {
        let redirect = self.entries.peek(&destination)?.redirect;
        redirect.filter(|redirect| now < redirect.until).map(|redirect| redirect.next_hop)
    }

    /// Remembers the route to a destination, with the path's MTU in it, and returns it so. Its source
    /// is what the host chooses, or was asked for: `by_request`.
    pub(crate) fn set_route(&mut self, now: Instant, mut route: Route, by_request: bool) -> Route {
        let generation = self.generation;
        let (entry, _) = self.entry(route, by_request, (0, 0));
        entry.path_mtu = entry.path_mtu.filter(|path| now < path.until);
        if let Some(path) = entry.path_mtu {
            route.mtu = route.mtu.min(path.mtu);
        }
        entry.route = route;
        entry.by_request = by_request;
        entry.aside = false;
        entry.generation = generation;
        route
    }

    /// Remembers the route to a destination of which nothing was known, from a source that was asked for,
    /// and what goes there; `false`, and nothing done, if something was.
    pub(crate) fn begin(&mut self, route: Route, flow: Flow) -> bool {
        self.entry(route, true, flow).1
    }

    /// The entry for a route's destination, made of these if there was none, and whether it was.
    #[inline(never)]
    fn entry(&mut self, route: Route, by_request: bool, flow: Flow) -> (&mut Destination, bool) {
        let (generation, mut is_new) = (self.generation, false);
        let entry = self.entries.get_or_insert_mut(route.destination, || {
            is_new = true;
            Destination::new(route, by_request, generation, flow)
        });
        (entry, is_new)
    }

    /// Remembers the route to one of whom others have spoken, or who was answered. That takes no place
    /// from those to whom anything was sent by itself: if they have them all, it is not remembered.
    pub(crate) fn set_aside(&mut self, now: Instant, route: Route) {
        let room = match self.entries.peek(&route.destination) {
            Some(known) => known.aside,
            None if self.entries.len() < self.entries.cap().get() => true,
            None => self.entries.peek_lru().is_some_and(|(_, last)| last.aside),
        };
        if room {
            self.set_route(now, route, false);
            self.entries.demote(&route.destination);
            if let Some(entry) = self.entries.peek_mut(&route.destination) {
                entry.aside = true;
            }
        }
    }

    /// Takes note of an echo reply that goes by this route, and may be too long for some link.
    pub(crate) fn answered(&mut self, now: Instant, route: Route, echo: [u8; 4]) {
        self.set_aside(now, route);
        if let Some(entry) = self.entries.peek_mut(&route.destination) {
            entry.route.mtu = route.mtu;
            entry.echo = Some(echo);
        }
    }

    /// Whether this was the last echo reply of that kind.
    pub(crate) fn was_answered(&self, destination: IpAddr, echo: [u8; 4]) -> bool {
        self.entries.peek(&destination).is_some_and(|entry| entry.echo == Some(echo))
    }

    /// A route with the path's MTU in it, if anything is known of the path. Nothing is remembered:
    /// this is for those that are answered, who may be as many as like to ask.
    pub(crate) fn narrow(&self, now: Instant, mut route: Route) -> Route {
        let known = self.entries.peek(&route.destination).and_then(|entry| entry.path_mtu);
        if let Some(path) = known.filter(|path| now < path.until) {
            route.mtu = route.mtu.min(path.mtu);
        }
        route
    }

    /// What was sent to a destination, if it is remembered, as was noted elsewhere.
    pub(crate) fn set_flows(&mut self, destination: IpAddr, flows: Flows) {
        if let Some(known) = self.flows_mut(destination) {
            *known = flows;
        }
    }

    /// What was sent to a destination of late.
    #[inline]
    pub(crate) fn flows_mut(&mut self, destination: IpAddr) -> Option<&mut Flows> {
        self.entries.peek_mut(&destination).map(|entry| &mut entry.flows)
    }

    /// Lowers the MTU of the path to a destination; `true` if that was news.
    pub(crate) fn lower_mtu(&mut self, now: Instant, destination: IpAddr, mtu: u16) -> bool {
        let Some(entry) = self.entries.peek_mut(&destination) else { return false };
        if mtu >= entry.route.mtu {
            return false;
        }
        entry.path_mtu = Some(PathMtu { mtu, until: now + PATH_MTU });
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
        let Some(entry) = self.entries.peek_mut(&destination) else { return false };
        if entry.route.next_hop != from || entry.generation != generation {
            return false;
        }
        entry.redirect = Some(Redirect { next_hop, until: now + REDIRECT });
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
        for (&destination, entry) in self.entries.iter_mut() {
            if entry.goes_by(neighbor) && destination != neighbor {
                entry.redirect = None;
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
        for (_, entry) in self.entries.iter_mut() {
            if entry.goes_by(next_hop) {
                entry.redirect = None;
            }
        }
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
        let flows = known.flows_mut(to).unwrap();
        for port in 1..=20 {
            assert_eq!(flows.note((7, port)), port > 1);
        }
        assert!(flows.contains((7, 20)) && flows.contains((7, 13)));
        assert!(!flows.contains((7, 12)) && !flows.contains((8, 20)));
        assert!(known.flows_mut(route(8).destination).is_none());
        let quiet = known.set_route(START, route(7), false).destination;
        assert!(!known.flows_mut(quiet).unwrap().contains((0, 0)));
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
