//! The process that stays: it serves the `user` networks, waits for the image and passes on what
//! became of it.

use std::fmt;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use netdev::Instant;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, pidfd_open, pidfd_send_signal,
    waitpid,
};
use rustix::time::{ClockId, Timespec, clock_gettime};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::config::Memory;
use crate::error::Error;
use crate::hvt::Refusal;
use crate::launch::{self, Guest, Step};
use crate::net::user::{Set, UserNetwork};

/// The signals to the tender that end the image, unless this process was started to ignore them.
pub(crate) const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// What an event of the image's end carries, and a signal's.
const ENDED: u64 = 0;
const SIGNALLED: u64 = 1;
/// What the events of the first `user` network carry in their upper half.
const FIRST_NETWORK: u32 = 1;

/// How an image ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this status.
    Exited(u8),
    /// Because this process got this signal: SIGINT, SIGTERM or SIGHUP.
    Interrupted(i32),
    /// Because it made a system call that is not allowed.
    Forbidden,
    /// Because it asked its host for what there is not, or used what is not its own (hvt).
    Refused(Refusal),
    /// Because of this signal: it did what no program may, or somebody else ended it.
    Killed(i32),
}

impl Ending {
    /// The exit status to pass on.
    #[must_use]
    pub const fn status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Interrupted(signal) => 128 + (signal as u8 & 0x7f),
            Self::Forbidden | Self::Refused(_) | Self::Killed(_) => solo5_abi::EXIT_ABORT as u8,
        }
    }

    /// What a person wants to know of it: nothing, if the image ended by itself.
    #[must_use]
    pub fn message(self) -> Option<String> {
        (!matches!(self, Self::Exited(_))).then(|| self.to_string())
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match *self {
            Self::Exited(status) => return write!(f, "the image ended with status {status}"),
            Self::Interrupted(_) => return f.write_str("interrupted"),
            Self::Forbidden => "it made a system call that is not allowed",
            Self::Refused(refusal) => return write!(f, "the image was ended: {refusal}"),
            Self::Killed(signal) => match signal {
                libc::SIGSEGV | libc::SIGBUS => {
                    "it touched memory, or ran an instruction, that it may not (SIGSEGV)"
                }
                libc::SIGILL | libc::SIGTRAP => "it ran an instruction that is none (SIGILL)",
                libc::SIGFPE => "it divided by zero or the like (SIGFPE)",
                libc::SIGPIPE => {
                    "nobody is at the other end of its console, or of a network, any more (SIGPIPE)"
                }
                libc::SIGABRT => "it could not be confined (SIGABRT)",
                libc::SIGKILL => "somebody, or want of memory, killed it (SIGKILL)",
                signal => return write!(f, "the image was ended by signal {signal}"),
            },
        };
        write!(f, "the image was ended: {why}")
    }
}

/// A process that was started here. It does not outlive this value.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    reaped: bool,
}

impl Child {
    /// Takes a child of this process that nobody else waits for.
    pub(crate) fn adopt(pid: Pid) -> Result<Self, Error> {
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { pid, pidfd, reaped: false }),
            Err(source) => {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
                let _ = waitpid(Some(pid), WaitOptions::empty());
                Err(Error::System { what: "watch the image's process", source })
            }
        }
    }

    fn kill(&self) {
        // It fails only when there is nothing left to kill.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Waits for its end.
    fn wait(&mut self) -> Result<WaitStatus, Errno> {
        loop {
            match waitpid(Some(self.pid), WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                Ok(Some((_, status))) => {
                    self.reaped = true;
                    return Ok(status);
                }
                Ok(None) => return Err(Errno::CHILD),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            let _ = self.wait();
        }
    }
}

/// Forks, and lets the child become the image. Gives it, and where it reports what goes wrong
/// before the image's first instruction.
pub(crate) fn fork(guest: &impl Guest) -> Result<(Child, OwnedFd), Error> {
    let system = |what| move |source| Error::System { what, source };
    let (report, write) = rustix::pipe::pipe_with(
        rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK,
    )
    .map_err(system("make a pipe"))?;
    let parent = getpid();
    // No signal is handled in the child by the handlers of this process: until it has put them
    // away, none comes through.
    let mask = block_signals();
    // SAFETY: the child calls only `enter`, which never returns, and needs no lock that another
    // thread may hold: see there.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: this process has just been forked, with a copy of all memory.
        unsafe { launch::enter(guest, parent, &write) }
    }
    restore_signals(&mask);
    if pid < 0 {
        let error = std::io::Error::last_os_error();
        let source = Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
        return Err(Error::System { what: "start a process", source });
    }
    let pid = Pid::from_raw(pid).ok_or(Errno::CHILD).map_err(system("start a process"))?;
    Ok((Child::adopt(pid)?, report))
}

fn block_signals() -> libc::sigset_t {
    // SAFETY: a signal set is numbers; both are filled in before they are used.
    unsafe {
        let mut all = mem::zeroed();
        let mut before = mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        before
    }
}

fn restore_signals(mask: &libc::sigset_t) {
    // SAFETY: the mask is one that was in force before.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut());
    }
}

/// What a process has said of why it ended.
pub(crate) fn read_report(report: &OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    // Without a word, its status tells.
    let _ = rustix::io::read(report, spare_capacity(&mut bytes));
    bytes
}

