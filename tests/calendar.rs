//! The calendars are those that others say, day by day; and where an owner corrects one, the days that it says something
//! else of are audited and judged again, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use chrono::NaiveDate;
use datanode_actors::qc::Context;
use datanode_schema::calendar::{Calendar, sha256_of_years};
use datanode_schema::clock::day_number;
use datanode_schema::keys::DecidedBy;
use datanode_schema::names::{Dataset, Reason, Verdict};
use datanode_schema::records::{CalendarYear, HoldingDay, LedgerDay};
use datanode_schema::store::Batch;
use datanode_schema::trees::{CALENDARS, CONTEXTS, COUNTERS, HOLDINGS, LEDGER};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::verdicts::state as open;
use support::{ADMIN, DATANODE, Live, Node, Ran, SEEDED_NIGHT, Sim, counts, python, real_data, run, stage};

/// A Tuesday of the generated market, within its minutes.
const DAY: &str = "2025-06-24";
/// Juneteenth.
const HOLIDAY: &str = "2025-06-19";

fn day(text: &str) -> i32 {
    day_number(text.parse::<NaiveDate>().unwrap())
}

/// A node of two symbols of daily and minute bars and a series of yields, after its first night.
fn node() -> (Sim, Node, Value) {
    let sim = Sim::seeded(2, 5, "");
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let file = n.root.path().join("calendars.yaml");
    n.set("DATANODE__CALENDARS", file.to_str().unwrap());
    correct(&n, "");
    let first = n.nightly(&[]).exits(0).json();
    (sim, n, first)
}

/// Writes the owner's corrections of XNYS.
fn correct(n: &Node, lines: &str) {
    let text = if lines.is_empty() { "calendars:\n".to_owned() } else { format!("calendars:\n  XNYS:\n{lines}") };
    std::fs::write(n.root.path().join("calendars.yaml"), text).unwrap();
}

/// A cycle on a later evening of July 2025.
fn night(n: &Node, of_july: u32) -> Value {
    let now = format!("2025-07-{of_july:02}T23:00:00Z");
    n.run(&["nightly", "--json", "--now", &now, "--as-of", "2025-06-30"]).exits(0).json()
}

type Ledger = BTreeMap<(Dataset, String, i32), LedgerDay>;

fn ledger(n: &Node) -> Ledger {
    let store = open(n);
    let pages = store.load_all(&LEDGER, &[]).unwrap();
    let days = |(k, p): (datanode_schema::keys::PageKey, datanode_schema::records::LedgerPage)| {
        p.days(k.month.first_day())
            .into_iter()
            .map(move |d| ((k.dataset, k.symbol.clone(), d.day), d))
            .collect::<Vec<_>>()
    };
    pages.into_iter().flat_map(days).collect()
}

/// The minute holdings of a day.
fn held(n: &Node, of: i32) -> Vec<HoldingDay> {
    let pages = open(n).load_all(&HOLDINGS, &[Dataset::EquitiesBarsMinute.number()]).unwrap();
    pages.into_iter().flat_map(|(k, p)| p.days(k.month.first_day())).filter(|h| h.day == of).collect()
}

fn contexts(n: &Node) -> BTreeMap<u64, Context> {
    let all = open(n).load_all(&CONTEXTS, &[]).unwrap();
    all.into_iter().map(|(k, json)| (k, serde_json::from_str(&json).unwrap())).collect()
}

/// The calendar that the pack of a cycle records.
fn packed(n: &Node, summary: &Value) -> Value {
    let text = std::fs::read(n.pack(summary).join("manifest.json")).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["calendar"].clone()
}

