//! A vendor's token buckets: requests in any second, in any minute, in a UTC day.
//!
//! A window is "any", not "by the clock's second": however the vendor counts, it counts no more than this. What was
//! spent in the last minute is kept by second, so that a restart knows it; a second counts as spent until it and the
//! one after it are over. What the vendor itself says (its 429s, the headers of its answers) only ever narrows this.

use super::pace::{Lesson, Pace};
use datanode_schema::records::{BudgetRecord, Spent};
use datanode_schema::registry::Limits;
use std::collections::VecDeque;

/// Tokens written ahead in one commit: what a crash may lose of a day, never overspend.
const RESERVE: u32 = 16;
/// A reservation is used within this time, or not at all.
const RESERVED_MS: u64 = 1_000;
/// A second is this much longer here: a request may be on its way for longer than the one after it.
const SLACK_MS: u64 = 50;
/// A minute, with the same slack.
const MINUTE_MS: u64 = 60_000 + SLACK_MS;
/// No vendor is left alone for longer without being asked again.
const LONGEST_CLOSED_MS: u64 = 86_400_000;
/// How long a window is taken to last where the vendor does not say, or says a time that our clock has passed.
const UNSAID_RESET_MS: u64 = 1_000;
/// The windows that headers speak of are a minute at most: a reset farther away says that the clocks differ.
const LONGEST_WINDOW_MS: u64 = 65_000;

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

/// What is left of the vendor's own window, by its own count.
#[derive(Clone, Copy, Debug)]
struct Ceiling {
    tokens: u64,
    until_ms: u64,
}

/// The state of a vendor's budget in this process.
#[derive(Clone, Debug)]
pub struct Bucket {
    limits: Limits,
    record: BudgetRecord,
    pace: Pace,
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
    ceiling: Option<Ceiling>,
}

/// When the tokens of an earlier process's second no longer count: they were good until the end of the next one.
fn forgotten_ms(s: &Spent) -> u64 {
    s.second.saturating_add(2).saturating_mul(1000).saturating_add(MINUTE_MS)
}

impl Bucket {
    /// A bucket that goes on from what an earlier process wrote. A record of another boot counts as spent just now.
    pub fn new(limits: Limits, mut record: BudgetRecord, boot_id: &str, now_ms: u64, now_unix: i64) -> Self {
        let inherited = if record.boot_id == boot_id {
            record.recent.iter().filter(|s| forgotten_ms(s) > now_ms).copied().collect()
        } else {
            let requests = record.recent.iter().fold(0u32, |n, s| n.saturating_add(s.requests));
            let second = now_ms / 1000;
            if requests == 0 { Vec::new() } else { vec![Spent { second, requests }] }
        };
        // The seconds of another boot mean nothing in this one: the next restart is to see them as this one does.
        record.recent.clone_from(&inherited);
        let closed = u64::try_from(record.closed_until.saturating_sub(now_unix)).unwrap_or(0);
        record.boot_id = boot_id.to_owned();
        Self {
            limits,
            pace: Pace::new(record.slowed_ppm),
            record,
            granted: VecDeque::new(),
            inherited,
            reserved: 0,
            reserved_until_ms: 0,
            confirmed: false,
            reservation: 0,
            closed_until_ms: now_ms.saturating_add(closed.saturating_mul(1000).min(LONGEST_CLOSED_MS)),
            ceiling: None,
        }
    }

    /// Takes one token at `now_ms` (since boot) on UTC day `day`.
    pub fn take(&mut self, now_ms: u64, day: i32) -> Grant {
        while self.granted.front().is_some_and(|t| t + MINUTE_MS <= now_ms) {
            self.granted.pop_front();
        }
        self.inherited.retain(|s| forgotten_ms(s) > now_ms);
        if let Some(wait) = self.wait_now(now_ms) {
            return Grant::Wait(wait);
        }
        // A day begins with its first token: a clock that steps back, or shows a later day for a moment, frees nothing.
        if day > self.record.day {
            self.record.day = day;
            self.record.today = 0;
            self.reserved = 0;
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
            self.reserved_until_ms = now_ms + RESERVED_MS;
            self.record.today = self.record.today.saturating_add(u64::from(n));
            self.record.total = self.record.total.saturating_add(u64::from(n));
            self.note_recent(now_ms / 1000, n);
        }
        self.reserved -= 1;
        self.granted.push_back(now_ms);
        if let Some(c) = self.ceiling.as_mut().filter(|c| c.until_ms > now_ms) {
            c.tokens = c.tokens.saturating_sub(1);
        }
        if durable { Grant::Now } else { Grant::AfterCommit }
    }

