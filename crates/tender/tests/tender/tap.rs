//! TAPs, in network namespaces that these tests make and remove.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use solo5_abi::Entry;

use crate::guest::{Code, Image, Output, output, spin};

/// A network namespace of its own, removed in the end.
struct Namespace(String);

impl Namespace {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self(format!("tender-{}-{count}", std::process::id()));
        ip(&["netns", "add", &namespace.0]);
        namespace
    }

    /// `ip` with these arguments, inside.
    fn ip(&self, args: &str) -> &Self {
        ip(&[&["-n", &self.0][..], &args.split(' ').collect::<Vec<_>>()].concat());
        self
    }

    /// A command that runs inside.
    fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.0]).arg(command.get_program()).args(command.get_args());
        inside.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        inside
    }

    /// A TAP of it, open for programs that are started from here.
    fn open(&self, interface: &str, flags: i32) -> File {
        let namespace = File::open(format!("/run/netns/{}", self.0)).unwrap();
        let open = || {
            // SAFETY: it moves this thread alone, which ends right after.
            assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
            let tap = File::options().read(true).write(true).open("/dev/net/tun").unwrap();
            // SAFETY: TUNSETIFF takes such a request, of which zeros are one without a name, and
            // F_SETFD takes a number.
            unsafe {
                let mut request: libc::ifreq = std::mem::zeroed();
                for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
                    *to = from as libc::c_char;
                }
                request.ifr_ifru.ifru_flags = flags as i16;
                assert_eq!(libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &mut request), 0);
                assert_eq!(libc::fcntl(tap.as_raw_fd(), libc::F_SETFD, 0), 0);
            }
            tap
        };
        std::thread::scope(|scope| scope.spawn(open).join().unwrap())
    }

    fn run(&self, image: &Image, options: &[&str]) -> Output {
        output(self.inside(&image.tender(options, &[])))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

fn ip(args: &[&str]) {
    assert!(Command::new("ip").args(args).status().unwrap().success(), "ip {args:?}");
}

/// An image that exits with the low byte of its MTU, or of its MAC address.
fn tells(offset: u64) -> Image {
    let properties = solo5_abi::spt::BOOT_INFO_BASE + 40 + 8 + 104 + 72;
    Code::default().exit_with(properties + offset).image(&[Entry::net("service")])
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn an_image_is_told_the_mtu_of_its_tap_and_its_address() {
    let namespace = Namespace::new();
    namespace.ip("tuntap add tap0 mode tap").ip("link set tap0 mtu 1400 up");
    let mac = "--net-mac:service=02:00:00:00:00:2a";
    for network in ["--net:service=tap0", "--net:service=tap:tap0"] {
        let output = namespace.run(&tells(6), &[network, mac]);
        assert_eq!((output.status, &*output.stderr), (1400 & 0xff, ""));
        assert_eq!(namespace.run(&tells(5), &[network, mac]).status, 0x2a);
    }
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_tap_that_cannot_be_attached_is_named_with_what_to_do() {
    let namespace = Namespace::new();
    namespace
        .ip("tuntap add tap0 mode tap")
        .ip("tuntap add tap1 mode tap")
        .ip("tuntap add tun0 mode tun")
        .ip("link set tap1 up")
        .ip("link set tun0 up")
        .ip("link set lo up");
    let image = tells(0);
    let said = |option: &str| {
        let output = namespace.run(&image, &[option]);
        assert_eq!(output.status, 1, "{output:?}");
        output.stderr
    };
    let prefix = "mnet-tender: the network service: ";
    assert_eq!(
        said("--net:service=tap9"),
        format!(
            "{prefix}there is no interface tap9; make it, as root: ip tuntap add tap9 mode tap user $USER\n"
        )
    );
    assert_eq!(
        said("--net:service=tap0"),
        format!("{prefix}the interface tap0 is down; bring it up, as root: ip link set tap0 up\n")
    );
    for interface in ["tun0", "lo"] {
        assert_eq!(
            said(&format!("--net:service={interface}")),
            format!(
                "{prefix}the interface {interface} is no TAP of one queue; make one, as root: \
                 ip tuntap add NAME mode tap\n"
            )
        );
    }

    let spin = spin().image(&[Entry::net("service")]);
    let command = namespace.inside(&spin.tender(&["--net:service=tap1"], &[]));
    // `ip netns exec` becomes the tender.
    let running = crate::guest::Running::start(command, 0);
    running.image();
    assert_eq!(
        said("--net:service=tap1"),
        format!("{prefix}the TAP tap1 is busy; stop the program that has it, or give another\n")
    );
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_tap_of_another_user_is_forbidden() {
    let namespace = Namespace::new();
    namespace.ip("tuntap add tap0 mode tap user 1").ip("link set tap0 up");
    let image = tells(0);
    let tender = image.tender(&["--net:service=tap0"], &[]);
    let mut as_nobody = Command::new("setpriv");
    as_nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    // A copy where everybody may read it: the build may lie in a directory that is private.
    let copy = crate::guest::temporary("tender");
    std::fs::copy(tender.get_program(), &copy).unwrap();
    as_nobody.arg(&copy).args(tender.get_args());
    let output = output(namespace.inside(&as_nobody));
    std::fs::remove_file(copy).unwrap();
    assert_eq!(output.status, 1);
    assert!(
        output.stderr.contains("the TAP tap0 is forbidden to this user")
            || output.stderr.contains("/dev/net/tun is forbidden to this user"),
        "{output:?}"
    );
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn an_open_tap_is_taken_over_by_its_descriptor() {
    let namespace = Namespace::new();
    namespace
        .ip("tuntap add tap0 mode tap")
        .ip("link set tap0 mtu 1300 up")
        .ip("tuntap add tun0 mode tun");
    let image = tells(6);
    let run = |interface: &str, flags: i32| {
        let tap = namespace.open(interface, flags | libc::IFF_NO_PI);
        let descriptor = tap.as_raw_fd();
        let option = format!("--net:service=@{descriptor}");
        output(namespace.inside(&image.tender(&[&option], &[])))
    };
    assert_eq!(run("tap0", libc::IFF_TAP).status, 1300 & 0xff);
    let refused = run("tun0", libc::IFF_TUN);
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.ends_with(" is a TUN; open a TAP: with IFF_TAP and IFF_NO_PI\n"));
}
