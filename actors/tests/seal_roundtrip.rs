//! What is sealed opens again, the same every time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod seal_support;

use std::fs;

use datanode_actors::seal::chunk::{ChunkKeys, ChunkType, Codec, Header, MAX_PLAINTEXT, Place, Sealer};
use datanode_actors::seal::{self, Base, Identity, Kind, PackKey, SealPlan};
use datanode_actors::vault::Vault;
use seal_support::*;

#[test]
fn a_sealed_pack_verifies_and_opens_to_the_same_tree() {
    let fixture = Fixture::new();
    let report = fixture.verify().unwrap();
    assert!(report.is_ok(), "{:?}", report.findings);
    assert_eq!(report.files, mixed_files().len() + 1);
    assert!(seal::verify(&fixture.vault, UID, None).unwrap().is_ok());
    assert!(seal::check(&fixture.vault, UID).unwrap().is_ok());
    let to = fixture.dir.path().join("opened");
    let opened = seal::open(&fixture.vault, UID, &fixture.key, &to, None).unwrap();
    assert_eq!(tree(&to), tree(&fixture.pack()));
    assert_eq!(opened.files, mixed_files().len() + 2);
    assert_eq!(opened.bytes as usize, tree(&to).values().map(Vec::len).sum::<usize>());
}

#[test]
fn the_key_comes_back_from_its_stanza_and_from_no_other_identity() {
    let fixture = Fixture::new();
    let again = seal::prepare(&fixture.vault, UID, &[], &fixture.identity).unwrap();
    assert!(seal::verify(&fixture.vault, UID, Some(&again)).unwrap().is_ok());
    let stranger = seal::unwrap_key(&fixture.vault, UID, &Identity::generate()).unwrap_err();
    assert_eq!(stranger.kind(), Kind::Integrity);
    assert_eq!(seal::unwrap_key(&fixture.vault, [1; 16], &fixture.identity).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn rotation_wraps_the_same_key_to_others_and_touches_no_object() {
    let fixture = Fixture::new();
    let before = tree(&fixture.vault.root().join("chunks"));
    let next = Identity::generate();
    seal::rewrap(&fixture.vault, UID, &fixture.identity, &[next.to_public()]).unwrap();
    assert!(seal::unwrap_key(&fixture.vault, UID, &fixture.identity).is_err());
    let key = seal::unwrap_key(&fixture.vault, UID, &next).unwrap();
    assert!(seal::verify(&fixture.vault, UID, Some(&key)).unwrap().is_ok());
    assert_eq!(tree(&fixture.vault.root().join("chunks")), before);
}

#[test]
fn a_node_that_is_not_among_its_recipients_is_told_before_anything_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    let other = Identity::generate().to_public();
    let error = seal::prepare(&vault, UID, &[other], &Identity::generate()).unwrap_err();
    assert_eq!(error.kind(), Kind::Contract);
    assert!(vault.stanza(&UID).unwrap().is_none());
}

#[test]
fn the_same_uid_key_and_pack_give_the_same_vault_whatever_the_threads() {
    let dir = tempfile::tempdir().unwrap();
    write_pack(&dir.path().join("pack"), &mixed_files());
    let trees: Vec<_> = [1, 2, 7]
        .map(|threads| {
            let vault = Vault::open(&dir.path().join(format!("vault{threads}"))).unwrap();
            let sealed = try_seal(&vault, &dir.path().join("pack"), UID, &key(), threads).unwrap();
            assert_eq!(sealed.new_objects, sealed.objects);
            tree(vault.root())
        })
        .into();
    assert_eq!(trees[0], trees[1]);
    assert_eq!(trees[0], trees[2]);
}

#[test]
fn a_sealing_that_was_killed_anywhere_goes_on_to_the_same_bytes() {
    let fixture = Fixture::new();
    let whole = tree(fixture.vault.root());
    let objects: Vec<_> = fixture.sealed.descriptor.leaves().cloned().collect();
    for kept in 0..=objects.len() {
        // What a kill leaves: the stanza, some objects in whatever order the workers had, a temp, no descriptor.
        fs::remove_file(fixture.vault.descriptor_path(&UID)).unwrap();
        for object in objects.iter().skip(kept) {
            fs::remove_file(fixture.vault.object_path(&object.object_blake3)).unwrap();
        }
        fs::write(fixture.vault.root().join("tmp/1-1"), b"half an obj").unwrap();
        let key = seal::prepare(&fixture.vault, UID, &[fixture.identity.to_public()], &fixture.identity).unwrap();
        let sealed = seal_pack(&fixture.vault, &fixture.pack(), UID, &key);
        assert_eq!(sealed.new_objects, objects.len() - kept);
        assert_eq!(fixture.vault.sweep().unwrap(), 1);
        assert_eq!(tree(fixture.vault.root()), whole);
    }
}

#[test]
fn a_stanza_whose_checksum_was_never_written_gets_it_on_resuming() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.vault.stanza_sum_path(&UID)).unwrap();
    assert!(!fixture.verify().unwrap().is_ok());
    seal::prepare(&fixture.vault, UID, &[fixture.identity.to_public()], &fixture.identity).unwrap();
    assert!(fixture.verify().unwrap().is_ok());
}

