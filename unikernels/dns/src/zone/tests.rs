#![allow(clippy::unwrap_used, reason = "they are tests")]

use super::*;

fn ask(name: &str, kind: &str) -> Answer {
    let zone = Zone::parse(include_str!("../example.zone")).unwrap();
    zone.answer(&Name::from_ascii(name).unwrap(), kind.parse().unwrap())
}

/// The records as text: what answers, what is known of servers, what is added.
fn said(answer: &Answer) -> [Vec<String>; 3] {
    let text = |record: &Record| format!("{} {} {}", record.name, record.ttl, record.data);
    [&answer.answers, &answer.authorities, &answer.additionals]
        .map(|records| records.iter().map(text).collect())
}

const NEGATIVE: &str = "example. 300 ns.example. hostmaster.example. 1 7200 900 1209600 300";

#[test]
fn a_name_has_the_records_of_the_type() {
    let [answers, authorities, additionals] = said(&ask("www.example.", "A"));
    assert_eq!(answers, ["www.example. 300 192.0.2.80"]);
    assert!(authorities.is_empty() && additionals.is_empty());
    let [answers, ..] = said(&ask("WWW.Example.", "AAAA"));
    assert_eq!(answers, ["WWW.Example. 300 2001:db8::80"]);
    let [answers, ..] = said(&ask("example.", "TXT"));
    assert_eq!(answers.len(), 1);
}

#[test]
fn the_addresses_of_those_that_are_named_are_added() {
    let [answers, _, additionals] = said(&ask("example.", "MX"));
    assert_eq!(answers, ["example. 3600 10 mail.example."]);
    assert_eq!(additionals, ["mail.example. 3600 192.0.2.25"]);
    let [_, _, additionals] = said(&ask("_http._tcp.example.", "SRV"));
    assert_eq!(additionals.len(), 2);
}

#[test]
fn what_is_not_there_is_told_with_the_time_that_this_lasts() {
    let answer = ask("nonesuch.example.", "A");
    assert!(answer.no_such_name && !answer.refused);
    assert_eq!(said(&answer), [vec![], vec![NEGATIVE.to_string()], vec![]]);
    // A name that is there without such records, and one that is only above others.
    for (name, kind) in [("www.example.", "MX"), ("_tcp.example.", "A"), ("any.example.", "A")] {
        let answer = ask(name, kind);
        assert!(!answer.no_such_name && !answer.refused, "{name}");
        assert_eq!(said(&answer), [vec![], vec![NEGATIVE.to_string()], vec![]]);
    }
}

#[test]
fn aliases_are_followed_within_the_zone() {
    let [answers, ..] = said(&ask("web.example.", "A"));
    assert_eq!(answers, ["web.example. 300 www.example.", "www.example. 300 192.0.2.80"]);
    let [answers, authorities, _] = said(&ask("elsewhere.example.", "A"));
    assert_eq!((answers, authorities.len()), (vec!["elsewhere.example. 300 www.test.".into()], 0));
    assert!(!ask("elsewhere.example.", "A").refused);
    let [answers, ..] = said(&ask("web.example.", "CNAME"));
    assert_eq!(answers.len(), 1);
    let [answers, authorities, _] = said(&ask("web.example.", "MX"));
    assert_eq!((answers.len(), authorities), (1, vec![NEGATIVE.to_string()]));
}

#[test]
fn aliases_that_go_round_end() {
    let text = "z. 1 SOA z. z. 1 1 1 1 1\na.z. 1 CNAME b.z.\nb.z. 1 CNAME a.z.";
    let answer = Zone::parse(text).unwrap().answer(&"a.z.".parse().unwrap(), RecordType::A);
    assert_eq!(answer.answers.len(), ALIASES);
}

#[test]
fn a_wildcard_is_for_what_is_below_and_is_not_there() {
    let [answers, ..] = said(&ask("x.any.example.", "A"));
    assert_eq!(answers, ["x.any.example. 60 192.0.2.99"]);
    let [answers, ..] = said(&ask("x.y.any.example.", "A"));
    assert_eq!(answers, ["x.y.any.example. 60 192.0.2.99"]);
    let [answers, authorities, _] = said(&ask("x.any.example.", "AAAA"));
    assert_eq!((answers.len(), authorities.len()), (0, 1));
    // RFC 4592 §2.2.1: a name that is there hides the wildcard from what is below it.
    let text = "z. 1 SOA z. z. 1 1 1 1 1\n*.z. 1 A 192.0.2.1\nhost.z. 1 A 192.0.2.2";
    let zone = Zone::parse(text).unwrap();
    assert!(zone.answer(&"x.host.z.".parse().unwrap(), RecordType::A).no_such_name);
    assert!(!zone.answer(&"x.z.".parse().unwrap(), RecordType::A).no_such_name);
}

#[test]
fn what_another_server_answers_for_is_referred_to_it() {
    for name in ["sub.example.", "www.sub.example.", "ns.sub.example."] {
        let answer = ask(name, "A");
        assert!(answer.referral && !answer.no_such_name);
        assert_eq!(
            said(&answer),
            [
                vec![],
                vec!["sub.example. 3600 ns.sub.example.".to_string()],
                vec!["ns.sub.example. 3600 192.0.2.54".to_string()],
            ]
        );
    }
    let keys = ask("sub.example.", "DS");
    assert!(!keys.referral && keys.authorities[0].record_type() == RecordType::SOA);
}

#[test]
fn other_zones_are_nobodys_business_here() {
    for name in ["test.", "example.test.", ".", "notexample."] {
        assert!(ask(name, "A").refused, "{name}");
    }
}

#[test]
fn all_is_some() {
    let [answers, ..] = said(&ask("www.example.", "ANY"));
    assert_eq!(answers, ["www.example. 300 192.0.2.80"]);
}

#[test]
fn a_zone_that_is_none_is_told_why() {
    for (text, error) in [
        ("www.z. 1 A 192.0.2.1", "a zone has a record of type SOA, and this has none"),
        (
            "z. 1 SOA z. z. 1 1 1 1 1\nwww.y. 1 A 192.0.2.1",
            "www.y. is not in the zone that the SOA record names",
        ),
        (
            "z 1 A 192.0.2.1",
            "not a record: 'z 1 A 192.0.2.1'; a record is NAME TTL TYPE DATA, and names end with a dot",
        ),
    ] {
        assert_eq!(Zone::parse(text).err().unwrap().to_string(), error);
    }
    for line in ["", "z.", "z. 1", "z. 1 A", "z. x A 192.0.2.1", "z. 1 NONE x", "z. 1 A 1.2.3"] {
        assert!(parse_line(line).is_err(), "{line}");
    }
}
