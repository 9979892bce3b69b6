//! A sealed manifest is authentic and hostile all the same: somebody who may seal must not be able to write elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod seal_support;

use std::fs;

use datanode_actors::seal::chunk::{ChunkKeys, ChunkType, PAD, Place, Sealer};
use datanode_actors::seal::{self, Descriptor, Kind, ObjectRef, SealError, SealedManifest};
use seal_support::*;
use sha2::{Digest, Sha256};

const HOSTILE: [u8; 16] = [0x66; 16];

/// Seals a manifest of our making beside the fixture's data, under a uid and descriptor that are all in order.
fn seal_manifest(fixture: &Fixture, change: impl FnOnce(&mut SealedManifest)) {
    let honest = seal::read_manifest(&fixture.vault, &fixture.sealed.descriptor, &fixture.key).unwrap();
    let mut manifest = honest.clone();
    manifest.pack_uid = HOSTILE;
    manifest.files.iter_mut().for_each(|file| file.sealing = HOSTILE);
    change(&mut manifest);
    let mut text = serde_json::to_vec(&manifest).unwrap();
    text.push(b'\n');
    text.resize(text.len().next_multiple_of(PAD), 0);
    seal_text(fixture, &honest, &text);
}

fn seal_text(fixture: &Fixture, honest: &SealedManifest, text: &[u8]) {
    let keys = ChunkKeys::new(&fixture.key).unwrap();
    let mut sealer = Sealer::new().unwrap();
    let mut plain = Vec::new();
    for file in &honest.files {
        plain.extend(fs::read(fixture.pack().join(&file.path)).unwrap());
    }
    plain.resize(plain.len().next_multiple_of(PAD), 0);
    let pieces: Vec<(ChunkType, &[u8])> = plain
        .chunks(CHUNK)
        .map(|piece| (ChunkType::Data, piece))
        .chain(text.chunks(CHUNK).map(|piece| (ChunkType::Manifest, piece)))
        .collect();
    let count = pieces.len() as u32;
    let (mut data, mut sealed) = (Vec::new(), Vec::new());
    for (index, (kind, piece)) in (0..).zip(pieces) {
        let place = Place { kind, pack_uid: HOSTILE, generation: 0, index, count };
        let object = sealer.seal(&keys, &place, piece).unwrap();
        let object_blake3 = fixture.vault.put(object).unwrap();
        let list = if kind == ChunkType::Data { &mut data } else { &mut sealed };
        list.push(ObjectRef { object_blake3, object_len: object.len() as u64 });
    }
    let descriptor = Descriptor::new(HOSTILE, 0, data, sealed, Vec::new(), Vec::new()).unwrap();
    fs::write(fixture.vault.descriptor_path(&HOSTILE), descriptor.encode().unwrap()).unwrap();
}

fn try_open(fixture: &Fixture) -> Result<seal::OpenReport, SealError> {
    let to = fixture.dir.path().join("deep/er/opened");
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let outcome = seal::open(&fixture.vault, HOSTILE, &fixture.key, &to, None);
    if outcome.is_err() {
        assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 0, "something was left behind");
    }
    fs::remove_dir_all(fixture.dir.path().join("deep")).unwrap();
    outcome
}

/// Renames a file in the list and in the sums alike, keeping the sums' order where it can.
fn rename(manifest: &mut SealedManifest, to: &str) {
    let old = manifest.files[1].path.clone();
    manifest.files[1].path = to.to_owned();
    let mut lines: Vec<String> =
        manifest.sha256sums.lines().map(|line| line.replace(&format!("  {old}"), &format!("  {to}"))).collect();
    lines.sort_by_key(|line| line[66..].to_owned());
    manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
    manifest.sha256sums = lines.join("\n") + "\n";
}

#[test]
fn the_forger_of_these_tests_makes_packs_that_open_when_honest() {
    let fixture = Fixture::new();
    seal_manifest(&fixture, |_| ());
    try_open(&fixture).unwrap();
    seal_manifest(&fixture, |manifest| rename(manifest, "data/other"));
}

#[test]
fn paths_that_leave_confuse_or_collide_are_refused_and_nothing_is_written() {
    for path in [
        "/etc/cron.d/x",
        "../escaped",
        "data/../../escaped",
        "data//x",
        "data/./x",
        "data/x/",
        "",
        "data/nul\0",
        "data\\x",
        "data/new\nline",
        "data/b/long.parquet",
        "data/b/long.parquet/beneath",
        "manifest.json",
        "manifest.json/beneath",
        "SHA256SUMS.stable.txt",
        &"x".repeat(256),
        &"x/".repeat(600),
    ] {
        let fixture = Fixture::new();
        seal_manifest(&fixture, |manifest| rename(manifest, path));
        let error = try_open(&fixture).unwrap_err();
        assert_eq!(error.kind(), Kind::Contract, "{path:?}: {error}");
        let report = seal::verify(&fixture.vault, HOSTILE, Some(&fixture.key)).unwrap();
        assert!(report.findings.iter().any(|f| f.to_string().contains("sealed manifest")), "{path:?}");
    }
}

