//! The index by itself: nothing starves, nothing is given out twice, a request is shaped to its vendor.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::super::dispatch::order;
use super::super::lens::{Class, Lens};
use super::{Batch, Index};
use crate::vendor::Purpose;
use chrono::NaiveDate;
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::day_number;
use datanode_schema::keys::Month;
use datanode_schema::names::{Absence, Dataset, Vendor};
use datanode_schema::records::{Demotions, GapPage, GapTask};
use datanode_schema::registry::{Registry, Sources};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const AS_OF: &str = "2024-06-28";

fn date(s: &str) -> NaiveDate {
    s.parse().unwrap()
}

fn index(max_rows: u32) -> Index {
    let mut s = Sources::read(None, None, None).unwrap();
    s.capabilities.1 = s.capabilities.1.replace("max_rows: 10000", &format!("max_rows: {max_rows}"));
    let registry = Registry::parse(&s).unwrap();
    let enabled = BTreeSet::from([Vendor::Alpaca, Vendor::Massive]);
    let now = "2024-06-30T12:00:00Z".parse().unwrap();
    let days = (i32::MIN, day_number(date(AS_OF)));
    let lens =
        Lens::new(&registry, &enabled, Purpose::Backfill, now, day_number(date("2024-06-30")), days, date(AS_OF));
    Index::new(lens, 0)
}

/// Puts the sessions `from..=to` of a symbol.
fn put(index: &mut Index, symbol: &str, from: &str, to: &str, discovered_at: i64) {
    let series = index.series(Dataset::EquitiesBars, symbol);
    let mut months: BTreeMap<Month, Vec<GapTask>> = BTreeMap::new();
    for d in Calendar::Xnys.session_dates(date(from), date(to)) {
        let task = GapTask {
            day: day_number(d),
            state: Absence::Missing.number(),
            why: 0,
            expected: 1,
            rows: 0,
            discovered_at,
            answers: Vec::new(),
        };
        months.entry(Month::of(d)).or_default().push(task);
    }
    for (m, tasks) in months {
        index.put((series, m.0), &GapPage::pack(m.first_day(), tasks).groups, 0);
    }
}

fn pick(index: &mut Index, turn: u64) -> Option<Batch> {
    index.pick(Vendor::Alpaca, order(turn), |_| true).ok()
}

proptest! {
    #[test]
    fn no_class_starves_however_much_comes_anew(old in 1usize..12, recent in 0usize..6, rows in 1u32..40) {
        let mut ix = index(rows);
        for i in 0..old {
            put(&mut ix, &format!("OLD{i}"), "2010-01-04", "2010-01-04", 1);
        }
        for i in 0..recent {
            put(&mut ix, &format!("REC{i}"), "2024-06-20", "2024-06-20", 2);
        }
        let mut left: BTreeSet<String> = (0..old).map(|i| format!("OLD{i}")).collect();
        left.extend((0..recent).map(|i| format!("REC{i}")));
        // Today never runs dry: before each turn there is something new.
        for turn in 0..(8 * (old + recent)) as u64 {
            put(&mut ix, &format!("NEW{turn}"), AS_OF, AS_OF, 100 + turn as i64);
            let got = pick(&mut ix, turn).unwrap();
            got.symbols.iter().for_each(|s| { left.remove(s); });
        }
        prop_assert!(left.is_empty(), "starved: {left:?}");
    }

    #[test]
    fn every_task_is_given_out_once_and_within_the_vendor_s_shape(
        spans in proptest::collection::vec((0u32..900, 1u32..400), 1..8), rows in 1u32..300,
    ) {
        let mut ix = index(rows);
        let mut want: BTreeSet<(String, i32)> = BTreeSet::new();
        for (i, (start, length)) in spans.iter().enumerate() {
            let from = date("2021-06-01") + chrono::Duration::days(i64::from(*start));
            let to = (from + chrono::Duration::days(i64::from(*length))).min(date(AS_OF));
            let name = format!("S{i}");
            put(&mut ix, &name, &from.to_string(), &to.to_string(), i as i64 / 3);
            want.extend(Calendar::Xnys.session_dates(from, to).into_iter().map(|d| (name.clone(), day_number(d))));
        }
        let mut turn = 0;
        while let Some(b) = pick(&mut ix, turn) {
            turn += 1;
            prop_assert!(b.symbols.len() * b.days.len() <= rows.max(1) as usize, "{b:?}");
            prop_assert!(b.days.windows(2).all(|w| w[0] < w[1]), "{b:?}");
            for s in &b.symbols {
                for d in &b.days {
                    prop_assert!(want.remove(&(s.clone(), *d)), "{s} {d} twice, or not asked for");
                }
            }
            let parts: u32 = b.parts.iter().map(|p| p.days.count_ones()).sum();
            prop_assert_eq!(parts as usize, b.symbols.len() * b.days.len());
        }
        prop_assert!(want.is_empty(), "left: {want:?}");
    }
}

#[test]
fn one_request_answers_many_symbols_of_a_day_and_many_days_of_a_symbol() {
    let mut ix = index(100);
    for s in ["A", "B", "C"] {
        put(&mut ix, s, AS_OF, AS_OF, 1);
    }
    put(&mut ix, "D", "2020-01-02", "2020-05-29", 1);
    let today = pick(&mut ix, 0).unwrap();
    assert_eq!((today.class, today.symbols.join(","), today.days.len()), (Class::Today, "A,B,C".to_owned(), 1));
    let history = pick(&mut ix, 1).unwrap();
    assert_eq!((history.class, history.symbols.join(","), history.days.len()), (Class::History, "D".to_owned(), 100));
    assert_eq!(pick(&mut ix, 2).unwrap().days.len(), 3, "103 sessions in all");
    assert!(pick(&mut ix, 3).is_none());
}

#[test]
fn what_is_refused_for_a_symbol_or_for_all_is_not_given_out() {
    let mut ix = index(100);
    put(&mut ix, "A", "2024-06-03", AS_OF, 1);
    put(&mut ix, "B", "2024-06-03", AS_OF, 1);
    let refuse = |from: &str, to: &str| {
        let mut d = Demotions::default();
        d.refuse(day_number(date(from)), day_number(date(to)), 0, "no");
        Some(d)
    };
    let (a, every) = (ix.series(Dataset::EquitiesBars, "A"), ix.series(Dataset::EquitiesBars, "*"));
    ix.set_demotions(a, Vendor::Alpaca, refuse("2024-06-03", "2024-06-14"));
    ix.set_demotions(every, Vendor::Alpaca, refuse("2024-06-24", "2024-06-28"));
    put(&mut ix, "A", "2024-06-03", AS_OF, 1);
    put(&mut ix, "B", "2024-06-03", AS_OF, 1);
    let mut got: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for turn in 0.. {
        let Some(b) = pick(&mut ix, turn) else { break };
        b.symbols.iter().for_each(|s| got.entry(s.clone()).or_default().extend(&b.days));
    }
    let days = |from: &str, to: &str| -> BTreeSet<i32> {
        Calendar::Xnys.session_dates(date(from), date(to)).into_iter().map(day_number).collect()
    };
    assert_eq!(got["A"], days("2024-06-17", "2024-06-21"));
    assert_eq!(got["B"], days("2024-06-03", "2024-06-21"));
}
