//! Late and changed data: the newest sessions are asked for again a night later, a restatement keeps both versions, and
//! the bookmark says what was received.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_vendorsim::{Seeded, Source};
use support::{Node, Sim, counts, stage, tree};

const UNIVERSE: &str = "universe:\n  equities_bars:\n    AAAA: [{from: 2025-06-02}]\n";
const FRIDAY: [&str; 4] = ["--now", "2025-06-28T23:00:00Z", "--as-of", "2025-06-27"];
const MONDAY: [&str; 4] = ["--now", "2025-07-01T23:00:00Z", "--as-of", "2025-06-30"];

/// A market; another seed tells other prices of the same days.
fn market(seed: u64) -> Sim {
    let mut s = Seeded::new(seed);
    s.symbols = Seeded::names(2);
    s.from = "2025-06-02".parse().unwrap();
    s.minute_sessions = 1;
    Sim::new(Source::Seeded(s), "")
}

fn versions(n: &Node) -> Vec<String> {
    let files = tree(&n.data().join("data_layer/raw/alpaca/equities_bars/year=2025/symbol=AAAA"));
    files.into_keys().collect()
}

#[test]
fn what_was_restated_is_asked_for_again_kept_twice_and_counted() {
    let before = market(11);
    let n = Node::new(UNIVERSE, FRIDAY).vendors(&["alpaca"], &before);
    let first = n.nightly(&[]).exits(0).json();
    counts(&first, "ingest", &[("rows", 19), ("restated", 0), ("requests", 1)]);
    assert_eq!(versions(&n), ["data.parquet"]);

    // The vendor tells other values from now on: the two held sessions of the last three are replaced, the new one comes.
    let after = market(12);
    let n = n.vendors(&["alpaca"], &after);
    let args = [&["nightly", "--json"], &MONDAY[..]].concat();
    let second = n.run(&args).exits(0).json();
    counts(&second, "ingest", &[("rows", 3), ("restated", 2)]);
    assert_eq!(versions(&n).len(), 2, "both versions are kept: {:?}", versions(&n));
    counts(&second, "curate", &[("written", 1)]);
    assert_ne!(first["export_id"], second["export_id"]);
    let lookback: Vec<_> = n.lines().into_iter().filter(|l| l.purpose == "lookback").collect();
    assert_eq!((lookback.len(), lookback[0].rows, lookback[0].restated), (1, 2, 2));
    assert_eq!((lookback[0].from.to_string(), lookback[0].to.to_string()), ("2025-06-26".into(), "2025-06-27".into()));

    // Once a day is enough.
    let asked = after.stats.requests();
    let third = n.run(&args).exits(0).json();
    assert_eq!(after.stats.requests(), asked);
    assert_eq!(stage(&third, "ingest")["requests"], 0);
}

#[test]
fn a_session_that_comes_late_is_a_task_until_it_is_there_and_no_bookmark_covers_it() {
    let late = market(11);
    // The vendor has nothing of Friday yet.
    let holes = Sim::new(
        Source::Seeded({
            let mut s = Seeded::new(11);
            s.symbols = Seeded::names(2);
            s.from = "2025-06-02".parse().unwrap();
            s.minute_sessions = 1;
            s
        }),
        "alpaca: {holes: [{symbol: AAAA, from: 2025-06-27, to: 2025-06-27}]}",
    );
    let n = Node::new(UNIVERSE, FRIDAY).vendors(&["alpaca"], &holes);
    let first = n.nightly(&[]).exits(0).json();
    counts(&first, "backfill", &[("missing", 1), ("explained", 0)]);
    let n = n.vendors(&["alpaca"], &late);
    let second = n.run(&[&["nightly", "--json"], &MONDAY[..]].concat()).exits(0).json();
    counts(&second, "backfill", &[("absent", 0)]);
    counts(&second, "export", &[("rows", 20)]);
}
