use core::future::poll_fn;
use core::net::IpAddr;
use core::pin::pin;
use core::task::Poll;

use mkernel::Trigger;
use mnet_proto::{Datagram, SocketId};

use crate::error::RecvError;
use crate::shared::{Next, NextFrom, Shared};

/// What may be asked for when receiving.
///
/// ```
/// # use mnet::RecvOptions;
/// let stop = mkernel::Trigger::new();
/// let options = RecvOptions::new().source([192, 0, 2, 1]).trigger(&stop);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RecvOptions<'a> {
    source: Option<IpAddr>,
    trigger: Option<&'a Trigger>,
}

impl<'a> RecvOptions<'a> {
    /// Any datagram, however long it takes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only datagrams from this address; others stay for other readers.
    #[must_use]
    pub fn source(mut self, address: impl Into<IpAddr>) -> Self {
        self.source = Some(address.into());
        self
    }

    /// The wait ends with [`RecvError::Fired`] when this fires, and with a datagram if one is there
    /// by then.
    #[must_use]
    pub fn trigger(mut self, trigger: &'a Trigger) -> Self {
        self.trigger = Some(trigger);
        self
    }

    pub(crate) async fn receive(
        &self,
        shared: &Shared,
        socket: SocketId,
    ) -> Result<Datagram, RecvError> {
        let receive = async {
            match self.source {
                Some(source) => shared.receive(socket, NextFrom(source)).await,
                None => shared.receive(socket, Next).await,
            }
        };
        let Some(trigger) = self.trigger else { return receive.await };
        let (mut receive, mut fired) = (pin!(receive), pin!(trigger.fired()));
        poll_fn(|cx| match receive.as_mut().poll(cx) {
            Poll::Pending => fired.as_mut().poll(cx).map(|()| Err(RecvError::Fired)),
            received => received,
        })
        .await
    }
}
