//! What people ask of the queue: why a task is where it is, and to retry, cancel or pause.

use super::QueueError;
use super::lens::{Class, Lens, why_not};
use super::rivals::Ability;
use super::score::{Terms, terms};
use crate::node::Node;
use crate::vendor::Purpose;
use chrono::NaiveDate;
use datanode_schema::clock::day_number;
use datanode_schema::keys::{BookmarkKey, Month, PageKey, SeriesKey};
use datanode_schema::names::{Absence, Dataset, Vendor};
use datanode_schema::records::{GapGroup, GapPage, GapTask, VendorState};
use datanode_schema::store::Batch;
use datanode_schema::trees::{DEMOTIONS, GAPS, VENDOR_STATES};
use serde::Serialize;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Pages of one commit.
const COMMIT: usize = 500;

/// Which tasks are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this dataset only.
    pub dataset: Option<Dataset>,
    /// Of this symbol only.
    pub symbol: Option<String>,
    /// From this day on.
    pub from: Option<NaiveDate>,
    /// Up to this day.
    pub to: Option<NaiveDate>,
}

/// A vendor's part in the explanation of a task.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// The vendor.
    pub vendor: Vendor,
    /// The terms of its score.
    pub terms: Terms,
    /// `able`, `busy`, `busy, alone` (others do not take what waits for it) or `unable`.
    pub can_take_now: &'static str,
    /// Why it may not be asked for this task; null where it may.
    pub why_not: Option<String>,
}

/// Why a task is where it is.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The dataset.
    pub dataset: Dataset,
    /// The symbol.
    pub symbol: String,
    /// The session.
    pub day: NaiveDate,
    /// `missing`, `short` and so on; null where the day has no task.
    pub state: Option<Absence>,
    /// The class that it ranks in.
    pub class: Class,
    /// Rows that the calendar expects, and rows that are held.
    pub expected: u32,
    /// See `expected`.
    pub rows: u32,
    /// Unix seconds when the audit first saw it; 0 where the day has no task.
    pub discovered_at: i64,
    /// The number of the lease that covers it.
    pub lease: Option<u64>,
    /// The vendors of the dataset, the one that would be asked first.
    pub vendors: Vec<Candidate>,
}

/// Explains one day of one symbol; `as_of` is the last session considered.
///
/// # Errors
/// The store's.
pub fn explain(
    node: &Node,
    dataset: Dataset,
    symbol: &str,
    day: NaiveDate,
    as_of: NaiveDate,
) -> Result<Explained, QueueError> {
    let registry = node.registry();
    let (number, now) = (day_number(day), node.clock.now());
    let today = day_number(now.date_naive());
    let days = (i32::MIN, i32::MAX - 40_000);
    let lens = Lens::new(&registry, &node.enabled, Purpose::Backfill, now, today, days, as_of);
    let key = PageKey { dataset, symbol: symbol.to_owned(), month: Month::of(day) };
    let page = node.store.load(&GAPS, &key)?.unwrap_or_default();
    let bit = 1u32 << (number - key.month.first_day()).clamp(0, 31);
    let group = page.groups.iter().find(|g| g.days & bit != 0);
    let none = GapGroup { days: 0, state: 0, why: 0, expected: 0, rows: 0, discovered_at: 0, answers: Vec::new() };
    let g = group.unwrap_or(&none);
    let mut vendors = Vec::new();
    let inner = node.queue.inner();
    for offer in lens.offers(dataset).map_or(&[][..], |o| &o.vendors) {
        let (Some(rule), Some(caps)) = (registry.rule(dataset), registry.vendors.get(&offer.vendor)) else { continue };
        let Some(c) = caps.datasets.get(&dataset) else { continue };
        let demotions =
            node.store.load(&DEMOTIONS, &BookmarkKey { dataset, symbol: symbol.to_owned(), vendor: offer.vendor })?;
        let why = why_not(&lens, offer, g, number, demotions.as_ref(), now.timestamp());
        let standing = inner.learned.0.get(&(offer.vendor, dataset)).copied().unwrap_or_default();
        let can = match inner.ability(&registry, offer.vendor, dataset, node.clock.since_boot_ms()) {
            Ability::Able => "able",
            Ability::Busy => "busy",
            Ability::BusyAlone => "busy, alone",
            Ability::Unable => "unable",
        };
        let terms = terms(rule, c, &caps.limits, &standing, why.is_none());
        vendors.push(Candidate { vendor: offer.vendor, terms, can_take_now: can, why_not: why });
    }
    vendors.sort_by(|a, b| b.terms.score.total_cmp(&a.terms.score).then(b.vendor.number().cmp(&a.vendor.number())));
    let (class, _) = lens.open_to(dataset, g, number, |_, _| false);
    Ok(Explained {
        dataset,
        symbol: symbol.to_owned(),
        day,
        state: Absence::from_number(g.state),
        class,
        expected: g.expected,
        rows: g.rows,
        discovered_at: g.discovered_at,
        lease: inner.lease_over(dataset, symbol, key.month, bit),
        vendors,
    })
}

