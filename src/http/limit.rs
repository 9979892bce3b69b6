//! How many requests a token may make: a bucket of tokens each, filled evenly.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Names are those of the tokens' file; more than this were revoked long ago.
const KEPT: usize = 4096;

/// The buckets.
pub struct Limit {
    per_minute: u32,
    left: Mutex<BTreeMap<String, (f64, Instant)>>,
}

impl Limit {
    /// So many requests a minute for each name, all of which may come at once; 0: no limit.
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, left: Mutex::default() }
    }

    /// Takes one; where there is none left, the time after which there is.
    pub fn take(&self, name: &str, now: Instant) -> Result<(), Duration> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let full = f64::from(self.per_minute);
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT && !all.contains_key(name) {
            all.clear();
        }
        let (left, at) = all.entry(name.to_owned()).or_insert((full, now));
        *left = (*left + now.saturating_duration_since(*at).as_secs_f64() * full / 60.0).min(full);
        *at = now;
        if *left >= 1.0 {
            *left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - *left) * 60.0 / full))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_requests_a_minute_evenly_and_no_other_name_uses_them_up() {
        let limit = Limit::new(3);
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        for _ in 0..3 {
            assert_eq!(limit.take("a", at(0)), Ok(()));
        }
        assert_eq!(limit.take("a", at(0)), Err(Duration::from_secs(20)));
        assert_eq!(limit.take("b", at(0)), Ok(()));
        assert_eq!(limit.take("a", at(5)), Err(Duration::from_secs(15)));
        assert_eq!(limit.take("a", at(21)), Ok(()));
        assert!(limit.take("a", at(22)).is_err());
        // A long rest fills it, and no more than that.
        assert_eq!((0..10).filter(|_| limit.take("a", at(9_999)).is_ok()).count(), 3);
        let none = Limit::new(0);
        assert!((0..1000).all(|_| none.take("a", start).is_ok()));
    }
}
