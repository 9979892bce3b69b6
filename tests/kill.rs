//! The process ends the hard way at any moment, and the next run gives what an uninterrupted one gives, byte for byte.
//!
//! Moments are drawn from a seed (`DATANODE_KILL_SEED`, default 1), so that a failure can be repeated.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;
use support::{Draw, Live, Node, REAL_NIGHT, SEEDED_NIGHT, Sim, differences, real_data, tree};

const MOMENTS: u64 = 20;
/// What may differ: state and logs hold times of this machine, sealings are random, keys are each node's own.
const OWN: [&str; 5] = ["state", "vault", "keys", "logs", "anchors"];
/// A week that the only vendor lacks, so that backfill has work.
const HOLES: &str = "alpaca: {holes: [{symbol: AAAB, from: 2025-06-09, to: 2025-06-13}]}";

fn seed() -> u64 {
    std::env::var("DATANODE_KILL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

/// One vendor a dataset: with two, whose answer a row is from depends on who was killed.
fn node(sim: &Sim, night: [&'static str; 4]) -> Node {
    Node::new(&sim.universe, night).vendors(&["alpaca", "fred"], sim)
}

/// Everything that must be the same in both folders, and nothing besides.
#[track_caller]
fn same(whole: &Node, killed: &Node, id: &str, what: &str) {
    let mut found = Vec::new();
    let names = |n: &Node| -> BTreeSet<String> {
        std::fs::read_dir(n.data()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    };
    let both: BTreeSet<String> = names(whole).union(&names(killed)).cloned().collect();
    for name in both.iter().filter(|n| !OWN.contains(&n.as_str())) {
        found.extend(
            differences(&whole.data().join(name), &killed.data().join(name)).iter().map(|d| format!("{name}/{d}")),
        );
    }
    // Manifests tell of every request that was answered: an answer whose commit the kill prevented is told twice.
    let manifests = found.iter().filter(|d| d.starts_with("data_layer/manifests/")).count();
    found.retain(|d| !(d.starts_with("data_layer/manifests/") && d.ends_with("other bytes")));
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
    assert!(tree(&killed.data().join("tmp")).is_empty(), "{what}: temps are left");
    if manifests > 0 {
        let told: BTreeSet<String> = whole.lines().into_iter().map(|l| l.request_id).collect();
        let again: BTreeSet<String> = killed.lines().into_iter().map(|l| l.request_id).collect();
        assert_eq!(told, again, "{what}: the manifests tell of other requests");
    }
    let vault = killed.data().join("vault");
    let opened = killed.root.path().join("opened");
    let key = killed.data().join("keys/node.key");
    let args =
        ["pack", "open", vault.to_str().unwrap(), "--to", opened.to_str().unwrap(), "--key", key.to_str().unwrap()];
    killed.run(&args).exits(0);
    let pack = whole.data().join("exports/datanode").join(format!("export_{id}"));
    let sealed = differences(&pack, &opened);
    assert!(sealed.is_empty(), "{what}: the sealing opens to another pack:\n{}", sealed.join("\n"));
    killed.run(&["pack", "verify", killed.data().to_str().unwrap()]).exits(0);
}

fn killed_by_itself(code: Option<i32>) -> bool {
    code.is_none()
}

#[test]
fn twenty_kills_at_drawn_moments_leave_what_an_uninterrupted_run_leaves() {
    let sim = Sim::seeded(4, 2, HOLES);
    let mut whole = node(&sim, SEEDED_NIGHT);
    let count = whole.root.path().join("count");
    whole.set("DATANODE_KILL_COUNT", count.to_str().unwrap());
    let done = whole.nightly(&[]).exits(0).json();
    let id = done["export_id"].as_str().unwrap().to_owned();
    let places: u64 = std::fs::read_to_string(&count).unwrap().parse().unwrap();
    assert!(places > 60, "{places} places to be killed at");
    let (seed, mut ended_early) = (seed(), 0);
    let mut draw = Draw(seed);
    // One draw in each twentieth of the run, so that no stage is left out.
    for moment in 0..MOMENTS {
        let at = 1 + (moment * places + draw.below(places)) / MOMENTS;
        let what = format!("seed {seed}, DATANODE_KILL_AT={at} of {places}");
        let mut n = node(&sim, SEEDED_NIGHT);
        n.set("DATANODE_KILL_AT", &at.to_string());
        let first = n.nightly(&[]);
        assert!(killed_by_itself(first.code) || first.code == Some(0), "{what}: {:?}\n{}", first.code, first.err);
        ended_early += u64::from(killed_by_itself(first.code));
        n.unset("DATANODE_KILL_AT");
        let second = n.nightly(&[]);
        assert_eq!(second.code, Some(0), "{what}: {}", second.err);
        assert_eq!(second.json()["export_id"], id.as_str(), "{what}");
        same(&whole, &n, &id, &what);
    }
    assert!(ended_early >= MOMENTS - 2, "only {ended_early} of {MOMENTS} runs were killed");
}

#[test]
fn kills_in_a_row_leave_what_an_uninterrupted_run_leaves() {
    let sim = Sim::seeded(4, 2, HOLES);
    let whole = node(&sim, SEEDED_NIGHT);
    let id = whole.nightly(&[]).exits(0).json()["export_id"].as_str().unwrap().to_owned();
    let mut n = node(&sim, SEEDED_NIGHT);
    let (mut draw, mut at) = (Draw(seed() ^ 0xdead), Vec::new());
    for _ in 0..8 {
        at.push(8 + draw.below(40));
        n.set("DATANODE_KILL_AT", &at[at.len() - 1].to_string());
        let code = n.nightly(&[]).code;
        assert!(killed_by_itself(code) || code == Some(0), "after kills at {at:?}: {code:?}");
    }
    n.unset("DATANODE_KILL_AT");
    n.nightly(&[]).exits(0);
    same(&whole, &n, &id, &format!("kills at {at:?}"));
}

#[test]
fn a_kill_from_outside_at_any_moment_leaves_what_an_uninterrupted_run_leaves() {
    let Some(real) = real_data() else { return };
    let sim = Sim::real(&real);
    let universe = thin(&sim.universe);
    let whole = Node::new(&universe, REAL_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let began = std::time::Instant::now();
    let id = whole.nightly(&[]).exits(0).json()["export_id"].as_str().unwrap().to_owned();
    let length = u64::try_from(began.elapsed().as_millis()).unwrap();
    let mut draw = Draw(seed() ^ 0xbeef);
    for third in 0..3 {
        let after = Duration::from_millis((third * length + draw.below(length)) / 3);
        let what = format!("SIGKILL after {after:?} of {length} ms");
        let n = Node::new(&universe, REAL_NIGHT).vendors(&["alpaca", "fred"], &sim);
        let mut c = n.command(&n.nightly_args(&[]));
        let live = Live::of(c.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        // Waiting for its end is what kills it when the time is over.
        drop(live.wait_at_most(after));
        n.nightly(&[]).exits(0);
        same(&whole, &n, &id, &what);
    }
}

#[test]
fn kills_while_all_of_the_real_data_arrives_leave_what_an_uninterrupted_run_leaves() {
    let Some(real) = real_data() else { return };
    let sim = Sim::real(&real);
    let mut whole = node(&sim, REAL_NIGHT);
    let count = whole.root.path().join("count");
    whole.set("DATANODE_KILL_COUNT", count.to_str().unwrap());
    let id = whole.nightly(&[]).exits(0).json()["export_id"].as_str().unwrap().to_owned();
    let places: u64 = std::fs::read_to_string(&count).unwrap().parse().unwrap();
    let mut draw = Draw(seed() ^ 0xf00d);
    let mut n = node(&sim, REAL_NIGHT);
    let mut at = Vec::new();
    // Three kills, one after the other, on one folder: what the first leaves, the second meets.
    for _ in 0..3 {
        at.push(1 + draw.below(places / 2));
        n.set("DATANODE_KILL_AT", &at[at.len() - 1].to_string());
        let code = n.nightly(&[]).code;
        assert!(killed_by_itself(code) || code == Some(0), "after kills at {at:?}: {code:?}");
    }
    n.unset("DATANODE_KILL_AT");
    n.nightly(&[]).exits(0);
    same(&whole, &n, &id, &format!("seed {}, kills at {at:?} of {places}", seed()));
}

/// The universe of the real data with a few symbols of each dataset, so that a run takes seconds on a small machine.
fn thin(universe: &str) -> String {
    let keep = ["UW:", "WMI:", "GOOGL:", "TWX:", "GOOG:", "SHY:", "DGS1MO:"];
    let wanted = |l: &&str| {
        let t = l.trim_start();
        !l.starts_with("    ") || keep.iter().any(|k| t.starts_with(k))
    };
    universe.lines().filter(wanted).map(|l| format!("{l}\n")).collect()
}

#[test]
fn what_a_kill_leaves_in_tmp_is_swept_and_a_torn_manifest_line_is_cut() {
    let sim = Sim::seeded(2, 1, "");
    let universe = "universe:\n  equities_bars:\n    AAAA: [{from: 2025-06-02, to: 2025-06-30}]\n";
    let alone = || Node::new(universe, SEEDED_NIGHT).vendors(&["alpaca"], &sim);
    let mut n = alone();
    n.set("DATANODE_KILL_AT", "files.before_sync:1");
    assert!(killed_by_itself(n.nightly(&[]).code));
    assert!(!tree(&n.data().join("tmp")).is_empty(), "the kill left temps behind");
    n.unset("DATANODE_KILL_AT");
    // As if the power had failed while the line of that answer was written.
    let folder = n.data().join("data_layer/manifests/alpaca/equities_bars");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("manifest-20250702T230000Z.jsonl"), "{\"v\":1,\"run\":\"2025").unwrap();
    let id = n.nightly(&[]).exits(0).json()["export_id"].as_str().unwrap().to_owned();
    let whole = alone();
    whole.nightly(&[]).exits(0);
    same(&whole, &n, &id, "killed before the first sync");
}

#[test]
fn the_same_seed_draws_the_same_moments() {
    let moments = |s| {
        let mut d = Draw(s);
        (0..20).map(|_| d.below(1000)).collect::<Vec<_>>()
    };
    assert_eq!(moments(1), moments(1));
    assert_ne!(moments(1), moments(2));
}
