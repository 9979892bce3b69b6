//! A vendor's token buckets: requests in any second, in any minute, in a UTC day.
//!
//! A window is "any", not "by the clock's second": however the vendor counts, it counts no more than this. What was
//! spent in the last minute is kept by second, so that a restart knows it; a second counts as spent until it and the
//! one after it are over.

use datanode_schema::records::{BudgetRecord, Spent};
use datanode_schema::registry::Limits;
use std::collections::VecDeque;

/// Tokens written ahead in one commit: what a crash may lose of a day, never overspend.
const RESERVE: u32 = 16;

/// The answer to "may I ask?".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grant {
    /// Yes, now.
    Now,
    /// Yes, once what the record says is durable.
    AfterCommit,
    /// Not before so many milliseconds.
    Wait(u64),
    /// Not today.
    SpentToday,
}

/// The state of a vendor's budget in this process.
#[derive(Clone, Debug)]
pub struct Bucket {
    limits: Limits,
    record: BudgetRecord,
    /// Granted in this process, in milliseconds since boot; the last minute of them.
    granted: VecDeque<u64>,
    /// Spent by an earlier process: second since boot, requests.
    inherited: Vec<Spent>,
    /// Tokens of the record that are not granted yet.
    reserved: u32,
    /// A reservation is good for a second: the record says which second its tokens were spent in.
    reserved_until_ms: u64,
    /// Whether the reservation is durable.
    confirmed: bool,
    /// Counts reservations.
    reservation: u64,
    closed_until_ms: u64,
}

impl Bucket {
    /// A bucket that goes on from what an earlier process wrote. A record of another boot counts as spent just now.
    pub fn new(limits: Limits, mut record: BudgetRecord, boot_id: &str, now_ms: u64, now_unix: i64) -> Self {
        let inherited = if record.boot_id == boot_id {
            record.recent.iter().filter(|s| s.second + 62 > now_ms / 1000).copied().collect()
        } else {
            let requests = record.recent.iter().map(|s| s.requests).sum();
            let second = now_ms / 1000;
            if requests == 0 { Vec::new() } else { vec![Spent { second, requests }] }
        };
        let closed = u64::try_from(record.closed_until.saturating_sub(now_unix)).unwrap_or(0).min(86_400);
        record.boot_id = boot_id.to_owned();
        Self {
            limits,
            record,
            granted: VecDeque::new(),
            inherited,
            reserved: 0,
            reserved_until_ms: 0,
            confirmed: false,
            reservation: 0,
            closed_until_ms: now_ms + closed * 1000,
        }
    }

    /// Takes one token at `now_ms` (since boot) on UTC day `day`.
    pub fn take(&mut self, now_ms: u64, day: i32) -> Grant {
        while self.granted.front().is_some_and(|t| t + 60_000 <= now_ms) {
            self.granted.pop_front();
        }
        self.inherited.retain(|s| s.second + 62 > now_ms / 1000);
        // A clock that steps back frees nothing.
        if day > self.record.day {
            self.record.day = day;
            self.record.today = 0;
            self.reserved = 0;
        }
        if self.closed_until_ms > now_ms {
            return Grant::Wait(self.closed_until_ms - now_ms);
        }
        if let Some(wait) = self.wait_for_windows(now_ms) {
            return Grant::Wait(wait);
        }
        let durable = self.reserved > 0 && now_ms < self.reserved_until_ms;
        if durable && !self.confirmed {
            // The commit that makes the reservation durable is under way.
            return Grant::Wait(1);
        }
        if !durable {
            let left =
                if self.limits.per_day == 0 { u64::MAX } else { self.limits.per_day.saturating_sub(self.record.today) };
            let n = u32::try_from(left).unwrap_or(u32::MAX).min(self.reserve_size());
            if n == 0 {
                return Grant::SpentToday;
            }
            self.reserved = n;
            self.confirmed = false;
            self.reservation += 1;
            self.reserved_until_ms = now_ms + 1000;
            self.record.today += u64::from(n);
            self.record.total += u64::from(n);
            self.note_recent(now_ms / 1000, n);
        }
        self.reserved -= 1;
        self.granted.push_back(now_ms);
        if durable { Grant::Now } else { Grant::AfterCommit }
    }

    /// Milliseconds until a token can be taken; `u64::MAX` where the day's budget is spent. Takes nothing.
    pub fn wait_ms(&self, now_ms: u64, day: i32) -> u64 {
        let spent = day <= self.record.day && self.limits.per_day > 0 && self.record.today >= self.limits.per_day;
        if spent && self.reserved == 0 {
            return u64::MAX;
        }
        let closed = self.closed_until_ms.saturating_sub(now_ms);
        closed.max(self.wait_for_windows(now_ms).unwrap_or(0))
    }

    /// The record and the number of the reservation that it holds.
    pub fn to_write(&self) -> (BudgetRecord, u64) {
        (self.record.clone(), self.reservation)
    }

    /// The record with that reservation is durable: it may be used.
    pub fn confirm(&mut self, reservation: u64) {
        self.confirmed = self.reservation == reservation;
    }

