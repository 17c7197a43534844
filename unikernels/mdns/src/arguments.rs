//! What the arguments ask for, besides what they ask of the stack.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use mnet::ArgumentError;

use crate::answers::Offer;

const MAX_OFFERS: usize = 8;
const MAX_KINDS: usize = 4;
/// Longest label of a name, in bytes (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;
/// Longest key and value of a TXT record together, in bytes.
const MAX_TEXT: usize = 254;

const REASON: &str = "give --name=HOST, such as --name=lamp, --service=NAME,TYPE,PORT or \
                      --service=NAME,TYPE,PORT,KEY=VALUE, such as --service=Lamp,_http._tcp,80, or \
                      --browse=TYPE, such as --browse=_http._tcp";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) name: String,
    pub(crate) offers: Vec<Offer>,
    pub(crate) browse: Vec<[String; 2]>,
}

impl Arguments {
    pub(crate) fn parse<'a>(
        arguments: impl Iterator<Item = &'a str>,
    ) -> Result<Self, ArgumentError> {
        let (mut name, mut offers, mut browse) = ("mnet".to_string(), Vec::new(), Vec::new());
        for argument in arguments.filter(|argument| !mnet::is_argument(argument)) {
            let (option, value) = argument.split_once('=').unwrap_or((argument, ""));
            match (option, offer(value), kind(value)) {
                ("--name", ..) if is_host(value) => name = value.into(),
                ("--service", Some(offer), _) if offers.len() < MAX_OFFERS => offers.push(offer),
                ("--browse", _, Some(kind)) if browse.len() < MAX_KINDS => browse.push(kind),
                _ => return Err(malformed(argument, REASON)),
            }
        }
        Ok(Self { name, offers, browse })
    }
}

pub(crate) fn malformed(argument: &str, reason: &str) -> ArgumentError {
    ArgumentError::Malformed { argument: argument.into(), reason: reason.into() }
}

fn offer(text: &str) -> Option<Offer> {
    let mut parts = text.split(',');
    let (name, kind_of, port) = (parts.next()?, kind(parts.next()?)?, parts.next()?.parse().ok()?);
    let text = parts.map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let fits = !key.is_empty() && key.len() + value.len() <= MAX_TEXT;
        fits.then(|| (key.to_string(), value.to_string()))
    });
    let offer =
        Offer { name: name.into(), kind: kind_of, port, text: text.collect::<Option<_>>()? };
    (is_label(name) && port != 0).then_some(offer)
}

/// A type of services, such as `_http._tcp` (RFC 6763 §7).
fn kind(text: &str) -> Option<[String; 2]> {
    let (service, protocol) = text.split_once('.')?;
    let is_name = |label: &str| label.strip_prefix('_').is_some_and(is_host) && is_label(label);
    let is_kind = is_name(service) && matches!(protocol, "_tcp" | "_udp");
    is_kind.then(|| [service.into(), protocol.into()])
}

fn is_label(text: &str) -> bool {
    (1..=MAX_LABEL).contains(&text.len())
}

/// A name that a host can have (RFC 1123 §2.1).
fn is_host(text: &str) -> bool {
    is_label(text) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "they are tests")]

    use super::*;

    fn parsed(arguments: &str) -> Result<Arguments, ArgumentError> {
        Arguments::parse(arguments.split_whitespace())
    }

    #[test]
    fn names_services_and_types_are_taken() {
        let parsed = parsed(
            "--name=lamp --ipv6=none --service=Lamp,_http._tcp,80,path=/,a=b=c \
             --service=Time,_ntp._udp,123 --browse=_http._tcp",
        )
        .unwrap();
        assert_eq!((&*parsed.name, parsed.offers.len()), ("lamp", 2));
        let [path, other] = [("path", "/"), ("a", "b=c")].map(|(k, v)| (k.into(), v.into()));
        let kind = ["_http".to_string(), "_tcp".to_string()];
        let offer =
            Offer { name: "Lamp".into(), kind: kind.clone(), port: 80, text: vec![path, other] };
        assert_eq!((&parsed.offers[0], parsed.browse), (&offer, vec![kind]));
    }

    #[test]
    fn what_is_no_name_service_or_type_is_refused() {
        for bad in [
            "--name=",
            "--name=a.b",
            "--service=a",
            "--service=a,_http._tcp,0",
            "--browse=http._tcp",
            "--service=a,_http,80",
            "--service=,_http._tcp,80",
            "--service=a,_http._tcp,80,x",
            "--browse=_http._sctp",
            "--browse=_._tcp",
            "--other",
            "--service=a,_http._tcp,80,=x",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
        let long = "a".repeat(64);
        for bad in [format!("--name={long}"), format!("--service={long},_http._tcp,80")] {
            assert!(parsed(&bad).is_err(), "{bad}");
        }
    }
}
