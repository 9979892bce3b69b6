//! Claims, leases and fencing over a real store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod queue_support;

use datanode_actors::audit::{Scope, audit};
use datanode_actors::frame::{Bar, Cell};
use datanode_actors::node::{Node, RunCaps, RunContext};
use datanode_actors::queue::desk::{self, Filter};
use datanode_actors::queue::{Claimed, Next, Told};
use datanode_actors::raw::keep;
use datanode_actors::vendor::{Fetched, Purpose, Refusal, Rejects};
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::{Clock, date_of, day_number};
use datanode_schema::names::{Absence, Dataset, Outcome, Vendor};
use datanode_schema::records::Window;
use datanode_schema::registry::{Registry, Sources};
use datanode_schema::trees::{BOOKMARKS, DEMOTIONS, LEASES};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const UNIVERSE: &str = "universe:\n  equities_bars:\n    AAPL: [{from: 2020-01-02, to: 2020-01-10}]\n";

fn node(dir: &Path, lease_ms: u64, vendors: &[Vendor]) -> Arc<Node> {
    let mut sources = Sources::read(None, None, None).unwrap();
    sources.universe = ("universe.yaml".into(), UNIVERSE.into());
    let clock = Clock::frozen("2020-02-01T00:00:00Z".parse().unwrap());
    queue_support::node(dir, clock, lease_ms, vendors, Registry::parse(&sources).unwrap())
}

fn run() -> RunContext {
    RunContext::new("r1".into(), "2020-01-10".parse().unwrap(), "2020-02-01T00:00:00Z".parse().unwrap(), None)
}

fn fetched(c: &Claimed, closes: &[(&str, f64)], refusal: Option<Refusal>) -> Fetched {
    let bar = |close: f64| Bar { open: close, high: close, low: close, close, volume: 1.0, trades: None, vwap: None };
    let rows = closes.iter().map(|(d, v)| (i64::from(day_number(d.parse().unwrap())), Cell::Bar(bar(*v)))).collect();
    Fetched {
        ask: c.ask.clone(),
        rows: if closes.is_empty() { BTreeMap::new() } else { BTreeMap::from([("AAPL".to_owned(), rows)]) },
        refusal,
        pages: 1,
        bytes: 1,
        body_blake3: String::new(),
        rejects: Rejects::default(),
        kept_bodies: Vec::new(),
        fetched_at: "2020-02-01T00:00:00Z".parse().unwrap(),
        elapsed_ms: 1,
    }
}

/// Audits, and begins a stage.
fn begin(node: &Node, run: &RunContext, purpose: Purpose) {
    node.queue.open(node).unwrap();
    audit(node, run, Scope::Everything).unwrap();
    node.queue.begin(node, run, purpose).unwrap();
}

fn next(node: &Node, run: &RunContext, vendor: Vendor) -> Option<Claimed> {
    match node.queue.next(node, run, vendor).unwrap() {
        Next::Work(c) => Some(*c),
        Next::Wait(_) | Next::Done => None,
    }
}

/// Keeps an answer as the raw stage does.
fn answer(node: &Node, run: &RunContext, c: &Claimed, f: Fetched) -> datanode_actors::vendor::actor::VendorCounters {
    let mut told = Told::of(&f);
    let counters = keep(node, run, c, f).unwrap();
    if counters.dropped > 0 {
        told.outcome = None;
    }
    node.queue.settle(node, c, told).unwrap();
    counters
}

#[test]
fn a_claimed_ask_is_not_given_out_twice_while_its_lease_stands() {
    let dir = tempfile::tempdir().unwrap();
    let (node, run) = (node(dir.path(), 60_000, &[Vendor::Alpaca]), run());
    begin(&node, &run, Purpose::Ingest);
    let first = next(&node, &run, Vendor::Alpaca).unwrap();
    assert_eq!((first.ask.from.to_string().as_str(), first.ask.days.len()), ("2020-01-02", 0), "the whole window");
    assert!(next(&node, &run, Vendor::Alpaca).is_none());
}