    /// A token that was granted at `at_ms` is used only now, since its commit took until then. False where that is too
    /// late: the record says which second it was for, and a restart would count it to that one.
    pub fn late(&mut self, at_ms: u64, now_ms: u64) -> bool {
        if now_ms >= at_ms + RESERVED_MS {
            return false;
        }
        if let Some(i) = self.granted.iter().rposition(|t| *t == at_ms) {
            self.granted.remove(i);
            let sorted = self.granted.partition_point(|t| *t <= now_ms);
            self.granted.insert(sorted, now_ms);
        }
        true
    }

    /// Milliseconds until a token can be taken; `u64::MAX` where the day's budget is spent. Takes nothing.
    pub fn wait_ms(&self, now_ms: u64, day: i32) -> u64 {
        let spent = day <= self.record.day && self.limits.per_day > 0 && self.record.today >= self.limits.per_day;
        let reserved = self.reserved > 0 && now_ms < self.reserved_until_ms;
        if spent && !reserved { u64::MAX } else { self.wait_now(now_ms).unwrap_or(0) }
    }

    /// The record and the number of the reservation that it holds.
    pub fn to_write(&self) -> (BudgetRecord, u64) {
        (self.record.clone(), self.reservation)
    }

    /// The record with that reservation is durable: it may be used.
    pub fn confirm(&mut self, reservation: u64) {
        self.confirmed |= self.reservation == reservation;
    }

    /// The vendor asked to be left alone; at most for a day.
    pub fn close(&mut self, now_ms: u64, wait_ms: u64, now_unix: i64) {
        let wait_ms = wait_ms.min(LONGEST_CLOSED_MS);
        self.closed_until_ms = self.closed_until_ms.max(now_ms.saturating_add(wait_ms));
        let until = now_unix.saturating_add(i64::try_from(wait_ms.div_ceil(1000)).unwrap_or(0));
        self.record.closed_until = self.record.closed_until.max(until);
    }

    /// Learns from an answer; durable with the next record that is written.
    pub fn learned(&mut self, answer: Lesson, now_ms: u64) {
        self.pace.learn(answer, now_ms);
        self.record.slowed_ppm = self.pace.slowed_ppm;
    }

    /// Obeys what an answer's headers say of the vendor's own window: requests that remain in it, and milliseconds until
    /// it begins anew. Returns whether this closed the bucket for longer than it was: that is worth a commit.
    pub fn note_headers(&mut self, remaining: u32, reset_in_ms: Option<u64>, now_ms: u64, now_unix: i64) -> bool {
        let reset = reset_in_ms.unwrap_or(UNSAID_RESET_MS).clamp(1_000, LONGEST_WINDOW_MS);
        if remaining == 0 {
            let longer = now_ms.saturating_add(reset) > self.closed_until_ms.saturating_add(1_000);
            self.close(now_ms, reset, now_unix);
            return longer;
        }
        let ours = match (self.pace.minute(&self.limits), self.pace.second(&self.limits)) {
            (_, Some((tokens, ms))) if reset <= 1_000 => (tokens as u64).saturating_sub(self.granted_since(now_ms, ms)),
            (Some(tokens), _) => tokens.saturating_sub(self.granted_since(now_ms, MINUTE_MS) + self.inherited_tokens()),
            (None, _) => u64::MAX,
        };
        if u64::from(remaining) < ours {
            // Somebody else spends from it too. Of what the vendor says, requests under way may not be counted yet.
            let under_way = u64::from(self.limits.concurrency.saturating_sub(1));
            let tokens = u64::from(remaining).saturating_sub(under_way);
            let until_ms = now_ms.saturating_add(reset);
            self.ceiling = match self.ceiling.filter(|c| c.until_ms > now_ms) {
                Some(c) => Some(Ceiling { tokens: c.tokens.min(tokens), until_ms: c.until_ms.max(until_ms) }),
                None => Some(Ceiling { tokens, until_ms }),
            };
        }
        false
    }

