//! What lookups promise, against servers that a test scripts, on two stacks and a cable.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

mod server;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use mkernel::block_on;
use mnet::{Destination, IcmpError, SendError};
use mnet_resolve::wire::op::{Message, MessageType};
use mnet_resolve::wire::rr::rdata::{NULL, TXT};
use mnet_resolve::{Cache, RData, Record, RecordType, ResolveError, Resolver, ResponseCode};

use crate::server::{Network, OTHER, a, cname, name, reply, soa};

const SHORT: Duration = Duration::from_millis(60);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_literal_address_is_its_own_and_nobody_is_asked() {
    block_on(async {
        let network = Network::new();
        let resolver = Resolver::new(&network.client);
        for address in ["192.0.2.1", "2001:db8::1"] {
            assert_eq!(resolver.lookup_ip(address).await, Ok(vec![ip(address)]));
        }
        assert_eq!(resolver.lookup_ip("a.test").await, Err(ResolveError::NoServers));
        for bad in ["", "..", "a..b", &"a".repeat(64), &"a.".repeat(128), "a b"] {
            assert_eq!(resolver.lookup_ip(bad).await, Err(ResolveError::NotAName), "{bad:?}");
        }
    });
}

#[test]
fn addresses_of_both_families_come_by_aliases_and_nothing_else_does() {
    block_on(async {
        let network = Network::new();
        let server = network.serve(53, |query, _| {
            let mut answer = reply(query);
            answer.answers.push(a("evil.test", 60, "192.0.2.66"));
            answer.answers.push(cname("b.test", 30, "C.test"));
            answer.answers.push(cname("A.test", 60, "b.test"));
            if query.queries[0].query_type == RecordType::A {
                answer.answers.push(a("c.TEST", 60, "192.0.2.1"));
                answer.answers.push(a("c.test", 60, "192.0.2.2"));
            } else {
                let address = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap();
                let data = RData::AAAA(address.into());
                answer.answers.push(Record::from_rdata(name("c.test"), 60, data));
            }
            answer.additionals.push(a("also.test", 60, "192.0.2.67"));
            vec![answer]
        });
        let resolver = Resolver::new(&network.client).servers([server.address]);
        let expected = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(ip);
        assert_eq!(resolver.lookup_ip("a.test").await.unwrap(), expected);
        let answer = resolver.lookup("a.test.", RecordType::A).await.unwrap();
        assert_eq!(answer.records().len(), 4);
        assert_eq!(answer.lifetime(), Duration::from_secs(30));
    });
}

#[test]
fn an_alias_that_a_server_leaves_open_is_asked_for() {
    block_on(async {
        let network = Network::new();
        let server = network.serve(53, |query, _| {
            let mut answer = reply(query);
            answer.answers.push(match query.queries[0].name.to_ascii().as_str() {
                "a.test." => cname("a.test", 60, "b.test"),
                _ => a("b.test", 60, "192.0.2.1"),
            });
            vec![answer]
        });
        let resolver = Resolver::new(&network.client).servers([server.address]);
        let answer = resolver.lookup("a.test", RecordType::A).await.unwrap();
        assert_eq!(answer.addresses().collect::<Vec<_>>(), [ip("192.0.2.1")]);
    });
}

#[test]
fn aliases_in_a_circle_are_a_loop_in_one_answer_or_in_many() {
    block_on(async {
        let network = Network::new();
        let whole = network.serve(53, |query, _| {
            let mut answer = reply(query);
            answer.answers.push(cname("a.test", 60, "b.test"));
            answer.answers.push(cname("b.test", 60, "a.test"));
            vec![answer]
        });
        let open = network.serve(54, |query, count| {
            let mut answer = reply(query);
            let from = query.queries[0].name.to_ascii();
            answer.answers.push(cname(&from, 60, &format!("n{count}.test")));
            vec![answer]
        });
        for server in [whole.address, open.address] {
            let resolver = Resolver::new(&network.client).servers([server]);
            let answer = resolver.lookup("a.test", RecordType::A).await;
            assert_eq!(answer.unwrap_err(), ResolveError::Loop);
        }
        assert_eq!((whole.asked(), open.asked()), (1, 17));
    });
}

