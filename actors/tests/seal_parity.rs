//! A lost object is made again: from its group and the parity, or from the plain pack. And what must hold for that: the same
//! bytes every time, and never two plaintexts under one key and nonce.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod seal_support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use datanode_actors::seal::chunk::{ChunkKeys, ChunkType, Header, check_place};
use datanode_actors::seal::{self, Base, Bases, Descriptor, Kind, SealPlan, parity};
use datanode_actors::vault::Vault;
use proptest::prelude::*;
use seal_support::*;

/// Forty-seven data chunks and some manifest: three groups, the last one smaller.
fn long_files() -> Vec<(&'static str, Vec<u8>)> {
    let mut files = mixed_files();
    files.push(("data/e/more.parquet", noise("more", 40 * CHUNK + 777)));
    files
}

fn read(vault: &Vault, object: &seal::ObjectRef) -> Vec<u8> {
    vault.get(&object.object_blake3, object.object_len).unwrap()
}

fn chunks(descriptor: &Descriptor) -> Vec<seal::ObjectRef> {
    descriptor.chunks().map(|(_, object)| object.clone()).collect()
}

#[test]
fn every_twenty_chunks_have_a_parity_object_that_gives_back_any_one_of_them() {
    let fixture = Fixture::of(&long_files());
    let descriptor = &fixture.sealed.descriptor;
    let chunks = chunks(descriptor);
    assert_eq!(descriptor.parity.scheme, "rs-20-1");
    assert_eq!(descriptor.parity.objects.len(), chunks.len().div_ceil(20));
    assert!(descriptor.parity.objects.len() >= 3 && !chunks.len().is_multiple_of(20));
    for (place, object) in descriptor.parity() {
        assert_eq!(place.kind, ChunkType::Parity);
        check_place(&read(&fixture.vault, object), &place).unwrap();
    }
    for (index, lost) in (0u32..).zip(&chunks) {
        let (group, members) = descriptor.group_of(index);
        assert!(members.contains(&index) && members.len() <= 20);
        let others = members.filter(|other| *other != index).map(|other| read(&fixture.vault, &chunks[other as usize]));
        let shard = read(&fixture.vault, &descriptor.parity.objects[group as usize]);
        let again = parity::rebuild(&shard, others, lost.object_len as usize).unwrap();
        assert_eq!(blake3::hash(&again), lost.object_blake3, "chunk {index}");
    }
    assert_eq!(fixture.verify().unwrap().objects as u64, descriptor.leaf_count);
}

#[test]
fn bad_parity_objects_are_found_with_and_without_the_key() {
    let fixture = Fixture::of(&long_files());
    let object = fixture.sealed.descriptor.parity.objects[1].clone();
    let path = fixture.vault.object_path(&object.object_blake3);
    let good = fs::read(&path).unwrap();
    for at in [0, 6, 30, 200, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        for key in [None, Some(&fixture.key)] {
            let report = seal::verify(&fixture.vault, UID, key).unwrap();
            let said = report.findings.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert!(said.len() == 1 && said[0].contains("leaf mismatch"), "{said:?}");
            let leaf = format!("chunk {}", fixture.sealed.descriptor.chunk_count + 1);
            assert!(said[0].contains(&leaf), "{said:?}");
        }
    }
    fs::remove_file(&path).unwrap();
    assert!(!seal::check(&fixture.vault, UID).unwrap().is_ok());
    // Whoever wants only the files needs no parity.
    seal::open(&fixture.vault, UID, &fixture.key, &fixture.dir.path().join("opened"), None).unwrap();
    assert_eq!(tree(&fixture.dir.path().join("opened")), tree(&fixture.pack()));
}

/// What remake hands out: index and object.
fn remade(fixture: &Fixture, descriptor: &Descriptor, pack: &Path, wanted: &BTreeSet<u32>) -> BTreeMap<u32, Vec<u8>> {
    let mut made = BTreeMap::new();
    seal::remake(&fixture.vault, descriptor, &fixture.key, pack, wanted, &mut |index, object| {
        assert!(made.insert(index, object.to_vec()).is_none());
        Ok(())
    })
    .unwrap();
    made
}

