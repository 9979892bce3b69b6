//! Test vectors of the anchor log in fixtures/golden/anchor: what is published must come out the same for ever. `fixtures/check_anchor.py`
//! verifies them with hashlib and cryptography alone. `UPDATE_GOLDEN=1` writes files that are not there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod anchor_support;

use anchor_support::{descriptor, node, seal, uid};
use datanode_actors::anchor::{Consistency, Head, Log, LogKey, Proof, anchor};
use datanode_schema::store::Batch;
use datanode_schema::trees::GENERATIONS;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/anchor")
}

/// The published file, after comparing it with what the code gives now.
#[track_caller]
fn golden(name: &str, now: &Value) {
    let path = folder().join(name);
    let text = serde_json::to_string_pretty(now).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !path.exists() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == text, "{name} is not what was published; now:\n{text}");
}

/// The vectors' own key: known to everybody, so good for nothing else.
fn known_key(dir: &Path) {
    let (path, published) = (dir.join("keys/anchor.key"), folder().join("key.txt"));
    std::fs::create_dir_all(dir.join("keys")).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !published.exists() {
        std::fs::create_dir_all(folder()).unwrap();
        LogKey::generate("vectors.example/log").unwrap().write_new(&published).unwrap();
    }
    std::fs::copy(&published, &path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn entries_checkpoints_and_proofs_are_those_that_were_published() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    known_key(dir);
    let node = node(dir, false);
    let key = node.publishing.anchor.key.clone();
    let log = Log::at(dir.join("anchors"));
    let mut batch = Batch::new();
    batch.put(&GENERATIONS, &hex::encode(uid(4)), &hex::encode(uid(2))).unwrap();
    node.store.commit(batch).unwrap();
    let (mut heads, mut at): (Vec<(Head, Vec<u8>)>, u32) = (Vec::new(), 0);
    for to in [1, 2, 5, 7] {
        seal(&node, dir, at..to);
        anchor(&node).unwrap();
        heads.push((log.head(key.public()).unwrap().unwrap(), log.checkpoint().unwrap().unwrap()));
        at = to;
    }
    let (newest, note) = heads.last().unwrap();
    let book = log.book(*newest).unwrap();
    let entry = |n: u32| text(&book[&uid(n)].1.encode().unwrap());
    let of = |n: u32| text(&descriptor(n, 0, 3).encode().unwrap());
    let leaf = |n: u32| {
        use sha2::Digest;
        hex::encode(sha2::Sha256::digest([b"\0", entry(n).as_bytes()].concat()))
    };
    let entries: Vec<Value> = [0, 4]
        .iter()
        .map(|n| {
            json!({"descriptor": of(*n), "previous": book[&uid(*n)].1.previous.map(hex::encode), "entry": entry(*n),
                "leaf_sha256": leaf(*n)})
        })
        .collect();
    golden("entry.json", &json!(entries));
    let checkpoints: Vec<Value> = heads
        .iter()
        .map(|(h, note)| json!({"size": h.size, "root": hex::encode(h.root), "note": text(note)}))
        .collect();
    let mut grown = Vec::new();
    for (old, _) in &heads {
        for (new, _) in heads.iter().filter(|(n, _)| n.size >= old.size) {
            let hashes: Vec<String> =
                Consistency::make(&log, *new, old.size).unwrap().hashes.iter().map(hex::encode).collect();
            grown.push(json!({"old": old.size, "new": new.size, "hashes": hashes}));
        }
    }
    let all: Vec<String> = (0..7).map(entry).collect();
    golden(
        "checkpoint.json",
        &json!({"public_key": key.public(), "entries": all, "checkpoints": checkpoints, "consistency": grown}),
    );
    let mut proofs = Vec::new();
    for n in 0..7 {
        let (index, e) = &book[&uid(n)];
        let made = text(&Proof::make(&log, note, *newest, *index, e).unwrap().encode().unwrap());
        let mut add = |why: &str, proof: String, descriptor: String, valid: bool| {
            let size = newest.size;
            let decoded = Proof::decode(why, proof.as_bytes());
            let d = datanode_actors::seal::Descriptor::decode(why, descriptor.as_bytes());
            let verified = matches!((decoded, d), (Ok(p), Ok(d)) if p.verify(why, &d, key.public()).is_ok());
            assert_eq!(verified, valid, "{why}");
            proofs.push(json!({"why": why, "proof": proof, "descriptor": descriptor, "public_key": key.public(),
                "index": index, "size": size, "valid": valid}));
        };
        add("as the log gives it", made.clone(), of(n), true);
        if n == 4 {
            add("another sealing's descriptor", made.clone(), of(3), false);
            add("another index", made.replace("index 4", "index 5"), of(n), false);
            let mut lines: Vec<&str> = made.lines().collect();
            let hash = lines.remove(3);
            add("a hash is lacking", lines.join("\n") + "\n", of(n), false);
            lines.insert(4, hash);
            add("hashes are swapped", lines.join("\n") + "\n", of(n), false);
            let other = LogKey::generate("vectors.example/log").unwrap();
            assert!(
                Proof::decode("p", made.as_bytes()).unwrap().verify("p", &descriptor(n, 0, 3), other.public()).is_err()
            );
            let extra = |p: &str| p.lines().nth(1).unwrap().to_owned();
            let (_, first) = &book[&uid(0)];
            let none = text(&Proof::make(&log, note, *newest, 0, first).unwrap().encode().unwrap());
            add("what it replaces is denied", made.replace(&extra(&made), &extra(&none)), of(n), false);
            add("another root", made.replace(&format!("\n{}\n", 7), "\n6\n"), of(n), false);
        }
    }
    golden("proof.json", &json!(proofs));
}

#[test]
fn python_verifies_the_published_vectors_with_nothing_of_ours() {
    let Some(python) = std::env::var_os("DATANODE_PYTHON") else {
        eprintln!("SKIPPED: DATANODE_PYTHON names no Python with fixtures/requirements.txt installed");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/check_anchor.py");
    let ran = Command::new(python).arg(script).arg("vectors").arg(folder()).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(String::from_utf8_lossy(&ran.stdout).contains("13 proofs"), "{}", String::from_utf8_lossy(&ran.stdout));
}
