//! What others can do with a sealed night without our code: open it by other libraries, byte for byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Node, SEEDED_NIGHT, Sim, differences, python};

fn has_age() -> bool {
    let there = Command::new("age").arg("--version").output().is_ok();
    if !there {
        eprintln!("SKIPPED: the program `age` is not there");
    }
    there
}

fn first_in(folder: &Path, end: &str) -> PathBuf {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    all.retain(|p| p.to_str().unwrap().ends_with(end));
    assert_eq!(all.len(), 1, "{} in {}", end, folder.display());
    all.remove(0)
}

#[test]
fn a_real_nights_vault_opens_by_other_libraries_alone_with_key_and_with_passphrase() {
    if !has_age() {
        return;
    }
    let sim = Sim::seeded(4, 2, "");
    let node = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let id = node.nightly(&[]).exits(0).json()["export_id"].as_str().unwrap().to_owned();
    let at = |n: &str| node.root.path().join(n);
    let pack = node.data().join("exports/datanode").join(format!("export_{id}"));
    let vault = node.data().join("vault");
    let descriptor = first_in(&vault.join("descriptors"), ".json");
    let uid = descriptor.file_stem().unwrap().to_str().unwrap().to_owned();
    std::fs::write(at("passphrase"), "six words that dice have drawn\n").unwrap();
    std::fs::write(at("wrong"), "six words that dice have thrown\n").unwrap();
    let passphrase = at("passphrase");
    let add = ["key", "add-recipient", "--passphrase-file", passphrase.to_str().unwrap(), "--name", "desk"];
    node.run(&add).exits(0);
    // Of several recipients each opens it by itself.
    let other = at("other.key");
    let public = node.run(&["key", "new", "--out", other.to_str().unwrap()]).exits(0).out;
    node.run(&["key", "add-recipient", public.trim(), "--name", "other"]).exits(0);
    node.run(&["key", "rotate", "--discard"]).exits(0);
    let (vault_arg, uid_arg) = (vault.as_path(), Path::new(&uid));
    for (n, key) in [node.data().join("keys/node.key"), other].iter().enumerate() {
        let to = at(&format!("opened-{n}"));
        let Some(ran) = python("open_without_us.py", &[vault_arg, uid_arg, key, &to]) else { return };
        ran.exits(0);
        let found = differences(&pack, &to);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
    let by = Path::new("--passphrase-file");
    let to = at("by-passphrase");
    python("open_without_us.py", &[vault_arg, uid_arg, by, &passphrase, &to]).unwrap().exits(0);
    assert!(differences(&pack, &to).is_empty());
    python("open_without_us.py", &[vault_arg, uid_arg, by, &at("wrong"), &at("none")])
        .unwrap()
        .exits(3)
        .says(&["no recipient"]);
    // One file of it; and that it is the pack's.
    let one = Path::new("data/qc/partition_status.parquet");
    let to = at("one");
    python("open_without_us.py", &[vault_arg, uid_arg, by, &passphrase, Path::new("--only"), one, &to])
        .unwrap()
        .exits(0);
    assert_eq!(std::fs::read(to.join(one)).unwrap(), std::fs::read(pack.join(one)).unwrap());
    // A lost object comes out of parity, and two lost ones of a group do not.
    let text: serde_json::Value = serde_json::from_slice(&std::fs::read(&descriptor).unwrap()).unwrap();
    let names: Vec<String> = ["data_objects", "manifest_objects"]
        .iter()
        .flat_map(|list| text[list].as_array().unwrap().iter().map(|o| o["object_blake3"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(text["parity"]["scheme"], "rs-20-1");
    let path = |name: &String| vault.join("chunks").join(&name[..2]).join(name);
    std::fs::remove_file(path(&names[0])).unwrap();
    let to = at("from-parity");
    let ran = python("open_without_us.py", &[vault_arg, uid_arg, by, &passphrase, &to]).unwrap().exits(0);
    ran.says(&["made again from parity"]);
    assert!(differences(&pack, &to).is_empty());
    std::fs::remove_file(path(&names[1])).unwrap();
    python("open_without_us.py", &[vault_arg, uid_arg, by, &passphrase, &at("none")]).unwrap().exits(3);
}

#[test]
fn the_published_vectors_are_what_other_libraries_give() {
    if !has_age() {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden/seal/vectors");
    if let Some(ran) = python("check_seal_vectors.py", &[&folder]) {
        ran.exits(0);
    }
}
