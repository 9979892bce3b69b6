//! The `files` vendor: a folder of CSV or Parquet.
//!
//! ```text
//! equities_bars/SYM.csv           date,open,high,low,close,volume[,trade_count,vwap]
//! equities_bars_minute/SYM/DATE.csv  t,open,high,low,close,volume[,…]   t in UTC, the bar's start
//! options_bars/UNDERLIER/DATE.csv symbol,t,open,high,low,close,volume[,…]  symbol is the OCC contract
//! macro_treasury/ID.csv           date,value                          an empty value is no observation
//! splits.csv                      symbol,ex_date,new_shares_per_old
//! dividends.csv                   symbol,ex_date,cash_amount
//! ```
//!
//! or (but the last two) `.parquet` with the same names and columns (`dt` a date, `ts` a UTC timestamp in ns). Beside them
//! the layout in which Massive delivers its flat files is known by its folders; see `flat`. A symbol that is not a plain
//! file name is percent-encoded as on our own disk, so no symbol leads out of the folder.

use super::answer::date_of_row;
use super::{Ask, Fetched, Page, Refusal, Rejects, flat, occ};
use crate::frame::{Action, ActionKind, Bar, Cell, OptionBar, read_vendor_file};
use chrono::{DateTime, NaiveDate, Utc};
use datanode_schema::names::{Dataset, Outcome};
use datanode_schema::paths::component;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Reads the answer to `ask` from `folder`. Blocking.
pub(super) fn read(folder: &Path, ask: &Ask, now: DateTime<Utc>) -> Fetched {
    let mut out = Fetched {
        ask: ask.clone(),
        rows: BTreeMap::new(),
        refusal: None,
        pages: 0,
        bytes: 0,
        body_blake3: String::new(),
        rejects: Rejects::default(),
        kept_bodies: Vec::new(),
        fetched_at: now,
        elapsed_ms: 0,
    };
    if !folder.is_dir() {
        let note =
            format!("{} is not a folder: set vendors.files.base_url to the folder with the files", folder.display());
        out.refusal = Some(Refusal::new(Outcome::Error, note));
        return out;
    }
    let mut hash = blake3::Hasher::new();
    if let Err(refusal) = gather(folder, ask, &mut out, &mut hash) {
        out.refusal = Some(refusal);
        out.rows.clear();
    }
    out.body_blake3 = hash.finalize().to_hex().to_string();
    out
}

fn gather(folder: &Path, ask: &Ask, out: &mut Fetched, hash: &mut blake3::Hasher) -> Result<(), Refusal> {
    if ask.dataset == Dataset::CorporateActions {
        return actions(folder, ask, out, hash);
    }
    if let Some(flat) = flat::Flat::of(folder, ask.dataset) {
        return flat.read(ask, out, hash);
    }
    for symbol in &ask.symbols {
        if !has_symbol(folder, ask, symbol) {
            // A folder that is not mounted looks like this; it is no answer.
            let note =
                format!("{}: no file for {symbol}; add it, or take the symbol out of the universe", folder.display());
            return Err(Refusal::new(Outcome::Error, note));
        }
        for file in files_of(folder, ask, symbol) {
            let (page, bytes) = one(&file, ask, symbol, hash)?;
            add(out, page, bytes);
        }
    }
    Ok(())
}

/// Adds what a file gave.
pub(super) fn add(out: &mut Fetched, page: Page, bytes: u64) {
    out.pages += 1;
    out.bytes += bytes;
    if out.rejects.rows == 0 {
        out.rejects.first = page.rejects.first;
    }
    out.rejects.rows += page.rejects.rows;
    for (s, mut rows) in page.rows {
        out.rows.entry(s).or_default().append(&mut rows);
    }
}

/// Datasets that lie in a folder of days for each symbol.
fn by_day(dataset: Dataset) -> bool {
    matches!(dataset, Dataset::EquitiesBarsMinute | Dataset::OptionsBars)
}

