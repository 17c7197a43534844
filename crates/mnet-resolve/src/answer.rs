use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::error::ResolveError;

/// Aliases that are followed from one name to the next.
pub(crate) const MAX_ALIASES: usize = 16;

/// Seconds that a record is believed at most, whatever it says.
const MAX_TTL: u32 = 24 * 60 * 60;
/// Seconds that it is believed at most that there is nothing (RFC 2308 §5).
const MAX_NEGATIVE_TTL: u32 = 60 * 60;

/// What a server has said about a question, and nothing that it was not asked: the aliases that lead
/// from the name in question, the records at their end, or that there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    code: ResponseCode,
    records: Vec<Record>,
    authority: Option<Record>,
    // Seconds.
    lifetime: u32,
    // Where the aliases lead, if no record was there and nobody denied it.
    open: Option<Name>,
}

impl Answer {
    /// Takes from a message what answers `query`: the records of its answer section that the aliases
    /// lead to, and of the authority section the SOA record of a negative answer.
    pub(crate) fn extract(query: &Query, message: Message) -> Result<Self, ResolveError> {
        let Message { metadata, answers, authorities, .. } = message;
        let mut name = query.name.clone();
        let mut records = Vec::new();
        let found = loop {
            let here = |record: &&Record| record.dns_class == DNSClass::IN && record.name == name;
            let before = records.len();
            let wanted = |record: &&Record| is_of(record, query.query_type);
            records.extend(answers.iter().filter(here).filter(wanted).cloned());
            if records.len() > before {
                break true;
            }
            let alias = answers.iter().filter(here).find_map(|record| match &record.data {
                RData::CNAME(target) => Some((record, &target.0)),
                _ => None,
            });
            let Some((alias, target)) = alias else { break false };
            if records.len() == MAX_ALIASES {
                return Err(ResolveError::Loop);
            }
            records.push(alias.clone());
            name = target.clone();
        };
        for record in &mut records {
            record.ttl = believed(record.ttl, MAX_TTL);
        }
        let shortest = records.iter().map(|record| record.ttl).min();
        if found {
            let lifetime = shortest.unwrap_or(0);
            let code = ResponseCode::NoError;
            return Ok(Self { code, records, authority: None, lifetime, open: None });
        }
        let authority = authorities.into_iter().find_map(|mut record| {
            let RData::SOA(soa) = &record.data else { return None };
            let theirs = record.dns_class == DNSClass::IN && record.name.zone_of(&name);
            record.ttl = believed(record.ttl.min(soa.minimum), MAX_NEGATIVE_TTL);
            theirs.then_some(record)
        });
        let lifetime = authority.as_ref().map_or(0, |soa| soa.ttl);
        let lifetime = shortest.map_or(lifetime, |shortest| shortest.min(lifetime));
        let code = metadata.response_code;
        let denied = code == ResponseCode::NXDomain || authority.is_some() || records.is_empty();
        let open = (!denied).then_some(name);
        Ok(Self { code, records, authority, lifetime, open })
    }

    /// `NoError` or `NXDomain`. With `NoError` there may be no record of the type in question all
    /// the same.
    #[must_use]
    pub fn code(&self) -> ResponseCode {
        self.code
    }

    /// The aliases in order, and the records that were asked for.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The SOA record of the zone that says that there is nothing, if it came (RFC 2308 §3).
    #[must_use]
    pub fn authority(&self) -> Option<&Record> {
        self.authority.as_ref()
    }

    /// How long it may be believed: as long as each of its records; if it is negative, as long as its
    /// zone says (RFC 2308 §5), or not at all.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime.into())
    }

    /// The addresses among its records.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.records.iter().filter_map(|record| record.data.ip_addr())
    }

    /// Where its aliases lead, if it says nothing about that name.
    pub(crate) fn open(&self) -> Option<&Name> {
        self.open.as_ref()
    }

    /// What it is after so many seconds, at most its lifetime.
    pub(crate) fn aged(mut self, seconds: u32) -> Self {
        for record in self.records.iter_mut().chain(&mut self.authority) {
            record.decrement_ttl(seconds);
        }
        self.lifetime = self.lifetime.saturating_sub(seconds);
        self
    }

    /// All that it says, as a message, for a question with that name.
    pub(crate) fn into_message(self) -> Message {
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.metadata.response_code = self.code;
        message.answers = self.records;
        message.authorities.extend(self.authority);
        message
    }
}

fn is_of(record: &Record, wanted: RecordType) -> bool {
    wanted == RecordType::ANY || wanted == record.record_type()
}

/// How many seconds a record is believed that says `ttl`; what looks negative is none (RFC 2181 §8).
fn believed(ttl: u32, most: u32) -> u32 {
    if i32::try_from(ttl).is_ok() { ttl.min(most) } else { 0 }
}
