//! A zone, and what it has to say of a name (RFC 1034 §4.3.2, RFC 4592).

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use thiserror::Error;

/// Most aliases to follow for one question.
const ALIASES: usize = 8;

/// All records of a zone, by name. Names that have none, but are above one that has, are there too.
pub(crate) struct Zone {
    origin: LowerName,
    soa: Record,
    names: BTreeMap<LowerName, Vec<Record>>,
}

/// What a zone says of a question.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The name is not in the zone: somebody else may know.
    pub(crate) refused: bool,
    /// There is no such name.
    pub(crate) no_such_name: bool,
    /// Another server answers for the name; its records are below.
    pub(crate) referral: bool,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
}

impl Zone {
    /// Reads a zone, of which each line is one record; what follows a `;` at a line's start is
    /// nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, ZoneError> {
        let lines = text.lines().filter(|line| !line.starts_with(';') && !line.trim().is_empty());
        let records = lines.map(parse_line).collect::<Result<Vec<_>, _>>()?;
        let is_soa = |record: &&Record| record.record_type() == RecordType::SOA;
        let soa = records.iter().find(is_soa).ok_or(ZoneError::NoSoa)?.clone();
        let origin = LowerName::new(&soa.name);
        let mut names = BTreeMap::<LowerName, Vec<Record>>::new();
        for record in records {
            let name = LowerName::new(&record.name);
            if !origin.zone_of(&name) {
                return Err(ZoneError::NotInZone { name: record.name.to_string() });
            }
            let mut above = name.clone();
            while above != origin {
                above = above.base_name();
                names.entry(above.clone()).or_default();
            }
            names.entry(name).or_default().push(record);
        }
        Ok(Self { origin, soa, names })
    }

    /// The name of the zone.
    pub(crate) fn origin(&self) -> &LowerName {
        &self.origin
    }

    /// What there is to say of a name.
    pub(crate) fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        let mut answer = Answer::default();
        let mut name = name.clone();
        for _ in 0..ALIASES {
            let lower = LowerName::new(&name);
            if !self.origin.zone_of(&lower) {
                answer.refused = answer.answers.is_empty();
                break;
            }
            if let Some(servers) = self.delegation(&lower, kind) {
                answer.referral = answer.answers.is_empty();
                answer.authorities = servers;
                break;
            }
            let Some(records) = self.records(&lower) else {
                answer.no_such_name = true;
                answer.authorities.push(self.negative());
                break;
            };
            match matching(records, kind) {
                Matching::Alias(alias, target) => {
                    answer.answers.push(named(alias, &name));
                    name = target.clone();
                }
                Matching::Records(found) if found.is_empty() => {
                    answer.authorities.push(self.negative());
                    break;
                }
                Matching::Records(found) => {
                    answer.answers.extend(found.iter().map(|record| named(record, &name)));
                    break;
                }
            }
        }
        self.add_addresses(&mut answer);
        answer
    }

    /// The records of a name: its own, or those that a wildcard makes of it. `None` if there is no such
    /// name.
    fn records(&self, name: &LowerName) -> Option<&[Record]> {
        if let Some(records) = self.names.get(name) {
            return Some(records);
        }
        // RFC 4592 §2.2: only a wildcard right below the closest name that there is counts.
        let mut closest = name.base_name();
        while !self.names.contains_key(&closest) {
            closest = closest.base_name();
        }
        let wildcard = Name::from(closest).prepend_label("*").ok()?;
        self.names.get(&LowerName::new(&wildcard)).map(Vec::as_slice)
    }

    /// The servers of another zone in which the name is. What the parent says of that zone's keys is
    /// the parent's to say (RFC 4035 §3.1.4.1).
    fn delegation(&self, name: &LowerName, kind: RecordType) -> Option<Vec<Record>> {
        let depth = usize::from(name.num_labels());
        let below = usize::from(self.origin.num_labels()) + 1;
        (below..=depth).find_map(|labels| {
            let ancestor = LowerName::new(&Name::from(name.clone()).trim_to(labels));
            let own = labels == depth && kind == RecordType::DS;
            let records = self.names.get(&ancestor).filter(|_| !own)?;
            let servers = of_type(records, RecordType::NS);
            (!servers.is_empty()).then(|| servers.into_iter().cloned().collect())
        })
    }

    /// What says for how long nothing is there (RFC 2308 §3).
    fn negative(&self) -> Record {
        let mut soa = self.soa.clone();
        if let RData::SOA(data) = &soa.data {
            soa.ttl = soa.ttl.min(data.minimum);
        }
        soa
    }

    /// Adds the addresses of those that the answer names (RFC 1034 §4.3.2, step 6).
    fn add_addresses(&self, answer: &mut Answer) {
        let named = answer.answers.iter().chain(&answer.authorities);
        let targets: Vec<_> = named.filter_map(|record| target(&record.data)).collect();
        for target in targets {
            let records = self.names.get(&LowerName::new(target));
            let addresses = records
                .into_iter()
                .flatten()
                .filter(|record| matches!(record.record_type(), RecordType::A | RecordType::AAAA));
            answer.additionals.extend(addresses.cloned());
        }
    }
}

