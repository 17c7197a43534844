//! The modes that wait for others.

use mnet::{RecvError, UdpSocket};

use crate::arguments::Mode;
use crate::meter::Meter;

/// Takes what comes, and answers it or not, for ever.
pub(crate) async fn serve(socket: UdpSocket, mode: Mode, size: usize) -> Result<(), RecvError> {
    let meter = Meter::default();
    mkernel::spawn(meter.clone().tell(socket.clone(), "received"));
    loop {
        let datagram = socket.recv_datagram().await?;
        let came = datagram.payload().len();
        meter.add(came);
        let sent = match mode {
            Mode::Echo => datagram.reply().await,
            Mode::Respond => datagram.reply_with(size, |room| blank(room, came)).await,
            _ => Ok(()),
        };
        if let Err(error) = sent {
            log::debug!("{error}");
        }
    }
}

/// Lets nothing be seen behind what came: the number that it may begin with is repeated.
fn blank(room: &mut [u8], came: usize) {
    room.iter_mut().skip(came).for_each(|byte| *byte = 0);
}
