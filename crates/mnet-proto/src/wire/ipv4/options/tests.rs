use proptest::prelude::*;

use super::*;

const OWN: [u8; 4] = [10, 0, 0, 2];
const TIME: [u8; 4] = [0x80, 1, 2, 3];

fn datagram(options: &[u8]) -> Vec<u8> {
    [&[0; HEADER_LEN], options].concat()
}

/// The options of an answer to a request with these.
fn answer(options: &[u8]) -> Vec<u8> {
    let datagram = datagram(options);
    let found = Options::parse(&datagram, datagram.len()).unwrap();
    let mut bytes = [0; MAX_OPTIONS_LEN];
    let len = found.answer(&datagram, OWN.into(), TIME, &mut bytes);
    bytes[..len].to_vec()
}

#[test]
fn the_first_fault_among_options_is_pointed_at() {
    let check = |options: &[u8]| {
        let datagram = datagram(options);
        Options::parse(&datagram, datagram.len()).map(|_| ())
    };
    for good in [
        &[][..],
        &[0, 9, 9, 9],
        &[1, 1, 1, 1],
        &[0x94, 4, 0, 0],
        // Record routes with room, and without.
        &[7, 7, 4, 0, 0, 0, 0, 0],
        &[7, 7, 8, 10, 0, 0, 1, 0],
        &[68, 8, 5, 0, 0, 0, 0, 0],
        &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        &[68, 4, 5, 0xe0],
        // What nobody knows.
        &[30, 4, 255, 255],
    ] {
        assert_eq!(check(good), Ok(()), "{good:02x?}");
    }
    for (fault, bad) in [
        (20, &[30, 0, 0, 0][..]),
        (20, &[30, 1, 0, 0]),
        (20, &[30, 5, 0, 0]),
        (23, &[1, 1, 1, 7]),
        (21, &[0x94, 3, 0, 0]),
        (21, &[7, 2, 1, 1]),
        (22, &[7, 7, 3, 0, 0, 0, 0, 0]),
        (22, &[7, 7, 5, 0, 0, 0, 0, 0]),
        (22, &[7, 7, 0, 0, 0, 0, 0, 0]),
        (23, &[7, 3, 4, 7, 3, 4, 0, 0]),
        (21, &[68, 3, 5, 0]),
        (22, &[68, 8, 4, 0, 0, 0, 0, 0]),
        (22, &[68, 8, 5, 1, 0, 0, 0, 0]),
        (23, &[68, 4, 5, 0xf0]),
        (22, &[131, 7, 3, 0, 0, 0, 0, 0]),
        (23, &[131, 3, 4, 137, 3, 4, 0, 0]),
    ] {
        assert_eq!(check(bad), Err(fault), "{bad:02x?}");
    }
}

#[test]
fn options_are_found_where_they_are() {
    let find = |options: &[u8]| {
        let datagram = datagram(options);
        Options::parse(&datagram, datagram.len()).unwrap()
    };
    let none = Options::default();
    assert_eq!(find(&[131, 7, 4, 10, 0, 0, 9, 0]), Options { source_route: 20, ..none }, "loose");
    let strict = find(&[1, 137, 7, 4, 10, 0, 0, 9]);
    assert_eq!(strict, Options { source_route: 21, ..none }, "behind a no-operation");
    let all = [&ROUTER_ALERT[..], &[7, 3, 4, 68, 4, 5, 0], &ROUTER_ALERT, &[131, 3, 4]].concat();
    let found = Options { source_route: 35, record_route: 24, timestamp: 27, router_alert: 31 };
    assert_eq!(find(&all), found);
    assert_eq!(find(&[]), none);
    assert_eq!(find(&[30, 4, 131, 137]), none, "in the data of another option");
    assert_eq!(find(&[0, 131, 3, 4]), none, "behind the end");
    // It is the header that counts, not what is behind it.
    assert_eq!(Options::parse(&[131; 40], HEADER_LEN), Ok(none));
    assert_eq!(Options::parse(&[131; 20], 60), Ok(none));
}

