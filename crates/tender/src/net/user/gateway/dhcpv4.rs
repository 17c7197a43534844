//! The DHCP server (RFC 2131): it knows one address, and gives it to whoever asks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mnet_proto::wire::dhcpv4::{CLIENT_PORT, Kind, Message, SERVER_PORT};

use super::super::MTU;
use super::super::addresses::{GATEWAY_V4, GUEST_V4, MASK_V4, NAMESERVER_V4};
use super::super::drops::Drop;
use super::super::queue::Queue;
use super::Gateway;

/// For how many seconds the address is given: a day. As nobody else can get it, that matters only
/// to clients that want to renew.
const LEASE: u32 = 24 * 60 * 60;

impl Gateway {
    /// Whether a datagram is for the server: it is sent to everybody, or to the gateway.
    pub(super) fn is_for_dhcp_server(destination: Ipv4Addr, port: u16) -> bool {
        port == SERVER_PORT && (destination == GATEWAY_V4 || destination.is_broadcast())
    }

    /// Takes a message, and answers it.
    pub(super) fn dhcpv4(&mut self, payload: &[u8], out: &mut Queue) -> Result<(), Drop> {
        let request = Message::parse(payload).map_err(|_| Drop::Dhcp)?;
        // No relay is on this network, and nobody behind one.
        if !request.giaddr.is_unspecified() {
            return Err(Drop::Dhcp);
        }
        let Some(reply) = self.reply(&request) else { return Ok(()) };

        // §4.1, and §4.3.2 for a refusal.
        let to = if reply.kind == Kind::Nak {
            Ipv4Addr::BROADCAST
        } else if !request.ciaddr.is_unspecified() {
            request.ciaddr
        } else if request.broadcast || reply.yiaddr.is_unspecified() {
            Ipv4Addr::BROADCAST
        } else {
            reply.yiaddr
        };
        let bytes = reply.emit();
        let mut packet = self.link.packet(bytes.len())?;
        packet.append(bytes.len()).ok_or(Drop::DatagramTooLong)?.copy_from_slice(&bytes);
        let from = SocketAddr::new(GATEWAY_V4.into(), SERVER_PORT);
        self.link.udp(&mut packet, from, SocketAddr::new(IpAddr::V4(to), CLIENT_PORT), out)
    }

    /// What there is to say to a client, if it expects an answer.
    fn reply(&self, request: &Message) -> Option<Message> {
        let ours = request.server_id.is_none_or(|server| server == GATEWAY_V4);
        match request.kind {
            Kind::Discover => Some(self.lease(request, Kind::Offer)),
            Kind::Request if ours => {
                // §4.3.2: a client that renews has the address, others ask for it.
                let wanted = request.requested_address.unwrap_or(request.ciaddr);
                if wanted == GUEST_V4 {
                    return Some(self.lease(request, Kind::Ack));
                }
                let text = Some(format!("the address here is {GUEST_V4}"));
                Some(Message { text, ..request.reply(Kind::Nak, GATEWAY_V4) })
            }
            Kind::Inform => Some(self.parameters(request, Kind::Ack)),
            // An address that was given back is there for the next who asks, and one that was
            // found to be in use is not in use: nobody else is on this network.
            _ => None,
        }
    }

    fn lease(&self, request: &Message, kind: Kind) -> Message {
        Message {
            yiaddr: GUEST_V4,
            lease_time: Some(LEASE),
            renewal_time: Some(LEASE / 2),
            rebinding_time: Some(LEASE / 8 * 7),
            ..self.parameters(request, kind)
        }
    }

    fn parameters(&self, request: &Message, kind: Kind) -> Message {
        Message {
            subnet_mask: Some(MASK_V4),
            routers: vec![GATEWAY_V4],
            dns_servers: self.nameserver.map(|_| NAMESERVER_V4).into_iter().collect(),
            mtu: Some(MTU),
            ..request.reply(kind, GATEWAY_V4)
        }
    }
}