/// Splits and dividends: one file each for all symbols. A symbol without a line had no action.
fn actions(folder: &Path, ask: &Ask, out: &mut Fetched, hash: &mut blake3::Hasher) -> Result<(), Refusal> {
    let files = [
        ("splits.csv", "new_shares_per_old", ActionKind::Split),
        ("dividends.csv", "cash_amount", ActionKind::Dividend),
    ];
    let mut found = false;
    for (name, column, kind) in files {
        let path = folder.join(name);
        if !path.is_file() {
            continue;
        }
        found = true;
        let bytes =
            std::fs::read(&path).map_err(|e| Refusal::new(Outcome::Error, format!("{}: {e}", path.display())))?;
        hash.update(&bytes);
        let mut page = Page::default();
        let table = Table::read(&path, &bytes)?;
        let (symbol, date, value) = (table.need("symbol")?, table.need("ex_date")?, table.need(column)?);
        table.each(|row| {
            let symbol = row.text(symbol);
            if !ask.symbols.iter().any(|s| s == symbol) {
                return Ok(());
            }
            let (date, v) = (row.date(date)?, row.number(value)?);
            let (ratio, cash) = if kind == ActionKind::Split { (Some(v), None) } else { (None, Some(v)) };
            page.take_action(ask, symbol, Some(date), Action { kind, ratio, cash }, None);
            Ok(())
        })?;
        add(out, page, bytes.len() as u64);
    }
    if found {
        return Ok(());
    }
    let note = format!(
        "{}: neither splits.csv nor dividends.csv; add one, or take corporate_actions out of the universe",
        folder.display()
    );
    Err(Refusal::new(Outcome::Error, note))
}

/// Whether the folder has anything of a symbol: its file, or for minutes its folder of days.
fn has_symbol(folder: &Path, ask: &Ask, symbol: &str) -> bool {
    let Ok(name) = component(symbol) else { return false };
    let base = folder.join(ask.dataset.name()).join(&name);
    match ask.dataset {
        d if by_day(d) => base.is_dir(),
        _ => !files_of(folder, ask, symbol).is_empty(),
    }
}

fn files_of(folder: &Path, ask: &Ask, symbol: &str) -> Vec<PathBuf> {
    let Ok(name) = component(symbol) else { return Vec::new() };
    let base = folder.join(ask.dataset.name());
    let pick = |stem: PathBuf| {
        ["csv", "parquet"].iter().map(|e| PathBuf::from(format!("{}.{e}", stem.display()))).find(|p| p.is_file())
    };
    if !by_day(ask.dataset) {
        return pick(base.join(name)).into_iter().collect();
    }
    let mut out = Vec::new();
    let mut day = ask.from;
    while day <= ask.to {
        if ask.wants(datanode_schema::clock::day_number(day)) {
            out.extend(pick(base.join(&name).join(day.to_string())));
        }
        match day.succ_opt() {
            Some(d) => day = d,
            None => break,
        }
    }
    out
}

fn one(file: &Path, ask: &Ask, symbol: &str, hash: &mut blake3::Hasher) -> Result<(Page, u64), Refusal> {
    let bytes = std::fs::read(file).map_err(|e| Refusal::new(Outcome::Error, format!("{}: {e}", file.display())))?;
    hash.update(&bytes);
    let mut page = Page::default();
    if file.extension().is_some_and(|e| e == "parquet") {
        let rows = read_vendor_file(file, ask.dataset).map_err(|e| Refusal::unparsable(e.to_string()))?;
        for (when, cell) in rows {
            let date = date_of_row(ask.dataset, when);
            in_window(&mut page, ask, symbol, date, when, cell);
        }
    } else {
        parse_csv(&mut page, file, ask, symbol, &bytes)?;
    }
    Ok((page, bytes.len() as u64))
}

/// A file holds more than the window that was asked for; that is not a fault of the file.
fn in_window(page: &mut Page, ask: &Ask, symbol: &str, date: NaiveDate, when: i64, cell: Cell) {
    if date >= ask.from && date <= ask.to {
        page.take(ask, symbol, date, Some(when), cell);
    }
}

/// A CSV file with its header; what is wrong with it is said with its line.
struct Table<'a> {
    file: &'a Path,
    bytes: &'a [u8],
    header: csv::StringRecord,
}

struct Line<'a> {
    file: &'a Path,
    number: u64,
    record: &'a csv::StringRecord,
}

fn bad(file: &Path, line: u64, what: impl std::fmt::Display) -> Refusal {
    Refusal::unparsable(format!("{}:{line}: {what}", file.display()))
}

