//! What passes on a network, in a file that tcpdump and Wireshark read (classic pcap).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use netdev::Instant;

/// Says that times are in microseconds, and by its own byte order, that of the file.
const MAGIC: u32 = 0xa1b2_c3d4;
const VERSION: [u16; 2] = [2, 4];
const MAX_CAPTURED: u32 = 65_535;
const LINK_ETHERNET: u32 = 1;

/// A file of frames.
#[derive(Debug)]
pub(super) struct Capture<W: Write = File> {
    file: BufWriter<W>,
    /// From [`Instant::ZERO`] to the beginning of 1970 on the clock on the wall, backwards.
    epoch: Duration,
    /// Why it is written no more.
    error: Option<io::Error>,
}

impl Capture {
    /// Begins a file, in place of one that has this name. `now` is the time of both clocks.
    pub(super) fn create(path: &Path, now: (Instant, SystemTime)) -> io::Result<Self> {
        Self::new(File::create(path)?, now)
    }
}

impl<W: Write> Capture<W> {
    fn new(file: W, (now, wall): (Instant, SystemTime)) -> io::Result<Self> {
        let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch = wall.saturating_sub(now - Instant::ZERO);
        let mut capture = Self { file: BufWriter::new(file), epoch, error: None };
        capture.file.write_all(&MAGIC.to_ne_bytes())?;
        capture.file.write_all(VERSION.map(u16::to_ne_bytes).as_flattened())?;
        // The time zone, which is UTC, and the accuracy, of which nobody speaks.
        let rest = [0, 0, MAX_CAPTURED, LINK_ETHERNET];
        capture.file.write_all(rest.map(u32::to_ne_bytes).as_flattened())?;
        capture.file.flush()?;
        Ok(capture)
    }

    /// Appends a frame, unless an earlier one could not be.
    pub(super) fn write(&mut self, now: Instant, frame: &[u8]) {
        let time = self.epoch + (now - Instant::ZERO);
        let length = frame.len() as u32;
        let header = [time.as_secs() as u32, time.subsec_micros(), length, length];
        self.attempt(|file| {
            file.write_all(header.map(u32::to_ne_bytes).as_flattened())?;
            file.write_all(frame)
        });
    }

    /// Hands on what was written, for who looks into the file meanwhile.
    pub(super) fn flush(&mut self) {
        self.attempt(BufWriter::flush);
    }

    /// Why the file lacks what passed last, if it does.
    pub(super) fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<W>) -> io::Result<()>) {
        if self.error.is_none() {
            self.error = write(&mut self.file).err();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_says_what_it_is_and_when_each_frame_passed() {
        let now = Instant::ZERO + Duration::from_secs(100);
        let wall = UNIX_EPOCH + Duration::new(1_700_000_000, 250_000_000);
        let mut capture = Capture::new(Vec::new(), (now, wall)).unwrap();
        capture.write(now, b"first frame");
        capture.write(now + Duration::from_millis(1_800), b"second");
        let bytes = capture.file.into_inner().unwrap();

        let number = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((number(0), number(16), number(20)), (0xa1b2_c3d4, 65_535, 1));
        assert_eq!([2u16, 4].map(u16::to_ne_bytes).as_flattened(), &bytes[4..8]);
        assert_eq!([24, 28, 32, 36].map(number), [1_700_000_000, 250_000, 11, 11]);
        assert_eq!(&bytes[40..51], b"first frame");
        assert_eq!([51, 55, 59, 63].map(number), [1_700_000_002, 50_000, 6, 6]);
        assert_eq!(&bytes[67..], b"second");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_given_up_and_says_why() {
        let now = (Instant::ZERO, UNIX_EPOCH);
        assert!(Capture::create(Path::new("/nonexistent/capture"), now).is_err());
        assert!(Capture::create(Path::new("/dev/full"), now).is_err());
        let mut room = [0; 40];
        let mut capture = Capture::new(&mut room[..], now).unwrap();
        for _ in 0..2 {
            capture.write(Instant::ZERO, b"frame");
            capture.flush();
        }
        assert_eq!(capture.error().map(io::Error::kind), Some(io::ErrorKind::WriteZero));
    }
}
