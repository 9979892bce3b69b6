//! The queue against a model: any sequence of discovering, claiming, answering, failing, expiring, crashing, jumping
//! clocks and changing registries keeps the promises that users rely on.
//!
//! - a task is filled at most once, and only under the lease that stands;
//! - never two standing leases over one task;
//! - no task is lost: what is not filled is in the queue, and in the end everything is filled.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod queue_support;

use datanode_actors::audit::{Scope, audit};
use datanode_actors::frame::{Bar, Cell};
use datanode_actors::node::{Node, RunContext};
use datanode_actors::queue::{Claimed, Next, Told};
use datanode_actors::raw::keep;
use datanode_actors::vendor::{Fetched, Purpose, Refusal, Rejects};
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::{Clock, Hands, day_number};
use datanode_schema::names::{Outcome, Vendor};
use datanode_schema::registry::{Registry, Sources};
use datanode_schema::trees::{GAPS, LEASES};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const VENDORS: [Vendor; 3] = [Vendor::Files, Vendor::Alpaca, Vendor::Massive];
const SYMBOLS: [&str; 4] = ["A", "B", "C", "D"];
const FIRST: &str = "2024-01-22";
/// Sessions that the universe has in the end.
const LAST: &str = "2024-03-08";
const LEASE_MS: u64 = 5_000;

#[derive(Clone, Debug)]
enum Op {
    /// The last session considered moves on by so many days, and the audit looks.
    Discover(u8),
    Claim(u8),
    /// Answers an outstanding claim, of whatever process.
    Answer(u8, Said),
    /// Time goes on by so many milliseconds.
    Wait(u16),
    /// The wall clock jumps by so many hours.
    Jump(i8),
    Crash,
    /// Another registry from here on.
    Registry(u8),
}

#[derive(Clone, Copy, Debug)]
enum Said {
    All,
    /// The first half of the days.
    Half,
    Nothing,
    Failed,
    Limited,
    Refused,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let said = prop_oneof![
        4 => Just(Said::All),
        2 => Just(Said::Half),
        1 => Just(Said::Nothing),
        2 => Just(Said::Failed),
        1 => Just(Said::Limited),
        1 => Just(Said::Refused),
    ];
    let op = prop_oneof![
        1 => (1u8..12).prop_map(Op::Discover),
        6 => (0u8..3).prop_map(Op::Claim),
        6 => (any::<u8>(), said).prop_map(|(n, s)| Op::Answer(n, s)),
        2 => (1u16..9_000).prop_map(Op::Wait),
        1 => (-30i8..60).prop_map(Op::Jump),
        1 => Just(Op::Crash),
        1 => (0u8..3).prop_map(Op::Registry),
    ];
    proptest::collection::vec(op, 5..60)
}

struct World {
    dir: tempfile::TempDir,
    hands: Arc<Hands>,
    node: Option<Arc<Node>>,
    run: Arc<RunContext>,
    registry: u8,
    runs: u32,
    outstanding: Vec<Claimed>,
    filled: BTreeMap<String, BTreeSet<i32>>,
}

fn registry(kind: u8) -> Registry {
    let mut s = Sources::read(None, None, None).unwrap();
    // What a second vendor is asked for to compare is filled twice on purpose.
    s.datasets.1 = s.datasets.1.replace("spot_checks: 5", "spot_checks: 0");
    let windows: String = SYMBOLS.iter().map(|n| format!("    {n}: [{{from: {FIRST}, to: {LAST}}}]\n")).collect();
    s.universe = ("universe.yaml".into(), format!("universe:\n  equities_bars:\n{windows}"));
    match kind {
        // Another order of the vendors, and smaller requests.
        1 => s.capabilities.1 = s.capabilities.1.replace("preference: 90", "preference: 75"),
        2 => s.capabilities.1 = s.capabilities.1.replace("max_rows: 10000", "max_rows: 30"),
        _ => {}
    }
    Registry::parse(&s).unwrap()
}

