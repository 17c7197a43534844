use std::ops::{Deref, Range};

use netdev::Packet;

/// What the guest has sent in a datagram: in the one frame that it came in, or put together of
/// several.
#[derive(Debug)]
pub(crate) enum Payload<'f> {
    /// It is a part of a frame.
    Frame(&'f [u8]),
    /// It is the packet's window.
    Whole(Packet),
}

impl Payload<'_> {
    /// A part of it; `None` if it has no such part.
    pub(super) fn part(self, range: Range<usize>) -> Option<Self> {
        match self {
            Self::Frame(bytes) => bytes.get(range).map(Payload::Frame),
            Self::Whole(mut packet) => {
                packet.bytes().get(range.clone())?;
                packet.truncate(range.end);
                packet.trim_front(range.start);
                Some(Self::Whole(packet))
            }
        }
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Frame(bytes) => bytes,
            Self::Whole(packet) => packet.bytes(),
        }
    }
}

impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload<'_> {}
