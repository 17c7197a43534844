use std::fmt;

use crate::{CASES, Case, Host, Part, Run, Stack};

/// Something whose cost is measured.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// The whole way of a datagram.
    Case(Case),
    /// A part of it, by itself.
    Part(Part),
}

impl Subject {
    /// All there are.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let parts = Part::all().into_iter().map(Self::Part);
        CASES.iter().copied().map(Self::Case).chain(parts).collect()
    }

    /// Whose stack it is.
    #[must_use]
    pub fn stack(&self) -> Stack {
        match self {
            Self::Case(case) => case.stack,
            Self::Part(part) => part.stack,
        }
    }

    /// Gets it ready.
    #[must_use]
    pub fn start(self) -> Run {
        match self {
            Self::Case(case) => {
                let host = Host::start(case);
                // Each port, and each peer, has been spoken to before.
                let _ = host.run(case.ports.max(case.peers).min(10_000) as u64);
                Box::new(move |count| host.run(count).elapsed)
            }
            Self::Part(part) => part.start(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Case(case) => case.fmt(f),
            Self::Part(part) => part.fmt(f),
        }
    }
}
