//! Bytes that must stay as they are: golden vectors, and a reader that shares no code with ours.
//!
//! `DATANODE_BLESS=1` writes the vectors anew (only for a new version of a format, into a new folder).
//! `DATANODE_PYTHON=…/python` names an interpreter with PyNaCl, blake3, cryptography and zstandard.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod seal_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use datanode_actors::seal::chunk::{ChunkKeys, ChunkType, Codec, Header, Place, Sealer};
use datanode_actors::seal::{self, Base, Identity, PackKey, SealPlan, merkle};
use datanode_actors::vault::Vault;
use hkdf::Hkdf;
use seal_support::*;
use serde_json::{Value, json};
use sha2::Sha256;

const KEY: [u8; 32] = *b"golden pack key, never used else";
const GOLDEN_UID: [u8; 16] = *b"golden pack uid!";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/seal")
}

fn golden_key() -> PackKey {
    PackKey::from_bytes(KEY)
}

fn blessing() -> bool {
    std::env::var_os("DATANODE_BLESS").is_some()
}

fn place() -> Place {
    Place { kind: ChunkType::Data, pack_uid: GOLDEN_UID, generation: 3, index: 1, count: 2 }
}

fn plaintexts() -> [(&'static str, Vec<u8>); 2] {
    [
        ("raw", noise("datanode golden raw", 65536)),
        ("zstd", b"symbol,ts,close\n".iter().copied().cycle().take(65536).collect()),
    ]
}

/// Everything about an object, derived here by hand and not by the code under test.
fn describe(name: &str, plaintext: &[u8], object: &[u8]) -> Value {
    let (aad, salt, commitment) = (&object[..48], &object[48..72], &object[72..104]);
    let mut okm = [0u8; 88];
    let info = [b"datanode/chunk/v1\0", salt, aad].concat();
    Hkdf::<Sha256>::from_prk(&KEY).unwrap().expand(&info, &mut okm).unwrap();
    assert_eq!(&okm[56..], commitment);
    let salt_key = blake3::derive_key("datanode 2026 chunk salt v1", &KEY);
    let header = Header::parse(object).unwrap();
    let payload = match header.codec {
        Codec::Raw => plaintext.to_vec(),
        // Another zstd makes another payload: the one inside the object is what was salted.
        Codec::Zstd => {
            use chacha20poly1305::aead::{Aead, KeyInit, Payload};
            let cipher = chacha20poly1305::XChaCha20Poly1305::new_from_slice(&okm[..32]).unwrap();
            let nonce: [u8; 24] = okm[32..56].try_into().unwrap();
            cipher.decrypt(&nonce.into(), Payload { msg: &object[104..], aad }).unwrap()
        }
    };
    let salted = blake3::keyed_hash(&salt_key, &[aad, blake3::hash(&payload).as_bytes()].concat());
    assert_eq!(&salted.as_bytes()[..24], salt);
    json!({
        "aad": hex::encode(aad),
        "codec": if header.codec == Codec::Raw { "raw" } else { "zstd" },
        "commitment": hex::encode(commitment),
        "file": format!("chunk-{name}.bin"),
        "key": hex::encode(&okm[..32]),
        "nonce": hex::encode(&okm[32..56]),
        "object_blake3": blake3::hash(object).to_hex().as_str(),
        "object_len": object.len(),
        "payload_blake3": blake3::hash(&payload).to_hex().as_str(),
        "plaintext_blake3": blake3::hash(plaintext).to_hex().as_str(),
        "plaintext_len": plaintext.len(),
        "salt": hex::encode(salt),
        "salt_key": hex::encode(salt_key),
        "tag": hex::encode(&object[object.len() - 16..]),
    })
}

fn merkle_vectors() -> Value {
    let leaves = |count: u8| (0..count).map(|i| *blake3::hash(&[i]).as_bytes());
    (0..12).map(|count| json!({"leaves": count, "root": hex::encode(merkle::root(leaves(count)))})).collect()
}

fn seal_golden_pack(vault: &Vault) -> seal::Sealed {
    let plan = SealPlan {
        pack_dir: &golden().join("pack"),
        pack_uid: GOLDEN_UID,
        generation: 3,
        chunk_size: CHUNK,
        threads: 1,
        base: None,
    };
    seal::seal(vault, &golden_key(), &plan).unwrap()
}

fn bless() {
    fs::create_dir_all(golden()).unwrap();
    let mut sealer = Sealer::new().unwrap();
    let keys = ChunkKeys::new(&golden_key()).unwrap();
    let mut chunks = Vec::new();
    for (name, plaintext) in plaintexts() {
        let object = sealer.seal(&keys, &place(), &plaintext).unwrap();
        fs::write(golden().join(format!("chunk-{name}.bin")), object).unwrap();
        chunks.push(describe(name, &plaintext, object));
    }
    write_pack(
        &golden().join("pack"),
        &[
            ("data/a.parquet", noise("golden a", 1000)),
            ("data/b.parquet", noise("golden b", 70_000)),
            ("data/none.parquet", vec![]),
        ],
    );
    _ = fs::remove_dir_all(golden().join("vault"));
    let vault = Vault::open(&golden().join("vault")).unwrap();
    let identity = Identity::generate();
    _ = fs::remove_file(golden().join("identity.txt"));
    identity.write_new(&golden().join("identity.txt")).unwrap();
    vault.put_stanza(&GOLDEN_UID, &seal::wrap(&golden_key(), &[identity.to_public()]).unwrap()).unwrap();
    let sealed = seal_golden_pack(&vault);
    fs::remove_dir(golden().join("vault/tmp")).unwrap();
    fs::remove_file(golden().join("vault/.lock")).unwrap();
    let vectors = json!({
        "chunks": chunks,
        "merkle": merkle_vectors(),
        "pack": {"generation": 3, "merkle_root": hex::encode(sealed.root), "objects": sealed.objects},
        "pack_key": hex::encode(KEY),
        "pack_uid": hex::encode(GOLDEN_UID),
    });
    fs::write(golden().join("vectors.json"), serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
}

fn vectors() -> Value {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if blessing() {
            bless();
        }
    });
    serde_json::from_slice(&fs::read(golden().join("vectors.json")).unwrap()).unwrap()
}

