//! What the stack logs, sent by the stack itself.

use std::cell::RefCell;

use log::{LevelFilter, Log, Metadata, Record};
use mkernel::{block_on, sleep, timeout};
use mnet::{Ipv4Cidr, RecvError, UdpSocket};

use crate::wire::{meet, pair};
use crate::{LONG, SHORT, at_b};

thread_local! {
    static SYSLOG: RefCell<Option<UdpSocket>> = const { RefCell::new(None) };
}

/// Sends each line to a server, if its thread has a socket for that (RFC 5426).
struct Syslog;

impl Log for Syslog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(socket) = SYSLOG.with(|socket| socket.borrow().clone()) {
            let _ = socket.try_send_to(record.args().to_string().as_bytes(), at_b(514));
        }
    }

    fn flush(&self) {}
}

#[test]
fn what_the_stack_logs_can_be_sent_by_it() {
    // Tests on other threads get none of it.
    log::set_logger(&Syslog).unwrap();
    log::set_max_level(LevelFilter::Info);
    block_on(async {
        let (a, b, cable) = pair();
        let server = b.udp().bind(514).unwrap();
        meet(&a, &b).await;
        SYSLOG.set(Some(a.udp().bind(0).unwrap()));
        a.add_address(Ipv4Cidr::new([10, 0, 0, 3].into(), 24).unwrap()).unwrap();
        let line = timeout(LONG, server.recv_datagram()).await.unwrap().unwrap();
        let line = String::from_utf8_lossy(line.payload()).into_owned();
        assert!(line.contains("10.0.0.3/24"), "{line}");
        // Its end cannot be sent any more, but it is logged.
        cable.cut();
        sleep(SHORT).await;
        assert_eq!(server.try_recv(&mut [0; 1]), Err(RecvError::DeviceGone));
        SYSLOG.set(None);
    });
}
