//! Sending: by what is known of the way, or by finding it.

use core::net::IpAddr;

use netdev::{Instant, Packet};

use super::{
    ANY_V4, Datagram, Defaults, Destination, Local, MAX_PAYLOAD_V4, MAX_PAYLOAD_V6, Options, Udp,
    pseudo_header,
};
use crate::ip::{Cast, ControlBlock, Ip, Network, SendError, Unsent};
use crate::wire::udp::{HEADER_LEN, Header};

impl Udp {
    /// Sends the packet's window as the payload of one datagram, as [`Udp::send`] does, or sooner: if
    /// nothing is asked for of it and what is known of the way is enough.
    ///
    /// # Errors
    /// [`SendError`] if it is known that it will not arrive.
    #[inline]
    pub(crate) fn send_over(
        &mut self,
        ip: &mut Ip,
        now: Instant,
        local: Local,
        destination: &Destination,
        packet: Packet,
    ) -> Result<(), SendError> {
        let &Destination { address: to, source, ref options } = destination;
        let sent = if *options == Options::default() {
            // Any of IPv4's will do, but for nothing of IPv6.
            let any = |address: &IpAddr| *address == ANY_V4 && to.is_ipv4();
            let own = local.address.filter(|address| !any(address));
            let addresses = (source.or(own), to.ip());
            self.send_known(ip, now, addresses, (local.port, to.port()), None, packet)
        } else {
            Err(Unsent::Unknown(packet))
        };
        match sent {
            Ok(()) => Ok(()),
            Err(Unsent::Failed(error)) => Err(error),
            Err(Unsent::Unknown(packet)) => self.send(ip, now, local, destination, packet),
        }
    }

    /// Sends a datagram's payload back to who sent it, from the address that it was sent to, or one of the
    /// host's own if that was a group's.
    ///
    /// # Errors
    /// [`SendError`] if it is known that it will not arrive.
    #[inline]
    pub(crate) fn reply_over(
        &mut self,
        ip: &mut Ip,
        now: Instant,
        datagram: Datagram,
    ) -> Result<(), SendError> {
        let block = ControlBlock::of(&datagram.packet);
        let addresses = (Some(block.destination()), block.source());
        let flow = (block.destination_port, block.source_port);
        // It sums up the same things in another order (RFC 1071 §2 (A)).
        let checksum = block.checksum();
        match self.send_known(ip, now, addresses, flow, checksum, datagram.packet) {
            Ok(()) => Ok(()),
            Err(Unsent::Failed(error)) => Err(error),
            Err(Unsent::Unknown(packet)) => {
                let block = ControlBlock::of(&packet);
                let (local, remote) = (block.local().into(), block.remote().into());
                self.send_summed(ip, now, local, &remote, checksum, packet)
            }
        }
    }

    #[inline]
    fn send_known(
        &mut self,
        ip: &mut Ip,
        now: Instant,
        addresses: (Option<IpAddr>, IpAddr),
        flow: (u16, u16),
        checksum: Option<[u8; 2]>,
        packet: Packet,
    ) -> Result<(), Unsent> {
        let socket = self.ports.get(flow.0).and_then(|id| self.sockets.get_mut(id.0.into()));
        let wishes = socket.as_ref().is_some_and(|socket| socket.defaults.wishes);
        if wishes || flow.0 == 0 || flow.1 == 0 {
            return Err(Unsent::Unknown(packet));
        }
        ip.send_known(now, addresses, flow, checksum, packet)?;
        if let Some(socket) = socket {
            socket.stats.sent += 1;
        }
        Ok(())
    }

    /// Sends the packet's window as the payload of one datagram. Without a port to send it from it
    /// gets a random one that nobody uses (RFC 6056 §3.3.1).
    ///
    /// # Errors
    /// [`SendError`] if it is known that it will not arrive.
    #[inline]
    pub fn send(
        &mut self,
        network: &mut impl Network,
        now: Instant,
        local: Local,
        destination: &Destination,
        packet: Packet,
    ) -> Result<(), SendError> {
        self.send_summed(network, now, local, destination, None, packet)
    }

    /// The same, with the checksum that the datagram has if it leaves from the address that is asked
    /// for.
    #[inline(never)]
    pub(crate) fn send_summed(
        &mut self,
        network: &mut impl Network,
        now: Instant,
        local: Local,
        destination: &Destination,
        checksum: Option<[u8; 2]>,
        mut packet: Packet,
    ) -> Result<(), SendError> {
        let &Destination { address: to, source, options: ref wished } = destination;
        if to.port() == 0 {
            return Err(SendError::PortZero);
        }
        let local = Local { address: source.or(local.address), ..local };
        let source = local.source_for(to.ip(), network)?;
        let route = network.route(now, to.ip(), source)?;
        let longest = if to.is_ipv4() { MAX_PAYLOAD_V4 } else { MAX_PAYLOAD_V6 };
        if packet.len() > longest {
            return Err(SendError::PacketTooBig { mtu: u16::MAX });
        }
        let id = self.ports.get(local.port);
        let mut socket = id.and_then(|id| self.sockets.get_mut(id.0.into()));
        let cast = network.cast(to.ip());
        if cast == Cast::Broadcast && !socket.as_ref().is_some_and(|socket| socket.broadcast) {
            return Err(SendError::BroadcastNotAllowed);
        }
        let defaults = socket.as_ref().map_or(const { &Defaults::NONE }, |socket| &socket.defaults);
        let options = defaults.resolve(wished, cast);
        let fits = route.fits(packet.len() + HEADER_LEN, &options);
        if options.dont_fragment && !fits {
            return Err(SendError::PacketTooBig { mtu: route.mtu });
        }
        let port = match local.port {
            0 => self.ports.ephemeral(network).ok_or(SendError::NoFreePort)?,
            port => port,
        };
        // A device sees single frames: of a datagram in pieces it cannot make the sum.
        let pseudo = (network.wants_udp_checksum() || !fits)
            .then_some(|length| pseudo_header(route.source, route.destination, length));
        let emitted = match checksum.filter(|_| pseudo.is_some() && source == Some(route.source)) {
            Some(checksum) => Header::emit_with(&mut packet, port, to.port(), checksum),
            None => Header::emit(&mut packet, port, to.port(), pseudo),
        };
        if !emitted {
            return Err(SendError::NoBuffer);
        }
        network.send_udp(now, &route, (port, to.port()), &options, packet)?;
        if let Some(socket) = &mut socket {
            socket.stats.sent += 1;
        }
        Ok(())
    }
}
