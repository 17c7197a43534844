use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use netdev::Mac;

use crate::net::{Network, Publish};

/// An image, and what to give it.
///
/// Devices are named as the image's manifest names them.
#[derive(Clone, Debug)]
pub struct Config {
    /// The image: a Solo5 spt or hvt image, or the executable of a hosted unikernel.
    pub image: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its memory. An hvt image has at most 4 GiB, in pieces of 2 MiB: what is left over is not used.
    pub mem: Memory,
    /// Whether an hvt image may send and receive frames by a ring in its memory, instead of one call
    /// for each.
    pub net_ring: bool,
    /// What its networks are attached to.
    pub networks: Vec<(String, Network)>,
    /// The MAC addresses of its networks; a random one is given where there is none.
    pub macs: Vec<(String, Mac)>,
    /// The files that what passes on its networks is written to, in the format of tcpdump; only
    /// for a network that is [`Network::User`].
    pub captures: Vec<(String, PathBuf)>,
    /// The files behind its block devices.
    pub blocks: Vec<(String, PathBuf)>,
    /// The block sizes of its block devices in bytes; 512 where there is none.
    pub block_sizes: Vec<(String, u16)>,
    /// The ports that can be reached from the host, on the first network that is
    /// [`Network::User`].
    pub publish: Vec<Publish>,
}

impl Config {
    /// This image with nothing but memory.
    pub fn new(image: impl Into<PathBuf>) -> Self {
        Self {
            image: image.into(),
            args: Vec::new(),
            mem: Memory::default(),
            net_ring: true,
            networks: Vec::new(),
            macs: Vec::new(),
            captures: Vec::new(),
            blocks: Vec::new(),
            block_sizes: Vec::new(),
            publish: Vec::new(),
        }
    }
}

/// How much memory an image gets: 512 MiB, unless said otherwise.
///
/// It is taken from the host as the image uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    mib: u64,
}

impl Memory {
    /// So many MiB; `None` for none at all, and for more than any processor can address.
    #[must_use]
    pub const fn mib(mib: u64) -> Option<Self> {
        if mib == 0 || mib > u64::MAX >> 20 { None } else { Some(Self { mib }) }
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.mib << 20
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { mib: 512 }
    }
}

impl FromStr for Memory {
    type Err = ParseMemoryError;

    /// A number of MiB.
    fn from_str(text: &str) -> Result<Self, ParseMemoryError> {
        let digits = text.bytes().all(|digit| digit.is_ascii_digit());
        let mib = if digits { text.parse().ok() } else { None };
        mib.and_then(Self::mib).ok_or_else(|| ParseMemoryError(text.to_owned()))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mib)
    }
}

/// The text is no amount of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no amount of memory; give a number of MiB, such as 512")]
pub struct ParseMemoryError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_number_of_mib() {
        assert_eq!("512".parse(), Ok(Memory::default()));
        assert_eq!(Memory::default().bytes(), 0x2000_0000);
        for text in ["", "0", "-1", "+1", "512M", "1.5", "99999999999999", "99999999999999999999"] {
            assert!(text.parse::<Memory>().is_err(), "{text}");
        }
    }
}
