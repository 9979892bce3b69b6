//! Holdings and bookmarks after a calendar changed: on the days that differ, and on no others.
//!
//! A holding says where in its session the rows of a day lie, so where the session is another, it is counted again from
//! the raw file. Beside the deep audit this is the one place where the audit reads data.

use super::AuditError;
use crate::calendars::{Changed, changes};
use crate::frame::{read_raw, session_day};
use crate::node::Node;
use crate::raw::{RawError, forget, holding_day};
use datanode_schema::clock::date_of;
use datanode_schema::keys::{DecidedBy, HoldingKey};
use datanode_schema::names::Dataset;
use datanode_schema::paths::DataDir;
use datanode_schema::records::{Holding, HoldingDay, bits};
use datanode_schema::registry::{Cadence, DatasetRule, Registry};
use datanode_schema::store::Batch;
use datanode_schema::trees::{BOOKMARKS, HOLDINGS};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Puts of one commit.
const COMMIT: usize = 500;

/// Brings holdings and bookmarks up to the calendars as they are now. Gives how many holdings were counted again.
///
/// # Errors
/// The first that failed; what was done is done again.
pub(super) fn recount(node: &Node, registry: &Registry) -> Result<u64, AuditError> {
    let mut counted = 0;
    for changed in changes(&node.store, registry, DecidedBy::Holdings)? {
        if let Some(days) = changed.days.as_ref().filter(|d| !d.is_empty()) {
            tracing::info!(
                calendar = changed.calendar.name(),
                version = changed.calendar.version(),
                days = days.len(),
                first = %date_of(days.first().copied().unwrap_or(0)),
                last = %date_of(days.last().copied().unwrap_or(0)),
                "the calendar changed: these days are audited and judged again"
            );
            for (dataset, rule) in registry.datasets.iter().filter(|(_, r)| changed.is_of(r)) {
                counted += count_again(node, *dataset, rule, days)?;
                if rule.cadence == Cadence::Event {
                    ask_again(node, *dataset, &changed, days)?;
                }
            }
        }
        let mut batch = Batch::new();
        changed.remember(&mut batch)?;
        if !batch.is_empty() {
            node.store.commit(batch)?;
        }
    }
    Ok(counted)
}

/// Counts the holdings of these days again, from raw.
fn count_again(node: &Node, dataset: Dataset, rule: &DatasetRule, days: &BTreeSet<i32>) -> Result<u64, AuditError> {
    let mut pages: Vec<(HoldingKey, Holding)> = Vec::new();
    node.store.scan(&HOLDINGS, &[dataset.number()], |k, page| {
        let first = k.month.first_day();
        if bits(page.days_with_rows()).any(|n| days.contains(&(first + n))) {
            pages.push((k, page.native()));
        }
        ControlFlow::Continue(())
    })?;
    let mut counted = 0;
    for some in pages.chunks(COMMIT) {
        let done = crate::parallel::each(node.threads, some, |share| {
            let mut out = Vec::new();
            while let Some((key, page)) = share.next() {
                let (fresh, n) = page_again(node, rule, key, page, days)?;
                out.push((key, fresh, n));
            }
            Ok::<_, RawError>(out)
        });
        let mut batch = Batch::new();
        for (key, page, n) in done.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
            counted += n;
            batch.put(&HOLDINGS, key, &page)?;
        }
        node.store.commit(batch)?;
    }
    Ok(counted)
}

/// The page, and how many of its days were counted again.
fn page_again(
    node: &Node,
    rule: &DatasetRule,
    key: &HoldingKey,
    page: &Holding,
    days: &BTreeSet<i32>,
) -> Result<(Holding, u64), RawError> {
    let first = key.month.first_day();
    let mut all = page.days(first);
    let mut counted = 0;
    for held in all.iter_mut().filter(|d| days.contains(&d.day)) {
        *held = day_again(node, rule, key, held)?;
        counted += 1;
    }
    Ok((Holding::pack(first, all), counted))
}

fn day_again(node: &Node, rule: &DatasetRule, key: &HoldingKey, held: &HoldingDay) -> Result<HoldingDay, RawError> {
    // Only minutes have a place in their session; of anything else the rows are all there is to say.
    if key.dataset != Dataset::EquitiesBarsMinute {
        return Ok(held.clone());
    }
    let date = date_of(held.day);
    let path = node.data.raw().join(DataDir::raw_file(key.vendor, key.dataset, rule.grain, &key.symbol, date)?);
    let lost = |cause: &str| forget(node, rule, key.vendor, key.dataset, &key.symbol, date, cause);
    if !path.is_file() {
        return lost("the file is gone");
    }
    let table = match read_raw(&path, key.dataset, key.vendor) {
        Ok(t) => t,
        Err(e) => return lost(&e.cause),
    };
    let here = table.rows.iter().map(|r| r.when).filter(|w| session_day(key.dataset, *w) == held.day);
    let stamps: Vec<i64> = here.collect();
    let again = holding_day(key.dataset, rule.calendar(), held.day, &stamps);
    // What came twice or otherwise is not in the file any more.
    Ok(again.with_notes_of(held))
}

/// What was said of a day without a session says nothing of a session: of events, where an answer without rows is
/// final, the new sessions are taken out of the bookmarks.
fn ask_again(node: &Node, dataset: Dataset, changed: &Changed, days: &BTreeSet<i32>) -> Result<(), AuditError> {
    let opened: Vec<i32> = days.iter().copied().filter(|d| changed.calendar.is_session(date_of(*d))).collect();
    let all = node.store.load_all(&BOOKMARKS, &[dataset.number()])?;
    for some in all.chunks(COMMIT) {
        let mut batch = Batch::new();
        for (key, bookmark) in some {
            let mut fresh = bookmark.clone();
            opened.iter().for_each(|d| fresh.uncover(*d, *d));
            if fresh != *bookmark {
                batch.put(&BOOKMARKS, key, &fresh)?;
            }
        }
        if !batch.is_empty() {
            node.store.commit(batch)?;
        }
    }
    Ok(())
}
