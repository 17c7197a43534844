//! DHCP for IPv4 (RFC 2131), its options (RFC 2132), long ones (RFC 3396) and classless static
//! routes (RFC 3442): what clients send, and what servers do.
//!
//! A message is parsed into a value of its own, as its options lie in any order, in parts, and in
//! up to three fields.

pub mod options;

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use netdev::Mac;
use thiserror::Error;
use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use self::options::Options;
use crate::ip::Ipv4Cidr;

/// UDP port that servers and relays listen on.
pub const SERVER_PORT: u16 = 67;
/// UDP port that clients listen on.
pub const CLIENT_PORT: u16 = 68;

/// A time in seconds that never comes (RFC 2131 §3.3).
pub const INFINITY: u32 = 0xffff_ffff;

/// Most addresses that are kept of a list of routers or servers: the first, which are the best.
pub const MAX_ADDRESSES: usize = 4;
/// Most classless routes that are kept: the first.
pub const MAX_ROUTES: usize = 16;

/// BOOTP's messages are at least as long (RFC 1542 §2.1), and some relays drop shorter ones.
const MIN_LEN: usize = 300;

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const BROADCAST: u16 = 0x8000;
const MAGIC_COOKIE: u32 = 0x6382_5363;

/// The fixed part of a message, in the order of RFC 2131 figure 1, and the magic cookie.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    op: u8,
    htype: u8,
    hlen: u8,
    hops: u8,
    xid: U32,
    secs: U16,
    flags: U16,
    ciaddr: [u8; 4],
    yiaddr: [u8; 4],
    siaddr: [u8; 4],
    giaddr: [u8; 4],
    chaddr: [u8; 6],
    chaddr_padding: [u8; 10],
    sname: [u8; 64],
    file: [u8; 128],
    cookie: U32,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A client looks for servers.
    Discover = 1,
    /// A server offers an address.
    Offer = 2,
    /// A client takes an offer, or asks for more time.
    Request = 3,
    /// A client has found the address to be in use.
    Decline = 4,
    /// A server gives the address.
    Ack = 5,
    /// A server refuses.
    Nak = 6,
    /// A client gives its address back.
    Release = 7,
    /// A client that has an address asks for all the rest.
    Inform = 8,
}

impl Kind {
    fn parse(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Discover,
            2 => Self::Offer,
            3 => Self::Request,
            4 => Self::Decline,
            5 => Self::Ack,
            6 => Self::Nak,
            7 => Self::Release,
            8 => Self::Inform,
            _ => return None,
        })
    }

    /// Whether servers send it, and clients do not.
    #[must_use]
    pub fn is_reply(self) -> bool {
        matches!(self, Self::Offer | Self::Ack | Self::Nak)
    }

    fn op(self) -> u8 {
        if self.is_reply() { REPLY } else { REQUEST }
    }
}

/// The bytes are no DHCP message for Ethernet, or contradict themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a DHCP message")]
pub struct Malformed;