/// The golden vault, copied so that opening it writes nothing into the source tree.
fn golden_vault(dir: &Path) -> Vault {
    for (path, bytes) in tree(&golden().join("vault")) {
        let to = dir.join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
    Vault::open(dir).unwrap()
}

#[test]
fn chunk_objects_are_byte_for_byte_the_golden_ones() {
    let vectors = vectors();
    let keys = ChunkKeys::new(&golden_key()).unwrap();
    for ((name, plaintext), expected) in plaintexts().iter().zip(vectors["chunks"].as_array().unwrap()) {
        let object = fs::read(golden().join(format!("chunk-{name}.bin"))).unwrap();
        assert_eq!(&describe(name, plaintext, &object), expected);
        let header = Header::parse(&object).unwrap();
        assert_eq!((header.place, hex::encode(header.salt).as_str()), (place(), expected["salt"].as_str().unwrap()));
        if *name == "raw" {
            // zstd's output is its version's; only raw chunks can be asked to come out the same.
            assert_eq!(Sealer::new().unwrap().seal(&keys, &place(), plaintext).unwrap(), object);
        }
    }
    assert_eq!(merkle_vectors(), vectors["merkle"]);
    assert_eq!(vectors["pack_key"], hex::encode(KEY));
}

#[test]
fn the_golden_vault_verifies_opens_and_is_sealed_again_alike() {
    let vectors = vectors();
    let dir = tempfile::tempdir().unwrap();
    let vault = golden_vault(&dir.path().join("vault"));
    let identity_file = dir.path().join("identity.txt");
    fs::copy(golden().join("identity.txt"), &identity_file).unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&identity_file, fs::Permissions::from_mode(0o600)).unwrap();
    let identity = Identity::read(&identity_file).unwrap();
    let key = seal::unwrap_key(&vault, GOLDEN_UID, &identity).unwrap();
    let report = seal::verify(&vault, GOLDEN_UID, Some(&key)).unwrap();
    assert!(report.is_ok(), "{:?}", report.findings);
    seal::open(&vault, GOLDEN_UID, &key, &dir.path().join("opened"), None).unwrap();
    assert_eq!(tree(&dir.path().join("opened")), tree(&golden().join("pack")));
    let descriptor = vault.descriptor(&GOLDEN_UID).unwrap();
    assert_eq!(hex::encode(descriptor.merkle_root), vectors["pack"]["merkle_root"].as_str().unwrap());

    let fresh = Vault::open(&dir.path().join("fresh")).unwrap();
    let again = seal_golden_pack(&fresh).descriptor;
    let mut raw = 0;
    for ((_, old), (_, new)) in descriptor.chunks().zip(again.chunks()) {
        let object = vault.get(&old.object_blake3, 1 << 24).unwrap();
        if Header::parse(&object).unwrap().codec == Codec::Raw {
            assert_eq!(old, new);
            raw += 1;
        }
    }
    assert!(raw > 0 && descriptor.chunk_count == again.chunk_count);
}

