//! Judging what changed.

use super::ledger::enter;
use super::outcome::{QcCounters, QcError, STATUS_DIRTY};
use super::{Context, judge, status};
use crate::frame::{Row, Table, read_curated, session_day};
use crate::node::Node;
use crate::quarantine::{Quarantine, seen};
use datanode_schema::clock::date_of;
use datanode_schema::keys::{Month, PageKey, TouchedKey};
use datanode_schema::names::{Absence, Dataset, Explanation, Reason};
use datanode_schema::paths::Cut;
use datanode_schema::records::{LedgerDay, LedgerPage, Print};
use datanode_schema::registry::{DatasetRule, Registry};
use datanode_schema::store::Batch;
use datanode_schema::trees::{CONTEXTS, COUNTERS, CURATED, GAPS, LEDGER, UNJUDGED};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Puts of one commit.
const COMMIT: usize = 500;
/// Files that are judged between two commits.
const JUDGE: usize = 64;

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
    let quarantine = Quarantine::load(&node.store)?;
    let unjudged: Vec<TouchedKey> = node.store.load_all(&UNJUDGED, &[])?.into_iter().map(|(k, _)| k).collect();
    for some in unjudged.chunks(JUDGE) {
        let judged = crate::parallel::each(node.threads, some, |share| {
            let mut out = Vec::new();
            while let Some(key) = share.next() {
                if let Some(rule) = registry.rule(key.dataset) {
                    out.push(judge_file(node, &quarantine, rule, key)?);
                }
            }
            Ok::<_, QcError>(out)
        });
        let mut files = Vec::new();
        for j in judged {
            files.extend(j?);
        }
        files.sort_by(|a: &JudgedFile, b| a.key.cmp(&b.key));
        enter_files(node, &registry, &files, &mut c)?;
    }
    let contexts: BTreeMap<Dataset, u64> =
        registry.datasets.iter().map(|(d, r)| (*d, Context::of(*d, r).keyed().0)).collect();
    c.pages_written += enter_absences(node, &contexts)?;
    // What was said by hand while this stage judged.
    c.pages_written += node.acts.settle_all()?;
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

/// A judged curated file: its verdicts by ledger page.
struct JudgedFile {
    key: TouchedKey,
    pages: BTreeMap<PageKey, Vec<LedgerDay>>,
}

fn judge_file(
    node: &Node,
    quarantine: &Quarantine,
    rule: &DatasetRule,
    key: &TouchedKey,
) -> Result<JudgedFile, QcError> {
    let path = node.data.curated().join(&key.path);
    let symbols = read_curated(&path, key.dataset).map_err(|e| {
        seen::unexpected_file(&node.acts, format!("curated/{}", key.path), &e.cause);
        QcError::Damaged { path: path.display().to_string(), cause: e.cause }
    })?;
    let (context, _) = Context::of(key.dataset, rule).keyed();
    let now = node.clock.now().timestamp();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut pages: BTreeMap<PageKey, Vec<LedgerDay>> = BTreeMap::new();
    for (symbol, table) in symbols {
        // A symbol that comes back after another is a file that is not sorted.
        let unsorted = if seen.insert(symbol.clone()) { 0 } else { Reason::UNSORTED.bit };
        let manual = quarantine.of(key.dataset, &symbol);
        for (day, rows) in by_day(key.dataset, &table) {
            let j = judge(key.dataset, rule, day, &table, rows);
            let reasons = manual.apply(day, j.reasons | unsorted);
            let page = PageKey { dataset: key.dataset, symbol: symbol.clone(), month: Month::of(date_of(day)) };
            pages.entry(page).or_default().push(LedgerDay {
                day,
                verdict: Reason::worst(reasons).number(),
                reasons,
                expected: j.expected,
                rows: j.rows,
                vendor: j.vendor.map_or(0, |v| v.number()),
                context,
                first_seen: now,
                updated_at: now,
                print: Print { digest: j.digest, ..Print::default() },
            });
        }
    }
    Ok(JudgedFile { key: key.clone(), pages })
}

/// Enters judged files into the ledger. Day files share a month's page, so pages are gathered over the whole batch and
/// written in one commit with the files' marks.
fn enter_files(node: &Node, registry: &Registry, files: &[JudgedFile], c: &mut QcCounters) -> Result<(), QcError> {
    let mut batch = Batch::new();
    let mut gathered: BTreeMap<&PageKey, Vec<LedgerDay>> = BTreeMap::new();
    for f in files {
        for (key, days) in &f.pages {
            c.judged += days.len() as u64;
            gathered.entry(key).or_default().extend(days.iter().cloned());
        }
        c.files += 1;
        batch.delete(&UNJUDGED, &f.key);
    }
    for (key, fresh) in gathered {
        let mut page: LedgerPage = node.store.load(&LEDGER, key)?.unwrap_or_default();
        let whole_month = registry.rule(key.dataset).is_some_and(|r| r.curated == Cut::Month);
        if enter(&mut page, key.month.first_day(), fresh, |d| whole_month && d.rows > 0) {
            batch.put(&LEDGER, key, &page)?;
            c.pages_written += 1;
        }
    }
    if c.pages_written > 0 {
        batch.put(&COUNTERS, &STATUS_DIRTY.to_owned(), &1)?;
    }
    if !batch.is_empty() {
        node.store.commit(batch)?;
    }
    Ok(())
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
        for t in page.native().tasks(k.month.first_day()) {
            let reason = match Absence::from_number(t.state) {
                Some(Absence::Missing | Absence::Pending) => Reason::MISSING_SESSION,
                Some(Absence::Explained) => match Explanation::from_number(t.why) {
                    Some(Explanation::BeforeListing) => Reason::BEFORE_LISTING,
                    Some(Explanation::Delisted) => Reason::DELISTED,
                    Some(Explanation::NotListed) => Reason::NOT_LISTED,
                    Some(Explanation::NoTrade) | None => Reason::NO_TRADE_AGREED,
                },
                Some(Absence::Unobtainable | Absence::Cancelled) => Reason::UNOBTAINABLE,
                Some(Absence::Short | Absence::Hole) | None => continue,
            };
            days.push(LedgerDay {
                day: t.day,
                verdict: reason.verdict.number(),
                reasons: reason.bit,
                expected: t.expected,
                rows: 0,
                vendor: 0,
                context,
                first_seen: now,
                updated_at: now,
                print: Print::default(),
            });
        }
        wanted.insert(k, days);
        ControlFlow::Continue(())
    })?;
    // Pages that have days without rows but no absence in the queue any more.
    node.store.scan(&LEDGER, &[], |k, page| {
        if page.groups.iter().any(|g| g.rows.to_native() == 0) && !wanted.contains_key(&k) {
            wanted.insert(k, Vec::new());
        }
        ControlFlow::Continue(())
    })?;
    let mut batch = Batch::new();
    let mut changed = 0;
    for (key, days) in wanted {
        let mut page: LedgerPage = node.store.load(&LEDGER, &key)?.unwrap_or_default();
        if enter(&mut page, key.month.first_day(), days, |d| d.rows == 0) {
            changed += 1;
            batch.put(&COUNTERS, &STATUS_DIRTY.to_owned(), &1)?;
            if page.groups.is_empty() {
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
