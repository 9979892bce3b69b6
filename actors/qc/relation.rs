//! Comparing sessions with each other where something changed: reads pages of the store, never a file.

use super::absences::not_listed;
use super::ledger::amend;
use super::outcome::{COMMIT, QcCounters, QcError, STATUS_DIRTY};
use super::relate::{CROSS, Series, reach, relate};
use crate::node::Node;
use datanode_schema::clock::day_number;
use datanode_schema::keys::{HoldingKey, Month, PageKey, SeriesKey};
use datanode_schema::names::{Dataset, Reason, Verdict};
use datanode_schema::records::{LedgerDay, LedgerPage};
use datanode_schema::registry::{DatasetRule, Registry};
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{ACTIONS, COUNTERS, GAPS, HOLDINGS, LEDGER, SECONDS, SUSPECTS, UNRELATED};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Compares the sessions of every month that is marked, and of those after it that look back on it.
pub(super) fn relate_changed(node: &Node, registry: &Registry, c: &mut QcCounters) -> Result<(), QcError> {
    let mut marked: BTreeMap<SeriesKey, BTreeSet<Month>> = BTreeMap::new();
    for (k, _) in node.store.load_all(&UNRELATED, &[])? {
        marked.entry(SeriesKey { dataset: k.dataset, symbol: k.symbol }).or_default().insert(k.month);
    }
    let work: Vec<(SeriesKey, BTreeSet<Month>)> = marked.into_iter().collect();
    for done in crate::parallel::each(node.threads, &work, |share| {
        let mut out = Out::default();
        while let Some((series, months)) = share.next() {
            if let Some(rule) = registry.rule(series.dataset) {
                one(node, registry, rule, series, months, &mut out)?;
            }
            for month in months {
                out.batch.delete(&UNRELATED, &key(series, *month));
            }
            if out.batch.len() >= COMMIT {
                node.store.commit(std::mem::take(&mut out.batch))?;
            }
        }
        if !out.batch.is_empty() {
            node.store.commit(std::mem::take(&mut out.batch))?;
        }
        Ok::<_, QcError>(out)
    }) {
        c.pages_written += done?.pages;
    }
    c.related += work.len() as u64;
    Ok(())
}

#[derive(Default)]
struct Out {
    batch: Batch,
    pages: u64,
}

fn key(series: &SeriesKey, month: Month) -> PageKey {
    PageKey { dataset: series.dataset, symbol: series.symbol.clone(), month }
}

/// One symbol.
fn one(
    node: &Node,
    registry: &Registry,
    rule: &DatasetRule,
    series: &SeriesKey,
    months: &BTreeSet<Month>,
    out: &mut Out,
) -> Result<(), QcError> {
    let reach = reach(rule);
    let Some(newest) = newest(node, series, months, reach)? else { return Ok(()) };
    for (from, to) in stretches(months, reach, newest) {
        let around = Around::load(node, registry, series, (Month(from.0.saturating_sub(reach)), to))?;
        let related = relate(&around.series(series.dataset, rule), from.first_day(), day_number(to.last()));
        let bits: BTreeMap<i32, u64> = related.into_iter().collect();
        for (month, page) in around.pages.into_iter().filter(|(m, _)| from <= *m && *m <= to) {
            enter(node, rule, series, (month, page), &bits, &around.seconds, out)?;
        }
    }
    Ok(())
}

/// The newest of the marked months, and those that they reach, that the ledger has.
fn newest(node: &Node, series: &SeriesKey, months: &BTreeSet<Month>, reach: u32) -> Result<Option<Month>, StoreError> {
    let Some(last) = months.last() else { return Ok(None) };
    for m in (last.0..=last.0 + reach).rev() {
        if node.store.get(&LEDGER, &key(series, Month(m)), |_| ())?.is_some() {
            return Ok(Some(Month(m)));
        }
    }
    Ok(Some(*last))
}

/// First and last months of what is to be compared: marked months with those that they reach, joined where they meet.
fn stretches(months: &BTreeSet<Month>, reach: u32, newest: Month) -> Vec<(Month, Month)> {
    let mut out: Vec<(Month, Month)> = Vec::new();
    for m in months {
        let to = Month((m.0 + reach).min(newest.0.max(m.0)));
        match out.last_mut() {
            Some((_, end)) if m.0 <= end.0 + 1 => *end = to.max(*end),
            _ => out.push((*m, to)),
        }
    }
    out
}

/// What is known around some months of a symbol.
#[derive(Default)]
struct Around {
    pages: BTreeMap<Month, LedgerPage>,
    sessions: Vec<LedgerDay>,
    actions: BTreeMap<i32, datanode_schema::records::ActionDay>,
    seconds: BTreeMap<i32, datanode_schema::records::Second>,
    notes: BTreeMap<i32, u64>,
    breaks: Vec<i32>,
}

