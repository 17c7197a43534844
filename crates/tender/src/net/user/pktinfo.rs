//! Datagrams with the address of the host that they came to, and leave from: `IP_PKTINFO`, and
//! the same for IPv6 (RFC 3542 §6.1).
//!
//! A socket that is bound to every address of the host must answer from the one that was asked.

use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void, cmsghdr, in_pktinfo, in6_pktinfo, iovec, msghdr};
use rustix::io::Errno;

/// Room for one control message of either family, aligned as they are.
#[repr(C, align(8))]
struct Control([u8; 64]);

// SAFETY: the macro only computes with numbers.
const _: () = assert!(unsafe { libc::CMSG_SPACE(size_of::<in6_pktinfo>() as u32) } <= 64);

/// Asks for the address with each datagram.
pub(super) fn enable(socket: BorrowedFd<'_>, ipv6: bool) -> Result<(), Errno> {
    let (level, option) = match ipv6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        false => (libc::IPPROTO_IP, libc::IP_PKTINFO),
    };
    switch_on(socket, level, option)
}

/// Switches on an option that is an int.
pub(super) fn switch_on(socket: BorrowedFd<'_>, level: c_int, option: c_int) -> Result<(), Errno> {
    let on: c_int = 1;
    let value = (&raw const on).cast::<c_void>();
    // SAFETY: `value` points to an int, of the length beside it, and nothing is written to it.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, value, size_of::<c_int>() as u32)
    };
    if set == 0 { Ok(()) } else { Err(last_error()) }
}

/// A datagram: its length, from whom, and to which address of the host, if the socket was asked for
/// that. What does not fit into `buffer` is cut off.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, SocketAddr, Option<IpAddr>), Errno> {
    let mut control = Control([0; 64]);
    let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut data = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: zeros are a message without anything.
    let mut message: msghdr = unsafe { mem::zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
    message.msg_iov = &mut data;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    // SAFETY: each pointer in the message is to memory of the length beside it, which is ours
    // alone until the call returns.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| last_error())?;
    // SAFETY: it was zeroed, and zeros are an address of no family.
    let from = address(unsafe { name.assume_init_ref() }).ok_or(Errno::AFNOSUPPORT)?;
    Ok((length, from, asked(&message)))
}

