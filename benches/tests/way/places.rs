//! On its way through the stack and the async API a datagram's payload stays where it is.
//!
//! What `recv_from` and `send_to` copy, their caller has asked for: they do what the calls do that are
//! seen here, and one copy between the packet and the caller's buffer. That it is one no address tells.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

mod echo;
mod link;

use self::echo::{Case, Echo, Service, in_time};
use self::link::Places;

#[test]
fn a_payload_is_read_and_written_in_the_packet_that_it_came_or_goes_in() {
    in_time(async {
        for echo in Echo::start_all(Case::all(&[1, 64, 1_400], &[1])).await {
            echo.run(100).await;
            let places = echo.places();
            assert_eq!(places.len(), 100);
            for Places { received, seen, filled, sent } in places {
                let case = echo.case;
                match case.service {
                    Service::Reply | Service::ReplyWith | Service::Many => {
                        assert_eq!([seen, filled, sent], [received; 3], "{case:?}");
                    }
                    Service::SendWith => {
                        assert_eq!((received, filled), (seen, sent), "{case:?}");
                        // What it answers is still held.
                        assert_ne!(received, sent, "{case:?}");
                    }
                    Service::Copy => {
                        assert_eq!(seen, filled, "{case:?}");
                        assert!(received != seen && sent != seen, "{case:?}");
                    }
                }
            }
        }
    });
}
