//! Two hundred hard kills during a night in which vendors refuse, hang, lie and go away: no vendor is asked more than it
//! allows (as the server counts), no row is lost, and none is taken twice.
//!
//! Moments are drawn from a seed (`DATANODE_KILL_SEED`, default 1); the number from `DATANODE_CHAOS_KILLS`, default 200.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_schema::clock::date_of;
use datanode_schema::names::{Dataset, Reason, Verdict};
use datanode_schema::registry::{DEFAULT_CAPABILITIES, DEFAULT_DATASETS};
use datanode_schema::trees::{HOLDINGS, LEASES, LEDGER};
use datanode_vendorsim::{self as sim, Seeded, Source};
use std::collections::BTreeMap;
use std::time::Duration;
use support::verdicts::state;
use support::{Draw, Live, Node, Sim, counts, market, stage};

const SYMBOLS: usize = 12;
const SESSIONS: usize = 20;
const LIMITS: [(&str, &str); 2] = [("alpaca", "40"), ("massive", "25")];
/// One symbol and session a request, so that there is much to interrupt.
const FAULTS: &str = "
seed: 5
alpaca:
  rate_limit: {per_second: 40}
  rules:
    - {p: 0.05, action: {status: {code: 429, retry_after: 1}}}
    - {p: 0.02, action: {timeout: {seconds: 3}}}
    - {p: 0.01, action: empty}
    - {p: 0.01, action: truncate}
massive:
  rate_limit: {per_second: 25}
  entitlement: {not_after: 2025-06-20}
  down: {period_seconds: 3, down_seconds: 1}
  rules:
    - {p: 0.05, action: {status: {code: 429, retry_after: 1}}}
    - {p: 0.02, action: {timeout: {seconds: 3}}}
    - {p: 0.01, action: truncate}
";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|s| s.parse().ok()).unwrap_or(default)
}

fn node(world: &Sim) -> Node {
    let minutes = world.universe.find("  equities_bars_minute:").unwrap();
    let rest = &world.universe[minutes..];
    let end = rest[2..].find("\n  macro").map_or(rest.len(), |i| i + 3);
    let mut n =
        Node::new(&format!("universe:\n{}", &rest[..end]), ["--now", "2025-07-02T23:00:00Z", "--as-of", "2025-06-30"])
            .vendors(&["alpaca", "massive"], world);
    let small =
        DEFAULT_CAPABILITIES.replace("max_rows: 10000", "max_rows: 390").replace("max_rows: 50000", "max_rows: 390");
    let path = n.root.path().join("capabilities.yaml");
    std::fs::write(&path, small).unwrap();
    n.set("DATANODE__CAPABILITIES", path.to_str().unwrap());
    // A spot check takes rows that are there already from a second vendor, on purpose.
    let datasets = n.root.path().join("datasets.yaml");
    std::fs::write(&datasets, DEFAULT_DATASETS.replace("spot_checks: 5", "spot_checks: 0")).unwrap();
    n.set("DATANODE__DATASETS", datasets.to_str().unwrap());
    for (vendor, per_second) in LIMITS {
        n.set(&format!("DATANODE__VENDORS__{}__PER_SECOND", vendor.to_uppercase()), per_second);
        n.set(&format!("DATANODE__VENDORS__{}__CONCURRENCY", vendor.to_uppercase()), "4");
    }
    n.set("DATANODE__HTTP__TIMEOUT_SECONDS", "1");
    n.set("DATANODE__QUEUE__LEASE_SECONDS", "2");
    n
}

/// Partitions that are not GREEN, with their reasons and what the manifests tell of them.
fn doubtful(n: &Node) -> Vec<String> {
    let mut out = Vec::new();
    for (k, page) in state(n).load_all(&LEDGER, &[]).unwrap() {
        for d in page.days(k.month.first_day()).iter().filter(|d| d.verdict != Verdict::Green.number()) {
            let date = date_of(d.day);
            let told = n.lines().into_iter().filter(|l| l.symbol == k.symbol && l.from <= date && date <= l.to);
            let told: Vec<_> = told.map(|l| (l.run, l.vendor, l.outcome, l.rows, l.note)).collect();
            out.push(format!("{} {date} {:?} {told:?}", k.symbol, Reason::names(d.reasons)));
        }
    }
    out
}

/// Rows that the state says are held, by vendor; and that no lease is left.
fn held(n: &Node) -> BTreeMap<String, u64> {
    let store = state(n);
    assert!(store.load_all(&LEASES, &[]).unwrap().is_empty(), "no lease is left");
    let mut out = BTreeMap::new();
    for (k, page) in store.load_all(&HOLDINGS, &[]).unwrap() {
        assert_eq!(k.dataset, Dataset::EquitiesBarsMinute);
        *out.entry(k.vendor.name().to_owned()).or_default() +=
            page.days(k.month.first_day()).iter().map(|d| u64::from(d.rows)).sum::<u64>();
    }
    out
}

#[test]
fn two_hundred_kills_overspend_no_budget_lose_no_row_and_take_none_twice() {
    // Every minute of every session, so that the rows can be counted in advance.
    let Source::Seeded(market) = market(SYMBOLS, SESSIONS) else { unreachable!() };
    let world = Sim::new(Source::Seeded(Seeded { plain: true, ..market }), FAULTS);
    let n = node(&world);
    let (seed, kills) = (number("DATANODE_KILL_SEED", 1), number("DATANODE_CHAOS_KILLS", 200));
    let mut draw = Draw(seed);
    let stages = ["--stages", "ingest,audit,backfill"];
    let mut killed = 0;
    for _ in 0..kills {
        let child = n
            .command(&n.nightly_args(&stages))
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn();
        let live = Live::of(child.unwrap());
        // The moment is given by the machine's clock; what it hits is drawn.
        if let Some(done) = live.wait_at_most(Duration::from_millis(20 + draw.below(260))) {
            assert_eq!(done.code, Some(0), "seed {seed}: {}", done.err);
        } else {
            killed += 1;
        }
    }
    assert!(killed * 2 > kills, "only {killed} of {kills} were killed: the night was over too early");
    // Evenings later everything that there is has come.
    let mut last = None;
    for day in 3..9 {
        let now = format!("2025-07-0{day}T23:00:00Z");
        let done = n.run(&["nightly", "--json", "--now", &now, "--as-of", "2025-06-30"]).exits(0).json();
        let missing = stage(&done, "backfill")["absent"].as_u64().unwrap();
        last = Some(done);
        if missing == 0 {
            break;
        }
    }
    let done = last.unwrap();
    counts(&done, "backfill", &[("absent", 0), ("short", 0)]);
    let sessions = stage(&done, "audit")["sessions"].as_u64().unwrap();
    assert!(sessions > 200);
    let rows = sessions * 390;
    assert_eq!(doubtful(&n), Vec::<String>::new(), "seed {seed}");
    counts(&done, "qc", &[("green", sessions), ("red", 0), ("amber", 0), ("pending", 0)]);
    counts(&done, "export", &[("rows", rows)]);
    for v in [sim::Vendor::Alpaca, sim::Vendor::Massive] {
        let s = world.stats.vendor(v);
        assert_eq!(s.rate_limit_violations, 0, "seed {seed}: {} requests to {}", s.requests, v.name());
        assert!(s.requests > 20, "{} took part", v.name());
    }
    let held = held(&n);
    assert_eq!(held.values().sum::<u64>(), rows, "seed {seed}: each row was taken from one vendor: {held:?}");
    assert_eq!(held.len(), 2, "both vendors gave some: {held:?}");
}
