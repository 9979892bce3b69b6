//! Whether a vendor behaves otherwise than it did. Pure: the figures of an hour against those of the hours before.
//!
//! The past is what this process saw, at most a week of hours with traffic; after a restart it is learned anew, and until then nothing is unusual.

use crate::vendor::{BOUNDS, Traffic};
use std::collections::VecDeque;

/// Hours with traffic that are looked back at.
const HOURS: usize = 168;
/// Answers or rows that the hour, and the past, must have before they say anything.
const LEAST: u64 = 20;
/// Sudden empties: the share of empty answers is above this, and
const EMPTY_SHARE: f64 = 0.5;
/// this many times what it was.
const EMPTY_TIMES: f64 = 4.0;
/// A restatement storm: the share of rows that replaced another is above this, and
const RESTATED_SHARE: f64 = 0.05;
/// this many times what it was.
const RESTATED_TIMES: f64 = 10.0;
/// The median latency is this many times what it was, and
const SLOW_TIMES: f64 = 5.0;
/// above this, in seconds.
const SLOW_SECONDS: f64 = 2.0;

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Those.
    pub part: u64,
    /// All.
    pub all: u64,
}

impl Share {
    /// From 0 to 1.
    pub fn ratio(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.part as f64 / self.all as f64 }
    }

    fn and(self, o: Share) -> Share {
        Share { part: self.part + o.part, all: self.all + o.all }
    }

    /// Whether this share is high by itself and against what it was.
    fn above(self, past: Share, least: f64, times: f64) -> bool {
        self.all >= LEAST && past.all >= LEAST && self.ratio() > least && self.ratio() > times * past.ratio()
    }
}

/// What is unusual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unusual {
    /// Many answers without a row: now, before.
    Empties(Share, Share),
    /// Many rows with other values than before: now, before.
    Restated(Share, Share),
    /// Slow: median seconds now, and before (upper bounds of the histogram's buckets).
    Slow(f64, f64),
}

/// The figures of an hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hour {
    number: i64,
    empties: Share,
    restated: Share,
    latency: [u64; BOUNDS.len() + 1],
}

/// One vendor, watched.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    seen: Traffic,
    hours: VecDeque<Hour>,
}

impl Watch {
    /// Takes in what the meter shows at `now` (unix seconds) and says what is unusual about the hour that it is in.
    pub fn look(&mut self, now: i64, t: &Traffic) -> Vec<Unusual> {
        let number = now.div_euclid(3600);
        let new = difference(number, &self.seen, t);
        self.seen = t.clone();
        match self.hours.back_mut() {
            Some(h) if h.number == number => h.add(&new),
            _ if new == (Hour { number, ..Hour::default() }) => {}
            _ => self.hours.push_back(new),
        }
        if self.hours.len() > HOURS {
            self.hours.pop_front();
        }
        match self.hours.back() {
            Some(h) if h.number == number => self.judge(h),
            _ => Vec::new(),
        }
    }

    fn judge(&self, now: &Hour) -> Vec<Unusual> {
        let mut past = Hour::default();
        self.hours.iter().filter(|h| h.number != now.number).for_each(|h| past.add(h));
        let mut out = Vec::new();
        if now.empties.above(past.empties, EMPTY_SHARE, EMPTY_TIMES) {
            out.push(Unusual::Empties(now.empties, past.empties));
        }
        if now.restated.above(past.restated, RESTATED_SHARE, RESTATED_TIMES) {
            out.push(Unusual::Restated(now.restated, past.restated));
        }
        if let (Some(n), Some(p)) = (median(&now.latency), median(&past.latency))
            && n > SLOW_SECONDS
            && n >= SLOW_TIMES * p
        {
            out.push(Unusual::Slow(n, p));
        }
        out
    }
}

impl Hour {
    fn add(&mut self, o: &Hour) {
        self.empties = self.empties.and(o.empties);
        self.restated = self.restated.and(o.restated);
        self.latency.iter_mut().zip(o.latency).for_each(|(a, b)| *a += b);
    }
}

