//! The audit over the whole universe.

use super::inventory::{Covered, HeldMonth, Seen, Sessions, inventory};
use super::recount::recount;
use crate::node::{Node, RunContext};
use crate::queue::{bit, window};
use crate::raw::RawError;
use datanode_schema::keys::{EVERY_SYMBOL, Month, PageKey, SeriesKey};
use datanode_schema::names::{Absence, Dataset, Vendor};
use datanode_schema::records::{Bookmark, Demotions, GapPage};
use datanode_schema::registry::{Cadence, DatasetRule, Registry};
use datanode_schema::store::{Batch, Store, StoreError, Table};
use datanode_schema::trees::{BOOKMARKS, DEMOTIONS, GAPS, HOLDINGS, RETIRED};
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
    /// A manifest does not parse.
    #[error(transparent)]
    Manifest(#[from] datanode_schema::manifest::BadLine),
    /// A raw file is gone or altered.
    #[error(transparent)]
    Raw(#[from] RawError),
    /// A file cannot be read.
    #[error("{path}: {cause}; check the disk and the folder's permissions")]
    Io {
        /// The file or folder.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
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
    /// Of those, the ones that nobody was asked for yet.
    pub never_asked: u64,
    /// There is a reason and evidence.
    pub explained: u64,
    /// Too early.
    pub pending: u64,
    /// Given up.
    pub unobtainable: u64,
    /// Rows, but not a whole session.
    pub short: u64,
    /// Rows from open to close, with minutes between them that should be there.
    pub holes: u64,
    /// The same, where the vendors agree that nothing traded; not in `explained`, which are whole sessions.
    pub silent: u64,
    /// Given up by a person; not in `absent`.
    pub cancelled: u64,
    /// Pages that changed.
    pub pages_written: u64,
}

/// Which symbols to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All of the universe.
    Everything,
    /// Those that lack something: after the queue was drained, the evidence is new and the rows are new there alone.
    WithGaps,
}

/// Compares holdings with calendar, universe and bookmarks, and writes the gap pages that changed.
///
/// # Errors
/// The store's.
pub fn audit(node: &Node, run: &RunContext, scope: Scope) -> Result<AuditCounters, AuditError> {
    let registry = node.registry();
    // Nobody else changes a page between its being read and its being written.
    let _turns = node.turns.all();
    recount(node, &registry)?;
    let mut counters = AuditCounters::default();
    let mut batch = Batch::new();
    let mut known: BTreeSet<(Dataset, &str)> = BTreeSet::new();
    let mut sessions: BTreeMap<Dataset, Sessions> = BTreeMap::new();
    let now = node.clock.now();
    for (dataset, symbol, spans) in registry.universe.iter() {
        let Some(rule) = registry.rule(dataset).filter(|r| r.cadence != Cadence::Snapshot) else { continue };
        known.insert((dataset, symbol));
        let before = pages(&node.store, &GAPS, dataset, symbol)?;
        if scope == Scope::WithGaps && before.is_empty() {
            continue;
        }
        let retired = retired(node, dataset, symbol, &mut batch)?;
        let sessions = sessions.entry(dataset).or_insert_with(|| {
            let first =
                registry.universe.datasets.get(&dataset).and_then(|m| m.values().flatten().map(|s| s.from).min());
            Sessions::of(rule.calendar(), first.unwrap_or(run.as_of), run.as_of)
        });
        let seen = Seen {
            rule,
            spans,
            sessions,
            as_of: run.as_of,
            now,
            held: &held(&node.store, rule, dataset, symbol)?,
            before: if before.is_empty() { &retired } else { &before },
            vendors: &vendors(node, &registry, dataset, symbol)?,
        };
        let after = inventory(&seen);
        counters.symbols += 1;
        counters.sessions += after.sessions;
        counters.pages_written += write_changes(&mut batch, dataset, symbol, &before, after.pages)?;
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
    let mut n: BTreeMap<(u8, bool), u64> = BTreeMap::new();
    let mut never_asked = 0;
    store.scan(&GAPS, &[], |_, page| {
        for g in page.groups.iter() {
            let sessions = u64::from(g.days.to_native().count_ones());
            *n.entry((g.state, g.rows.to_native() > 0)).or_default() += sessions;
            if g.state == Absence::Missing.number() && g.answers.is_empty() {
                never_asked += sessions;
            }
        }
        ControlFlow::Continue(())
    })?;
    let of = |a: Absence, rows: bool| n.get(&(a.number(), rows)).copied().unwrap_or(0);
    let both = |a: Absence| of(a, false) + of(a, true);
    c.missing = both(Absence::Missing);
    c.never_asked = never_asked;
    c.explained = of(Absence::Explained, false);
    c.silent = of(Absence::Explained, true);
    c.pending = both(Absence::Pending);
    c.unobtainable = both(Absence::Unobtainable);
    c.short = both(Absence::Short);
    c.holes = both(Absence::Hole);
    c.cancelled = both(Absence::Cancelled);
    c.absent = c.missing + c.explained + c.pending + c.unobtainable;
    Ok(())
}

/// What all vendors together hold of a symbol.
fn held(
    store: &Store,
    rule: &DatasetRule,
    dataset: Dataset,
    symbol: &str,
) -> Result<BTreeMap<Month, HeldMonth>, StoreError> {
    let mut out: BTreeMap<Month, HeldMonth> = BTreeMap::new();
    store.scan(&HOLDINGS, &SeriesKey::prefix(dataset, symbol), |k, page| {
        let month = out.entry(k.month).or_default();
        month.days |= page.days_with_rows();
        if rule.cadence == Cadence::Minute {
            month.pages.push(page.native());
        }
        ControlFlow::Continue(())
    })?;
    Ok(out)
}

type Pages = BTreeMap<Month, GapPage>;

fn pages(store: &Store, tree: &Table<PageKey, GapPage>, dataset: Dataset, symbol: &str) -> Result<Pages, StoreError> {
    let all = store.load_all(tree, &SeriesKey::prefix(dataset, symbol))?;
    Ok(all.into_iter().map(|(k, page)| (k.month, page)).collect())
}

/// The evidence of a symbol that has left the universe and is back.
fn retired(node: &Node, dataset: Dataset, symbol: &str, batch: &mut Batch) -> Result<Pages, StoreError> {
    if node.store.len(RETIRED.name) == 0 {
        return Ok(Pages::new());
    }
    let pages = pages(&node.store, &RETIRED, dataset, symbol)?;
    for month in pages.keys() {
        batch.delete(&RETIRED, &PageKey { dataset, symbol: symbol.to_owned(), month: *month });
    }
    Ok(pages)
}

/// The vendors of a symbol: those that can be asked, and those that were.
fn vendors(node: &Node, registry: &Registry, dataset: Dataset, symbol: &str) -> Result<Vec<Covered>, StoreError> {
    let marks = node.store.load_all(&BOOKMARKS, &SeriesKey::prefix(dataset, symbol))?;
    let mut marks: BTreeMap<Vendor, Bookmark> = marks.into_iter().map(|(k, b)| (k.vendor, b)).collect();
    let mut demoted: BTreeMap<Vendor, Demotions> = BTreeMap::new();
    if node.store.len(DEMOTIONS.name) > 0 {
        for of in [symbol, EVERY_SYMBOL] {
            for (k, d) in node.store.load_all(&DEMOTIONS, &SeriesKey::prefix(dataset, of))? {
                demoted.entry(k.vendor).or_default().windows.extend(d.windows);
            }
        }
    }
    let ranked = registry.ranked(dataset);
    let enabled = ranked.iter().filter(|(v, _)| node.enabled.contains(v));
    let mut out: Vec<Covered> = enabled
        .map(|(v, c)| Covered {
            who: bit(*v),
            // As whoever keeps an answer counts them: else what one of the two explains the other takes back.
            window: window(c, node.clock.now()),
            demoted: demoted.remove(v).unwrap_or_default(),
            bookmark: marks.remove(v).unwrap_or_default(),
        })
        .collect();
    let off = |bookmark| Covered { who: 0, window: (0, -1), demoted: Demotions::default(), bookmark };
    out.extend(marks.into_values().map(off));
    Ok(out)
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

/// Tasks of symbols that the universe no longer names are put away: what vendors and people said of them goes on to be true.
fn drop_unknown(node: &Node, known: &BTreeSet<(Dataset, &str)>, batch: &mut Batch) -> Result<u64, StoreError> {
    let mut gone = Vec::new();
    node.store.scan(&GAPS, &[], |k, page| {
        if !known.contains(&(k.dataset, k.symbol.as_str())) {
            gone.push((k, page.native()));
        }
        ControlFlow::Continue(())
    })?;
    for (k, page) in &gone {
        batch.delete(&GAPS, k).put(&RETIRED, k, page)?;
        if batch.len() >= COMMIT {
            node.store.commit(std::mem::take(batch))?;
        }
    }
    Ok(gone.len() as u64)
}
