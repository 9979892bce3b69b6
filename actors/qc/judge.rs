//! The pure part: the verdict of one partition.

use crate::frame::{Cell, Row, Table};
use chrono::DateTime;
use datanode_schema::calendar::extended_hours;
use datanode_schema::clock::date_of;
use datanode_schema::names::{Dataset, Reason, Vendor};
use datanode_schema::registry::DatasetRule;
use std::collections::BTreeMap;

/// A judged partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The set of reasons.
    pub reasons: u32,
    /// Rows that the calendar expects.
    pub expected: u32,
    /// Rows that there are.
    pub rows: u32,
    /// The vendor of most rows; the first by name where two have as many.
    pub vendor: Option<Vendor>,
    /// First 16 bytes of BLAKE3 over the rows: stamp, values, in order.
    pub digest: [u8; 16],
}

/// Judges the rows of one symbol on one session, in the order of the file.
pub fn judge(dataset: Dataset, rule: &DatasetRule, day: i32, table: &Table, rows: &[Row]) -> Judged {
    let mut reasons = 0u32;
    let mut hash = blake3::Hasher::new();
    let mut vendors: BTreeMap<&'static str, (u32, Vendor)> = BTreeMap::new();
    let mut before: Option<i64> = None;
    for r in rows {
        hash.update(&r.when.to_le_bytes());
        match &r.cell {
            Cell::Bar(b) => reasons |= bar(b, &mut hash),
            Cell::Value(v) => reasons |= value(*v, &mut hash),
        }
        match before {
            Some(b) if b == r.when => reasons |= Reason::DUPLICATE_STAMP.bit,
            Some(b) if b > r.when => reasons |= Reason::UNSORTED.bit,
            _ => {}
        }
        before = Some(r.when);
        if let Some(o) = table.origin(r) {
            vendors.entry(o.vendor.name()).or_insert((0, o.vendor)).0 += 1;
        }
    }
    let (expected, coverage) = coverage(dataset, rule, day, rows);
    reasons |= coverage;
    let mut digest = [0u8; 16];
    hash.finalize_xof().fill(&mut digest);
    let mut vendor: Option<(u32, Vendor)> = None;
    for (n, v) in vendors.into_values() {
        if vendor.is_none_or(|(m, _)| n > m) {
            vendor = Some((n, v));
        }
    }
    let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    Judged { reasons, expected, rows: count, vendor: vendor.map(|(_, v)| v), digest }
}

fn bar(b: &crate::frame::Bar, hash: &mut blake3::Hasher) -> u32 {
    let prices = [b.open, b.high, b.low, b.close];
    for p in prices.iter().chain([&b.volume]) {
        hash.update(&p.to_le_bytes());
    }
    hash.update(&b.trades.unwrap_or(-1).to_le_bytes());
    hash.update(&b.vwap.unwrap_or(f64::NAN).to_le_bytes());
    if prices.iter().chain([&b.volume]).any(|p| !p.is_finite()) {
        return Reason::NOT_FINITE.bit;
    }
    let mut out = 0;
    if prices.iter().any(|p| *p <= 0.0) || b.volume < 0.0 {
        out |= Reason::NOT_POSITIVE.bit;
    }
    if b.high < b.open.max(b.close).max(b.low) || b.low > b.open.min(b.close) {
        out |= Reason::OHLC_ORDER.bit;
    }
    out
}

fn value(v: Option<f64>, hash: &mut blake3::Hasher) -> u32 {
    hash.update(&[u8::from(v.is_some())]);
    hash.update(&v.unwrap_or(0.0).to_le_bytes());
    if v.is_some_and(|v| !v.is_finite()) { Reason::NOT_FINITE.bit } else { 0 }
}