impl Around {
    fn load(node: &Node, registry: &Registry, series: &SeriesKey, months: (Month, Month)) -> Result<Self, StoreError> {
        let mut a = Self::default();
        let spans = registry.universe.spans(series.dataset, &series.symbol);
        a.breaks.extend(spans.iter().skip(1).map(|s| day_number(s.from)));
        let prices = matches!(series.dataset, Dataset::EquitiesBars | Dataset::EquitiesBarsMinute);
        for m in months.0.0..=months.1.0 {
            let (month, key) = (Month(m), key(series, Month(m)));
            let first = month.first_day();
            if let Some(page) = node.store.load(&LEDGER, &key)? {
                a.sessions.extend(page.days(first).into_iter().filter(|d| d.rows > 0));
                a.pages.insert(month, page);
                a.note(node, series, month)?;
            }
            if let Some(page) = node.store.load(&GAPS, &key)? {
                a.breaks.extend(not_listed(&page, first));
            }
            if let Some(page) = node.store.load(&SECONDS, &key)? {
                a.seconds.extend(page.days.into_iter().map(|s| (s.day, s)));
            }
            let actions = PageKey { dataset: Dataset::CorporateActions, ..key };
            if prices && let Some(page) = node.store.load(&ACTIONS, &actions)? {
                // What is RED itself explains nothing.
                let verdicts = node.store.load(&LEDGER, &actions)?.map(|p| p.days(first)).unwrap_or_default();
                let red = |day: i32| verdicts.iter().any(|v| v.day == day && v.verdict == Verdict::Red.number());
                a.actions.extend(page.days.into_iter().filter(|d| !red(d.day)).map(|d| (d.day, d)));
            }
        }
        a.breaks.sort_unstable();
        Ok(a)
    }

    /// What raw noted of the month, whoever the vendor.
    fn note(&mut self, node: &Node, series: &SeriesKey, month: Month) -> Result<(), StoreError> {
        let first = month.first_day();
        node.store.scan(&HOLDINGS, &HoldingKey::of_month(series.dataset, &series.symbol, month), |_, page| {
            let noted = |d: u32, bit: u64| if d > 0 { bit } else { 0 };
            if page.groups.iter().any(|g| g.duplicates.to_native() > 0 || g.restated.to_native() > 0) {
                for d in page.native().days(first) {
                    let bits =
                        noted(d.duplicates, Reason::DUPLICATES_DROPPED.bit) | noted(d.restated, Reason::RESTATED.bit);
                    *self.notes.entry(d.day).or_default() |= bits;
                }
            }
            ControlFlow::Continue(())
        })
    }

    fn series<'a>(&'a self, dataset: Dataset, rule: &'a DatasetRule) -> Series<'a> {
        Series {
            dataset,
            rule,
            sessions: &self.sessions,
            actions: &self.actions,
            seconds: &self.seconds,
            notes: &self.notes,
            breaks: &self.breaks,
        }
    }
}

/// Writes a page where its reasons changed, and keeps the list of jumps that a second vendor could confirm.
fn enter(
    node: &Node,
    rule: &DatasetRule,
    series: &SeriesKey,
    (month, mut page): (Month, LedgerPage),
    bits: &BTreeMap<i32, u64>,
    seconds: &BTreeMap<i32, datanode_schema::records::Second>,
    out: &mut Out,
) -> Result<(), StoreError> {
    let (first, now) = (month.first_day(), node.clock.now().timestamp());
    let key = key(series, month);
    let change = |d: &LedgerDay| bits.get(&d.day).map_or(d.reasons, |b| (d.reasons & !CROSS) | b);
    if amend(&mut page, first, now, change) {
        out.batch.put(&LEDGER, &key, &page)?.put(&COUNTERS, &STATUS_DIRTY.to_owned(), &1)?;
        out.pages += 1;
    }
    let jumps = |d: &LedgerDay| d.reasons & Reason::UNEXPLAINED_JUMP.bit != 0 && !seconds.contains_key(&d.day);
    let any = page.groups.iter().any(|g| g.reasons & Reason::UNEXPLAINED_JUMP.bit != 0);
    let suspect = rule.spot_checks > 0 && any && page.days(first).iter().any(jumps);
    let known = node.store.get(&SUSPECTS, &key, |_| ())?.is_some();
    if suspect && !known {
        out.batch.put(&SUSPECTS, &key, &now)?;
    } else if known && !suspect {
        out.batch.delete(&SUSPECTS, &key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_that_changed_reaches_those_after_it_that_the_ledger_has() {
        let months = |m: &[u32]| m.iter().map(|m| Month(*m)).collect::<BTreeSet<_>>();
        let shown = |s: Vec<(Month, Month)>| s.into_iter().map(|(a, b)| (a.0, b.0)).collect::<Vec<_>>();
        assert_eq!(shown(stretches(&months(&[10]), 5, Month(10))), [(10, 10)]);
        assert_eq!(shown(stretches(&months(&[10]), 5, Month(99))), [(10, 15)]);
        assert_eq!(shown(stretches(&months(&[10, 12, 40]), 5, Month(41))), [(10, 17), (40, 41)]);
    }
}
