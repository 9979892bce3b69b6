//! The pure part: the verdict of one partition.

use super::minute;
use super::prints::print_of;
use crate::frame::{Action, Cell, Row, Table};
use chrono::DateTime;
use datanode_schema::calendar::extended_hours;
use datanode_schema::clock::date_of;
use datanode_schema::names::{Dataset, Reason, Vendor};
use datanode_schema::records::Print;
use datanode_schema::registry::DatasetRule;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A judged partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The set of reasons.
    pub reasons: u64,
    /// Rows that the calendar expects.
    pub expected: u32,
    /// Rows that there are.
    pub rows: u32,
    /// The vendor of most rows; the first by name where two have as many.
    pub vendor: Option<Vendor>,
    /// What its rows come to; the digest is the first 16 bytes of BLAKE3 over the rows: stamp, contract or kind, values, in
    /// order.
    pub print: Print,
}

/// Judges the rows of one symbol on one session, in the order of the file.
pub fn judge(dataset: Dataset, rule: &DatasetRule, day: i32, table: &Table, rows: &[Row]) -> Judged {
    let mut reasons = 0u64;
    // Hashed at once: a call for each value would cost more than reading it.
    let mut bytes: Vec<u8> = Vec::with_capacity(rows.len() * 72);
    let mut origins: Vec<u32> = vec![0; table.origins.len()];
    let mut before: Option<&Row> = None;
    for r in rows {
        bytes.extend_from_slice(&r.when.to_le_bytes());
        match &r.cell {
            Cell::Bar(b) => reasons |= bar(b, &mut bytes),
            Cell::Value(v) => reasons |= value(*v, &mut bytes),
            Cell::Action(a) => reasons |= action(a, &mut bytes),
            Cell::Option(o) => {
                bytes.extend_from_slice(&(o.contract.len() as u64).to_le_bytes());
                bytes.extend_from_slice(o.contract.as_bytes());
                reasons |= bar(&o.bar, &mut bytes);
            }
        }
        if let Some(b) = before {
            reasons |= beside(b, r);
        }
        before = Some(r);
        if let Some(n) = origins.get_mut(r.origin as usize) {
            *n += 1;
        }
    }
    let (expected, coverage) = coverage(dataset, rule, day, rows);
    reasons |= coverage;
    let mut digest = [0u8; 16];
    blake3::Hasher::new().update(&bytes).finalize_xof().fill(&mut digest);
    let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    Judged {
        reasons,
        expected,
        rows: count,
        vendor: most_rows(table, &origins),
        print: print_of(dataset, rule, day, rows, digest),
    }
}

/// The vendor of most rows, by the counts of their origins.
fn most_rows(table: &Table, counts: &[u32]) -> Option<Vendor> {
    let mut vendors: BTreeMap<&'static str, (u32, Vendor)> = BTreeMap::new();
    for (o, n) in table.origins.iter().zip(counts).filter(|(_, n)| **n > 0) {
        vendors.entry(o.vendor.name()).or_insert((0, o.vendor)).0 += n;
    }
    let mut most: Option<(u32, Vendor)> = None;
    for (n, v) in vendors.into_values() {
        if most.is_none_or(|(m, _)| n > m) {
            most = Some((n, v));
        }
    }
    most.map(|(_, v)| v)
}

/// What is wrong between two neighbours. Two actions of one kind and day that differ in their values are two things.
fn beside(before: &Row, row: &Row) -> u64 {
    match before.file_order(row) {
        Ordering::Less => 0,
        Ordering::Equal => Reason::DUPLICATE_STAMP.bit,
        Ordering::Greater => Reason::UNSORTED.bit,
    }
}

/// A ratio or an amount that is given is a number above zero, and the kinds that say nothing without theirs have it.
fn action(a: &Action, bytes: &mut Vec<u8>) -> u64 {
    bytes.extend_from_slice(a.kind.name().as_bytes());
    for v in [a.ratio, a.cash] {
        bytes.extend_from_slice(&[u8::from(v.is_some())]);
        bytes.extend_from_slice(&v.unwrap_or(0.0).to_le_bytes());
    }
    let given = || [a.ratio, a.cash].into_iter().flatten();
    if given().any(|v| !v.is_finite()) {
        return Reason::NOT_FINITE.bit;
    }
    let (ratio, cash) = a.kind.needs();
    let lacks = (ratio && a.ratio.is_none()) || (cash && a.cash.is_none());
    let not_positive = given().any(|v| v <= 0.0);
    (if not_positive { Reason::NOT_POSITIVE.bit } else { 0 }) | (if lacks { Reason::SCHEMA.bit } else { 0 })
}

