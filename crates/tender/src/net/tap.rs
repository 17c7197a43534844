//! TAP interfaces of the host.

use std::os::fd::{AsFd, OwnedFd};

use libc::{IFF_NO_PI, IFF_TAP, IFF_UP, ifreq};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open as open_file};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::ioctl::{self, Opcode, Updater};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::{NetworkError, borrow};

/// MTU of what does not tell its own.
const DEFAULT_MTU: u16 = 1500;

/// Whether an interface can have this name, and `TUNSETIFF` would take it for no pattern.
pub(super) fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..libc::IFNAMSIZ).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(byte))
        && name != "."
        && name != ".."
}

/// Attaches to a TAP that exists and is up.
pub(super) fn open(interface: &str) -> Result<(OwnedFd, u16), NetworkError> {
    let name = || interface.to_owned();
    let system = |what| move |source| NetworkError::System { what, source };
    let mut request = request(interface).ok_or_else(|| NetworkError::Missing(name()))?;

    // TUNSETIFF would make what does not exist.
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(system("open a socket"))?;
    update::<{ libc::SIOCGIFFLAGS as Opcode }>(&socket, &mut request).map_err(
        |error| match error {
            Errno::NODEV | Errno::NXIO => NetworkError::Missing(name()),
            error => system("look at the interface")(error),
        },
    )?;
    if flags(&request) & IFF_UP == 0 {
        return Err(NetworkError::Down(name()));
    }
    let mtu = mtu(&socket, interface).map_err(system("read the interface's MTU"))?;

    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let tap = open_file("/dev/net/tun", flags, Mode::empty()).map_err(|error| match error {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => NetworkError::NoTun,
        Errno::ACCESS | Errno::PERM => NetworkError::TunForbidden,
        error => system("open /dev/net/tun")(error),
    })?;
    request.ifr_ifru.ifru_flags = (IFF_TAP | IFF_NO_PI) as i16;
    update::<{ libc::TUNSETIFF as Opcode }>(&tap, &mut request).map_err(|error| match error {
        Errno::BUSY => NetworkError::Busy(name()),
        Errno::PERM | Errno::ACCESS => NetworkError::Forbidden(name()),
        Errno::INVAL => NetworkError::NoTap(name()),
        error => system("attach to the TAP")(error),
    })?;
    Ok((tap, mtu))
}

/// Takes a copy of a descriptor that came from outside.
pub(super) fn adopt(descriptor: i32) -> Result<(OwnedFd, u16), NetworkError> {
    let system = |what| move |source| NetworkError::System { what, source };
    let borrowed = borrow(descriptor).ok_or(NetworkError::NotOpen(descriptor))?;
    let tap = fcntl_dupfd_cloexec(borrowed, 3).map_err(system("duplicate the descriptor"))?;
    let flags = fcntl_getfl(&tap).map_err(system("look at the descriptor"))?;
    fcntl_setfl(&tap, flags | OFlags::NONBLOCK).map_err(system("make it non-blocking"))?;

    // SAFETY: all its fields are numbers, or arrays of them.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    if update::<{ libc::TUNGETIFF as Opcode }>(&tap, &mut request).is_err() {
        return Ok((tap, DEFAULT_MTU));
    }
    // Whether it has IFF_NO_PI cannot be seen: here its bit says that there is no filter.
    if self::flags(&request) & IFF_TAP == 0 {
        return Err(NetworkError::Tun(descriptor));
    }
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(system("open a socket"))?;
    // Its interface may be in another network namespace, where its MTU cannot be seen.
    let seen = update::<{ libc::SIOCGIFMTU as Opcode }>(&socket, &mut request).is_ok();
    Ok((tap, if seen { number(&request) } else { DEFAULT_MTU }))
}

fn mtu(socket: &OwnedFd, interface: &str) -> Result<u16, Errno> {
    let mut request = request(interface).ok_or(Errno::NODEV)?;
    update::<{ libc::SIOCGIFMTU as Opcode }>(socket, &mut request)?;
    Ok(number(&request))
}

/// An interface request for this name.
fn request(interface: &str) -> Option<ifreq> {
    if !is_name(interface) {
        return None;
    }
    // SAFETY: all its fields are numbers, or arrays of them.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    Some(request)
}

fn flags(request: &ifreq) -> i32 {
    // SAFETY: all of the union's bytes are set, and any are a number.
    i32::from(unsafe { request.ifr_ifru.ifru_flags })
}

fn number(request: &ifreq) -> u16 {
    // SAFETY: as above.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u16::try_from(mtu).unwrap_or(u16::MAX)
}

/// Makes one of the ioctls that take an interface request.
fn update<const OPCODE: Opcode>(fd: impl AsFd, request: &mut ifreq) -> Result<(), Errno> {
    // SAFETY: each of the opcodes that this file gives reads and writes an `ifreq`, no more. On a
    // descriptor of another kind they do nothing: they are in the ranges of sockets and TAPs.
    unsafe { ioctl::ioctl(fd, Updater::<OPCODE, ifreq>::new(request)) }
}
