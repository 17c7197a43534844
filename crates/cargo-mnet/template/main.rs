//! Sends each UDP datagram on port 7 back to its sender: a service to begin with.

#![cfg_attr(target_os = "none", no_std, no_main)]

const PORT: u16 = 7;

#[mkernel::main(net = "service")]
async fn main() -> Result<(), mnet::Error> {
    let stack = mnet::stack("service").await?;
    let socket = stack.udp().bind(PORT)?;
    stack.ready().await;
    log::info!("ready on UDP port {PORT}");
    loop {
        let datagram = socket.recv_datagram().await?;
        if let Err(error) = datagram.reply().await {
            log::debug!("{error}");
        }
    }
}