#[test]
fn ranges_lists_and_texts_that_disagree_are_refused() {
    type Change = fn(&mut SealedManifest);
    let changes: [(&str, Change); 14] = [
        ("beyond the stream", |m| m.files[1].offset = u64::MAX),
        ("longer than the stream", |m| m.files[2].length = u64::MAX),
        ("a chunk too many", |m| m.files[2].chunk = 5000),
        ("last chunk number", |m| m.files[2].chunk = u32::MAX),
        ("offset at a chunk's end", |m| m.files[1].offset = CHUNK as u64),
        ("unknown sealing", |m| m.files[1].sealing = [1; 16]),
        ("file not in the sums", |m| m.files[1].path = "data/a/unlisted".into()),
        ("file missing from the list", |m| _ = m.files.remove(1)),
        ("other manifest.json", |m| m.manifest_json.push(' ')),
        ("chunk size 0", |m| m.chunk_size = 0),
        ("chunk size too large", |m| m.chunk_size = 32 << 20),
        ("stream of another length", |m| m.stream_bytes += 1 << 30),
        ("newer version", |m| m.version = 2),
        ("another generation", |m| m.generation = 1),
    ];
    for (name, change) in changes {
        let fixture = Fixture::new();
        seal_manifest(&fixture, change);
        let error = try_open(&fixture).unwrap_err();
        assert_eq!(error.kind(), Kind::Contract, "{name}: {error}");
        assert!(!seal::verify(&fixture.vault, HOSTILE, Some(&fixture.key)).unwrap().is_ok(), "{name}");
    }
}

#[test]
fn authentic_chunks_that_do_not_give_the_file_its_sum_are_found() {
    let fixture = Fixture::new();
    seal_manifest(&fixture, |manifest| manifest.files[1].offset += 1);
    assert_eq!(try_open(&fixture).unwrap_err().kind(), Kind::Integrity);
    let report = seal::verify(&fixture.vault, HOSTILE, Some(&fixture.key)).unwrap();
    let named: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(named.iter().any(|finding| finding.contains("data/a/tiny.parquet")), "{named:?}");
    // The same for a file that spans chunks.
    seal_manifest(&fixture, |manifest| manifest.files[2].offset += 1);
    assert_eq!(try_open(&fixture).unwrap_err().kind(), Kind::Integrity);
    let report = seal::verify(&fixture.vault, HOSTILE, Some(&fixture.key)).unwrap();
    assert!(report.findings.iter().any(|finding| finding.to_string().contains("data/b/long.parquet")));
    // A file of no bytes whose sum is of some.
    let fixture = Fixture::new();
    seal_manifest(&fixture, |manifest| {
        let (empty, some) = (hex::encode(Sha256::digest(b"")), hex::encode(Sha256::digest(b"x")));
        manifest.sha256sums = manifest.sha256sums.replace(&empty, &some);
    });
    assert_eq!(try_open(&fixture).unwrap_err().kind(), Kind::Integrity);
}

#[test]
fn text_that_is_not_canonical_or_not_padded_with_zeros_is_refused() {
    let fixture = Fixture::new();
    let mut honest = seal::read_manifest(&fixture.vault, &fixture.sealed.descriptor, &fixture.key).unwrap();
    honest.pack_uid = HOSTILE;
    honest.files.iter_mut().for_each(|file| file.sealing = HOSTILE);
    let text = serde_json::to_string(&honest).unwrap();
    for bad in [
        format!("{text} \n"),
        text.clone(),
        format!("{text}\n{{}}"),
        text.replacen("\"version\":1", "\"extra\":0,\"version\":1", 1) + "\n",
        text.replacen("\"version\":1", "\"version\":1,\"version\":1", 1) + "\n",
        "[".repeat(50_000),
    ] {
        let mut padded = bad.clone().into_bytes();
        padded.resize(padded.len().next_multiple_of(PAD), 0);
        seal_text(&fixture, &honest, &padded);
        assert!(try_open(&fixture).is_err(), "{}", &bad[bad.len().saturating_sub(40)..]);
        fs::remove_file(fixture.vault.descriptor_path(&HOSTILE)).unwrap();
    }
}
