//! What others on the link offer.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use edge_mdns::domain::base::{ParsedName, Question, Rtype};
use edge_mdns::domain::rdata::AllRecordData;
use edge_mdns::{HostQuestion, HostQuestions, MdnsError, NameSlice, PeerAnswer, PeerAnswers};
use mnet::Instant;

/// Services that are remembered. While they are there, newcomers are passed over.
const MAX_FOUND: usize = 64;
/// Addresses of each.
const MAX_ADDRESSES: usize = 8;
/// Services that are asked for by name at the same time.
const MAX_ASKED: usize = 4;
/// How often a service is asked for by name.
const MAX_QUESTIONS: u8 = 3;
/// No service is believed to be there for longer without being heard of again.
const MAX_TTL: u32 = 4_500;

/// Labels without the last, which is empty.
type Name = Vec<String>;

/// Services of some types, as they come and go.
pub(crate) struct Browser {
    kinds: Vec<[String; 2]>,
    found: RefCell<Vec<Found>>,
}

struct Found {
    name: Name,
    until: Instant,
    /// Host and port.
    at: Option<(Name, u16)>,
    addresses: Vec<IpAddr>,
    told: bool,
    asked: u8,
}

impl Browser {
    pub(crate) fn new(kinds: Vec<[String; 2]>) -> Self {
        Self { kinds, found: RefCell::default() }
    }

    /// Whether there is a service of which it is still to be asked where it is.
    pub(crate) fn is_curious(&self) -> bool {
        self.found.borrow().iter().any(Found::is_unknown)
    }

    /// Forgets what has not been heard of for too long.
    pub(crate) fn expire(&self, now: Instant) {
        self.keep(|found| found.until > now);
    }

    fn keep(&self, stays: impl Fn(&Found) -> bool) {
        self.found.borrow_mut().retain(|found| {
            let stays = stays(found);
            if !stays && found.told {
                log::info!("gone: {found}");
            }
            stays
        });
    }

    /// Takes note of a service that is there for so many seconds, or no longer.
    fn note(&self, name: Name, ttl: u32) {
        if ttl == 0 {
            return self.keep(|found| !is_same(&found.name, &name));
        }
        let until = mkernel::now() + Duration::from_secs(ttl.min(MAX_TTL).into());
        let mut all = self.found.borrow_mut();
        if let Some(found) = all.iter_mut().find(|found| is_same(&found.name, &name)) {
            found.until = until;
        } else if all.len() < MAX_FOUND {
            let (at, addresses) = (None, Vec::new());
            all.push(Found { name, until, at, addresses, told: false, asked: 0 });
        }
    }

    /// Whether a name is that of one of the types that are looked for.
    fn is_kind(&self, name: &Name) -> bool {
        let [service, protocol, local] = &name[..] else { return false };
        self.kinds.iter().any(|kind| {
            [(service, &*kind[0]), (protocol, &*kind[1]), (local, "local")]
                .iter()
                .all(|(one, other)| one.eq_ignore_ascii_case(other))
        })
    }

    fn take(&self, record: &PeerAnswer<'_>, of: Pass) {
        let Some(owner) = labels(record.owner()) else { return };
        match (record.data(), of) {
            (AllRecordData::Ptr(pointer), Pass::Services) if self.is_kind(&owner) => {
                let name = labels(pointer.ptrdname());
                let name = name.filter(|name| name.len() == 4 && is_same(&name[1..], &owner));
                name.into_iter().for_each(|name| self.note(name, record.ttl().as_secs()));
            }
            (AllRecordData::Srv(place), Pass::Places) => {
                let Some(host) = labels(place.target()) else { return };
                let at = Some((host, place.port()));
                let mut all = self.found.borrow_mut();
                let changed = all.iter_mut().filter(|found| is_same(&found.name, &owner));
                for found in changed.filter(|found| found.at != at) {
                    found.at = at.clone();
                    found.addresses.clear();
                    found.told = false;
                }
            }
            (AllRecordData::A(address), Pass::Addresses) => {
                self.add_address(&owner, IpAddr::V4(address.addr().octets().into()));
            }
            (AllRecordData::Aaaa(address), Pass::Addresses) => {
                self.add_address(&owner, IpAddr::V6(address.addr().octets().into()));
            }
            _ => {}
        }
    }

