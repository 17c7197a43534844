//! Measures UDP: sends back, takes, or answers what comes, or sends at a rate, or asks and measures
//! how long answers take, as `--mode=echo`, `sink`, `respond`, `source` or `request` says.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod arguments;
mod histogram;
mod meter;
mod send;
mod serve;

use crate::arguments::{Arguments, Mode};
use crate::send::Sender;

#[mkernel::main(net = "service")]
async fn main() -> Result<(), mnet::Error> {
    let Arguments { mode, port, size, pace, window } = Arguments::parse(mkernel::args())?;
    let stack = mnet::stack("service").await?;
    match mode {
        Mode::Echo | Mode::Sink | Mode::Respond => {
            let socket = stack.udp().bind(port)?;
            stack.ready().await;
            log::info!("ready: {mode} on UDP port {port}");
            serve::serve(socket, mode, size).await?;
        }
        Mode::Source(to) | Mode::Request(to) => {
            let socket = stack.udp().bind(0)?;
            let sender = Sender::new(stack.clone(), socket, to, size).await?;
            log::info!("ready: {mode}");
            match mode {
                Mode::Source(_) => sender.source(&pace).await?,
                _ => sender.request(&pace, window).await?,
            }
            stack.flush().await;
        }
    }
    Ok(())
}
