//! What was asked of each vendor and what came of it, since the process started: counters for people and for Prometheus.
//!
//! Nothing is decided by them but alerts: what the queue learns of a vendor is durable, and elsewhere.

use super::actor::VendorCounters;
use datanode_schema::names::{Outcome, Vendor};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets of the latency histogram, in seconds; a last bucket takes what is above.
pub const BOUNDS: [f64; 11] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0];
/// What a request came to that gave a page which could be read.
const ANSWERED: &str = "answered";

/// The meters of all vendors; clones share them.
#[derive(Clone, Default)]
pub struct Meter(Arc<Mutex<BTreeMap<Vendor, Traffic>>>);

/// The meter of one vendor.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// HTTP requests by what came of each: `answered`, or the outcome's name.
    pub requests: BTreeMap<&'static str, u64>,
    /// HTTP requests by the time they took, up to each of [`BOUNDS`] and above the last; not cumulative.
    pub latency: [u64; BOUNDS.len() + 1],
    /// Seconds that they took together.
    pub latency_seconds: f64,
    /// Whole answers that were kept, of one or more requests, by outcome.
    pub answers: BTreeMap<&'static str, u64>,
    /// Rows taken in.
    pub rows: u64,
    /// Bytes of the bodies they came in.
    pub bytes: u64,
    /// Rows that replaced a row with other values.
    pub restated: u64,
    /// Seconds by which our clock was ahead of the vendor's at its last answer, as far as the time of the request does not explain it.
    pub clock_ahead_seconds: Option<i64>,
}

impl Meter {
    fn with(&self, vendor: Vendor, change: impl FnOnce(&mut Traffic)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(vendor).or_default());
    }

    /// A request ended; `refusal` is None where a page was read.
    pub(super) fn asked(&self, vendor: Vendor, refusal: Option<Outcome>, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|b| seconds <= *b).unwrap_or(BOUNDS.len());
        self.with(vendor, |t| {
            *t.requests.entry(refusal.map_or(ANSWERED, Outcome::name)).or_default() += 1;
            t.latency_seconds += seconds;
            if let Some(n) = t.latency.get_mut(bucket) {
                *n += 1;
            }
        });
    }

    /// The vendor's clock at an answer to a request that took from one second of ours to another.
    pub(super) fn heard(&self, vendor: Vendor, date: Option<i64>, during: (i64, i64)) {
        if let Some(date) = date {
            self.with(vendor, |t| t.clock_ahead_seconds = Some(ahead(date, during)));
        }
    }

    /// An answer was kept, or dropped.
    pub(super) fn kept(&self, vendor: Vendor, outcome: Option<Outcome>, c: &VendorCounters) {
        self.with(vendor, |t| {
            if let Some(o) = outcome {
                *t.answers.entry(o.name()).or_default() += 1;
            }
            t.rows += c.rows;
            t.bytes += c.bytes;
            t.restated += c.restated;
        });
    }

    /// What one vendor's meter shows.
    pub fn of(&self, vendor: Vendor) -> Traffic {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&vendor).cloned().unwrap_or_default()
    }

    /// Seconds by which our clock is ahead of the vendors' clocks: the median of what they said last, of two the one nearer to ours.
    pub fn clock_ahead(&self) -> Option<i64> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut said: Vec<i64> = all.values().filter_map(|t| t.clock_ahead_seconds).collect();
        said.sort_unstable();
        let (low, high) = (said.get(said.len().checked_sub(1)? / 2)?, said.get(said.len() / 2)?);
        Some(if low.abs() <= high.abs() { *low } else { *high })
    }
}

/// 0 where the vendor's time lies within the request, give or take the second that both are cut to.
fn ahead(date: i64, (began, ended): (i64, i64)) -> i64 {
    if date < began - 1 {
        began - date
    } else if date > ended + 1 {
        ended - date
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_request_is_no_skew_and_a_wrong_clock_is_one_to_either_side() {
        assert_eq!(ahead(100, (90, 120)), 0);
        assert_eq!(ahead(99, (100, 100)), 0);
        assert_eq!(ahead(40, (100, 101)), 60);
        assert_eq!(ahead(161, (100, 101)), -60);
    }

    #[test]
    fn one_vendor_with_a_wrong_clock_does_not_make_ours_wrong() {
        let m = Meter::default();
        assert_eq!(m.clock_ahead(), None);
        m.heard(Vendor::Alpaca, Some(1_000), (5_000, 5_000));
        assert_eq!(m.clock_ahead(), Some(4_000));
        m.heard(Vendor::Fred, Some(5_000), (5_000, 5_000));
        assert_eq!(m.clock_ahead(), Some(0));
        m.heard(Vendor::Massive, None, (5_000, 5_000));
        assert_eq!(m.clock_ahead(), Some(0));
    }

    #[test]
    fn a_request_counts_in_one_bucket_and_under_one_outcome() {
        let m = Meter::default();
        m.asked(Vendor::Alpaca, None, Duration::from_millis(100));
        m.asked(Vendor::Alpaca, Some(Outcome::RateLimited), Duration::from_secs(61));
        let t = m.of(Vendor::Alpaca);
        assert_eq!((t.latency[1], t.latency[BOUNDS.len()]), (1, 1), "bounds are inclusive");
        assert_eq!(t.requests, BTreeMap::from([("answered", 1), ("rate_limited", 1)]));
        assert_eq!(m.of(Vendor::Fred), Traffic::default());
    }
}