#[test]
fn only_the_files_asked_for_are_opened_and_only_their_chunks_are_read() {
    let fixture = Fixture::new();
    for object in &fixture.sealed.descriptor.data_objects[1..] {
        fs::remove_file(fixture.vault.object_path(&object.object_blake3)).unwrap();
    }
    let to = fixture.dir.path().join("some");
    let only = |path: &str| path == "data/a/tiny.parquet" || path == "data/a/empty.parquet";
    let report = seal::open(&fixture.vault, UID, &fixture.key, &to, Some(&only)).unwrap();
    let names: Vec<String> = tree(&to).into_keys().collect();
    assert_eq!(names, ["SHA256SUMS.stable.txt", "data/a/empty.parquet", "data/a/tiny.parquet", "manifest.json"]);
    assert_eq!((report.files, report.objects), (4, 1));
}

#[test]
fn an_existing_folder_is_never_opened_into_and_a_failed_opening_leaves_nothing() {
    let fixture = Fixture::new();
    let to = fixture.dir.path().join("opened");
    fs::create_dir(&to).unwrap();
    assert_eq!(seal::open(&fixture.vault, UID, &fixture.key, &to, None).unwrap_err().kind(), Kind::Contract);
    fs::remove_dir(&to).unwrap();
    let last = fixture.sealed.descriptor.data_objects.last().unwrap();
    fs::remove_file(fixture.vault.object_path(&last.object_blake3)).unwrap();
    assert_eq!(seal::open(&fixture.vault, UID, &fixture.key, &to, None).unwrap_err().kind(), Kind::Integrity);
    let mut left: Vec<_> = fs::read_dir(fixture.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["pack", "vault"]);
}

#[test]
fn a_pack_without_data_and_a_pack_of_one_byte_can_be_sealed() {
    for files in [vec![], vec![("data/e", vec![])], vec![("data/one", vec![1])]] {
        let fixture = Fixture::of(&files);
        let to = fixture.dir.path().join("opened");
        seal::open(&fixture.vault, UID, &fixture.key, &to, None).unwrap();
        assert_eq!(tree(&to), tree(&fixture.pack()));
        assert!(fixture.verify().unwrap().is_ok());
    }
}

#[test]
fn a_pack_that_is_not_what_its_sums_say_is_not_committed() {
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 6] = [
        ("altered", |pack| fs::write(pack.join("data/a/tiny.parquet"), b"tinY").unwrap()),
        ("grown", |pack| fs::write(pack.join("data/a/tiny.parquet"), b"tiny ").unwrap()),
        ("missing", |pack| fs::remove_file(pack.join("data/a/tiny.parquet")).unwrap()),
        ("extra", |pack| fs::write(pack.join("data/extra"), b"x").unwrap()),
        ("manifest", |pack| fs::write(pack.join("manifest.json"), b"{}").unwrap()),
        ("symlink", |pack| {
            fs::remove_file(pack.join("data/a/tiny.parquet")).unwrap();
            std::os::unix::fs::symlink("/etc/hostname", pack.join("data/a/tiny.parquet")).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let (pack, vault) = (dir.path().join("pack"), Vault::open(&dir.path().join("vault")).unwrap());
        write_pack(&pack, &mixed_files());
        damage(&pack);
        let error = try_seal(&vault, &pack, UID, &key(), 2).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity, "{name}: {error}");
        assert_eq!(vault.descriptors().unwrap(), Vec::<[u8; 16]>::new(), "{name}");
    }
}

#[test]
fn nothing_of_the_plaintext_is_visible_in_the_vault() {
    let fixture = Fixture::new();
    let mut secrets: Vec<Vec<u8>> = vec![b"AAPL".to_vec(), b"parquet".to_vec(), b"manifest.json".to_vec()];
    for bytes in tree(&fixture.pack()).values() {
        use sha2::{Digest, Sha256};
        secrets.push(hex::encode(Sha256::digest(bytes)).into_bytes());
        secrets.push(blake3::hash(bytes).to_hex().as_bytes().to_vec());
    }
    for (path, bytes) in tree(fixture.vault.root()) {
        for secret in &secrets {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_slice()), "{path}");
        }
    }
    let plain: u64 = fixture.sealed.plaintext_bytes;
    assert_ne!(plain % CHUNK as u64, 0, "the test needs a ragged tail");
    for object in &fixture.sealed.descriptor.data_objects {
        let head = fs::read(fixture.vault.object_path(&object.object_blake3)).unwrap();
        assert_eq!(Header::parse(&head).unwrap().plaintext_len as usize % CHUNK, 0);
    }
}

