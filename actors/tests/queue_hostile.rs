//! What once broke the queue: thin symbols, refusals of the newest day, leases that end at the wrong moment, lookbacks that
//! got lost. Each test says what must be true.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod queue_support;

use datanode_actors::audit::{self, audit};
use datanode_actors::frame::{Bar, Cell};
use datanode_actors::node::{Node, RunContext};
use datanode_actors::queue::{Claimed, Next, Told};
use datanode_actors::raw::keep;
use datanode_actors::vendor::{Fetched, Purpose, Refusal, Rejects, Scope};
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::{Clock, Hands, day_number};
use datanode_schema::keys::{HoldingKey, Month};
use datanode_schema::names::{Dataset, Outcome, Vendor};
use datanode_schema::records::{Demotions, Holding, HoldingDay};
use datanode_schema::registry::{Registry, Sources};
use datanode_schema::store::Batch;
use datanode_schema::trees::{DEMOTIONS, HOLDINGS};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

struct World {
    _dir: tempfile::TempDir,
    hands: Arc<Hands>,
    node: Arc<Node>,
}

fn world(now: &str, vendors: &[Vendor], change: impl Fn(&mut Sources)) -> World {
    let dir = tempfile::tempdir().unwrap();
    let unix = now.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp();
    let hands = Arc::new(Hands { unix: unix.into(), since_boot_ms: 1_000.into() });
    let node = open(dir.path(), &hands, vendors, change);
    World { _dir: dir, hands, node }
}

fn open(dir: &Path, hands: &Arc<Hands>, vendors: &[Vendor], change: impl Fn(&mut Sources)) -> Arc<Node> {
    let mut sources = Sources::read(None, None, None).unwrap();
    change(&mut sources);
    let clock = Clock::by_hand(hands.clone());
    let node = queue_support::node(dir, clock, 60_000, vendors, Registry::parse(&sources).unwrap());
    node.queue.open(&node).unwrap();
    node
}

fn universe(text: &str) -> (String, String) {
    ("universe.yaml".into(), format!("universe:\n  equities_bars:\n{text}"))
}

fn run(node: &Node, id: &str, as_of: &str) -> RunContext {
    RunContext::new(id.into(), as_of.parse().unwrap(), node.clock.now(), None)
}

fn begin(node: &Node, run: &RunContext, purpose: Purpose) {
    audit(node, run, audit::Scope::Everything).unwrap();
    node.queue.begin(node, run, purpose).unwrap();
}

impl World {
    /// The next claim of a vendor; time goes on while it is told to wait. None when there is nothing (more) for it.
    fn next(&self, run: &RunContext, vendor: Vendor) -> Option<Claimed> {
        for _ in 0..20_000 {
            match self.node.queue.next(&self.node, run, vendor).unwrap() {
                Next::Work(c) => return Some(*c),
                Next::Wait(ms) => _ = self.hands.since_boot_ms.fetch_add(ms, Ordering::Relaxed),
                Next::Done => return None,
            }
        }
        None
    }

    fn answer(&self, run: &RunContext, c: &Claimed, days: &[i32], refusal: Option<Refusal>) {
        let bar = Bar { open: 1.0, high: 1.0, low: 1.0, close: 1.0, volume: 1.0, trades: None, vwap: None };
        let rows = |_| days.iter().map(|d| (i64::from(*d), Cell::Bar(bar))).collect::<Vec<_>>();
        let rows: BTreeMap<_, _> = match days.is_empty() {
            true => BTreeMap::new(),
            false => c.ask.symbols.iter().map(|s| (s.clone(), rows(s))).collect(),
        };
        let f = Fetched {
            ask: c.ask.clone(),
            rows,
            refusal,
            pages: 1,
            bytes: 1,
            body_blake3: String::new(),
            rejects: Rejects::default(),
            kept_bodies: Vec::new(),
            fetched_at: self.node.clock.now(),
            elapsed_ms: 1,
        };
        let told = Told::of(&f);
        let kept = keep(&self.node, run, c, f);
        self.node.queue.settle(&self.node, c, told).unwrap();
        kept.unwrap();
    }

    fn wanted(c: &Claimed) -> Vec<i32> {
        let all = Calendar::Xnys.session_dates(c.ask.from, c.ask.to);
        all.into_iter().map(day_number).filter(|d| c.ask.wants(*d)).collect()
    }

    fn held(&self) -> usize {
        self.node.store.load_all(&HOLDINGS, &[]).unwrap().iter().map(|(k, h)| h.days(k.month.first_day()).len()).sum()
    }
}

fn window_refusal() -> Refusal {
    Refusal::new(Outcome::NotEntitled, "403: subscription does not permit querying recent data").about(Scope::Window)
}