fn bar(b: &crate::frame::Bar, bytes: &mut Vec<u8>) -> u64 {
    let prices = [b.open, b.high, b.low, b.close];
    for p in prices.iter().chain([&b.volume]) {
        bytes.extend_from_slice(&p.to_le_bytes());
    }
    bytes.extend_from_slice(&b.trades.unwrap_or(-1).to_le_bytes());
    bytes.extend_from_slice(&b.vwap.unwrap_or(f64::NAN).to_le_bytes());
    if prices.iter().chain([&b.volume]).chain(&b.vwap).any(|p| !printable(*p).is_finite()) {
        return Reason::NOT_FINITE.bit;
    }
    let mut out = 0;
    let negative = b.volume < 0.0 || b.vwap.is_some_and(|v| v < 0.0) || b.trades.is_some_and(|n| n < 0);
    if prices.iter().any(|p| printable(*p) <= 0.0) || negative {
        out |= Reason::NOT_POSITIVE.bit;
    }
    if b.high < b.open.max(b.close).max(b.low) || b.low > b.open.min(b.close) {
        out |= Reason::OHLC_ORDER.bit;
    }
    out
}

/// As a print holds it: a price that overflows there, or vanishes, would be taken for none, and no jump to it be seen.
#[allow(clippy::cast_possible_truncation, reason = "that is what is looked at")]
fn printable(v: f64) -> f32 {
    v as f32
}

fn value(v: Option<f64>, bytes: &mut Vec<u8>) -> u64 {
    bytes.extend_from_slice(&[u8::from(v.is_some())]);
    bytes.extend_from_slice(&v.unwrap_or(0.0).to_le_bytes());
    if v.is_some_and(|v| !printable(v).is_finite()) { Reason::NOT_FINITE.bit } else { 0 }
}

/// Expected rows, and what is wrong with how the rows lie in the session.
fn coverage(dataset: Dataset, rule: &DatasetRule, day: i32, rows: &[Row]) -> (u32, u64) {
    let date = date_of(day);
    let session = rule.calendar().session(date);
    match (dataset, session) {
        // A published holiday of a series has a row without a value; that is how the source says "closed".
        (Dataset::MacroTreasury, None) => (0, 0),
        (Dataset::MacroTreasury, Some(_)) => {
            let empty = rows.iter().all(|r| matches!(r.cell, Cell::Value(None)));
            (1, if empty { Reason::NO_OBSERVATION.bit } else { 0 })
        }
        (Dataset::CorporateActions, Some(_)) => (0, 0),
        // A merger or a change of name takes effect on any day.
        (Dataset::CorporateActions, None) => {
            let wrong = rows.iter().any(|r| r.cell.action().is_none_or(|a| a.kind.on_sessions()));
            (0, if wrong { Reason::OUTSIDE_CALENDAR.bit } else { 0 })
        }
        (_, None) => (0, Reason::OUTSIDE_CALENDAR.bit),
        (Dataset::EquitiesBars | Dataset::PredictionBooks, Some(_)) => (1, 0),
        // How many contracts trade, and how often, no calendar says: some rows are expected, within the hours.
        (Dataset::OptionsBars, Some(_)) => (1, outside_hours(date, rows)),
        (Dataset::EquitiesBarsMinute, Some(s)) => {
            let stamps: Vec<i64> = rows.iter().map(|r| r.when).collect();
            let held = crate::raw::holding_day(dataset, rule.calendar(), day, &stamps);
            let minutes = s.minutes();
            let mut out = minute::flat_line(&rule.qc, rows) | minute::misread(&s, &stamps);
            if crate::audit::is_short(rule, &s, &held) {
                out |= Reason::SHORT_SESSION.bit;
            } else {
                if f64::from(held.regular) < rule.qc.min_completeness * f64::from(minutes) {
                    out |= Reason::THIN_SESSION.bit;
                }
                if !crate::audit::holes(rule, minutes, &held).is_empty() {
                    out |= Reason::HOLE.bit;
                }
            }
            // The holding counts minutes that have a row, these are the rows.
            let regular = stamps.iter().filter(|t| (s.open..s.close).contains(&DateTime::from_timestamp_nanos(**t)));
            if regular.count() > usize::try_from(minutes).unwrap_or(usize::MAX) {
                out |= Reason::TOO_MANY_ROWS.bit;
            }
            (minutes, out | outside_hours(date, rows))
        }
    }
}

fn outside_hours(date: chrono::NaiveDate, rows: &[Row]) -> u64 {
    let (open, close) = extended_hours(date);
    let legal = |w: i64| (open..close).contains(&DateTime::from_timestamp_nanos(w));
    if rows.iter().all(|r| legal(r.when)) { 0 } else { Reason::OUTSIDE_HOURS.bit }
}

#[cfg(test)]
mod tests;
