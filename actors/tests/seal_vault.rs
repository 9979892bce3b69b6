//! The vault keeps what it was given, and removal loses nothing that a pack needs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod seal_support;

use std::collections::BTreeSet;
use std::fs;

use datanode_actors::seal::{self, Kind, PackKey, PackUid};
use datanode_actors::vault::{Collect, Collected, Vault};
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

/// Days as seconds, for the collector.
const DAY: i64 = 86_400;

fn collect(vault: &Vault, keep: &BTreeSet<PackUid>, day: i64, log: u64) -> Result<Collected, seal::SealError> {
    let begun = BTreeSet::new();
    vault.collect(&Collect { keep, begun: &begun, now: day * DAY, wait: 7 * DAY, log: Some(log) })
}

/// Whether a sealing verifies with its key; these were sealed without a stanza.
fn whole(fixture: &Fixture, uid: PackUid, key: &PackKey) -> bool {
    let report = seal::verify(&fixture.vault, uid, Some(key)).unwrap();
    report.findings.iter().all(|f| f.to_string().contains("stanza"))
}

#[test]
fn what_no_kept_pack_names_is_marked_stays_readable_and_goes_days_later() {
    let (fixture, other) = three_packs();
    let (vault, keep) = (&fixture.vault, BTreeSet::from([[3; 16]]));
    let stray = vault.put(b"left by a sealing that never finished").unwrap();
    let before = vault.descriptor(&[2; 16]).unwrap();
    let count = before.leaves().count() + 1;
    let marked = collect(vault, &keep, 100, 5).unwrap();
    assert_eq!((marked.marked, marked.packs, marked.objects), (2, 0, 0), "a pack and the stray object");
    assert!(whole(&fixture, [2; 16], &other) && vault.get(&stray, 100).is_ok(), "readable while it waits");
    for (day, log, why) in [(106, 9, "too early"), (107, 5, "no newer checkpoint"), (99, 9, "the clock went back")] {
        assert_eq!(collect(vault, &keep, day, log).unwrap(), Collected::default(), "{why}");
    }
    let begun = BTreeSet::new();
    let no_log = Collect { keep: &keep, begun: &begun, now: 200 * DAY, wait: 0, log: None };
    assert_eq!(vault.collect(&no_log).unwrap(), Collected::default(), "without a log nothing goes");
    let gone = collect(vault, &keep, 107, 6).unwrap();
    assert_eq!((gone.marked, gone.packs, gone.objects), (0, 1, count));
    assert_eq!(vault.descriptors().unwrap(), [[3; 16], UID], "a required sealing stays");
    assert!(whole(&fixture, [3; 16], &other) && fixture.verify().unwrap().is_ok());
    assert!(vault.get(&stray, 100).is_err());
    assert_eq!(vault.removed().unwrap().into_iter().collect::<Vec<_>>(), [([2; 16], 107 * DAY)]);
    assert_eq!(collect(vault, &keep, 200, 9).unwrap(), Collected::default());
}

#[test]
fn what_is_needed_again_loses_its_tombstone_and_waits_anew_when_it_is_not() {
    let (fixture, other) = three_packs();
    let (one, both) = (BTreeSet::from([[3; 16]]), BTreeSet::from([[3; 16], [2; 16]]));
    collect(&fixture.vault, &one, 100, 5).unwrap();
    assert_eq!(collect(&fixture.vault, &both, 120, 9).unwrap().revived, 1);
    let again = collect(&fixture.vault, &one, 121, 10).unwrap();
    assert_eq!((again.marked, again.packs), (1, 0), "it waits from then on");
    assert_eq!(collect(&fixture.vault, &one, 127, 11).unwrap().packs, 0);
    assert!(whole(&fixture, [2; 16], &other));
    assert_eq!(collect(&fixture.vault, &one, 128, 12).unwrap().packs, 1);
}

#[test]
fn what_a_late_descriptor_names_is_not_deleted() {
    let (fixture, other) = three_packs();
    let path = fixture.vault.descriptor_path(&[2; 16]);
    let late = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    // Its objects are nobody's now.
    let keep = BTreeSet::from([[3; 16]]);
    assert!(collect(&fixture.vault, &keep, 100, 5).unwrap().marked >= 2);
    // A replica brings it, and somebody takes it into what is kept.
    fs::write(&path, late).unwrap();
    let both = BTreeSet::from([[3; 16], [2; 16]]);
    let c = collect(&fixture.vault, &both, 120, 9).unwrap();
    assert_eq!((c.packs, c.objects), (0, 0));
    assert!(whole(&fixture, [2; 16], &other));
}

