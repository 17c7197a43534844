use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::PATIENCE;

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

    /// The host's end of a port, from the line that says so.
    #[must_use]
    pub fn published(&self, guest: u16) -> SocketAddr {
        let line = self.line(&format!("-> service port {guest}"));
        let (_, address) = line.split_once(": ").unwrap();
        address.split_once("/udp").unwrap().0.parse().unwrap()
    }

    /// Waits until a unikernel is ready.
    #[must_use]
    pub fn ready(self) -> Self {
        let _ = self.line("ready: ");
        self
    }

    /// Waits for a line about an address that the image now has which contains `text`, such as
    /// `, by DHCP`, and gives the address.
    #[must_use]
    pub fn address(&self, text: &str) -> IpAddr {
        let line = self.line(text);
        let address = line.split("service: ").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("no address in {line:?}"))
    }

    /// Whether it says a line that contains `text` in that time.
    #[must_use]
    pub fn says(&self, text: &str, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            let mut said = self.said.borrow_mut();
            if said.iter().any(|line| line.contains(text)) {
                return true;
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => said.push(line),
                Err(_) => return false,
            }
        }
    }

    /// Interrupts it, and gives what it has said until its end and was not yet taken.
    #[must_use]
    pub fn finish(mut self) -> Vec<String> {
        self.signal(Signal::INT);
        self.wait();
        let mut said = self.said.take();
        said.extend(self.lines.iter());
        said
    }

    /// The image's process: `ip netns exec` becomes the tender, and the image is its child.
    #[must_use]
    pub fn image(&self) -> String {
        let tender = self.pid().as_raw_nonzero();
        let children = format!("/proc/{tender}/task/{tender}/children");
        fs::read_to_string(children).unwrap().trim().to_owned()
    }

    /// How much memory the image's process has in use, in KiB.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.image())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
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

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
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
