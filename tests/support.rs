//! What the tests of whole images have in common: the commands, built once, and a running image.

#![allow(clippy::unwrap_used, reason = "it is for tests")]

use std::cell::RefCell;
use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The workspace's folder.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The programs `cargo-mnet` and `mnet-tender`, as a user gets them, and echo's image.
pub struct Built {
    /// `cargo-mnet`.
    pub command: PathBuf,
    /// `mnet-tender`.
    pub tender: PathBuf,
    /// The image of echo for spt.
    pub echo: PathBuf,
}

/// Builds them, once for all tests of a program.
pub fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--release", "--package=cargo-mnet", "--package=tender"]);
        assert!(cargo.current_dir(workspace()).status().unwrap().success());
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| workspace().join("target"), |target| workspace().join(target));
        let release = target.join("release");
        let command = release.join("cargo-mnet");
        let echo = image(&command, "spt");
        Built { command, tender: release.join("mnet-tender"), echo }
    })
}

/// Builds echo for a platform: the last line that the command prints is the image's path.
#[must_use]
pub fn image(command: &Path, platform: &str) -> PathBuf {
    let mut build = Command::new(command);
    build.args(["build", "echo", "--platform", platform]).current_dir(workspace());
    let output = build.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap().into()
}

/// A program that runs, and is ended with the test.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    // Not yet taken.
    said: RefCell<Vec<String>>,
    /// When it was started.
    pub started: Instant,
}

impl Running {
    /// Starts a program; what it says on both outputs can be waited for.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let started = Instant::now();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Self { child, lines, said: RefCell::default(), started }
    }

    /// Waits for a line that contains `text`, and takes it. Lines before it stay, for its two outputs
    /// come in no order.
    #[must_use]
    pub fn line(&self, text: &str) -> String {
        let mut said = self.said.borrow_mut();
        let mut next = 0;
        loop {
            if next == said.len() {
                match self.lines.recv_timeout(PATIENCE) {
                    Ok(line) => said.push(line),
                    Err(_) => panic!("it did not say {text:?}, but {said:#?}"),
                }
            }
            if said[next].contains(text) {
                return said.remove(next);
            }
            next += 1;
        }
    }

    /// Waits until an echo unikernel is ready.
    #[must_use]
    pub fn ready(self) -> Self {
        let _ = self.line("ready: ");
        self
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process(self.pid(), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// A network namespace with a TAP in it, up, whose host side is 10.0.0.1/24; removed in the end.
pub struct Namespace {
    name: String,
}

/// The TAP in a [`Namespace`].
pub const TAP: &str = "tap0";

impl Namespace {
    /// A new one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it has effects")]
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("mnet-{}-{count}", std::process::id()) };
        succeed(Command::new("ip").args(["netns", "add", &namespace.name]));
        for line in [
            "link set lo up",
            "tuntap add tap0 mode tap",
            "addr add 10.0.0.1/24 dev tap0",
            "link set tap0 up",
        ] {
            namespace.ip(line);
        }
        namespace
    }

    /// `ip` inside of it; gives what that prints.
    pub fn ip(&self, arguments: &str) -> String {
        succeed(Command::new("ip").args(["-n", &self.name]).args(arguments.split(' ')))
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
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), network).unwrap();
                f()
            };
            scope.spawn(inside).join().unwrap()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// Runs a command that is to succeed, and gives what it prints.
pub fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// A socket of the host that is connected to `to`.
#[must_use]
pub fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // A burst of large answers is more than Linux keeps for a socket unasked.
    set_socket_recv_buffer_size(&socket, 4 << 20).unwrap();
    socket
}

/// Sends `count` datagrams of `length` bytes one after the other; each must come back whole.
pub fn ping_pong(socket: &UdpSocket, length: usize, count: u32) {
    let mut sent = vec![0; length];
    let mut received = vec![0; length + 1];
    for number in 0..count {
        for (i, byte) in sent.iter_mut().enumerate() {
            *byte = (number as usize * 31 + i * 7) as u8;
        }
        socket.send(&sent).unwrap();
        let got = socket.recv(&mut received).unwrap();
        assert_eq!(&received[..got], sent, "number {number} of {length} bytes");
    }
}

/// Sends 200 datagrams of `length` bytes back to back; each must come back.
pub fn burst(socket: &UdpSocket, length: usize) {
    let mut missing: Vec<_> = vec![true; 200];
    for number in 0..200u8 {
        let mut datagram = vec![0xa5; length];
        datagram[0] = number;
        socket.send(&datagram).unwrap();
    }
    let mut received = vec![0; length + 1];
    while missing.contains(&true) {
        let got = socket.recv(&mut received);
        let left = missing.iter().filter(|&&missing| missing).count();
        let got = got.unwrap_or_else(|error| panic!("{left} of 200 did not come back: {error}"));
        assert_eq!(got, length);
        missing[usize::from(received[0])] = false;
    }
}
