//! What came in: bookmarks, holdings, demotions.

use rkyv::{Archive, Deserialize, Serialize};

/// Days `from..=to`.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// First day number.
    pub from: i32,
    /// Last day number.
    pub to: i32,
}

/// What one vendor has answered for one symbol: the windows that need no first question any more.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Bookmark {
    /// Sorted, disjoint, not adjacent.
    pub windows: Vec<Window>,
    /// Rows received in all.
    pub rows: u64,
    /// Answers received in all.
    pub answers: u32,
    /// Restated rows seen (same stamp, other values).
    pub restated: u64,
    /// Unix seconds.
    pub updated_at: i64,
    /// Unix seconds when its newest sessions were last asked for again.
    pub looked_at: i64,
}

/// Windows of one bookmark.
const MOST_BOOKMARK_WINDOWS: usize = 256;

impl Bookmark {
    /// Adds `from..=to` to the windows.
    pub fn cover(&mut self, from: i32, to: i32) {
        if from > to {
            return;
        }
        self.windows.push(Window { from, to });
        self.windows.sort_by_key(|w| w.from);
        let mut merged: Vec<Window> = Vec::with_capacity(self.windows.len());
        for w in &self.windows {
            match merged.last_mut() {
                Some(last) if w.from <= last.to.saturating_add(1) => last.to = last.to.max(w.to),
                _ => merged.push(*w),
            }
        }
        // A thin symbol's windows would outgrow a record: what is dropped is the oldest, and claims less than was received.
        let over = merged.len().saturating_sub(MOST_BOOKMARK_WINDOWS);
        merged.drain(..over);
        self.windows = merged;
    }

    /// Takes `from..=to` out of the windows: it is asked for again.
    pub fn uncover(&mut self, from: i32, to: i32) {
        let mut left = Vec::with_capacity(self.windows.len() + 1);
        for w in &self.windows {
            if w.from < from {
                left.push(Window { from: w.from, to: w.to.min(from.saturating_sub(1)) });
            }
            if w.to > to {
                left.push(Window { from: w.from.max(to.saturating_add(1)), to: w.to });
            }
        }
        self.windows = left;
    }

    /// The parts of `from..=to` that no window covers.
    pub fn lacks(&self, from: i32, to: i32) -> Vec<Window> {
        let mut out = Vec::new();
        let mut next = from;
        for w in self.windows.iter().filter(|w| w.to >= from && w.from <= to) {
            if w.from > next {
                out.push(Window { from: next, to: w.from - 1 });
            }
            next = next.max(w.to.saturating_add(1));
        }
        if next <= to {
            out.push(Window { from: next, to });
        }
        out
    }
}

/// A vendor is not asked for some days of a symbol until a time.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Demotion {
    /// First day number; `i32::MIN` = all days.
    pub from: i32,
    /// Last day number; `i32::MAX` = all days.
    pub to: i32,
    /// Unix seconds of the next probe.
    pub until: i64,
    /// How often the probe failed; the wait doubles each time.
    pub step: u8,
    /// The vendor's own words, shortened.
    pub why: String,
}

/// The windows of one symbol that a vendor is not asked for.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Demotions {
    /// Sorted by their first day; a handful.
    pub windows: Vec<Demotion>,
}

/// The first wait of a demoted vendor, in seconds; it doubles up to [`LONGEST_PROBE`].
const FIRST_PROBE: i64 = 3_600;
const LONGEST_PROBE: i64 = 7 * 86_400;
/// Windows that are kept apart; beyond these they become one.
const MOST_WINDOWS: usize = 16;

impl Demotions {
    /// A refusal of `from..=to` at `now` (unix seconds): a window that was refused before waits twice as long.
    pub fn refuse(&mut self, from: i32, to: i32, now: i64, why: &str) {
        let meets = |d: &Demotion| d.from <= to && from <= d.to;
        let step = self.windows.iter().filter(|d| meets(d)).map(|d| d.step.saturating_add(1)).max().unwrap_or(0);
        self.windows.retain(|d| !(from <= d.from && d.to <= to));
        let until = now + (FIRST_PROBE << step.min(10)).min(LONGEST_PROBE);
        let mut why = why.to_owned();
        why.truncate((0..=120.min(why.len())).rev().find(|i| why.is_char_boundary(*i)).unwrap_or(0));
        self.windows.push(Demotion { from, to, until, step, why });
        self.windows.sort_by_key(|d| (d.from, d.to));
        while self.windows.len() > MOST_WINDOWS {
            self.join_nearest();
        }
    }

    /// Makes one of the two neighbours that lie nearest to each other.
    fn join_nearest(&mut self) {
        let gap = |(a, b): (&Demotion, &Demotion)| i64::from(b.from) - i64::from(a.to);
        let pairs = self.windows.iter().zip(self.windows.iter().skip(1)).map(gap);
        let Some((at, _)) = pairs.enumerate().min_by_key(|(_, gap)| *gap) else { return };
        let b = self.windows.remove(at + 1);
        if let Some(a) = self.windows.get_mut(at) {
            a.to = a.to.max(b.to);
            a.until = a.until.max(b.until);
            a.step = a.step.max(b.step);
        }
    }

    /// A good answer for `from..=to`: what it touches is no longer refused.
    pub fn forgive(&mut self, from: i32, to: i32) {
        self.windows.retain(|d| d.to < from || to < d.from);
    }

    /// Whether a day is refused at `now`.
    pub fn refuses(&self, day: i32, now: i64) -> bool {
        self.windows.iter().any(|d| d.until > now && d.from <= day && day <= d.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_merges_what_touches_and_names_what_it_lacks() {
        let mut b = Bookmark::default();
        b.cover(10, 20);
        b.cover(21, 30);
        b.cover(50, 60);
        assert_eq!(b.windows, vec![Window { from: 10, to: 30 }, Window { from: 50, to: 60 }]);
        assert_eq!(b.lacks(5, 55), vec![Window { from: 5, to: 9 }, Window { from: 31, to: 49 }]);
        assert!(b.lacks(12, 30).is_empty());
        assert_eq!(b.lacks(61, 61), vec![Window { from: 61, to: 61 }]);
        b.uncover(20, 55);
        assert_eq!(b.windows, vec![Window { from: 10, to: 19 }, Window { from: 56, to: 60 }]);
    }

    #[test]
    fn a_refused_window_waits_longer_each_time_and_leaves_the_other_days_alone() {
        let mut d = Demotions::default();
        d.refuse(10, 20, 0, "no");
        assert!(d.refuses(15, 3_599) && !d.refuses(15, 3_600) && !d.refuses(21, 0));
        d.refuse(10, 20, 4_000, "no");
        assert_eq!((d.windows.len(), d.windows[0].until), (1, 4_000 + 7_200));
        for i in 0..40 {
            d.refuse(100 + i * 10, 105 + i * 10, 0, "é".repeat(200).as_str());
        }
        assert!(d.windows.len() <= 16 && d.windows.iter().all(|w| w.why.len() <= 120));
        d.forgive(10, 2_000);
        assert!(d.windows.is_empty());
    }
}
