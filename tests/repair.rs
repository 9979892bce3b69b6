//! Files of ours that are gone or altered: nothing of it is published, nothing is lost in silence, and the next run makes
//! it whole again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use support::{Node, SEEDED_NIGHT, Sim, counts, differences, tree};

fn made() -> (Sim, Node) {
    let sim = Sim::seeded(3, 2, "");
    let node = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    node.nightly(&[]).exits(0);
    (sim, node)
}

/// A later evening, as of the same session: a pack of its own.
fn next_evening(node: &Node) -> support::Ran {
    node.run(&["nightly", "--json", "--now", "2025-07-03T23:00:00Z", "--as-of", "2025-06-30"])
}

fn one(root: &Path, part: &str) -> PathBuf {
    let found = tree(root).into_keys().find(|p| p.contains(part));
    root.join(found.unwrap_or_else(|| panic!("no {part} below {}", root.display())))
}

#[test]
fn a_raw_file_that_is_gone_is_missed_and_asked_for_again() {
    let (sim, node) = made();
    let before = tempfile::tempdir().unwrap();
    support::copy(&node.data().join("data_layer/curated"), before.path());
    let raw = one(&node.data().join("data_layer/raw/alpaca"), "equities_bars/year=2025");
    std::fs::remove_file(&raw).unwrap();
    let curated = one(&node.data().join("data_layer/curated"), "equities_bars/year=2025");
    std::fs::remove_file(&curated).unwrap();
    node.nightly(&[]).exits(3).says(&["the file is gone", "run `datanode nightly` again"]);
    sim.stats.reset();
    let whole = next_evening(&node).exits(0).json();
    assert!(sim.stats.requests() > 0, "what it held is asked for again");
    counts(&whole, "export", &[("unchanged", 0)]);
    counts(&whole, "audit", &[("absent", 0)]);
    let read = |root: &Path| tree(root).into_keys().collect::<Vec<_>>();
    assert_eq!(read(before.path()), read(&node.data().join("data_layer/curated")));
}

#[test]
fn a_damaged_raw_file_is_set_aside_and_asked_for_again() {
    let (_sim, node) = made();
    let raw = one(&node.data().join("data_layer/raw/alpaca"), "equities_bars_minute/date=");
    let curated = one(&node.data().join("data_layer/curated"), "equities_bars_minute/date=");
    let bytes = std::fs::read(&raw).unwrap();
    std::fs::write(&raw, &bytes[..bytes.len() / 2]).unwrap();
    std::fs::remove_file(&curated).unwrap();
    node.nightly(&[]).exits(3).says(&["what it held is forgotten"]);
    assert!(raw.with_file_name("data.damaged.parquet").is_file(), "nothing is deleted");
    next_evening(&node).exits(0);
    assert!(raw.is_file());
}

#[test]
fn a_curated_file_that_is_gone_is_made_again_with_the_same_bytes() {
    let (sim, node) = made();
    let before = tempfile::tempdir().unwrap();
    support::copy(&node.data().join("data_layer/curated"), before.path());
    let curated = one(&node.data().join("data_layer/curated"), "macro_treasury");
    std::fs::remove_file(&curated).unwrap();
    sim.stats.reset();
    let again = node.nightly(&[]).exits(0).json();
    counts(&again, "curate", &[("written", 1)]);
    counts(&again, "export", &[("unchanged", 1)]);
    assert_eq!(sim.stats.requests(), 0, "raw has it");
    assert_eq!(differences(before.path(), &node.data().join("data_layer/curated")), Vec::<String>::new());
}

#[test]
fn a_curated_file_that_was_altered_is_never_published() {
    let (_sim, node) = made();
    let packs = || tree(&node.data().join("exports/datanode")).len();
    let before = packs();
    let curated = one(&node.data().join("data_layer/curated"), "equities_bars/year=2025");
    // Not through its links: the file is replaced by an altered one of the same length.
    let mut bytes = std::fs::read(&curated).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&curated).unwrap();
    std::fs::write(&curated, bytes).unwrap();
    node.nightly(&[]).exits(3).says(&["no pack", "its SHA-256 is another"]);
    assert_eq!(packs(), before);
    std::fs::remove_file(&curated).unwrap();
    node.nightly(&[]).exits(0);
    node.run(&["pack", "verify", node.data().to_str().unwrap()]).exits(0);
}

