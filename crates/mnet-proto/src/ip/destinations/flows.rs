//! What has gone to a destination, so that errors about anything else are not believed (RFC 5927 §4.1).

/// How many of the last flows to a destination are remembered.
const FLOWS: usize = 8;

/// From which port to which a datagram went.
pub(crate) type Flow = (u16, u16);

/// The last flows to a destination.
#[derive(Clone, Copy)]
pub(crate) struct Flows {
    // Both ports of each in one number, so that one is found in few steps.
    flows: [u32; FLOWS],
    newest: u8,
}

impl Flows {
    /// One, or none if it is to port 0, to which nothing goes.
    pub(super) const fn new(flow: Flow) -> Self {
        let mut flows = [0; FLOWS];
        flows[0] = number(flow);
        Self { flows, newest: 0 }
    }

    /// Takes note of what is sent. Says whether it is not the first.
    #[inline]
    pub(crate) fn note(&mut self, flow: Flow) -> bool {
        let flow = number(flow);
        let newest = self.flows[usize::from(self.newest) % FLOWS];
        if newest != flow && !self.flows.contains(&flow) {
            self.newest = (self.newest + 1) % FLOWS as u8;
            self.flows[usize::from(self.newest) % FLOWS] = flow;
        }
        newest != 0
    }

    /// Whether this flow is one of them.
    pub(crate) fn contains(&self, flow: Flow) -> bool {
        flow.1 != 0 && self.flows.contains(&number(flow))
    }
}

const fn number((from, to): Flow) -> u32 {
    (from as u32) << 16 | to as u32
}