/// Sends a datagram from this address of the host.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    payload: &[u8],
    from: IpAddr,
    to: SocketAddr,
) -> Result<(), Errno> {
    let mut control = Control([0; 64]);
    let (name, name_length) = name(to);
    let mut data = iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    // SAFETY: zeros are a message without anything.
    let mut message: msghdr = unsafe { mem::zeroed() };
    message.msg_name = (&raw const name).cast_mut().cast();
    message.msg_namelen = name_length;
    message.msg_iov = &mut data;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    match from {
        IpAddr::V4(from) => {
            // SAFETY: zeros are numbers, and a choice of no interface.
            let mut info: in_pktinfo = unsafe { mem::zeroed() };
            info.ipi_spec_dst.s_addr = u32::from(from).to_be();
            put(&mut message, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        IpAddr::V6(from) => {
            // SAFETY: as above.
            let mut info: in6_pktinfo = unsafe { mem::zeroed() };
            info.ipi6_addr.s6_addr = from.octets();
            put(&mut message, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
    // SAFETY: each pointer in the message is to memory of the length beside it, and of that
    // sendmsg changes nothing, so that `payload` and `name` may be shared.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_DONTWAIT) };
    if sent >= 0 { Ok(()) } else { Err(last_error()) }
}

/// Makes `value` the only control message of a message that has room for it.
fn put<T: Copy>(message: &mut msghdr, level: c_int, kind: c_int, value: T) {
    const { assert!(size_of::<T>() <= size_of::<in6_pktinfo>()) };
    let size = size_of::<T>() as u32;
    // SAFETY: the message's control data is a `Control`, which is aligned for a header and has
    // room for it and either kind of value; `write_unaligned` asks for nothing else.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(size) as usize;
        let header = libc::CMSG_FIRSTHDR(message);
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(size) as usize;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
    }
}

/// The address of the host in the control messages of a message that was received.
pub(super) fn asked(message: &msghdr) -> Option<IpAddr> {
    // SAFETY: the control data is what the kernel wrote into a `Control`; the macros stay within
    // the length that it set.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(&cmsghdr { cmsg_level, cmsg_type, cmsg_len, .. }) = header.as_ref() {
            let data = libc::CMSG_DATA(header);
            let holds = |size: usize| cmsg_len >= libc::CMSG_LEN(size as u32) as usize;
            match (cmsg_level, cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) if holds(size_of::<in_pktinfo>()) => {
                    let info = data.cast::<in_pktinfo>().read_unaligned();
                    let local = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
                    // An error has only the address that it was sent to, which is no group's.
                    let to = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                    return Some(if local.is_unspecified() { to } else { local }.into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if holds(size_of::<in6_pktinfo>()) => {
                    let info = data.cast::<in6_pktinfo>().read_unaligned();
                    return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => header = libc::CMSG_NXTHDR(message, header),
            }
        }
    }
    None
}

pub(super) fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let name = &raw const *name;
    match c_int::from(
        // SAFETY: it comes from a reference, and its first field is the family.
        unsafe { (*name).ss_family },
    ) {
        libc::AF_INET => {
            // SAFETY: storage has room for every family, and its numbers may be any.
            let name = unsafe { *name.cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(address, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { *name.cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(address, port, 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn name(address: SocketAddr) -> (libc::sockaddr_in6, u32) {
    // SAFETY: zeros are an address of no family.
    let mut name: libc::sockaddr_in6 = unsafe { mem::zeroed() };
    match address {
        SocketAddr::V4(address) => {
            // SAFETY: zeros are an address of no family.
            let mut v4: libc::sockaddr_in = unsafe { mem::zeroed() };
            v4.sin_family = libc::AF_INET as u16;
            v4.sin_port = address.port().to_be();
            v4.sin_addr.s_addr = u32::from(*address.ip()).to_be();
            // SAFETY: the larger structure has room for the smaller, and is no less aligned.
            unsafe { (&raw mut name).cast::<libc::sockaddr_in>().write(v4) };
            (name, size_of::<libc::sockaddr_in>() as u32)
        }
        SocketAddr::V6(address) => {
            name.sin6_family = libc::AF_INET6 as u16;
            name.sin6_port = address.port().to_be();
            name.sin6_addr.s6_addr = address.ip().octets();
            name.sin6_scope_id = address.scope_id();
            (name, size_of::<libc::sockaddr_in6>() as u32)
        }
    }
}

pub(super) fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn an_answer_leaves_from_the_address_that_was_asked() {
        for (every, asked) in
            [("0.0.0.0:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "::1")]
        {
            let server = UdpSocket::bind(every).unwrap();
            enable(server.as_fd(), every.starts_with('[')).unwrap();
            let asked: IpAddr = asked.parse().unwrap();
            let client = UdpSocket::bind((asked, 0)).unwrap();
            client.connect((asked, server.local_addr().unwrap().port())).unwrap();

            client.send(b"hello").unwrap();
            let mut buffer = [0; 16];
            let (length, from, to) = receive(server.as_fd(), &mut buffer).unwrap();
            assert_eq!(
                (&buffer[..length], from, to),
                (&b"hello"[..], client.local_addr().unwrap(), Some(asked))
            );
            assert_eq!(receive(server.as_fd(), &mut buffer), Err(Errno::AGAIN));

            send(server.as_fd(), b"world", to.unwrap(), from).unwrap();
            assert_eq!((client.recv(&mut buffer).unwrap(), &buffer[..5]), (5, &b"world"[..]));
        }
    }
}
