//! The guide's examples, compiled and run: its pages are documentation tests of this crate, and
//! what they run on is here.

use std::net::Ipv4Addr;
use std::time::Duration;

use mkernel::{block_on, timeout};
use mnet::{Config, Ipv4Cidr, Stack};
use netsim::device::pair;

/// Longer than any example takes.
const LONG: Duration = Duration::from_secs(30);

/// Runs an example on two hosts with a cable between them: 10.0.0.1 and 10.0.0.2.
///
/// # Panics
/// If the example fails, or does not end.
pub fn two_hosts(example: impl AsyncFnOnce(Stack, Stack) -> Result<(), mnet::Error> + 'static) {
    let (ours, theirs, _cable) = pair(1_500);
    let ended = block_on(async {
        let [ours, theirs] = [(1, ours), (2, theirs)].map(|(number, plug)| {
            let address = Ipv4Cidr::new(Ipv4Addr::new(10, 0, 0, number), 24);
            Stack::new(plug, &Config::new(address.expect("24 is a prefix length")))
        });
        let (ours, theirs) = (ours.expect("it fits"), theirs.expect("it fits"));
        timeout(LONG, example(ours, theirs)).await
    });
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error}"),
        Err(elapsed) => panic!("{elapsed}"),
    }
}

/// The pages whose examples are run.
#[cfg(doctest)]
mod pages {
    macro_rules! page {
        ($name:ident, $file:literal) => {
            #[doc = include_str!(concat!("../../src/", $file))]
            mod $name {}
        };
    }
    page!(introduction, "introduction.md");
    page!(first_service, "first-service.md");
    page!(tasks, "tasks.md");
    page!(runtime, "runtime.md");
    page!(from_std, "from-std.md");
    page!(from_tokio, "from-tokio.md");
    page!(from_ocaml, "from-ocaml.md");
    page!(testing, "testing.md");
    page!(running, "running.md");
    page!(platforms, "platforms.md");
    page!(addresses, "addresses.md");
    page!(semantics, "semantics.md");
}
