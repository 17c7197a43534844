//! Options: their codes (RFC 2132, RFC 3442), and how they lie in a message (RFC 2131 §4.1,
//! RFC 3396).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::{MAX_ADDRESSES, MAX_ROUTES, Malformed};
use crate::ip::Ipv4Cidr;

/// Code of the subnet's mask.
pub const SUBNET_MASK: u8 = 1;
/// Code of the routers on the client's link, best first.
pub const ROUTERS: u8 = 3;
/// Code of the name servers, best first.
pub const DNS_SERVERS: u8 = 6;
/// Code of the client's own name.
pub const HOST_NAME: u8 = 12;
/// Code of the domain in which names are looked up.
pub const DOMAIN_NAME: u8 = 15;
/// Code of the link's MTU.
pub const MTU: u8 = 26;
/// Code of the time servers, best first.
pub const NTP_SERVERS: u8 = 42;
/// Code of the address that the client asks for.
pub const REQUESTED_ADDRESS: u8 = 50;
/// Code of how long the address is the client's.
pub const LEASE_TIME: u8 = 51;
/// Code of what says that `file` or `sname` holds options too.
pub const OVERLOAD: u8 = 52;
/// Code of the message's kind.
pub const KIND: u8 = 53;
/// Code of the server's address.
pub const SERVER_ID: u8 = 54;
/// Code of the codes that the client asks for.
pub const PARAMETER_LIST: u8 = 55;
/// Code of what a server has to say about a refusal, or a client about why it declines.
pub const TEXT: u8 = 56;
/// Code of the longest message that the client takes.
pub const MAX_MESSAGE_SIZE: u8 = 57;
/// Code of T1, when the client renews.
pub const RENEWAL_TIME: u8 = 58;
/// Code of T2, when it rebinds.
pub const REBINDING_TIME: u8 = 59;
/// Code of who the client is.
pub const CLIENT_ID: u8 = 61;
/// Code of the classless static routes, which stand in for the routers (RFC 3442).
pub const CLASSLESS_ROUTES: u8 = 121;

const PAD: u8 = 0;
pub(super) const END: u8 = 255;

/// Longest value of one option; more of it goes into another of the same code (RFC 3396).
const MAX_VALUE: usize = 255;

/// The options of a message: those of the option field, then those of `file` and of `sname` if they
/// are overloaded (RFC 3396 §5).
pub(super) struct Options<'a> {
    fields: [&'a [u8]; 3],
}

impl<'a> Options<'a> {
    /// The options of a message whose option field is `options`; none of them is cut short.
    pub(super) fn parse(
        options: &'a [u8],
        file: &'a [u8],
        sname: &'a [u8],
    ) -> Result<Self, Malformed> {
        let mut fields = [options, &[], &[]];
        // An overload in an overloaded field means nothing.
        match (Self { fields }).fixed(OVERLOAD)? {
            None => {}
            Some([1]) => fields[1] = file,
            Some([2]) => fields[2] = sname,
            Some([3]) => (fields[1], fields[2]) = (file, sname),
            Some(_) => return Err(Malformed),
        }
        let all = Self { fields };
        all.iter().try_for_each(|option| option.map(|_| ()))?;
        Ok(all)
    }