/// A message. An address that the fixed part does not have is 0.0.0.0, and an option that is not
/// there `None` or empty; times are in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is (option 53).
    pub kind: Kind,
    /// The same in request and reply, and otherwise random.
    pub xid: u32,
    /// How long the client has been trying.
    pub secs: u16,
    /// The client asks for replies to everybody, as it cannot take those to an address that it does
    /// not have yet.
    pub broadcast: bool,
    /// The client's address, once it answers for it.
    pub ciaddr: Ipv4Addr,
    /// The address that the server gives.
    pub yiaddr: Ipv4Addr,
    /// The server to boot from next.
    pub siaddr: Ipv4Addr,
    /// The relay between client and server.
    pub giaddr: Ipv4Addr,
    /// The client's hardware address.
    pub chaddr: Mac,
    /// The mask of the client's link (option 1), which may be no mask at all.
    pub subnet_mask: Option<Ipv4Addr>,
    /// Routers, best first (option 3).
    pub routers: Vec<Ipv4Addr>,
    /// Name servers, best first (option 6).
    pub dns_servers: Vec<Ipv4Addr>,
    /// The client's name (option 12).
    pub host_name: Option<String>,
    /// Where names are looked up (option 15).
    pub domain_name: Option<String>,
    /// The link's MTU in bytes (option 26).
    pub mtu: Option<u16>,
    /// Time servers, best first (option 42).
    pub ntp_servers: Vec<Ipv4Addr>,
    /// Destinations and the routers to them (option 121), 0.0.0.0 for those on the link. A client
    /// that knows these leaves `routers` alone.
    pub classless_routes: Vec<(Ipv4Cidr, Ipv4Addr)>,
    /// The address that the client asks for (option 50).
    pub requested_address: Option<Ipv4Addr>,
    /// How long the address is the client's (option 51); it may be [`INFINITY`].
    pub lease_time: Option<u32>,
    /// Which server sends it, or is sent to (option 54).
    pub server_id: Option<Ipv4Addr>,
    /// Codes of the options that the client asks for (option 55).
    pub parameter_list: Vec<u8>,
    /// What there is to say about a refusal (option 56).
    pub text: Option<String>,
    /// The longest message in bytes that the client takes (option 57).
    pub max_message_size: Option<u16>,
    /// T1, when the client renews (option 58).
    pub renewal_time: Option<u32>,
    /// T2, when it rebinds (option 59).
    pub rebinding_time: Option<u32>,
    /// Who the client is (option 61): a type, and what that makes of the rest.
    pub client_id: Vec<u8>,
}

impl Message {
    /// A message of a client or to it, with nothing in it.
    #[must_use]
    #[inline(never)]
    pub fn new(kind: Kind, xid: u32, chaddr: Mac) -> Self {
        Self {
            kind,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr,
            subnet_mask: None,
            routers: Vec::new(),
            dns_servers: Vec::new(),
            host_name: None,
            domain_name: None,
            mtu: None,
            ntp_servers: Vec::new(),
            classless_routes: Vec::new(),
            requested_address: None,
            lease_time: None,
            server_id: None,
            parameter_list: Vec::new(),
            text: None,
            max_message_size: None,
            renewal_time: None,
            rebinding_time: None,
            client_id: Vec::new(),
        }
    }

    /// A server's reply to this, with what it has to repeat (RFC 2131 table 3; RFC 6842 for the
    /// client's identifier).
    #[must_use]
    pub fn reply(&self, kind: Kind, server: Ipv4Addr) -> Self {
        Self {
            broadcast: self.broadcast,
            ciaddr: if kind == Kind::Ack { self.ciaddr } else { Ipv4Addr::UNSPECIFIED },
            giaddr: self.giaddr,
            server_id: Some(server),
            client_id: self.client_id.clone(),
            ..Self::new(kind, self.xid, self.chaddr)
        }
    }

