//! What is told of this host: its addresses and its services.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use edge_mdns::domain::base::Ttl;
use edge_mdns::host::{Host, Service, ServiceAnswers};
use edge_mdns::{
    HostAnswer, HostAnswers, HostAnswersMdnsHandler, MdnsError, MdnsHandler, MdnsRequest,
    MdnsResponse,
};
use mnet::Stack;

/// Of records that say where a host is (RFC 6762 §10).
const TTL: Ttl = Ttl::from_secs(120);
/// Addresses that are told, of each family.
const MAX_ADDRESSES: usize = 4;
/// Questions in one message: each is held against all that there is to tell.
const MAX_QUESTIONS: u16 = 64;
/// Most bytes of a message that passes everywhere in one piece: 1,500 without headers.
pub(crate) const MAX_MESSAGE: usize = 1_452;

/// A service of this host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) name: String,
    /// Such as `_http` and `_tcp`.
    pub(crate) kind: [String; 2],
    pub(crate) port: u16,
    pub(crate) text: Vec<(String, String)>,
}

/// What is told, with the addresses that the host has at the time.
pub(crate) struct Answers {
    stack: Stack,
    name: String,
    offers: Vec<Offer>,
}

impl Answers {
    pub(crate) fn new(stack: &Stack, name: String, offers: Vec<Offer>) -> Self {
        Self { stack: stack.clone(), name, offers }
    }

    /// Whether all of it goes into one message, however many addresses there are.
    pub(crate) fn fit(&self) -> bool {
        // Beside the name: `local`, lengths, type, class, TTL, and an address of IPv6.
        let address = self.name.len() + 8 + 10 + 16;
        let mut room = [0; MAX_MESSAGE];
        let room = &mut room[..MAX_MESSAGE - 2 * MAX_ADDRESSES * address];
        HostAnswersMdnsHandler::new(self).handle(MdnsRequest::None, room).is_ok()
    }

    /// The host's addresses that it uses.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let addresses = self.stack.addresses();
        let used = addresses.iter().filter(|own| !own.tentative || own.cidr.address().is_ipv4());
        let (v4, v6): (Vec<_>, Vec<_>) =
            used.map(|own| own.cidr.address()).partition(IpAddr::is_ipv4);
        v4.into_iter().take(MAX_ADDRESSES).chain(v6.into_iter().take(MAX_ADDRESSES)).collect()
    }
}

impl HostAnswers for Answers {
    fn visit<F, E>(&self, mut f: F) -> Result<(), E>
    where
        F: FnMut(HostAnswer<'_>) -> Result<(), E>,
        E: From<MdnsError>,
    {
        let (ipv4, ipv6) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        let nowhere = Host { hostname: &self.name, ipv4, ipv6, ttl: TTL };
        for address in self.addresses() {
            let host = match address {
                IpAddr::V4(ipv4) => Host { ipv4, ..nowhere.clone() },
                IpAddr::V6(ipv6) => Host { ipv6, ..nowhere.clone() },
            };
            host.visit(&mut f)?;
        }
        for Offer { name, kind: [service, protocol], port, text } in &self.offers {
            let text: Vec<_> = text.iter().map(|(key, value)| (&**key, &**value)).collect();
            let service = Service {
                name,
                priority: 0,
                weight: 0,
                service,
                protocol,
                port: *port,
                service_subtypes: &[],
                txt_kvs: &text,
            };
            ServiceAnswers::new(&nowhere, &service).visit(&mut f)?;
        }
        Ok(())
    }
}

/// A handler that no message can end, or keep for long: what another cannot make sense of, or has no
/// room to answer, is passed over, and so is what asks too much.
pub(crate) struct Unfailing<H>(pub(crate) H);

impl<H: MdnsHandler> MdnsHandler for Unfailing<H> {
    fn handle<'a>(
        &mut self,
        request: MdnsRequest<'_>,
        response: &'a mut [u8],
    ) -> Result<MdnsResponse<'a>, MdnsError> {
        if let MdnsRequest::Request { data, .. } = &request
            && let Some(&[high, low]) = data.get(4..6)
            && u16::from_be_bytes([high, low]) > MAX_QUESTIONS
        {
            return Ok(MdnsResponse::None);
        }
        Ok(self.0.handle(request, response).unwrap_or(MdnsResponse::None))
    }
}
