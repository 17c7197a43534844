use std::collections::VecDeque;
use std::task::{Context, Poll};

use netdev::{Checksums, Device, Gone, HEADROOM, Mac, Packet, Pool, Received};

use crate::fault::{Chance, Faults};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Packets for second copies of what is sent.
const COPIES: usize = 64;

/// A device on which things go wrong, as a seed decides.
///
/// A frame that is to be overtaken is held back until the next batch has passed it, or there is
/// none.
pub struct Faulty<D> {
    device: D,
    receive: Lane,
    transmit: Lane,
    copies: Pool,
}

/// One direction.
struct Lane {
    faults: Faults,
    chance: Chance,
    // What is to go next, in order.
    ready: VecDeque<Packet>,
    // What has been held back, and for which the next batch is the last.
    held: VecDeque<Packet>,
}

impl<D: Device> Faulty<D> {
    /// Wraps a device: these faults for what it receives, and these for what it sends.
    ///
    /// ```
    /// use netsim::Faults;
    /// use netsim::device::{Faulty, pair};
    ///
    /// let (left, _right, _cable) = pair(1_500);
    /// let bad = Faults { loss: 0.1, reorder: 0.2, ..Faults::NONE };
    /// // Half of this is lost on the way in, a tenth on the way out; 42 decides which.
    /// let left = Faulty::new(left, Faults { loss: 0.5, ..bad }, bad, 42);
    /// # let _ = left;
    /// ```
    #[must_use]
    pub fn new(device: D, receive: Faults, transmit: Faults, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let [receive, transmit] = [receive, transmit].map(|faults| Lane {
            faults,
            chance: chance.fork(),
            ready: VecDeque::new(),
            held: VecDeque::new(),
        });
        let size = HEADROOM + ETHERNET + usize::from(device.mtu());
        let copies = Pool::new(COPIES, size.min(u16::MAX.into()));
        Self { device, receive, transmit, copies }
    }

    /// Sends what is to go next; what the device does not take stays.
    fn flush(&mut self) -> Result<(), Gone> {
        if self.transmit.ready.is_empty() {
            Ok(())
        } else {
            self.device.transmit(&mut self.transmit.ready)
        }
    }
}

impl Lane {
    /// Decides what becomes of each frame of a batch, and lets those go that were held back before.
    /// `copy` gives packets for second copies; without one there is none.
    fn pass(&mut self, batch: &mut VecDeque<Packet>, copy: impl Fn() -> Option<Packet>) {
        let Self { faults, chance, ready, held } = self;
        let late = std::mem::take(held);
        for mut packet in batch.drain(..) {
            let second =
                chance.happens(faults.duplicate).then(|| duplicate(&packet, &copy)).flatten();
            if chance.happens(faults.corrupt) {
                chance.corrupt(packet.bytes_mut());
            }
            for packet in [Some(packet), second].into_iter().flatten() {
                if chance.happens(faults.loss) {
                    continue;
                }
                let queue = if chance.happens(faults.reorder) { &mut *held } else { &mut *ready };
                queue.push_back(packet);
            }
        }
        ready.extend(late);
    }

    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.held.is_empty()
    }
}

fn duplicate(packet: &Packet, copy: impl Fn() -> Option<Packet>) -> Option<Packet> {
    let mut second = copy()?;
    second.append(packet.len())?.copy_from_slice(packet.bytes());
    Some(second)
}

impl<D: Device> Device for Faulty<D> {
    fn mac(&self) -> Mac {
        self.device.mac()
    }

    fn mtu(&self) -> u16 {
        self.device.mtu()
    }

    /// None: what the device has checked may have been changed since.
    fn checksums(&self) -> Checksums {
        let Checksums { fills_ipv4, fills_udp, .. } = self.device.checksums();
        Checksums { fills_ipv4, fills_udp, ..Checksums::default() }
    }

    fn receive(
        &mut self,
        pool: &Pool,
        limit: usize,
        take: &mut dyn FnMut(Packet),
    ) -> Result<Received, Gone> {
        let mut batch = VecDeque::new();
        let room = limit.saturating_sub(self.receive.ready.len());
        let mut received = self.device.receive(pool, room, &mut |frame| batch.push_back(frame))?;
        let lane = &mut self.receive;
        lane.pass(&mut batch, || pool.take_for_receive());
        let count = lane.ready.len().min(limit);
        lane.ready.drain(..count).for_each(take);
        received.drained &= lane.is_empty();
        Ok(received)
    }

    fn transmit(&mut self, frames: &mut VecDeque<Packet>) -> Result<(), Gone> {
        self.flush()?;
        if self.transmit.ready.is_empty() {
            let Self { transmit, copies, .. } = self;
            transmit.pass(frames, || copies.take());
            self.flush()?;
        }
        Ok(())
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Who waits has nothing more to send: what was held back is not to stay for ever.
        self.transmit.ready.append(&mut self.transmit.held);
        if self.flush().is_err() || !self.receive.is_empty() {
            return Poll::Ready(());
        }
        if !self.transmit.ready.is_empty() && self.device.poll_transmit(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.device.poll_receive(cx)
    }

    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.device.poll_transmit(cx)
    }
}
