//! The QC ledger: verdicts, a month of sessions at a time.

use super::grouped::{Grouped, bits, group};
use rkyv::{Archive, Deserialize, Serialize};

/// The verdict of one partition: what a [`LedgerPage`] holds packed.
#[derive(Clone, PartialEq, Debug)]
pub struct LedgerDay {
    /// Day number.
    pub day: i32,
    /// The verdict's number.
    pub verdict: u8,
    /// The set of reasons.
    pub reasons: u64,
    /// Rows that the calendar expects.
    pub expected: u32,
    /// Rows in the curated file.
    pub rows: u32,
    /// The number of the vendor that most rows came from; 0 where there are none.
    pub vendor: u8,
    /// Key of the decision context (thresholds, calendar, configuration) in `contexts`.
    pub context: u64,
    /// Unix seconds.
    pub first_seen: i64,
    /// Unix seconds of the last change.
    pub updated_at: i64,
    /// What its rows come to; the default where there are none.
    pub print: Print,
}

/// What a partition's rows come to: by this the sessions beside it are judged without being read again.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Debug, Default)]
pub struct Print {
    /// BLAKE3 of the partition's rows, first 16 bytes.
    pub digest: [u8; 16],
    /// The first price in dollars, or a series' value; 0 where there is none or it is not finite.
    pub open: f32,
    /// The last price.
    pub close: f32,
    /// The sum of the volumes.
    pub volume: f32,
}

/// Sessions of a month with the same verdict for the same reasons.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct LedgerGroup {
    /// The days: bit 0 is the first of the month.
    pub days: u32,
    /// See [`LedgerDay`].
    pub verdict: u8,
    /// See [`LedgerDay`].
    pub reasons: u64,
    /// See [`LedgerDay`].
    pub expected: u32,
    /// See [`LedgerDay`].
    pub rows: u32,
    /// See [`LedgerDay`].
    pub vendor: u8,
    /// See [`LedgerDay`].
    pub context: u64,
    /// See [`LedgerDay`].
    pub first_seen: i64,
    /// See [`LedgerDay`].
    pub updated_at: i64,
}

impl Grouped for LedgerGroup {
    fn days_mut(&mut self) -> &mut u32 {
        &mut self.days
    }
}

/// A month of verdicts of one symbol.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct LedgerPage {
    /// Sorted by their first day; no day is in two of them.
    pub groups: Vec<LedgerGroup>,
    /// One for each day with rows, by day.
    pub prints: Vec<Print>,
}

impl LedgerPage {
    /// Packs the verdicts of the month that begins on day number `first`; others are left out. Sorted by day they must be.
    pub fn pack(first: i32, days: &[LedgerDay]) -> Self {
        let story = |d: &LedgerDay| LedgerGroup {
            days: 0,
            verdict: d.verdict,
            reasons: d.reasons,
            expected: d.expected,
            rows: d.rows,
            vendor: d.vendor,
            context: d.context,
            first_seen: d.first_seen,
            updated_at: d.updated_at,
        };
        Self {
            groups: group(first, days.iter().map(|d| (d.day, story(d)))),
            prints: days.iter().filter(|d| d.rows > 0).map(|d| d.print).collect(),
        }
    }

    /// The verdicts one by one, by day; `first` is the day number of the month's first day.
    pub fn days(&self, first: i32) -> Vec<LedgerDay> {
        let mut out: Vec<LedgerDay> = self.groups.iter().flat_map(|g| g.unpack(first)).collect();
        out.sort_by_key(|d| d.day);
        let mut prints = self.prints.iter();
        for d in out.iter_mut().filter(|d| d.rows > 0) {
            d.print = prints.next().copied().unwrap_or_default();
        }
        out
    }
}

impl LedgerGroup {
    fn unpack(&self, first: i32) -> impl Iterator<Item = LedgerDay> + '_ {
        bits(self.days).map(move |n| LedgerDay {
            day: first + n,
            verdict: self.verdict,
            reasons: self.reasons,
            expected: self.expected,
            rows: self.rows,
            vendor: self.vendor,
            context: self.context,
            first_seen: self.first_seen,
            updated_at: self.updated_at,
            print: Print::default(),
        })
    }
}

