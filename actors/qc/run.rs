//! Judging what changed.

use super::actions::{action_pages, enter_actions};
use super::ledger::enter;
use super::outcome::{QcCounters, QcError, STATUS_DIRTY};
use super::reopen::Reopening;
use super::{Context, absences, judge, relation, status};
use crate::frame::{Row, Table, read_curated, session_day};
use crate::node::Node;
use crate::quarantine::seen;
use datanode_schema::clock::date_of;
use datanode_schema::keys::{Month, PageKey, TouchedKey};
use datanode_schema::names::{Dataset, Reason};
use datanode_schema::paths::Cut;
use datanode_schema::records::{ActionPage, LedgerDay, LedgerPage};
use datanode_schema::registry::{DatasetRule, Registry};
use datanode_schema::store::Batch;
use datanode_schema::trees::{COUNTERS, LEDGER, UNJUDGED, UNRELATED};
use std::collections::{BTreeMap, BTreeSet};

/// Files that are judged between two commits.
const JUDGE: usize = 64;

/// Judges every curated file that changed, enters the absences, compares the sessions around what changed with each other, and
/// writes the status file where the ledger changed.
///
/// # Errors
/// The first that failed; what was not committed is judged again.
pub fn qc(node: &Node) -> Result<QcCounters, QcError> {
    let registry = node.registry();
    let mut c = QcCounters::default();
    let reopening = Reopening::begin(node, &registry)?;
    let unjudged: Vec<TouchedKey> = node.store.load_all(&UNJUDGED, &[])?.into_iter().map(|(k, _)| k).collect();
    for some in unjudged.chunks(JUDGE) {
        let judged = crate::parallel::each(node.threads, some, |share| {
            let mut out = Vec::new();
            while let Some(key) = share.next() {
                if let Some(rule) = registry.rule(key.dataset) {
                    out.push(judge_file(node, rule, key)?);
                }
            }
            Ok::<_, QcError>(out)
        });
        let mut files = Vec::new();
        for j in judged {
            files.extend(j?);
        }
        files.sort_by(|a: &JudgedFile, b| a.key.cmp(&b.key));
        enter_files(node, &registry, &reopening, &files, &mut c)?;
    }
    c.pages_written += absences::enter_absences(node, &registry, &reopening)?;
    reopening.finish(node)?;
    relation::relate_changed(node, &registry, &mut c)?;
    // What was said by hand, of what was judged, and while it was. Until the file says what the ledger says nothing more is: the
    // mark that the file is old would be taken off with what came after its symbol was written.
    let _still = node.acts.still();
    c.pages_written += node.acts.settle_all()?;
    status::write_if_changed(node, &mut c)?;
    Ok(c)
}

/// A judged curated file: its verdicts by ledger page.
struct JudgedFile {
    key: TouchedKey,
    pages: BTreeMap<PageKey, Vec<LedgerDay>>,
    /// Of corporate actions: what the file says of each symbol's month.
    actions: BTreeMap<PageKey, ActionPage>,
}

fn judge_file(node: &Node, rule: &DatasetRule, key: &TouchedKey) -> Result<JudgedFile, QcError> {
    let path = node.data.curated().join(&key.path);
    let symbols = read_curated(&path, key.dataset).map_err(|e| {
        seen::unexpected_file(&node.acts, format!("curated/{}", key.path), &e.cause);
        QcError::Damaged { path: path.display().to_string(), cause: e.cause }
    })?;
    let (context, _) = Context::of(key.dataset, rule).keyed();
    let now = node.clock.now().timestamp();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut pages: BTreeMap<PageKey, Vec<LedgerDay>> = BTreeMap::new();
    let actions = action_pages(key.dataset, &symbols);
    for (symbol, table) in symbols {
        // A symbol that comes back after another is a file that is not sorted.
        let unsorted = if seen.insert(symbol.clone()) { 0 } else { Reason::UNSORTED.bit };
        for (day, rows) in by_day(key.dataset, &table) {
            let j = judge(key.dataset, rule, day, &table, rows);
            let reasons = j.reasons | unsorted;
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
                print: j.print,
            });
        }
    }
    Ok(JudgedFile { key: key.clone(), pages, actions })
}

/// Enters judged files into the ledger. Day files share a month's page, so pages are gathered over the whole batch and
/// written in one commit with the files' marks.
fn enter_files(
    node: &Node,
    registry: &Registry,
    reopening: &Reopening,
    files: &[JudgedFile],
    c: &mut QcCounters,
) -> Result<(), QcError> {
    let mut batch = Batch::new();
    let mut gathered: BTreeMap<&PageKey, Vec<LedgerDay>> = BTreeMap::new();
    for f in files {
        for (key, days) in &f.pages {
            c.judged += days.len() as u64;
            gathered.entry(key).or_default().extend(days.iter().cloned());
        }
        c.files += 1;
        batch.delete(&UNJUDGED, &f.key);
        enter_actions(node, registry, &f.actions, &mut batch)?;
    }
    let now = node.clock.now().timestamp();
    let mut misread = Misread::default();
    for (key, mut fresh) in gathered {
        let mut page: LedgerPage = node.store.load(&LEDGER, key)?.unwrap_or_default();
        reopening.settle(key, &page, &mut fresh);
        batch.put(&UNRELATED, key, &now)?;
        misread.compare(key, &page, &fresh);
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
    misread.report(node, registry);
    Ok(())
}

/// Sessions that were found to lie hours beside their time, and those that do so no more.
#[derive(Default)]
struct Misread(BTreeMap<Dataset, [Vec<(String, i32)>; 2]>);

impl Misread {
    fn compare(&mut self, key: &PageKey, page: &LedgerPage, fresh: &[LedgerDay]) {
        let bit = Reason::MISREAD_TIMESTAMPS.bit;
        let known = page.groups.iter().any(|g| g.reasons & bit != 0);
        if !known && fresh.iter().all(|d| d.reasons & bit == 0) {
            return;
        }
        let before = page.days(key.month.first_day());
        let [newly, no_longer] = self.0.entry(key.dataset).or_default();
        for d in fresh {
            let was = before.iter().any(|b| b.day == d.day && b.reasons & bit != 0);
            match (was, d.reasons & bit != 0) {
                (false, true) => newly.push((key.symbol.clone(), d.day)),
                (true, false) => no_longer.push((key.symbol.clone(), d.day)),
                _ => {}
            }
        }
    }

    fn report(self, node: &Node, registry: &Registry) {
        for (dataset, [newly, no_longer]) in self.0 {
            if let Some(rule) = registry.rule(dataset) {
                seen::misread(&node.acts, dataset, rule.calendar(), &newly, &no_longer);
            }
        }
    }
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
