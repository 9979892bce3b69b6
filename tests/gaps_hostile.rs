//! What a kill between two steps, a vendor that is switched off and nights without news make of gaps, evidence and verdicts: the
//! real binary against the simulator. Each test says what must be true.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_schema::names::{Dataset, Reason};
use datanode_vendorsim::{Seeded, Source};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::{Node, SEEDED_NIGHT, Sim, stage, verdicts};

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

fn findings(n: &Node, now: &str) -> Value {
    n.run(&["audit", "--deep", "--json", "--now", now]).exits(0).json()["deep"]["findings"].clone()
}

/// The answer's files are in place, their manifest line is not yet: the next run must write that line, or the deep audit takes
/// whole files for foreign ones, and forgets what they hold.
#[test]
fn a_kill_between_a_raw_file_and_its_manifest_line_makes_no_foreign_file() {
    let sim = market(11);
    let mut n = Node::new(UNIVERSE, FRIDAY).vendors(&["alpaca"], &sim);
    n.set("DATANODE_KILL_AT", "files.renamed:1");
    assert_eq!(n.nightly(&[]).code, None, "killed");
    n.unset("DATANODE_KILL_AT");
    n.nightly(&[]).exits(0);
    assert_eq!(findings(&n, "2025-06-28T23:30:00Z"), json!([]));
}

/// The same, and the night is not begun again: another one comes. Each row still leads to the line of its request.
#[test]
fn after_a_kill_and_another_night_every_row_leads_to_its_line() {
    let sim = market(11);
    let mut n = Node::new(UNIVERSE, FRIDAY).vendors(&["alpaca"], &sim);
    n.set("DATANODE_KILL_AT", "files.renamed:1");
    assert_eq!(n.nightly(&[]).code, None, "killed");
    n.unset("DATANODE_KILL_AT");
    n.run(&[&["nightly", "--json"], &MONDAY[..]].concat()).exits(0);
    let told: BTreeSet<String> = n.lines().into_iter().map(|l| l.request_id).collect();
    let curated = n.data().join("data_layer/curated");
    let mut unknown = 0;
    for file in support::tree(&curated).into_keys() {
        for (_, table) in datanode_actors::frame::read_curated(&curated.join(file), Dataset::EquitiesBars).unwrap() {
            unknown += table.origins.iter().filter(|o| !told.contains(&*o.request_id)).count();
        }
    }
    assert_eq!(unknown, 0, "requests of which rows speak and no manifest does");
}

/// The restatement is on the disk, its commit is not: that the values were others before must still be known.
#[test]
fn a_kill_between_a_restatement_and_its_commit_forgets_no_restatement() {
    let restated_of = |kill: &str| {
        let before = market(11);
        let n = Node::new(UNIVERSE, FRIDAY).vendors(&["alpaca"], &before);
        n.nightly(&[]).exits(0);
        let after = market(12);
        let mut n = n.vendors(&["alpaca"], &after);
        let args = [&["nightly", "--json"], &MONDAY[..]].concat();
        n.set("DATANODE_KILL_AT", kill);
        n.run(&args);
        n.unset("DATANODE_KILL_AT");
        n.run(&args).exits(0);
        assert_eq!(findings(&n, "2025-07-01T23:30:00Z"), json!([]), "{kill}");
        let restated = |d: &datanode_schema::records::LedgerDay| d.reasons & Reason::RESTATED.bit != 0;
        verdicts::ledger(&n).into_values().flatten().filter(restated).count()
    };
    // Two answers come, the new session and the lookback, in either order, before the kill and after it: each order in some try.
    let places = ["none:1", "files.published:1", "files.published:2"];
    for place in places.into_iter().chain([places[1]; 6]) {
        assert_eq!(restated_of(place), 2, "sessions that the lookback found changed, killed at {place}");
    }
}

/// Two vendors, sessions that one of them or both lack: when all is said, a night without news writes nothing.
#[test]
fn nights_without_news_come_to_rest() {
    let faults = "alpaca: {holes: [{symbol: AAAB, from: 2025-06-09, to: 2025-06-13}, {symbol: AAAC, from: 2025-06-16, to: 2025-06-17}]}\n\
                  massive: {holes: [{symbol: AAAB, from: 2025-06-11, to: 2025-06-13}]}";
    let sim = Sim::seeded(4, 2, faults);
    let n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "massive", "fred"], &sim);
    let mut said: Vec<(u64, u64, u64)> = Vec::new();
    for d in 2..12 {
        let now = format!("2025-07-{d:02}T23:00:00Z");
        let s = n.run(&["nightly", "--json", "--now", &now, "--as-of", "2025-06-30"]).exits(0).json();
        let of = |name: &str, what: &str| stage(&s, name)[what].as_u64().unwrap();
        said.push((of("audit", "pages_written"), of("qc", "pages_written"), of("export", "unchanged")));
    }
    assert_eq!(said[7..], [(0, 0, 1); 3], "{said:?}");
}

/// The vendors are switched off for one night.
#[test]
fn a_night_with_all_vendors_off_changes_no_verdict_and_makes_no_new_pack() {
    let faults = "alpaca: {holes: [{symbol: AAAB, from: 2025-06-09, to: 2025-06-13}]}";
    let sim = Sim::seeded(4, 2, faults);
    let mut universe = sim.universe.clone();
    if !universe.contains("corporate_actions") {
        universe += "  corporate_actions:\n    AAAA: [{from: 2025-06-02}]\n";
    }
    let mut n = Node::new(&universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    for d in 2..7 {
        let now = format!("2025-07-{d:02}T23:00:00Z");
        n.run(&["nightly", "--json", "--now", &now, "--as-of", "2025-06-30"]).exits(0);
    }
    let before = verdicts::shown(&n);
    n.set("DATANODE__VENDORS__ALPACA__ENABLED", "false");
    n.set("DATANODE__VENDORS__FRED__ENABLED", "false");
    let s = n.run(&["nightly", "--json", "--now", "2025-07-07T23:00:00Z", "--as-of", "2025-06-30"]).exits(0).json();
    assert_eq!(verdicts::shown(&n), before);
    assert_eq!(
        (&stage(&s, "audit")["pages_written"], &stage(&s, "qc")["pages_written"]),
        (&json!(0), &json!(0)),
        "{s}"
    );
}
