//! The `files` vendor: a folder of CSV or Parquet.
//!
//! ```text
//! equities_bars/SYM.csv           date,open,high,low,close,volume[,trade_count,vwap]
//! equities_bars_minute/SYM/DATE.csv  t,open,high,low,close,volume[,…]   t in UTC, the bar's start
//! macro_treasury/ID.csv           date,value                          an empty value is no observation
//! ```
//!
//! or `.parquet` with the same names and columns (`dt` a date, `ts` a UTC timestamp in ns). A symbol that is not a plain
//! file name is percent-encoded as on our own disk, so no symbol leads out of the folder.

use super::answer::date_of_row;
use super::{Ask, Fetched, Page, Refusal, Rejects};
use crate::frame::{Bar, Cell, read_vendor_file};
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
    for symbol in &ask.symbols {
        if !has_symbol(folder, ask, symbol) {
            // A folder that is not mounted looks like this; it is no answer.
            let note =
                format!("{}: no file for {symbol}; add it, or take the symbol out of the universe", folder.display());
            out.refusal = Some(Refusal::new(Outcome::Error, note));
            out.rows.clear();
            return out;
        }
        for file in files_of(folder, ask, symbol) {
            match one(&file, ask, symbol, &mut hash) {
                Ok((page, bytes)) => {
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
                Err(r) => {
                    out.refusal = Some(r);
                    out.rows.clear();
                    return out;
                }
            }
        }
    }
    out.body_blake3 = hash.finalize().to_hex().to_string();
    out
}

/// Whether the folder has anything of a symbol: its file, or for minutes its folder of days.
fn has_symbol(folder: &Path, ask: &Ask, symbol: &str) -> bool {
    let Ok(name) = component(symbol) else { return false };
    let base = folder.join(ask.dataset.name()).join(&name);
    match ask.dataset {
        Dataset::EquitiesBarsMinute => base.is_dir(),
        _ => !files_of(folder, ask, symbol).is_empty(),
    }
}

fn files_of(folder: &Path, ask: &Ask, symbol: &str) -> Vec<PathBuf> {
    let Ok(name) = component(symbol) else { return Vec::new() };
    let base = folder.join(ask.dataset.name());
    let pick = |stem: PathBuf| {
        ["csv", "parquet"].iter().map(|e| PathBuf::from(format!("{}.{e}", stem.display()))).find(|p| p.is_file())
    };
    if ask.dataset != Dataset::EquitiesBarsMinute {
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

fn parse_csv(page: &mut Page, file: &Path, ask: &Ask, symbol: &str, bytes: &[u8]) -> Result<(), Refusal> {
    let bad = |line: u64, what: String| Refusal::unparsable(format!("{}:{line}: {what}", file.display()));
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let header = reader.headers().map_err(|e| bad(1, e.to_string()))?.clone();
    let column = |name: &str| header.iter().position(|h| h.trim() == name);
    let need = |name: &str| column(name).ok_or_else(|| bad(1, format!("no column {name:?}; the header is {header:?}")));
    let stamp = if ask.dataset == Dataset::EquitiesBarsMinute { need("t")? } else { need("date")? };
    let value_at = if ask.dataset == Dataset::MacroTreasury { vec![need("value")?] } else { Vec::new() };
    let prices = if ask.dataset == Dataset::MacroTreasury {
        Vec::new()
    } else {
        ["open", "high", "low", "close", "volume"].iter().map(|n| need(n)).collect::<Result<Vec<_>, _>>()?
    };
    let (trades_at, vwap_at) = (column("trade_count"), column("vwap"));
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|e| bad(0, e.to_string()))? {
        let line = record.position().map_or(0, csv::Position::line);
        let text = |i: usize| record.get(i).unwrap_or("").trim();
        let number = |i: usize| text(i).parse::<f64>().map_err(|_| bad(line, format!("{:?} is no number", text(i))));
        let (date, when) = if ask.dataset == Dataset::EquitiesBarsMinute {
            let t = DateTime::parse_from_rfc3339(text(stamp))
                .map_err(|_| bad(line, format!("{:?} is no time", text(stamp))))?;
            let ns = t.timestamp_nanos_opt().ok_or_else(|| bad(line, format!("{:?} is out of range", text(stamp))))?;
            (date_of_row(ask.dataset, ns), ns)
        } else {
            let d: NaiveDate = text(stamp).parse().map_err(|_| bad(line, format!("{:?} is no date", text(stamp))))?;
            (d, i64::from(datanode_schema::clock::day_number(d)))
        };
        let cell = match (value_at.first(), prices.as_slice()) {
            (Some(i), _) if text(*i).is_empty() || text(*i) == "." => Cell::Value(None),
            (Some(i), _) => Cell::Value(Some(number(*i)?)),
            (None, [o, h, l, c, v]) => Cell::Bar(Bar {
                open: number(*o)?,
                high: number(*h)?,
                low: number(*l)?,
                close: number(*c)?,
                volume: number(*v)?,
                trades: trades_at.and_then(|i| text(i).parse().ok()),
                vwap: vwap_at.and_then(|i| text(i).parse().ok()),
            }),
            (None, _) => return Err(bad(line, "too few columns".to_owned())),
        };
        in_window(page, ask, symbol, date, when, cell);
    }
    Ok(())
}
