//! The DNS server, asked by `dig` and `dnsperf`.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::{env, fs, thread};

use mnet_tests::{Namespace, build, serve, succeed};

/// What `dig` says of a question, without what differs each time.
fn dig(options: &[&str], question: &str) -> String {
    let mut dig = Command::new("dig");
    dig.args(["+tries=1", "+timeout=5", "+nostats", "+nocmd"]).args(options);
    succeed(dig.args(question.split(' ')))
}

#[test]
fn the_line_of_its_readme_serves_the_zone_that_is_built_in() {
    let (running, address) = serve("dns", 53, &[]);
    let port = address.port().to_string();
    let ask = |question: &str| dig(&["@127.0.0.1", "-p", &port], question);

    let said = ask("+short www.example.");
    assert_eq!(said, "192.0.2.80\n");
    let said = ask("WwW.example. AAAA");
    assert!(
        said.contains("status: NOERROR") && said.contains("flags: qr aa rd; QUERY: 1, ANSWER: 1")
    );
    assert!(said.contains("WwW.example.\t\t300\tIN\tAAAA\t2001:db8::80"), "{said}");
    let said = ask("+short web.example.");
    assert_eq!(said, "www.example.\n192.0.2.80\n");
    let said = ask("example. MX");
    assert!(
        said.contains("10 mail.example.")
            && said.contains("mail.example.\t\t3600\tIN\tA\t192.0.2.25")
    );
    assert_eq!(ask("+short example. TXT"), "\"a zone in a unikernel\"\n");
    assert_eq!(ask("+short x.any.example."), "192.0.2.99\n");
    let said = ask("nonesuch.example.");
    assert!(
        said.contains("status: NXDOMAIN") && said.contains("example.\t\t300\tIN\tSOA\t"),
        "{said}"
    );
    let said = ask("www.example. MX");
    assert!(said.contains("status: NOERROR") && said.contains("ANSWER: 0, AUTHORITY: 1"), "{said}");
    let said = ask("www.sub.example.");
    assert!(
        said.contains("flags: qr rd; QUERY: 1, ANSWER: 0, AUTHORITY: 1, ADDITIONAL: 2"),
        "{said}"
    );
    assert!(ask("www.test.").contains("status: REFUSED"));
    assert!(ask("+noedns www.example.").contains("ADDITIONAL: 0"));
    assert!(ask("+edns=1 +noednsneg www.example.").contains("status: BADVERS"));
    assert!(ask("www.example. +opcode=notify").contains("status: NOTIMP"));
    drop(running);
}

/// Asks some of the questions of the test below, and looks at each answer.
fn check_answers(port: &str, file: &Path) {
    let questions = fs::read_to_string(file).unwrap();
    let questions: Vec<_> = questions.lines().take(500).collect();
    let some = file.with_extension("some");
    fs::write(&some, questions.join("\n")).unwrap();
    let file = some.to_str().unwrap();
    let said = dig(&["@127.0.0.1", "-p", port], &format!("+noall +answer -f {file}"));
    fs::remove_file(&some).unwrap();
    let answers: Vec<Vec<_>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    let mut answers = answers.into_iter();
    let mut next = |name: &str, kind: &str, data: &str| {
        let answer = answers.next().unwrap();
        let [owner, _, "IN", of, rest @ ..] = &answer[..] else { panic!("{answer:?}") };
        assert_eq!((*owner, *of, &*rest.join(" ")), (name, kind, data));
    };
    for question in questions {
        match question.split_once(' ').unwrap() {
            ("web.example.", kind) => {
                next("web.example.", "CNAME", "www.example.");
                next("www.example.", kind, "192.0.2.80");
            }
            ("www.example.", "AAAA") => next("www.example.", "AAAA", "2001:db8::80"),
            (name @ "www.example.", kind) => next(name, kind, "192.0.2.80"),
            (name @ "ns.example.", kind) => next(name, kind, "192.0.2.53"),
            (name @ "mail.example.", kind) => next(name, kind, "192.0.2.25"),
            (name @ "example.", "MX") => next(name, "MX", "10 mail.example."),
            (name @ "example.", kind) => next(name, kind, "\"a zone in a unikernel\""),
            (name, kind) => next(name, kind, "192.0.2.99"),
        }
    }
    assert_eq!(answers.next(), None);
}

#[test]
fn a_hundred_thousand_queries_are_all_answered_and_right() {
    let (running, address) = serve("dns", 53, &[]);
    let mut questions = String::new();
    for number in 0..1_000 {
        let name = ["www", "web", "ns", "mail"][number % 4];
        writeln!(questions, "{name}.example. A\nx{number}.any.example. A").unwrap();
        writeln!(questions, "www.example. AAAA\nexample. MX\nexample. TXT").unwrap();
    }
    let file = env::temp_dir().join(format!("mnet-dns-{}", std::process::id()));
    fs::write(&file, questions).unwrap();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    // 5,000 questions, twenty times.
    let mut dnsperf = Command::new("dnsperf");
    dnsperf.args(["-s", &host, "-p", &port, "-n", "20", "-q", "64"]).arg("-d").arg(&file);
    let said = thread::scope(|scope| {
        let dnsperf = scope.spawn(|| succeed(&mut dnsperf));
        // It counts answers, and does not look at what they say: `dig` does, at the same time.
        loop {
            let done = dnsperf.is_finished();
            check_answers(&port, &file);
            if done {
                return dnsperf.join().unwrap();
            }
        }
    });
    fs::remove_file(&file).unwrap();
    for line in [
        "Queries sent:         100000",
        "Queries completed:    100000 (100.00%)",
        "Queries lost:         0 (0.00%)",
        "Response codes:       NOERROR 100000 (100.00%)",
    ] {
        assert!(said.contains(line), "{said}");
    }
    println!("{}", said.lines().find(|line| line.contains("per second")).unwrap());
    drop(running);
}

#[test]
#[ignore = "needs root, for a network namespace"]
fn both_families_are_answered_and_what_is_too_long_for_the_path_is_cut_off() {
    let namespace = Namespace::new();
    let records: String =
        (0..30).map(|number| format!(" --record=big.z.,1,AAAA,2001:db8::{number:x}")).collect();
    let arguments = "--ipv4=10.0.0.2/24 --ipv6=fd00::2/64 --record=z.,1,SOA,z.,z.,1,1,1,1,1";
    let image = build("dns", "spt");
    let running = namespace.image(&image, &format!("{arguments}{records}")).ready();
    let _ = running.line("fd00::2/64");
    let ask = |options: &[&str]| {
        let mut dig = namespace.command("dig");
        succeed(
            dig.args(["+tries=1", "+timeout=5", "+ignore"]).args(options).args(["big.z.", "AAAA"]),
        )
    };
    for server in ["@10.0.0.2", "@fd00::2"] {
        let whole = ask(&[server, "+bufsize=1232"]);
        assert!(whole.contains("ANSWER: 30") && !whole.contains(" tc "), "{whole}");
        let plain = ask(&[server, "+noedns"]);
        assert!(plain.contains(" tc ") && plain.contains("ANSWER: 0"), "{plain}");
    }
    drop(running);
}
