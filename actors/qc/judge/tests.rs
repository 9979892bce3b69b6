//! Tests of the verdict of one partition.

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
    assert_eq!(Reason::names(minutes("2014-06-23", 0, 340).reasons), ["thin_session", "hole"]);
    assert_eq!(Reason::names(minutes("2014-06-23", -340, 730).reasons), ["outside_hours"]);
}

#[test]
fn the_digest_changes_with_one_bit_of_one_value() {
    let a = minutes("2014-06-23", 0, 390);
    let b = minutes("2014-06-23", 0, 389);
    assert_ne!(a.print.digest, b.print.digest);
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
