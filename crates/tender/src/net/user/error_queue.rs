//! What became of datagrams that were sent: `IP_RECVERR`, and the same for IPv6 (ip(7), ipv6(7)).
//!
//! Without it a socket that is not connected hears nothing of it.

use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{cmsghdr, iovec, msghdr, sock_extended_err};
use rustix::io::Errno;

use super::pktinfo;

/// Room for the control messages of an error: what it is, who told it, and which address of the
/// host it came to.
#[repr(C, align(8))]
struct Control([u8; 512]);

/// A datagram that did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Why.
    pub(super) error: Errno,
    /// Whether a host on the way says so, and not this one.
    pub(super) remote: bool,
    /// Where it was sent.
    pub(super) to: SocketAddr,
    /// The address of the host that it left from.
    pub(super) from: IpAddr,
}

/// Asks for errors. What was sent before a call may fail it from then on.
pub(super) fn enable(socket: BorrowedFd<'_>, ipv6: bool) -> Result<(), Errno> {
    let (level, option) = match ipv6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        false => (libc::IPPROTO_IP, libc::IP_RECVERR),
    };
    pktinfo::switch_on(socket, level, option)
}

/// Takes an error off the queue, and puts what is known of the datagram into `buffer`; gives the
/// length of that. It left from `local`, unless the socket knows better.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    local: IpAddr,
    buffer: &mut [u8],
) -> Result<(usize, Failure), Errno> {
    let mut control = Control([0; 512]);
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
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: each pointer in the message is to memory of the length beside it, which is ours
    // alone until the call returns.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) };
    let length = usize::try_from(length).map_err(|_| pktinfo::last_error())?;
    // SAFETY: it was zeroed, and zeros are an address of no family.
    let to = pktinfo::address(unsafe { name.assume_init_ref() }).ok_or(Errno::AFNOSUPPORT)?;
    let error = extended_error(&message).ok_or(Errno::NODATA)?;
    let failure = Failure {
        error: Errno::from_raw_os_error(error.ee_errno as i32),
        remote: error.ee_origin != libc::SO_EE_ORIGIN_LOCAL,
        to,
        from: pktinfo::asked(&message).unwrap_or(local),
    };
    Ok((length, failure))
}

fn extended_error(message: &msghdr) -> Option<sock_extended_err> {
    // SAFETY: the control data is what the kernel wrote into a `Control`; the macros stay within
    // the length that it set, and a message that is long enough for an error holds one.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(&cmsghdr { cmsg_level, cmsg_type, cmsg_len, .. }) = header.as_ref() {
            let is_error = matches!(
                (cmsg_level, cmsg_type),
                (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
            );
            let size = libc::CMSG_LEN(size_of::<sock_extended_err>() as u32) as usize;
            if is_error && cmsg_len >= size {
                let data = libc::CMSG_DATA(header).cast::<sock_extended_err>();
                return Some(data.read_unaligned());
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_port_that_refuses_is_told_of_with_what_was_sent() {
        for (any, host) in [("0.0.0.0:0", "127.0.0.1:0"), ("[::]:0", "[::1]:0")] {
            let socket = UdpSocket::bind(any).unwrap();
            enable(socket.as_fd(), any.starts_with('[')).unwrap();
            pktinfo::enable(socket.as_fd(), any.starts_with('[')).unwrap();
            let closed = UdpSocket::bind(host).unwrap().local_addr().unwrap();
            let mut buffer = [0; 64];
            let local = socket.local_addr().unwrap().ip();
            assert_eq!(receive(socket.as_fd(), local, &mut buffer), Err(Errno::AGAIN));
            socket.send_to(b"anybody there?", closed).unwrap();
            let deadline = Instant::now() + Duration::from_secs(5);
            let failure = loop {
                match receive(socket.as_fd(), local, &mut buffer) {
                    Err(Errno::AGAIN) if Instant::now() < deadline => {}
                    other => break other.unwrap(),
                }
            };
            let (error, from) = (Errno::CONNREFUSED, closed.ip());
            assert_eq!(failure, (14, Failure { error, remote: true, to: closed, from }));
            assert_eq!(&buffer[..14], b"anybody there?");
        }
    }
}