/// A thinly traded symbol: the vendor has every second session of six years. Its bookmark grows by a window for each hole
/// until it no longer fits a record of the store; then no answer for the symbol can be kept, and the run ends in an error.
#[test]
fn a_symbol_with_many_holes_can_be_kept() {
    let w = world("2016-02-01T00:00:00Z", &[Vendor::Alpaca], |s| {
        s.universe = universe("    THIN: [{from: 2010-01-04, to: 2015-12-31}]\n");
    });
    let run = run(&w.node, "r1", "2016-01-29");
    begin(&w.node, &run, Purpose::Ingest);
    let c = w.next(&run, Vendor::Alpaca).unwrap();
    let every_second: Vec<i32> = World::wanted(&c).into_iter().step_by(2).collect();
    w.answer(&run, &c, &every_second, None);
    assert_eq!(w.held(), every_second.len());
}

/// The vendor refuses the session of this very day; the history that was asked for in the same request is not its fault.
#[test]
fn a_refusal_of_today_does_not_strike_the_history_in_the_same_request() {
    let w = world("2020-01-10T23:00:00Z", &[Vendor::Alpaca], |s| {
        s.universe = universe("    AAPL: [{from: 2019-01-02}]\n");
        s.datasets.1 = s.datasets.1.replace("ready_after_minutes: 240", "ready_after_minutes: 30");
    });
    let run = run(&w.node, "r1", "2020-01-10");
    let today = day_number(run.as_of);
    let mut asked_today = 0;
    for purpose in [Purpose::Ingest, Purpose::Backfill] {
        begin(&w.node, &run, purpose);
        while let Some(c) = w.next(&run, Vendor::Alpaca) {
            let days = World::wanted(&c);
            if day_number(c.ask.to) >= today {
                asked_today += 1;
                w.answer(&run, &c, &[], Some(window_refusal()));
            } else {
                w.answer(&run, &c, &days, None);
            }
        }
    }
    assert!(asked_today > 0, "the session of today is open");
    let all = Calendar::Xnys.session_dates("2019-01-02".parse().unwrap(), run.as_of).len();
    // A refusal is split down to a 32nd of the request: that part waits, the rest has come, and nothing is demoted.
    assert!(w.held() >= all - all / 32, "{} of {all}", w.held());
    assert!(w.node.store.load_all(&DEMOTIONS, &[]).unwrap().is_empty(), "days to come demote nobody");
}

/// The window of each night's newest session was refused twice; another vendor gave the rest. That says nothing of history.
#[test]
fn two_refusals_of_one_window_do_not_demote_for_all_days() {
    let w = world("2020-02-01T00:00:00Z", &[Vendor::Alpaca], |s| {
        s.universe = universe("    AAPL: [{from: 2020-01-10, to: 2020-01-10}]\n");
    });
    for (night, id) in ["r1", "r2"].into_iter().enumerate() {
        w.hands.unix.fetch_add(i64::try_from(night).unwrap() * 86_400, Ordering::Relaxed);
        let run = run(&w.node, id, "2020-01-10");
        begin(&w.node, &run, Purpose::Ingest);
        while let Some(c) = w.next(&run, Vendor::Alpaca) {
            w.answer(&run, &c, &[], Some(window_refusal()));
        }
    }
    let (_, d) = w.node.store.load_all(&DEMOTIONS, &[]).unwrap().remove(0);
    assert!(!d.refuses(day_number("2010-06-01".parse().unwrap()), w.node.clock.now().timestamp()), "{d:?}");
}

/// Seventeen single days refused, years apart.
#[test]
fn many_refused_days_do_not_demote_the_days_between() {
    let mut d = Demotions::default();
    for i in 0..17 {
        d.refuse(i * 300, i * 300, 0, "no");
    }
    let never = (0..16).filter(|i| d.refuses(i * 300 + 150, 1)).count();
    assert!(never <= 1, "only the two nearest windows were made one: {d:?}");
}

/// One 401 of a vendor's bad minute: the next night it is asked again.
#[test]
fn a_key_that_was_refused_once_is_probed_in_a_later_run() {
    let w = world("2020-02-01T00:00:00Z", &[Vendor::Alpaca], |s| {
        s.universe = universe("    AAPL: [{from: 2020-01-10, to: 2020-01-10}]\n");
    });
    let r1 = run(&w.node, "r1", "2020-01-10");
    begin(&w.node, &r1, Purpose::Ingest);
    let c = w.next(&r1, Vendor::Alpaca).unwrap();
    w.answer(&r1, &c, &[], Some(Refusal::new(Outcome::NotEntitled, "401: try later").about(Scope::Key)));
    w.hands.unix.fetch_add(30 * 86_400, Ordering::Relaxed);
    let r2 = run(&w.node, "r2", "2020-01-10");
    begin(&w.node, &r2, Purpose::Ingest);
    assert!(w.next(&r2, Vendor::Alpaca).is_some(), "thirty days later in the same process");
}

