use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{Running, built, succeed};

/// A network namespace, removed in the end.
pub struct Namespace {
    name: String,
    folder: PathBuf,
}

/// The TAP in a [`Namespace`].
pub const TAP: &str = "tap0";

impl Namespace {
    /// A new one with a TAP in it, up, whose host side is 10.0.0.1/24, fd00::1/64 and fe80::1/64.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it has effects")]
    pub fn new() -> Self {
        let namespace = Self::empty();
        namespace.tap();
        for address in ["10.0.0.1/24 broadcast +", "fd00::1/64", "fe80::1/64"] {
            namespace.ip(&format!("addr add {address} dev {TAP}"));
        }
        namespace
    }

    /// A new one without a TAP.
    #[must_use]
    pub fn empty() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mnet-{}-{count}", std::process::id());
        let folder = env::temp_dir().join(&name);
        succeed(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self { name, folder };
        // Linux's own addresses are there at once, and nothing comes by itself.
        for (name, value) in [("accept_dad", "0"), ("accept_ra", "0"), ("addr_gen_mode", "1")] {
            namespace.set(&format!("ipv6/conf/default/{name}"), value);
        }
        // Errors are to come as often as there is cause.
        namespace.set("ipv4/icmp_ratelimit", "0");
        namespace.set("ipv6/icmp/ratelimit", "0");
        namespace.ip("link set lo up");
        namespace
    }

    /// Makes its TAP, without an address.
    pub fn tap(&self) {
        self.ip(&format!("tuntap add {TAP} mode tap"));
        self.ip(&format!("link set {TAP} up"));
    }

    /// Connects it to another by a wire that takes packets of `mtu` bytes, whose ends are named
    /// after what is at the other end.
    pub fn connect(&self, (to, name): (&Self, &str), back: &str, mtu: u16) {
        let peer = &to.name;
        self.ip(&format!("link add {name} mtu {mtu} type veth peer {back} mtu {mtu} netns {peer}"));
        for (namespace, interface, host) in [(self, name, 1), (to, back, 2)] {
            namespace.ip(&format!("link set {interface} up"));
            // Routers ask for neighbours from a link-local address, where there is IPv6.
            if mtu >= 1_280 {
                namespace.ip(&format!("addr add fe80::{host}/64 dev {interface}"));
            }
        }
    }

    /// Makes it a router of both families.
    pub fn forward(&self) {
        self.set("ipv4/ip_forward", "1");
        self.set("ipv6/conf/all/forwarding", "1");
    }

    /// Sets one of its settings, whose name is a path in /proc/sys/net.
    pub fn set(&self, name: &str, value: &str) {
        self.inside(|| fs::write(Path::new("/proc/sys/net").join(name), value)).unwrap();
    }

    /// `ip` inside of it; gives what that prints.
    pub fn ip(&self, arguments: &str) -> String {
        succeed(Command::new("ip").args(["-n", &self.name]).args(arguments.split(' ')))
    }

    /// Runs a program inside of it that is to succeed, and gives what it prints. The arguments are
    /// separated by spaces.
    pub fn run(&self, program: &str, arguments: &str) -> String {
        succeed(self.command(program).args(arguments.split(' ')))
    }

    /// Starts a program inside of it, whose arguments are separated by spaces.
    #[must_use]
    pub fn start(&self, program: &str, arguments: &str) -> Running {
        Running::start(self.command(program).args(arguments.split(' ')))
    }

    /// Starts echo on its TAP with these arguments, separated by spaces.
    #[must_use]
    pub fn echo(&self, arguments: &str) -> Running {
        self.image(&built().echo, arguments)
    }

    /// Starts an image on its TAP with these arguments, separated by spaces.
    #[must_use]
    pub fn image(&self, image: &Path, arguments: &str) -> Running {
        let mut command = self.command(&built().tender);
        command.arg(format!("--net:service={TAP}")).arg(image);
        Running::start(command.args(arguments.split(' ')))
    }

    /// A command that runs inside of it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref());
        command
    }

    /// Does something on a thread that is inside of it.
    pub fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name)).unwrap();
        thread::scope(|scope| {
            let inside = || {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), network).unwrap();
                f()
            };
            scope.spawn(inside).join().unwrap()
        })
    }

    /// The path of a file that is removed with it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        fs::create_dir_all(&self.folder).unwrap();
        self.folder.join(name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
