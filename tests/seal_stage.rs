//! What the seal stage does besides tonight's pack: earlier nights' packs, new generations, and what a kill left half recorded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::publishing::ShipMode;
use datanode_actors::retention;
use datanode_actors::seal::stage::{SealStageError, regenerate, seal_night, seal_pack};
use datanode_actors::seal::{self, PackUid};
use datanode_actors::vault::Vault;
use datanode_schema::records::{Incident, PackRecord, SealingRecord};
use datanode_schema::store::Batch;
use datanode_schema::trees::{GENERATIONS, INCIDENTS, PACKS, SEALINGS};
use support::home::{Files, Home, files};
use support::{differences, tree};

fn home() -> Home {
    let mut h = Home::new();
    h.settings.seal.chunk_mib = 1;
    h
}

fn uid(text: &str) -> PackUid {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn pack(h: &mut Home, id: &str) -> PackRecord {
    h.node().store.load(&PACKS, &id.to_owned()).unwrap().unwrap()
}

fn vault(h: &Home) -> Vault {
    Vault::open(&h.data().join("vault")).unwrap()
}

/// The sealing that this pack names opens to its folder.
#[track_caller]
fn opens(h: &mut Home, id: &str) {
    let (vault, uid) = (vault(h), uid(&pack(h, id).pack_uid));
    let key = seal::unwrap_key(&vault, uid, &h.node().publishing.keys.read().unwrap()).unwrap();
    let report = seal::verify(&vault, uid, Some(&key)).unwrap();
    assert!(report.is_ok(), "{:?}", report.findings);
    let to = h.root.path().join(format!("opened-{id}-{}", hex::encode(uid)));
    seal::open(&vault, uid, &key, &to, None).unwrap();
    let found = differences(&h.pack_folder(id), &to);
    assert!(found.is_empty(), "{found:?}");
    std::fs::remove_dir_all(to).unwrap();
}

#[test]
fn a_pack_whose_sealing_failed_is_sealed_by_a_later_night_and_fails_none() {
    let mut h = home();
    let (first, second) = (h.full(1, &files(3, 300_000, 1)), h.full(2, &files(3, 300_000, 10)));
    let rotten = h.pack_folder(&first).join("data/equities_bars/part=0001/data.parquet");
    let good = std::fs::read(&rotten).unwrap();
    std::fs::write(&rotten, b"rot").unwrap();
    assert!(matches!(seal_night(&h.node(), &first), Err(SealStageError::Seal(_))));
    let c = seal_night(&h.node(), &second).unwrap();
    assert_eq!((c.caught_up, c.failed, c.pack_uid.len()), (0, 1, 32));
    opens(&mut h, &second);
    assert!(pack(&mut h, &first).pack_uid.is_empty());
    std::fs::write(&rotten, good).unwrap();
    let third = h.full(3, &files(3, 300_000, 10));
    let c = seal_night(&h.node(), &third).unwrap();
    assert_eq!((c.caught_up, c.failed, c.borrowed_files), (1, 0, 3));
    for id in [&first, &second, &third] {
        opens(&mut h, id);
    }
    let again = seal_night(&h.node(), &third).unwrap();
    assert_eq!((again.unchanged, again.caught_up, again.failed), (1, 0, 0));
}

#[test]
fn a_file_that_was_left_out_for_a_night_is_borrowed_from_the_night_before() {
    let mut h = home();
    let whole = files(6, 300_000, 1);
    let less: Files = whole.iter().skip(1).map(|(p, b)| (p.clone(), b.clone())).collect();
    let all = [h.full(1, &whole), h.full(2, &less), h.full(3, &whole)];
    let borrowed = all.clone().map(|id| seal_pack(&h.node(), &id).unwrap().borrowed_files);
    assert_eq!(borrowed, [0, 5, 6]);
    for id in &all {
        opens(&mut h, id);
    }
}

#[test]
fn nothing_is_borrowed_from_a_sealing_of_which_something_is_known_to_be_wrong() {
    let mut h = home();
    let same = files(3, 300_000, 1);
    let all = [h.full(1, &same), h.full(2, &same), h.full(3, &same)];
    let first = seal_pack(&h.node(), &all[0]).unwrap().pack_uid;
    let mut incident = Incident {
        kind: 0,
        label: 0,
        artifact: format!("vault/{first}"),
        note: String::new(),
        replacement: String::new(),
        evidence: String::new(),
        opened_at: 1,
        opened_by: String::new(),
        closed_at: 0,
        closed_by: String::new(),
        closed_why: String::new(),
    };
    let put = |h: &mut Home, incident: &Incident| {
        let mut batch = Batch::new();
        batch.put(&INCIDENTS, &1, incident).unwrap();
        h.node().store.commit(batch).unwrap();
    };
    put(&mut h, &incident);
    let second = seal_pack(&h.node(), &all[1]).unwrap();
    assert_eq!(second.borrowed_files, 0);
    incident.closed_at = 2;
    put(&mut h, &incident);
    assert_eq!(seal_pack(&h.node(), &all[2]).unwrap().borrowed_files, 3);
    for id in &all {
        opens(&mut h, id);
    }
}

#[test]
fn a_pack_is_sealed_anew_as_the_next_generation_and_what_borrowed_from_the_old_one_follows() {
    let mut h = home();
    let base = files(6, 300_000, 1);
    let (first, mut more) = (h.full(1, &base), base.clone());
    more.extend(files(7, 300_000, 1));
    let second = h.full(2, &more);
    for id in [&first, &second] {
        seal_pack(&h.node(), id).unwrap();
    }
    assert_eq!(seal_night(&h.node(), &second).unwrap().repacked, 0);
    let (old, borrower) = (pack(&mut h, &first).pack_uid, pack(&mut h, &second).pack_uid);
    assert_eq!(vault(&h).descriptor(&uid(&borrower)).unwrap().requires, [uid(&old)]);
    let c = regenerate(&h.node(), &first).unwrap();
    assert!(c.pack_uid != old && c.borrowed_files == 0 && pack(&mut h, &first).pack_uid == c.pack_uid);
    let new = vault(&h).descriptor(&uid(&c.pack_uid)).unwrap();
    assert_eq!((new.generation, new.requires.len()), (1, 0));
    assert_eq!(pack(&mut h, &first).root, new.merkle_root);
    assert_eq!(h.node().store.load(&GENERATIONS, &c.pack_uid).unwrap().unwrap(), old);
    assert_eq!(h.node().store.load(&SEALINGS, &c.pack_uid).unwrap().unwrap().generation, 1);
    opens(&mut h, &first);
    opens(&mut h, &second);

    // The next night lets the second pack follow, and the old sealings are needed by none.
    let third = h.full(3, &more);
    let c = seal_night(&h.node(), &third).unwrap();
    assert_eq!(c.repacked, 1);
    assert_ne!(pack(&mut h, &second).pack_uid, borrower);
    let node = h.node();
    let mut nights = 0;
    while seal_night(&node, &third).unwrap().repacked > 0 {
        nights += 1;
        assert!(nights < 5, "it does not end");
    }
    let owned: std::collections::BTreeSet<PackUid> =
        node.standing_packs().unwrap().iter().map(|(_, p)| uid(&p.pack_uid)).collect();
    for one in &owned {
        let requires = vault(&h).descriptor(one).unwrap().requires;
        assert!(requires.iter().all(|needed| owned.contains(needed)), "{requires:?}");
    }
    for id in [&first, &second, &third] {
        opens(&mut h, id);
    }
    assert!(regenerate(&h.node(), "20260309T230000Z_datanode_full").is_err());
}

#[test]
fn a_pack_that_builds_on_a_replaced_sealing_is_not_brought_anywhere_before_it_followed() {
    let place = tempfile::tempdir().unwrap();
    let mut h = home().folder("nas", place.path(), ShipMode::Sealed);
    let base = files(6, 300_000, 1);
    let (first, second) = (h.full(1, &base), h.full(2, &base));
    for id in [&first, &second] {
        seal_pack(&h.node(), id).unwrap();
    }
    regenerate(&h.node(), &first).unwrap();
    let refused = format!("{:?}", h.ship(&second).unwrap_err());
    assert!(refused.contains("Missing") && refused.contains("the sealing"), "{refused}");
    while seal_night(&h.node(), &second).unwrap().repacked > 0 {}
    h.ship(&second).unwrap();
    let source = place.path().join("sealed/datanode");
    for id in [&first, &second] {
        let uid = pack(&mut h, id).pack_uid;
        assert!(source.join(&uid).join(format!("descriptors/{uid}.json")).is_file(), "{id}");
    }
}

#[test]
fn a_sealing_whose_commit_the_store_missed_is_taken_up_as_it_is_and_retention_leaves_it() {
    let mut h = home();
    let id = h.full(1, &files(3, 300_000, 1));
    let sealed = seal_pack(&h.node(), &id).unwrap();
    let before = tree(&h.data().join("vault"));
    // As if the process had ended just before the store's commit.
    let mut batch = Batch::new();
    batch.put(&PACKS, &id, &PackRecord { pack_uid: String::new(), root: [0; 32], ..pack(&mut h, &id) }).unwrap();
    let begun = SealingRecord { export_id: id.clone(), generation: 0, done: 0 };
    batch.put(&SEALINGS, &sealed.pack_uid, &begun).unwrap();
    h.node().store.commit(batch).unwrap();
    let gone = h.full(2, &files(1, 1000, 99));
    let mut batch = Batch::new();
    batch.put(&PACKS, &gone, &PackRecord { removed_at: 1, ..pack(&mut h, &gone) }).unwrap();
    h.node().store.commit(batch).unwrap();
    retention::retain(&h.node(), &id).unwrap();
    assert_eq!(tree(&h.data().join("vault")), before, "retention took what is needed");
    let again = seal_pack(&h.node(), &id).unwrap();
    assert_eq!((&again.pack_uid, again.new_objects, again.objects), (&sealed.pack_uid, 0, sealed.objects));
    assert_eq!((again.bytes, again.stored_bytes), (sealed.bytes, sealed.stored_bytes));
    assert_eq!(tree(&h.data().join("vault")), before);
    opens(&mut h, &id);
}