/// What of a name's records a question is about.
enum Matching<'a> {
    Alias(&'a Record, &'a Name),
    Records(Vec<&'a Record>),
}

fn matching(records: &[Record], kind: RecordType) -> Matching<'_> {
    let alias = records.iter().find_map(|record| match &record.data {
        RData::CNAME(target) => Some((record, &target.0)),
        _ => None,
    });
    match (alias, kind) {
        (Some((alias, target)), kind) if kind != RecordType::CNAME && kind != RecordType::ANY => {
            Matching::Alias(alias, target)
        }
        // RFC 8482 §4.1: some of it is enough for who asks for all.
        (_, RecordType::ANY) => {
            let first = records.first().map(Record::record_type);
            Matching::Records(first.map_or_else(Vec::new, |first| of_type(records, first)))
        }
        (_, kind) => Matching::Records(of_type(records, kind)),
    }
}

fn of_type(records: &[Record], kind: RecordType) -> Vec<&Record> {
    records.iter().filter(|record| record.record_type() == kind).collect()
}

/// The record, as one of this name: a wildcard's are.
fn named(record: &Record, name: &Name) -> Record {
    let mut record = record.clone();
    record.name = name.clone();
    record
}

/// The host that a record names, of which one will want the addresses.
fn target(data: &RData) -> Option<&Name> {
    match data {
        RData::NS(server) => Some(&server.0),
        RData::MX(exchange) => Some(&exchange.exchange),
        RData::SRV(service) => Some(&service.target),
        _ => None,
    }
}

/// Reads one record: `NAME TTL TYPE DATA`, all names with their final dots.
pub(crate) fn parse_line(line: &str) -> Result<Record, ZoneError> {
    let malformed = || ZoneError::Malformed { line: line.to_string() };
    let mut rest = line.trim();
    let mut word = || {
        let (word, behind) = rest.split_once(char::is_whitespace)?;
        rest = behind.trim_start();
        Some(word)
    };
    let (name, ttl, kind) = (word(), word(), word());
    let name = name.filter(|name| name.ends_with('.')).and_then(|name| Name::from_ascii(name).ok());
    let ttl = ttl.and_then(|ttl| ttl.parse().ok());
    let kind = kind.and_then(|kind| kind.parse::<RecordType>().ok());
    let (Some(name), Some(ttl), Some(kind)) = (name, ttl, kind) else { return Err(malformed()) };
    let data = RData::try_from_str(kind, rest).map_err(|_| malformed())?;
    Ok(Record::from_rdata(name, ttl, data))
}

/// Why a zone cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ZoneError {
    #[error("not a record: '{line}'; a record is NAME TTL TYPE DATA, and names end with a dot")]
    Malformed { line: String },
    #[error("a zone has a record of type SOA, and this has none")]
    NoSoa,
    #[error("{name} is not in the zone that the SOA record names")]
    NotInZone { name: String },
}

#[cfg(test)]
mod tests;
