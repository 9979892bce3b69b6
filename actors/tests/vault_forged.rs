//! Objects that are intact and nevertheless wrong: the other two of the three diagnoses. None of it is repaired away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod seal_support;

use datanode_actors::seal::{self, Descriptor, PackKey, Unwraps, merkle};
use datanode_actors::vault::{
    ALL_PARTS, CheckPlan, Class, Depth, Finding, Log, Logged, RepairPlan, Share, Subject, check_vault, repair_vault,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use seal_support::*;
use sha2::{Digest, Sha256};
use std::fs;

fn bad(fixture: &Fixture, key: bool, log: &Log) -> Vec<Finding> {
    let identity = key.then_some(&fixture.identity as &dyn Unwraps);
    let plan = CheckPlan { depth: Depth::Read, share: None, identity, log };
    check_vault(&fixture.vault, &plan).unwrap().findings.into_iter().filter(|f| f.class.is_some()).collect()
}

fn log_of(d: &Descriptor) -> Log {
    let descriptor_sha256 = Sha256::digest(d.encode().unwrap()).into();
    [(d.pack_uid, Logged { generation: d.generation, root: d.merkle_root, descriptor_sha256 })].into_iter().collect()
}

/// Puts an object with one byte changed in the place of a data object, with a descriptor that vouches for it.
fn forge(fixture: &Fixture, index: usize, change: impl FnOnce(&mut Vec<u8>)) -> [u8; 32] {
    let mut d = fixture.sealed.descriptor.clone();
    let mut object = fs::read(fixture.vault.object_path(&d.data_objects[index].object_blake3)).unwrap();
    change(&mut object);
    let hash = fixture.vault.put(&object).unwrap();
    d.data_objects[index].object_blake3 = hash;
    d.data_objects[index].object_len = object.len() as u64;
    d.merkle_root = merkle::root(d.leaves().map(|o| o.object_blake3));
    fs::write(fixture.vault.descriptor_path(&UID), d.encode().unwrap()).unwrap();
    hash
}

#[test]
fn what_is_intact_and_does_not_authenticate_is_called_so_and_left_alone() {
    let fixture = Fixture::new();
    let log = log_of(&fixture.sealed.descriptor);
    let sound = fs::read(fixture.vault.descriptor_path(&UID)).unwrap();
    let mut random = StdRng::seed_from_u64(3);
    for round in 0..200u32 {
        let index = random.random_range(0..fixture.sealed.descriptor.data_objects.len());
        let len = fixture.sealed.descriptor.data_objects[index].object_len as usize;
        // Place fields, salt, commitment, ciphertext, tag.
        let (at, class) = match round % 5 {
            0 => (random.random_range(8..36), Class::FailedAuthentication),
            1 => (random.random_range(48..72), Class::WrongKey),
            2 => (random.random_range(72..104), Class::WrongKey),
            3 => (random.random_range(104..len - 16), Class::FailedAuthentication),
            _ => (random.random_range(len - 16..len), Class::FailedAuthentication),
        };
        let hash = forge(&fixture, index, |object| object[at] ^= 1 << random.random_range(0..8));
        let said = bad(&fixture, true, &Log::new());
        assert_eq!(said.len(), 1, "round {round}: {said:?}");
        assert_eq!(said[0].class, Some(class), "round {round}, byte {at}: {}", said[0]);
        assert!(matches!(said[0].subject, Subject::Object(UID, _, h) if h == hash), "{}", said[0]);
        // Without the key nothing tells but the log, which has another descriptor.
        let by_log = bad(&fixture, false, &log);
        assert!(
            by_log
                .iter()
                .any(|f| f.subject == Subject::Descriptor(UID) && f.class == Some(Class::FailedAuthentication))
        );
        if round % 10 == 0 {
            let before = tree(fixture.vault.root());
            let pack = fixture.pack();
            let plain = |_: &Descriptor, _: Option<&seal::SealedManifest>| vec![pack.clone()];
            let plan = RepairPlan {
                identity: Some(&fixture.identity),
                copies: Vec::new(),
                plain: Some(&plain),
                log: &Log::new(),
                dry_run: false,
                now: "2026-01-02T03:04:05Z".parse().unwrap(),
            };
            let done = repair_vault(&fixture.vault, &plan).unwrap();
            assert_eq!((done.repaired.len(), done.left.len()), (0, 1), "{done:?}");
            assert_eq!(tree(fixture.vault.root()), before, "it is evidence");
        }
        fs::remove_file(fixture.vault.object_path(&hash)).unwrap();
        fs::write(fixture.vault.descriptor_path(&UID), &sound).unwrap();
    }
    assert!(bad(&fixture, true, &log).is_empty());
}

#[test]
fn a_stanza_that_holds_another_key_is_a_wrong_key_for_every_chunk() {
    let fixture = Fixture::new();
    let other = seal::wrap(&PackKey::from_bytes([9; 32]), &[fixture.identity.to_public()]).unwrap();
    fixture.vault.replace_stanza(&UID, &other).unwrap();
    let said = bad(&fixture, true, &Log::new());
    assert_eq!(said.len(), fixture.sealed.descriptor.chunk_count as usize);
    assert!(said.iter().all(|f| f.class == Some(Class::WrongKey)), "{said:?}");
    // And one that the key at hand does not open.
    let stranger = seal::Identity::generate();
    fixture.vault.replace_stanza(&UID, &seal::wrap(&fixture.key, &[stranger.to_public()]).unwrap()).unwrap();
    let said = bad(&fixture, true, &Log::new());
    assert_eq!((said.len(), said[0].class, &said[0].subject), (1, Some(Class::WrongKey), &Subject::Stanza(UID)));
}

#[test]
fn a_sealing_that_the_log_knows_and_that_is_wholly_gone_is_found() {
    let fixture = Fixture::new();
    let log = log_of(&fixture.sealed.descriptor);
    let root = fixture.vault.root();
    for folder in ["chunks", "stanzas", "descriptors"] {
        fs::remove_dir_all(root.join(folder)).unwrap();
        fs::create_dir(root.join(folder)).unwrap();
    }
    assert!(bad(&fixture, false, &Log::new()).is_empty(), "nothing else tells");
    let said = bad(&fixture, false, &log);
    assert_eq!((said.len(), &said[0].subject, said[0].class), (1, &Subject::Sealing(UID), Some(Class::StorageRot)));
    // But not where retention let it go.
    fs::write(root.join("removed"), format!("\npack {} 1700000000\n", hex::encode(UID))).unwrap();
    assert!(bad(&fixture, false, &log).is_empty());
}

#[test]
fn the_shares_of_days_in_a_row_hold_every_object_once() {
    let hashes: Vec<[u8; 32]> = (0..2000u32).map(|i| *blake3::hash(&i.to_le_bytes()).as_bytes()).collect();
    for (parts, days) in [(50_000, 20), (ALL_PARTS, 1), (250_000, 4), (1_000, 1000)] {
        let mut met = vec![0; hashes.len()];
        for day in 20_000..20_000 + days {
            let share = Share::of_day(parts, day);
            hashes.iter().zip(&mut met).for_each(|(h, n)| *n += u32::from(share.holds(h)));
        }
        assert!(met.iter().all(|n| *n == 1), "{parts}");
    }
}
