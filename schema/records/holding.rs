//! What raw holds, a month of sessions at a time.

use super::grouped::{Grouped, bits, group};
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::BTreeMap;

/// Consecutive minutes of a regular session without a row.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Silence {
    /// Minutes from the open to the first silent one.
    pub from: u16,
    /// How many there are.
    pub minutes: u16,
}

/// What raw holds of one session of one symbol from one vendor: what a [`Holding`] has packed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HoldingDay {
    /// Day number of the session.
    pub day: i32,
    /// Rows, extended hours included.
    pub rows: u32,
    /// Minutes of the regular session with a row (daily data: the same as rows).
    pub regular: u32,
    /// Minutes from the open to the first regular row.
    pub first: u16,
    /// Minutes from the open to the last regular row.
    pub last: u16,
    /// Exact copies that came in one answer with the row that was kept.
    pub duplicates: u32,
    /// Rows that replaced a row with other values.
    pub restated: u32,
    /// The longest silences of a minute session, in order of time: those of [`LEAST_SILENCE`] minutes and more, but not more than
    /// [`MOST_SILENCES`].
    pub silent: Vec<Silence>,
}

/// A shorter silence is not noted: no threshold for holes may be below it.
pub const LEAST_SILENCE: u16 = 10;
/// So many silences of a session are noted, the longest: one with more of them is thin everywhere, and its silences are chance.
pub const MOST_SILENCES: usize = 12;

/// Sessions of a month of which raw holds the same.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct HoldingGroup {
    /// The days: bit 0 is the first of the month.
    pub days: u32,
    /// See [`HoldingDay`].
    pub rows: u32,
    /// See [`HoldingDay`].
    pub regular: u32,
    /// See [`HoldingDay`].
    pub first: u16,
    /// See [`HoldingDay`].
    pub last: u16,
    /// See [`HoldingDay`].
    pub duplicates: u32,
    /// See [`HoldingDay`].
    pub restated: u32,
    /// See [`HoldingDay`].
    pub silent: Vec<Silence>,
}

impl Grouped for HoldingGroup {
    fn days_mut(&mut self) -> &mut u32 {
        &mut self.days
    }
}

/// A month of sessions of one symbol from one vendor, as raw holds them: of daily bars one group, of minutes one a session at
/// worst.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Holding {
    /// Sorted by their first day; no day is in two of them.
    pub groups: Vec<HoldingGroup>,
}

impl Holding {
    /// Packs the sessions of the month that begins on day number `first`; others are left out.
    pub fn pack(first: i32, days: impl IntoIterator<Item = HoldingDay>) -> Self {
        let story = |d: HoldingDay| HoldingGroup {
            days: 0,
            rows: d.rows,
            regular: d.regular,
            first: d.first,
            last: d.last,
            duplicates: d.duplicates,
            restated: d.restated,
            silent: d.silent,
        };
        Self { groups: group(first, days.into_iter().map(|d| (d.day, story(d)))) }
    }

    /// The sessions one by one, by day; `first` is the day number of the month's first day.
    pub fn days(&self, first: i32) -> Vec<HoldingDay> {
        let mut out: Vec<HoldingDay> = self.groups.iter().flat_map(|g| g.unpack(first)).collect();
        out.sort_by_key(|d| d.day);
        out
    }
}

impl HoldingDay {
    /// What the rows say now, with what they do not tell: copies that were dropped and values that were others before.
    pub fn with_notes_of(self, held: &HoldingDay) -> Self {
        Self { duplicates: held.duplicates, restated: held.restated, ..self }
    }
}

impl Holding {
    /// The page with `fresh` in the place of its days; one without rows is held no more. `first` is the day number of the month's
    /// first day.
    pub fn with(&self, first: i32, fresh: impl IntoIterator<Item = HoldingDay>) -> Self {
        let days = self.days(first).into_iter().chain(fresh).map(|d| (d.day, d));
        let all: BTreeMap<i32, HoldingDay> = days.collect();
        Self::pack(first, all.into_values().filter(|d| d.rows > 0))
    }
}

impl HoldingGroup {
    fn unpack(&self, first: i32) -> impl Iterator<Item = HoldingDay> + '_ {
        bits(self.days).map(move |n| HoldingDay {
            day: first + n,
            rows: self.rows,
            regular: self.regular,
            first: self.first,
            last: self.last,
            duplicates: self.duplicates,
            restated: self.restated,
            silent: self.silent.clone(),
        })
    }
}

impl ArchivedHolding {
    /// The page, out of the store's bytes.
    pub fn native(&self) -> Holding {
        Holding { groups: self.groups.iter().map(ArchivedHoldingGroup::native).collect() }
    }

    /// Every day that has rows: bit 0 is the first of the month.
    pub fn days_with_rows(&self) -> u32 {
        self.groups.iter().filter(|g| g.rows.to_native() > 0).fold(0, |a, g| a | g.days.to_native())
    }
}

impl ArchivedHoldingGroup {
    /// The group, out of the store's bytes.
    pub fn native(&self) -> HoldingGroup {
        let silent = |s: &ArchivedSilence| Silence { from: s.from.to_native(), minutes: s.minutes.to_native() };
        HoldingGroup {
            days: self.days.to_native(),
            rows: self.rows.to_native(),
            regular: self.regular.to_native(),
            first: self.first.to_native(),
            last: self.last.to_native(),
            duplicates: self.duplicates.to_native(),
            restated: self.restated.to_native(),
            silent: self.silent.iter().map(silent).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(day: i32, rows: u32, silences: u16) -> HoldingDay {
        let silent = (0..silences).map(|i| Silence { from: i * 30, minutes: 10 }).collect();
        HoldingDay { day, rows, regular: rows, first: 1, last: 389, duplicates: 0, restated: 0, silent }
    }

    proptest! {
        #[test]
        fn a_page_gives_back_the_sessions_that_were_packed(days in proptest::collection::btree_map(0i32..31, (0u32..3, 0u16..3), 0..31)) {
            let days: Vec<HoldingDay> = days.into_iter().map(|(d, (rows, n))| day(20_000 + d, rows, n)).collect();
            prop_assert_eq!(Holding::pack(20_000, days.clone()).days(20_000), days);
        }
    }

    #[test]
    fn a_month_of_daily_bars_is_one_group_and_the_worst_one_fits_a_record() {
        assert_eq!(Holding::pack(0, (0..31).map(|d| day(d, 1, 0))).groups.len(), 1);
        let worst = Holding::pack(0, (0..31).map(|d| day(d, d.unsigned_abs(), MOST_SILENCES as u16)));
        assert_eq!(worst.groups.len(), 31);
        assert!(rkyv::to_bytes::<rkyv::rancor::Error>(&worst).unwrap().len() < 4096);
    }
}