#[test]
fn a_negative_answer_is_believed_as_long_as_its_zone_says() {
    block_on(async {
        let network = Network::new();
        let server = network.serve(53, |query, _| {
            let mut answer = reply(query);
            match query.queries[0].name.to_ascii().as_str() {
                "no.such.test." => {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                    answer.authorities.push(soa("evil.example", 9_000, 9_000));
                    answer.authorities.push(soa("such.test", 900, 70));
                }
                "other.zone." => answer.authorities.push(soa("test", 900, 70)),
                _ => answer.authorities.push(soa("test", 50, 7_000_000)),
            }
            vec![answer]
        });
        let resolver = Resolver::new(&network.client)
            .servers([server.address])
            .cache(Cache::new(NonZeroUsize::new(8).unwrap()));
        let lifetime = Duration::from_secs(70);
        let answer = resolver.lookup_ip("no.such.test").await;
        assert_eq!(answer, Err(ResolveError::NotFound { lifetime }));
        let lifetime = Duration::from_secs(50);
        let answer = resolver.lookup("a.test", RecordType::TXT).await;
        assert_eq!(answer.unwrap_err(), ResolveError::NoRecords { lifetime });
        assert_eq!(server.asked(), 3);
        // It is remembered, and what no zone of the name has said is not.
        assert!(resolver.lookup_ip("NO.such.test").await.is_err());
        assert_eq!(server.asked(), 3);
        let lifetime = Duration::ZERO;
        for _ in 0..2 {
            let answer = resolver.lookup("other.zone", RecordType::A).await;
            assert_eq!(answer.unwrap_err(), ResolveError::NoRecords { lifetime });
        }
        assert_eq!(server.asked(), 5);
    });
}

#[test]
fn a_silent_server_is_passed_over_and_who_answers_is_asked_first_from_then_on() {
    block_on(async {
        let network = Network::new();
        let silent = network.serve(53, |_, _| vec![]);
        let answers = network.serve(54, |query, _| {
            let mut answer = reply(query);
            answer.answers.push(a("a.test", 60, "192.0.2.1"));
            vec![answer]
        });
        let servers = [silent.address, answers.address];
        let resolver = Resolver::new(&network.client).servers(servers).timeout(SHORT);
        let started = Instant::now();
        assert!(resolver.lookup("a.test", RecordType::A).await.is_ok());
        assert!(started.elapsed() >= SHORT);
        assert!(resolver.lookup("a.test", RecordType::A).await.is_ok());
        assert_eq!((silent.asked(), answers.asked()), (1, 2));
    });
}

#[test]
fn when_nobody_answers_all_are_asked_again_and_it_ends() {
    block_on(async {
        let network = Network::new();
        let silent = [53, 54].map(|port| network.serve(port, |_, _| vec![]));
        let servers = silent.each_ref().map(|server| server.address);
        let resolver = Resolver::new(&network.client).servers(servers).timeout(SHORT);
        let started = Instant::now();
        let answer = resolver.lookup("a.test", RecordType::A).await;
        assert_eq!(answer.unwrap_err(), ResolveError::Timeout);
        assert!((SHORT * 5..SHORT * 10).contains(&started.elapsed()), "{:?}", started.elapsed());
        assert!(silent.iter().all(|server| (2..=3).contains(&server.asked())));
    });
}

#[test]
fn a_server_that_fails_is_asked_once_and_then_the_next() {
    block_on(async {
        let network = Network::new();
        let failing = [(53, ResponseCode::ServFail), (54, ResponseCode::Refused)];
        let failing = failing.map(|(port, code)| {
            network.serve(port, move |query, _| {
                let mut answer = reply(query);
                answer.metadata.response_code = code;
                vec![answer]
            })
        });
        let servers = failing.each_ref().map(|server| server.address);
        let resolver = Resolver::new(&network.client).servers(servers);
        let answer = resolver.lookup("a.test", RecordType::A).await;
        assert_eq!(answer.unwrap_err(), ResolveError::Failed(ResponseCode::Refused));
        assert_eq!(failing.each_ref().map(|server| server.asked()), [1, 1]);
    });
}