/// The lookback asks for as many symbols as the registry lets one request have; its lease must fit the store.
#[test]
fn a_lookback_over_many_symbols_can_be_claimed() {
    let names: Vec<String> = (0..1_000).map(|i| format!("SYM{i:04}")).collect();
    let lines: String = names.iter().map(|n| format!("    {n}: [{{from: 2020-01-06, to: 2020-01-10}}]\n")).collect();
    let w = world("2020-02-01T00:00:00Z", &[Vendor::Alpaca], |s| {
        s.universe = universe(&lines);
        s.datasets.1 = s.datasets.1.replacen("lookback_sessions: 3", "lookback_sessions: 5", 1);
        s.capabilities.1 = s.capabilities.1.replace("max_symbols: 50", "max_symbols: 1000");
    });
    let days = Calendar::Xnys.session_dates("2020-01-06".parse().unwrap(), "2020-01-10".parse().unwrap());
    let held = |d: &chrono::NaiveDate| HoldingDay { day: day_number(*d), rows: 1, regular: 1, ..HoldingDay::default() };
    let page = Holding::pack(Month::of(days[0]).first_day(), days.iter().map(held));
    let mut batch = Batch::new();
    for symbol in names {
        let key = HoldingKey {
            dataset: Dataset::EquitiesBars,
            symbol,
            month: Month::of("2020-01-06".parse().unwrap()),
            vendor: Vendor::Alpaca,
        };
        batch.put(&HOLDINGS, &key, &page).unwrap();
    }
    w.node.store.commit(batch).unwrap();
    let run = run(&w.node, "r1", "2020-01-10");
    begin(&w.node, &run, Purpose::Ingest);
    let c = w.next(&run, Vendor::Alpaca).unwrap();
    assert_eq!(c.ask.purpose, Purpose::Lookback);
}

/// A lookback request that was limited goes back to the queue, as any other does.
#[test]
fn a_lookback_that_was_rate_limited_is_asked_again() {
    let w = world("2020-02-01T00:00:00Z", &[Vendor::Alpaca], |s| {
        s.universe = universe("    AAPL: [{from: 2020-01-10, to: 2020-01-10}]\n");
        s.datasets.1 = s.datasets.1.replacen("lookback_sessions: 3", "lookback_sessions: 5", 1);
    });
    let r1 = run(&w.node, "r1", "2020-01-10");
    begin(&w.node, &r1, Purpose::Ingest);
    let c = w.next(&r1, Vendor::Alpaca).unwrap();
    let days = World::wanted(&c);
    w.answer(&r1, &c, &days, None);
    w.hands.unix.fetch_add(86_400, Ordering::Relaxed);
    let r2 = run(&w.node, "r2", "2020-01-10");
    begin(&w.node, &r2, Purpose::Ingest);
    let c = w.next(&r2, Vendor::Alpaca).unwrap();
    assert_eq!(c.ask.purpose, Purpose::Lookback);
    w.answer(&r2, &c, &[], Some(Refusal::new(Outcome::RateLimited, "429")));
    assert!(w.next(&r2, Vendor::Alpaca).is_some(), "back to the queue until the vendor's reset");
}

/// A lease ends while its answer is on the way to the disk: the answer is dropped, so no file may hold it.
#[test]
fn an_answer_whose_lease_ends_while_it_is_written_leaves_no_file() {
    let mut written_and_dropped = 0;
    for _ in 0..10 {
        let w = world("2016-02-01T00:00:00Z", &[Vendor::Alpaca], |s| {
            s.universe = universe("    AAPL: [{from: 2010-01-04, to: 2015-12-31}]\n");
        });
        let run = run(&w.node, "r1", "2016-01-29");
        begin(&w.node, &run, Purpose::Ingest);
        let c = w.next(&run, Vendor::Alpaca).unwrap();
        let days = World::wanted(&c);
        let raw = w.node.data.raw().to_owned();
        std::thread::scope(|s| {
            s.spawn(|| w.answer(&run, &c, &days, None));
            s.spawn(|| {
                // As soon as the first file is there, the lease's time is over and another worker asks.
                while std::fs::read_dir(raw.join("alpaca/equities_bars")).map_or(0, Iterator::count) == 0 {
                    std::hint::spin_loop();
                }
                w.hands.since_boot_ms.fetch_add(60_001, Ordering::Relaxed);
                drop(w.node.queue.next(&w.node, &run, Vendor::Alpaca));
            });
        });
        let files = std::fs::read_dir(raw.join("alpaca/equities_bars")).unwrap().count();
        written_and_dropped += usize::from(w.held() == 0 && files > 0);
    }
    assert_eq!(written_and_dropped, 0, "of 10 answers: dropped by the store, and yet in raw files and the manifest");
}