fn open(dir: &Path, hands: &Arc<Hands>, kind: u8) -> Arc<Node> {
    let node = queue_support::node(dir, Clock::by_hand(hands.clone()), LEASE_MS, &VENDORS, registry(kind));
    node.queue.open(&node).unwrap();
    node
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hands = Arc::new(Hands { unix: 1_712_000_000.into(), since_boot_ms: 1_000.into() });
        let node = open(dir.path(), &hands, 0);
        let run = Arc::new(RunContext::new("r0".into(), "2024-01-26".parse().unwrap(), node.clock.now(), None));
        let mut w = Self {
            dir,
            hands,
            node: Some(node),
            run,
            registry: 0,
            runs: 0,
            outstanding: Vec::new(),
            filled: BTreeMap::new(),
        };
        w.begin(0);
        w
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// A new run, `days` further on.
    fn begin(&mut self, days: u8) {
        let last = LAST.parse().unwrap();
        let as_of = (self.run.as_of + chrono::Duration::days(i64::from(days))).min(last);
        self.runs += 1;
        self.run = Arc::new(RunContext::new(format!("r{}", self.runs), as_of, self.node().clock.now(), None));
        audit(self.node(), &self.run, Scope::Everything).unwrap();
        self.node().queue.begin(self.node(), &self.run, Purpose::Backfill).unwrap();
    }

    fn reopen(&mut self) {
        self.node = None;
        self.node = Some(open(self.dir.path(), &self.hands, self.registry));
        self.begin(0);
    }

    fn days_of(c: &Claimed) -> Vec<i32> {
        let sessions = Calendar::Xnys.session_dates(c.ask.from, c.ask.to).into_iter().map(day_number);
        sessions.filter(|d| c.ask.wants(*d)).collect()
    }

    fn claim(&mut self, vendor: Vendor) -> Option<Claimed> {
        match self.node().queue.next(self.node(), &self.run, vendor).unwrap() {
            Next::Work(c) => {
                self.outstanding.push((*c).clone());
                Some(*c)
            }
            Next::Wait(_) | Next::Done => None,
        }
    }

    fn answer(&mut self, n: usize, said: Said) {
        let c = self.outstanding.swap_remove(n);
        let stands = self.node().store.load(&LEASES, &c.id).unwrap().as_ref() == Some(&c.lease);
        let days = Self::days_of(&c);
        let given: &[i32] = match said {
            Said::All => &days,
            Said::Half => &days[..days.len().div_ceil(2)],
            _ => &[],
        };
        let refusal = match said {
            Said::Failed => Some(Refusal::new(Outcome::Error, "status 503")),
            Said::Limited => Some(Refusal::new(Outcome::RateLimited, "429")),
            Said::Refused => Some(Refusal::new(Outcome::NotEntitled, "403: subscription does not permit it")),
            _ => None,
        };
        let bar = Bar { open: 1.0, high: 1.0, low: 1.0, close: 1.0, volume: 1.0, trades: None, vwap: None };
        let rows = |_: &String| given.iter().map(|d| (i64::from(*d), Cell::Bar(bar))).collect::<Vec<_>>();
        let fetched = Fetched {
            ask: c.ask.clone(),
            rows: c.ask.symbols.iter().map(|s| (s.clone(), rows(s))).filter(|(_, r)| !r.is_empty()).collect(),
            refusal,
            pages: 1,
            bytes: 1,
            body_blake3: String::new(),
            rejects: Rejects::default(),
            kept_bodies: Vec::new(),
            fetched_at: self.node().clock.now(),
            elapsed_ms: 1,
        };
        let mut told = Told::of(&fetched);
        let counters = keep(self.node(), &self.run, &c, fetched).unwrap();
        assert_eq!(counters.dropped == 0, stands, "an answer is kept exactly where its very lease stands");
        if counters.dropped > 0 {
            told.outcome = None;
        } else {
            assert_eq!(counters.restated, 0);
            for s in &c.ask.symbols {
                let filled = self.filled.entry(s.clone()).or_default();
                for d in given {
                    assert!(filled.insert(*d), "{s} {d} was filled twice");
                }
            }
        }
        self.node().queue.settle(self.node(), &c, told).unwrap();
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Discover(days) => self.begin(days),
            Op::Claim(v) => {
                self.claim(VENDORS[v as usize]);
            }
            Op::Answer(n, said) if !self.outstanding.is_empty() => {
                let n = n as usize % self.outstanding.len();
                self.answer(n, said);
            }
            Op::Answer(..) => {}
            Op::Wait(ms) => {
                self.hands.since_boot_ms.fetch_add(u64::from(ms), Ordering::AcqRel);
            }
            Op::Jump(hours) => {
                self.hands.unix.fetch_add(i64::from(hours) * 3_600, Ordering::AcqRel);
            }
            Op::Crash => self.reopen(),
            Op::Registry(kind) => {
                self.registry = kind;
                self.reopen();
            }
        }
    }

    fn check(&self) {
        let leases = self.node().store.load_all(&LEASES, &[]).unwrap();
        let mut seen = BTreeSet::new();
        for c in &self.outstanding {
            if !leases.iter().any(|(id, l)| *id == c.id && *l == c.lease) {
                continue;
            }
            for s in &c.ask.symbols {
                for d in Self::days_of(c) {
                    assert!(seen.insert((s.clone(), d)), "two standing leases over {s} {d}");
                }
            }
        }
        let mut queued: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
        for (k, page) in self.node().store.load_all(&GAPS, &[]).unwrap() {
            let days = page.tasks(k.month.first_day()).into_iter().map(|t| t.day);
            queued.entry(k.symbol).or_default().extend(days);
        }
        for s in SYMBOLS {
            for date in Calendar::Xnys.session_dates(FIRST.parse().unwrap(), self.run.as_of) {
                let d = day_number(date);
                let filled = self.filled.get(s).is_some_and(|f| f.contains(&d));
                let open = queued.get(s).is_some_and(|q| q.contains(&d));
                assert!(filled != open, "{s} {date}: filled {filled}, in the queue {open}");
            }
        }
    }

    /// Everything that is still open is filled in the end, whatever happened before.
    fn drain(&mut self) {
        for _ in 0..400 {
            // A day and a probe later.
            self.hands.unix.fetch_add(8 * 86_400, Ordering::AcqRel);
            self.hands.since_boot_ms.fetch_add(60_000, Ordering::AcqRel);
            self.outstanding.clear();
            self.begin(60);
            let all = datanode_actors::queue::desk::Filter::default();
            datanode_actors::queue::desk::retry(self.node(), &all).unwrap();
            let mut idle = 0;
            while idle < 12 {
                let mut worked = false;
                for v in VENDORS {
                    while self.claim(v).is_some() {
                        worked = true;
                        let n = self.outstanding.len() - 1;
                        self.answer(n, Said::All);
                    }
                }
                self.hands.since_boot_ms.fetch_add(500, Ordering::AcqRel);
                idle = if worked { 0 } else { idle + 1 };
            }
            self.check();
            let open = self.node().store.load_all(&GAPS, &[]).unwrap();
            // What the vendors agreed to be empty stays explained; everything else must be gone.
            let explained = datanode_schema::names::Absence::Explained.number();
            if open.iter().all(|(_, p)| p.groups.iter().all(|g| g.state == explained)) {
                return;
            }
        }
        panic!("tasks are left: {:?}", self.node().store.load_all(&GAPS, &[]).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 400, ..ProptestConfig::default() })]
    #[test]
    fn no_task_is_lost_or_filled_twice_and_no_two_leases_stand(ops in ops()) {
        let mut w = World::new();
        for op in ops {
            w.step(op);
            w.check();
        }
        w.drain();
    }
}

/// Series had other numbers in the next run, and an answer that came then closed the page of another symbol.
#[test]
fn an_answer_that_is_kept_after_the_next_run_began_closes_its_own_page() {
    let ops = vec![
        Op::Discover(1),
        Op::Claim(0),
        Op::Answer(0, Said::All),
        Op::Crash,
        Op::Claim(0),
        Op::Claim(0),
        Op::Claim(0),
        Op::Claim(0),
        Op::Wait(5000),
        Op::Answer(25, Said::Half),
        Op::Claim(2),
        Op::Claim(2),
        Op::Discover(2),
        Op::Answer(159, Said::All),
        Op::Answer(0, Said::All),
        Op::Claim(1),
        Op::Answer(2, Said::All),
    ];
    let mut w = World::new();
    for op in ops {
        w.step(op);
        w.check();
    }
    w.drain();
}
