//! Datagrams that are too long for one piece, and the pieces that they go in (RFC 791 §2.3, RFC 8200
//! §4.5).

use alloc::vec::Vec;
use core::mem;

use netdev::{Mac, Packet, Pool};
use rand_core::Rng;
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Unsent;
use crate::ip::Ip;
use crate::ip::templates::IpHeader;
use crate::stats::Drop;
use crate::wire::{Checksum, ethernet, ipv4, ipv6};

/// The headers of all fragments of a datagram, but for what each says of itself.
enum Headers {
    /// With the sum of the IP header, unless the device makes it, and that header's options.
    V4(FrontV4, Option<Checksum>, Vec<u8>),
    V6(FrontV6, ipv6::Fragment),
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FrontV4 {
    ethernet: ethernet::Header,
    ip: ipv4::Header,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FrontV6 {
    ethernet: ethernet::Header,
    ip: ipv6::Header,
}

impl Ip {
    /// Hands a datagram, whose header has been written, to the link in pieces of at most `mtu` bytes;
    /// `None` if that cannot be.
    #[inline(never)]
    pub(super) fn send_fragments(
        &mut self,
        mut datagram: Packet,
        mac: Mac,
        mtu: u16,
    ) -> Option<()> {
        let bytes = datagram.bytes();
        let ethernet = |ethertype| ethernet::Header::new(mac, self.link.mac, ethertype);
        let (headers, header_len) = if let Ok(&ip) = ipv4::Header::parse(bytes) {
            let front = FrontV4 { ethernet: ethernet(ethernet::IPV4), ip };
            let header_len = ip.header_len();
            let options = bytes.get(ipv4::HEADER_LEN..header_len).unwrap_or_default();
            (self.headers_v4(front, options.to_vec()), header_len)
        } else if let Ok(&ip) = ipv6::Header::parse(bytes) {
            let front = FrontV6 { ethernet: ethernet(ethernet::IPV6), ip };
            (self.headers_v6(front), ipv6::HEADER_LEN)
        } else {
            return None;
        };
        datagram.trim_front(header_len);
        let room = headers.room(mtu);
        can_cut(&self.link.pool, datagram.len(), room)
            .then(|| self.cut(datagram, &headers, room))?
    }

    /// Sends a packet's window, which is too long for one piece, as [`Ip::send_known`] does, to a
    /// destination whose template is for its flow.
    ///
    /// # Errors
    /// [`Unsent`], which says why not.
    #[inline(never)]
    pub(super) fn send_known_in_pieces(
        &mut self,
        slot: usize,
        checksum: Option<[u8; 2]>,
        mut packet: Packet,
    ) -> Result<(), Unsent> {
        let template = self.destinations.at(slot).old_template().map(|(template, _)| template);
        let template = template.filter(|known| known.fits_in_pieces(&packet, &self.link.pool));
        let written = template.and_then(|template| template.write_udp(&mut packet, checksum));
        let Some((ethernet, ip, mtu)) = written else { return Err(Unsent::Unknown(packet)) };
        let headers = match ip {
            IpHeader::V4(mut ip) => {
                ip.identification = U16::new(self.identifications.next());
                self.headers_v4(FrontV4 { ethernet, ip }, Vec::new())
            }
            IpHeader::V6(ip) => self.headers_v6(FrontV6 { ethernet, ip }),
        };
        let room = headers.room(mtu);
        if self.cut(packet, &headers, room).is_none() {
            self.count(Drop::NoPacket);
        }
        Ok(())
    }

    fn headers_v4(&self, front: FrontV4, options: Vec<u8>) -> Headers {
        let sum = (!self.link.checksums.fills_ipv4).then(|| front.ip.sum_of_parts());
        Headers::V4(front, sum, options)
    }

    fn headers_v6(&mut self, mut front: FrontV6) -> Headers {
        let protocol = mem::replace(&mut front.ip.next_header, ipv6::FRAGMENT);
        let identification = self.random.next_u32();
        Headers::V6(front, ipv6::Fragment::new(protocol, 0, false, identification))
    }

    /// Hands what is in a packet to the link in pieces, of which each has at most `room` bytes; `None` if
    /// that cannot be.
    fn cut(&mut self, mut rest: Packet, headers: &Headers, room: usize) -> Option<()> {
        // All but the last are a multiple of 8 long.
        let step = room & !7;
        let (mut bytes, mut offset) = (rest.bytes(), 0);
        while bytes.len() > room {
            let (part, behind) = bytes.split_at_checked(step)?;
            let mut piece = self.link.pool.take()?;
            piece.extend(part).then_some(())?;
            headers.write(&mut piece, offset, true)?;
            self.link.send_frame(piece, &mut self.stats);
            (bytes, offset) = (behind, offset + step);
        }
        rest.trim_front(offset);
        // The last leaves from where it is.
        headers.write(&mut rest, offset, false)?;
        self.link.send_frame(rest, &mut self.stats);
        self.stats.datagrams_fragmented += 1;
        Some(())
    }
}

impl Headers {
    /// How many bytes fit behind those of IP.
    fn room(&self, mtu: u16) -> usize {
        let of_ip = match self {
            Self::V4(.., options) => ipv4::HEADER_LEN + options.len(),
            Self::V6(..) => ipv6::HEADER_LEN + ipv6::FRAGMENT_LEN,
        };
        usize::from(mtu).saturating_sub(of_ip)
    }

    /// Writes them in front of the part of a datagram that begins at this offset, with others behind it
    /// or not; `None` if that cannot be.
    // What is written is changed where it lies: what has been put together a moment ago would have to
    // be waited for.
    #[inline]
    fn write(&self, piece: &mut Packet, offset: usize, more: bool) -> Option<()> {
        let len = piece.len() as u16;
        match self {
            Self::V4(front, sum, options) if options.is_empty() => {
                let written = prepend(piece, front)?;
                written.ip.set_part((offset, more), len, *sum);
            }
            Self::V4(front, sum, options) => {
                // The router alert is in every fragment (RFC 2113 §2.1), and what an answer has from its
                // request in the first: the first bit of each says so (RFC 791 §3.1).
                let copied = options.first().is_some_and(|kind| kind & 0x80 != 0);
                let options = if copied || offset == 0 { &options[..] } else { &[] };
                let (whole, part) = ((&front.ip, options), (offset, more));
                let emitted = ipv4::Header::emit_fragment(piece, whole, part, sum.is_some());
                emitted.then(|| prepend(piece, &front.ethernet))??;
            }
            Self::V6(front, fragment) => {
                prepend(piece, fragment)?.set_part(offset, more);
                prepend(piece, front)?.ip.set_payload_len(len + ipv6::FRAGMENT_LEN as u16);
            }
        }
        Some(())
    }
}

/// Puts a header in front of a packet.
#[inline]
fn prepend<'a, H>(packet: &'a mut Packet, header: &H) -> Option<&'a mut H>
where
    H: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned,
{
    let bytes = packet.prepend(size_of::<H>())?;
    header.write_to(bytes).ok()?;
    H::mut_from_bytes(bytes).ok()
}

/// Whether there are packets for all the pieces of so many bytes, of which at most `room` fit into one,
/// without the last packets that are kept for sending; and whether there are such pieces.
pub(in crate::ip) fn can_cut(pool: &Pool, len: usize, room: usize) -> bool {
    let taken = len.saturating_sub(room).div_ceil((room & !7).max(1));
    room >= 8 && taken + pool.capacity() / 16 <= pool.available()
}
