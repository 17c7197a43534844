#![allow(clippy::unwrap_used, reason = "they are tests")]

use std::net::{Ipv4Addr, Ipv6Addr};

use edge_mdns::domain::base::Ttl;
use edge_mdns::host::{Host, Service, ServiceAnswers};
use edge_mdns::{
    HostAnswers, HostAnswersMdnsHandler, MdnsHandler, MdnsRequest, MdnsResponse,
    PeerAnswersMdnsHandler,
};

use proptest::prelude::*;

use super::*;

const HTTP: [&str; 2] = ["_http", "_tcp"];

fn browser() -> Browser {
    Browser::new(vec![HTTP.map(String::from)])
}

fn host(ttl: u32) -> Host<'static> {
    let (ipv4, ipv6) = (Ipv4Addr::new(192, 0, 2, 7), Ipv6Addr::LOCALHOST);
    Host { hostname: "lamp", ipv4, ipv6, ttl: Ttl::from_secs(ttl) }
}

fn service(name: &str) -> Service<'_> {
    let [service, protocol] = HTTP;
    let (service_subtypes, txt_kvs) = (&[][..], &[][..]);
    Service { name, priority: 0, weight: 0, service, protocol, port: 80, service_subtypes, txt_kvs }
}

/// What somebody announces.
fn announced(answers: impl HostAnswers) -> Vec<u8> {
    let mut room = [0; 1_500];
    let handled = HostAnswersMdnsHandler::new(answers).handle(MdnsRequest::None, &mut room);
    let MdnsResponse::Reply { data, .. } = handled.unwrap() else { panic!("nothing to say") };
    data.to_vec()
}

fn hear(browser: &Browser, data: &[u8]) -> Result<(), MdnsError> {
    let request = MdnsRequest::Request { legacy: false, multicast: true, data };
    let heard = PeerAnswersMdnsHandler::new(browser).handle(request, &mut [])?;
    assert_eq!(heard, MdnsResponse::None);
    Ok(())
}

fn found(browser: &Browser) -> Vec<String> {
    browser.found.borrow().iter().map(ToString::to_string).collect()
}

/// What is asked, as names.
fn asked(browser: &Browser) -> Vec<String> {
    let mut names = Vec::new();
    let note = |question: HostQuestion<'_>| {
        names.push(format!("{} {}", question.qname(), question.qtype()));
        Ok::<_, MdnsError>(())
    };
    browser.visit(note).unwrap();
    names
}

#[test]
fn what_is_announced_is_found_until_its_time_is_over_or_it_says_farewell() {
    let browser = browser();
    assert_eq!(asked(&browser), ["_http._tcp.local. PTR"]);
    hear(&browser, &announced(ServiceAnswers::new(&host(120), &service("A Lamp")))).unwrap();
    let expected = "\"A Lamp\" (_http._tcp.local) at lamp.local 192.0.2.7:80 [::1]:80";
    assert_eq!(found(&browser), [expected]);
    assert!(browser.found.borrow()[0].told && !browser.is_curious());
    browser.expire(mkernel::now() + Duration::from_secs(110));
    assert_eq!(found(&browser).len(), 1);
    browser.expire(mkernel::now() + Duration::from_secs(130));
    assert!(found(&browser).is_empty());

    hear(&browser, &announced(ServiceAnswers::new(&host(120), &service("A Lamp")))).unwrap();
    hear(&browser, &announced(ServiceAnswers::new(&host(0), &service("a lamp")))).unwrap();
    assert!(found(&browser).is_empty());
}

#[test]
fn where_a_service_is_that_does_not_say_it_is_asked_so_often() {
    let browser = browser();
    let nowhere = Host { ipv4: Ipv4Addr::UNSPECIFIED, ipv6: Ipv6Addr::UNSPECIFIED, ..host(120) };
    hear(&browser, &announced(ServiceAnswers::new(&nowhere, &service("Lamp")))).unwrap();
    for _ in 0..MAX_QUESTIONS {
        assert!(browser.is_curious());
        let expected = ["_http._tcp.local. PTR", "lamp.local. A", "lamp.local. AAAA"];
        assert_eq!(asked(&browser), expected);
    }
    assert!(!browser.is_curious());
    // It may still say so.
    hear(&browser, &announced(host(120))).unwrap();
    assert_eq!(browser.found.borrow()[0].addresses.len(), 2);
}

#[test]
fn others_types_are_passed_over_and_no_more_are_kept_than_there_is_room_for() {
    let browser = browser();
    let other = Service { service: "_ipp", ..service("Printer") };
    hear(&browser, &announced(ServiceAnswers::new(&host(120), &other))).unwrap();
    assert!(found(&browser).is_empty());
    for number in 0..2 * MAX_FOUND {
        let name = format!("Lamp {number}");
        hear(&browser, &announced(ServiceAnswers::new(&host(120), &service(&name)))).unwrap();
    }
    assert_eq!(found(&browser).len(), MAX_FOUND);
    for number in 0..=u8::MAX {
        let host = Host { ipv4: Ipv4Addr::new(192, 0, 2, number), ..host(120) };
        hear(&browser, &announced(host)).unwrap();
    }
    assert!(browser.found.borrow().iter().all(|found| found.addresses.len() == MAX_ADDRESSES));
}

#[test]
fn a_message_that_is_cut_off_changes_nothing_for_the_worse() {
    let message = announced(ServiceAnswers::new(&host(120), &service("Lamp")));
    for length in 0..message.len() {
        let browser = browser();
        let _ = hear(&browser, &message[..length]);
        assert!(found(&browser).len() <= 1);
    }
}

proptest! {
    #[test]
    fn whatever_others_say_or_ask_ends_nothing(
        random: Vec<u8>, changes: Vec<(usize, u8)>, which in 0usize..4, legacy: bool,
    ) {
        let mut message = match which {
            0 => random,
            1 => {
                let mut room = [0; 1_500];
                let length = browser().query(0, &mut room).unwrap();
                room[..length].to_vec()
            }
            _ => announced(ServiceAnswers::new(&host(120), &service("Lamp"))),
        };
        for (at, byte) in changes.into_iter().take(which) {
            let at = at % message.len().max(1);
            message.iter_mut().skip(at).take(1).for_each(|it| *it = byte);
        }
        let browser = browser();
        let (host, service) = (host(120), service("Lamp"));
        let own = HostAnswersMdnsHandler::new(ServiceAnswers::new(&host, &service));
        let peers = edge_mdns::NoHandler.chain(PeerAnswersMdnsHandler::new(&browser));
        let request = MdnsRequest::Request { legacy, multicast: true, data: &message };
        let _ = peers.chain(own).handle(request, &mut [0; 1_452]);
        prop_assert!(found(&browser).len() <= MAX_FOUND && asked(&browser).len() <= 9);
    }
}
