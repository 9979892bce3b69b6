//! The one place that reads the clock. Everything else is given a [`Clock`] or an explicit `now`.

use chrono::{DateTime, NaiveDate, Utc};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Wall time, which `--now` can freeze, and time since boot, which it cannot.
#[derive(Clone, Debug)]
pub struct Clock {
    frozen: Option<DateTime<Utc>>,
    by_hand: Option<Arc<Hands>>,
}

/// A clock that is moved by hand, for models.
#[derive(Debug)]
pub struct Hands {
    /// Wall time in unix seconds.
    pub unix: AtomicI64,
    /// Milliseconds since boot.
    pub since_boot_ms: AtomicU64,
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self { frozen: None, by_hand: None }
    }

    /// A wall clock that stands still, for tests and comparisons.
    pub fn frozen(at: DateTime<Utc>) -> Self {
        Self { frozen: Some(at), by_hand: None }
    }

    /// A clock that somebody else moves.
    pub fn by_hand(hands: Arc<Hands>) -> Self {
        Self { frozen: None, by_hand: Some(hands) }
    }

    /// Wall time, in whole seconds: what records and files hold.
    pub fn now(&self) -> DateTime<Utc> {
        if let Some(t) = self.by_hand.as_ref().and_then(|h| DateTime::from_timestamp(h.unix.load(Ordering::Acquire), 0))
        {
            return t;
        }
        #[allow(clippy::disallowed_methods, reason = "the one place")]
        let t = self.frozen.unwrap_or_else(Utc::now);
        DateTime::from_timestamp(t.timestamp(), 0).unwrap_or(t)
    }

    /// Milliseconds since the machine started; pacing and lease deadlines use this, so that a wall clock that jumps
    /// frees no token and expires no lease.
    pub fn since_boot_ms(&self) -> u64 {
        if let Some(h) = &self.by_hand {
            return h.since_boot_ms.load(Ordering::Acquire);
        }
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
            .ok()
            .and_then(|t| {
                let ms = t.tv_sec().checked_mul(1000)?.checked_add(t.tv_nsec() / 1_000_000)?;
                u64::try_from(ms).ok()
            })
            .unwrap_or(0)
    }

    /// The kernel's name for this boot; deadlines of another boot mean nothing.
    pub fn boot_id(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|s| s.trim().to_owned()).unwrap_or_default()
    }
}

/// Days since 1970-01-01, the form in which records hold a date.
pub fn day_number(date: NaiveDate) -> i32 {
    date.signed_duration_since(NaiveDate::default()).num_days().try_into().unwrap_or(i32::MAX)
}

/// The date of a day number.
pub fn date_of(day: i32) -> NaiveDate {
    NaiveDate::default().checked_add_signed(chrono::Duration::days(i64::from(day))).unwrap_or(if day < 0 {
        NaiveDate::MIN
    } else {
        NaiveDate::MAX
    })
}

/// `YYYYMMDDTHHMMSSZ`, the form of run ids and export ids.
pub fn compact(t: DateTime<Utc>) -> String {
    t.format("%Y%m%dT%H%M%SZ").to_string()
}

/// RFC 3339 in UTC with whole seconds.
pub fn rfc3339(t: DateTime<Utc>) -> String {
    t.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// RFC 3339 of unix seconds.
pub fn rfc3339_of(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).map(rfc3339).unwrap_or_else(|| seconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_numbers_lead_back_to_dates() {
        for d in ["1962-01-02", "1970-01-01", "2026-02-20"] {
            let date: NaiveDate = d.parse().unwrap();
            assert_eq!(date_of(day_number(date)), date);
        }
    }

    #[test]
    fn a_frozen_clock_stands_still() {
        let at = "2026-03-02T23:00:00Z".parse().unwrap();
        assert_eq!(Clock::frozen(at).now(), at);
    }
}