#[test]
fn an_expired_lease_is_claimable_again_and_its_late_answer_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (node, run) = (node(dir.path(), 0, &[Vendor::Alpaca]), run());
    begin(&node, &run, Purpose::Ingest);
    let late = next(&node, &run, Vendor::Alpaca).unwrap();
    // The lease of no length is over at once; the page rests, as after any failure, and then comes back.
    let again = loop {
        if let Some(c) = next(&node, &run, Vendor::Alpaca) {
            break c;
        }
    };
    assert_eq!(late.ask, again.ask);
    assert!(again.lease.fence > late.lease.fence);
    let c = answer(&node, &run, &late, fetched(&late, &[("2020-01-02", 1.0)], None));
    assert_eq!((c.dropped, c.rows), (1, 0));
    assert!(node.store.load_all(&BOOKMARKS, &[]).unwrap().is_empty(), "nothing moved under the old number");
    let c = answer(&node, &run, &again, fetched(&again, &[("2020-01-02", 2.0)], None));
    assert_eq!((c.dropped, c.rows, c.restated), (0, 1, 0), "the late answer had written no file");
    assert!(node.store.load_all(&LEASES, &[]).unwrap().is_empty());
    let again = answer(&node, &run, &again, fetched(&again, &[("2020-01-02", 3.0)], None));
    assert_eq!(again.dropped, 1, "an answer is kept once");
}

#[test]
fn a_lease_that_is_renewed_goes_on_standing() {
    let dir = tempfile::tempdir().unwrap();
    let (node, run) = (node(dir.path(), 40, &[Vendor::Alpaca]), run());
    begin(&node, &run, Purpose::Ingest);
    let c = next(&node, &run, Vendor::Alpaca).unwrap();
    let until = node.clock.since_boot_ms() + 200;
    while node.clock.since_boot_ms() < until {
        assert!(node.queue.renew(&node, c.id));
        assert!(next(&node, &run, Vendor::Alpaca).is_none());
    }
    assert_eq!(answer(&node, &run, &c, fetched(&c, &[("2020-01-02", 1.0)], None)).rows, 1);
    assert!(!node.queue.renew(&node, c.id), "it ended with its answer");
}

#[test]
fn leases_of_a_process_that_is_gone_are_void_at_once_and_numbers_grow() {
    let dir = tempfile::tempdir().unwrap();
    let run = run();
    let fence = {
        let node = node(dir.path(), 3_600_000, &[Vendor::Alpaca]);
        begin(&node, &run, Purpose::Ingest);
        next(&node, &run, Vendor::Alpaca).unwrap().lease.fence
    };
    let node = node(dir.path(), 3_600_000, &[Vendor::Alpaca]);
    begin(&node, &run, Purpose::Ingest);
    assert!(next(&node, &run, Vendor::Alpaca).unwrap().lease.fence > fence);
}

#[test]
fn a_refusal_demotes_the_vendor_for_the_window_and_the_next_one_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (node, run) = (node(dir.path(), 60_000, &[Vendor::Alpaca, Vendor::Massive]), run());
    begin(&node, &run, Purpose::Ingest);
    assert!(next(&node, &run, Vendor::Massive).is_none(), "alpaca is better and can take it");
    // What is refused is asked for in halves, until it is certain which days are meant: here all of 2020-01-07 and later.
    let (mut refused, mut given) = (0, 0);
    while let Some(c) = next(&node, &run, Vendor::Alpaca) {
        if c.ask.to >= "2020-01-07".parse().unwrap() {
            refused += 1;
            let r = Refusal::new(Outcome::NotEntitled, "403: subscription does not permit it");
            answer(&node, &run, &c, fetched(&c, &[], Some(r)));
        } else {
            let sessions = Calendar::Xnys.session_dates(c.ask.from, c.ask.to);
            let days: Vec<String> = sessions.iter().map(ToString::to_string).collect();
            let rows: Vec<(&str, f64)> = days.iter().map(|d| (d.as_str(), 1.0)).collect();
            given += answer(&node, &run, &c, fetched(&c, &rows, None)).rows;
        }
    }
    assert_eq!(given, 3);
    assert!(refused <= 8, "{refused} refusals for 4 refused days of 7");
    let demoted = node.store.load_all(&DEMOTIONS, &[]).unwrap();
    let days: Vec<String> = demoted[0].1.windows.iter().map(|w| date_of(w.from).to_string()).collect();
    assert_eq!(days, ["2020-01-07", "2020-01-08", "2020-01-09", "2020-01-10"], "the days, not the vendor");
    let second = next(&node, &run, Vendor::Massive).unwrap();
    assert_eq!((second.ask.vendor, second.ask.dataset), (Vendor::Massive, Dataset::EquitiesBars));
    let why = desk::explain(&node, Dataset::EquitiesBars, "AAPL", run.as_of, run.as_of).unwrap();
    assert_eq!(why.vendors[0].vendor, Vendor::Massive);
    assert!(why.vendors[1].why_not.as_ref().unwrap().contains("subscription"), "{why:?}");
    assert_eq!(why.lease, Some(second.id));
    assert_eq!(desk::clear_demotions(&node, Vendor::Alpaca, None, None).unwrap(), 4);
}

