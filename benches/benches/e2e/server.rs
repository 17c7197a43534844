//! Who answers.

use std::net::UdpSocket;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use mnet_tests::{Namespace, PATIENCE, Running, TAP, build, built, client};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};

use crate::load::Load;
use crate::memory::Resident;

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The echo image in the tender, on a TAP.
    Spt,
    /// A loop that reads a TAP, swaps the addresses, and writes: all that a TAP can do.
    Reflector,
    /// A loop around `recvfrom` and `sendto`, behind a veth.
    Linux,
    /// The echo unikernel as a Linux process, on a TAP.
    Hosted,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Spt, Self::Reflector, Self::Linux, Self::Hosted];
}

/// One that runs, in a namespace from which it can be reached.
pub(crate) struct Server {
    kind: Kind,
    running: Running,
    // Where the load is, and, behind the veth, the server.
    namespace: Namespace,
    _behind: Option<Namespace>,
}

const ADDRESS: &str = "--ipv4=10.0.0.2/24";
/// Where each of them answers.
pub(crate) const ECHO: ([u8; 4], u16) = ([10, 0, 0, 2], 7);

impl Server {
    /// Starts it in a namespace of its own.
    pub(crate) fn start(kind: Kind) -> Self {
        let (namespace, other) = if kind == Kind::Linux {
            let (near, far) = (Namespace::empty(), Namespace::empty());
            near.connect((&far, "far"), "near", 1_500);
            near.ip("addr add 10.0.0.1/24 dev far");
            far.ip("addr add 10.0.0.2/24 dev near");
            (near, Some(far))
        } else {
            (Namespace::new(), None)
        };
        let running = Self::start_in(other.as_ref().unwrap_or(&namespace), kind);
        let server = Self { kind, running, namespace, _behind: other };
        server.inside(first_reply);
        server
    }

    /// Starts it in this namespace, from which it is talked to, or not at all.
    fn start_in(namespace: &Namespace, kind: Kind) -> Running {
        let this = env::current_exe().unwrap();
        let on_tap = |program: PathBuf, argument: &str| {
            let mut command = namespace.command(&this);
            Running::start(command.arg("--on-tap").arg(program).arg(argument))
        };
        match kind {
            Kind::Spt => namespace.echo(ADDRESS),
            Kind::Reflector => on_tap(this.clone(), "--reflect"),
            Kind::Linux => Running::start(namespace.command(&this).arg("--linux")),
            Kind::Hosted => on_tap(build("echo", "hosted"), ADDRESS),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Spt => "spt",
            Kind::Reflector => "reflector",
            Kind::Linux => "Linux",
            Kind::Hosted => "hosted",
        }
    }

    /// Does something where its load is.
    pub(crate) fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.namespace.inside(f)
    }

    /// How much of a processor it has had, with all its processes.
    pub(crate) fn cpu_time(&self) -> Duration {
        processes(self.running.pid().as_raw_nonzero().to_string())
            .map(|process| {
                let stat = fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap();
                Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
            })
            .sum()
    }
}

/// How long after its start an image answers first.
pub(crate) fn start(namespace: &Namespace) -> Duration {
    // From within the namespace, lest the start of `ip netns exec` be measured too.
    let running = namespace.inside(|| {
        let mut tender = Command::new(&built().tender);
        let network = format!("--net:service={TAP}");
        Running::start(tender.arg(network).arg(&built().echo).arg(ADDRESS))
    });
    let replied = namespace.inside(first_reply);
    replied - running.started
}

/// What tender and image have in memory once they have served a load, with as many packets as the
/// argument says.
pub(crate) fn resident(namespace: &Namespace, packets: &str, load: &Load) -> Resident {
    let running = namespace.echo(&format!("{ADDRESS} {packets}"));
    namespace.inside(first_reply);
    let outcome = namespace.inside(|| load.run(ECHO.into()));
    assert!(outcome.received > 0);
    Resident::of(processes(running.pid().as_raw_nonzero().to_string()))
}

/// A process and its children.
fn processes(parent: String) -> impl Iterator<Item = String> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let children: Vec<_> = children.split_whitespace().map(str::to_owned).collect();
    [parent].into_iter().chain(children)
}

/// Waits until the server answers.
fn first_reply() -> Instant {
    let socket = client(ECHO.into());
    socket.set_nonblocking(true).unwrap();
    // A socket's own timeout would be one of whole ticks of the kernel, which are as long as a start.
    let pause = Timespec { tv_sec: 0, tv_nsec: 200_000 };
    let patience = Instant::now() + PATIENCE;
    while Instant::now() < patience {
        // Nobody may be there yet.
        let _ = socket.send(b"?");
        let _ = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&pause));
        if socket.recv(&mut [0; 1]).is_ok() {
            return Instant::now();
        }
    }
    panic!("the server does not answer");
}

/// Runs a program on the TAP, as `cargo mnet run --platform hosted` does.
pub(crate) fn on_tap(program: &str, argument: &str) {
    let mut config = tender::Config::new(program);
    config.networks.push(("service".to_owned(), tender::Network::Tap(TAP.to_owned())));
    config.args.push(argument.to_owned());
    tender::run_hosted(&config).unwrap();
}

/// The Linux process.
pub(crate) fn echo() {
    let socket = UdpSocket::bind(("0.0.0.0", ECHO.1)).unwrap();
    let mut buffer = [0; 2_048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(&buffer[..length], from).unwrap();
    }
}

/// The reflector, on the TAP that the tender has opened for it: `--net:service=@DESCRIPTOR`.
pub(crate) fn reflect(network: &str) {
    let descriptor = network.rsplit_once('@').unwrap().1.parse().unwrap();
    // SAFETY: The tender has opened it for this process, which has it until it ends.
    let tap = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let mut frame = [0; 2_048];
    loop {
        match read(tap, &mut frame) {
            Ok(length) => {
                if turn(&mut frame[..length]) {
                    write(tap, &frame[..length]).unwrap();
                }
            }
            Err(Errno::AGAIN) => drop(poll(&mut [PollFd::new(&tap, PollFlags::IN)], None).unwrap()),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Makes an answer of a frame: of a request for an Ethernet address, or of a datagram. Swapped
/// addresses leave all checksums as they are.
fn turn(frame: &mut [u8]) -> bool {
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
    let swap = |frame: &mut [u8], a: usize, b: usize, length: usize| {
        let (front, back) = frame.split_at_mut(b);
        front[a..a + length].swap_with_slice(&mut back[..length]);
    };
    match (frame.get(12..14), frame.len()) {
        (Some([0x08, 0x06]), 42..) if frame[21] == 1 && frame[38..42] == ECHO.0 => {
            frame.copy_within(6..12, 0);
            frame[6..12].copy_from_slice(&MAC);
            frame[21] = 2;
            swap(frame, 22, 32, 10);
            frame[22..28].copy_from_slice(&MAC);
            true
        }
        (Some([0x08, 0x00]), 42..) if frame[23] == 17 => {
            swap(frame, 0, 6, 6);
            swap(frame, 26, 30, 4);
            swap(frame, 34, 36, 2);
            true
        }
        _ => false,
    }
}
