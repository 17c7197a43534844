//! The link as `edge-mdns` sees it: only who is on it is heard, and what cannot be sent is let go.

use core::net::SocketAddr;

use edge_nal::io::ErrorType;
use edge_nal::{Readable, UdpReceive, UdpSend};
use mnet::edge_nal::Socket;
use mnet::{Error, SendError, Stack};

/// A socket for neighbours alone. Clones share it.
#[derive(Clone)]
pub(crate) struct Link {
    stack: Stack,
    socket: Socket,
}

impl Link {
    pub(crate) fn new(stack: &Stack, socket: Socket) -> Self {
        Self { stack: stack.clone(), socket }
    }

    /// Whether somebody is on the link (RFC 6762 §11).
    fn has(&self, remote: &SocketAddr) -> bool {
        self.stack.addresses().iter().any(|own| own.cidr.contains(remote.ip()))
    }
}

impl ErrorType for Link {
    type Error = Error;
}

impl UdpReceive for Link {
    /// Passes over what comes from elsewhere, and what is too long to be a message.
    async fn receive(&mut self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        loop {
            let (length, remote) = self.socket.receive(buffer).await?;
            if length <= buffer.len() && self.has(&remote) {
                return Ok((length, remote));
            }
        }
    }
}

impl Readable for Link {
    async fn readable(&mut self) -> Result<(), Error> {
        self.socket.readable().await
    }
}

impl UdpSend for Link {
    /// What goes to both families may find no way in one of them, which is no reason to end.
    async fn send(&mut self, remote: SocketAddr, data: &[u8]) -> Result<(), Error> {
        match self.socket.send(remote, data).await {
            Err(Error::Send(error)) if error != SendError::DeviceGone => {
                log::debug!("{remote}: {error}");
                Ok(())
            }
            sent => sent,
        }
    }
}
