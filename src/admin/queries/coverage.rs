//! `coverage`: what is there and GREEN, as a map.
//!
//! Made from the ledger's groups by their bits. All symbols together are counted once for a state of the ledger ([`Maps`]); a symbol
//! is read when it is asked for.

mod kept;
mod month;

pub use kept::{Heat, heat};
pub use month::{DayCell, Kind, MonthMap, SymbolMonth, month};

use super::{day, not_found, require_symbol};
use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::{AdminError, Code};
use datanode_schema::clock::date_of;
use datanode_schema::keys::{Month, SeriesKey};
use datanode_schema::names::{Dataset, Reason, Verdict};
use datanode_schema::records::bits;
use datanode_schema::store::{Store, StoreError};
use datanode_schema::trees::LEDGER;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

/// A longer span is shown by month where nothing else is asked for.
const MOST_MONTHS_BY_DAY: u32 = 24;
/// Columns of a map by symbol: as many months as a terminal of 80 columns has room for.
const MOST_COLUMNS: u32 = 60;

/// Partitions of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Rows, and nothing is wrong.
    pub green: u32,
    /// Rows, and something to know.
    pub amber: u32,
    /// Rows that never ship.
    pub red: u32,
    /// Expected and not there.
    pub missing: u32,
    /// Not there, for a reason.
    pub explained: u32,
}

impl Cell {
    /// Those that should be there.
    pub fn expected(&self) -> u32 {
        self.green + self.amber + self.red + self.missing
    }

    fn add(&mut self, o: &Self) {
        self.green += o.green;
        self.amber += o.amber;
        self.red += o.red;
        self.missing += o.missing;
        self.explained += o.explained;
    }

    /// Adds so many partitions of a ledger group.
    fn count(&mut self, verdict: u8, reasons: u64, rows: u32, n: u32) {
        *match (rows, Verdict::from_number(verdict)) {
            (0, Some(Verdict::Green)) => &mut self.explained,
            (0, Some(Verdict::Amber)) if reasons & Reason::NO_TRADE_AGREED.bit != 0 => &mut self.explained,
            (0, _) => &mut self.missing,
            (_, Some(Verdict::Green)) => &mut self.green,
            (_, Some(Verdict::Amber)) => &mut self.amber,
            (_, Some(Verdict::Red | Verdict::Pending) | None) => &mut self.red,
        } += n;
    }
}

/// A row of the map.
#[derive(Clone, Debug, Serialize)]
pub struct MapRow {
    /// `2024-01`, `2024`, or a symbol.
    pub label: String,
    /// A cell a column; null where nothing is known of it.
    pub cells: Vec<Option<Cell>>,
    /// All of them together.
    pub total: Cell,
}

/// The answer of `coverage`.
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    /// The dataset.
    pub dataset: &'static str,
    /// The symbol, where one was named.
    pub symbol: Option<String>,
    /// `day` (rows are months), `month` (rows are years) or `symbol` (columns are months).
    pub by: &'static str,
    /// First day that is counted; null where there is nothing.
    pub from: Option<String>,
    /// Last day that is counted.
    pub to: Option<String>,
    /// Symbols that the ledger has of the dataset; of a map by symbol those that are shown.
    pub symbols: u64,
    /// What the columns are.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<MapRow>,
    /// Rows in all, those before and after the page included.
    pub total_rows: u64,
    /// Rows before the page.
    pub offset: u64,
    /// Everything together.
    pub total: Cell,
}

/// Cells of a month.
type Days = [Cell; 31];

/// The parts of a month that lie in a span: bit 0 is the first day.
fn mask(month: Month, from: i32, to: i32) -> u32 {
    let first = month.first_day();
    let below = |n: i32| match n {
        ..=0 => 0,
        1..=31 => u32::MAX >> (32 - n),
        _ => u32::MAX,
    };
    let length = Month(month.0 + 1).first_day() - first;
    below(to.saturating_sub(first).saturating_add(1).min(length)) & !below(from.saturating_sub(first))
}

/// Every symbol of a dataset together, by month.
type Months = BTreeMap<Month, Box<Days>>;

/// The whole ledger by dataset and month, kept while it does not change: a map that covers everything is asked for again and
/// again, and each pass reads every page.
#[derive(Debug, Default)]
pub struct Maps(Mutex<BTreeMap<Dataset, Kept>>);

#[derive(Clone, Debug)]
struct Kept {
    /// The ledger's commit that it was counted at.
    at: u64,
    months: Arc<Months>,
    symbols: u64,
}

