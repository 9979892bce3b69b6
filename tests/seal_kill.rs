//! Killed at every place of sealing, the next night goes on with the very same objects.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::seal::Descriptor;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use support::{Node, SEEDED_NIGHT, Sim, counts, differences};

/// Every place, in the order in which a sealing passes them; some are passed many times.
const PLACES: [&str; 8] = [
    "seal.begun",
    "seal.prepared",
    "seal.written",
    "seal.synced",
    "seal.linked",
    "seal.objects",
    "seal.stored",
    "seal.recorded",
];

fn node(sim: &Sim) -> Node {
    Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], sim)
}

/// The vault's objects.
fn objects(vault: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in std::fs::read_dir(vault.join("chunks")).unwrap() {
        for object in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = object.unwrap().path();
            found.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn descriptors(vault: &Path) -> Vec<Descriptor> {
    let read = |path: std::path::PathBuf| Descriptor::decode("d", &std::fs::read(path).unwrap()).unwrap();
    std::fs::read_dir(vault.join("descriptors")).unwrap().map(|entry| read(entry.unwrap().path())).collect()
}

#[test]
fn killed_at_any_place_of_sealing_the_next_run_goes_on_with_the_same_objects() {
    let sim = Sim::seeded(4, 2, "");
    let whole = node(&sim);
    let first = whole.nightly(&[]).exits(0).json();
    let id = first["export_id"].as_str().unwrap().to_owned();
    counts(&first, "seal", &[("caught_up", 0), ("failed", 0), ("repacked", 0)]);
    for place in PLACES {
        for time in [1, 2] {
            let what = format!("DATANODE_KILL_AT={place}:{time}");
            let mut n = node(&sim);
            n.set("DATANODE_KILL_AT", &format!("{place}:{time}"));
            let killed = n.nightly(&[]);
            if killed.code == Some(0) && time == 2 {
                continue;
            }
            assert_eq!(killed.code, None, "{what}: it was not killed\n{}", killed.err);
            n.unset("DATANODE_KILL_AT");
            let vault = n.data().join("vault");
            let before = if vault.join("chunks").is_dir() { objects(&vault) } else { BTreeMap::new() };
            let committed = descriptors(&vault);
            for (name, bytes) in &before {
                assert_eq!(*name, blake3::hash(bytes).to_hex().as_str(), "{what}: an object that is not whole");
            }
            let second = n.nightly(&[]).exits(0).json();
            assert_eq!(second["export_id"], id.as_str(), "{what}");
            let after = objects(&vault);
            let sealings = descriptors(&vault);
            assert_eq!(sealings.len(), 1, "{what}");
            let named: BTreeSet<String> = sealings[0].leaves().map(|o| hex::encode(o.object_blake3)).collect();
            // Every object that the killed run had linked is one of the finished sealing: it came out the same.
            assert!(before.keys().all(|name| named.contains(name)), "{what}: objects of the killed run are not needed");
            assert!(after.keys().eq(named.iter()), "{what}");
            assert!(committed.iter().all(|one| *one == sealings[0]), "{what}: a commit was made twice");
            assert_eq!(std::fs::read_dir(vault.join("stanzas")).unwrap().count(), 2, "{what}: one key, one stanza");
            assert_eq!(std::fs::read_dir(vault.join("tmp")).unwrap().count(), 0, "{what}: temps are left");
            let to = n.root.path().join("opened");
            let key = n.data().join("keys/node.key");
            let (vault, to_arg, key) = (vault.to_str().unwrap(), to.to_str().unwrap(), key.to_str().unwrap());
            n.run(&["pack", "open", vault, "--to", to_arg, "--key", key]).exits(0);
            let found = differences(&whole.data().join(format!("exports/datanode/export_{id}")), &to);
            assert!(found.is_empty(), "{what}: {found:?}");
        }
    }
}
