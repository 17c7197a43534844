use std::fmt;

use crate::{Host, Run, Subject};

/// One thing that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Whose stack it is.
    pub stack: Stack,
    /// What the host does.
    pub way: Way,
    /// Over what.
    pub family: Family,
    /// Bytes of payload.
    pub size: usize,
    /// How many ports are bound; each in turn is spoken to.
    pub ports: usize,
    /// How many hosts there are to talk to; each in turn speaks. One is on the link, many are behind
    /// a router.
    pub peers: usize,
    /// How many datagrams come before the first is answered.
    pub window: usize,
}

/// Whose stack it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// This one, by its async API.
    Mnet,
    /// smoltcp, polled in a loop.
    Smoltcp,
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mnet => "mnet",
            Self::Smoltcp => "smoltcp",
        })
    }
}

/// What the host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It copies a datagram out, and sends a copy of that back: `recv_from`, `send_to`.
    Copy,
    /// It sends a datagram back in the packet that it came in: `recv_datagram`, `reply`.
    Reply,
    /// It copies a datagram out, and sends nothing.
    Sink,
    /// It sends a datagram of a buffer of its own.
    Source,
    /// It sends sixteen datagrams of one buffer: `send_segments`. The cost is of one of them.
    Segments,
}

/// Over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        })
    }
}

impl Subject for Case {
    fn stack(&self) -> Stack {
        self.stack
    }

    fn start(self) -> Run {
        let host = Host::start(self);
        if let many @ 2.. = self.ports.max(self.peers) {
            // Each port, and each peer, has been spoken to before.
            let _ = host.run(many.min(10_000) as u64);
        }
        Box::new(move |count| host.run(count).elapsed)
    }
}

impl fmt::Display for Case {
    /// Its name: `echo/mnet-reply/v4/64`, and what else there is of ports, peers and windows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.way {
            Way::Copy | Way::Reply => "echo",
            Way::Sink => "receive",
            Way::Source => "send",
            Way::Segments => "segments",
        };
        let Self { stack, family, size, .. } = self;
        let how = if self.way == Way::Reply { "-reply" } else { "" };
        write!(f, "{kind}/{stack}{how}/{family}/{size}")?;
        for (name, count) in [("ports", self.ports), ("peers", self.peers), ("window", self.window)]
        {
            if count > 1 {
                write!(f, "/{name}-{count}")?;
            }
        }
        Ok(())
    }
}

const V4: Case = Case {
    stack: Stack::Mnet,
    way: Way::Reply,
    family: Family::V4,
    size: 64,
    ports: 1,
    peers: 1,
    window: 1,
};
const V4_COPY: Case = Case { way: Way::Copy, ..V4 };
const V6: Case = Case { family: Family::V6, ..V4 };
const V6_COPY: Case = Case { way: Way::Copy, ..V6 };
const SMOL: Case = Case { stack: Stack::Smoltcp, ..V4_COPY };
const SMOL_V6: Case = Case { family: Family::V6, ..SMOL };

/// All that is measured. What smoltcp does not do is not there: fragments of IPv6.
pub const CASES: &[Case] = &[
    V4,
    V4_COPY,
    SMOL,
    Case { size: 1, ..V4 },
    Case { size: 1, ..V4_COPY },
    Case { size: 1, ..SMOL },
    Case { size: 512, ..V4 },
    Case { size: 512, ..V4_COPY },
    Case { size: 512, ..SMOL },
    Case { size: 1_400, ..V4 },
    Case { size: 1_400, ..V4_COPY },
    Case { size: 1_400, ..SMOL },
    Case { size: 8_192, ..V4 },
    Case { size: 8_192, ..V4_COPY },
    Case { size: 8_192, ..SMOL },
    V6,
    V6_COPY,
    SMOL_V6,
    Case { size: 1, ..V6 },
    Case { size: 1, ..V6_COPY },
    Case { size: 1, ..SMOL_V6 },
    Case { size: 512, ..V6 },
    Case { size: 512, ..V6_COPY },
    Case { size: 512, ..SMOL_V6 },
    Case { size: 1_400, ..V6 },
    Case { size: 1_400, ..V6_COPY },
    Case { size: 1_400, ..SMOL_V6 },
    Case { size: 8_192, ..V6 },
    Case { size: 8_192, ..V6_COPY },
    Case { window: 32, ..V4 },
    Case { window: 32, ..V4_COPY },
    Case { window: 32, ..SMOL },
    Case { ports: 100, ..V4 },
    Case { ports: 100, ..SMOL },
    Case { ports: 1_000, ..V4 },
    Case { ports: 1_000, ..SMOL },
    Case { ports: 10_000, ..V4 },
    Case { ports: 60_000, ..V4 },
    Case { peers: 100, ..V4 },
    Case { peers: 100, ..SMOL },
    Case { peers: 10_000, ..V4 },
    Case { peers: 10_000, ..SMOL },
    Case { peers: 10_000, ..V4_COPY },
    Case { way: Way::Sink, ..V4 },
    Case { way: Way::Sink, ..SMOL },
    Case { way: Way::Source, ..V4 },
    Case { way: Way::Source, ..SMOL },
    Case { way: Way::Segments, size: 1_400, ..V4 },
];