impl ArchivedLedgerPage {
    /// The page, out of the store's bytes.
    pub fn native(&self) -> LedgerPage {
        let print = |p: &ArchivedPrint| Print {
            digest: p.digest,
            open: p.open.to_native(),
            close: p.close.to_native(),
            volume: p.volume.to_native(),
        };
        LedgerPage {
            groups: self.groups.iter().map(ArchivedLedgerGroup::native).collect(),
            prints: self.prints.iter().map(print).collect(),
        }
    }
}

impl ArchivedLedgerGroup {
    fn native(&self) -> LedgerGroup {
        LedgerGroup {
            days: self.days.to_native(),
            verdict: self.verdict,
            reasons: self.reasons.to_native(),
            expected: self.expected.to_native(),
            rows: self.rows.to_native(),
            vendor: self.vendor,
            context: self.context.to_native(),
            first_seen: self.first_seen.to_native(),
            updated_at: self.updated_at.to_native(),
        }
    }
}

/// What a second vendor has given of one session, beside the rows that were taken.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
pub struct Second {
    /// Day number.
    pub day: i32,
    /// The vendor's number.
    pub vendor: u8,
    /// Rows that both gave.
    pub compared: u32,
    /// Of those, rows whose prices lie farther apart than the dataset's tolerance.
    pub differ: u32,
    /// Its first price; 0 where it is not finite.
    pub open: f32,
    /// Its last price.
    pub close: f32,
}

/// A month of second looks at one symbol.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct SecondPage {
    /// Sorted by day; of several vendors the one that gave the most rows.
    pub days: Vec<Second>,
}

/// The actions of one ex-date, together.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
pub struct ActionDay {
    /// Day number of the ex-date.
    pub day: i32,
    /// New shares for an old one, over all splits of the day; 1 where there is none.
    pub split: f64,
    /// Cash a share in dollars, over all dividends of the day; 0 where there is none.
    pub cash: f64,
    /// 1 where an action moves the price that is no split and no dividend: a merger, a spin-off.
    pub other: u8,
}

/// A month of actions of one symbol.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct ActionPage {
    /// Sorted by day.
    pub days: Vec<ActionDay>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(day: i32, rows: u32, at: i64) -> LedgerDay {
        let print = if rows == 0 {
            Print::default()
        } else {
            Print { digest: [u8::try_from(day % 200).unwrap(); 16], open: 1.5, close: day as f32, volume: 100.0 }
        };
        LedgerDay {
            day,
            verdict: 1,
            reasons: 0,
            expected: 1,
            rows,
            vendor: 2,
            context: 9,
            first_seen: at,
            updated_at: at,
            print,
        }
    }

    proptest! {
        #[test]
        fn a_page_gives_back_the_verdicts_that_were_packed(days in proptest::collection::btree_map(0i32..31, (0u32..3, 0i64..3), 0..31)) {
            let days: Vec<LedgerDay> = days.into_iter().map(|(d, (rows, at))| day(20_000 + d, rows, at)).collect();
            prop_assert_eq!(LedgerPage::pack(20_000, &days).days(20_000), days);
        }
    }

    #[test]
    fn a_plain_month_is_one_group_and_the_worst_one_fits_a_record() {
        let plain: Vec<_> = (0..31).map(|d| day(d, 1, 0)).collect();
        assert_eq!(LedgerPage::pack(0, &plain).groups.len(), 1);
        let worst: Vec<_> = (0..31).map(|d| day(d, 1, i64::from(d))).collect();
        let page = LedgerPage::pack(0, &worst);
        assert_eq!(page.groups.len(), 31);
        assert!(rkyv::to_bytes::<rkyv::rancor::Error>(&page).unwrap().len() < 4096);
    }
}
