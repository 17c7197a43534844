use std::fmt;

use solo5_abi::hvt::{
    BlockRead, BlockWrite, Call, Halt, NetRead, NetWrite, Poll, Puts, Walltime, operation,
};

/// What an hvt image was refused, which ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it did.
    pub fault: Fault,
    /// Address of the instruction that did it; `None` if it was something in the ring, or if the
    /// processor has shut down.
    pub rip: Option<u64>,
}

/// What an hvt image did that it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It passed memory that is not its own to the call of this number.
    Pointer {
        /// The call; 0 is the ring.
        call: u16,
        /// Where.
        address: u64,
        /// How many bytes.
        length: u64,
    },
    /// It gave the call of this number more bytes than there can be.
    Length {
        /// The call; 0 is the ring.
        call: u16,
        /// How many.
        length: u64,
    },
    /// It used a port at which there is no call.
    Port(u16),
    /// It asked for an operation in the ring that there is not.
    Operation(u32),
    /// It put more into the ring than has room there.
    Entries(u32),
    /// It touched memory that there is not, or a page of code or read-only data of its host.
    Memory(u64),
    /// It had an exception while an exception was handled, or before it could handle any.
    Shutdown,
    /// It halted the processor, which nothing would wake.
    Halted,
    /// KVM cannot go on with it, for this reason: an error number, or a reason of the hardware.
    Kvm(u64),
}

/// Bytes of a refusal between processes.
pub(crate) const SIZE: usize = 5 * size_of::<u64>();

impl Refusal {
    /// One that the ring is refused.
    pub(crate) const fn in_ring(fault: Fault) -> Self {
        Self { fault, rip: None }
    }

    pub(crate) fn to_bytes(self) -> [u8; SIZE] {
        let [kind, number, address, length] = match self.fault {
            Fault::Pointer { call, address, length } => [0, call.into(), address, length],
            Fault::Length { call, length } => [1, call.into(), 0, length],
            Fault::Port(port) => [2, port.into(), 0, 0],
            Fault::Operation(operation) => [3, operation.into(), 0, 0],
            Fault::Entries(count) => [4, count.into(), 0, 0],
            Fault::Memory(address) => [5, 0, address, 0],
            Fault::Shutdown => [6, 0, 0, 0],
            Fault::Halted => [7, 0, 0, 0],
            Fault::Kvm(reason) => [8, reason, 0, 0],
        };
        // Nothing of an image lies at 0.
        let words = [self.rip.unwrap_or(0), kind, number, address, length];
        let mut bytes = [0; SIZE];
        bytes.copy_from_slice(words.map(u64::to_ne_bytes).as_flattened());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SIZE] = bytes.try_into().ok()?;
        let mut words = bytes.as_chunks().0.iter().map(|&word| u64::from_ne_bytes(word));
        let mut word = || words.next();
        let (rip, kind, number, address, length) = (word()?, word()?, word()?, word()?, word()?);
        let fault = match kind {
            0 => Fault::Pointer { call: number as u16, address, length },
            1 => Fault::Length { call: number as u16, length },
            2 => Fault::Port(number as u16),
            3 => Fault::Operation(number as u32),
            4 => Fault::Entries(number as u32),
            5 => Fault::Memory(address),
            6 => Fault::Shutdown,
            7 => Fault::Halted,
            8 => Fault::Kvm(number),
            _ => return None,
        };
        Some(Self { fault, rip: Some(rip).filter(|&rip| rip != 0) })
    }
}

/// What Solo5 calls the call of this number.
fn name(call: u16) -> &'static str {
    const NAMES: [(u16, &str); 8] = [
        (Walltime::NUMBER, Walltime::NAME),
        (Puts::NUMBER, Puts::NAME),
        (Poll::NUMBER, Poll::NAME),
        (BlockWrite::NUMBER, BlockWrite::NAME),
        (BlockRead::NUMBER, BlockRead::NAME),
        (NetWrite::NUMBER, NetWrite::NAME),
        (NetRead::NUMBER, NetRead::NAME),
        (Halt::NUMBER, Halt::NAME),
    ];
    NAMES.iter().find(|&&(number, _)| number == call).map_or("of the ring", |&(_, name)| name)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Pointer { call, address, length } => {
                let name = name(call);
                write!(
                    f,
                    "its call {name} has memory that it may not: {length} bytes at {address:#x}"
                )
            }
            Fault::Length { call, length } => {
                write!(f, "its call {} has {length} bytes, more than there can be", name(call))
            }
            Fault::Port(port) => match port.checked_sub(solo5_abi::hvt::PORT) {
                Some(call @ 0..0x100) => write!(f, "it made call {call}, which there is not"),
                _ => write!(f, "it used port {port:#x}, at which there is nothing"),
            },
            Fault::Operation(operation) => write!(
                f,
                "it asked for operation {operation} in the ring, which has {} and {}",
                operation::NET_WRITE,
                operation::NET_READ
            ),
            Fault::Entries(count) => write!(f, "it put {count} entries into the ring at once"),
            Fault::Memory(address) => {
                write!(f, "it touched memory that there is not: {address:#x}")
            }
            Fault::Shutdown => f.write_str("it had an exception that it could not handle"),
            Fault::Halted => f.write_str("it halted its processor for good"),
            Fault::Kvm(reason) => write!(f, "KVM cannot go on with it (reason {reason:#x})"),
        }?;
        match self.rip {
            Some(rip) => write!(f, ", at rip {rip:#x}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_the_same_in_the_other_process() {
        for fault in [
            Fault::Pointer { call: 6, address: u64::MAX, length: 7 },
            Fault::Length { call: 6, length: 1 << 40 },
            Fault::Port(0x509),
            Fault::Operation(3),
            Fault::Entries(1025),
            Fault::Memory(1 << 33),
            Fault::Shutdown,
            Fault::Halted,
            Fault::Kvm(14),
        ] {
            for rip in [None, Some(0x10_0000)] {
                let refusal = Refusal { fault, rip };
                assert_eq!(Refusal::from_bytes(&refusal.to_bytes()), Some(refusal));
            }
        }
        assert_eq!(Refusal::from_bytes(&[9; SIZE]), None);
        assert_eq!(Refusal::from_bytes(&[0; 5]), None);
    }

    #[test]
    fn a_refusal_names_the_call() {
        let refusal = Refusal {
            fault: Fault::Pointer { call: NetWrite::NUMBER, address: 0xfff0_0000, length: 64 },
            rip: Some(0x10_0123),
        };
        assert_eq!(
            refusal.to_string(),
            "its call net_write has memory that it may not: 64 bytes at 0xfff00000, at rip 0x100123"
        );
        let unknown = Refusal { fault: Fault::Port(0x509), rip: Some(0x10_0123) };
        assert_eq!(unknown.to_string(), "it made call 9, which there is not, at rip 0x100123");
    }
}