/// Gives tasks that were given up, cancelled or failed new attempts. Answers that were good stay evidence. How many.
///
/// # Errors
/// The store's.
pub fn retry(node: &Node, filter: &Filter) -> Result<u64, QueueError> {
    change(node, filter, |task| {
        let given_up = [Absence::Unobtainable, Absence::Cancelled].iter().any(|a| a.number() == task.state);
        let failed = task.answers.iter().any(|a| a.attempts > 0);
        if !given_up && !failed {
            return false;
        }
        if given_up {
            task.state = if task.rows > 0 { Absence::Short.number() } else { Absence::Missing.number() };
        }
        task.answers.retain(|a| a.attempts == 0);
        true
    })
}

/// Gives tasks up until they are retried. How many.
///
/// # Errors
/// The store's.
pub fn cancel(node: &Node, filter: &Filter) -> Result<u64, QueueError> {
    change(node, filter, |task| {
        let open = [Absence::Missing, Absence::Short, Absence::Hole, Absence::Pending, Absence::Unobtainable];
        let hit = open.iter().any(|a| a.number() == task.state);
        if hit {
            task.state = Absence::Cancelled.number();
        }
        hit
    })
}

fn change(node: &Node, filter: &Filter, act: impl Fn(&mut GapTask) -> bool) -> Result<u64, QueueError> {
    let prefix = match (filter.dataset, &filter.symbol) {
        (Some(d), Some(s)) => SeriesKey::prefix(d, s),
        (Some(d), None) => vec![d.number()],
        (None, _) => Vec::new(),
    };
    let mut series: BTreeSet<(Dataset, String)> = BTreeSet::new();
    node.store.scan(&GAPS, &prefix, |k, _| {
        if filter.symbol.as_ref().is_none_or(|s| *s == k.symbol) {
            series.insert((k.dataset, k.symbol));
        }
        ControlFlow::Continue(())
    })?;
    let mut count = 0;
    for (dataset, symbol) in series {
        let _turn = node.turns.take(dataset, std::slice::from_ref(&symbol));
        let changed = change_one(node, dataset, &symbol, filter, &act, &mut count)?;
        node.queue.touch(node, &changed)?;
    }
    Ok(count)
}

/// Changes the pages of one symbol, in one commit for each few hundred; returns which.
fn change_one(
    node: &Node,
    dataset: Dataset,
    symbol: &str,
    filter: &Filter,
    act: &impl Fn(&mut GapTask) -> bool,
    count: &mut u64,
) -> Result<Vec<PageKey>, QueueError> {
    let (from, to) = (filter.from.map_or(i32::MIN, day_number), filter.to.map_or(i32::MAX, day_number));
    let mut changed: Vec<(PageKey, GapPage)> = Vec::new();
    for (k, page) in node.store.load_all(&GAPS, &SeriesKey::prefix(dataset, symbol))? {
        let first = k.month.first_day();
        let mut tasks = page.tasks(first);
        let hits = tasks.iter_mut().filter(|t| from <= t.day && t.day <= to).map(act).filter(|hit| *hit).count();
        if hits > 0 {
            *count += hits as u64;
            changed.push((k, GapPage::pack(first, tasks)));
        }
    }
    for some in changed.chunks(COMMIT) {
        let mut batch = Batch::new();
        for (k, page) in some {
            batch.put(&GAPS, k, page)?;
        }
        node.store.commit(batch)?;
    }
    Ok(changed.into_iter().map(|(k, _)| k).collect())
}

/// Pauses a vendor, or resumes it; survives restarts.
///
/// # Errors
/// The store's.
pub fn pause(node: &Node, vendor: Vendor, paused: bool, by: &str) -> Result<(), QueueError> {
    let mut batch = Batch::new();
    let name = vendor.name().to_owned();
    if paused {
        let state = VendorState { paused, by: by.to_owned(), at: node.clock.now().timestamp() };
        batch.put(&VENDOR_STATES, &name, &state)?;
    } else {
        batch.delete(&VENDOR_STATES, &name);
    }
    node.store.commit(batch)?;
    let mut inner = node.queue.inner();
    if paused {
        inner.paused.insert(vendor);
    } else {
        inner.paused.remove(&vendor);
    }
    Ok(())
}

/// Forgets what a vendor refused: it is asked again in the next stage. How many windows.
///
/// # Errors
/// The store's.
pub fn clear_demotions(
    node: &Node,
    vendor: Vendor,
    dataset: Option<Dataset>,
    symbol: Option<&str>,
) -> Result<u64, QueueError> {
    let mut batch = Batch::new();
    let mut count = 0;
    for (k, d) in node.store.load_all(&DEMOTIONS, &[])? {
        let meant =
            k.vendor == vendor && dataset.is_none_or(|x| x == k.dataset) && symbol.is_none_or(|s| s == k.symbol);
        if meant {
            count += d.windows.len() as u64;
            batch.delete(&DEMOTIONS, &k);
        }
    }
    if !batch.is_empty() {
        node.store.commit(batch)?;
    }
    Ok(count)
}
