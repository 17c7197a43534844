//! What has been counted so far, and the answers to who asks.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::fmt::Display;
use core::ops::Bound;

use crate::line::{Change, Line};

/// Names that are remembered, in all. While they are there, newcomers are refused and counted.
const MAX_NAMES: usize = 10_000;
/// Longest answer in bytes: it goes anywhere in one piece.
pub(crate) const MAX_ANSWER: usize = 1_232;
/// What an answer ends with that is the last.
const END: &str = "END\n";

type Names<T> = BTreeMap<Box<str>, T>;

/// All metrics, by name.
#[derive(Default)]
pub(crate) struct Table {
    counters: Names<f64>,
    gauges: Names<f64>,
    timers: Names<Timer>,
    /// Lines that were taken, that were malformed, and that had a name too many.
    lines: u64,
    malformed: u64,
    refused: u64,
    datagrams: u64,
}

/// How long something took, or how large it was.
#[derive(Clone, Copy, Default)]
struct Timer {
    count: f64,
    sum: f64,
    least: f64,
    most: f64,
}

impl Table {
    /// Takes what a program has sent.
    pub(crate) fn take(&mut self, payload: &[u8]) {
        self.datagrams += 1;
        for line in payload.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match Line::parse(line.strip_suffix(b"\r").unwrap_or(line)) {
                Some(line) if self.change(&line) => self.lines += 1,
                Some(_) => self.refused += 1,
                None => self.malformed += 1,
            }
        }
    }

    /// Changes a metric; `false` if there is no room for it.
    fn change(&mut self, line: &Line<'_>) -> bool {
        let room = self.names() < MAX_NAMES;
        match line.change {
            Change::Count(more) => entry(&mut self.counters, line.name, room, |it| *it += more),
            Change::Set(value) => entry(&mut self.gauges, line.name, room, |it| *it = value),
            Change::Add(more) => entry(&mut self.gauges, line.name, room, |it| *it += more),
            Change::Observe { value, count } => {
                entry(&mut self.timers, line.name, room, |it| it.observe(value, count))
            }
        }
    }

    fn names(&self) -> usize {
        self.counters.len() + self.gauges.len() + self.timers.len()
    }

    /// The answer to a question, such as `counters`, or `counters NAME` for those behind that name;
    /// `None` if it is no question, lest two services answer each other for ever. `dropped` is how
    /// many datagrams came while there was no room for them.
    pub(crate) fn answer(&self, question: &[u8], dropped: u64) -> Option<String> {
        let question = core::str::from_utf8(question).ok()?;
        let question = question.strip_suffix('\n').unwrap_or(question);
        if question.contains('\n') {
            return None;
        }
        let (kind, after) = match question.split_once(' ') {
            Some((kind, after)) => (kind, Some(after)),
            None => (question, None),
        };
        match (kind, after) {
            ("counters", _) => Some(page(&self.counters, after, f64::clone)),
            ("gauges", _) => Some(page(&self.gauges, after, f64::clone)),
            ("timers", _) => Some(page(&self.timers, after, Timer::text)),
            ("stats", None) => Some(self.stats(dropped)),
            _ => None,
        }
    }

    fn stats(&self, dropped: u64) -> String {
        let Self { lines, malformed, refused, datagrams, .. } = self;
        let names = self.names();
        format!(
            "datagrams {datagrams}\ndropped {dropped}\nlines {lines}\nmalformed {malformed}\n\
             refused {refused}\nnames {names}\n{END}"
        )
    }
}

/// Changes the metric of a name, which is made if there is room; `false` if there is none.
fn entry<T: Default>(
    names: &mut Names<T>,
    name: &str,
    room: bool,
    change: impl FnOnce(&mut T),
) -> bool {
    if let Some(known) = names.get_mut(name) {
        change(known);
    } else if room {
        change(names.entry(name.into()).or_default());
    } else {
        return false;
    }
    true
}

/// As many lines as one answer has room for, of the metrics behind a name. The last says whether
/// there are more, and behind which.
fn page<T, D: Display>(names: &Names<T>, after: Option<&str>, show: impl Fn(&T) -> D) -> String {
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut answer = String::new();
    let mut last = "";
    for (name, value) in names.range::<str, _>((start, Bound::Unbounded)) {
        let line = format!("{name} {}\n", show(value));
        let more = format!("MORE {name}\n");
        if answer.len() + line.len() + more.len() > MAX_ANSWER {
            return answer + "MORE " + last + "\n";
        }
        answer += &line;
        last = name;
    }
    answer + END
}

impl Timer {
    fn observe(&mut self, value: f64, count: f64) {
        let first = self.count == 0.0;
        self.least = if first { value } else { self.least.min(value) };
        self.most = if first { value } else { self.most.max(value) };
        self.count += count;
        self.sum += value * count;
    }

    fn text(&self) -> String {
        let Self { count, sum, least, most } = self;
        format!("count={count} sum={sum} min={least} max={most}")
    }
}

#[cfg(test)]
mod tests;
