//! The console: a line of `log` at a time.

use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

use crate::{platform, time};

/// Makes the console what `log` writes to. Lines of level info and above are shown, unless the
/// image calls [`log::set_max_level`].
pub(crate) fn init() {
    if log::set_logger(&Console).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

struct Console;

impl Log for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let uptime = time::now().saturating_since(time::boot());
            let (seconds, micros) = (uptime.as_secs(), uptime.subsec_micros());
            let (level, target) = (record.level(), record.target());
            print(format_args!(
                "[{seconds:>5}.{micros:06}] {level:<5} {target}: {}",
                record.args()
            ));
        }
    }

    fn flush(&self) {}
}

/// Writes a line to the console, in one piece unless it is longer than 512 bytes.
pub(crate) fn print(line: fmt::Arguments<'_>) {
    let mut buffer = Buffer { bytes: [0; 512], length: 0 };
    // Writing to the console cannot fail: what the host does not take is lost.
    let _ = buffer.write_fmt(line);
    let _ = buffer.write_str("\n");
    buffer.flush();
}

struct Buffer {
    bytes: [u8; 512],
    length: usize,
}

impl Buffer {
    fn flush(&mut self) {
        platform::console::write(&self.bytes[..self.length]);
        self.length = 0;
    }
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let room = &mut self.bytes[self.length..];
            let count = rest.len().min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            self.length += count;
            if self.length == self.bytes.len() {
                self.flush();
            }
        }
        Ok(())
    }
}