#[test]
fn a_server_that_cannot_be_reached_is_passed_over_at_once() {
    block_on(async {
        let network = Network::new();
        let answers = network.serve(54, |query, _| {
            let mut answer = reply(query);
            answer.answers.push(a("a.test", 60, "192.0.2.1"));
            vec![answer]
        });
        let closed = SocketAddr::new(answers.address.ip(), 53);
        let started = Instant::now();
        let resolver = Resolver::new(&network.client).servers([closed, answers.address]);
        assert!(resolver.lookup("a.test", RecordType::A).await.is_ok());
        let resolver = Resolver::new(&network.client).servers([closed]);
        let error = resolver.lookup("a.test", RecordType::A).await.unwrap_err();
        let unreachable =
            ResolveError::Send(SendError::DestinationUnreachable(IcmpError::PortUnreachable));
        assert_eq!(error, unreachable);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    });
}

#[test]
fn a_server_that_knows_no_edns_is_asked_without() {
    block_on(async {
        let network = Network::new();
        let server = network.serve(53, |query, _| {
            let mut answer = reply(query);
            match &query.edns {
                Some(edns) => {
                    assert_eq!(edns.max_payload(), 1_232);
                    answer.metadata.response_code = ResponseCode::FormErr;
                }
                None => answer.answers.push(a("a.test", 60, "192.0.2.1")),
            }
            vec![answer]
        });
        let resolver = Resolver::new(&network.client).servers([server.address]);
        assert!(resolver.lookup("a.test", RecordType::A).await.is_ok());
        assert_eq!(server.asked(), 2);
    });
}

#[test]
fn a_truncated_answer_is_none() {
    block_on(async {
        let network = Network::new();
        let server = network.serve(53, |query, _| {
            let mut answer = reply(query);
            answer.answers.push(a("a.test", 60, "192.0.2.1"));
            answer.metadata.truncation = true;
            vec![answer]
        });
        let resolver = Resolver::new(&network.client).servers([server.address]);
        let answer = resolver.lookup("a.test", RecordType::A).await;
        assert_eq!(answer.unwrap_err(), ResolveError::Truncated);
    });
}

#[test]
fn what_answers_another_question_is_passed_over_and_the_wait_goes_on() {
    type Change = fn(&mut Message);
    let changes: [Change; 8] = [
        |answer| answer.metadata.id ^= 1,
        |answer| answer.metadata.message_type = MessageType::Query,
        |answer| answer.metadata.op_code = mnet_resolve::wire::op::OpCode::Notify,
        |answer| answer.queries[0].name = name("b.test"),
        |answer| answer.queries[0].query_type = RecordType::TXT,
        |answer| answer.queries[0].query_class = mnet_resolve::wire::rr::DNSClass::CH,
        |answer| answer.queries.clear(),
        |answer| answer.queries.push(answer.queries[0].clone()),
    ];
    block_on(async move {
        let network = Network::new();
        let server = network.serve(53, move |query, _| {
            let wrong = changes.map(|change| {
                let mut answer = reply(query);
                answer.answers.push(a("a.test", 60, "192.0.2.66"));
                change(&mut answer);
                answer
            });
            let mut right = reply(query);
            right.queries[0].name = name("A.TEST");
            right.answers.push(a("a.test", 60, "192.0.2.1"));
            wrong.into_iter().chain([right]).collect()
        });
        let resolver = Resolver::new(&network.client).servers([server.address]);
        let answer = resolver.lookup("a.test", RecordType::A).await.unwrap();
        assert_eq!(answer.addresses().collect::<Vec<_>>(), [ip("192.0.2.1")]);
        assert_eq!(server.asked(), 1);
    });
}

