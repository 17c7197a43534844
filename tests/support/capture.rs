use std::thread;
use std::time::Duration;

use crate::{Namespace, Running, TAP};

/// What comes from the image, as tcpdump prints it.
pub struct Capture {
    tcpdump: Running,
}

impl Capture {
    /// Starts to capture what matches `filter`.
    #[must_use]
    pub fn start(namespace: &Namespace, filter: &str) -> Self {
        let arguments = format!("-nevv -l --immediate-mode -s 0 -Q in -i {TAP} {filter}");
        let tcpdump = namespace.start("tcpdump", arguments.trim());
        let _ = tcpdump.line("listening on");
        Self { tcpdump }
    }

    /// Waits for a line that contains `text`, and takes it.
    #[must_use]
    pub fn line(&self, text: &str) -> String {
        self.tcpdump.line(text)
    }

    /// Ends it, and gives the lines that were not yet taken.
    #[must_use]
    pub fn finish(self) -> Vec<String> {
        // What has come last is on its way to it.
        thread::sleep(Duration::from_millis(300));
        self.tcpdump.finish()
    }
}