    fn add_address(&self, host: &Name, address: IpAddr) {
        for found in self.found.borrow_mut().iter_mut() {
            let there = found.at.as_ref().is_some_and(|(at, _)| is_same(at, host));
            let known = found.addresses.contains(&address);
            if there && !known && found.addresses.len() < MAX_ADDRESSES {
                found.addresses.push(address);
            }
        }
    }

    /// Says what has been found.
    fn tell(&self) {
        for found in self.found.borrow_mut().iter_mut() {
            if !found.told && !found.addresses.is_empty() {
                found.told = true;
                log::info!("found: {found}");
            }
        }
    }
}

/// Which records are looked at: what each means depends on those before.
#[derive(Clone, Copy)]
enum Pass {
    Services,
    Places,
    Addresses,
}

impl PeerAnswers for Browser {
    fn answers<'a, T, A>(&self, answers: T, additional: A) -> Result<(), MdnsError>
    where
        T: IntoIterator<Item = Result<PeerAnswer<'a>, MdnsError>> + Clone + 'a,
        A: IntoIterator<Item = Result<PeerAnswer<'a>, MdnsError>> + Clone + 'a,
    {
        for pass in [Pass::Services, Pass::Places, Pass::Addresses] {
            for record in answers.clone().into_iter().chain(additional.clone()) {
                self.take(&record?, pass);
            }
        }
        self.tell();
        Ok(())
    }
}

impl HostQuestions for Browser {
    /// Asks for all services of the types, and where those are of which that is not known.
    fn visit<F, E>(&self, mut f: F) -> Result<(), E>
    where
        F: FnMut(HostQuestion<'_>) -> Result<(), E>,
        E: From<MdnsError>,
    {
        for [service, protocol] in &self.kinds {
            f(Question::new_in(NameSlice::new(&[service, protocol, "local"]), Rtype::PTR))?;
        }
        let mut all = self.found.borrow_mut();
        for found in all.iter_mut().filter(|found| found.is_unknown()).take(MAX_ASKED) {
            found.asked += 1;
            let (name, kinds) = match &found.at {
                Some((host, _)) => (host, [Rtype::A, Rtype::AAAA].as_slice()),
                None => (&found.name, [Rtype::SRV].as_slice()),
            };
            let name: Vec<&str> = name.iter().map(|label| &**label).collect();
            for &kind in kinds {
                f(Question::new_in(NameSlice::new(&name), kind))?;
            }
        }
        Ok(())
    }
}

impl Found {
    fn is_unknown(&self) -> bool {
        self.addresses.is_empty() && self.asked < MAX_QUESTIONS
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (instance, kind) = self.name.split_first().ok_or(fmt::Error)?;
        write!(f, "{instance:?} ({})", kind.join("."))?;
        let Some((host, port)) = &self.at else { return Ok(()) };
        write!(f, " at {}", host.join("."))?;
        self.addresses.iter().try_for_each(|&ip| write!(f, " {}", SocketAddr::new(ip, *port)))
    }
}

/// The labels of a name, if they are text, as they have to be (RFC 6763 §4.1.1, RFC 6762 §16).
fn labels(name: &ParsedName<&[u8]>) -> Option<Name> {
    let labels = name.iter().filter(|label| !label.is_root());
    labels
        .map(|label| core::str::from_utf8(label.as_slice()).ok().map(ToString::to_string))
        .collect()
}

fn is_same(one: &[String], other: &[String]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| one.eq_ignore_ascii_case(other))
}

#[cfg(test)]
mod tests;
