//! Rows in memory and in Parquet: the only place that names polars.
//!
//! Curated columns, in this order:
//! - `equities_bars`: symbol str, dt date, open high low close volume f64, trade_count i64?, vwap f64?, vendor str,
//!   feed str, request_id str
//! - `equities_bars_minute`: the same with ts timestamp(ns, UTC), the bar's start, in place of dt
//! - `options_bars`: underlier str, symbol str (the OCC contract), ts timestamp(ns, UTC), then as `equities_bars`; sorted by
//!   underlier, contract, ts
//! - `corporate_actions`: symbol str, ex_date date, kind str (see [`ActionKind`]), ratio f64?, cash f64?, vendor str,
//!   request_id str; sorted by symbol, ex_date, kind, ratio, cash
//! - `macro_treasury`: series str, dt date, value f64? (null = no observation), vendor str, request_id str
//!
//! Raw files hold the same without key and vendor, which their path says, and always with the feed. Prices are in
//! dollars, unadjusted; volumes in shares or contracts (fractional ones exist); yields in per cent a year.

mod books;
mod cell;
mod file;
mod pages;
mod parquet;
mod read;
mod status;
mod thrift;

pub use books::{BookLevel, BookWriter};
pub use cell::{Action, ActionKind, Bar, Cell, OptionBar, same_cell};
pub use parquet::{CuratedEncoder, encode_curated, encode_raw};
pub use read::{READ_THREAD, read_curated, read_curated_part, read_raw, read_vendor_file};
pub use status::{StatusRow, StatusWriter};

use chrono::NaiveDate;
use datanode_schema::calendar::{new_york_date, new_york_midnight_utc};
use datanode_schema::clock::day_number;
use datanode_schema::names::{Dataset, Vendor};
use std::cmp::Ordering;
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
    /// Minute and option bars: nanoseconds since 1970 UTC, the bar's start. Others: the day number of the session.
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

impl Row {
    /// How two rows of one key stand to each other, [`Ordering::Equal`] where they speak of the same thing: one stamp;
    /// of options one contract and stamp; of corporate actions one day and kind. Several actions of one kind and day are
    /// one such thing together, since nothing but their values tells them apart.
    pub fn order(&self, other: &Row) -> Ordering {
        match (&self.cell, &other.cell) {
            (Cell::Option(a), Cell::Option(b)) => a.contract.cmp(&b.contract).then(self.when.cmp(&other.when)),
            (Cell::Action(a), Cell::Action(b)) => self.when.cmp(&other.when).then(a.kind.cmp(&b.kind)),
            _ => self.when.cmp(&other.when),
        }
    }

    /// The order of rows in a file: [`Row::order`], then the values of actions. Bars of one stamp stay as they came.
    pub fn file_order(&self, other: &Row) -> Ordering {
        self.order(other).then_with(|| match (&self.cell, &other.cell) {
            (Cell::Action(a), Cell::Action(b)) => a.values_order(b),
            _ => Ordering::Equal,
        })
    }
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

/// The day number of the session that a row belongs to.
pub fn session_day(dataset: Dataset, when: i64) -> i32 {
    thread_local! {
        /// The New York day that was met last: rows come in order, and finding a day takes longer than reading a row.
        static LAST: std::cell::Cell<(i64, i64, i32)> = const { std::cell::Cell::new((0, 0, 0)) };
    }
    if !dataset.is_stamped() {
        return i32::try_from(when).unwrap_or(i32::MAX);
    }
    let (from, to, day) = LAST.get();
    if (from..to).contains(&when) {
        return day;
    }
    let date = new_york_date(chrono::DateTime::from_timestamp_nanos(when));
    let day = day_number(date);
    let midnight = |d: NaiveDate| new_york_midnight_utc(d).timestamp_nanos_opt();
    if let (Some(from), Some(to)) = (midnight(date), date.succ_opt().and_then(midnight)) {
        LAST.set((from, to, day));
    }
    day
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_of_a_stamp_does_not_hang_on_the_one_before() {
        let second = 1_000_000_000;
        let edges = ["2025-03-09", "2025-03-10", "2025-11-02", "2025-11-03", "1970-01-01"].map(|d| {
            let date: NaiveDate = d.parse().unwrap();
            (new_york_midnight_utc(date).timestamp_nanos_opt().unwrap(), day_number(date))
        });
        for (a, day) in edges {
            for (b, other) in edges {
                assert_eq!(session_day(Dataset::EquitiesBarsMinute, a), day);
                assert_eq!(session_day(Dataset::EquitiesBarsMinute, b - second), other - 1);
            }
        }
        assert!(
            session_day(Dataset::EquitiesBarsMinute, i64::MAX) > session_day(Dataset::EquitiesBarsMinute, i64::MIN)
        );
    }
}