#[test]
fn an_answer_has_the_host_in_it_on_the_way_in_and_out_as_long_as_there_is_room() {
    // Routes, among others that an answer does not have.
    assert_eq!(
        answer(&[0x94, 4, 0, 0, 1, 7, 15, 8, 10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]),
        [7, 15, 16, 10, 0, 0, 9, 10, 0, 0, 2, 10, 0, 0, 2, 0]
    );
    assert_eq!(answer(&[7, 7, 4, 0, 0, 0, 0, 0]), [7, 7, 8, 10, 0, 0, 2, 0]);
    assert_eq!(answer(&[7, 7, 8, 10, 0, 0, 9, 0]), [7, 7, 8, 10, 0, 0, 9, 0]);
    assert_eq!(answer(&[7, 3, 4, 0]), [7, 3, 4, 0]);
    // Times.
    assert_eq!(
        answer(&[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        [68, 12, 13, 0, 0x80, 1, 2, 3, 0x80, 1, 2, 3]
    );
    // One more finds no room: it is counted, up to what can be.
    assert_eq!(answer(&[68, 8, 5, 0x10, 0, 0, 0, 0]), [68, 8, 9, 0x20, 0x80, 1, 2, 3]);
    assert_eq!(answer(&[68, 8, 9, 0xe0, 1, 2, 3, 4]), [68, 8, 9, 0xf0, 1, 2, 3, 4]);
    assert_eq!(
        answer(&[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        [68, 12, 13, 0x11, 10, 0, 0, 2, 0x80, 1, 2, 3]
    );
    // Times of those that are named, of which the host may be the next, or not.
    assert_eq!(
        answer(&[68, 12, 5, 3, 10, 0, 0, 2, 0, 0, 0, 0]),
        [68, 12, 13, 3, 10, 0, 0, 2, 0x80, 1, 2, 3]
    );
    assert_eq!(
        answer(&[68, 12, 5, 3, 10, 0, 0, 9, 0, 0, 0, 0]),
        [68, 12, 5, 3, 10, 0, 0, 9, 0, 0, 0, 0]
    );
    // Both, routes first.
    assert_eq!(
        answer(&[68, 8, 5, 0, 0, 0, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0]),
        [7, 7, 8, 10, 0, 0, 2, 68, 8, 9, 0x10, 0x80, 1, 2, 3, 0]
    );
    assert_eq!(answer(&[0x94, 4, 0, 0]), []);
    assert_eq!(answer(&[]), []);
}

proptest! {
    #[test]
    fn of_any_bytes_the_answer_is_options_again(
        mut options in proptest::collection::vec(any::<u8>(), 0..=MAX_OPTIONS_LEN),
        kind in prop::sample::select(vec![RECORD_ROUTE, TIMESTAMP]),
    ) {
        options.truncate(options.len() & !3);
        if let Some(first) = options.first_mut() {
            *first = kind;
        }
        let request = datagram(&options);
        if Options::parse(&request, request.len()).is_ok() {
            let bytes = answer(&options);
            prop_assert!(bytes.len().is_multiple_of(4) && bytes.len() <= options.len());
            let again = datagram(&bytes);
            // After one record there may be some room, but not enough, or as many may be missing as
            // can be counted.
            let full = |at: u8| matches!(at, 22 | 23);
            let again = Options::parse(&again, again.len());
            prop_assert!(again.is_ok() || again.is_err_and(full), "{again:?}");
        }
    }

    #[test]
    fn any_bytes_can_be_searched_and_answered(bytes: Vec<u8>, header_len: usize, at: [u8; 4]) {
        let _ = Options::parse(&bytes, header_len);
        let [source_route, record_route, timestamp, router_alert] = at;
        let found = Options { source_route, record_route, timestamp, router_alert };
        let len = found.answer(&bytes, OWN.into(), TIME, &mut [0; MAX_OPTIONS_LEN]);
        prop_assert!(len <= MAX_OPTIONS_LEN);
    }
}