    /// Other limits from now on. What was spent stays spent.
    pub fn reconfigure(&mut self, limits: Limits) {
        self.limits = limits;
        // What was reserved under the old limits counts as spent.
        self.reserved = 0;
    }

    /// The limits as configured.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What is left of the configured rates, in parts of a million.
    pub fn left_ppm(&self) -> u32 {
        self.pace.left_ppm()
    }

    /// Requests spent or reserved on a UTC day.
    pub fn spent_on(&self, day: i32) -> u64 {
        if day <= self.record.day { self.record.today } else { 0 }
    }

    /// Unix seconds until which the vendor asked to be left alone; 0 where that is over.
    pub fn closed_until(&self, now_ms: u64) -> i64 {
        if self.closed_until_ms > now_ms { self.record.closed_until } else { 0 }
    }

    /// Small limits are reserved one by one, so that a crash wastes nothing of them.
    fn reserve_size(&self) -> u32 {
        let l = self.limits;
        let smallest = [l.per_second, l.per_minute, u32::try_from(l.per_day).unwrap_or(u32::MAX)];
        let smallest = smallest.into_iter().filter(|n| *n > 0).min().unwrap_or(u32::MAX);
        (smallest / 20).clamp(1, RESERVE)
    }

    fn note_recent(&mut self, second: u64, n: u32) {
        self.record.recent.retain(|s| forgotten_ms(s) > second * 1000);
        match self.record.recent.last_mut() {
            Some(s) if s.second == second => s.requests = s.requests.saturating_add(n),
            _ => self.record.recent.push(Spent { second, requests: n }),
        }
    }

    fn granted_since(&self, now_ms: u64, ms: u64) -> u64 {
        self.granted.iter().rev().take_while(|t| **t + ms > now_ms).count() as u64
    }

    fn inherited_tokens(&self) -> u64 {
        self.inherited.iter().map(|s| u64::from(s.requests)).sum()
    }

    /// Milliseconds until everything but the day allows a token; None where it does now.
    fn wait_now(&self, now_ms: u64) -> Option<u64> {
        let closed = self.closed_until_ms.saturating_sub(now_ms);
        let ceiling = self.ceiling.filter(|c| c.tokens == 0).map_or(0, |c| c.until_ms.saturating_sub(now_ms));
        let wait = closed.max(ceiling).max(self.wait_for_windows(now_ms));
        (wait > 0).then_some(wait)
    }

    /// Milliseconds until both windows have room.
    fn wait_for_windows(&self, now_ms: u64) -> u64 {
        let mut wait = 0;
        let spent = self.granted_since(now_ms, MINUTE_MS) + self.inherited_tokens();
        if let Some(minute) = self.pace.minute(&self.limits)
            && spent >= minute
        {
            let oldest = self.granted.iter().find(|t| **t + MINUTE_MS > now_ms).map(|t| t + MINUTE_MS);
            let old = self.inherited.iter().map(forgotten_ms).min();
            wait = oldest.into_iter().chain(old).min().map_or(1000, |t| t.saturating_sub(now_ms).max(1));
        }
        if let Some((tokens, ms)) = self.pace.second(&self.limits) {
            let ms = ms + SLACK_MS;
            // What an earlier process reserved in a second, it may have used until the end of the next one.
            if let Some(s) = self.inherited.iter().map(|s| s.second).max() {
                wait = wait.max((s.saturating_add(2).saturating_mul(1000).saturating_add(ms)).saturating_sub(now_ms));
            }
            if let Some(t) = self.granted.len().checked_sub(tokens).and_then(|i| self.granted.get(i)) {
                wait = wait.max((t + ms).saturating_sub(now_ms));
            }
        }
        wait
    }
}

#[cfg(test)]
mod tests;