/// What a report says of why an image never began.
pub(crate) fn launch_error(report: &[u8], mem: Memory) -> Option<Error> {
    let (step, source) = launch::failure(report)?;
    let why = match (step, source) {
        (Step::Map, Errno::EXIST) => Some("it would reach into the tender's own"),
        (Step::Map, Errno::NOMEM | Errno::OVERFLOW) => Some("the host has not so much to give"),
        _ => None,
    };
    if let Some(why) = why {
        return Some(Error::MemoryTooLarge { mem, why });
    }
    let what = match step {
        Step::Confine => "confine the image",
        Step::Close => "close what the image may not have",
        Step::Map => "map the image's memory (for spt at 0x10000: see sysctl vm.mmap_min_addr)",
        Step::Load => "load the image",
        Step::Protect => "protect the image's memory",
        Step::Machine => "make a virtual machine",
        Step::Forget => "forget what the image is not to know (see /proc/self/maps)",
        Step::Filter => "confine the image's process by seccomp",
    };
    Some(Error::System { what, source })
}

/// The signals that end an image from outside, as an event.
#[derive(Debug)]
pub(crate) struct Signals {
    ids: Vec<SigId>,
    last: Arc<AtomicUsize>,
    wake: UnixStream,
    /// Kept, as `wake` would tell of its end.
    _waker: UnixStream,
}

impl Signals {
    /// From here on they do not end this process any more.
    pub(crate) fn watch() -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::System {
            what: "handle signals",
            source: Errno::from_io_error(&error).unwrap_or(Errno::INVAL),
        };
        let (wake, waker) = UnixStream::pair().map_err(failed)?;
        let mut signals = Self { ids: Vec::new(), last: Arc::default(), wake, _waker: waker };
        for signal in ENDING.into_iter().filter(|&signal| !is_ignored(signal)) {
            let last = Arc::clone(&signals.last);
            // They run in this order.
            let id = signal_hook::flag::register_usize(signal, last, signal as usize);
            signals.ids.push(id.map_err(failed)?);
            let waker = signals._waker.try_clone().map_err(failed)?;
            let id = signal_hook::low_level::pipe::register(signal, waker);
            signals.ids.push(id.map_err(failed)?);
        }
        Ok(signals)
    }

    /// The last one that came, if one did.
    fn last(&self) -> Option<i32> {
        Some(self.last.load(Ordering::SeqCst) as i32).filter(|&signal| signal != 0)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

/// Serves the networks until the child has ended.
pub(crate) fn supervise(
    mut child: Child,
    signals: &Signals,
    users: &mut [(String, UserNetwork)],
) -> Result<Ending, Error> {
    let system = |source| Error::System { what: "wait for the image", source };
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system)?;
    for (fd, data) in [(child.pidfd.as_fd(), ENDED), (signals.wake.as_fd(), SIGNALLED)] {
        epoll::add(&set, fd, EventData::new_u64(data), EventFlags::IN).map_err(system)?;
    }
    let networks = || (FIRST_NETWORK..).map(|network| Set { epoll: &set, network });
    for ((_, user), set) in users.iter().zip(networks()) {
        user.register(set).map_err(system)?;
    }

    let mut events = Vec::with_capacity(64);
    'running: loop {
        let timeout = users.iter().filter_map(|(_, user)| user.poll_timeout()).min();
        let timeout = timeout.map(|at| timespec(at - now()));
        events.clear();
        match epoll::wait(&set, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(system(error)),
        }
        let now = now();
        for ((_, user), set) in users.iter_mut().zip(networks()) {
            user.handle_timeout(now, set);
        }
        for event in &events {
            match event.data.u64() {
                ENDED => break 'running,
                SIGNALLED => {
                    child.kill();
                    break 'running;
                }
                data => {
                    let network = (data >> 32) as u32;
                    let user = users.get_mut((network - FIRST_NETWORK) as usize);
                    if let Some((_, user)) = user {
                        let flags = event.flags;
                        let failed = flags.contains(EventFlags::ERR);
                        let set = Set { epoll: &set, network };
                        user.handle_event(now, data as u32, failed, set);
                    }
                }
            }
        }
    }

    let status = child.wait().map_err(system)?;
    // What it sent last is still on its way.
    for ((_, user), set) in users.iter_mut().zip(networks()) {
        while user.drain_guest(now(), set) {}
    }
    Ok(match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => Ending::Exited(status as u8),
        // A terminal sends its signal to both processes, and the other may be the first to notice.
        (None, Some(signal)) if ENDING.contains(&signal) => Ending::Interrupted(signal),
        (None, Some(libc::SIGKILL)) if signals.last().is_some() => {
            Ending::Interrupted(signals.last().unwrap_or(SIGTERM))
        }
        (None, Some(libc::SIGSYS)) => Ending::Forbidden,
        (None, Some(signal)) => Ending::Killed(signal),
        (None, None) => Ending::Killed(0),
    })
}

/// Whether this process was told to ignore a signal, as by nohup.
fn is_ignored(signal: i32) -> bool {
    // SAFETY: without a new action, sigaction only writes the present one into `action`, of which
    // zeros are one.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// The time, on the clock that all here goes by.
pub(crate) fn now() -> Instant {
    let now = clock_gettime(ClockId::Monotonic);
    Instant::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

fn timespec(duration: std::time::Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}