#[test]
fn lost_chunks_are_sealed_again_from_the_plain_pack_even_without_the_sealed_manifest() {
    let fixture = Fixture::of(&long_files());
    let descriptor = &fixture.sealed.descriptor;
    let all: BTreeSet<u32> = (0..descriptor.chunk_count).collect();
    let chunks = chunks(descriptor);
    let whole: BTreeMap<u32, Vec<u8>> =
        (0u32..).zip(chunks.iter().map(|object| read(&fixture.vault, object))).collect();
    let beyond = all.iter().copied().chain([descriptor.chunk_count, u32::MAX]).collect();
    assert_eq!(remade(&fixture, descriptor, &fixture.pack(), &beyond), whole);
    assert_eq!(
        remade(&fixture, descriptor, &fixture.pack(), &BTreeSet::from([3])).into_keys().collect::<Vec<_>>(),
        [3]
    );

    // A file that was altered and one that is gone cost the chunks that these bytes lie in, and no others.
    let copy = fixture.dir.path().join("copy");
    for (path, bytes) in tree(&fixture.pack()) {
        fs::create_dir_all(copy.join(&path).parent().unwrap()).unwrap();
        fs::write(copy.join(path), bytes).unwrap();
    }
    fs::remove_file(copy.join("data/c/exact.parquet")).unwrap();
    let mut altered = fs::read(copy.join("data/e/more.parquet")).unwrap();
    altered[20 * CHUNK] ^= 1;
    fs::write(copy.join("data/e/more.parquet"), altered).unwrap();
    let made = remade(&fixture, descriptor, &copy, &all);
    assert!(made.len() < whole.len() && made.len() + 3 >= whole.len(), "{}", made.len());
    assert!(made.iter().all(|(index, object)| whole[index] == *object));

    // The manifest is lost: the arrangement is found again.
    for object in &descriptor.manifest_objects {
        fs::remove_file(fixture.vault.object_path(&object.object_blake3)).unwrap();
    }
    assert_eq!(remade(&fixture, descriptor, &fixture.pack(), &all), whole);
    // And every data object with it: only the descriptor is left.
    for object in &descriptor.data_objects {
        fs::remove_file(fixture.vault.object_path(&object.object_blake3)).unwrap();
    }
    assert_eq!(remade(&fixture, descriptor, &fixture.pack(), &all), whole);
    let other = fixture.dir.path().join("other");
    write_pack(&other, &[("data/x", noise("x", 50 * CHUNK))]);
    assert!(remade(&fixture, descriptor, &other, &all).is_empty());
}

#[test]
fn what_a_pack_borrows_comes_from_any_of_its_bases_but_never_from_one_to_be_avoided() {
    let fixture = Fixture::new();
    let (one, two) = (seal::PackKey::from_bytes([1; 32]), seal::PackKey::from_bytes([2; 32]));
    let a = ("data/a", noise("a", 3 * CHUNK));
    let b = ("data/b", noise("b", 3 * CHUNK));
    let dir = fixture.dir.path();
    write_pack(&dir.join("one"), std::slice::from_ref(&a));
    write_pack(&dir.join("two"), std::slice::from_ref(&b));
    write_pack(&dir.join("three"), &[a, b, ("data/c", noise("c", 100))]);
    seal_pack(&fixture.vault, &dir.join("one"), [1; 16], &one);
    seal_pack(&fixture.vault, &dir.join("two"), [2; 16], &two);
    let from = [Base { pack_uid: [1; 16], key: &one }, Base { pack_uid: [2; 16], key: &two }];
    let pack = dir.join("three");
    let seal_as = |uid: u8, avoid: Option<&BTreeSet<seal::PackUid>>| {
        let plan =
            SealPlan { pack_dir: &pack, pack_uid: [uid; 16], generation: 0, chunk_size: CHUNK, threads: 2, base: None };
        let sealed = seal::seal_upon(&fixture.vault, &fixture.key, &plan, &Bases { from: &from, avoid }).unwrap();
        let to = dir.join(format!("opened{uid}"));
        seal::open(&fixture.vault, [uid; 16], &fixture.key, &to, None).unwrap();
        assert_eq!(tree(&to), tree(&pack));
        (sealed.borrowed_files, sealed.descriptor.requires)
    };
    assert_eq!(seal_as(3, None), (2, vec![[1; 16], [2; 16]]));
    assert_eq!(seal_as(4, Some(&BTreeSet::from([[1; 16]]))), (1, vec![[2; 16]]));
    assert_eq!(seal_as(5, Some(&BTreeSet::from([[1; 16], [2; 16]]))), (0, vec![]));
    // Not through another sealing either.
    let from = [Base { pack_uid: [3; 16], key: &fixture.key }];
    let plan =
        SealPlan { pack_dir: &pack, pack_uid: [6; 16], generation: 0, chunk_size: CHUNK, threads: 2, base: None };
    let avoid = BTreeSet::from([[1; 16]]);
    let bases = Bases { from: &from, avoid: Some(&avoid) };
    let sealed = seal::seal_upon(&fixture.vault, &fixture.key, &plan, &bases).unwrap();
    assert!(!sealed.descriptor.requires.contains(&[1; 16]), "{:?}", sealed.descriptor.requires);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// A killed sealing may be resumed after the pack's folder, the base or the chunk size changed.
    #[test]
    fn two_plaintexts_never_meet_under_one_key_and_nonce(
        edits in proptest::collection::vec((0usize..4, any::<u16>(), any::<u8>(), any::<bool>()), 1..6),
    ) {
        let fixture = Fixture::new();
        let keys = ChunkKeys::new(&fixture.key).unwrap();
        let mut met = BTreeMap::<Vec<u8>, blake3::Hash>::new();
        let mut files = mixed_files();
        for (round, (which, at, byte, wide)) in edits.into_iter().enumerate() {
            let bytes = &mut files[which + 1].1;
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
            let pack = fixture.dir.path().join(format!("pack{round}"));
            write_pack(&pack, &files);
            let vault = Vault::open(&fixture.dir.path().join(format!("vault{round}"))).unwrap();
            let chunk_size = if wide { 2 * CHUNK } else { CHUNK };
            let plan = SealPlan { pack_dir: &pack, pack_uid: UID, generation: 0, chunk_size, threads: 2, base: None };
            let sealed = seal::seal(&vault, &fixture.key, &plan).unwrap();
            for (_, object) in sealed.descriptor.chunks() {
                let bytes = read(&vault, object);
                let header = Header::parse(&bytes).unwrap();
                // Key and nonce are a function of these.
                let input = [&bytes[..48], &header.salt[..]].concat();
                prop_assert!(keys.secret(&header).is_some());
                let before = met.insert(input, blake3::hash(&bytes));
                prop_assert!(before.is_none_or(|hash| hash == object.object_blake3), "one key and nonce, two objects");
            }
        }
    }
}

