//! Whatever is done to a vault, verifying says so and says where.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod seal_support;

use std::fs;
use std::path::Path;

use datanode_actors::seal::chunk::Header;
use datanode_actors::seal::{self, Diagnosis, Finding, Kind, PackKey};
use rand::{Rng, SeedableRng, rngs::StdRng};
use seal_support::*;

/// What verifying says, as one text; empty when it is content.
fn complaint(fixture: &Fixture, key: Option<&PackKey>) -> String {
    match seal::verify(&fixture.vault, UID, key) {
        Ok(report) => report.findings.iter().map(|finding| format!("{finding}\n")).collect(),
        Err(error) => error.to_string(),
    }
}

fn flip(path: &Path, at: usize, mask: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= mask;
    fs::write(path, bytes).unwrap();
}

fn diagnoses(fixture: &Fixture, key: &PackKey) -> Vec<Diagnosis> {
    let report = seal::verify(&fixture.vault, UID, Some(key)).unwrap();
    let objects = report.findings.into_iter().map(|finding| match finding {
        Finding::Object { diagnosis, .. } => diagnosis,
        other => panic!("{other}"),
    });
    objects.collect()
}

#[test]
fn every_flipped_byte_of_descriptor_stanza_and_checksum_is_found_and_named() {
    let fixture = Fixture::of(&[("data/one", vec![1])]);
    let name = hex::encode(UID);
    let (descriptor, stanza) = (fixture.vault.descriptor_path(&UID), fixture.vault.stanza_path(&UID));
    for path in [descriptor, stanza, fixture.vault.stanza_sum_path(&UID)] {
        for at in 0..fs::read(&path).unwrap().len() {
            // 0x20 turns hex digits into their other case: the same value, another text.
            for mask in [0x01, 0x20, 0x80] {
                flip(&path, at, mask);
                let said = complaint(&fixture, (at % 2 == 0).then_some(&fixture.key));
                assert!(said.contains(&name), "{} byte {at} mask {mask:#x}: {said:?}", path.display());
                flip(&path, at, mask);
            }
        }
    }
    assert_eq!(complaint(&fixture, Some(&fixture.key)), "");
}