    /// The message in the payload of a UDP datagram. Options that are not in [`Message`] are passed
    /// over.
    ///
    /// # Errors
    /// [`Malformed`], of which a wrong length of any option in [`Message`] is a case.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let (header, rest) = Header::ref_from_prefix(payload).map_err(|_| Malformed)?;
        if (header.htype, header.hlen) != (ETHERNET, 6) || header.cookie != MAGIC_COOKIE {
            return Err(Malformed);
        }
        let options = Options::parse(rest, &header.file, &header.sname)?;
        let [kind] = options.fixed(options::KIND)?.ok_or(Malformed)?;
        let kind = Kind::parse(kind).filter(|kind| kind.op() == header.op).ok_or(Malformed)?;
        let client_id = options.joined(options::CLIENT_ID);
        // RFC 2132 §9.14: a type, and at least one byte.
        if client_id.len() == 1 {
            return Err(Malformed);
        }
        let mut message = Self::new(kind, header.xid.get(), Mac(header.chaddr));
        message.secs = header.secs.get();
        message.broadcast = header.flags.get() & BROADCAST != 0;
        message.ciaddr = header.ciaddr.into();
        message.yiaddr = header.yiaddr.into();
        message.siaddr = header.siaddr.into();
        message.giaddr = header.giaddr.into();
        message.subnet_mask = options.address(options::SUBNET_MASK)?;
        message.routers = options.addresses(options::ROUTERS)?;
        message.dns_servers = options.addresses(options::DNS_SERVERS)?;
        message.host_name = options.text(options::HOST_NAME);
        message.domain_name = options.text(options::DOMAIN_NAME);
        message.mtu = options.u16(options::MTU)?;
        message.ntp_servers = options.addresses(options::NTP_SERVERS)?;
        message.classless_routes = options.routes()?;
        message.requested_address = options.address(options::REQUESTED_ADDRESS)?;
        message.lease_time = options.u32(options::LEASE_TIME)?;
        message.server_id = options.address(options::SERVER_ID)?;
        message.parameter_list = options.joined(options::PARAMETER_LIST);
        message.text = options.text(options::TEXT);
        message.max_message_size = options.u16(options::MAX_MESSAGE_SIZE)?;
        message.renewal_time = options.u32(options::RENEWAL_TIME)?;
        message.rebinding_time = options.u32(options::REBINDING_TIME)?;
        message.client_id = client_id;
        Ok(message)
    }

    /// The payload of a UDP datagram, of 300 bytes at least.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let header = Header {
            op: self.kind.op(),
            htype: ETHERNET,
            hlen: 6,
            hops: 0,
            xid: U32::new(self.xid),
            secs: U16::new(self.secs),
            flags: U16::new(if self.broadcast { BROADCAST } else { 0 }),
            ciaddr: self.ciaddr.octets(),
            yiaddr: self.yiaddr.octets(),
            siaddr: self.siaddr.octets(),
            giaddr: self.giaddr.octets(),
            chaddr: self.chaddr.0,
            chaddr_padding: [0; 10],
            sname: [0; 64],
            file: [0; 128],
            cookie: U32::new(MAGIC_COOKIE),
        };
        let mut bytes = header.as_bytes().to_vec();
        self.emit_options(&mut bytes);
        bytes.push(options::END);
        bytes.resize(bytes.len().max(MIN_LEN), 0);
        bytes
    }

    fn emit_options(&self, bytes: &mut Vec<u8>) {
        let put = options::put;
        put(bytes, options::KIND, &[self.kind as u8]);
        for (code, address) in [
            (options::SERVER_ID, self.server_id),
            (options::REQUESTED_ADDRESS, self.requested_address),
            (options::SUBNET_MASK, self.subnet_mask),
        ] {
            put(bytes, code, address.map(|it| it.octets()).as_slice().as_flattened());
        }
        for (code, seconds) in [
            (options::LEASE_TIME, self.lease_time),
            (options::RENEWAL_TIME, self.renewal_time),
            (options::REBINDING_TIME, self.rebinding_time),
        ] {
            put(bytes, code, seconds.map(u32::to_be_bytes).as_slice().as_flattened());
        }
        for (code, size) in
            [(options::MAX_MESSAGE_SIZE, self.max_message_size), (options::MTU, self.mtu)]
        {
            put(bytes, code, size.map(u16::to_be_bytes).as_slice().as_flattened());
        }
        put(bytes, options::CLIENT_ID, &self.client_id);
        put(bytes, options::PARAMETER_LIST, &self.parameter_list);
        options::put_routes(bytes, &self.classless_routes);
        for (code, addresses) in [
            (options::ROUTERS, &self.routers),
            (options::DNS_SERVERS, &self.dns_servers),
            (options::NTP_SERVERS, &self.ntp_servers),
        ] {
            options::put_addresses(bytes, code, addresses);
        }
        for (code, text) in [
            (options::HOST_NAME, &self.host_name),
            (options::DOMAIN_NAME, &self.domain_name),
            (options::TEXT, &self.text),
        ] {
            put(bytes, code, text.as_deref().unwrap_or_default().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