/// What came since.
fn difference(number: i64, before: &Traffic, now: &Traffic) -> Hour {
    let of = |t: &Traffic, name: &str| t.answers.get(name).copied().unwrap_or(0);
    let rows = |t: &Traffic| of(t, "filled") + of(t, "short");
    let empty = of(now, "empty").saturating_sub(of(before, "empty"));
    let mut latency = [0; BOUNDS.len() + 1];
    latency.iter_mut().zip(now.latency.iter().zip(before.latency)).for_each(|(l, (n, b))| *l = n.saturating_sub(b));
    Hour {
        number,
        empties: Share { part: empty, all: empty + rows(now).saturating_sub(rows(before)) },
        restated: Share {
            part: now.restated.saturating_sub(before.restated),
            all: now.rows.saturating_sub(before.rows),
        },
        latency,
    }
}

/// The upper bound of the bucket that the median lies in; None for too few.
fn median(latency: &[u64]) -> Option<f64> {
    let all: u64 = latency.iter().sum();
    let mut so_far = 0;
    let bucket = latency.iter().position(|n| {
        so_far += n;
        so_far * 2 >= all
    })?;
    (all >= LEAST).then(|| BOUNDS.get(bucket).copied().unwrap_or(f64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vendor after hours of 100 answers each, 10 of them empty, 10 in 10,000 rows restated, all within 0.2 s.
    fn usual(hours: i64) -> (Watch, Traffic) {
        let (mut w, mut t) = (Watch::default(), Traffic::default());
        for h in 0..hours {
            t = more(t, 90, 10, 10_000, 10, 2, 100);
            assert_eq!(w.look(h * 3600, &t), []);
        }
        (w, t)
    }

    fn more(mut t: Traffic, filled: u64, empty: u64, rows: u64, restated: u64, bucket: usize, n: u64) -> Traffic {
        *t.answers.entry("filled").or_default() += filled;
        *t.answers.entry("empty").or_default() += empty;
        t.rows += rows;
        t.restated += restated;
        t.latency[bucket] += n;
        t
    }

    #[test]
    fn a_vendor_that_suddenly_has_nothing_is_unusual_and_a_few_empties_are_not() {
        let (mut w, t) = usual(5);
        let few = more(t.clone(), 0, 19, 0, 0, 2, 0);
        assert_eq!(w.clone().look(6 * 3600, &few), [], "nineteen answers say nothing");
        let many = more(t.clone(), 10, 40, 0, 0, 2, 0);
        let got = w.look(6 * 3600, &many);
        assert_eq!(got, [Unusual::Empties(Share { part: 40, all: 50 }, Share { part: 50, all: 500 })]);
        // It goes on being so while it lasts, and an hour without traffic is no hour.
        assert_eq!(w.look(6 * 3600 + 60, &many).len(), 1);
        assert_eq!(w.look(9 * 3600, &many), []);
    }

    #[test]
    fn a_vendor_that_always_had_little_is_not_unusual() {
        let (mut w, mut t) = (Watch::default(), Traffic::default());
        for h in 0..5 {
            t = more(t, 30, 70, 100, 0, 0, 0);
            assert_eq!(w.look(h * 3600, &t), []);
        }
    }

    #[test]
    fn a_storm_of_restatements_is_unusual() {
        let (mut w, t) = usual(3);
        let got = w.look(3 * 3600, &more(t, 0, 0, 1_000, 100, 2, 0));
        assert_eq!(got, [Unusual::Restated(Share { part: 100, all: 1_000 }, Share { part: 30, all: 30_000 })]);
    }

    #[test]
    fn a_vendor_that_answers_slowly_is_unusual_against_its_own_median() {
        let (mut w, t) = usual(3);
        assert_eq!(w.clone().look(3 * 3600, &more(t.clone(), 0, 0, 0, 0, 4, 100)), [], "one second is not slow");
        assert_eq!(w.look(3 * 3600, &more(t, 0, 0, 0, 0, 6, 100)), [Unusual::Slow(5.0, 0.2)]);
    }
}