#[test]
fn flipped_bytes_of_objects_are_found_named_and_called_storage_rot() {
    let fixture = Fixture::new();
    let objects: Vec<_> = fixture.sealed.descriptor.leaves().cloned().collect();
    let mut random = StdRng::seed_from_u64(20240102);
    for round in 0..300 {
        let object = &objects[round % objects.len()];
        let path = fixture.vault.object_path(&object.object_blake3);
        // Every byte of the first headers, then anywhere.
        let at = if round < 110 { round.min(103) } else { random.random_range(0..object.object_len as usize) };
        let mask = 1 << random.random_range(0..8);
        flip(&path, at, mask);
        let key = (round % 2 == 0).then_some(&fixture.key);
        let said = complaint(&fixture, key);
        assert!(said.contains(&hex::encode(object.object_blake3)) && said.contains("storage rot"), "{at}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        flip(&path, at, mask);
    }
    assert_eq!(complaint(&fixture, Some(&fixture.key)), "");
}

#[test]
fn all_bad_objects_are_listed_with_the_files_they_hold() {
    let fixture = Fixture::new();
    let data = &fixture.sealed.descriptor.data_objects;
    assert!(data.len() >= 5);
    fs::remove_file(fixture.vault.object_path(&data[0].object_blake3)).unwrap();
    flip(&fixture.vault.object_path(&data[2].object_blake3), 500, 1);
    fs::write(fixture.vault.object_path(&data[4].object_blake3), b"short").unwrap();
    let report = fixture.verify().unwrap();
    assert_eq!(report.kind(), Some(Kind::Integrity));
    let found: Vec<(u32, Diagnosis, Vec<String>)> = report
        .findings
        .into_iter()
        .map(|finding| match finding {
            Finding::Object { index, diagnosis, files, .. } => (index, diagnosis, files),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(found.iter().map(|(index, ..)| *index).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(found[0].1, Diagnosis::Missing);
    assert_eq!(found[1].1, Diagnosis::Leaf);
    assert_eq!(found[2].1, Diagnosis::Length { expected: data[4].object_len, found: 5 });
    assert_eq!(found[0].2, ["data/a/tiny.parquet", "data/b/long.parquet"]);
    assert_eq!(seal::check(&fixture.vault, UID).unwrap().findings.len(), 2, "presence alone sees lengths");
}

#[test]
fn truncated_grown_swapped_and_duplicated_objects_are_found() {
    let fixture = Fixture::new();
    let data = fixture.sealed.descriptor.data_objects.clone();
    let paths: Vec<_> = data.iter().map(|object| fixture.vault.object_path(&object.object_blake3)).collect();
    let (one, two) = (fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
    for wrong in [&one[..0], &one[..50], &one[..one.len() - 1], &[&one[..], b"\0"].concat(), &two[..]] {
        fs::write(&paths[0], wrong).unwrap();
        assert_eq!(diagnoses(&fixture, &fixture.key).len(), 1);
    }
    fs::write(&paths[1], &one).unwrap();
    fs::write(&paths[0], &two).unwrap();
    assert_eq!(diagnoses(&fixture, &fixture.key), [Diagnosis::Leaf, Diagnosis::Leaf]);
}

/// Writes another descriptor in place of the pack's own, canonical and with a root that holds.
fn replace_descriptor(fixture: &Fixture, change: impl FnOnce(&mut Vec<seal::ObjectRef>)) {
    let old = &fixture.sealed.descriptor;
    let mut data = old.data_objects.clone();
    change(&mut data);
    let new = seal::Descriptor::new(
        UID,
        old.generation,
        data,
        old.manifest_objects.clone(),
        old.parity.objects.clone(),
        Vec::new(),
    )
    .unwrap();
    fs::write(fixture.vault.descriptor_path(&UID), new.encode().unwrap()).unwrap();
}

#[test]
fn a_consistent_descriptor_that_drops_swaps_or_repeats_chunks_is_found_without_any_key() {
    let changes: [fn(&mut Vec<seal::ObjectRef>); 4] = [
        |data| _ = data.remove(1),
        |data| data.swap(0, 1),
        |data| data.push(data[0].clone()),
        |data| data[1] = data[0].clone(),
    ];
    for change in changes {
        let fixture = Fixture::new();
        replace_descriptor(&fixture, change);
        for key in [None, Some(&fixture.key)] {
            let said = complaint(&fixture, key);
            assert!(said.contains("wrong chunk header"), "{said}");
        }
    }
}

#[test]
fn the_three_causes_of_failure_are_told_apart() {
    let fixture = Fixture::new();
    let wrong_key = diagnoses(&fixture, &PackKey::from_bytes([1; 32]));
    // Parity has no key.
    assert_eq!(wrong_key.len(), fixture.sealed.descriptor.chunk_count as usize);
    assert!(wrong_key.iter().all(|diagnosis| *diagnosis == Diagnosis::Commitment));

    // An object whose name and descriptor were made to fit its altered ciphertext.
    let object = fixture.sealed.descriptor.data_objects[1].clone();
    let mut bytes = fs::read(fixture.vault.object_path(&object.object_blake3)).unwrap();
    bytes[200] ^= 1;
    let hash = fixture.vault.put(&bytes).unwrap();
    replace_descriptor(&fixture, |data| data[1].object_blake3 = hash);
    assert_eq!(diagnoses(&fixture, &fixture.key), [Diagnosis::Aead]);
    assert!(seal::verify(&fixture.vault, UID, None).unwrap().is_ok(), "no key, no tag");

    flip(&fixture.vault.object_path(&hash), 200, 1);
    assert_eq!(diagnoses(&fixture, &fixture.key), [Diagnosis::Leaf]);
}

#[test]
fn the_commitment_is_checked_before_the_cipher() {
    let fixture = Fixture::new();
    let object = fixture.sealed.descriptor.data_objects[1].clone();
    let mut bytes = fs::read(fixture.vault.object_path(&object.object_blake3)).unwrap();
    bytes[72] ^= 1; // the commitment itself
    bytes[200] ^= 1; // and a byte that the tag covers
    let hash = fixture.vault.put(&bytes).unwrap();
    replace_descriptor(&fixture, |data| data[1].object_blake3 = hash);
    assert_eq!(diagnoses(&fixture, &fixture.key), [Diagnosis::Commitment]);
}

#[test]
fn lengths_beyond_the_limits_are_refused_from_the_header_alone() {
    let fixture = Fixture::new();
    let object = &fixture.sealed.descriptor.data_objects[0];
    let good = fs::read(fixture.vault.object_path(&object.object_blake3)).unwrap();
    assert!(Header::parse(&good[..104]).is_ok());
    for (at, value) in [(40, (16u32 << 20) + 1), (44, (16 << 20) + (64 << 10) + 1), (40, u32::MAX), (40, 0), (36, 2)] {
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
        bad[7] = 1; // zstd, whose payload may be of any length within the limits
        assert!(Header::parse(&bad).is_err(), "offset {at} value {value}");
    }
    for at in (0..8).chain(24..40) {
        let mut bad = good.clone();
        bad[at] ^= 0x80;
        // Generation and a larger count are for the caller to compare; everything else is refused on sight.
        assert_eq!(Header::parse(&bad).is_ok(), (24..28).contains(&at) || (32..36).contains(&at), "byte {at}");
    }
    for len in 0..104 {
        assert!(Header::parse(&good[..len]).is_err());
    }
}

/// An object with a valid commitment and tag around any payload at all, made by hand.
fn forge(key: [u8; 32], mut header: Vec<u8>, plaintext_len: u32, payload: &[u8]) -> Vec<u8> {
    use chacha20poly1305::aead::{Aead, KeyInit, Payload};
    header.truncate(72);
    header[7] = 1;
    header[40..44].copy_from_slice(&plaintext_len.to_le_bytes());
    header[44..48].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    let (aad, salt) = header.split_at(48);
    let mut okm = [0u8; 88];
    let info = [b"datanode/chunk/v1\0", salt, aad].concat();
    hkdf::Hkdf::<sha2::Sha256>::from_prk(&key).unwrap().expand(&info, &mut okm).unwrap();
    let cipher = chacha20poly1305::XChaCha20Poly1305::new_from_slice(&okm[..32]).unwrap();
    let nonce: [u8; 24] = okm[32..56].try_into().unwrap();
    let sealed = cipher.encrypt(&nonce.into(), Payload { msg: payload, aad }).unwrap();
    [&header[..], &okm[56..], &sealed].concat()
}

#[test]
fn an_authentic_payload_that_unpacks_to_another_length_is_refused_at_that_length() {
    let fixture = Fixture::new();
    let key = PackKey::from_bytes([8; 32]);
    let sealed = seal_pack(&fixture.vault, &fixture.pack(), [8; 16], &key);
    let object = sealed.descriptor.data_objects[0].clone();
    let honest = fs::read(fixture.vault.object_path(&object.object_blake3)).unwrap();
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    let short = zstd::bulk::compress(&[0; 100], 1).unwrap();
    for payload in [&bomb[..], &short[..], b"no frame at all", b""] {
        let bytes = forge([8; 32], honest.clone(), 65536, payload);
        let object_blake3 = fixture.vault.put(&bytes).unwrap();
        let mut data = sealed.descriptor.data_objects.clone();
        data[0] = seal::ObjectRef { object_blake3, object_len: bytes.len() as u64 };
        let manifest = sealed.descriptor.manifest_objects.clone();
        let forged =
            seal::Descriptor::new([8; 16], 0, data, manifest, sealed.descriptor.parity.objects.clone(), Vec::new())
                .unwrap();
        fs::write(fixture.vault.descriptor_path(&[8; 16]), forged.encode().unwrap()).unwrap();
        let report = seal::verify(&fixture.vault, [8; 16], Some(&key)).unwrap();
        let found = |finding: &Finding| matches!(finding, Finding::Object { diagnosis: Diagnosis::Codec, .. });
        assert!(report.findings.iter().any(found), "{:?}", report.findings);
    }
}

#[test]
fn a_descriptor_that_is_newer_or_not_canonical_is_refused() {
    let fixture = Fixture::new();
    let text = String::from_utf8(fixture.sealed.descriptor.encode().unwrap()).unwrap();
    let refused = |text: &str| seal::Descriptor::decode("d", text.as_bytes()).unwrap_err().kind();
    assert_eq!(refused(&text.replace("\"version\":1}", "\"version\":2}")), Kind::Contract);
    assert_eq!(refused(&text.replace("\"version\":1}", "\"version\":2,\"what\":0}")), Kind::Contract);
    for bad in [
        text.trim_end().to_owned(),
        format!("{text}\n"),
        text.replace(",\"version\":1}", ",\"version\":1 }"),
        text.replace("\"generation\":0", "\"generation\":0.0"),
        text.replace("\"generation\":0", "\"generation\":00"),
        text.replace("\"generation\":0", "\"generation\":0,\"generation\":0"),
        text.replace("\"generation\":0", "\"generation\":0,\"hint\":0"),
        text.replace("\"rs-20-1\"", "\"nothing\""),
        text.replace("\"rs-20-1\"", "\"none\""),
        text.replace("\"scheme\"", "\"\\u0073cheme\""),
        String::new(),
    ] {
        assert_eq!(refused(&bad), Kind::Integrity, "{bad}");
    }
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap() + "\n", text, "sorted keys: {:?}", keys(&value));
}
