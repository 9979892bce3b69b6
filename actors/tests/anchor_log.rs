//! The anchor log grows, refuses another history, mends what it can, and its proofs stand for one sealing only.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod anchor_support;

use anchor_support::{copy, descriptor, descriptor_file, node, seal, uid};
use datanode_actors::anchor::{AnchorError, Consistency, Log, LogKey, Proof, anchor, entry_of, head, unanchored};
use datanode_actors::node::Node;
use datanode_schema::store::Batch;
use datanode_schema::trees::{ANCHORS, GENERATIONS, LOG_HEADS};
use std::path::Path;

fn log(dir: &Path) -> Log {
    Log::at(dir.join("anchors"))
}

fn public(node: &Node) -> String {
    node.publishing.anchor.key.public().to_owned()
}

fn proof(dir: &Path, n: u32) -> Proof {
    let path = log(dir).proof_path(&uid(n));
    Proof::decode("proof", &std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_sealing_enters_once_in_the_order_of_the_packs_and_its_proof_verifies_for_ever() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let node = node(dir, false);
    assert_eq!(anchor(&node).unwrap().size, 0);
    assert!(head(&dir.join("anchors"), &public(&node)).unwrap().is_none());
    let mut at = 0;
    // Over the edges of tiles, and one step that makes two of them full.
    for (to, step) in [(1, 1), (2, 1), (255, 253), (256, 1), (257, 1), (800, 543)] {
        seal(&node, dir, at..to);
        let did = anchor(&node).unwrap();
        assert_eq!((did.entries, did.size, did.proofs, did.mended, did.refused), (step, to.into(), step, 0, 0));
        let before = anchor_support_tree(dir);
        let again = anchor(&node).unwrap();
        assert_eq!((again.entries, again.size, again.proofs), (0, to.into(), 0));
        assert_eq!(anchor_support_tree(dir), before, "doing it again changes nothing");
        at = to;
    }
    assert_eq!(unanchored(&node).unwrap(), 0);
    for n in [0, 1, 254, 255, 256, 257, 799] {
        let proved = proof(dir, n).verify("p", &descriptor(n, 0, 3), &public(&node)).unwrap();
        assert_eq!(proved.index, u64::from(n));
        assert_eq!(proved.entry, entry_of(&dir.join("anchors"), &uid(n)).unwrap().unwrap());
        let kept = node.store.load(&ANCHORS, &hex::encode(uid(n))).unwrap().unwrap();
        assert_eq!(kept.index, u64::from(n));
    }
    // Each proof is of the checkpoint that first covered its sealing.
    assert_eq!(proof(dir, 1).verify("p", &descriptor(1, 0, 3), &public(&node)).unwrap().head.size, 2);
    assert!(entry_of(&dir.join("anchors"), &uid(5_000)).unwrap().is_none());
    // What became whole is not kept in parts as well.
    assert!(dir.join("anchors/tile/0/002").is_file() && !dir.join("anchors/tile/0/002.p").exists());
    assert!(!dir.join("anchors/tile/entries/000.p").exists() && dir.join("anchors/tile/1/000.p/3").is_file());
}

/// Names and bytes of the log.
fn anchor_support_tree(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut out = Vec::new();
    let mut open = vec![dir.join("anchors")];
    while let Some(folder) = open.pop() {
        for e in std::fs::read_dir(folder).unwrap() {
            let path = e.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => out.push((path.clone(), std::fs::read(&path).unwrap())),
            }
        }
    }
    out.sort();
    out
}

