use std::collections::VecDeque;
use std::task::{Context, Poll};

use mnet_proto::Stack;
use netdev::{Device, Gone, Instant, Mac, Packet, Pool, Received};

/// What a stack is told of the link that it is plugged to. Frames go another way.
pub(super) struct Card {
    pub(super) mac: Mac,
    pub(super) mtu: u16,
}

impl Device for Card {
    fn mac(&self) -> Mac {
        self.mac
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn receive(&mut self, _: &Pool, _: usize, _: &mut dyn FnMut(Packet)) -> Result<Received, Gone> {
        Ok(Received { drained: true, dropped: 0 })
    }

    fn transmit(&mut self, _: &mut VecDeque<Packet>) -> Result<(), Gone> {
        Ok(())
    }

    fn poll_receive(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn poll_transmit(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Gives a frame to a stack, in a packet of its pool; without one, the stack has missed it.
pub(super) fn deliver(stack: &mut Stack, now: Instant, frame: &[u8]) {
    let packet = stack.pool().take_for_receive().and_then(|mut packet| {
        packet.append(frame.len())?.copy_from_slice(frame);
        Some(packet)
    });
    match packet {
        Some(packet) => stack.handle_frame(now, packet),
        None => stack.count_missed(1),
    }
}
