//! What [`Error`] is to crates that know only the kinds of errors of `embedded-io`.

use embedded_io_async::ErrorKind;
use mnet_proto::{BindError, IcmpError, JoinError, SendError};

use crate::error::{Error, RecvError};

impl embedded_io_async::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Bind(error) | Self::Recv(RecvError::Port(error)) => bind(error),
            Self::Send(error) => send(error),
            Self::Recv(RecvError::DestinationUnreachable(error)) => icmp(*error),
            Self::Recv(RecvError::DeviceGone) => ErrorKind::BrokenPipe,
            Self::Recv(RecvError::Fired) | Self::Aborted(_) => ErrorKind::Interrupted,
            Self::Join(JoinError::TooManyGroups | JoinError::TooManySources) => {
                ErrorKind::OutOfMemory
            }
            Self::Join(_) | Self::Argument(_) => ErrorKind::InvalidInput,
            _ => ErrorKind::Other,
        }
    }
}

fn bind(error: &BindError) -> ErrorKind {
    match error {
        BindError::PortInUse { .. } | BindError::NoFreePort => ErrorKind::AddrInUse,
        BindError::AddressNotLocal(_) => ErrorKind::AddrNotAvailable,
        _ => ErrorKind::InvalidInput,
    }
}

fn send(error: &SendError) -> ErrorKind {
    match error {
        SendError::RouteNotFound => ErrorKind::NotFound,
        SendError::DestinationUnreachable(error) => icmp(*error),
        SendError::NotConnected => ErrorKind::NotConnected,
        SendError::SourceNotLocal => ErrorKind::AddrNotAvailable,
        SendError::BroadcastNotAllowed => ErrorKind::PermissionDenied,
        SendError::NoFreePort => ErrorKind::AddrInUse,
        SendError::NoBuffer => ErrorKind::OutOfMemory,
        SendError::DeviceGone => ErrorKind::BrokenPipe,
        SendError::PacketTooBig { .. } | SendError::PortZero | SendError::FamilyMismatch => {
            ErrorKind::InvalidInput
        }
        _ => ErrorKind::Other,
    }
}

fn icmp(error: IcmpError) -> ErrorKind {
    match error {
        IcmpError::PortUnreachable => ErrorKind::ConnectionRefused,
        IcmpError::Prohibited => ErrorKind::PermissionDenied,
        IcmpError::TimeExceeded => ErrorKind::TimedOut,
        _ => ErrorKind::Other,
    }
}
