//! What lies between IPv6's header and what it carries (RFC 8200 §4).

use netdev::{Instant, Packet};
use zerocopy::FromBytes;

use crate::icmp;
use crate::ip::fragment::{Key, Piece, Whole};
use crate::ip::{Cast, Ip, Metadata, Received};
use crate::stats::Drop;
use crate::wire::icmpv6::{FIELD, FIRST_FRAGMENT, NEXT_HEADER, OPTION, PARAMETER_PROBLEM};
use crate::wire::ipv6::{
    self, Action, DESTINATION_OPTIONS, FRAGMENT, FRAGMENT_LEN, Fragment, HEADER_LEN, HOP_BY_HOP,
    Header, NO_NEXT_HEADER, Options, ROUTING, Routing,
};
use crate::wire::{icmpv6, ipv4, udp};

/// Where the header says what comes behind it, in bytes from its start.
const NEXT_HEADER_AT: usize = 6;
/// Where the header says how long the payload is.
const PAYLOAD_LENGTH_AT: usize = 4;
/// Where an extension header says how long it is or what kind, if that is what is wrong with it.
const ROUTING_KIND_AT: usize = 2;
/// Where a fragment header says what part it is.
const FRAGMENT_OFFSET_AT: usize = 2;
/// Where an option's data is, behind its type and length.
const OPTION_DATA_AT: usize = 2;
/// Most options in one header: nobody has a use for more (RFC 8504 §5.3).
const MAX_OPTIONS: usize = 8;

/// The way through a datagram's headers.
pub(super) struct Walk {
    metadata: Metadata,
    /// Its window is the whole datagram.
    packet: Packet,
    /// What comes next,
    next: u8,
    /// where that is said,
    next_at: usize,
    /// and where it begins.
    at: usize,
}

/// What is to be done about a header.
enum Step {
    /// To go on behind it: what follows, and how long it is.
    Pass(u8, usize),
    /// To wait for the rest.
    Fragment,
    /// It is not one of IPv6's, but what IPv6 carries.
    Arrive,
}

/// Why a datagram goes no further.
enum Fault {
    /// It is dropped.
    Drop(Drop),
    /// It is dropped, and its sender told where it is wrong (RFC 4443 §3.4).
    Problem { reason: Drop, code: u8, pointer: usize },
}

impl From<Drop> for Fault {
    fn from(reason: Drop) -> Self {
        Self::Drop(reason)
    }
}

impl Walk {
    /// The way through a datagram, which is the packet's window, and whose header says that `next`
    /// follows.
    pub(super) fn new(packet: Packet, next: u8) -> Self {
        let metadata = Metadata::of(&packet);
        Self { metadata, packet, next, next_at: NEXT_HEADER_AT, at: HEADER_LEN }
    }

