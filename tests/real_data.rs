//! The whole way on real input: 242,420 rows of market history through the simulated vendors into a verified pack.
//!
//! The expectations are those of ../shared/data/README.md; what Python checks is independent of our code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use support::{Node, REAL_NIGHT, SEEDED_NIGHT, Sim, counts, python, real_data, run, stage, tree};

const DAILY: usize = 70_011;
const MINUTE: usize = 21_258;
const TREASURY: usize = 151_151;
const ABSENT: u64 = 12_206;

/// One test, because each step goes on from the folder that the one before left.
#[test]
fn real_input_arrives_whole_and_a_second_run_asks_and_changes_nothing() {
    let Some(real) = real_data() else { return };
    let sim = Sim::real(&real);
    let node = Node::new(&sim.universe, REAL_NIGHT).vendors(&["alpaca", "massive", "fred"], &sim);

    let found = node.nightly(&["--stages", "ingest,audit"]).exits(0).json();
    counts(&found, "ingest", &[("rows", (DAILY + MINUTE + TREASURY) as u64), ("rejected", 0), ("refusals", 0)]);
    counts(&found, "audit", &[("absent", ABSENT), ("missing", ABSENT), ("explained", 0), ("pending", 0), ("short", 1)]);

    let full = node.nightly(&[]).exits(0).json();
    counts(&full, "audit", &[("absent", ABSENT), ("short", 1)]);
    // The second vendor agrees that there is nothing: the absences stay, and are explained.
    counts(
        &full,
        "backfill",
        &[("absent", ABSENT), ("missing", 0), ("explained", ABSENT), ("pending", 0), ("short", 1)],
    );
    counts(&full, "qc", &[("red", 1), ("pending", 0)]);
    counts(&full, "export", &[("rows", (DAILY + MINUTE + TREASURY - 6) as u64), ("excluded", 1), ("unchanged", 0)]);
    let twx = node.excluded(&full, "equities_bars_minute/TWX/2014-06-23").expect("six minutes are no session");
    assert_eq!((&twx["status"], &twx["reasons"]), (&Value::from("RED"), &serde_json::json!(["short_session"])));
    assert!(node.excluded(&full, "equities_bars_minute/GOOG/2015-12-24").is_none(), "a half-day is whole");

    rows_are_where_they_belong(&node);
    sums_verify(&node.pack(&full));
    sums_verify(&node.data().join("exports/nightly/2026-02-27"));
    node.run(&["pack", "verify", node.data().to_str().unwrap()]).exits(0);
    for (script, what) in [("check_curated.py", "values"), ("check_gaps.py", "absences")] {
        if let Some(checked) = python(script, &[&node.data(), &real]) {
            assert_eq!(checked.code, Some(0), "{what}:\n{}{}", checked.out, checked.err);
        }
    }

    let asked = sim.stats.requests();
    let before = ["data_layer", "exports/datanode", "vault"].map(|f| tree(&node.data().join(f)));
    let again =
        node.nightly(&[]).exits(0).says(&["nothing to ask", "no curated byte changed", "nothing changed"]).json();
    assert_eq!(sim.stats.requests(), asked, "the second run asks nothing");
    for (name, c) in [("ingest", ["claims", "requests", "rows"]), ("backfill", ["claims", "requests", "rows"])] {
        counts(&again, name, &c.map(|k| (k, 0)));
    }
    counts(&again, "curate", &[("touched", 0), ("written", 0), ("rows", 0)]);
    counts(&again, "qc", &[("judged", 0), ("pages_written", 0)]);
    counts(&again, "audit", &[("absent", ABSENT), ("explained", ABSENT), ("missing", 0), ("pages_written", 0)]);
    assert_eq!(stage(&again, "export")["unchanged"], 1);
    assert_eq!(again["export_id"], full["export_id"], "the same pack stands");
    let after = ["data_layer", "exports/datanode", "vault"].map(|f| tree(&node.data().join(f)));
    assert!(before == after, "bytes or times of files changed");
}

/// The rows of the curated files, counted with our own reader (Python compares the values).
fn rows_are_where_they_belong(node: &Node) {
    use datanode_actors::frame::{Cell, read_curated};
    use datanode_schema::names::Dataset;
    let mut empty = 0;
    for (dataset, want) in
        [(Dataset::EquitiesBars, DAILY), (Dataset::EquitiesBarsMinute, MINUTE), (Dataset::MacroTreasury, TREASURY)]
    {
        let root = node.data().join("data_layer/curated").join(dataset.name());
        let tables: Vec<_> = tree(&root).keys().flat_map(|f| read_curated(&root.join(f), dataset).unwrap()).collect();
        let rows = || tables.iter().flat_map(|(_, t)| &t.rows);
        assert_eq!(rows().count(), want, "{dataset}");
        empty += rows().filter(|r| matches!(r.cell, Cell::Value(None))).count();
    }
    assert_eq!(empty, 6_428, "an empty value of a series is a null, not a zero and not a lost row");
}

/// The sums are in the form that coreutils read.
fn sums_verify(pack: &Path) {
    let done = run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS.stable.txt"]).current_dir(pack));
    done.exits(0);
}

#[test]
fn a_training_box_can_filter_sort_and_cut_what_is_packed() {
    let sim = Sim::seeded(3, 2, "");
    let node = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    node.nightly(&[]).exits(0);
    if let Some(checked) = python("check_curated.py", &[Path::new("--usable"), &node.data()]) {
        assert_eq!(checked.code, Some(0), "{}{}", checked.out, checked.err);
    }
}
