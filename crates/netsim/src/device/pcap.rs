use std::collections::VecDeque;
use std::io::{self, Write};
use std::task::{Context, Poll};

use netdev::{Checksums, Device, Gone, Instant, Mac, Packet, Pool, Received};

use crate::pcap::Writer;

/// A device that writes all that passes to a capture ([`crate::pcap`]).
pub struct Pcap<D, W: Write, C> {
    device: D,
    writer: Writer<W>,
    clock: C,
}

impl<D: Device, W: Write, C: FnMut() -> Instant> Pcap<D, W, C> {
    /// Wraps a device, and starts a capture. `clock` says what time it is.
    ///
    /// # Errors
    /// What `out` says.
    pub fn new(device: D, out: W, clock: C) -> io::Result<Self> {
        Ok(Self { device, writer: Writer::new(out)?, clock })
    }

    /// Brings all that was written to where it goes.
    ///
    /// # Errors
    /// What went wrong first since the capture was started.
    pub fn finish(&mut self) -> io::Result<()> {
        self.writer.finish()
    }
}

impl<D: Device, W: Write, C: FnMut() -> Instant> Device for Pcap<D, W, C> {
    fn mac(&self) -> Mac {
        self.device.mac()
    }

    fn mtu(&self) -> u16 {
        self.device.mtu()
    }

    fn checksums(&self) -> Checksums {
        self.device.checksums()
    }

    fn receive(
        &mut self,
        pool: &Pool,
        limit: usize,
        take: &mut dyn FnMut(Packet),
    ) -> Result<Received, Gone> {
        let Self { device, writer, clock } = self;
        device.receive(pool, limit, &mut |frame| {
            writer.write(clock(), frame.bytes());
            take(frame);
        })
    }

    fn transmit(&mut self, frames: &mut VecDeque<Packet>) -> Result<(), Gone> {
        super::trace::transmit(&mut self.device, frames, |frame| {
            self.writer.write((self.clock)(), frame);
        })
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.device.poll_receive(cx)
    }

    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.device.poll_transmit(cx)
    }
}