#[test]
fn a_paused_vendor_gets_nothing_and_the_other_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let (node, run) = (node(dir.path(), 60_000, &[Vendor::Alpaca, Vendor::Massive]), run());
    begin(&node, &run, Purpose::Ingest);
    desk::pause(&node, Vendor::Alpaca, true, "uid 0").unwrap();
    assert!(matches!(node.queue.next(&node, &run, Vendor::Alpaca).unwrap(), Next::Done));
    assert_eq!(next(&node, &run, Vendor::Massive).unwrap().ask.vendor, Vendor::Massive);
}

#[test]
fn a_task_that_failed_too_often_is_given_up_and_revived_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let (node, run) = (node(dir.path(), 60_000, &[Vendor::Alpaca]), run());
    begin(&node, &run, Purpose::Backfill);
    let state = || desk::explain(&node, Dataset::EquitiesBars, "AAPL", run.as_of, run.as_of).unwrap().state;
    for day in 1..=5 {
        let night =
            RunContext::new(format!("r{day}"), run.as_of, format!("2020-02-0{day}T00:00:00Z").parse().unwrap(), None);
        assert_eq!(state(), Some(Absence::Missing));
        node.queue.begin(&node, &night, Purpose::Backfill).unwrap();
        let c = next(&node, &night, Vendor::Alpaca).unwrap();
        answer(&node, &night, &c, fetched(&c, &[], Some(Refusal::new(Outcome::Error, "status 503"))));
        assert!(next(&node, &night, Vendor::Alpaca).is_none(), "it rests");
    }
    assert_eq!(state(), Some(Absence::Unobtainable));
    let all = Filter { dataset: Some(Dataset::EquitiesBars), ..Filter::default() };
    assert_eq!(desk::retry(&node, &all).unwrap(), 7);
    assert_eq!(state(), Some(Absence::Missing));
    node.queue.begin(&node, &run, Purpose::Backfill).unwrap();
    let c = next(&node, &run, Vendor::Alpaca).unwrap();
    answer(&node, &run, &c, fetched(&c, &[("2020-01-02", 1.0)], None));
    assert_eq!(desk::cancel(&node, &all).unwrap(), 6, "the filled one is gone");
    audit(&node, &run, Scope::Everything).unwrap();
    assert_eq!(state(), Some(Absence::Cancelled), "an audit does not bring it back");
    node.queue.begin(&node, &run, Purpose::Backfill).unwrap();
    assert!(next(&node, &run, Vendor::Alpaca).is_none());
}

#[test]
fn the_run_s_requests_are_a_cap() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), 60_000, &[Vendor::Alpaca]);
    let run = run().with_caps(RunCaps { requests: 2, ..RunCaps::default() });
    begin(&node, &run, Purpose::Ingest);
    assert!(run.may_request(1) && run.may_request(1) && !run.may_request(1));
    assert!(matches!(node.queue.next(&node, &run, Vendor::Alpaca).unwrap(), Next::Done));
    let near = self::run().with_caps(RunCaps { lookback_days: 3, ..RunCaps::default() });
    begin(&node, &near, Purpose::Ingest);
    assert_eq!(next(&node, &near, Vendor::Alpaca).unwrap().ask.from.to_string(), "2020-01-07");
}

#[test]
fn a_restatement_keeps_the_old_file_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (node, run) = (node(dir.path(), 60_000, &[Vendor::Alpaca]), run());
    begin(&node, &run, Purpose::Ingest);
    let claimed = next(&node, &run, Vendor::Alpaca).unwrap();
    answer(&node, &run, &claimed, fetched(&claimed, &[("2020-01-02", 1.0), ("2020-01-03", 1.5)], None));
    let folder = dir.path().join("data_layer/raw/alpaca/equities_bars/year=2020/symbol=AAPL");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    let b = node.store.load_all(&BOOKMARKS, &[]).unwrap().remove(0).1;
    let received = vec![Window { from: day_number(claimed.ask.from), to: day_number(claimed.ask.from) + 1 }];
    assert_eq!(b.windows, received, "the bookmark moves over what was received, not over what was asked for");
    // The same window again, under a lease of its own.
    let mut batch = datanode_schema::store::Batch::new();
    batch.put(&LEASES, &claimed.id, &claimed.lease).unwrap();
    node.store.commit(batch).unwrap();
    let c = keep(&node, &run, &claimed, fetched(&claimed, &[("2020-01-02", 2.0)], None)).unwrap();
    assert_eq!(c.restated, 1);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "both versions are kept");
}
