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
}

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

/// What raw holds of one session of one symbol from one vendor.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct HoldingDay {
    /// Day number of the session.
    pub day: i32,
    /// Rows, extended hours included.
    pub rows: u32,
    /// Rows inside the regular session (daily data: the same as rows).
    pub regular: u32,
    /// Minutes from the open to the first regular row.
    pub first: u16,
    /// Minutes from the open to the last regular row.
    pub last: u16,
}

impl ArchivedHoldingDay {
    /// The holding, out of the store's bytes.
    pub fn native(&self) -> HoldingDay {
        HoldingDay {
            day: self.day.to_native(),
            rows: self.rows.to_native(),
            regular: self.regular.to_native(),
            first: self.first.to_native(),
            last: self.last.to_native(),
        }
    }
}

/// A month of sessions of one symbol from one vendor, as raw holds them.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Holding {
    /// Sorted by day.
    pub days: Vec<HoldingDay>,
}

/// A vendor is not asked for a symbol until a time.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Demotion {
    /// Unix seconds of the next probe.
    pub until: i64,
    /// How often the probe failed; the wait doubles each time.
    pub step: u8,
    /// The vendor's own words, shortened.
    pub why: String,
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
}
