//! The cap on bytes a second: a bucket of tokens over time since boot.

/// How fast bytes may leave.
#[derive(Debug)]
pub struct Pace {
    per_second: u64,
    /// Milliseconds since boot when what was let through so far is paid for.
    free_at_ms: u64,
}

impl Pace {
    /// So many bytes a second; 0: as fast as it goes.
    pub fn new(per_second: u64) -> Self {
        Self { per_second, free_at_ms: 0 }
    }

    /// Lets `bytes` through after so many milliseconds from `now_ms`. They leave at once then: the cap holds over seconds, not within one
    /// body.
    #[must_use]
    pub fn wait_ms(&mut self, bytes: u64, now_ms: u64) -> u64 {
        if self.per_second == 0 {
            return 0;
        }
        let begins = self.free_at_ms.max(now_ms);
        let cost = (u128::from(bytes) * 1000).div_ceil(u128::from(self.per_second));
        self.free_at_ms = begins.saturating_add(u64::try_from(cost).unwrap_or(u64::MAX));
        begins - now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_any_time_no_more_leaves_than_the_cap_and_one_body() {
        let mut p = Pace::new(1_000_000);
        let (mut now, mut sent) = (5_000, 0);
        for i in 0..200u64 {
            let body = 1_000 + (i * 7_919) % 500_000;
            now += p.wait_ms(body, now);
            assert!(sent <= (now - 5_000) * 1_000, "{sent} bytes in {} ms", now - 5_000);
            sent += body;
        }
        // A pause saves nothing up.
        assert_eq!(p.wait_ms(1_000_000, now + 60_000), 0);
        assert_eq!(p.wait_ms(1, now + 60_000), 1_000);
    }

    #[test]
    fn without_a_cap_nothing_waits() {
        let mut p = Pace::new(0);
        assert_eq!((p.wait_ms(u64::MAX, 0), p.wait_ms(u64::MAX, 0)), (0, 0));
        assert_eq!(Pace::new(1).wait_ms(u64::MAX, 3), 0);
    }
}