    /// Goes it, and returns what is at its end, if that is for us and whole.
    pub(super) fn run(mut self, ip: &mut Ip, now: Instant) -> Result<Option<Received>, Drop> {
        loop {
            let fault = match self.look() {
                Ok(Step::Pass(next, len)) => {
                    self.pass(next, len);
                    continue;
                }
                Ok(Step::Arrive) => return Ok(Some(self.arrive())),
                Ok(Step::Fragment) => match self.check_fragment() {
                    Ok(piece) => match self.reassemble(ip, now, piece)? {
                        Some(whole) => {
                            self = whole;
                            continue;
                        }
                        None => return Ok(None),
                    },
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            return Err(match fault {
                Fault::Drop(reason) => reason,
                Fault::Problem { reason, code, pointer } => {
                    let rest = (pointer as u32).to_be_bytes();
                    let Self { metadata, packet, .. } = self;
                    icmp::v6::error(ip, now, &metadata, packet, PARAMETER_PROBLEM, code, rest);
                    reason
                }
            });
        }
    }

    /// Goes on behind a header of `len` bytes that says that `next` follows.
    fn pass(&mut self, next: u8, len: usize) {
        self.next = next;
        self.next_at = self.at;
        self.at += len;
    }

    /// Takes what the headers that have been passed lead to.
    fn arrive(mut self) -> Received {
        self.metadata.header_len = self.at as u16;
        self.metadata.note(&mut self.packet);
        self.packet.trim_front(self.at);
        Received { protocol: self.next, packet: self.packet }
    }

    /// What is behind the headers that have been passed.
    fn behind(&self) -> &[u8] {
        self.packet.bytes().get(self.at..).unwrap_or_default()
    }

    /// Looks at the next header.
    fn look(&mut self) -> Result<Step, Fault> {
        // Nothing is behind headers as long as this, and what they are counted in would not do.
        if self.at > u16::MAX.into() {
            return Err(Drop::Ipv6Malformed.into());
        }
        let first = self.next_at == NEXT_HEADER_AT && !self.metadata.fragmented;
        match self.next {
            ipv4::UDP | ipv6::ICMP => Ok(Step::Arrive),
            HOP_BY_HOP if first => self.options(),
            DESTINATION_OPTIONS => self.options(),
            ROUTING => {
                let routing = Routing::parse(self.behind()).ok_or(Drop::Ipv6Malformed)?;
                // With no segments left, whatever kind it is asks nothing of us (RFC 8200 §4.4);
                // with some, it asks us to route, as no host does (RFC 5095 §3).
                if routing.segments_left > 0 {
                    let pointer = self.at + ROUTING_KIND_AT;
                    let reason = Drop::Ipv6Routing;
                    return Err(Fault::Problem { reason, code: FIELD, pointer });
                }
                Ok(Step::Pass(routing.next_header, routing.len()))
            }
            FRAGMENT => {
                let &fragment = Fragment::parse(self.behind()).ok_or(Drop::Ipv6Malformed)?;
                // A part of a part: nobody who sends has a reason to.
                if self.metadata.fragmented {
                    let (reason, pointer) = (Drop::FragmentMalformed, self.at);
                    return Err(Fault::Problem { reason, code: FIELD, pointer });
                }
                self.metadata.fragmented = true;
                // One that is all there is has nothing to wait for (RFC 6946 §4).
                if fragment.offset() == 0 && !fragment.more() {
                    return Ok(Step::Pass(fragment.next_header, FRAGMENT_LEN));
                }
                Ok(Step::Fragment)
            }
            NO_NEXT_HEADER => Err(Drop::Ipv6NoNextHeader.into()),
            // Hop-by-hop options behind something else are among what is not known (RFC 8200 §4).
            _ => {
                let (reason, pointer) = (Drop::IpProtocol, self.next_at);
                Err(Fault::Problem { reason, code: NEXT_HEADER, pointer })
            }
        }
    }

    /// Looks at a header of options (RFC 8200 §4.2).
    fn options(&mut self) -> Result<Step, Fault> {
        let datagram = self.packet.bytes();
        let behind = datagram.get(self.at..).unwrap_or_default();
        let header = Options::parse(behind).ok_or(Drop::Ipv6Malformed)?;
        let hop_by_hop = self.next == HOP_BY_HOP;
        let no_length = datagram.get(PAYLOAD_LENGTH_AT..NEXT_HEADER_AT) == Some(&[0; 2]);
        let options_at = size_of::<Options>();
        let options = behind.get(options_at..header.len()).unwrap_or_default();
        for (count, option) in ipv6::options(options).enumerate() {
            let option = option.map_err(|_| Drop::Ipv6Malformed)?;
            let pointer = self.at + options_at + option.at;
            let reason = Drop::Ipv6Option;
            let (told, code, pointer) = match (option.kind, option.data, option.action()) {
                _ if count >= MAX_OPTIONS => (false, OPTION, pointer),
                (ipv6::ROUTER_ALERT, value, _) if hop_by_hop => {
                    // Other values are other protocols' (RFC 2711 §2.1).
                    let value = <[u8; 2]>::try_from(value).map_err(|_| Drop::Ipv6Malformed)?;
                    self.metadata.router_alert = value == [0; 2];
                    continue;
                }
                // RFC 2675 §3. No link takes as much as it is there for.
                (ipv6::JUMBO_PAYLOAD, &[0, 0, _, _], _) if hop_by_hop && no_length => {
                    (true, FIELD, pointer + OPTION_DATA_AT)
                }
                (ipv6::JUMBO_PAYLOAD, _, _) if hop_by_hop => (!no_length, FIELD, pointer),
                (_, _, Action::Skip) => continue,
                (_, _, Action::Discard) => (false, OPTION, pointer),
                (_, _, Action::ParameterProblem) => (true, OPTION, pointer),
                (_, _, Action::ParameterProblemUnlessMulticast) => {
                    let to_one = self.metadata.cast == Cast::Unicast && !self.metadata.link_group;
                    (to_one, OPTION, pointer)
                }
            };
            return Err(if told {
                Fault::Problem { reason, code, pointer }
            } else {
                reason.into()
            });
        }
        if hop_by_hop && no_length {
            let (reason, pointer) = (Drop::Ipv6Malformed, PAYLOAD_LENGTH_AT);
            return Err(Fault::Problem { reason, code: FIELD, pointer });
        }
        Ok(Step::Pass(header.next_header, header.len()))
    }

    /// Checks a fragment (RFC 8200 §4.5).
    fn check_fragment(&self) -> Result<Piece, Fault> {
        let fragment = Fragment::parse(self.behind()).ok_or(Drop::Ipv6Malformed)?;
        let payload = self.behind().get(FRAGMENT_LEN..).unwrap_or_default();
        let (offset, more) = (fragment.offset(), fragment.more());
        if more && !payload.len().is_multiple_of(8) {
            let pointer = PAYLOAD_LENGTH_AT;
            return Err(Fault::Problem { reason: Drop::FragmentMalformed, code: FIELD, pointer });
        }
        // The headers in front of it are in the whole, too, and count there.
        let before = self.at - HEADER_LEN;
        if before + offset + payload.len() > usize::from(u16::MAX) {
            let pointer = self.at + FRAGMENT_OFFSET_AT;
            return Err(Fault::Problem { reason: Drop::FragmentTooLong, code: FIELD, pointer });
        }
        // RFC 7112 §5: who looks at the first fragment sees all the headers.
        if offset == 0 && !has_all_headers(fragment.next_header, payload) {
            let (reason, code) = (Drop::FragmentHeaders, FIRST_FRAGMENT);
            return Err(Fault::Problem { reason, code, pointer: 0 });
        }
        let key = Key {
            source: self.metadata.source,
            destination: self.metadata.destination,
            protocol: 0,
            identification: fragment.identification.get(),
        };
        let ecn = self.metadata.traffic_class & 0b11;
        let header_len = (self.at + FRAGMENT_LEN) as u16;
        Ok(Piece { key, offset, more, ecn, header_len })
    }

    /// Takes a fragment, and returns the whole if it is the last that was missing.
    fn reassemble(self, ip: &mut Ip, now: Instant, piece: Piece) -> Result<Option<Self>, Drop> {
        let Self { mut metadata, mut packet, .. } = self;
        packet.trim_front(piece.header_len.into());
        let Some(whole) = ip.reassemble(now, piece, packet) else { return Ok(None) };
        let Whole { mut payload, first, ecn } = whole;
        // The headers are those of the first fragment, but for the fragment header.
        let headers = first.bytes();
        let (next_at, at) = fragment_at(headers).ok_or(Drop::Ipv6Malformed)?;
        let next = Fragment::parse(&headers[at..]).ok_or(Drop::Ipv6Malformed)?.next_header;
        payload.prepend(at).ok_or(Drop::NoPacket)?.copy_from_slice(&headers[..at]);
        payload.bytes_mut()[next_at] = next;
        let len = u16::try_from(payload.len() - HEADER_LEN).map_err(|_| Drop::FragmentTooLong)?;
        let header = Header::parse_mut(payload.bytes_mut()).map_err(|_| Drop::Ipv6Malformed)?;
        header.set_payload_len(len);
        metadata.hop_limit = header.hop_limit;
        metadata.traffic_class = header.traffic_class() & !0b11 | ecn;
        metadata.udp_verified = false;
        Ok(Some(Self { metadata, packet: payload, next, next_at, at }))
    }
}

/// Where a fragment's headers say that there is a fragment header, and where that is.
fn fragment_at(headers: &[u8]) -> Option<(usize, usize)> {
    let (mut next_at, mut at) = (NEXT_HEADER_AT, HEADER_LEN);
    while *headers.get(next_at)? != FRAGMENT {
        let header = Options::parse(headers.get(at..)?)?;
        next_at = at;
        at += header.len();
    }
    (at < headers.len()).then_some((next_at, at))
}

/// Whether a first fragment has all headers up to that of what IPv6 carries, with that one.
fn has_all_headers(next: u8, payload: &[u8]) -> bool {
    match upper_layer(next, payload) {
        Some((ipv4::UDP, datagram)) => datagram.len() >= udp::HEADER_LEN,
        Some((ipv6::ICMP, message)) => message.len() >= icmpv6::HEADER_LEN,
        Some((NO_NEXT_HEADER, _)) => true,
        Some((_, payload)) => !payload.is_empty(),
        None => false,
    }
}

/// What IPv6 carries, and its bytes, in a payload that starts with `next`; `None` if that is not all
/// there.
fn upper_layer(mut next: u8, mut payload: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        let len = match next {
            HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING => {
                let header = Options::parse(payload)?;
                next = header.next_header;
                header.len()
            }
            FRAGMENT => {
                let fragment =
                    Fragment::parse(payload).filter(|fragment| fragment.offset() == 0)?;
                next = fragment.next_header;
                FRAGMENT_LEN
            }
            _ => return Some((next, payload)),
        };
        payload = payload.get(len..)?;
    }
}

/// What a datagram carries, of which perhaps the end is cut off, and where it goes.
pub(crate) fn quoted(datagram: &[u8]) -> Option<(&Header, u8, &[u8])> {
    let (header, payload) = Header::ref_from_prefix(datagram).ok()?;
    let (protocol, payload) = upper_layer(header.next_header, payload)?;
    Some((header, protocol, payload))
}
