//! Collects what programs count, in StatsD's format, on UDP port 8125, and tells it who asks on 8126.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod line;
mod table;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use mnet::{ArgumentError, RecvError, UdpSocket};

use crate::table::Table;

const COLLECT: u16 = 8125;
const ASK: u16 = 8126;
/// Datagrams that may wait while others are taken, for many senders may send at once.
const QUEUE: usize = 4_096;
/// Most bytes of their payloads.
const QUEUE_BYTES: usize = 4 << 20;
/// Datagrams that are taken in one go.
const BATCH: usize = 64;

#[mkernel::main(net = "service")]
async fn main() -> Result<(), mnet::Error> {
    if let Some(argument) = mkernel::args().find(|argument| !mnet::is_argument(argument)) {
        let reason = "there are no arguments but those of the stack".into();
        return Err(ArgumentError::Malformed { argument: argument.into(), reason }.into());
    }
    let mut config = mnet::config_from_args()?;
    config.receive_queue = QUEUE;
    config.receive_queue_bytes = QUEUE_BYTES;
    config.receive_queues = QUEUE;
    // Half as many more find room in other sockets' queues, and an eighth is kept for sending.
    config.packets = 2 * QUEUE;
    let stack = mnet::stack("service").config(config).await?;
    let socket = stack.udp().bind(COLLECT)?;
    let questions = stack.udp().bind(ASK)?;
    stack.ready().await;
    log::info!("ready: collects on UDP port {COLLECT}, answers on UDP port {ASK}");

    let table = Rc::new(RefCell::new(Table::default()));
    let answering = mkernel::spawn(answer(questions, socket.clone(), Rc::clone(&table)));
    collect(&socket, &table).await?;
    answering.await??;
    Ok(())
}

async fn collect(socket: &UdpSocket, table: &RefCell<Table>) -> Result<(), RecvError> {
    let mut datagrams = Vec::with_capacity(BATCH);
    loop {
        socket.recv_many(&mut datagrams, BATCH).await?;
        let mut table = table.borrow_mut();
        datagrams.drain(..).for_each(|datagram| table.take(datagram.payload()));
    }
}

async fn answer(
    questions: UdpSocket,
    collected: UdpSocket,
    table: Rc<RefCell<Table>>,
) -> Result<(), RecvError> {
    loop {
        let question = questions.recv_datagram().await?;
        let dropped = collected.stats().dropped;
        let Some(answer) = table.borrow().answer(question.payload(), dropped) else { continue };
        let fill = |room: &mut [u8]| room.copy_from_slice(answer.as_bytes());
        if let Err(error) = question.reply_with(answer.len(), fill).await {
            log::debug!("{error}");
        }
    }
}