/// Asserts that two ledgers are equal but for the days of the stock exchange's datasets that `of` names, of which every
/// entry differs; gives those of the second.
#[track_caller]
fn only_differ_on(before: &Ledger, after: &Ledger, of: i32) -> Ledger {
    let on_xnys = |d: Dataset| d != Dataset::MacroTreasury;
    let touched = |k: &(Dataset, String, i32)| k.2 == of && on_xnys(k.0);
    let rest = |l: &Ledger| l.iter().filter(|(k, _)| !touched(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let (a, b): (Ledger, Ledger) = (rest(before), rest(after));
    assert!(!a.is_empty());
    for (k, v) in &a {
        assert_eq!(b.get(k), Some(v), "{k:?}");
    }
    assert_eq!(a.len(), b.len());
    let changed: Ledger = after.iter().filter(|(k, _)| touched(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    for (k, v) in &changed {
        assert_ne!(before.get(k), Some(v), "{k:?}");
    }
    changed
}

#[test]
fn closing_a_session_changes_the_partitions_of_that_day_and_taking_it_back_brings_them_back() {
    let (_sim, n, first) = node();
    let (before, of) = (ledger(&n), day(DAY));
    let built_in = packed(&n, &first);
    assert_eq!(built_in["version"], Calendar::Xnys.version());

    correct(&n, "    closed:\n      2025-06-24: day of mourning, by a test\n");
    let closed = night(&n, 3);
    let after = ledger(&n);
    let changed = only_differ_on(&before, &after, of);
    assert_eq!(changed.len(), 4, "two symbols, of days and of minutes");
    let known = contexts(&n);
    for (k, d) in &changed {
        let was = &before[k];
        assert_eq!((d.verdict, d.reasons), (Verdict::Red.number(), Reason::OUTSIDE_CALENDAR.bit), "{k:?}");
        // Without a session there are no regular hours whose prices come first: the rows are the same.
        assert_eq!((d.first_seen, d.print.digest, d.rows), (was.first_seen, was.print.digest, was.rows));
        assert!(d.updated_at > was.updated_at);
        assert!(known[&d.context].calendar_version.starts_with(&format!("{}+", Calendar::Xnys.version())));
        assert_eq!(known[&was.context].calendar_version, Calendar::Xnys.version());
    }
    counts(&closed, "qc", &[("files", 2), ("red", 4)]);
    assert_eq!(packed(&n, &closed)["version"], known[&changed.values().next().unwrap().context].calendar_version);
    assert_ne!(packed(&n, &closed)["sha256"], built_in["sha256"]);
    assert!(n.excluded(&closed, &format!("equities_bars/{}/{DAY}", changed.keys().next().unwrap().1)).is_some());

    // A night later nothing is left to do.
    let again = night(&n, 4);
    counts(&again, "qc", &[("files", 0), ("pages_written", 0)]);
    assert_eq!(ledger(&n), after);

    correct(&n, "");
    let back = night(&n, 5);
    let restored = ledger(&n);
    only_differ_on(&after, &restored, of);
    for (k, d) in &restored {
        assert_eq!(LedgerDay { updated_at: before[k].updated_at, ..d.clone() }, before[k], "{k:?}");
    }
    assert_eq!(packed(&n, &back), built_in);
    counts(&back, "audit", &[("absent", 0), ("short", 0)]);
}

#[test]
fn a_session_that_was_opened_is_missing_until_it_is_closed_again() {
    let (sim, n, first) = node();
    counts(&first, "audit", &[("absent", 0)]);
    let (before, of) = (ledger(&n), day(HOLIDAY));

    correct(&n, "    open:\n      2025-06-19: it opened after all, by a test\n");
    let asked = sim.stats.requests();
    let opened = night(&n, 3);
    assert!(sim.stats.requests() > asked, "the vendor is asked for the new session");
    assert_eq!(stage(&opened, "audit")["absent"], 2, "a day of two symbols; the minutes begin later");
    let after = ledger(&n);
    let changed = only_differ_on(&before, &after, of);
    assert_eq!(changed.len(), 2);
    for d in changed.values() {
        assert_eq!((d.rows, d.reasons), (0, Reason::MISSING_SESSION.bit));
    }

    correct(&n, "");
    counts(&night(&n, 4), "audit", &[("absent", 0)]);
    assert_eq!(ledger(&n), before);
}

#[test]
fn an_early_close_is_measured_by_its_own_minutes_and_undone_without_a_question() {
    let (sim, n, _) = node();
    let (before, of) = (ledger(&n), day(DAY));
    let whole = held(&n, of);
    assert!(whole.iter().all(|h| (h.regular, h.first, h.last) == (390, 0, 389)), "{whole:?}");

    correct(&n, "    early:\n      2025-06-24: {close: \"13:00\", why: by a test}\n");
    let early = night(&n, 3);
    counts(&early, "audit", &[("short", 0), ("absent", 0)]);
    let half = held(&n, of);
    assert!(half.len() == 2 && half.iter().all(|h| (h.regular, h.first, h.last) == (210, 0, 209)), "{half:?}");
    let changed = only_differ_on(&before, &ledger(&n), of);
    for ((dataset, _, _), d) in &changed {
        let expected = if *dataset == Dataset::EquitiesBars { 1 } else { 210 };
        assert_eq!((d.expected, d.verdict), (expected, Verdict::Green.number()), "{dataset}");
    }

    // Rows that end at 13:00 would be short in a whole session: the holdings are counted again before the audit looks.
    night(&n, 4);
    correct(&n, "");
    let asked = sim.stats.requests();
    let back = night(&n, 4);
    counts(&back, "audit", &[("short", 0), ("absent", 0)]);
    assert_eq!(sim.stats.requests(), asked, "nothing is asked for");
    assert_eq!(held(&n, of), whole);
}

/// Makes the state one that a build with another calendar wrote: DAY was no session to it.
fn written_by_an_older_build(n: &Node) {
    let store = open(n);
    let mut batch = Batch::new();
    let mut years: BTreeMap<u16, CalendarYear> = BTreeMap::new();
    for (k, mut y) in store.load_all(&CALENDARS, &[]).unwrap().into_iter().filter(|(k, _)| k.calendar == "XNYS") {
        if k.year == 2025 {
            y.sessions[5] &= !(1 << 23);
            batch.put(&CALENDARS, &k, &y).unwrap();
        }
        if k.purpose == DecidedBy::Verdicts {
            years.insert(k.year, y);
        }
    }
    let mut replaced = BTreeMap::new();
    for (key, json) in store.load_all(&CONTEXTS, &[]).unwrap() {
        let mut c: Context = serde_json::from_str(&json).unwrap();
        if c.calendar == "XNYS" {
            c.calendar_version = "2025.9".into();
            c.calendar_sha256 = sha256_of_years(&years);
            let (old, json) = c.keyed();
            batch.put(&CONTEXTS, &old, &json).unwrap();
            batch.put(&COUNTERS, &format!("context:{}", c.dataset), &old).unwrap();
            replaced.insert(key, old);
        }
    }
    for (k, mut page) in store.load_all(&LEDGER, &[]).unwrap() {
        for d in &mut page.groups {
            d.context = replaced.get(&d.context).copied().unwrap_or(d.context);
        }
        batch.put(&LEDGER, &k, &page).unwrap();
    }
    store.commit(batch).unwrap();
    store.close().unwrap();
}

#[test]
fn what_an_older_build_decided_by_another_calendar_stands_but_on_the_days_that_differ() {
    let (_sim, n, _) = node();
    written_by_an_older_build(&n);
    let before = ledger(&n);
    counts(&night(&n, 3), "qc", &[("files", 2)]);
    let after = ledger(&n);
    let changed = only_differ_on(&before, &after, day(DAY));
    let known = contexts(&n);
    assert!(changed.values().all(|d| known[&d.context].calendar_version == Calendar::Xnys.version()));
    let stands = after.iter().filter(|(k, _)| k.0 != Dataset::MacroTreasury && !changed.contains_key(*k));
    assert!(stands.clone().count() > 0 && stands.clone().all(|(_, d)| known[&d.context].calendar_version == "2025.9"));
}

#[test]
fn corrections_are_read_again_while_the_node_runs_and_a_wrong_line_changes_nothing() {
    let sim = Sim::seeded(1, 1, "");
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let file = n.root.path().join("calendars.yaml");
    n.set("DATANODE__CALENDARS", file.to_str().unwrap());
    correct(&n, "");
    let mut c = n.command(&["run"]);
    let live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let began = Instant::now();
    while run(&mut n.program(ADMIN, &["config"])).code != Some(0) {
        assert!(began.elapsed() < Duration::from_secs(60), "the node did not start");
    }
    correct(&n, "    closed:\n      2025-07-05: every Saturday\n");
    let says = ["calendars.yaml:4: calendars.XNYS.closed.2025-07-05: XNYS is closed every Saturday"];
    run(&mut n.program(ADMIN, &["reload"])).exits(2).says(&says);
    correct(&n, "    closed:\n      2025-06-24: day of mourning, by a test\n");
    let told = run(&mut n.program(ADMIN, &["--json", "reload"])).exits(0).json();
    assert_eq!(told["changed"], true);
    assert_ne!(told["old_sha256"], told["new_sha256"], "the corrections are part of the configuration's hash");
    live.signal(nix::sys::signal::Signal::SIGTERM);
    live.wait().exits(0);
}

#[test]
fn an_answer_without_events_says_nothing_of_a_session_that_was_opened_later() {
    let Some(real) = real_data() else { return };
    let sim = Sim::real(&real);
    let universe = "universe:\n  corporate_actions:\n    AAPL: [{from: 2020-08-03, to: 2020-09-30}]\n";
    let mut n = Node::new(universe, SEEDED_NIGHT).vendors(&["alpaca"], &sim);
    let file = n.root.path().join("calendars.yaml");
    n.set("DATANODE__CALENDARS", file.to_str().unwrap());
    correct(&n, "");
    n.nightly(&[]).exits(0);
    let asked = sim.stats.requests();
    counts(&night(&n, 3), "audit", &[("absent", 0)]);
    assert_eq!(sim.stats.requests(), asked, "everything is answered");

    // Labor Day.
    correct(&n, "    open:\n      2020-09-07: by a test\n");
    counts(&night(&n, 4), "audit", &[("absent", 0)]);
    assert!(sim.stats.requests() > asked, "the new session is asked for");
    let last = n.lines().pop().unwrap();
    assert_eq!((last.from.to_string(), last.to.to_string()), ("2020-09-07".to_owned(), "2020-09-07".to_owned()));
}

/// The simulator as a program that a script can call; `filter` is a shell filter of what it prints.
fn simulator(dir: &Path, filter: &str) -> PathBuf {
    let path = dir.join("vendorsim");
    std::fs::write(&path, format!("#!/bin/sh\n'{DATANODE}' vendorsim \"$@\" | {filter}\n")).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// Compares what is printed with exchange_calendars, and where the real data is there, with the H.15 series.
fn compared(filter: &str) -> Option<Ran> {
    let dir = tempfile::tempdir().unwrap();
    let program = simulator(dir.path(), filter);
    let series = real_data().map(|real| real.join("macro_treasury"));
    let args: Vec<&Path> = [Some(program.as_path()), series.as_deref()].into_iter().flatten().collect();
    python("check_calendar.py", &args)
}

#[test]
fn the_calendars_are_those_that_others_say() {
    if let Some(checked) = compared("cat") {
        assert_eq!(checked.code, Some(0), "{}{}", checked.out, checked.err);
    }
}

#[test]
fn one_day_more_or_less_or_another_close_is_noticed_and_named() {
    for (filter, says) in [
        ("grep -v ^2018-12-06,", "XNYS 2018-12-06: exchange_calendars ('2018-12-06T14:30:00Z'"),
        ("sed s/^2018-12-06,/2018-12-05,/", "XNYS 2018-12-05: exchange_calendars None"),
        ("sed s/,2024-07-03T17:00:00Z/,2024-07-03T20:00:00Z/", "XNYS 2024-07-03: exchange_calendars"),
    ] {
        let Some(checked) = compared(filter) else { return };
        assert_eq!(checked.code, Some(1), "{filter}: {}{}", checked.out, checked.err);
        assert!(checked.out.contains(says), "{filter}: {}", checked.out);
    }
}