#[test]
fn an_older_or_another_log_is_refused_with_the_way_out_and_the_newer_one_brought_back_goes_on() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let node = node(dir, false);
    seal(&node, dir, 0..3);
    anchor(&node).unwrap();
    copy(&dir.join("anchors"), &dir.join("old"));
    seal(&node, dir, 3..5);
    anchor(&node).unwrap();
    copy(&dir.join("anchors"), &dir.join("new"));
    let put = |from: &str| {
        std::fs::remove_dir_all(dir.join("anchors")).unwrap();
        copy(&dir.join(from), &dir.join("anchors"));
    };
    put("old");
    let refused = anchor(&node).unwrap_err();
    assert!(matches!(&refused, AnchorError::RolledBack { .. }), "{refused}");
    for word in ["3 entries", "over 5", "replica", "keys/anchor.key"] {
        assert!(refused.to_string().contains(word), "{refused}");
    }
    // Gone is rolled back, too.
    std::fs::remove_dir_all(dir.join("anchors")).unwrap();
    assert!(matches!(anchor(&node), Err(AnchorError::RolledBack { .. })));
    // A history of the same key that is longer, but another one.
    let mut batch = Batch::new();
    let key = public(&node);
    let mut kept = node.store.load(&LOG_HEADS, &key).unwrap().unwrap();
    copy(&dir.join("new"), &dir.join("anchors"));
    kept.root = [1; 32];
    kept.size = 4;
    batch.put(&LOG_HEADS, &key, &kept).unwrap();
    node.store.commit(batch).unwrap();
    let other = anchor(&node).unwrap_err();
    assert!(other.to_string().contains("first 4 entries"), "{other}");
    // A state that is older than the folder goes on from the folder.
    let mut batch = Batch::new();
    kept.size = 3;
    kept.root = log(dir).root_at(log(dir).head(&key).unwrap().unwrap(), 3).unwrap();
    batch.put(&LOG_HEADS, &key, &kept).unwrap();
    node.store.commit(batch).unwrap();
    seal(&node, dir, 5..6);
    assert_eq!(anchor(&node).unwrap().size, 6);
    assert_eq!(node.store.load(&LOG_HEADS, &key).unwrap().unwrap().size, 6);
    // Another node's log in the place of ours.
    let key = LogKey::generate("test/log").unwrap();
    assert!(log(dir).head(key.public()).is_err());
}

#[test]
fn altered_entries_are_found_and_altered_tiles_are_made_again() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let node = node(dir, false);
    seal(&node, dir, 0..300);
    anchor(&node).unwrap();
    let whole = anchor_support_tree(dir);
    for (tile, bytes) in whole.iter().filter(|(p, _)| p.to_str().unwrap().contains("/tile/")) {
        let entries = tile.to_str().unwrap().contains("/entries/");
        for altered in [None, Some(bytes[..bytes.len() - 1].to_vec()), Some([&[bytes[0] ^ 1], &bytes[1..]].concat())] {
            match altered {
                None => std::fs::remove_file(tile).unwrap(),
                Some(b) => std::fs::write(tile, b).unwrap(),
            }
            match anchor(&node) {
                Err(AnchorError::Integrity { .. }) if entries => std::fs::write(tile, bytes).unwrap(),
                Ok(did) if !entries && did.mended == 1 => {}
                other => panic!("{}: {other:?}", tile.display()),
            }
            assert_eq!(anchor_support_tree(dir), whole);
        }
    }
    // Without mending, nothing is proved from a tile that does not give the root.
    let head = log(dir).head(&public(&node)).unwrap().unwrap();
    let tile = dir.join("anchors/tile/0/000");
    let mut bytes = std::fs::read(&tile).unwrap();
    bytes[40 * 32] ^= 4;
    std::fs::write(&tile, bytes).unwrap();
    assert!(matches!(
        log(dir).inclusion(head, 41, &entry_of(&dir.join("anchors"), &uid(41)).unwrap().unwrap().encode().unwrap()),
        Err(AnchorError::Integrity { .. })
    ));
    // What lies beyond the checkpoint is nobody's, and is written anew.
    std::fs::write(dir.join("anchors/tile/entries/001.p/45"), b"torn").unwrap();
    seal(&node, dir, 300..301);
    assert_eq!(anchor(&node).unwrap().size, 301);
    log(dir).book(log(dir).head(&public(&node)).unwrap().unwrap()).unwrap();
}

#[test]
fn a_descriptor_that_was_put_back_or_altered_is_not_the_one_that_was_anchored() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let node = node(dir, false);
    seal(&node, dir, 0..2);
    anchor(&node).unwrap();
    for other in [descriptor(0, 1, 3), descriptor(0, 0, 4)] {
        std::fs::write(descriptor_file(dir, 0), other.encode().unwrap()).unwrap();
        let did = anchor(&node).unwrap();
        assert_eq!((did.refused, did.entries), (1, 0));
        let entry = entry_of(&dir.join("anchors"), &uid(0)).unwrap().unwrap();
        assert!(entry.disagreement(&other).unwrap().is_some());
        assert!(proof(dir, 0).verify("p", &other, &public(&node)).is_err());
    }
    std::fs::write(descriptor_file(dir, 0), b"{}").unwrap();
    assert_eq!(anchor(&node).unwrap().refused, 1);
    // A proof of one sealing proves no other.
    assert!(proof(dir, 1).verify("p", &descriptor(0, 0, 3), &public(&node)).is_err());
}

