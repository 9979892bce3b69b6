//! Judging what changed.

use super::ledger::enter;
use super::{Context, judge, status};
use crate::frame::{FrameError, Row, Table, read_curated, session_day};
use crate::node::Node;
use datanode_schema::clock::date_of;
use datanode_schema::keys::{Month, PageKey, TouchedKey};
use datanode_schema::names::{Absence, Dataset, Reason, Verdict};
use datanode_schema::paths::Cut;
use datanode_schema::records::{LedgerDay, LedgerPage};
use datanode_schema::registry::DatasetRule;
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{CONTEXTS, COUNTERS, CURATED, GAPS, LEDGER, UNJUDGED};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Puts of one commit.
const COMMIT: usize = 500;
/// 1 while the ledger says more than the status file; set in the commits that change the ledger.
pub(super) const STATUS_DIRTY: &str = "status_dirty";

/// QC cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum QcError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `partition_status.parquet` could not be written.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A file could not be published.
    #[error("{path}: {cause}; check the disk's free space and permissions")]
    Io {
        /// The folder.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// A curated file is not what was written.
    #[error("{path} is damaged ({cause}); remove it and run `datanode nightly`: it is rebuilt from raw")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        cause: String,
    },
}

/// What QC did, and the ledger as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QcCounters {
    /// Curated files judged.
    pub files: u64,
    /// Partitions judged.
    pub judged: u64,
    /// Partitions in the ledger.
    pub partitions: u64,
    /// Of those, by verdict.
    pub green: u64,
    /// Of those, by verdict.
    pub amber: u64,
    /// Of those, by verdict.
    pub red: u64,
    /// Of those, by verdict.
    pub pending: u64,
    /// Ledger pages that changed.
    pub pages_written: u64,
}

/// Judges every curated file that changed, enters the absences, and writes the status file where the ledger changed.
///
/// # Errors
/// The first that failed; what was not committed is judged again.
pub fn qc(node: &Node) -> Result<QcCounters, QcError> {
    let registry = node.registry();
    let mut c = QcCounters::default();
    for (dataset, rule) in &registry.datasets {
        reopen_where_rules_changed(node, *dataset, rule)?;
    }
    let mut batch = Batch::new();
    for (key, _) in node.store.load_all(&UNJUDGED, &[])? {
        let Some(rule) = registry.rule(key.dataset) else { continue };
        c.judged += judge_file(node, rule, &key, &mut batch, &mut c.pages_written)?;
        c.files += 1;
        if batch.len() >= COMMIT {
            node.store.commit(std::mem::take(&mut batch))?;
        }
    }
    if !batch.is_empty() {
        node.store.commit(batch)?;
    }
    let contexts: BTreeMap<Dataset, u64> =
        registry.datasets.iter().map(|(d, r)| (*d, Context::of(*d, r).keyed().0)).collect();
    c.pages_written += enter_absences(node, &contexts)?;
    status::write_if_changed(node, &mut c)?;
    Ok(c)
}

/// Where thresholds or calendar are others than those that the dataset was judged by, all of it is judged again.
fn reopen_where_rules_changed(node: &Node, dataset: Dataset, rule: &DatasetRule) -> Result<(), QcError> {
    let (key, json) = Context::of(dataset, rule).keyed();
    let name = format!("context:{dataset}");
    let known = node.store.load(&COUNTERS, &name)?;
    if known == Some(key) {
        return Ok(());
    }
    let mut batch = Batch::new();
    batch.put(&CONTEXTS, &key, &json)?.put(&COUNTERS, &name, &key)?;
    let now = node.clock.now().timestamp();
    for (k, _) in node.store.load_all(&CURATED, &[dataset.number()])? {
        batch.put(&UNJUDGED, &k, &now)?;
    }
    node.store.commit(batch)?;
    Ok(())
}

