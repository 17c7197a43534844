//! What the guest sends in fragments, put together again.

use mnet_proto::ip::fragment::{Limits, Outcome, Piece, Reassembler, Whole};
use netdev::Instant;

use super::super::drops::Drop;
use super::Gateway;

/// What there is of the guest's fragments.
pub(super) fn reassembler() -> Reassembler {
    let defaults = Limits::default();
    // There is one sender, by two or three addresses.
    Reassembler::new(Limits { per_sender: defaults.datagrams / 2, ..defaults })
}

impl Gateway {
    /// Takes a fragment: a packet of which the first `headers` bytes are not a part of the payload.
    /// Gives the datagram if it is whole now.
    pub(super) fn fragment(
        &mut self,
        now: Instant,
        piece: Piece,
        bytes: &[u8],
        headers: usize,
    ) -> Result<Option<Whole>, Drop> {
        let Self { link, fragments, drops, .. } = self;
        let mut packet = link.packet(bytes.len())?;
        packet.append(bytes.len()).ok_or(Drop::Fragment)?.copy_from_slice(bytes);
        packet.trim_front(headers);
        let mut evicted = |_| drops.count(Drop::Fragment);
        match fragments.handle(now, link.pool(), piece, packet, &mut evicted) {
            Outcome::Waiting => Ok(None),
            Outcome::Complete(whole) => Ok(Some(whole)),
            Outcome::Dropped(..) => Err(Drop::Fragment),
        }
    }

    /// Gives up what did not become whole in time.
    pub(super) fn handle_fragment_timeout(&mut self, now: Instant) {
        let Self { fragments, drops, .. } = self;
        fragments.handle_timeout(now, &mut |_| drops.count(Drop::Fragment));
    }
}
