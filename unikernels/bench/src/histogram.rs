//! How long things took, in little room: each time to one part in sixteen.

use core::time::Duration;

/// Parts that the times from one power of two to the next are told apart in.
const PARTS: usize = 16;
const BUCKETS: usize = (64 - 4) * PARTS + PARTS;

pub(crate) struct Histogram {
    counts: [u64; BUCKETS],
    count: u64,
    least: u64,
    most: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: [0; BUCKETS], count: 0, least: u64::MAX, most: 0 }
    }

    pub(crate) fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.count += 1;
        self.least = self.least.min(nanos);
        self.most = self.most.max(nanos);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn least(&self) -> Duration {
        Duration::from_nanos(self.least.min(self.most))
    }

    pub(crate) fn most(&self) -> Duration {
        Duration::from_nanos(self.most)
    }

    /// The time that so many of a thousand did not exceed, or a little more.
    pub(crate) fn quantile(&self, of_thousand: u64) -> Duration {
        let wanted = (self.count * of_thousand).div_ceil(1_000).max(1);
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        let nanos = reached.map_or(0, last).clamp(self.least.min(self.most), self.most);
        Duration::from_nanos(nanos)
    }
}

/// Where a time is counted: the position of its highest bit, and the four bits below.
fn bucket(nanos: u64) -> usize {
    if nanos < PARTS as u64 {
        return nanos as usize;
    }
    let shift = nanos.ilog2() as usize - 4;
    shift * PARTS + (nanos >> shift) as usize
}

/// The longest time that is counted in a bucket.
fn last(bucket: usize) -> u64 {
    if bucket < PARTS {
        return bucket as u64;
    }
    let (shift, part) = (bucket / PARTS - 1, bucket % PARTS + PARTS);
    let first = (part as u64) << shift;
    first + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        let mut histogram = Histogram::new();
        assert_eq!((histogram.quantile(500), histogram.least()), (Duration::ZERO, Duration::ZERO));
        for micros in 1..=1_000 {
            histogram.add(Duration::from_micros(micros));
        }
        assert_eq!((histogram.count(), histogram.least().as_micros()), (1_000, 1));
        assert_eq!(histogram.most().as_micros(), 1_000);
        let near = |of_thousand, micros: u128| {
            let found = histogram.quantile(of_thousand).as_micros();
            (micros..=micros + micros / 15 + 1).contains(&found)
        };
        assert!(near(500, 500) && near(990, 990) && near(1, 1));
        assert_eq!(histogram.quantile(1_000), histogram.most());
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_times_and_no_others(nanos: u64, shift in 0..64) {
            let nanos = nanos >> shift;
            let bucket = bucket(nanos);
            prop_assert!(bucket < BUCKETS && last(bucket) >= nanos);
            prop_assert!(last(bucket) - nanos <= nanos / 16);
            prop_assert!(bucket == 0 || last(bucket - 1) < nanos);
        }
    }
}
