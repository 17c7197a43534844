//! The layers put together.

use alloc::collections::VecDeque;
use core::net::SocketAddr;

use chacha20::ChaCha20Rng;
use netdev::{Device, Instant, Packet, Pool};
use rand_core::{Rng, SeedableRng};

use crate::config::{Config, ConfigError};
use crate::icmp;
use crate::ip::{Ip, Ipv4Cidr, SendError, ipv4};
use crate::neighbor::arp;
use crate::stats::{Drop, Stats};
use crate::udp::{BindError, Local, Refused, SocketId, Udp};
use crate::wire::{ethernet, ipv4 as wire};

/// A host on a link: frames and time go in, frames and events come out.
///
/// Whoever drives it gives it each frame that comes ([`Stack::handle_frame`]), calls
/// [`Stack::handle_timeout`] when [`Stack::poll_timeout`] says so, and after any call sends what
/// [`Stack::outgoing`] holds and asks [`Stack::poll_event`] until there is none. `now` never goes
/// back from one call to the next.
pub struct Stack {
    ip: Ip,
    udp: Udp,
    random: ChaCha20Rng,
    transmit_queue: usize,
    gone: bool,
}

/// What has happened that someone may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The socket had nothing to read, and now it has.
    Readable(SocketId),
}

impl Stack {
    /// A host behind `device`, whose packets come from `pool`. All that is to be hard to guess
    /// comes from `seed`, which must be.
    ///
    /// # Errors
    /// [`ConfigError`], which says what does not fit.
    pub fn new(
        config: &Config,
        device: &impl Device,
        pool: Pool,
        seed: [u8; 32],
    ) -> Result<Self, ConfigError> {
        config.check(device.mtu())?;
        let mut random = ChaCha20Rng::from_seed(seed);
        let spread = [random.next_u64(), random.next_u64(), random.next_u64()];
        Ok(Self {
            ip: Ip::new(config, device, pool, spread),
            udp: Udp::new(config),
            random,
            transmit_queue: config.transmit_queue,
            gone: false,
        })
    }

    /// The host's IPv4 address.
    #[must_use]
    pub fn ipv4(&self) -> Ipv4Cidr {
        self.ip.v4.cidr
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.ip.stats
    }

    /// Where packets come from and go back to.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.ip.link.pool
    }

    /// Takes a frame that the device has received.
    pub fn handle_frame(&mut self, now: Instant, mut packet: Packet) {
        let Self { ip, udp, .. } = self;
        ip.stats.frames_received += 1;
        let Some((ethertype, to_us_alone)) = ip.link.receive(&mut packet, &mut ip.stats) else {
            return;
        };
        match ethertype {
            ethernet::IPV4 => {}
            ethernet::ARP => return arp::receive(ip, now, packet),
            _ => return ip.stats.dropped.count(Drop::EthernetProtocol),
        }
        let Some((protocol, metadata)) = ipv4::receive(ip, now, &mut packet, to_us_alone) else {
            return;
        };
        match protocol {
            wire::UDP => {
                let taken = udp.handle_datagram(&metadata, packet, &mut ip.stats);
                if let Err((Refused::PortUnreachable, packet)) = taken {
                    icmp::v4::port_unreachable(ip, now, &metadata, packet);
                }
            }
            wire::ICMP => icmp::v4::receive(ip, now, &metadata, packet),
            _ => ip.stats.dropped.count(Drop::IpProtocol),
        }
    }

    /// Counts frames that the device dropped for want of a packet.
    pub fn count_missed(&mut self, frames: u32) {
        self.ip.stats.frames_missed += u64::from(frames);
    }

    /// The device is gone: nothing comes any more, and what is sent is refused.
    pub fn handle_gone(&mut self) {
        self.gone = true;
        self.outgoing().clear();
    }

    /// Whether the device is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// The link's MTU: the most bytes of IP in one frame.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.ip.link.mtu
    }

    /// When [`Stack::handle_timeout`] is to be called; `None` if time has nothing to do. Any other
    /// call may change it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ip.neighbors.poll_timeout()
    }

    /// Does what time asks for. Calling it early, or twice, does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.ip.handle_timeout(now);
    }

    /// The frames to be sent, in order: whoever sends one takes it out.
    pub fn outgoing(&mut self) -> &mut VecDeque<Packet> {
        self.ip.link.outgoing()
    }

    /// Whether so many frames wait for the device that more should not be sent now.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.ip.link.outgoing_len() >= self.transmit_queue
    }

    /// Whether all that was sent has been taken out of [`Stack::outgoing`], or given up: nothing
    /// waits for the device or for a neighbour.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.gone || (self.ip.link.outgoing_len() == 0 && !self.ip.neighbors.has_waiting())
    }

    /// What has happened, one thing at a time; `None` when that is all.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.udp.poll_readable().map(Event::Readable)
    }

    /// The sockets.
    #[must_use]
    pub fn udp(&self) -> &Udp {
        &self.udp
    }

    /// The sockets, to receive from.
    #[must_use]
    pub fn udp_mut(&mut self) -> &mut Udp {
        &mut self.udp
    }

    /// Makes a socket, as [`Udp::bind`] does.
    ///
    /// # Errors
    /// [`BindError`], which says why not.
    pub fn udp_bind(&mut self, local: impl Into<Local>) -> Result<SocketId, BindError> {
        self.udp.bind(&self.ip, &mut self.random, local.into())
    }

    /// Sends a datagram, as [`Udp::send`] does.
    ///
    /// # Errors
    /// [`SendError`] if it is known that it will not arrive.
    #[inline]
    pub fn udp_send(
        &mut self,
        now: Instant,
        local: Local,
        destination: SocketAddr,
        packet: Packet,
    ) -> Result<(), SendError> {
        if self.gone {
            return Err(SendError::DeviceGone);
        }
        let Self { ip, udp, random, .. } = self;
        udp.send(ip, random, now, local, destination, packet)?;
        ip.stats.udp_sent += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