pub(super) fn coverage(ctx: &AdminContext, a: &Args) -> Result<Coverage, AdminError> {
    let registry = (ctx.registry)();
    require_symbol(ctx, &registry, a)?;
    let Some(dataset) = a.dataset() else { return Err(AdminError::new(Code::BadArgs, "coverage needs DATASET")) };
    if registry.rule(dataset).is_none() {
        return Err(not_found(format!("datasets.yaml has no {dataset}: add it there; `names` lists those it has")));
    }
    let (from, to) = a.days().into_inner();
    if from > to {
        let (from, to) = (date_of(from), date_of(to));
        return Err(AdminError::new(Code::BadArgs, format!("--from {from} lies after --to {to}: swap them")));
    }
    let days = (from, to);
    if a.text("by") == Some("symbol") {
        return of_symbols(ctx, a, dataset, days);
    }
    let (months, symbols) = match a.symbol() {
        Some(s) => {
            let mut months = Months::new();
            let n = count(&ctx.store, &SeriesKey::prefix(dataset, s), days, &mut months)?;
            (months, n)
        }
        None => {
            let kept = ctx.maps.of(ctx, dataset, false)?;
            (cut(&kept.months, days), kept.symbols)
        }
    };
    let (first, last) = (months.keys().next().copied(), months.keys().next_back().copied());
    let span = first.zip(last).map_or(0, |(a, b)| b.0 - a.0 + 1);
    let by_day = a.text("by") == Some("day") || (a.text("by").is_none() && span <= MOST_MONTHS_BY_DAY);
    let (by, columns, rows) = if by_day {
        ("day", (1..=31).map(|d| format!("{d:02}")).collect(), by_days(&months, first, last))
    } else {
        ("month", (1..=12).map(|m| format!("{m:02}")).collect(), by_months(&months))
    };
    let total = sum(rows.iter().map(|r| &r.total));
    Ok(Coverage {
        dataset: dataset.name(),
        symbol: a.symbol().map(str::to_owned),
        by,
        from: first.map(|m| day(m.first_day().max(from))),
        to: last.map(|m| day(Month(m.0 + 1).first_day().saturating_sub(1).min(to))),
        symbols,
        columns,
        // A map by days or months is looked at whole.
        total_rows: rows.len() as u64,
        offset: 0,
        rows,
        total,
    })
}

/// A page of symbols, each a row: those of the universe, or the one that was named.
fn of_symbols(ctx: &AdminContext, a: &Args, dataset: Dataset, (from, to): (i32, i32)) -> Result<Coverage, AdminError> {
    let registry = (ctx.registry)();
    let all: BTreeSet<&str> = match a.symbol() {
        Some(s) => [s].into(),
        None => registry.universe.iter().filter(|(d, ..)| *d == dataset).map(|(_, s, _)| s).collect(),
    };
    let place = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let mut symbols: BTreeMap<String, BTreeMap<Month, Cell>> = BTreeMap::new();
    for symbol in all.iter().skip(place(a.offset())).take(place(a.limit())) {
        let mut months = Months::new();
        count(&ctx.store, &SeriesKey::prefix(dataset, symbol), (from, to), &mut months)?;
        let cells = months.iter().map(|(m, days)| (*m, sum(days.iter()))).collect();
        symbols.insert((*symbol).to_owned(), cells);
    }
    let months: BTreeSet<Month> = symbols.values().flat_map(|m| m.keys().copied()).collect();
    let (first, last) = (months.first().copied(), months.last().copied());
    let (columns, rows) = by_symbols(&symbols, first, last);
    let total = sum(rows.iter().map(|r| &r.total));
    let first = last.map(|l| Month((l.0 + 1).saturating_sub(u32::try_from(columns.len()).unwrap_or(0))));
    Ok(Coverage {
        dataset: dataset.name(),
        symbol: a.symbol().map(str::to_owned),
        by: "symbol",
        from: first.map(|m| day(m.first_day().max(from))),
        to: last.map(|m| day(Month(m.0 + 1).first_day().saturating_sub(1).min(to))),
        symbols: rows.len() as u64,
        columns,
        total_rows: all.len() as u64,
        offset: a.offset(),
        rows,
        total,
    })
}

