use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use mnet_bench::frames;
use netdev::{Device, Gone, Mac, Packet, Pool, Received};

/// A link with one neighbour, who says the same again when it has been answered.
pub(crate) struct Link {
    frame: Vec<u8>,
    // Length of what is in front of the payload, in bytes.
    headers: usize,
    window: usize,
    // Datagrams that are yet to come, and those of them that may come now.
    remaining: usize,
    allowed: usize,
    outstanding: usize,
    // What the link itself says: the neighbour's Ethernet address.
    answers: VecDeque<Vec<u8>>,
    // Of the datagram that came last.
    pub(crate) current: Places,
    all: Vec<Places>,
    receiver: Option<Waker>,
    waiting: Option<Waker>,
}

/// At which addresses in memory the payloads of a datagram and of its answer were.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Places {
    /// In the frame, as the device wrote it.
    pub(crate) received: usize,
    /// As the service got it.
    pub(crate) seen: usize,
    /// Where the service wrote its answer.
    pub(crate) filled: usize,
    /// In the frame that the device got to send.
    pub(crate) sent: usize,
}

pub(crate) fn address(bytes: &[u8]) -> usize {
    bytes.as_ptr().addr()
}

impl Link {
    /// One on which `frame` comes, which ends with so many bytes of payload, so often at once.
    pub(crate) fn new(frame: Vec<u8>, size: usize, window: usize) -> Self {
        Self {
            headers: frame.len() - size,
            frame,
            window,
            remaining: 0,
            allowed: 0,
            outstanding: 0,
            answers: VecDeque::new(),
            current: Places::default(),
            // One allocation, however many there will be.
            all: Vec::with_capacity(65_536),
            receiver: None,
            waiting: None,
        }
    }

    /// Lets so many datagrams come.
    pub(crate) fn start(&mut self, count: usize) {
        self.remaining = count;
        self.allow();
        self.receiver.take().into_iter().for_each(Waker::wake);
    }

    fn allow(&mut self) {
        self.allowed = self.window.min(self.remaining);
        self.remaining -= self.allowed;
        self.outstanding = self.allowed;
    }

    /// Whether all have been answered.
    pub(crate) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.remaining + self.outstanding == 0 {
            return Poll::Ready(());
        }
        self.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Where the datagrams were that have been answered, but for the first, whose answer has waited
    /// for the neighbour's address.
    pub(crate) fn places(&mut self) -> Vec<Places> {
        self.all.split_off(1)
    }

    fn has_next(&self) -> bool {
        self.allowed > 0 || !self.answers.is_empty()
    }

    fn deliver(&mut self, packet: &mut Packet) {
        match self.answers.pop_front() {
            Some(answer) => packet.append(answer.len()).unwrap().copy_from_slice(&answer),
            None => {
                self.allowed -= 1;
                packet.append(self.frame.len()).unwrap().copy_from_slice(&self.frame);
                let received = address(&packet.bytes()[self.headers..]);
                self.current = Places { received, ..Places::default() };
            }
        }
    }

    fn take(&mut self, frame: &[u8]) {
        if !frames::is_udp(frame) {
            // Once the host knows its neighbour, it only says what it has to say of itself.
            if self.all.is_empty() {
                self.answers.extend(frames::answer(frame));
            }
        } else {
            assert_eq!(frame.len(), self.frame.len(), "an answer is as long as what it answers");
            self.all.push(Places { sent: address(&frame[self.headers..]), ..self.current });
            self.outstanding -= 1;
            if self.outstanding == 0 {
                self.allow();
            }
        }
        if self.has_next() {
            self.receiver.take().into_iter().for_each(Waker::wake);
        }
        if self.remaining + self.outstanding == 0 {
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// The host's card on the link. By itself it allocates nothing once the neighbour is known.
pub(crate) struct Card(pub(crate) Rc<RefCell<Link>>);

impl Device for Card {
    fn mac(&self) -> Mac {
        frames::HOST
    }

    fn mtu(&self) -> u16 {
        frames::MTU
    }

    fn receive(
        &mut self,
        pool: &Pool,
        limit: usize,
        take: &mut dyn FnMut(Packet),
    ) -> Result<Received, Gone> {
        let mut link = self.0.borrow_mut();
        for _ in 0..limit {
            if !link.has_next() {
                break;
            }
            let mut packet = pool.take_for_receive().expect("the window is smaller than the pool");
            link.deliver(&mut packet);
            take(packet);
        }
        Ok(Received { drained: !link.has_next(), dropped: 0 })
    }

    fn transmit(&mut self, frames: &mut VecDeque<Packet>) -> Result<(), Gone> {
        let mut link = self.0.borrow_mut();
        while let Some(frame) = frames.pop_front() {
            link.take(frame.bytes());
        }
        Ok(())
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut link = self.0.borrow_mut();
        if link.has_next() {
            return Poll::Ready(());
        }
        link.receiver = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_transmit(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