impl<'a> Table<'a> {
    fn read(file: &'a Path, bytes: &'a [u8]) -> Result<Self, Refusal> {
        let header = csv::Reader::from_reader(bytes).headers().map_err(|e| bad(file, 1, e))?.clone();
        Ok(Self { file, bytes, header })
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|h| h.trim() == name)
    }

    fn need(&self, name: &str) -> Result<usize, Refusal> {
        let lacks = || bad(self.file, 1, format!("no column {name:?}; the header is {:?}", self.header));
        self.column(name).ok_or_else(lacks)
    }

    fn each(&self, mut take: impl FnMut(&Line<'_>) -> Result<(), Refusal>) -> Result<(), Refusal> {
        let mut reader = csv::Reader::from_reader(self.bytes);
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|e| bad(self.file, 0, e))? {
            let number = record.position().map_or(0, csv::Position::line);
            take(&Line { file: self.file, number, record: &record })?;
        }
        Ok(())
    }
}

impl Line<'_> {
    fn text(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or("").trim()
    }

    fn is_no(&self, column: usize, what: &str) -> Refusal {
        bad(self.file, self.number, format!("{:?} is no {what}", self.text(column)))
    }

    fn number(&self, column: usize) -> Result<f64, Refusal> {
        self.text(column).parse().map_err(|_| self.is_no(column, "number"))
    }

    /// A column that may be absent or empty; what is there is to be read.
    fn optional<T: std::str::FromStr>(&self, column: Option<usize>) -> Result<Option<T>, Refusal> {
        match column.filter(|c| !self.text(*c).is_empty()) {
            None => Ok(None),
            Some(c) => self.text(c).parse().map(Some).map_err(|_| self.is_no(c, "number")),
        }
    }

    fn date(&self, column: usize) -> Result<NaiveDate, Refusal> {
        self.text(column).parse().map_err(|_| self.is_no(column, "date"))
    }

    fn stamp(&self, column: usize) -> Result<i64, Refusal> {
        let t = DateTime::parse_from_rfc3339(self.text(column)).map_err(|_| self.is_no(column, "time"))?;
        t.timestamp_nanos_opt().ok_or_else(|| self.is_no(column, "time that nanoseconds can hold"))
    }
}

fn parse_csv(page: &mut Page, file: &Path, ask: &Ask, symbol: &str, bytes: &[u8]) -> Result<(), Refusal> {
    let table = Table::read(file, bytes)?;
    let stamp = table.need(if ask.dataset.is_stamped() { "t" } else { "date" })?;
    let series = ask.dataset == Dataset::MacroTreasury;
    let value = if series { table.need("value")? } else { 0 };
    let contract = if ask.dataset == Dataset::OptionsBars { Some(table.need("symbol")?) } else { None };
    let mut prices = [0; 5];
    for (at, name) in prices.iter_mut().zip(["open", "high", "low", "close", "volume"]).filter(|_| !series) {
        *at = table.need(name)?;
    }
    let [o, h, l, c, v] = prices;
    let (trades, vwap) = (table.column("trade_count"), table.column("vwap"));
    table.each(|row| {
        let (date, when) = if ask.dataset.is_stamped() {
            let ns = row.stamp(stamp)?;
            (date_of_row(ask.dataset, ns), ns)
        } else {
            let d = row.date(stamp)?;
            (d, i64::from(datanode_schema::clock::day_number(d)))
        };
        let bar = || {
            Ok::<_, Refusal>(Bar {
                open: row.number(o)?,
                high: row.number(h)?,
                low: row.number(l)?,
                close: row.number(c)?,
                volume: row.number(v)?,
                trades: row.optional(trades)?,
                vwap: row.optional(vwap)?,
            })
        };
        let cell = match contract {
            _ if series && ["", "."].contains(&row.text(value)) => Cell::Value(None),
            _ if series => Cell::Value(Some(row.number(value)?)),
            None => Cell::Bar(bar()?),
            Some(at) if occ::is_of(row.text(at), symbol) => {
                Cell::Option(Box::new(OptionBar { contract: row.text(at).into(), bar: bar()? }))
            }
            Some(at) => {
                page.rejects.add(|| format!("{:?} is no contract of {symbol}", row.text(at)));
                return Ok(());
            }
        };
        in_window(page, ask, symbol, date, when, cell);
        Ok(())
    })
}
