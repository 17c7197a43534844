use mkernel::{Aborted, AcquireError, Elapsed};
use mnet_proto::{
    AddressError, BindError, ConfigError, IcmpError, JoinError, RouteError, SendError,
};
use thiserror::Error;

use crate::arguments::ArgumentError;

/// Why a stack cannot start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StackError {
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] AcquireError),
    /// The image's arguments do not configure it.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The configuration does not fit itself or the device.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Why nothing was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The port cannot be read from: a [`UdpSocket`](crate::UdpSocket) has it, or it is 0.
    #[error(transparent)]
    Port(#[from] BindError),
    /// An ICMP error says that the peer of a connected socket cannot be reached. It is told once.
    #[error("Destination unreachable")]
    DestinationUnreachable(IcmpError),
    /// The trigger that ends the wait has fired.
    #[error("The trigger has fired")]
    Fired,
    /// Nothing is there now. Only calls that do not wait say so.
    #[error("Nothing to receive now")]
    WouldBlock,
    /// The device is gone for good.
    #[error("The network device is gone")]
    DeviceGone,
}

/// Any error of this crate, for a `main` that passes all of them on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The stack cannot start.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// A socket cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The host cannot have an address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The host cannot have a route.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A group cannot be joined.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Nothing was received.
    #[error(transparent)]
    Recv(#[from] RecvError),
    /// Something was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The image's arguments are not what the service takes.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// A task that was waited for has been aborted.
    #[error(transparent)]
    Aborted(#[from] Aborted),
    /// Something took longer than it was given.
    #[error(transparent)]
    Elapsed(#[from] Elapsed),
}
