//! A cable between two stacks, in memory.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use mnet::{Config, Ipv4Cidr, Stack};
use netdev::{Device, Gone, Mac, Packet, Pool, Received};

pub(crate) const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// Two stacks, and the cable between them.
pub(crate) fn pair() -> (Stack, Stack, Rc<Cable>) {
    pair_with(|_| ())
}

pub(crate) fn pair_with(change: impl Fn(&mut Config)) -> (Stack, Stack, Rc<Cable>) {
    let cable = Rc::new(Cable::default());
    let [a, b] = [(A, 0), (B, 1)].map(|(address, end)| {
        let mut config = Config::new(Ipv4Cidr::new(address, 24).unwrap());
        change(&mut config);
        Stack::new(Plug { cable: cable.clone(), end }, &config).unwrap()
    });
    (a, b, cable)
}

#[derive(Default)]
pub(crate) struct Cable {
    ends: [End; 2],
    /// Nothing is taken from the stacks.
    pub(crate) stuck: Cell<bool>,
    /// It has been cut.
    pub(crate) cut: Cell<bool>,
}

#[derive(Default)]
struct End {
    frames: RefCell<VecDeque<Vec<u8>>>,
    receiver: Cell<Option<Waker>>,
    sender: Cell<Option<Waker>>,
}

impl Cable {
    /// Lets the stacks see that something about the cable has changed.
    pub(crate) fn wiggle(&self) {
        for end in &self.ends {
            for waker in [&end.receiver, &end.sender] {
                waker.take().into_iter().for_each(Waker::wake);
            }
        }
    }
}

struct Plug {
    cable: Rc<Cable>,
    end: usize,
}

impl Device for Plug {
    fn mac(&self) -> Mac {
        Mac([2, 0, 0, 0, 0, self.end as u8 + 1])
    }

    fn mtu(&self) -> u16 {
        1_500
    }

    fn receive(
        &mut self,
        pool: &Pool,
        frames: &mut VecDeque<Packet>,
        limit: usize,
    ) -> Result<Received, Gone> {
        if self.cable.cut.get() {
            return Err(Gone);
        }
        let mut received = Received::default();
        for _ in 0..limit {
            let Some(frame) = self.cable.ends[self.end].frames.borrow_mut().pop_front() else {
                received.drained = true;
                break;
            };
            match pool.take_for_receive() {
                Some(mut packet) => {
                    packet.append(frame.len()).unwrap().copy_from_slice(&frame);
                    frames.push_back(packet);
                }
                None => received.dropped += 1,
            }
        }
        Ok(received)
    }

    fn transmit(&mut self, frames: &mut VecDeque<Packet>) -> Result<(), Gone> {
        if self.cable.cut.get() {
            return Err(Gone);
        }
        if !self.cable.stuck.get() {
            let other = &self.cable.ends[1 - self.end];
            other.frames.borrow_mut().extend(frames.drain(..).map(|frame| frame.bytes().to_vec()));
            other.receiver.take().into_iter().for_each(Waker::wake);
        }
        Ok(())
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = &self.cable.ends[self.end];
        if self.cable.cut.get() || !end.frames.borrow().is_empty() {
            return Poll::Ready(());
        }
        end.receiver.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.cable.stuck.get() {
            return Poll::Ready(());
        }
        self.cable.ends[self.end].sender.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}
