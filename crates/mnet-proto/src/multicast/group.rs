use alloc::vec::Vec;
use core::mem;
use core::net::IpAddr;

use netdev::Instant;

use super::filter::{Sources, in_order};
use super::querier::Generation;
use super::report::Record;
use crate::ip::earlier;
use crate::wire::multicast::RecordKind;

/// A group that somebody here is a member of, or was until a moment ago.
pub(super) struct Group {
    members: Vec<(u32, Sources)>,
    /// What the members want, taken together.
    pub(super) wanted: Sources,
    change: Change,
    answer: Option<Answer>,
    /// Of all on the link that older routers know as one member, this host spoke last.
    last_reporter: bool,
}

/// What is to be told of a change, and how often yet. Nothing of it is pending when all is zero.
struct Change {
    at: Instant,
    // That the filter's mode changed; with older routers, that there are members.
    mode: u8,
    sources: Vec<(IpAddr, u8)>,
}

/// When to answer a query of the group, and about which sources: none for all.
struct Answer {
    at: Instant,
    sources: Vec<IpAddr>,
}

impl Group {
    pub(super) const fn new() -> Self {
        Self {
            members: Vec::new(),
            wanted: Sources::NONE,
            change: Change { at: Instant::ZERO, mode: 0, sources: Vec::new() },
            answer: None,
            last_reporter: false,
        }
    }

    pub(super) fn member(&self, member: u32) -> Option<&Sources> {
        self.members.iter().find(|(number, _)| *number == member).map(|(_, sources)| sources)
    }

    pub(super) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// How many sources all members but one name.
    pub(super) fn sources_without(&self, member: u32) -> usize {
        let others = self.members.iter().filter(|(number, _)| *number != member);
        others.map(|(_, sources)| sources.list().len()).sum()
    }

    /// Puts a member's filter in the place of the one before; `NONE` takes the member away. Returns
    /// what was wanted before.
    pub(super) fn set(&mut self, member: u32, sources: Sources) -> Sources {
        self.members.retain(|(number, _)| *number != member);
        if !sources.is_none() {
            self.members.push((member, sources));
        }
        let wanted = Sources::merge(self.members.iter().map(|(_, sources)| sources));
        mem::replace(&mut self.wanted, wanted)
    }

    /// Plans what is to be told of a change to what is wanted. More than `most` sources that have
    /// changed are not remembered one by one.
    pub(super) fn changed(
        &mut self,
        now: Instant,
        before: &Sources,
        generation: Generation,
        robustness: u8,
        most: usize,
    ) {
        let change = &mut self.change;
        match generation {
            Generation::First | Generation::Second => {
                if before.is_none() != self.wanted.is_none() {
                    // A leave is said once (RFC 2236 §3, RFC 2710 §4), and not at all in version 1.
                    let leave = u8::from(self.last_reporter && generation == Generation::Second);
                    let times = if self.wanted.is_none() { leave } else { robustness };
                    *change = Change { at: now, mode: times, sources: Vec::new() };
                }
            }
            Generation::Third if before.exclude != self.wanted.exclude => {
                *change = Change { at: now, mode: robustness, sources: Vec::new() };
            }
            Generation::Third => {
                for source in before.difference(&self.wanted) {
                    change.sources.retain(|(known, _)| *known != source);
                    change.sources.push((source, robustness));
                    change.at = now;
                }
                if change.sources.len() > most {
                    // To tell all that is wanted says as much.
                    *change = Change { at: now, mode: robustness, sources: Vec::new() };
                }
            }
        }
    }

    /// Plans to tell what is wanted as if it were new.
    pub(super) fn announce(&mut self, now: Instant, robustness: u8) {
        if !self.wanted.is_none() {
            self.change = Change { at: now, mode: robustness, sources: Vec::new() };
        }
    }

    /// Plans an answer to a query of the third generation, together with one that is planned
    /// already (RFC 3376 §5.2). With more than `most` sources it is about all.
    pub(super) fn ask(&mut self, at: Instant, mut sources: Vec<IpAddr>, most: usize) {
        let mut first = at;
        if let Some(planned) = self.answer.take() {
            first = first.min(planned.at);
            if planned.sources.is_empty() {
                sources.clear();
            } else if !sources.is_empty() {
                sources.extend(planned.sources);
                sources = in_order(&sources);
            }
        }
        if sources.len() > most {
            sources = Vec::new();
        }
        self.answer = Some(Answer { at: first, sources });
    }

