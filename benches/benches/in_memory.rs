//! How long a datagram takes through a stack in memory, mnet's and smoltcp's, with the same frames; and
//! each part of its way by itself.

use std::time::Duration;

use criterion::Criterion;
use mnet_bench::Subject;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .without_plots()
        .configure_from_args();
    for subject in Subject::all() {
        // Started when it is first asked for: most are filtered out if a filter is given.
        let mut run = None;
        criterion.bench_function(&subject.to_string(), |bencher| {
            let run = run.get_or_insert_with(|| subject.start());
            bencher.iter_custom(run);
        });
    }
    criterion.final_summary();
}
