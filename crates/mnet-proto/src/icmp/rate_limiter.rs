use netdev::Instant;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A token bucket: so many a second, and so many at once after a quiet time (RFC 1812 §4.3.2.8).
pub(crate) struct RateLimiter {
    nanos_per_token: u64,
    burst_nanos: u64,
    // When the bucket will be full again.
    full_at: Instant,
}

impl RateLimiter {
    /// At most `per_second`, and `burst` at once. Either of them 0 lets nothing through.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let nanos_per_token = NANOS_PER_SECOND.checked_div(per_second.into()).unwrap_or(u64::MAX);
        let burst_nanos = nanos_per_token.saturating_mul(burst.into());
        Self { nanos_per_token, burst_nanos, full_at: Instant::ZERO }
    }

    /// Takes a token, if there is one.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        let now = now.as_nanos();
        let full_at = self.full_at.as_nanos().max(now);
        let Some(after) = full_at.checked_add(self.nanos_per_token) else { return false };
        let allowed = after - now <= self.burst_nanos;
        if allowed {
            self.full_at = Instant::from_nanos(after);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const START: Instant = Instant::from_nanos(1_000 * NANOS_PER_SECOND);

    fn allowed(limiter: &mut RateLimiter, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| limiter.allow(now)).count()
    }

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let mut limiter = RateLimiter::new(100, 50);
        assert_eq!(allowed(&mut limiter, START, 1_000), 50);
        assert_eq!(allowed(&mut limiter, START + Duration::from_millis(95), 1_000), 9);
        assert_eq!(allowed(&mut limiter, START + Duration::from_millis(100), 1_000), 1);
        assert_eq!(allowed(&mut limiter, START + Duration::from_secs(3_600), 1_000), 50);
    }

    #[test]
    fn a_clock_that_has_just_begun_makes_no_difference() {
        let mut limiter = RateLimiter::new(100, 50);
        assert_eq!(allowed(&mut limiter, Instant::ZERO, 1_000), 50);
    }

    #[test]
    fn over_a_second_no_more_pass_than_burst_and_rate_together() {
        let mut limiter = RateLimiter::new(100, 50);
        let passed: usize =
            (0..1_000).map(|ms| allowed(&mut limiter, START + Duration::from_millis(ms), 10)).sum();
        assert_eq!(passed, 50 + 99);
    }

    #[test]
    fn a_limit_of_nothing_lets_nothing_through() {
        assert_eq!(allowed(&mut RateLimiter::new(0, 50), START, 100), 0);
        assert_eq!(allowed(&mut RateLimiter::new(100, 0), START, 100), 0);
    }
}
