//! Second looks: where two vendors gave one session, how far apart they lie. What is compared is what the curated file has of one
//! and raw of the other.

use crate::frame::{Bar, Cell, Row, Table, session_day};
use crate::node::Node;
use crate::qc::ends;
use datanode_schema::keys::PageKey;
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::records::{Second, SecondPage};
use datanode_schema::registry::DatasetRule;
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{SECONDS, UNRELATED};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What second vendors gave of one symbol in one curated file, by day. `tables` is each vendor's, `merged` what was taken of them.
pub fn seconds(dataset: Dataset, rule: &DatasetRule, tables: &[Table], merged: &Table) -> Vec<Second> {
    if tables.len() < 2 || matches!(dataset, Dataset::CorporateActions | Dataset::PredictionBooks) {
        return Vec::new();
    }
    let mut out = Vec::new();
    for (day, taken) in by_day(dataset, &merged.rows) {
        let Some(main) = main(merged, taken) else { continue };
        let mut best: Option<(usize, Second)> = None;
        for t in tables {
            let Some(vendor) = t.origins.first().map(|o| o.vendor).filter(|v| *v != main) else { continue };
            let rows = of_day(dataset, &t.rows, day);
            if rows.is_empty() || best.as_ref().is_some_and(|(n, _)| *n >= rows.len()) {
                continue;
            }
            let others = taken.iter().filter(|r| merged.origin(r).is_some_and(|o| o.vendor != vendor));
            let (compared, differ) = compare(rule.qc.vendor_tolerance, others, rows);
            let (open, close) = ends(dataset, rule, day, rows);
            best = Some((rows.len(), Second { day, vendor: vendor.number(), compared, differ, open, close }));
        }
        out.extend(best.map(|(_, s)| s));
    }
    out
}

/// The vendor of most of the rows that were taken; the first by name where two have as many.
fn main(merged: &Table, rows: &[Row]) -> Option<Vendor> {
    let mut counts: BTreeMap<&'static str, (usize, Vendor)> = BTreeMap::new();
    for o in rows.iter().filter_map(|r| merged.origin(r)) {
        counts.entry(o.vendor.name()).or_insert((0, o.vendor)).0 += 1;
    }
    counts.into_values().rev().max_by_key(|(n, _)| *n).map(|(_, v)| v)
}

fn by_day(dataset: Dataset, rows: &[Row]) -> Vec<(i32, &[Row])> {
    let same = |a: &Row, b: &Row| session_day(dataset, a.when) == session_day(dataset, b.when);
    rows.chunk_by(same).filter_map(|c| c.first().map(|r| (session_day(dataset, r.when), c))).collect()
}

/// The rows of a day. Only a day file of options is not in the order of time, and it has one day.
fn of_day(dataset: Dataset, rows: &[Row], day: i32) -> &[Row] {
    if dataset == Dataset::OptionsBars {
        let first = rows.first().map(|r| session_day(dataset, r.when));
        return if first == Some(day) { rows } else { &[] };
    }
    let from = rows.partition_point(|r| session_day(dataset, r.when) < day);
    let to = rows.partition_point(|r| session_day(dataset, r.when) <= day);
    rows.get(from..to).unwrap_or_default()
}

/// Rows that both have, and those of them that lie farther apart than the tolerance. Both are in the order of a file.
fn compare<'a>(tolerance: f64, ours: impl Iterator<Item = &'a Row>, theirs: &[Row]) -> (u32, u32) {
    let (mut compared, mut differ) = (0, 0);
    let mut rest = theirs;
    for row in ours {
        let before = rest.iter().take_while(|t| t.order(row).is_lt()).count();
        rest = rest.get(before..).unwrap_or_default();
        if let Some(other) = rest.first().filter(|t| t.order(row).is_eq()) {
            compared += 1;
            differ += u32::from(!near(tolerance, &row.cell, &other.cell));
        }
    }
    (compared, differ)
}

fn near(tolerance: f64, a: &Cell, b: &Cell) -> bool {
    let close = |x: f64, y: f64| x == y || (x - y).abs() <= tolerance * x.abs().max(y.abs());
    match (a.bar(), b.bar()) {
        (Some(a), Some(b)) => {
            let prices = |b: &Bar| [b.open, b.high, b.low, b.close];
            prices(a).into_iter().zip(prices(b)).all(|(x, y)| close(x, y))
        }
        _ => match (a.value(), b.value()) {
            (Some(x), Some(y)) => close(x, y),
            (x, y) => x.is_none() && y.is_none(),
        },
    }
}

/// The second looks of this stage. Two threads may rebuild days of one month: its page is changed in one place.
#[derive(Default)]
pub(super) struct Looks(Mutex<BTreeMap<PageKey, SecondPage>>);

/// What one curated file has of one symbol.
pub(super) struct Look {
    pub(super) key: PageKey,
    /// First and last day of the file.
    pub(super) days: (i32, i32),
    pub(super) found: Vec<Second>,
}