#[test]
fn a_kept_sealing_without_its_descriptor_stops_the_collector() {
    let (fixture, _) = three_packs();
    // What pack 3 requires is known from its descriptor alone.
    let path = fixture.vault.descriptor_path(&[3; 16]);
    let text = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let keep = BTreeSet::from([[3; 16]]);
    let before = tree(fixture.vault.root());
    assert_eq!(collect(&fixture.vault, &keep, 100, 5).unwrap_err().kind(), Kind::Integrity);
    assert_eq!(collect(&fixture.vault, &keep, 200, 9).unwrap_err().kind(), Kind::Integrity);
    assert_eq!(tree(fixture.vault.root()), before);
    fs::write(&path, text).unwrap();
    assert!(collect(&fixture.vault, &keep, 200, 9).is_ok());
}

#[test]
fn objects_of_a_sealing_that_was_begun_stay() {
    let (fixture, other) = three_packs();
    let path = fixture.vault.descriptor_path(&[2; 16]);
    let text = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let (keep, begun) = (BTreeSet::from([[3; 16]]), BTreeSet::from([[2; 16]]));
    for (day, log) in [(100, 5), (120, 9)] {
        let what = Collect { keep: &keep, begun: &begun, now: day * DAY, wait: 0, log: Some(log) };
        assert_eq!(fixture.vault.collect(&what).unwrap(), Collected::default());
    }
    fs::write(&path, text).unwrap();
    assert!(whole(&fixture, [2; 16], &other));
}

#[test]
fn two_collectors_at_once_lose_nothing_and_delete_once() {
    let (fixture, other) = three_packs();
    let keep = BTreeSet::from([[3; 16]]);
    collect(&fixture.vault, &keep, 100, 5).unwrap();
    let done: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| collect(&fixture.vault, &keep, 120, 9))).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let packs: usize = done.iter().flatten().map(|c| c.packs).sum();
    assert_eq!(packs, 1, "{done:?}");
    assert!(done.iter().all(|d| d.as_ref().is_ok() || d.as_ref().is_err_and(|e| e.kind() == Kind::Busy)));
    assert!(whole(&fixture, [3; 16], &other) && fixture.verify().unwrap().is_ok());
}

#[test]
fn trash_of_earlier_versions_is_emptied_and_what_is_named_comes_back() {
    let (fixture, other) = three_packs();
    let objects: Vec<_> = fixture.vault.descriptor(&[2; 16]).unwrap().leaves().cloned().collect();
    let trash = fixture.vault.root().join("trash/2024-01-02");
    for o in &objects {
        let home = fixture.vault.object_path(&o.object_blake3);
        let there = trash.join(home.strip_prefix(fixture.vault.root()).unwrap());
        fs::create_dir_all(there.parent().unwrap()).unwrap();
        fs::rename(&home, there).unwrap();
    }
    assert_eq!(fixture.vault.empty_trash("2024-01-02").unwrap().restored, 0, "not before its day is over");
    assert_eq!(fixture.vault.empty_trash("2024-01-03").unwrap().restored, objects.len());
    assert!(whole(&fixture, [2; 16], &other) && !trash.exists());
    assert!(fixture.vault.empty_trash("../../etc").is_err());
}

#[test]
fn nothing_is_collected_while_a_descriptor_cannot_be_read_or_a_writer_works() {
    let (fixture, _) = three_packs();
    let before = tree(fixture.vault.root());
    let keep = BTreeSet::from([[3; 16]]);
    let writer = fixture.vault.lock_shared().unwrap();
    let also = fixture.vault.lock_shared().unwrap();
    assert_eq!(collect(&fixture.vault, &keep, 100, 5).unwrap_err().kind(), Kind::Busy);
    assert_eq!(fixture.vault.sweep().unwrap_err().kind(), Kind::Busy);
    drop((writer, also));
    let path = fixture.vault.descriptor_path(&[2; 16]);
    fs::write(&path, b"{}\n").unwrap();
    assert!(collect(&fixture.vault, &keep, 100, 5).is_err());
    fs::write(&path, &before[&format!("descriptors/{}.json", hex::encode([2; 16]))]).unwrap();
    fs::write(fixture.vault.root().join("descriptors/copy of.json"), b"").unwrap();
    assert!(collect(&fixture.vault, &keep, 100, 5).is_err());
    fs::remove_file(fixture.vault.root().join("descriptors/copy of.json")).unwrap();
    let mut after = tree(fixture.vault.root());
    after.remove(".lock");
    assert_eq!(after, before.into_iter().filter(|(n, _)| n != ".lock").collect());
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
