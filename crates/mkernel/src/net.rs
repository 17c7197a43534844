//! Network devices by the name that the image gave them.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use netdev::{Device, Gone, Instant, Mac, Packet, Pool, Received};

use crate::platform::{self, net::Port};
use crate::stats::COUNTS;
use crate::time::{Sleep, now, sleep_until};

/// After this long a device that took no more frames is tried again: a host says when there is
/// something to read, but not when there is room to write.
const TRANSMIT_RETRY: Duration = Duration::from_micros(50);

platform::local::local! {
    static READINESS: Readiness = Readiness {
        readable: Cell::new(0),
        acquired: Cell::new(0),
        receivers: RefCell::new(Vec::new()),
    };
}

/// What the host said of the devices. A device's handle is its bit and its index.
struct Readiness {
    readable: Cell<u64>,
    acquired: Cell<u64>,
    receivers: RefCell<Vec<Option<Waker>>>,
}

/// How long to wait in the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// Until a point in time that is yet to come.
    Until(Instant),
    /// As long as it takes.
    Forever,
}

/// Asks the host which devices have something, and wakes their receivers.
pub(crate) fn poll_host(wait: Wait) {
    READINESS.with(|readiness| {
        let unknown = readiness.acquired.get() & !readiness.readable.get();
        if wait == Wait::No && unknown == 0 {
            return;
        }
        let told = if wait == Wait::No {
            platform::wait::wait(wait)
        } else {
            let before = platform::clock::ticks();
            let told = platform::wait::wait(wait);
            let slept = platform::clock::ticks().saturating_sub(before);
            COUNTS.with(|counts| counts.asleep.update(|asleep| asleep + slept));
            told
        };
        let ready = told & readiness.acquired.get();
        // The host tells of a frame until it is read: what comes for nobody is thrown away.
        handles(told & !ready).for_each(platform::net::discard);
        readiness.readable.set(readiness.readable.get() | ready);
        for handle in handles(ready) {
            // A device that was acquired has a place.
            let receiver = readiness.receivers.borrow_mut()[handle].take();
            if let Some(waker) = receiver {
                waker.wake();
            }
        }
    });
}

/// The devices whose bits are set.
fn handles(mut bits: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let handle = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (handle < u64::BITS).then_some(handle as usize)
    })
}

/// Takes the network device of this name: one of those in `#[mkernel::main(net = "…")]`.
///
/// # Errors
/// [`AcquireError`], if there is no such device, or someone has it.
#[inline(never)]
pub fn acquire(name: &str) -> Result<NetDevice, AcquireError> {
    let Some(port) = platform::net::open(name) else {
        let mut known = Vec::new();
        for name in platform::net::names() {
            known.push(name.to_string());
        }
        return Err(AcquireError::Unknown { name: name.to_string(), known });
    };
    let bit = 1 << port.handle();
    READINESS.with(|readiness| {
        if readiness.acquired.get() & bit != 0 {
            return Err(AcquireError::InUse { name: name.to_string() });
        }
        readiness.acquired.set(readiness.acquired.get() | bit);
        // What has come before is not told of again.
        readiness.readable.set(readiness.readable.get() | bit);
        let mut receivers = readiness.receivers.borrow_mut();
        let length = receivers.len().max(port.handle() + 1);
        receivers.resize(length, None);
        Ok(NetDevice { port, retry: None })
    })
}

/// A network device of the image, as the host attached it.
#[derive(Debug)]
pub struct NetDevice {
    port: Port,
    // While the host takes no frames: until when not to try again.
    retry: Option<Sleep>,
}

impl Drop for NetDevice {
    fn drop(&mut self) {
        let handle = self.port.handle();
        READINESS.with(|readiness| {
            readiness.acquired.set(readiness.acquired.get() & !(1 << handle));
            readiness.readable.set(readiness.readable.get() & !(1 << handle));
            readiness.receivers.borrow_mut()[handle] = None;
        });
    }
}

impl Device for NetDevice {
    fn mac(&self) -> Mac {
        self.port.mac()
    }

    fn mtu(&self) -> u16 {
        self.port.mtu()
    }

    fn receive(
        &mut self,
        pool: &Pool,
        limit: usize,
        take: &mut dyn FnMut(Packet),
    ) -> Result<Received, Gone> {
        let mut received = Received::default();
        for _ in 0..limit {
            let Some(mut packet) = pool.take_for_receive() else {
                // A frame that is read into one byte is gone.
                match self.port.read(&mut [0])? {
                    Some(_) => received.dropped += 1,
                    None => received.drained = true,
                }
                if received.drained {
                    break;
                }
                continue;
            };
            let mut drained = false;
            packet.fill(|room| {
                let length = self.port.read(room)?;
                drained = length.is_none();
                Ok(length.unwrap_or(0))
            })?;
            if drained {
                received.drained = true;
                break;
            }
            take(packet);
        }
        Ok(received)
    }

    fn transmit(&mut self, frames: &mut VecDeque<Packet>) -> Result<(), Gone> {
        let mut written = Ok(true);
        while let Some(frame) = frames.front() {
            written = self.port.write(frame.bytes());
            if written != Ok(true) {
                break;
            }
            frames.pop_front();
        }
        self.port.flush();
        if !written? {
            self.retry = Some(sleep_until(now() + TRANSMIT_RETRY));
        }
        Ok(())
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let handle = self.port.handle();
        let bit = 1 << handle;
        READINESS.with(|readiness| {
            let readable = readiness.readable.get();
            if readable & bit != 0 {
                readiness.readable.set(readable & !bit);
                return Poll::Ready(());
            }
            let mut receivers = readiness.receivers.borrow_mut();
            // A waker is dropped outside of the borrow: it may be the last of its task.
            let before = receivers[handle].replace(cx.waker().clone());
            drop(receivers);
            drop(before);
            Poll::Pending
        })
    }

    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(retry) = &mut self.retry {
            if Pin::new(retry).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.retry = None;
        }
        Poll::Ready(())
    }
}

/// Why a device cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
    /// The image's manifest has no such network device.
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Someone has acquired it already.
    InUse {
        /// What was asked for.
        name: String,
    },
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, known } => {
                write!(f, "no network device '{name}': this image has ")?;
                let Some((first, others)) = known.split_first() else { return f.write_str("none") };
                f.write_str(first)?;
                others.iter().try_for_each(|other| write!(f, ", {other}"))
            }
            Self::InUse { name } => write!(f, "network device '{name}' is in use already"),
        }
    }
}

impl core::error::Error for AcquireError {}