    /// The vendor asked to be left alone.
    pub fn close(&mut self, now_ms: u64, wait_ms: u64, now_unix: i64) {
        self.closed_until_ms = self.closed_until_ms.max(now_ms + wait_ms);
        let until = now_unix + i64::try_from(wait_ms.div_ceil(1000)).unwrap_or(0);
        self.record.closed_until = self.record.closed_until.max(until);
    }

    /// Small limits are reserved one by one, so that a crash wastes nothing of them.
    fn reserve_size(&self) -> u32 {
        let l = self.limits;
        let smallest = [l.per_second, l.per_minute, u32::try_from(l.per_day).unwrap_or(u32::MAX)];
        let smallest = smallest.into_iter().filter(|n| *n > 0).min().unwrap_or(u32::MAX);
        (smallest / 20).clamp(1, RESERVE)
    }

    fn note_recent(&mut self, second: u64, n: u32) {
        self.record.recent.retain(|s| s.second + 62 > second);
        match self.record.recent.last_mut() {
            Some(s) if s.second == second => s.requests += n,
            _ => self.record.recent.push(Spent { second, requests: n }),
        }
    }

    /// Milliseconds until both windows have room; None where they have it now.
    fn wait_for_windows(&self, now_ms: u64) -> Option<u64> {
        let inherited: u32 = self.inherited.iter().map(|s| s.requests).sum();
        let mut wait = 0;
        let minute = self.limits.per_minute;
        if minute > 0 && self.granted.len() as u64 + u64::from(inherited) >= u64::from(minute) {
            let oldest = self.granted.front().map(|t| t + 60_001);
            let old = self.inherited.iter().map(|s| (s.second + 63) * 1000).min();
            wait = oldest.into_iter().chain(old).min().map_or(1000, |t| t.saturating_sub(now_ms).max(1));
        }
        let second = self.limits.per_second as usize;
        if second > 0 {
            // A second that an earlier process spent in may not be over for the vendor.
            if let Some(s) = self.inherited.iter().map(|s| s.second).max()
                && now_ms < (s + 2) * 1000
            {
                wait = wait.max((s + 2) * 1000 - now_ms);
            }
            if let Some(t) = self.granted.len().checked_sub(second).and_then(|i| self.granted.get(i))
                && *t + 1001 > now_ms
            {
                wait = wait.max(t + 1001 - now_ms);
            }
        }
        (wait > 0).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(per_second: u32, per_minute: u32, per_day: u64) -> Limits {
        Limits { per_second, per_minute, per_day, concurrency: 1 }
    }

    /// Takes tokens as fast as allowed until `until_ms`, restarting where `restarts` says; returns when each was granted.
    fn spend(l: Limits, until_ms: u64, restarts: &[u64]) -> Vec<u64> {
        let mut b = Bucket::new(l, BudgetRecord::default(), "boot", 0, 0);
        let (mut now, mut out, mut restarts) = (0, Vec::new(), restarts.iter().peekable());
        let mut durable = BudgetRecord::default();
        while now < until_ms {
            if restarts.peek().is_some_and(|r| **r <= now) {
                restarts.next();
                b = Bucket::new(l, durable.clone(), "boot", now, 0);
            }
            match b.take(now, 0) {
                Grant::Now => out.push(now),
                Grant::AfterCommit => {
                    let (record, reservation) = b.to_write();
                    durable = record;
                    b.confirm(reservation);
                    out.push(now);
                }
                Grant::Wait(ms) => now += ms,
                Grant::SpentToday => break,
            }
        }
        out
    }

    proptest! {
        #[test]
        fn no_window_of_the_vendor_ever_sees_more_than_the_limit(
            s in 0u32..5, m in 1u32..90, d in 0u64..400, restarts in proptest::collection::vec(0u64..180_000, 0..6),
        ) {
            let mut restarts = restarts;
            restarts.sort_unstable();
            let granted = spend(limits(s, m, d), 180_000, &restarts);
            for (i, t) in granted.iter().enumerate() {
                let within = |ms: u64| granted.iter().skip(i).take_while(|u| **u < t + ms).count();
                prop_assert!(within(60_000) <= m as usize, "minute from {t}");
                prop_assert!(s == 0 || within(1_000) <= s as usize, "second from {t}");
            }
            prop_assert!(d == 0 || granted.len() as u64 <= d);
        }
    }

    #[test]
    fn a_limit_is_used_up_to_the_full() {
        assert_eq!(spend(limits(0, 10, 0), 60_000, &[]).len(), 10);
        assert_eq!(spend(limits(2, 0, 0), 10_000, &[]).len(), 20);
        assert_eq!(spend(limits(0, 0, 7), 10_000, &[]).len(), 7);
    }

    #[test]
    fn a_record_of_another_boot_counts_as_spent_just_now() {
        let record = BudgetRecord {
            boot_id: "old".into(),
            recent: vec![Spent { second: 9, requests: 5 }],
            ..Default::default()
        };
        let mut b = Bucket::new(limits(0, 5, 0), record, "new", 1_000, 0);
        assert!(matches!(b.take(1_000, 0), Grant::Wait(_)));
    }
}