/// In a mount namespace of its own, so that the disk that fills up is nobody else's.
#[test]
fn a_full_disk_at_any_write_is_said_damages_nothing_and_the_next_run_goes_on() {
    const NAME: &str = "a_full_disk_at_any_write_is_said_damages_nothing_and_the_next_run_goes_on";
    if let Some(disk) = std::env::var_os("DATANODE_TEST_SMALL_DISK") {
        return on_a_small_disk(Path::new(&disk));
    }
    let dir = tempfile::tempdir().unwrap();
    let run = |script: &str, kib: usize| {
        let mut command = std::process::Command::new("unshare");
        command.args(["-Urm", "sh", "-c", script]).env("DATANODE_TEST_SMALL_DISK", dir.path());
        command.env("KIB", kib.to_string()).env("EXE", std::env::current_exe().unwrap()).env("NAME", NAME);
        command.output()
    };
    const MOUNT: &str = "mount -t tmpfs -o size=${KIB}k tmpfs \"$DATANODE_TEST_SMALL_DISK\"";
    if !run(MOUNT, 64).is_ok_and(|done| done.status.success()) {
        eprintln!("SKIPPED: no small file system can be mounted here");
        return;
    }
    let mut failed = 0;
    for kib in (4..900).step_by(28) {
        let done = run(&format!("{MOUNT} && exec \"$EXE\" --exact \"$NAME\" --nocapture"), kib).unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{kib} KiB: {said}");
        failed += usize::from(said.contains("FULL"));
    }
    assert!(failed > 10, "the disk was full only {failed} times");
}

fn on_a_small_disk(disk: &Path) {
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let pack = elsewhere.path().join("pack");
    write_pack(&pack, &mixed_files());
    let identity = seal::Identity::generate();
    let root = disk.join("vault");
    let attempt = || {
        let vault = Vault::open(&root)?;
        let key = seal::prepare(&vault, UID, &[identity.to_public()], &identity)?;
        try_seal(&vault, &pack, UID, &key, 2)
    };
    let mut before = BTreeMap::new();
    if let Err(error) = attempt() {
        println!("FULL: {error}");
        assert_eq!(error.kind(), Kind::Io, "{error}");
        assert!(error.to_string().contains("free space"), "{error}");
        assert!(!root.join(format!("descriptors/{}.json", hex::encode(UID))).exists());
        if root.join("tmp").is_dir() {
            assert_eq!(tree(&root.join("tmp")).len(), 0, "temps are left");
            before = tree(&root);
        }
    }
    let mount = std::process::Command::new("mount").args(["-o", "remount,size=64m"]).arg(disk).status().unwrap();
    assert!(mount.success());
    let sealed = attempt().unwrap();
    let after = tree(&root);
    assert!(before.iter().all(|(path, bytes)| after[path] == *bytes), "what was written before is needed and the same");
    let objects = after.keys().filter(|path| path.starts_with("chunks/")).count() as u64;
    assert_eq!(objects, sealed.descriptor.leaf_count, "objects that nothing names are left");
    let vault = Vault::open(&root).unwrap();
    let key = seal::unwrap_key(&vault, UID, &identity).unwrap();
    assert!(seal::verify(&vault, UID, Some(&key)).unwrap().is_ok());
}
