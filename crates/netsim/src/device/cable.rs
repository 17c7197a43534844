use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use netdev::{Device, Gone, Mac, Packet, Pool, Received};

/// Two devices with a cable between them: what one sends, the other receives, in order and at once.
/// Their addresses are 02:00:00:00:00:01 and 02:00:00:00:00:02.
///
/// ```
/// use netsim::device::pair;
///
/// let (mut left, mut right, cable) = pair(1_500);
/// left.push(b"a frame");
/// assert_eq!(right.pop().as_deref(), Some(&b"a frame"[..]));
/// drop(right);
/// assert_eq!(cable.plugs(), 1);
/// ```
#[must_use]
pub fn pair(mtu: u16) -> (Plug, Plug, Cable) {
    let shared = Rc::new(Shared::default());
    let [a, b] = [0, 1].map(|end| Plug {
        shared: Rc::clone(&shared),
        end,
        mac: Mac([2, 0, 0, 0, 0, end as u8 + 1]),
        mtu,
    });
    (a, b, Cable { shared })
}

/// The cable between two [`Plug`]s, in the hand of who tests.
#[derive(Clone)]
pub struct Cable {
    shared: Rc<Shared>,
}

/// One end of a [`Cable`].
pub struct Plug {
    shared: Rc<Shared>,
    end: usize,
    mac: Mac,
    mtu: u16,
}

#[derive(Default)]
struct Shared {
    ends: [End; 2],
    stuck: Cell<bool>,
    cut: Cell<bool>,
    unplugged: Cell<usize>,
}

/// What has come for an end, and who waits there.
#[derive(Default)]
struct End {
    frames: RefCell<VecDeque<Vec<u8>>>,
    receiver: Cell<Option<Waker>>,
    sender: Cell<Option<Waker>>,
}

impl Cable {
    /// Whether the devices take nothing to be sent, until they do again.
    pub fn set_stuck(&self, stuck: bool) {
        self.shared.stuck.set(stuck);
        self.shared.wake();
    }

    /// Cuts the cable: both devices are gone.
    pub fn cut(&self) {
        self.shared.cut.set(true);
        self.shared.wake();
    }

    /// How many of the two devices there still are.
    #[must_use]
    pub fn plugs(&self) -> usize {
        2 - self.shared.unplugged.get()
    }
}

impl Shared {
    fn wake(&self) {
        for end in &self.ends {
            for waker in [&end.receiver, &end.sender] {
                waker.take().into_iter().for_each(Waker::wake);
            }
        }
    }
}

impl Plug {
    /// Takes the oldest frame that has come, without a pool.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        self.shared.ends[self.end].frames.borrow_mut().pop_front()
    }

    /// Sends a frame, without a pool, whether or not the cable is stuck.
    pub fn push(&mut self, frame: &[u8]) {
        let other = &self.shared.ends[1 - self.end];
        other.frames.borrow_mut().push_back(frame.to_vec());
        other.receiver.take().into_iter().for_each(Waker::wake);
    }

    /// The device with another address.
    pub(crate) fn with_mac(mut self, mac: Mac) -> Self {
        self.mac = mac;
        self
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        self.shared.unplugged.update(|count| count + 1);
    }
}

impl Device for Plug {
    fn mac(&self) -> Mac {
        self.mac
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn receive(
        &mut self,
        pool: &Pool,
        limit: usize,
        take: &mut dyn FnMut(Packet),
    ) -> Result<Received, Gone> {
        if self.shared.cut.get() {
            return Err(Gone);
        }
        let mut received = Received::default();
        for _ in 0..limit {
            let Some(frame) = self.pop() else {
                received.drained = true;
                break;
            };
            let packet = pool.take_for_receive().and_then(|mut packet| {
                packet.append(frame.len())?.copy_from_slice(&frame);
                Some(packet)
            });
            match packet {
                Some(packet) => take(packet),
                None => received.dropped += 1,
            }
        }
        Ok(received)
    }

    fn transmit(&mut self, frames: &mut VecDeque<Packet>) -> Result<(), Gone> {
        if self.shared.cut.get() {
            return Err(Gone);
        }
        if !self.shared.stuck.get() {
            frames.drain(..).for_each(|frame| self.push(frame.bytes()));
        }
        Ok(())
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = &self.shared.ends[self.end];
        if self.shared.cut.get() || !end.frames.borrow().is_empty() {
            return Poll::Ready(());
        }
        end.receiver.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.cut.get() || !self.shared.stuck.get() {
            return Poll::Ready(());
        }
        self.shared.ends[self.end].sender.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}