    fn iter(&self) -> Iter<'a> {
        let [first, behind @ ..] = self.fields;
        Iter { rest: first, behind }
    }

    fn values(&self, code: u8) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter_map(move |option| option.ok().filter(|it| it.0 == code)).map(|it| it.1)
    }

    /// The value of an option that is `N` bytes long: of several, the first.
    pub(super) fn fixed<const N: usize>(&self, code: u8) -> Result<Option<[u8; N]>, Malformed> {
        self.values(code).next().map(|value| value.try_into().map_err(|_| Malformed)).transpose()
    }

    /// The value of an option of any length: of several, all of them, one after another.
    pub(super) fn joined(&self, code: u8) -> Vec<u8> {
        let mut joined = Vec::new();
        self.values(code).for_each(|value| joined.extend_from_slice(value));
        joined
    }

    pub(super) fn address(&self, code: u8) -> Result<Option<Ipv4Addr>, Malformed> {
        Ok(self.fixed(code)?.map(|octets: [u8; 4]| octets.into()))
    }

    pub(super) fn u32(&self, code: u8) -> Result<Option<u32>, Malformed> {
        Ok(self.fixed(code)?.map(u32::from_be_bytes))
    }

    pub(super) fn u16(&self, code: u8) -> Result<Option<u16>, Malformed> {
        Ok(self.fixed(code)?.map(u16::from_be_bytes))
    }

    pub(super) fn addresses(&self, code: u8) -> Result<Vec<Ipv4Addr>, Malformed> {
        let value = self.joined(code);
        let (addresses, []) = value.as_chunks::<4>() else { return Err(Malformed) };
        Ok(addresses.iter().take(MAX_ADDRESSES).map(|&octets| octets.into()).collect())
    }

    /// Text, without the zeros that some servers put at its end (RFC 2132 §2). What cannot be
    /// printed is no text: it would end up in somebody's log.
    pub(super) fn text(&self, code: u8) -> Option<String> {
        let value = self.joined(code);
        let end = value.iter().rposition(|&byte| byte != 0)? + 1;
        let text = value.get(..end).filter(|text| text.len() <= MAX_VALUE)?;
        let text = core::str::from_utf8(text).ok()?;
        text.bytes().all(|byte| matches!(byte, b' '..=b'~')).then(|| text.into())
    }

    pub(super) fn routes(&self) -> Result<Vec<(Ipv4Cidr, Ipv4Addr)>, Malformed> {
        let value = self.joined(CLASSLESS_ROUTES);
        let mut rest = &value[..];
        let mut routes = Vec::new();
        while let Some((&prefix_len, after)) = rest.split_first() {
            let (destination, after) =
                after.split_at_checked(significant_octets(prefix_len)).ok_or(Malformed)?;
            let (router, after) = after.split_first_chunk::<4>().ok_or(Malformed)?;
            rest = after;
            let mut octets = [0; 4];
            octets.iter_mut().zip(destination).for_each(|(to, from)| *to = *from);
            let destination = network(octets.into(), prefix_len).ok_or(Malformed)?;
            if routes.len() < MAX_ROUTES {
                routes.push((destination, (*router).into()));
            }
        }
        Ok(routes)
    }
}

/// The options of each field, in turn, up to its end option or its end.
struct Iter<'a> {
    rest: &'a [u8],
    behind: [&'a [u8]; 2],
}

impl<'a> Iterator for Iter<'a> {
    type Item = Result<(u8, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.rest {
                [PAD, rest @ ..] => self.rest = rest,
                [] | [END, ..] => {
                    let [next, last] = self.behind;
                    (self.rest, self.behind) = (next, [last, &[]]);
                    if next.is_empty() && last.is_empty() {
                        return None;
                    }
                }
                &[code, ref rest @ ..] => {
                    let split = |(&len, rest): (&u8, &'a [u8])| rest.split_at_checked(len.into());
                    let option = rest.split_first().and_then(split);
                    self.rest = option.map_or(&[], |(_, rest)| rest);
                    return Some(option.map(|(value, _)| (code, value)).ok_or(Malformed));
                }
            }
        }
    }
}

/// Appends an option, in parts if it is too long for one. An empty one is left out.
pub(super) fn put(bytes: &mut Vec<u8>, code: u8, value: &[u8]) {
    for part in value.chunks(MAX_VALUE) {
        bytes.extend_from_slice(&[code, part.len() as u8]);
        bytes.extend_from_slice(part);
    }
}

pub(super) fn put_addresses(bytes: &mut Vec<u8>, code: u8, addresses: &[Ipv4Addr]) {
    let octets: Vec<u8> = addresses.iter().flat_map(Ipv4Addr::octets).collect();
    put(bytes, code, &octets);
}

pub(super) fn put_routes(bytes: &mut Vec<u8>, routes: &[(Ipv4Cidr, Ipv4Addr)]) {
    let mut value = Vec::new();
    for (destination, router) in routes {
        let prefix_len = destination.prefix_len();
        value.push(prefix_len);
        let octets = destination.address().octets();
        value.extend_from_slice(octets.get(..significant_octets(prefix_len)).unwrap_or(&octets));
        value.extend_from_slice(&router.octets());
    }
    put(bytes, CLASSLESS_ROUTES, &value);
}

/// How many octets of a destination are sent: the rest are zero.
fn significant_octets(prefix_len: u8) -> usize {
    usize::from(prefix_len).div_ceil(8)
}

/// The network of an address. RFC 3442 lets servers send bits beyond the prefix, and clients clear
/// them.
fn network(address: Ipv4Addr, prefix_len: u8) -> Option<Ipv4Cidr> {
    let mask = u32::MAX.checked_shl(32u32.checked_sub(prefix_len.into())?).unwrap_or(0);
    Ipv4Cidr::new(Ipv4Addr::from_bits(address.to_bits() & mask), prefix_len)
}