#[test]
fn zstd_is_used_exactly_where_level_1_saves_five_percent() {
    let keys = ChunkKeys::new(&key()).unwrap();
    let mut sealer = Sealer::new().unwrap();
    let place = Place { kind: ChunkType::Data, pack_uid: UID, generation: 0, index: 0, count: 2 };
    let (mut raw, mut packed) = (0, 0);
    for zeros in (0..12000).step_by(100) {
        let mut plaintext = noise("codec", 100_000);
        plaintext[..zeros].fill(0);
        let small = zstd::bulk::compress(&plaintext, 1).unwrap().len();
        let object = sealer.seal(&keys, &place, &plaintext).unwrap();
        let header = Header::parse(object).unwrap();
        let expected = if small * 100 <= plaintext.len() * 95 { Codec::Zstd } else { Codec::Raw };
        assert_eq!(header.codec, expected, "{small}");
        if expected == Codec::Raw { raw += 1 } else { packed += 1 }
    }
    assert!(raw > 10 && packed > 10);
    assert!(sealer.seal(&keys, &place, &[]).is_err());
    assert!(sealer.seal(&keys, &place, &vec![0; MAX_PLAINTEXT + 1]).is_err());
}

#[test]
fn a_second_pack_seals_only_what_changed_and_opens_without_the_first_packs_key() {
    let fixture = Fixture::new();
    let mut files = mixed_files();
    files[1].1 = b"changed".to_vec();
    files.push(("data/new.parquet", noise("new", 1000)));
    let pack = fixture.dir.path().join("pack2");
    write_pack(&pack, &files);
    let second = PackKey::from_bytes([9; 32]);
    let base = Some(Base { pack_uid: UID, key: &fixture.key });
    let plan = SealPlan { pack_dir: &pack, pack_uid: [2; 16], generation: 0, chunk_size: CHUNK, threads: 2, base };
    let sealed = seal::seal(&fixture.vault, &second, &plan).unwrap();
    assert_eq!(sealed.plaintext_bytes, 1000 + 7);
    assert_eq!(sealed.borrowed_files, 4);
    assert_eq!(sealed.descriptor.requires, [UID]);
    let to = fixture.dir.path().join("opened2");
    seal::open(&fixture.vault, [2; 16], &second, &to, None).unwrap();
    assert_eq!(tree(&to), tree(&pack));
    // A third borrows from both, through the second alone.
    let third = PackKey::from_bytes([10; 32]);
    files.push(("data/newer.parquet", noise("newer", 10)));
    let pack = fixture.dir.path().join("pack3");
    write_pack(&pack, &files);
    let base = Some(Base { pack_uid: [2; 16], key: &second });
    let plan = SealPlan { pack_dir: &pack, pack_uid: [3; 16], base, ..plan };
    let sealed = seal::seal(&fixture.vault, &third, &plan).unwrap();
    assert_eq!((sealed.plaintext_bytes, sealed.borrowed_files), (10, 6));
    assert_eq!(sealed.descriptor.requires, [[2; 16], UID]);
    let to = fixture.dir.path().join("opened3");
    seal::open(&fixture.vault, [3; 16], &third, &to, None).unwrap();
    assert_eq!(tree(&to), tree(&pack));
    // A borrowed object that rots is found by the pack that borrows it, and named.
    let lost = &fixture.sealed.descriptor.data_objects[1];
    fs::remove_file(fixture.vault.object_path(&lost.object_blake3)).unwrap();
    let report = seal::verify(&fixture.vault, [3; 16], Some(&third)).unwrap();
    assert!(report.findings.iter().any(|finding| finding.to_string().contains(&hex::encode(lost.object_blake3))));
}

#[test]
fn a_sealing_less_than_half_used_is_not_borrowed_from() {
    let fixture = Fixture::new();
    let pack = fixture.dir.path().join("pack2");
    write_pack(&pack, &[("data/c/exact.parquet", noise("exact", CHUNK))]);
    let second = PackKey::from_bytes([9; 32]);
    let base = Some(Base { pack_uid: UID, key: &fixture.key });
    let plan = SealPlan { pack_dir: &pack, pack_uid: [2; 16], generation: 0, chunk_size: CHUNK, threads: 1, base };
    let sealed = seal::seal(&fixture.vault, &second, &plan).unwrap();
    assert_eq!((sealed.borrowed_files, sealed.plaintext_bytes), (0, CHUNK as u64));
    assert!(sealed.descriptor.requires.is_empty());
}

#[test]
fn an_identity_file_that_others_may_read_is_refused_and_one_is_never_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity");
    let identity = Identity::generate();
    identity.write_new(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Identity::read(&path).unwrap().to_public().to_string(), identity.to_public().to_string());
    assert!(Identity::generate().write_new(&path).is_err());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(Identity::read(&path).unwrap_err().kind(), Kind::Contract);
    assert_eq!(Identity::read(&dir.path().join("none")).unwrap_err().kind(), Kind::NotFound);
    assert!("age1nonsense".parse::<seal::Recipient>().is_err());
    assert!(!format!("{:?} {:?}", identity, key()).contains("SECRET"));
}
