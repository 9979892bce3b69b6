//! One month of a dataset, symbol by day: a page of symbols, each read by its own key.

use super::Cell;
use crate::admin::AdminContext;
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::date_of;
use datanode_schema::keys::{Month, PageKey};
use datanode_schema::names::{Absence, Dataset, Explanation, Reason, Verdict};
use datanode_schema::records::{LedgerDay, bits};
use datanode_schema::store::StoreError;
use datanode_schema::trees::{GAPS, LEDGER};
use std::collections::BTreeSet;
use std::ops::Bound;

/// Symbols that are looked at for one page where only some are wanted.
const MOST_LOOKED_AT: usize = 2_000;

/// What counts for a cell of the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Rows, and nothing is wrong.
    Green,
    /// Rows, and something to know.
    Amber,
    /// Rows that never ship.
    Red,
    /// Expected and not there.
    Missing,
    /// Not there, for a reason.
    Explained,
}

impl Kind {
    /// Of one partition, by the rule that maps are counted by.
    fn of(d: &LedgerDay) -> Self {
        let mut cell = Cell::default();
        cell.count(d.verdict, d.reasons, d.rows, 1);
        match cell {
            Cell { green: 1, .. } => Self::Green,
            Cell { amber: 1, .. } => Self::Amber,
            Cell { red: 1, .. } => Self::Red,
            Cell { explained: 1, .. } => Self::Explained,
            _ => Self::Missing,
        }
    }
}

/// A partition of the month.
#[derive(Clone, Debug)]
pub struct DayCell {
    /// Day number.
    pub day: i32,
    /// What it counts for.
    pub kind: Kind,
    /// Its verdict, or why it is absent, and the reasons.
    pub why: String,
}

/// A symbol's partitions of the month, by day.
#[derive(Clone, Debug)]
pub struct SymbolMonth {
    /// The symbol.
    pub symbol: String,
    /// Those of which something is known.
    pub days: Vec<DayCell>,
}

/// A page of a month.
#[derive(Clone, Debug)]
pub struct MonthMap {
    /// Day numbers of the columns: the calendar's sessions, and other days of which something is known.
    pub days: Vec<i32>,
    /// The symbols of the universe from the one that was asked for on.
    pub rows: Vec<SymbolMonth>,
    /// The symbol that the next page begins with.
    pub next: Option<String>,
    /// Symbols that the universe has of the dataset.
    pub symbols: usize,
}

/// The month's partitions of up to `limit` symbols from `from` on; with `wrong` alone those of which something is RED, AMBER or missing.
///
/// # Errors
/// The store's.
pub fn month(
    ctx: &AdminContext,
    dataset: Dataset,
    month: Month,
    from: &str,
    limit: usize,
    wrong: bool,
) -> Result<MonthMap, StoreError> {
    let registry = (ctx.registry)();
    let (first, end) = (month.first_day(), Month(month.0 + 1).first_day());
    let calendar = registry.rule(dataset).map_or(Calendar::Always, |r| r.calendar());
    let session = |n: &i32| calendar.is_session(date_of(*n));
    let mut days: BTreeSet<i32> = (first..end).filter(session).collect();
    let (mut rows, mut next) = (Vec::new(), None);
    let all = registry.universe.datasets.get(&dataset);
    let wanted = all.into_iter().flat_map(|m| m.range::<str, _>((Bound::Included(from), Bound::Unbounded)));
    for (looked, (symbol, _)) in wanted.enumerate() {
        if rows.len() >= limit || looked >= MOST_LOOKED_AT {
            next = Some(symbol.clone());
            break;
        }
        let row = of_symbol(ctx, &PageKey { dataset, symbol: symbol.clone(), month })?;
        let bad = |d: &DayCell| matches!(d.kind, Kind::Red | Kind::Amber | Kind::Missing);
        if !wrong || row.iter().any(bad) {
            days.extend(row.iter().map(|d| d.day));
            rows.push(SymbolMonth { symbol: symbol.clone(), days: row });
        }
    }
    Ok(MonthMap { days: days.into_iter().collect(), rows, next, symbols: all.map_or(0, |m| m.len()) })
}

fn of_symbol(ctx: &AdminContext, key: &PageKey) -> Result<Vec<DayCell>, StoreError> {
    let first = key.month.first_day();
    let judged = ctx.store.load(&LEDGER, key)?.unwrap_or_default().days(first);
    let gaps = ctx.store.load(&GAPS, key)?.unwrap_or_default();
    let task = |day: i32| gaps.groups.iter().find(|g| bits(g.days).any(|n| first + n == day));
    let mut out: Vec<DayCell> = judged
        .iter()
        .map(|d| {
            let mut words = vec![Verdict::from_number(d.verdict).map_or("unknown", Verdict::name)];
            words.extend(Reason::names(d.reasons));
            words.extend(task(d.day).and_then(|g| Explanation::from_number(g.why)).map(Explanation::name));
            DayCell { day: d.day, kind: Kind::of(d), why: words.join(" ") }
        })
        .collect();
    // What the queue knows and nobody has judged yet.
    for g in &gaps.groups {
        for day in bits(g.days).map(|n| first + n).filter(|day| judged.iter().all(|d| d.day != *day)) {
            let state = Absence::from_number(g.state);
            let kind = if state == Some(Absence::Explained) { Kind::Explained } else { Kind::Missing };
            let mut words = vec![state.map_or("unknown", Absence::name)];
            words.extend(Explanation::from_number(g.why).map(Explanation::name));
            out.push(DayCell { day, kind, why: words.join(" ") });
        }
    }
    out.sort_by_key(|d| d.day);
    Ok(out)
}
