//! The vault keeps what it was given, and removal loses nothing that a pack needs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod seal_support;

use std::collections::BTreeSet;
use std::fs;

use datanode_actors::seal::{self, Kind, PackKey};
use datanode_actors::vault::Vault;
use seal_support::*;

#[test]
fn an_object_is_stored_once_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    let hash = vault.put(b"object").unwrap();
    assert_eq!(hash, *blake3::hash(b"object").as_bytes());
    assert_eq!(vault.put(b"object").unwrap(), hash);
    assert_eq!(vault.get(&hash, 6).unwrap(), b"object");
    assert_eq!(vault.get(&hash, 5).unwrap_err().kind(), Kind::Integrity);
    assert_eq!(vault.get(&[0; 32], 5).unwrap_err().kind(), Kind::NotFound);
    for rot in [&b"objecT"[..], b"objec", b"object and more", b""] {
        fs::write(vault.object_path(&hash), rot).unwrap();
        assert_eq!(vault.put(b"object").unwrap_err().kind(), Kind::Integrity, "{rot:?}");
        assert_eq!(fs::read(vault.object_path(&hash)).unwrap(), rot);
        assert!(vault.get(&hash, 100).is_err());
    }
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn sixteen_writers_of_one_object_leave_one_object() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    let object = noise("race", 100_000);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| vault.put(&object).unwrap());
        }
    });
    assert_eq!(tree(dir.path()).len(), 1);
}

/// Two packs sealed apart, a third that borrows from the first.
fn three_packs() -> (Fixture, PackKey) {
    let fixture = Fixture::new();
    let other = PackKey::from_bytes([2; 32]);
    write_pack(&fixture.dir.path().join("pack2"), &[("data/x", noise("x", 100))]);
    seal_pack(&fixture.vault, &fixture.dir.path().join("pack2"), [2; 16], &other);
    let base = Some(seal::Base { pack_uid: UID, key: &fixture.key });
    let mut files = mixed_files();
    files.push(("data/y", noise("y", 100)));
    let pack = fixture.dir.path().join("pack3");
    write_pack(&pack, &files);
    let plan =
        seal::SealPlan { pack_dir: &pack, pack_uid: [3; 16], generation: 0, chunk_size: CHUNK, threads: 2, base };
    assert!(seal::seal(&fixture.vault, &other, &plan).unwrap().borrowed_files > 0);
    (fixture, other)
}

#[test]
fn removal_takes_what_no_kept_pack_names_and_emptying_the_trash_deletes_it() {
    let (fixture, other) = three_packs();
    let stray = fixture.vault.put(b"left by a sealing that never finished").unwrap();
    let removed = fixture.vault.remove_unreferenced(&BTreeSet::from([[3; 16]]), "2024-01-02").unwrap();
    assert_eq!((removed.packs, removed.objects), (1, 4), "{removed:?}");
    assert_eq!(fixture.vault.descriptors().unwrap(), [[3; 16], UID], "a required sealing stays");
    assert!(
        seal::verify(&fixture.vault, [3; 16], Some(&other))
            .unwrap()
            .findings
            .iter()
            .all(|f| f.to_string().contains("stanza"))
    );
    assert!(fixture.verify().unwrap().is_ok());
    assert!(fixture.vault.root().join("trash/2024-01-02/descriptors").is_dir());
    let again = fixture.vault.remove_unreferenced(&BTreeSet::from([[3; 16]]), "2024-01-02").unwrap();
    assert_eq!((again.packs, again.objects), (0, 0));
    assert_eq!(fixture.vault.empty_trash("2024-01-02").unwrap().deleted, 0, "not before its day is over");
    assert_eq!(fixture.vault.empty_trash("2024-01-03").unwrap().deleted, 4);
    assert!(fixture.vault.get(&stray, 100).is_err());
    assert!(fixture.vault.remove_unreferenced(&BTreeSet::new(), "../../etc").is_err());
}

#[test]
fn what_a_late_descriptor_names_comes_back_from_the_trash() {
    let (fixture, other) = three_packs();
    let path = fixture.vault.descriptor_path(&[2; 16]);
    let late = fs::read(&path).unwrap();
    fixture.vault.remove_unreferenced(&BTreeSet::from([[3; 16]]), "2024-01-02").unwrap();
    fs::write(&path, late).unwrap();
    assert!(!seal::check(&fixture.vault, [2; 16]).unwrap().is_ok());
    let emptied = fixture.vault.empty_trash("2024-02-01").unwrap();
    assert_eq!((emptied.restored, emptied.deleted), (3, 0));
    let report = seal::verify(&fixture.vault, [2; 16], Some(&other)).unwrap();
    assert!(report.findings.iter().all(|finding| finding.to_string().contains("stanza")), "{report:?}");
}

#[test]
fn a_collector_killed_half_way_is_finished_by_the_next_one() {
    let (fixture, _) = three_packs();
    // Killed after the descriptor of pack 2 and one of its objects went.
    let objects: Vec<_> = fixture.vault.descriptor(&[2; 16]).unwrap().leaves().cloned().collect();
    let trash = fixture.vault.root().join("trash/2024-01-02");
    let home = fixture.vault.object_path(&objects[0].object_blake3);
    let there = trash.join(home.strip_prefix(fixture.vault.root()).unwrap());
    fs::create_dir_all(there.parent().unwrap()).unwrap();
    fs::rename(&home, there).unwrap();
    fs::remove_file(fixture.vault.descriptor_path(&[2; 16])).unwrap();
    let removed = fixture.vault.remove_unreferenced(&BTreeSet::from([[3; 16]]), "2024-01-03").unwrap();
    assert_eq!(removed.objects, objects.len() - 1);
    assert!(fixture.verify().unwrap().is_ok());
}

#[test]
fn nothing_is_removed_while_a_descriptor_cannot_be_read_or_a_writer_works() {
    let (fixture, _) = three_packs();
    let before = tree(fixture.vault.root());
    let keep = BTreeSet::from([[3; 16]]);
    let writer = fixture.vault.lock_shared().unwrap();
    let also = fixture.vault.lock_shared().unwrap();
    assert_eq!(fixture.vault.remove_unreferenced(&keep, "2024-01-02").unwrap_err().kind(), Kind::Busy);
    assert_eq!(fixture.vault.sweep().unwrap_err().kind(), Kind::Busy);
    drop((writer, also));
    let path = fixture.vault.descriptor_path(&[2; 16]);
    fs::write(&path, b"{}\n").unwrap();
    assert!(fixture.vault.remove_unreferenced(&keep, "2024-01-02").is_err());
    fs::write(&path, &before[&format!("descriptors/{}.json", hex::encode([2; 16]))]).unwrap();
    fs::write(fixture.vault.root().join("descriptors/copy of.json"), b"").unwrap();
    assert!(fixture.vault.remove_unreferenced(&keep, "2024-01-02").is_err());
    fs::remove_file(fixture.vault.root().join("descriptors/copy of.json")).unwrap();
    assert_eq!(tree(fixture.vault.root()), before);
    let guard = fixture.vault.lock_exclusive().unwrap();
    assert_eq!(try_seal(&fixture.vault, &fixture.pack(), [4; 16], &key(), 1).unwrap_err().kind(), Kind::Busy);
    drop(guard);
}

#[test]
fn a_uid_is_sealed_once() {
    let fixture = Fixture::new();
    let pack = fixture.dir.path().join("other");
    write_pack(&pack, &[("data/x", noise("x", 100))]);
    let error = try_seal(&fixture.vault, &pack, UID, &fixture.key, 1).unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    assert!(fixture.verify().unwrap().is_ok());
}
