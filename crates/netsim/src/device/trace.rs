use std::collections::VecDeque;
use std::fmt;
use std::task::{Context, Poll};

use netdev::{Checksums, Device, Gone, Instant, Mac, Packet, Pool, Received};

use super::Summary;

/// A device that tells of all that passes: one line a frame, with the time, the direction, and a
/// [`Summary`].
///
/// ```text
/// 0.001753 < 10.0.0.2 > 10.0.0.1 UDP 5000 > 7, 13 bytes (55)
/// ```
pub struct Trace<D, C, S> {
    device: D,
    clock: C,
    sink: S,
}

/// Which way a frame passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came.
    Received,
    /// It was sent.
    Sent,
}

impl fmt::Display for Direction {
    /// `<` or `>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Received { "<" } else { ">" })
    }
}

impl<D: Device, C: FnMut() -> Instant, S: FnMut(fmt::Arguments<'_>)> Trace<D, C, S> {
    /// Wraps a device. `clock` says what time it is, `sink` gets the lines: for a log, for example,
    /// `|line| log::debug!("{line}")`.
    pub fn new(device: D, clock: C, sink: S) -> Self {
        Self { device, clock, sink }
    }
}

impl<D: Device, C: FnMut() -> Instant, S: FnMut(fmt::Arguments<'_>)> Device for Trace<D, C, S> {
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
        let Self { device, clock, sink } = self;
        device.receive(pool, limit, &mut |frame| {
            let (now, summary) = (clock(), Summary(frame.bytes()));
            sink(format_args!("{now} {} {summary}", Direction::Received));
            take(frame);
        })
    }

    fn transmit(&mut self, frames: &mut VecDeque<Packet>) -> Result<(), Gone> {
        transmit(&mut self.device, frames, |frame| {
            let (now, summary) = ((self.clock)(), Summary(frame));
            (self.sink)(format_args!("{now} {} {summary}", Direction::Sent));
        })
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.device.poll_receive(cx)
    }

    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.device.poll_transmit(cx)
    }
}

/// Sends frames, and shows those that the device has taken to `see`.
pub(super) fn transmit(
    device: &mut impl Device,
    frames: &mut VecDeque<Packet>,
    see: impl FnMut(&[u8]),
) -> Result<(), Gone> {
    // The device keeps what it takes: a copy is all there is to be seen afterwards.
    let copies: Vec<_> = frames.iter().map(|frame| frame.bytes().to_vec()).collect();
    device.transmit(frames)?;
    let taken = copies.len().saturating_sub(frames.len());
    copies[..taken].iter().map(Vec::as_slice).for_each(see);
    Ok(())
}