#[test]
fn what_a_sealing_replaces_stands_in_the_log_and_cannot_be_told_otherwise() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let node = node(dir, false);
    seal(&node, dir, 0..1);
    anchor(&node).unwrap();
    let mut batch = Batch::new();
    batch.put(&GENERATIONS, &hex::encode(uid(1)), &hex::encode(uid(0))).unwrap();
    node.store.commit(batch).unwrap();
    seal(&node, dir, 1..2);
    anchor(&node).unwrap();
    let mut p = proof(dir, 1);
    assert_eq!(p.verify("p", &descriptor(1, 0, 3), &public(&node)).unwrap().entry.previous, Some(uid(0)));
    for lie in [None, Some(uid(7))] {
        p.previous = lie;
        assert!(p.verify("p", &descriptor(1, 0, 3), &public(&node)).is_err());
    }
}

#[test]
fn with_the_switch_each_object_of_a_sealing_has_an_entry_after_it() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let node = node(dir, true);
    seal(&node, dir, 0..100);
    assert_eq!(anchor(&node).unwrap().size, 400);
    let head = log(dir).head(&public(&node)).unwrap().unwrap();
    let places: Vec<u64> = (0..100).map(|n| log(dir).book(head).unwrap()[&uid(n)].0).collect();
    assert_eq!(places, (0..100).map(|n| n * 4).collect::<Vec<u64>>());
    let bundle = std::fs::read(dir.join("anchors/tile/entries/000")).unwrap();
    let text = String::from_utf8_lossy(&bundle);
    assert_eq!(text.matches("datanode-chunk/v1").count(), 192);
    for n in [0, 99] {
        proof(dir, n).verify("p", &descriptor(n, 0, 3), &public(&node)).unwrap();
    }
}

#[test]
fn each_bit_of_proof_descriptor_and_key_counts() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let node = node(dir, false);
    seal(&node, dir, 0..11);
    anchor(&node).unwrap();
    let (key, what) = (public(&node), descriptor(6, 0, 3));
    let good = std::fs::read(log(dir).proof_path(&uid(6))).unwrap();
    let verify = |proof: &[u8], descriptor: &[u8], key: &str| -> bool {
        let Ok(d) = datanode_actors::seal::Descriptor::decode("d", descriptor) else { return false };
        Proof::decode("p", proof).is_ok_and(|p| p.verify("p", &d, key).is_ok())
    };
    let text = what.encode().unwrap();
    assert!(verify(&good, &text, &key));
    let flips = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let all = (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit)));
        all.map(|(at, bit)| {
            let mut b = bytes.to_vec();
            b[at] ^= 1 << bit;
            b
        })
        .collect()
    };
    for (i, bad) in flips(&good).iter().enumerate() {
        assert!(!verify(bad, &text, &key), "bit {} of byte {} of the proof", i % 8, i / 8);
    }
    for (i, bad) in flips(&text).iter().enumerate() {
        assert!(!verify(&good, bad, &key), "bit {} of byte {} of the descriptor", i % 8, i / 8);
    }
    for (i, bad) in flips(key.as_bytes()).iter().enumerate() {
        let Ok(bad) = std::str::from_utf8(bad) else { continue };
        assert!(!verify(&good, &text, bad), "bit {} of byte {} of the key", i % 8, i / 8);
    }
    for cut in 0..good.len() {
        assert!(!verify(&good[..cut], &text, &key), "the first {cut} bytes of the proof");
    }
}

#[test]
fn the_log_only_grows_between_any_two_checkpoints_and_a_rewritten_one_is_told() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let node = node(dir, false);
    let mut heads = Vec::new();
    let mut at = 0;
    for to in [1, 2, 3, 7, 255, 256, 300, 513] {
        seal(&node, dir, at..to);
        anchor(&node).unwrap();
        heads.push(log(dir).head(&public(&node)).unwrap().unwrap());
        at = to;
    }
    let newest = *heads.last().unwrap();
    for old in &heads {
        assert_eq!(log(dir).root_at(newest, old.size).unwrap(), old.root);
        for new in heads.iter().filter(|n| n.size >= old.size) {
            let proof = Consistency::make(&log(dir), *new, old.size).unwrap();
            let again = Consistency::decode("c", &proof.encode()).unwrap();
            again.verify(*old, *new).unwrap();
            let mut other = *old;
            other.root[3] ^= 1;
            assert!(again.verify(other, *new).is_err());
            for i in 0..proof.hashes.len() {
                let mut bad = proof.clone();
                bad.hashes[i][0] ^= 1;
                assert!(bad.verify(*old, *new).is_err(), "{} to {}", old.size, new.size);
            }
        }
    }
    assert!(Consistency::make(&log(dir), newest, 514).is_err() && Consistency::make(&log(dir), newest, 0).is_err());
}
