//! The pure part: the verdict of one partition.

use crate::frame::{Action, Cell, Row, Table};
use chrono::DateTime;
use datanode_schema::calendar::extended_hours;
use datanode_schema::clock::date_of;
use datanode_schema::names::{Dataset, Reason, Vendor};
use datanode_schema::registry::DatasetRule;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A judged partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The set of reasons.
    pub reasons: u64,
    /// Rows that the calendar expects.
    pub expected: u32,
    /// Rows that there are.
    pub rows: u32,
    /// The vendor of most rows; the first by name where two have as many.
    pub vendor: Option<Vendor>,
    /// First 16 bytes of BLAKE3 over the rows: stamp, contract or kind, values, in order.
    pub digest: [u8; 16],
}

/// Judges the rows of one symbol on one session, in the order of the file.
pub fn judge(dataset: Dataset, rule: &DatasetRule, day: i32, table: &Table, rows: &[Row]) -> Judged {
    let mut reasons = 0u64;
    let mut hash = blake3::Hasher::new();
    let mut vendors: BTreeMap<&'static str, (u32, Vendor)> = BTreeMap::new();
    let mut before: Option<&Row> = None;
    for r in rows {
        hash.update(&r.when.to_le_bytes());
        match &r.cell {
            Cell::Bar(b) => reasons |= bar(b, &mut hash),
            Cell::Value(v) => reasons |= value(*v, &mut hash),
            Cell::Action(a) => reasons |= action(a, &mut hash),
            Cell::Option(o) => {
                hash.update(&(o.contract.len() as u64).to_le_bytes());
                hash.update(o.contract.as_bytes());
                reasons |= bar(&o.bar, &mut hash);
            }
        }
        if let Some(b) = before {
            reasons |= beside(b, r);
        }
        before = Some(r);
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

/// What is wrong between two neighbours. Two actions of one kind and day that differ in their values are two things.
fn beside(before: &Row, row: &Row) -> u64 {
    match before.file_order(row) {
        Ordering::Less => 0,
        Ordering::Equal => Reason::DUPLICATE_STAMP.bit,
        Ordering::Greater => Reason::UNSORTED.bit,
    }
}

/// A ratio or an amount that is given is a number above zero, and the kinds that say nothing without theirs have it.
fn action(a: &Action, hash: &mut blake3::Hasher) -> u64 {
    hash.update(a.kind.name().as_bytes());
    for v in [a.ratio, a.cash] {
        hash.update(&[u8::from(v.is_some())]);
        hash.update(&v.unwrap_or(0.0).to_le_bytes());
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

fn bar(b: &crate::frame::Bar, hash: &mut blake3::Hasher) -> u64 {
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

fn value(v: Option<f64>, hash: &mut blake3::Hasher) -> u64 {
    hash.update(&[u8::from(v.is_some())]);
    hash.update(&v.unwrap_or(0.0).to_le_bytes());
    if v.is_some_and(|v| !v.is_finite()) { Reason::NOT_FINITE.bit } else { 0 }
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
            let mut out = 0;
            if crate::audit::is_short(rule, &s, &held) {
                out |= Reason::SHORT_SESSION.bit;
            } else if f64::from(held.regular) < rule.qc.min_completeness * f64::from(minutes) {
                out |= Reason::THIN_SESSION.bit;
            }
            if held.regular > minutes {
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

    fn actions(rows: &[(&str, Action)]) -> Vec<&'static str> {
        let row = |(d, a): &(&str, Action)| Row {
            when: i64::from(day_number(d.parse().unwrap())),
            cell: Cell::Action(*a),
            origin: 0,
        };
        let t = Table { rows: rows.iter().map(row).collect(), origins: Vec::new() };
        let day = i32::try_from(t.rows[0].when).unwrap();
        let j = judge(Dataset::CorporateActions, &rule(Dataset::CorporateActions), day, &t, &t.rows);
        assert_eq!(j.expected, 0);
        Reason::names(j.reasons)
    }

    #[test]
    fn actions_need_positive_values_and_may_fall_on_one_day() {
        use crate::frame::ActionKind;
        let of = |kind, ratio, cash| Action { kind, ratio, cash };
        let (d, sunday) = ("2020-08-31", "2020-08-30");
        let split = of(ActionKind::Split, Some(4.0), None);
        let cash = |c| of(ActionKind::Dividend, None, Some(c));
        assert!(actions(&[(d, cash(0.1)), (d, cash(0.2)), (d, split)]).is_empty());
        assert_eq!(actions(&[(d, cash(0.1)), (d, cash(0.1))]), ["duplicate_stamp"]);
        assert_eq!(actions(&[(d, cash(0.2)), (d, cash(0.1))]), ["unsorted"]);
        assert_eq!(actions(&[(d, cash(0.0))]), ["not_positive"]);
        assert_eq!(actions(&[(d, of(ActionKind::Split, Some(f64::INFINITY), None))]), ["not_finite"]);
        assert_eq!(actions(&[(d, of(ActionKind::Split, None, None))]), ["schema"]);
        assert_eq!(actions(&[(sunday, split)]), ["outside_calendar"]);
        assert!(actions(&[(sunday, of(ActionKind::Merger, None, Some(5.0)))]).is_empty());
    }

    #[test]
    fn an_option_bar_is_judged_as_a_bar_of_its_contract() {
        use crate::frame::OptionBar;
        let r = rule(Dataset::OptionsBars);
        let open = r.calendar().session("2020-01-02".parse().unwrap()).unwrap().open.timestamp_nanos_opt().unwrap();
        let row = |c: &str, minute: i64, bar: Bar| Row {
            when: open + minute * 60_000_000_000,
            cell: Cell::Option(Box::new(OptionBar { contract: c.into(), bar })),
            origin: 0,
        };
        let day = day_number("2020-01-02".parse().unwrap());
        let reasons = |rows: Vec<Row>| {
            let t = Table { rows, origins: Vec::new() };
            Reason::names(judge(Dataset::OptionsBars, &r, day, &t, &t.rows).reasons)
        };
        assert!(reasons(vec![row("A", 0, GOOD), row("A", 1, GOOD), row("B", 0, GOOD)]).is_empty());
        assert_eq!(reasons(vec![row("A", 0, GOOD), row("A", 0, GOOD)]), ["duplicate_stamp"]);
        assert_eq!(reasons(vec![row("B", 0, GOOD), row("A", 1, GOOD)]), ["unsorted"]);
        assert_eq!(reasons(vec![row("A", 0, Bar { high: 8.0, ..GOOD })]), ["ohlc_order"]);
        assert_eq!(reasons(vec![row("A", -400, GOOD)]), ["outside_hours"]);
    }
}