/// Adds the ledger pages below `prefix` to `months`; returns how many symbols there were.
fn count(store: &Store, prefix: &[u8], (from, to): (i32, i32), months: &mut Months) -> Result<u64, StoreError> {
    let (mut last, mut symbols): (Option<String>, u64) = (None, 0);
    store.scan(&LEDGER, prefix, |k, page| {
        let mask = mask(k.month, from, to);
        if mask == 0 {
            return ControlFlow::Continue(());
        }
        if last.as_ref() != Some(&k.symbol) {
            symbols += 1;
            last = Some(k.symbol);
        }
        let days = months.entry(k.month).or_default();
        for g in page.groups.iter() {
            let (verdict, reasons, rows) = (g.verdict, g.reasons.to_native(), g.rows.to_native());
            for n in bits(g.days.to_native() & mask) {
                if let Some(cell) = usize::try_from(n).ok().and_then(|n| days.get_mut(n)) {
                    cell.count(verdict, reasons, rows, 1);
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(symbols)
}

/// Months of all symbols, cut to a span.
fn cut(months: &Months, (from, to): (i32, i32)) -> Months {
    let of = |month: &Month, days: &Days| {
        let mask = mask(*month, from, to);
        let mut out = Box::new(Days::default());
        for n in bits(mask).filter_map(|n| usize::try_from(n).ok()) {
            if let (Some(to), Some(from)) = (out.get_mut(n), days.get(n)) {
                *to = *from;
            }
        }
        (mask != 0).then_some((*month, out))
    };
    months.iter().filter_map(|(month, days)| of(month, days)).collect()
}

fn known(c: Cell) -> Option<Cell> {
    (c != Cell::default()).then_some(c)
}

fn sum<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Cell {
    let mut out = Cell::default();
    cells.into_iter().for_each(|c| out.add(c));
    out
}

fn name(m: Month) -> String {
    m.first().format("%Y-%m").to_string()
}

/// A row a month, those of which nothing is known included.
fn by_days(months: &Months, first: Option<Month>, last: Option<Month>) -> Vec<MapRow> {
    let Some((first, last)) = first.zip(last) else { return Vec::new() };
    let none = Box::new(Days::default());
    let row = |m: u32| {
        let days = months.get(&Month(m)).unwrap_or(&none);
        MapRow { label: name(Month(m)), cells: days.iter().map(|c| known(*c)).collect(), total: sum(days.iter()) }
    };
    (first.0..=last.0).map(row).collect()
}

/// A row a year.
fn by_months(months: &Months) -> Vec<MapRow> {
    let mut years: BTreeMap<u32, Vec<Cell>> = BTreeMap::new();
    for (m, days) in months {
        let year = years.entry(m.0 / 12).or_insert_with(|| vec![Cell::default(); 12]);
        if let Some(cell) = usize::try_from(m.0 % 12).ok().and_then(|n| year.get_mut(n)) {
            cell.add(&sum(days.iter()));
        }
    }
    let row = |(year, cells): (u32, Vec<Cell>)| MapRow {
        label: year.to_string(),
        total: sum(&cells),
        cells: cells.into_iter().map(known).collect(),
    };
    years.into_iter().map(row).collect()
}

/// A row a symbol; the last [`MOST_COLUMNS`] months.
fn by_symbols(
    symbols: &BTreeMap<String, BTreeMap<Month, Cell>>,
    first: Option<Month>,
    last: Option<Month>,
) -> (Vec<String>, Vec<MapRow>) {
    let Some((first, last)) = first.zip(last) else { return (Vec::new(), Vec::new()) };
    let first = first.0.max((last.0 + 1).saturating_sub(MOST_COLUMNS));
    let row = |(symbol, months): (&String, &BTreeMap<Month, Cell>)| {
        let cells: Vec<Cell> = (first..=last.0).map(|m| months.get(&Month(m)).copied().unwrap_or_default()).collect();
        MapRow { label: symbol.clone(), total: sum(&cells), cells: cells.into_iter().map(known).collect() }
    };
    ((first..=last.0).map(|m| name(Month(m))).collect(), symbols.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_schema::clock::day_number;

    #[test]
    fn a_span_cuts_a_month_to_its_days() {
        let d = |t: &str| day_number(t.parse().unwrap());
        let feb = Month::of("2024-02-01".parse().unwrap());
        let of = |from: &str, to: &str| bits(mask(feb, d(from), d(to))).collect::<Vec<_>>();
        assert_eq!(of("2024-02-03", "2024-02-05"), [2, 3, 4]);
        assert!(of("2024-03-01", "2024-04-05").is_empty() && of("2023-12-01", "2024-01-31").is_empty());
        assert_eq!(mask(feb, i32::MIN, i32::MAX), (1 << 29) - 1);
        assert_eq!(of("2024-01-01", "2024-02-01"), [0]);
    }

    #[test]
    fn what_is_absent_for_a_reason_is_not_missing() {
        let mut c = Cell::default();
        let amber = Verdict::Amber.number();
        c.count(amber, Reason::NO_TRADE_AGREED.bit, 0, 1);
        c.count(Verdict::Green.number(), Reason::DELISTED.bit, 0, 2);
        c.count(Verdict::Pending.number(), Reason::MISSING_SESSION.bit, 0, 4);
        c.count(Verdict::Red.number(), Reason::UNOBTAINABLE.bit, 0, 8);
        c.count(amber, Reason::THIN_SESSION.bit, 3, 16);
        assert_eq!(c, Cell { green: 0, amber: 16, red: 0, missing: 12, explained: 3 });
        assert_eq!(c.expected(), 28);
    }
}