/// Runs the foreign reader; nothing where no interpreter was named.
fn without_us(args: &[&str]) -> Option<std::process::Output> {
    let Some(python) = std::env::var_os("DATANODE_PYTHON") else {
        eprintln!("SKIPPED: set DATANODE_PYTHON to a python with PyNaCl, blake3, cryptography and zstandard");
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/open_without_us.py");
    Some(Command::new(python).arg(script).args(args).output().unwrap())
}

#[test]
fn a_reader_without_our_code_opens_the_golden_pack_and_refuses_a_wrong_key() {
    vectors();
    let dir = tempfile::tempdir().unwrap();
    let vault = golden_vault(&dir.path().join("vault"));
    let (vault, uid) = (vault.root().to_str().unwrap(), hex::encode(GOLDEN_UID));
    let (out, out2, out3) = (dir.path().join("out"), dir.path().join("out2"), dir.path().join("out3"));
    let Some(done) = without_us(&[vault, &uid, "--pack-key", &hex::encode(KEY), out.to_str().unwrap()]) else { return };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(tree(&out), tree(&golden().join("pack")));
    let done = without_us(&[vault, &uid, "--pack-key", &hex::encode([0; 32]), out2.to_str().unwrap()]).unwrap();
    assert_eq!(done.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&done.stderr).contains("commitment mismatch"));
    if Command::new("age").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no `age` program; the stanza was not unwrapped by it");
        return;
    }
    let identity = golden().join("identity.txt");
    let done = without_us(&[vault, &uid, identity.to_str().unwrap(), out3.to_str().unwrap()]).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(tree(&out3), tree(&golden().join("pack")));
}

#[test]
fn a_reader_without_our_code_opens_a_pack_that_borrows_from_another() {
    let fixture = Fixture::new();
    let mut files = mixed_files();
    files.push(("data/new.parquet", noise("new", 100_000)));
    let pack = fixture.dir.path().join("pack2");
    write_pack(&pack, &files);
    let base = Some(Base { pack_uid: UID, key: &fixture.key });
    let plan = SealPlan { pack_dir: &pack, pack_uid: [2; 16], generation: 0, chunk_size: CHUNK, threads: 2, base };
    assert!(seal::seal(&fixture.vault, &key(), &plan).unwrap().borrowed_files > 0);
    let (descriptor, out) = (fixture.vault.descriptor_path(&[2; 16]), fixture.dir.path().join("out"));
    let (vault, out_text) = (fixture.vault.root().to_str().unwrap(), out.to_str().unwrap());
    let args = [vault, descriptor.to_str().unwrap(), "--pack-key", &hex::encode([7; 32]), out_text];
    let Some(done) = without_us(&args) else { return };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(tree(&out), tree(&pack));
}