fn judge_file(
    node: &Node,
    rule: &DatasetRule,
    key: &TouchedKey,
    batch: &mut Batch,
    pages_written: &mut u64,
) -> Result<u64, QcError> {
    let path = node.data.curated().join(&key.path);
    let symbols = read_curated(&path, key.dataset)
        .map_err(|e| QcError::Damaged { path: path.display().to_string(), cause: e.cause })?;
    let (context, _) = Context::of(key.dataset, rule).keyed();
    let now = node.clock.now().timestamp();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut judged = 0;
    for (symbol, table) in symbols {
        // A symbol that comes back after another is a file that is not sorted.
        let unsorted = if seen.insert(symbol.clone()) { 0 } else { Reason::UNSORTED.bit };
        let mut pages: BTreeMap<Month, Vec<LedgerDay>> = BTreeMap::new();
        for (day, rows) in by_day(key.dataset, &table) {
            let j = judge(key.dataset, rule, day, &table, rows);
            let reasons = j.reasons | unsorted;
            judged += 1;
            pages.entry(Month::of(date_of(day))).or_default().push(LedgerDay {
                day,
                verdict: Reason::worst(reasons).number(),
                reasons,
                expected: j.expected,
                rows: j.rows,
                vendor: j.vendor.map_or(0, |v| v.number()),
                digest: j.digest,
                context,
                first_seen: now,
                updated_at: now,
            });
        }
        for (month, fresh) in pages {
            let page_key = PageKey { dataset: key.dataset, symbol: symbol.clone(), month };
            let mut page: LedgerPage = node.store.load(&LEDGER, &page_key)?.unwrap_or_default();
            let whole_month = rule.curated == Cut::Month;
            if enter(&mut page, fresh, |d| whole_month && d.rows > 0) {
                batch.put(&LEDGER, &page_key, &page)?.put(&COUNTERS, &STATUS_DIRTY.to_owned(), &1)?;
                *pages_written += 1;
            }
        }
    }
    batch.delete(&UNJUDGED, key);
    // Day files share a month's page: the next file must read what this one entered.
    if rule.curated == Cut::Day {
        node.store.commit(std::mem::take(batch))?;
    }
    Ok(judged)
}

/// Consecutive rows of one session.
fn by_day(dataset: Dataset, table: &Table) -> Vec<(i32, &[Row])> {
    let mut out = Vec::new();
    let mut rest = table.rows.as_slice();
    while let Some(first) = rest.first() {
        let day = session_day(dataset, first.when);
        let n = rest.iter().take_while(|r| session_day(dataset, r.when) == day).count();
        let (here, after) = rest.split_at(n);
        out.push((day, here));
        rest = after;
    }
    out
}

/// Brings the ledger's days without rows into line with the queue's absences.
fn enter_absences(node: &Node, contexts: &BTreeMap<Dataset, u64>) -> Result<u64, QcError> {
    let now = node.clock.now().timestamp();
    let mut wanted: BTreeMap<PageKey, Vec<LedgerDay>> = BTreeMap::new();
    node.store.scan(&GAPS, &[], |k, page| {
        let context = contexts.get(&k.dataset).copied().unwrap_or(0);
        let mut days = Vec::new();
        for t in page.tasks.iter() {
            let reason = match Absence::from_number(t.state) {
                Some(Absence::Missing | Absence::Pending) => Reason::MISSING_SESSION,
                Some(Absence::Explained) => Reason::NO_TRADE_AGREED,
                Some(Absence::Unobtainable) => Reason::UNOBTAINABLE,
                Some(Absence::Short) | None => continue,
            };
            days.push(LedgerDay {
                day: t.day.to_native(),
                verdict: reason.verdict.number(),
                reasons: reason.bit,
                expected: t.expected.to_native(),
                rows: 0,
                vendor: 0,
                digest: [0; 16],
                context,
                first_seen: now,
                updated_at: now,
            });
        }
        wanted.insert(k, days);
        ControlFlow::Continue(())
    })?;
    // Pages that have days without rows but no absence in the queue any more.
    node.store.scan(&LEDGER, &[], |k, page| {
        if page.days.iter().any(|d| d.rows.to_native() == 0) && !wanted.contains_key(&k) {
            wanted.insert(k, Vec::new());
        }
        ControlFlow::Continue(())
    })?;
    let mut batch = Batch::new();
    let mut changed = 0;
    for (key, days) in wanted {
        let mut page: LedgerPage = node.store.load(&LEDGER, &key)?.unwrap_or_default();
        if enter(&mut page, days, |d| d.rows == 0) {
            changed += 1;
            batch.put(&COUNTERS, &STATUS_DIRTY.to_owned(), &1)?;
            if page.days.is_empty() {
                batch.delete(&LEDGER, &key);
            } else {
                batch.put(&LEDGER, &key, &page)?;
            }
        }
        if batch.len() >= COMMIT {
            node.store.commit(std::mem::take(&mut batch))?;
        }
    }
    if !batch.is_empty() {
        node.store.commit(batch)?;
    }
    Ok(changed)
}

/// Adds one verdict to the totals.
pub(super) fn count(c: &mut QcCounters, verdict: Verdict) {
    c.partitions += 1;
    match verdict {
        Verdict::Green => c.green += 1,
        Verdict::Amber => c.amber += 1,
        Verdict::Red => c.red += 1,
        Verdict::Pending => c.pending += 1,
    }
}