impl Looks {
    /// Commits a batch with what changed. The batches of two threads go to the store in the order in which they took the lock.
    pub(super) fn commit(&self, node: &Node, looks: Vec<Look>, mut batch: Batch) -> Result<(), StoreError> {
        // A panic ends the process, so a poisoned lock is never seen.
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = node.clock.now().timestamp();
        for look in looks {
            if !pages.contains_key(&look.key) {
                let page = node.store.load(&SECONDS, &look.key)?;
                if page.is_none() && look.found.is_empty() {
                    continue;
                }
                pages.insert(look.key.clone(), page.unwrap_or_default());
            }
            let Some(page) = pages.get_mut(&look.key) else { continue };
            let after = replace(&page.days, look.days, look.found);
            if after == page.days {
                continue;
            }
            page.days = after;
            if page.days.is_empty() {
                batch.delete(&SECONDS, &look.key);
            } else {
                batch.put(&SECONDS, &look.key, page)?;
            }
            batch.put(&UNRELATED, &look.key, &now)?;
        }
        if batch.is_empty() {
            return Ok(());
        }
        let ticket = node.store.submit(batch)?;
        drop(pages);
        ticket.wait()?;
        Ok(())
    }
}

/// The days of a page after those of a file were looked at again. That a vendor was asked and gave nothing (no rows compared)
/// stays known.
fn replace(before: &[Second], (from, to): (i32, i32), found: Vec<Second>) -> Vec<Second> {
    let stays = |s: &&Second| s.day < from || s.day > to || (s.compared == 0 && !found.iter().any(|f| f.day == s.day));
    let mut out: Vec<Second> = before.iter().filter(stays).copied().collect();
    out.extend(found);
    out.sort_by_key(|s| s.day);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curate::by_preference;
    use crate::frame::Origin;
    use datanode_schema::registry::{Registry, Sources};

    fn rule(d: Dataset) -> DatasetRule {
        Registry::parse(&Sources::read(None, None, None).unwrap()).unwrap().datasets[&d].clone()
    }

    fn table(vendor: Vendor, rows: &[(i64, f64)]) -> Table {
        let bar = |p| Bar { open: p, high: p, low: p, close: p, volume: 1.0, trades: None, vwap: None };
        let rows = rows.iter().map(|(d, p)| Row { when: *d, cell: Cell::Bar(bar(*p)), origin: 0 }).collect();
        Table { rows, origins: vec![Origin { vendor, feed: "f".into(), request_id: "r".into() }] }
    }

    fn looked(tables: &[Table]) -> Vec<Second> {
        let d = Dataset::EquitiesBars;
        seconds(d, &rule(d), tables, &by_preference(tables, |_| true).table)
    }

    #[test]
    fn days_that_two_vendors_gave_are_compared_and_others_are_not() {
        let ours = table(Vendor::Alpaca, &[(18_000, 10.0), (18_001, 10.0), (18_003, 10.0)]);
        let theirs = table(Vendor::Massive, &[(18_000, 10.02), (18_001, 10.2), (18_002, 10.0)]);
        let massive = Vendor::Massive.number();
        let of = |day, differ, p| Second { day, vendor: massive, compared: 1, differ, open: p, close: p };
        assert_eq!(looked(&[ours.clone(), theirs]), [of(18_000, 0, 10.02), of(18_001, 1, 10.2)]);
        assert!(looked(&[ours]).is_empty());
    }

    #[test]
    fn of_several_the_one_with_the_most_rows_is_the_second() {
        let d = Dataset::EquitiesBarsMinute;
        let open = 1_748_871_000_000_000_000; // 2025-06-02 09:30 in New York
        let minutes = |v, n: i64, p: f64| table(v, &(0..n).map(|i| (open + i * 60_000_000_000, p)).collect::<Vec<_>>());
        let tables =
            [minutes(Vendor::Alpaca, 390, 10.0), minutes(Vendor::Tiingo, 5, 10.0), minutes(Vendor::Massive, 300, 11.0)];
        let got = seconds(d, &rule(d), &tables, &by_preference(&tables, |_| true).table);
        assert_eq!(got.len(), 1);
        assert_eq!((got[0].vendor, got[0].compared, got[0].differ), (Vendor::Massive.number(), 300, 300));
    }

    #[test]
    fn looking_again_replaces_the_days_of_the_file_and_keeps_that_a_vendor_had_nothing() {
        let s = |day, compared| Second { day, vendor: 3, compared, differ: 0, open: 1.0, close: 1.0 };
        assert_eq!(replace(&[s(1, 5), s(2, 5), s(3, 0), s(9, 5)], (1, 4), vec![s(1, 7)]), [s(1, 7), s(3, 0), s(9, 5)]);
        assert_eq!(replace(&[s(3, 0)], (3, 3), vec![s(3, 9)]), [s(3, 9)]);
    }
}