/// Expected rows, and what is wrong with how the rows lie in the session.
fn coverage(dataset: Dataset, rule: &DatasetRule, day: i32, rows: &[Row]) -> (u32, u32) {
    let date = date_of(day);
    let session = rule.calendar().session(date);
    match (dataset, session) {
        // A published holiday of a series has a row without a value; that is how the source says "closed".
        (Dataset::MacroTreasury, None) => (0, 0),
        (Dataset::MacroTreasury, Some(_)) => {
            let empty = rows.iter().all(|r| matches!(r.cell, Cell::Value(None)));
            (1, if empty { Reason::NO_OBSERVATION.bit } else { 0 })
        }
        (_, None) => (0, Reason::OUTSIDE_CALENDAR.bit),
        (Dataset::CorporateActions, Some(_)) => (0, 0),
        (Dataset::EquitiesBars | Dataset::OptionsBars | Dataset::PredictionBooks, Some(_)) => (1, 0),
        (Dataset::EquitiesBarsMinute, Some(s)) => {
            let stamps: Vec<i64> = rows.iter().map(|r| r.when).collect();
            let held = crate::raw::holding_day(dataset, rule.calendar(), day, &stamps);
            let minutes = s.minutes();
            let mut out = 0;
            if crate::audit::is_short(rule, &s, &held) {
                out |= Reason::SHORT_SESSION.bit;
            } else if f64::from(held.regular) < rule.qc.min_completeness * f64::from(minutes) {
                out |= Reason::THIN_SESSION.bit;
            }
            if held.regular > minutes {
                out |= Reason::TOO_MANY_ROWS.bit;
            }
            let (open, close) = extended_hours(date);
            let legal = |w: i64| (open..close).contains(&DateTime::from_timestamp_nanos(w));
            if !stamps.iter().all(|w| legal(*w)) {
                out |= Reason::OUTSIDE_HOURS.bit;
            }
            (minutes, out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Bar, Origin};
    use datanode_schema::clock::day_number;
    use datanode_schema::registry::{Registry, Sources};

    fn rule(d: Dataset) -> DatasetRule {
        Registry::parse(&Sources::read(None, None, None).unwrap()).unwrap().datasets[&d].clone()
    }

    const GOOD: Bar = Bar { open: 10.0, high: 11.0, low: 9.0, close: 10.5, volume: 100.0, trades: None, vwap: None };

    fn daily(bars: &[Bar], date: &str) -> Vec<&'static str> {
        let day = day_number(date.parse().unwrap());
        let origins = vec![Origin { vendor: Vendor::Alpaca, feed: "sip".into(), request_id: "r".into() }];
        let rows = bars.iter().map(|b| Row { when: i64::from(day), cell: Cell::Bar(*b), origin: 0 }).collect();
        let t = Table { rows, origins };
        Reason::names(judge(Dataset::EquitiesBars, &rule(Dataset::EquitiesBars), day, &t, &t.rows).reasons)
    }

    #[test]
    fn each_kind_of_bad_bar_has_its_reason() {
        let d = "2020-01-02";
        assert!(daily(&[GOOD], d).is_empty());
        assert_eq!(daily(&[Bar { high: 8.0, ..GOOD }], d), ["ohlc_order"]);
        assert_eq!(daily(&[Bar { close: f64::NAN, ..GOOD }], d), ["not_finite"]);
        assert_eq!(daily(&[Bar { low: 0.0, ..GOOD }], d), ["not_positive"]);
        assert_eq!(daily(&[Bar { volume: -1.0, ..GOOD }], d), ["not_positive"]);
        assert_eq!(daily(&[GOOD, GOOD], d), ["duplicate_stamp"]);
        assert_eq!(daily(&[GOOD], "2020-01-01"), ["outside_calendar"]);
    }

    fn minutes(date: &str, from: i64, n: i64) -> Judged {
        let day = day_number(date.parse().unwrap());
        let r = rule(Dataset::EquitiesBarsMinute);
        let open = r.calendar().session(date.parse().unwrap()).unwrap().open.timestamp_nanos_opt().unwrap();
        let row = |i: i64| Row { when: open + (from + i) * 60_000_000_000, cell: Cell::Bar(GOOD), origin: 0 };
        let t = Table { rows: (0..n).map(row).collect(), origins: Vec::new() };
        judge(Dataset::EquitiesBarsMinute, &r, day, &t, &t.rows)
    }

    #[test]
    fn a_half_day_expects_210_minutes_and_a_stump_is_short() {
        let half = minutes("2015-12-24", 0, 210);
        assert_eq!((half.expected, half.reasons), (210, 0));
        assert_eq!(Reason::names(minutes("2014-06-23", 0, 6).reasons), ["short_session"]);
        assert_eq!(Reason::names(minutes("2014-06-23", 0, 340).reasons), ["thin_session"]);
        assert_eq!(Reason::names(minutes("2014-06-23", -340, 730).reasons), ["outside_hours"]);
    }

    #[test]
    fn the_digest_changes_with_one_bit_of_one_value() {
        let a = minutes("2014-06-23", 0, 390);
        let b = minutes("2014-06-23", 0, 389);
        assert_ne!(a.digest, b.digest);
    }
}