#[test]
fn what_comes_from_another_port_or_address_is_passed_over() {
    block_on(async {
        let network = Network::new();
        let server = network.serve_by(53, |network, query, from: SocketAddr| {
            let forged = |address: &str| {
                let mut answer = reply(query);
                answer.answers.push(a("a.test", 60, address));
                answer.to_vec().unwrap()
            };
            vec![
                (network.other_port.clone(), forged("192.0.2.66"), from.into()),
                (
                    network.asked.clone(),
                    forged("192.0.2.67"),
                    Destination::from(from).source(OTHER),
                ),
                (network.asked.clone(), forged("192.0.2.1"), from.into()),
            ]
        });
        let resolver = Resolver::new(&network.client).servers([server.address]);
        let answer = resolver.lookup("a.test", RecordType::A).await.unwrap();
        assert_eq!(answer.addresses().collect::<Vec<_>>(), [ip("192.0.2.1")]);
    });
}

#[test]
fn each_question_has_a_port_and_an_id_of_its_own() {
    block_on(async {
        let network = Network::new();
        let server = network.serve(53, |query, _| {
            let mut answer = reply(query);
            answer.answers.push(a("a.test", 0, "192.0.2.1"));
            vec![answer]
        });
        let resolver = Resolver::new(&network.client).servers([server.address]);
        for _ in 0..64 {
            assert!(resolver.lookup("a.test", RecordType::A).await.is_ok());
        }
        let (ports, ids) = server.seen();
        assert!(ports >= 60 && ids >= 60, "{ports} ports, {ids} IDs");
    });
}

#[test]
fn a_cache_counts_ttls_down_forgets_what_is_over_and_lets_the_longest_unasked_leave() {
    block_on(async {
        let network = Network::new();
        let server = network.serve(53, |query, _| {
            let mut answer = reply(query);
            let asked = query.queries[0].name.to_ascii();
            answer.answers.push(a(&asked, 100, "192.0.2.1"));
            answer.answers.push(a(&asked, 40, "192.0.2.2"));
            vec![answer]
        });
        let resolver = Resolver::new(&network.client).servers([server.address]);
        let query = |host| mnet_resolve::Query::query(name(host), RecordType::A);
        let [one, two, three] = ["one.test", "two.test", "three.test"].map(query);
        let answer = resolver.ask(&one).await.unwrap();

        let start = mnet::Instant::from_nanos(0);
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut cache = Cache::new(NonZeroUsize::new(2).unwrap());
        cache.insert(start, &one, &answer);
        let aged = cache.get(after(39), &query("ONE.test")).unwrap();
        let ttls: Vec<_> = aged.records().iter().map(|record| record.ttl).collect();
        assert_eq!((ttls, aged.lifetime()), (vec![61, 1], Duration::from_secs(1)));
        assert_eq!(cache.get(after(40), &one), None);
        assert!(cache.is_empty());

        cache.insert(start, &one, &answer);
        cache.insert(start, &two, &resolver.ask(&two).await.unwrap());
        assert!(cache.get(after(1), &one).is_some());
        cache.insert(start, &three, &resolver.ask(&three).await.unwrap());
        assert_eq!(cache.len(), 2);
        assert!(cache.get(after(1), &one).is_some() && cache.get(after(1), &two).is_none());
    });
}

#[test]
fn records_of_any_type_are_looked_up_also_such_as_nobody_knows() {
    block_on(async {
        let network = Network::new();
        let server = network.serve(53, |query, _| {
            let mut answer = reply(query);
            let data = match query.queries[0].query_type {
                RecordType::TXT => RData::TXT(TXT::new(vec!["x".repeat(200)])),
                code => RData::Unknown { code, rdata: NULL::with(vec![1, 2, 3]) },
            };
            answer.answers.push(Record::from_rdata(name("a.test"), 60, data));
            vec![answer]
        });
        let resolver = Resolver::new(&network.client)
            .servers([server.address])
            .cache(Cache::new(NonZeroUsize::new(8).unwrap()));
        for kind in [RecordType::TXT, RecordType::Unknown(65_300)] {
            let fresh = resolver.lookup("a.test", kind).await.unwrap();
            assert_eq!(fresh.records()[0].record_type(), kind);
            assert_eq!(resolver.lookup("a.test", kind).await.unwrap(), fresh);
        }
        assert_eq!(server.asked(), 2);
    });
}
