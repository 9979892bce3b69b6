//! Rows in memory and in Parquet: the only place that names polars.
//!
//! Curated columns, in this order:
//! - `equities_bars`: symbol str, dt date, open high low close volume f64, trade_count i64?, vwap f64?, vendor str,
//!   feed str, request_id str
//! - `equities_bars_minute`: the same with ts timestamp(ns, UTC), the bar's start, in place of dt
//! - `macro_treasury`: series str, dt date, value f64? (null = no observation), vendor str, request_id str
//!
//! Raw files hold the same without symbol and vendor, which their path says. Prices are in dollars, unadjusted; volumes
//! in shares (fractional ones exist); yields in per cent a year.

mod books;
mod parquet;
mod read;
mod status;

pub use books::{BookLevel, BookWriter};
pub use parquet::{encode_curated, encode_raw};
pub use read::{READ_THREAD, read_curated, read_raw, read_vendor_file};
pub use status::{StatusRow, StatusWriter};

use datanode_schema::names::{Dataset, Vendor};
use std::sync::Arc;

/// A file that cannot be read or written as the dataset's table.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {cause}")]
pub struct FrameError {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub cause: String,
}

/// The values of one bar. Prices in dollars, volume in shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Shares.
    pub volume: f64,
    /// Trades, where the vendor says.
    pub trades: Option<i64>,
    /// Volume-weighted average price, where the vendor says.
    pub vwap: Option<f64>,
}

/// The values of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// A bar.
    Bar(Bar),
    /// A value of a series; None = no observation.
    Value(Option<f64>),
}

/// Where a row came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The vendor.
    pub vendor: Vendor,
    /// Its feed.
    pub feed: Arc<str>,
    /// The manifest line.
    pub request_id: Arc<str>,
}

/// One row of one symbol.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Minute bars: nanoseconds since 1970 UTC, the bar's start. Others: the day number of the session.
    pub when: i64,
    /// The values.
    pub cell: Cell,
    /// Index into the table's origins.
    pub origin: u32,
}

/// Rows of one symbol with their origins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The rows.
    pub rows: Vec<Row>,
    /// Origins that rows point to.
    pub origins: Vec<Origin>,
}

impl Table {
    /// The index of an origin, which is added where it is new.
    pub fn intern(&mut self, origin: &Origin) -> u32 {
        if let Some(i) = self.origins.iter().rposition(|o| o == origin) {
            return u32::try_from(i).unwrap_or(u32::MAX);
        }
        self.origins.push(origin.clone());
        u32::try_from(self.origins.len() - 1).unwrap_or(u32::MAX)
    }

    /// The origin of a row.
    pub fn origin(&self, row: &Row) -> Option<&Origin> {
        self.origins.get(row.origin as usize)
    }
}

/// Bit-wise equality of values: NaN equals NaN, so that a row is not restated for being compared.
pub fn same_cell(a: &Cell, b: &Cell) -> bool {
    let eq = |x: f64, y: f64| x.to_bits() == y.to_bits() || x == y;
    let opt = |x: Option<f64>, y: Option<f64>| match (x, y) {
        (Some(x), Some(y)) => eq(x, y),
        (None, None) => true,
        _ => false,
    };
    match (a, b) {
        (Cell::Bar(a), Cell::Bar(b)) => {
            eq(a.open, b.open)
                && eq(a.high, b.high)
                && eq(a.low, b.low)
                && eq(a.close, b.close)
                && eq(a.volume, b.volume)
                && a.trades == b.trades
                && opt(a.vwap, b.vwap)
        }
        (Cell::Value(a), Cell::Value(b)) => opt(*a, *b),
        _ => false,
    }
}

/// The day number of the session that a row belongs to.
pub fn session_day(dataset: Dataset, when: i64) -> i32 {
    if !dataset.is_stamped() {
        return i32::try_from(when).unwrap_or(i32::MAX);
    }
    let t = chrono::DateTime::from_timestamp_nanos(when);
    datanode_schema::clock::day_number(datanode_schema::calendar::new_york_date(t))
}
