//! How long one datagram takes through a stack in memory, mnet's and smoltcp's, with the same frames.

use std::time::Duration;

use criterion::Criterion;
use mnet_bench::{CASES, Host};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .without_plots()
        .configure_from_args();
    for &case in CASES {
        // Started when it is first asked for: most are filtered out if a filter is given.
        let mut host = None;
        criterion.bench_function(&case.to_string(), |bencher| {
            let host = host.get_or_insert_with(|| Host::start(case));
            bencher.iter_custom(|count| host.run(count).elapsed);
        });
    }
    criterion.final_summary();
}