#[test]
fn a_key_that_is_gone_is_not_replaced_while_packs_are_sealed_with_it() {
    let (_sim, node) = made();
    let key = node.data().join("keys/node.key");
    std::fs::remove_file(&key).unwrap();
    node.nightly(&[]).exits(2).says(&["the node's key is gone"]);
    assert!(!key.exists());
}

#[test]
fn an_export_alone_waits_for_the_stages_before_it() {
    let sim = Sim::seeded(2, 0, "");
    let node = Node::new(&sim.daily(), SEEDED_NIGHT).vendors(&["alpaca"], &sim);
    node.nightly(&["--stages", "ingest,curate,qc,export"]).exits(1).says(&["no pack", "wait for the audit stage"]);
    node.nightly(&[]).exits(0);
}

#[test]
fn what_is_shipped_arrives_whole_and_verifies_where_it_is() {
    let sim = Sim::seeded(2, 1, "");
    let mut node = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let there = node.root.path().join("there");
    node.set("DATANODE__SHIP__FOLDER", there.to_str().unwrap());
    node.set("DATANODE_KILL_AT", "ship.copied:3");
    node.nightly(&[]);
    node.unset("DATANODE_KILL_AT");
    node.nightly(&[]).exits(0);
    let pack = one(&there, "manifest.json").parent().unwrap().to_owned();
    node.run(&["pack", "verify", pack.to_str().unwrap()]).exits(0);
    let sealed = one(&there, "descriptors/").parent().unwrap().parent().unwrap().to_owned();
    let (key, opened) = (node.data().join("keys/node.key"), node.root.path().join("opened"));
    let args =
        ["pack", "open", sealed.to_str().unwrap(), "--key", key.to_str().unwrap(), "--to", opened.to_str().unwrap()];
    node.run(&args).exits(0);
    assert_eq!(differences(&pack, &opened), Vec::<String>::new());
}

/// One flipped bit that leaves a file readable is found by its sum, and by nothing else.
#[test]
fn the_deep_audit_finds_a_flipped_bit_a_lost_file_and_an_altered_curated_file_and_a_night_mends_them() {
    let (_sim, node) = made();
    let deep = |now: &str| node.run(&["audit", "--deep", "--json", "--now", now]);
    let clean = deep("2025-07-02T01:00:00Z").exits(0).json();
    assert_eq!(clean["deep"]["findings"], serde_json::json!([]));
    assert!(clean["deep"]["raw_files"].as_u64().unwrap() > 5 && clean["deep"]["rows"].as_u64().unwrap() > 1000);

    let raw = one(&node.data().join("data_layer/raw/alpaca"), "equities_bars/year=2025");
    let mut bytes = std::fs::read(&raw).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    std::fs::write(&raw, &bytes).unwrap();
    let gone = one(&node.data().join("data_layer/raw/alpaca"), "equities_bars_minute/date=");
    std::fs::remove_file(&gone).unwrap();
    let curated = one(&node.data().join("data_layer/curated"), "macro_treasury/year=");
    let mut bytes = std::fs::read(&curated).unwrap();
    bytes[middle % 100] ^= 1;
    std::fs::write(&curated, &bytes).unwrap();

    let ran = deep("2025-07-02T02:00:00Z").exits(3).says(&["3 files are lost or altered", "datanode nightly"]);
    let found = ran.json();
    let named: Vec<&str> =
        found["deep"]["findings"].as_array().unwrap().iter().filter_map(|f| f["what"].as_str()).collect();
    assert_eq!(
        named,
        [
            "its bytes are not those that were written",
            "its bytes are not those that the manifest names",
            "the file is gone"
        ]
    );
    next_evening(&node).exits(0);
    let mended = deep("2025-07-04T01:00:00Z").exits(0).json();
    assert_eq!(mended["deep"]["findings"], serde_json::json!([]));
    assert_eq!(mended["deep"]["rows"], clean["deep"]["rows"]);
}