    /// Plans a report to an older router, unless one is planned before `latest` (RFC 2236 §3).
    pub(super) fn ask_older(&mut self, at: Instant, latest: Instant) {
        if !self.wanted.is_none() && self.answer.as_ref().is_none_or(|answer| answer.at > latest) {
            self.answer = Some(Answer { at, sources: Vec::new() });
        }
    }

    /// Takes note that another member of the group has reported to older routers: one is enough, if
    /// this host was about to (RFC 2236 §6, RFC 2710 §5).
    pub(super) fn heard_report(&mut self) {
        if self.timer().is_some() {
            self.last_reporter = false;
            self.forget();
        }
    }

    /// Drops all that is planned.
    pub(super) fn forget(&mut self) {
        self.answer = None;
        self.change.mode = 0;
        self.change.sources = Vec::new();
    }

    /// What is due to be told to routers of the third generation. What is told of a change is to
    /// be told again at `again`.
    pub(super) fn tell(
        &mut self,
        now: Instant,
        again: Instant,
        group: IpAddr,
        records: &mut Vec<Record>,
    ) {
        let record = |kind, sources| Record { kind, group, sources };
        if let Some(answer) = self.answer.take_if(|answer| answer.at <= now) {
            if answer.sources.is_empty() {
                records.extend(self.tell_all(group));
            } else {
                let mut sources = answer.sources;
                sources.retain(|source| self.wanted.accepts(source));
                if !sources.is_empty() {
                    records.push(record(RecordKind::IsInclude, sources));
                }
            }
        }
        if self.change.timer().is_none_or(|at| at > now) {
            return;
        }
        let change = &mut self.change;
        if change.mode > 0 {
            let exclude = self.wanted.exclude;
            let kind = if exclude { RecordKind::ToExclude } else { RecordKind::ToInclude };
            records.push(record(kind, self.wanted.list().to_vec()));
        } else {
            for (kind, accepted) in [(RecordKind::Allow, true), (RecordKind::Block, false)] {
                let mut sources: Vec<_> =
                    change.sources.iter().map(|(source, _)| *source).collect();
                sources.retain(|source| self.wanted.accepts(source) == accepted);
                if !sources.is_empty() {
                    records.push(record(kind, sources));
                }
            }
        }
        change.told(again);
    }

    /// What is wanted, if anything is.
    pub(super) fn tell_all(&self, group: IpAddr) -> Option<Record> {
        let exclude = self.wanted.exclude;
        let kind = if exclude { RecordKind::IsExclude } else { RecordKind::IsInclude };
        let sources = self.wanted.list().to_vec();
        (!self.wanted.is_none()).then_some(Record { kind, group, sources })
    }

    /// Whether something is due to be told to older routers: that there are members, or that there
    /// are none.
    pub(super) fn tell_older(&mut self, now: Instant, again: Instant) -> Option<Older> {
        if self.timer().is_none_or(|at| at > now) {
            return None;
        }
        self.answer = None;
        self.change.told(again);
        let leave = self.wanted.is_none();
        self.last_reporter = !leave;
        Some(if leave { Older::Leave } else { Older::Report })
    }

    /// How often a change is yet to be told.
    pub(super) fn times_left(&self) -> u8 {
        let sources = self.change.sources.iter().map(|&(_, times)| times);
        sources.fold(self.change.mode, u8::max)
    }

    /// When something is due.
    pub(super) fn timer(&self) -> Option<Instant> {
        let answer = self.answer.as_ref().map(|answer| answer.at);
        earlier(answer, self.change.timer())
    }
}

impl Change {
    fn timer(&self) -> Option<Instant> {
        (self.mode > 0 || !self.sources.is_empty()).then_some(self.at)
    }

    /// Counts that it was told.
    fn told(&mut self, again: Instant) {
        self.at = again;
        self.mode = self.mode.saturating_sub(1);
        for (_, times) in &mut self.sources {
            *times = times.saturating_sub(1);
        }
        self.sources.retain(|&(_, times)| times > 0);
    }
}

/// What can be told to older routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Older {
    Report,
    Leave,
}
