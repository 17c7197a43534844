//! How time goes on, and frames with it.

use std::cmp::Reverse;
use std::hash::Hasher;
use std::time::Duration;

use mnet_proto::wire::ethernet::Header;
use netdev::{Instant, Mac};

use super::{Arrival, Forwarder, LinkId, Network, Node, Plug, Segment, card};
use crate::link::{Line, Wire};

/// Timeouts in a row at the same time after which a host is taken to be in a loop.
const MAX_RESTLESS: u32 = 10_000;

impl Network {
    /// Puts a frame on a link that none of the hosts has sent.
    pub fn inject(&mut self, link: LinkId, frame: &[u8]) {
        let mut line = Line::default();
        self.put(link.0, None, &mut line, frame);
    }

    /// Goes on to the next event; `false` if there will be none.
    ///
    /// # Panics
    /// If a host asks again and again for a timeout that is already past.
    pub fn step(&mut self) -> bool {
        self.step_until(Instant::FAR_FUTURE)
    }

    /// Goes on to the next event, if that is not after `end`.
    fn step_until(&mut self, end: Instant) -> bool {
        self.flush();
        let arrival = self.arrivals.peek().map(|Reverse(arrival)| arrival.at);
        let of_hosts = self.hosts.iter().filter_map(|host| host.stack.poll_timeout());
        let of_routers = self.routers.iter().filter_map(|node| node.router.poll_timeout());
        let timeout = of_hosts.chain(of_routers).min();
        let next = arrival.into_iter().chain(timeout).min();
        let Some(next) = next.filter(|&at| at <= end && at != Instant::FAR_FUTURE) else {
            return false;
        };
        let stays = next <= self.now;
        self.now = self.now.max(next);
        if arrival.is_some_and(|at| at <= self.now) {
            self.restless = 0;
            if let Some(Reverse(arrival)) = self.arrivals.pop() {
                self.arrive(arrival);
            }
        } else {
            self.restless = if stays { self.restless + 1 } else { 0 };
            assert!(self.restless < MAX_RESTLESS, "a timeout at {next} is never done with");
            self.time_out();
        }
        self.flush();
        true
    }

    /// Goes on until `end`, and stays there.
    pub fn run_until(&mut self, end: Instant) {
        while self.step_until(end) {}
        self.now = self.now.max(end);
    }

    /// Goes on for so long.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Goes on from event to event while `condition` says so, and for `limit` at most. Returns
    /// whether it was the condition that ended it.
    pub fn run_while(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let end = self.now + limit;
        while condition(self) {
            if !self.step_until(end) {
                self.now = self.now.max(end);
                return !condition(self);
            }
        }
        true
    }

    /// Goes on until nothing is under way, and nobody has anything left to send, for `limit` at
    /// most. Returns whether that is so.
    pub fn run_until_idle(&mut self, limit: Duration) -> bool {
        self.run_while(limit, |network| {
            network.flush();
            let Self { arrivals, hosts, routers, .. } = network;
            let hosts = hosts.iter().map(|host| host.stack.is_flushed());
            let routers = routers.iter().map(|node| node.router.is_flushed());
            !arrivals.is_empty() || !hosts.chain(routers).all(|is_flushed| is_flushed)
        })
    }

    fn time_out(&mut self) {
        let now = self.now;
        for host in &mut self.hosts {
            if host.stack.poll_timeout().is_some_and(|at| at <= now) {
                host.stack.handle_timeout(now);
            }
        }
        for Forwarder { router, .. } in &mut self.routers {
            if router.poll_timeout().is_some_and(|at| at <= now) {
                router.handle_timeout(now);
            }
        }
    }

    /// Puts on the links what there is to be sent.
    fn flush(&mut self) {
        (0..self.hosts.len()).for_each(|host| self.flush_host(host));
        for router in 0..self.routers.len() {
            while let Some((interface, frame)) = self.routers[router].router.poll_transmit() {
                self.transmit(self.routers[router].plugs[interface], &frame);
            }
        }
        for device in 0..self.devices.len() {
            while let Some(frame) = self.devices[device].near.pop() {
                self.transmit(self.devices[device].plug, &frame);
            }
        }
    }

    pub(super) fn flush_host(&mut self, host: usize) {
        let plug = self.hosts[host].plug;
        while let Some(packet) = self.hosts[host].stack.outgoing().pop_front() {
            self.transmit(plug, packet.bytes());
        }
    }

    fn transmit(&mut self, plug: usize, frame: &[u8]) {
        let Plug { link, capture, .. } = &mut self.plugs[plug];
        let link = *link;
        capture.iter_mut().for_each(|capture| capture.write(self.now, frame));
        let mut line = self.plugs[plug].line;
        self.put(link, Some(plug), &mut line, frame);
        self.plugs[plug].line = line;
    }

    /// Puts a frame on a link: on its way to each that it is for, but not back to its sender.
    fn put(&mut self, link: usize, sender: Option<usize>, line: &mut Line, frame: &[u8]) {
        let Self { now, links, plugs, arrivals, sent, .. } = self;
        let Segment { wire, plugs: all, capture } = &mut links[link];
        let sender_up = sender.is_none_or(|sender| plugs[sender].up);
        if wire.link.up && sender_up {
            capture.iter_mut().for_each(|capture| capture.write(*now, frame));
        }
        let to = Header::parse(frame).map(|header| Mac(header.destination));
        let takes = |plug: usize| to.is_some_and(|to| to.is_group() || plugs[plug].mac == to);
        let receivers: Vec<_> =
            all.iter().copied().filter(|&plug| Some(plug) != sender && takes(plug)).collect();

        // What goes to nobody is one frame all the same.
        let count = receivers.len().max(1) as u64;
        let why_not = if !wire.link.up || !sender_up {
            Some(&mut wire.stats.down)
        } else if !wire.takes(frame.len()) {
            Some(&mut wire.stats.too_big)
        } else if receivers.is_empty() {
            Some(&mut wire.stats.unclaimed)
        } else {
            None
        };
        if let Some(counter) = why_not {
            *counter += count;
            wire.stats.offered += count;
            return;
        }
        let departure = wire.departure(*now, line, frame.len());
        for plug in receivers {
            wire.carry(departure, line, frame, |at, frame| {
                *sent += 1;
                arrivals.push(Reverse(Arrival { at, order: *sent, plug, frame }));
            });
        }
    }

    /// Gives a frame to the one that it is for.
    fn arrive(&mut self, Arrival { plug: number, frame, .. }: Arrival) {
        let plug = &mut self.plugs[number];
        let Wire { link, stats, .. } = &mut self.links[plug.link].wire;
        if !link.up || !plug.up {
            stats.down += 1;
            return;
        }
        stats.delivered += 1;
        plug.capture.iter_mut().for_each(|capture| capture.write(self.now, &frame));
        self.trace.write_u64(self.now.as_nanos());
        self.trace.write_u64(number as u64);
        self.trace.write(&frame);
        match plug.node {
            Node::Host(host) => card::deliver(&mut self.hosts[host.0].stack, self.now, &frame),
            Node::Router(router) => {
                let interface = plug.interface;
                let Forwarder { router, plugs } = &mut self.routers[router.0];
                // Links may have changed since it was attached.
                for (interface, &plug) in plugs.iter().enumerate() {
                    router.set_mtu(interface, self.links[self.plugs[plug].link].wire.link.mtu);
                }
                router.handle_frame(self.now, interface, &frame);
            }
            Node::Device(device) => self.devices[device.0].near.push(&frame),
        }
    }
}
