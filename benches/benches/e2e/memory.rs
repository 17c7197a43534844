//! What processes have in memory.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

const PAGE: u64 = 4_096;
/// A bit of what /proc/PID/pagemap says of a page: it is in memory. The lower 55 bits say which page of
/// memory that is.
const PRESENT: u64 = 1 << 63;
const FRAME: u64 = (1 << 55) - 1;

/// In KiB.
pub(crate) struct Resident {
    /// Each page counted once, however many of the processes have it.
    pub(crate) once: u64,
    /// What each process has, added up.
    pub(crate) sum: u64,
}

impl Resident {
    /// What these processes have in memory now.
    pub(crate) fn of(processes: impl Iterator<Item = String>) -> Self {
        let (mut frames, mut sum) = (HashSet::new(), 0);
        for process in processes {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            sum += line.split_whitespace().next().unwrap().parse::<u64>().unwrap();
            frames.extend(frames_of(&process));
        }
        Self { once: frames.len() as u64 * PAGE / 1_024, sum }
    }
}

/// Which pages of memory a process has.
fn frames_of(process: &str) -> Vec<u64> {
    let pagemap = File::open(format!("/proc/{process}/pagemap")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut frames = Vec::new();
    // The kernel's own are not the process's, and not in the map.
    for line in maps.lines().filter(|line| !line.ends_with("[vsyscall]")) {
        let (start, rest) = line.split_once('-').unwrap();
        let (end, _) = rest.split_once(' ').unwrap();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap() / PAGE);
        let mut entries = vec![0; (end - start) as usize * 8];
        pagemap.read_exact_at(&mut entries, start * 8).unwrap();
        let (entries, _) = entries.as_chunks::<8>();
        let entries = entries.iter().map(|entry| u64::from_ne_bytes(*entry));
        frames.extend(entries.filter(|entry| entry & PRESENT != 0).map(|entry| entry & FRAME));
    }
    assert!(!frames.contains(&0), "the kernel says which pages they are only to root");
    frames
}
