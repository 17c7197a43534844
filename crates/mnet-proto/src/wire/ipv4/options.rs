//! The options of a header (RFC 791 §3.1, RFC 2113).

use core::net::Ipv4Addr;

use super::HEADER_LEN;

/// Most bytes of options in a header.
pub const MAX_OPTIONS_LEN: usize = 40;
/// Length in bytes of the option that asks routers to look inside (RFC 2113).
pub const ROUTER_ALERT_LEN: usize = 4;
/// That option, whole.
pub(super) const ROUTER_ALERT: [u8; ROUTER_ALERT_LEN] = [ROUTER_ALERT_KIND, 4, 0, 0];

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;
const ROUTER_ALERT_KIND: u8 = 148;

/// Flags of a timestamp option, in the lower four bits of what has the overflow count above them:
/// times alone, each with who recorded it, and those of the hosts that are named.
const TIMES: u8 = 0;
const ADDRESSES: u8 = 1;
const NAMED: u8 = 3;

/// Where in a header the options are that are of any matter to a host, in bytes from its start: 0
/// for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The way that the datagram is to go. A host that is no router passes none on, and answers
    /// along none (RFC 1122 §3.2.1.8, §3.3.5).
    pub source_route: u8,
    /// Who has passed the datagram on.
    pub record_route: u8,
    /// When that was.
    pub timestamp: u8,
    /// That routers are to look inside.
    pub router_alert: u8,
}

impl Options {
    /// Finds the options of a datagram that was parsed, and checks that they end where the header
    /// does, and what is in those of RFC 791 and RFC 2113.
    ///
    /// # Errors
    /// Where the first fault is, in bytes from the start of the header.
    pub fn parse(datagram: &[u8], header_len: usize) -> Result<Self, u8> {
        let mut at = HEADER_LEN;
        let header = datagram.get(..header_len).unwrap_or(datagram);
        let mut found = Self::default();
        while let Some(&kind) = header.get(at) {
            match kind {
                END_OF_OPTIONS => break,
                NO_OPERATION => at += 1,
                _ => {
                    // The length counts type and length too.
                    let len = header.get(at + 1).map_or(0, |&len| usize::from(len));
                    let option = header.get(at..at + len).filter(|_| len >= 2).ok_or(at as u8)?;
                    let mut ignored = 0;
                    let place = match kind {
                        LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => &mut found.source_route,
                        RECORD_ROUTE => &mut found.record_route,
                        TIMESTAMP => &mut found.timestamp,
                        ROUTER_ALERT_KIND => &mut found.router_alert,
                        _ => &mut ignored,
                    };
                    // RFC 791 §3.1: each of its own at most once.
                    if *place != 0 && kind != ROUTER_ALERT_KIND {
                        return Err(at as u8);
                    }
                    *place = at as u8;
                    if let Some(fault) = fault(kind, option) {
                        return Err((at + fault) as u8);
                    }
                    at += len;
                }
            }
        }
        Ok(found)
    }

    /// Puts the options into `answer`, all zero before, that the answer to a request has from it:
    /// routes and times recorded so far, and after them this host as the one that the request came
    /// to, and as the one that the answer comes from (RFC 1122 §3.2.1.8 (e), §3.2.2.6). `time` is as
    /// in ICMP's timestamps (RFC 792). Returns how long they are.
    #[must_use]
    pub fn answer(
        &self,
        datagram: &[u8],
        own: Ipv4Addr,
        time: [u8; 4],
        answer: &mut [u8; MAX_OPTIONS_LEN],
    ) -> usize {
        let mut end = 0;
        for at in [self.record_route, self.timestamp] {
            let Some(option) = datagram.get(at.into()..).filter(|_| at > 0) else { continue };
            let len = option.get(1).map_or(0, |&len| usize::from(len));
            let copy = answer.get_mut(end..end + len).zip(option.get(..len));
            let Some((copy, option)) = copy else { continue };
            copy.copy_from_slice(option);
            (0..2).for_each(|_| record(copy, own.octets(), time));
            end += len;
        }
        end.next_multiple_of(4)
    }
}

/// Records the host in an option that was looked at, if there is room.
fn record(option: &mut [u8], own: [u8; 4], time: [u8; 4]) {
    let &mut [kind, _, pointer, flags, ..] = option else { return };
    let both: [u8; 8] = zerocopy::transmute!([own, time]);
    let entry = match (kind, flags & 0x0f) {
        (RECORD_ROUTE, _) => &both[..4],
        (_, TIMES) => &both[4..],
        (_, ADDRESSES | NAMED) => &both[..],
        _ => return,
    };
    // It counts from 1.
    let start = usize::from(pointer).saturating_sub(1);
    if let Some(place) = option.get_mut(start..start + entry.len()) {
        if kind == RECORD_ROUTE || flags & 0x0f != NAMED || place.starts_with(&own) {
            place.copy_from_slice(entry);
            option[2] = pointer + entry.len() as u8;
        }
    } else if kind == TIMESTAMP && flags & 0x0f != NAMED && flags < 0xf0 {
        // One more that found no room.
        option[3] = flags + 0x10;
    }
}

/// Where in an option something is wrong, if it is one that is known.
fn fault(kind: u8, option: &[u8]) -> Option<usize> {
    let (shortest, entry) = match kind {
        LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE | RECORD_ROUTE => (3, 4),
        TIMESTAMP => (4, 4),
        ROUTER_ALERT_KIND => return (option.len() < ROUTER_ALERT_LEN).then_some(1),
        _ => return None,
    };
    if option.len() < shortest {
        return Some(1);
    }
    // It counts from 1, and points behind what is before the entries.
    let pointer = option.get(2).map_or(0, |&pointer| usize::from(pointer));
    let flags = option.get(3).copied().unwrap_or_default();
    let with_address = kind == TIMESTAMP && matches!(flags & 0x0f, ADDRESSES | NAMED);
    let entry = if with_address { 8 } else { entry };
    let full = pointer > option.len();
    // RFC 791 §3.1: some room, but not enough, is an error, and so is an overflow count that
    // overflows.
    let narrow = !full && pointer + entry > option.len() + 1;
    let routed = matches!(kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE);
    if pointer <= shortest || narrow && !routed {
        return Some(2);
    }
    (kind == TIMESTAMP && full && flags & 0x0f != NAMED && flags >> 4 == 15).then_some(3)
}

#[cfg(test)]
mod tests;
