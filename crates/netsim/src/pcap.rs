//! Captures in the file format of `libpcap`, which `tcpdump -r` and Wireshark read.

use std::io::{self, Write};

use netdev::Instant;

/// Says that times are in nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: (u16, u16) = (2, 4);
/// The longest frame: more than a link can carry.
const SNAP_LEN: u32 = 0x4_0000;
const LINKTYPE_ETHERNET: u32 = 1;

/// Writes frames to a capture file.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    // What went wrong first: what is behind it could not be read.
    failed: Option<io::ErrorKind>,
}

impl<W: Write> Writer<W> {
    /// Starts a capture. Give it something that is buffered.
    ///
    /// # Errors
    /// What `out` says.
    pub fn new(mut out: W) -> io::Result<Self> {
        let mut header = [0; 24];
        header[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[4..6].copy_from_slice(&VERSION.0.to_le_bytes());
        header[6..8].copy_from_slice(&VERSION.1.to_le_bytes());
        header[16..20].copy_from_slice(&SNAP_LEN.to_le_bytes());
        header[20..24].copy_from_slice(&LINKTYPE_ETHERNET.to_le_bytes());
        out.write_all(&header)?;
        Ok(Self { out, failed: None })
    }

    /// Writes a frame, which passed at `now`. If that fails, it and all that come after it are not
    /// in the file, and [`Writer::finish`] says why.
    pub fn write(&mut self, now: Instant, frame: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.try_write(now, frame).err().map(|error| error.kind());
        }
    }

    fn try_write(&mut self, now: Instant, frame: &[u8]) -> io::Result<()> {
        let (seconds, nanos) = (now.as_nanos() / 1_000_000_000, now.as_nanos() % 1_000_000_000);
        // What has no room for its seconds begins anew: the format ends after 136 years.
        let seconds = seconds as u32;
        let len = frame.len().min(SNAP_LEN as usize);
        let mut header = [0; 16];
        header[0..4].copy_from_slice(&seconds.to_le_bytes());
        header[4..8].copy_from_slice(&(nanos as u32).to_le_bytes());
        header[8..12].copy_from_slice(&(len as u32).to_le_bytes());
        header[12..16].copy_from_slice(&(frame.len() as u32).to_le_bytes());
        self.out.write_all(&header)?;
        self.out.write_all(&frame[..len])
    }

    /// Brings all that was written to where it goes.
    ///
    /// # Errors
    /// What went wrong first since the capture was started.
    pub fn finish(&mut self) -> io::Result<()> {
        self.failed.map_or_else(|| self.out.flush(), |kind| Err(kind.into()))
    }
}
