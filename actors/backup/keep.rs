//! Which generations stay: pure, and without a clock, so that one that is wrong removes nothing.

use chrono::{DateTime, Datelike, Timelike, Utc};
use std::collections::BTreeSet;

/// Of so many hours, days and weeks that have a generation, the newest of each stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepGenerations {
    /// Hours.
    pub hourly: usize,
    /// Days, UTC.
    pub daily: usize,
    /// ISO weeks.
    pub weekly: usize,
}

/// The generations that stay; the newest always does.
pub fn kept(all: &BTreeSet<DateTime<Utc>>, keep: KeepGenerations) -> BTreeSet<DateTime<Utc>> {
    let mut out: BTreeSet<DateTime<Utc>> = all.last().copied().into_iter().collect();
    newest_of_each(all, keep.hourly, |t| (t.date_naive().num_days_from_ce(), t.hour()), &mut out);
    newest_of_each(all, keep.daily, |t| (t.date_naive().num_days_from_ce(), 0), &mut out);
    newest_of_each(all, keep.weekly, |t| (t.iso_week().year(), t.iso_week().week()), &mut out);
    out
}

fn newest_of_each(
    all: &BTreeSet<DateTime<Utc>>,
    most: usize,
    of: impl Fn(&DateTime<Utc>) -> (i32, u32),
    out: &mut BTreeSet<DateTime<Utc>>,
) {
    let mut met = BTreeSet::new();
    for t in all.iter().rev() {
        if met.len() == most {
            return;
        }
        if met.insert(of(t)) {
            out.insert(*t);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_772_400_000 + hours * 3600 / 4, 0).unwrap()
    }

    proptest! {
        #[test]
        fn the_newest_stays_nothing_is_kept_beyond_the_rule_and_a_second_look_changes_nothing(
            quarters in proptest::collection::btree_set(0i64..20_000, 0..200),
            (hourly, daily, weekly) in (0usize..30, 0usize..40, 0usize..10),
        ) {
            let all: BTreeSet<_> = quarters.into_iter().map(at).collect();
            let keep = KeepGenerations { hourly, daily, weekly };
            let stays = kept(&all, keep);
            prop_assert!(stays.is_subset(&all));
            prop_assert_eq!(stays.last(), all.last());
            prop_assert!(stays.len() <= (hourly + daily + weekly).max(1));
            prop_assert_eq!(kept(&stays, keep), stays.clone(), "pruning twice is pruning once");
            // The last of each of the newest days that have one is there.
            let days: BTreeSet<_> = all.iter().map(|t| t.date_naive()).collect();
            for day in days.iter().rev().take(daily) {
                let last = all.iter().rev().find(|t| t.date_naive() == *day).unwrap();
                prop_assert!(stays.contains(last), "{last} is the newest of its day");
            }
        }

        #[test]
        fn making_one_an_hour_and_pruning_each_time_leaves_what_the_rule_says(hours in 1i64..2_000) {
            let keep = KeepGenerations { hourly: 24, daily: 30, weekly: 8 };
            let mut there = BTreeSet::new();
            for h in 0..hours {
                there.insert(at(h * 4));
                there = kept(&there, keep);
            }
            let whole = (0..hours).map(|h| at(h * 4)).collect();
            let days_of = |s: &BTreeSet<DateTime<Utc>>| s.iter().map(|t| t.date_naive()).collect::<BTreeSet<_>>();
            let once = kept(&whole, keep);
            let newest: Vec<_> = once.iter().rev().take(24).collect();
            prop_assert!(newest.iter().all(|t| there.contains(t)), "the last day is whole");
            prop_assert!(days_of(&once).iter().rev().take(30).all(|d| days_of(&there).contains(d)));
        }
    }
}
