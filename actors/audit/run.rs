//! The audit over the whole universe.

use super::{Covered, Seen, inventory, is_short};
use crate::node::{Node, RunContext};
use chrono::NaiveDate;
use datanode_schema::clock::date_of;
use datanode_schema::keys::{Month, PageKey, SeriesKey};
use datanode_schema::names::{Absence, Dataset};
use datanode_schema::records::{GapPage, GapTask, HoldingDay};
use datanode_schema::registry::{Cadence, DatasetRule, Registry};
use datanode_schema::store::{Batch, Store, StoreError};
use datanode_schema::trees::{BOOKMARKS, GAPS, HOLDINGS};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Puts of one commit.
const COMMIT: usize = 500;

/// The audit cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Absences by class. `absent` is all of them but `short`, which are sessions with too few rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AuditCounters {
    /// Symbols looked at.
    pub symbols: u64,
    /// Sessions that the calendar has in the universe's windows.
    pub sessions: u64,
    /// missing + explained + pending + unobtainable.
    pub absent: u64,
    /// Nobody has given a final answer.
    pub missing: u64,
    /// There is a reason and evidence.
    pub explained: u64,
    /// Too early.
    pub pending: u64,
    /// Given up.
    pub unobtainable: u64,
    /// Rows, but not a whole session.
    pub short: u64,
    /// Given up by a person; not in `absent`.
    pub cancelled: u64,
    /// Pages that changed.
    pub pages_written: u64,
}

/// Compares holdings with calendar, universe and bookmarks, and writes the gap pages that changed.
///
/// # Errors
/// The store's.
pub fn audit(node: &Node, run: &RunContext) -> Result<AuditCounters, AuditError> {
    let registry = node.registry();
    // Nobody else changes a page between its being read and its being written.
    let _turns = node.turns.all();
    let mut counters = AuditCounters::default();
    let mut batch = Batch::new();
    let mut known: BTreeSet<(Dataset, String)> = BTreeSet::new();
    for (dataset, symbol, spans) in registry.universe.iter() {
        let Some(rule) = registry.rule(dataset).filter(|r| r.cadence != Cadence::Snapshot) else { continue };
        known.insert((dataset, symbol.to_owned()));
        let held = holdings(&node.store, rule, dataset, symbol)?;
        let (pages, before) = tasks(&node.store, dataset, symbol)?;
        let vendors = vendors(node, &registry, dataset, symbol)?;
        let now = node.clock.now();
        let seen =
            Seen { dataset, rule, spans, as_of: run.as_of, now, held: &held, before: &before, vendors: &vendors };
        let after = inventory(&seen);
        counters.symbols += 1;
        for span in spans {
            if let Some((a, b)) = span.until(run.as_of) {
                counters.sessions += rule.calendar().count(a, b) as u64;
            }
        }
        counters.pages_written += write_changes(&mut batch, dataset, symbol, &pages, after)?;
        if batch.len() >= COMMIT {
            node.store.commit(std::mem::take(&mut batch))?;
        }
    }
    counters.pages_written += drop_unknown(node, &known, &mut batch)?;
    if !batch.is_empty() {
        node.store.commit(batch)?;
    }
    count_absences(&node.store, &mut counters)?;
    Ok(counters)
}

/// Fills in the absences as the queue has them.
///
/// # Errors
/// The store's.
pub fn count_absences(store: &Store, c: &mut AuditCounters) -> Result<(), StoreError> {
    let mut n: BTreeMap<u8, u64> = BTreeMap::new();
    store.scan(&GAPS, &[], |_, page| {
        for g in page.groups.iter() {
            *n.entry(g.state).or_default() += u64::from(g.days.to_native().count_ones());
        }
        ControlFlow::Continue(())
    })?;
    let of = |a: Absence| n.get(&a.number()).copied().unwrap_or(0);
    c.missing = of(Absence::Missing);
    c.explained = of(Absence::Explained);
    c.pending = of(Absence::Pending);
    c.unobtainable = of(Absence::Unobtainable);
    c.short = of(Absence::Short);
    c.cancelled = of(Absence::Cancelled);
    c.absent = c.missing + c.explained + c.pending + c.unobtainable;
    Ok(())
}

/// The best holding of each session: a whole one before a short one, then the one with more rows.
fn holdings(
    store: &Store,
    rule: &DatasetRule,
    dataset: Dataset,
    symbol: &str,
) -> Result<BTreeMap<i32, HoldingDay>, StoreError> {
    let mut out: BTreeMap<i32, HoldingDay> = BTreeMap::new();
    let whole = |h: &HoldingDay| rule.calendar().session(date_of(h.day)).is_some_and(|s| !is_short(rule, &s, h));
    store.scan(&HOLDINGS, &SeriesKey::prefix(dataset, symbol), |k, page| {
        for h in page.native().days(k.month.first_day()) {
            let better = out.get(&h.day).is_none_or(|o| (whole(&h), h.rows) > (whole(o), o.rows));
            if better {
                out.insert(h.day, h);
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(out)
}

type Pages = BTreeMap<Month, GapPage>;

fn tasks(store: &Store, dataset: Dataset, symbol: &str) -> Result<(Pages, BTreeMap<i32, GapTask>), StoreError> {
    let mut pages = Pages::new();
    let mut tasks = BTreeMap::new();
    for (k, page) in store.load_all(&GAPS, &SeriesKey::prefix(dataset, symbol))? {
        for t in page.tasks(k.month.first_day()) {
            tasks.insert(t.day, t);
        }
        pages.insert(k.month, page);
    }
    Ok((pages, tasks))
}

fn vendors(node: &Node, registry: &Registry, dataset: Dataset, symbol: &str) -> Result<Vec<Covered>, StoreError> {
    let marks = node.store.load_all(&BOOKMARKS, &SeriesKey::prefix(dataset, symbol))?;
    let ranked = registry.ranked(dataset);
    let enabled = ranked.iter().filter(|(v, _)| node.enabled.contains(v));
    Ok(enabled
        .map(|(v, c)| Covered {
            vendor: *v,
            window: (c.from.unwrap_or(NaiveDate::MIN), c.to.unwrap_or(NaiveDate::MAX)),
            bookmark: marks.iter().find(|(k, _)| k.vendor == *v).map(|(_, b)| b.clone()).unwrap_or_default(),
        })
        .collect())
}

fn write_changes(
    batch: &mut Batch,
    dataset: Dataset,
    symbol: &str,
    before: &Pages,
    after: Pages,
) -> Result<u64, StoreError> {
    let mut changed = 0;
    let key = |month| PageKey { dataset, symbol: symbol.to_owned(), month };
    for month in before.keys().filter(|m| !after.contains_key(m)) {
        batch.delete(&GAPS, &key(*month));
        changed += 1;
    }
    for (month, page) in after {
        if before.get(&month) != Some(&page) {
            batch.put(&GAPS, &key(month), &page)?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// Tasks of symbols that the universe no longer names.
fn drop_unknown(node: &Node, known: &BTreeSet<(Dataset, String)>, batch: &mut Batch) -> Result<u64, StoreError> {
    let mut gone = Vec::new();
    node.store.scan(&GAPS, &[], |k, _| {
        if !known.contains(&(k.dataset, k.symbol.clone())) {
            gone.push(k);
        }
        ControlFlow::Continue(())
    })?;
    for k in &gone {
        batch.delete(&GAPS, k);
    }
    Ok(gone.len() as u64)
}
