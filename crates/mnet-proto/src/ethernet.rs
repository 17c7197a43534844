//! Frames in and out.

use alloc::collections::VecDeque;
use core::hint::cold_path;

use netdev::{Checksums, Device, Mac, Packet, Pool};

use crate::stats::{Drop, Stats};
use crate::wire::ethernet::Header;

/// The link to which the device is plugged.
pub(crate) struct Link {
    pub(crate) mac: Mac,
    pub(crate) mtu: u16,
    pub(crate) checksums: Checksums,
    pub(crate) pool: Pool,
    outgoing: VecDeque<Packet>,
}

impl Link {
    pub(crate) fn new(device: &impl Device, pool: Pool) -> Self {
        Self {
            mac: device.mac(),
            mtu: device.mtu(),
            checksums: device.checksums(),
            pool,
            outgoing: VecDeque::new(),
        }
    }

    /// Checks a frame's header. Returns what is in the frame, and whether it came to others besides us.
    ///
    /// # Errors
    /// Why it is to be dropped.
    #[inline]
    pub(crate) fn receive(&self, frame: &[u8]) -> Result<(u16, bool), Drop> {
        let header = Header::parse(frame).ok_or(Drop::EthernetMalformed)?;
        // A card may hear more than is meant for it.
        let mut link_group = false;
        if header.destination != self.mac.0 {
            cold_path();
            link_group = header.is_to_group();
            if !link_group {
                return Err(Drop::EthernetAddress);
            }
        }
        if header.is_from_group() {
            return Err(Drop::EthernetAddress);
        }
        Ok((header.ethertype.get(), link_group))
    }

    /// Frames a packet and queues it for the device; `false`, and the packet is dropped and counted, if it
    /// has no room for the header.
    #[inline]
    pub(crate) fn send(
        &mut self,
        mut packet: Packet,
        to: Mac,
        ethertype: u16,
        stats: &mut Stats,
    ) -> bool {
        let framed = Header::emit(&mut packet, to, self.mac, ethertype);
        if framed {
            self.send_frame(packet, stats);
        } else {
            stats.dropped.count(Drop::NoPacket);
        }
        framed
    }

    /// Queues a frame for the device.
    #[inline]
    pub(crate) fn send_frame(&mut self, frame: Packet, stats: &mut Stats) {
        stats.frames_sent += 1;
        self.outgoing.push_back(frame);
    }

    /// The frame that was queued last, of those that still wait.
    pub(crate) fn newest(&self) -> Option<&Packet> {
        self.outgoing.back()
    }

    /// The frames that wait for the device, in order.
    pub(crate) fn outgoing(&mut self) -> &mut VecDeque<Packet> {
        &mut self.outgoing
    }

    /// How many frames wait for the device.
    pub(crate) fn outgoing_len(&self) -> usize {
        self.outgoing.len()
    }
}
