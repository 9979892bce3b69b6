//! Packs to seal and folders to compare, for the tests of sealing.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use datanode_actors::seal::{self, PackKey, PackUid, SealPlan, Sealed};
use datanode_actors::vault::Vault;
use sha2::{Digest, Sha256};

pub const CHUNK: usize = 64 * 1024;
pub const UID: PackUid = [0xA5; 16];

pub fn key() -> PackKey {
    PackKey::from_bytes([7; 32])
}

/// Bytes that zstd cannot shrink, the same for the same seed everywhere: BLAKE3's output for the seed.
pub fn noise(seed: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Writes a plain pack of these files, with manifest and sums.
pub fn write_pack(dir: &Path, files: &[(&str, Vec<u8>)]) {
    let mut all: BTreeMap<String, Vec<u8>> = files.iter().map(|(p, b)| (p.to_string(), b.clone())).collect();
    let listed: Vec<&String> = all.keys().collect();
    let manifest = format!("{{\n  \"files\": {listed:?},\n  \"schema_version\": 1\n}}\n");
    all.insert("manifest.json".into(), manifest.into_bytes());
    let mut sums = String::new();
    for (path, bytes) in &all {
        sums += &format!("{}  {path}\n", hex::encode(Sha256::digest(bytes)));
        let full = dir.join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, bytes).unwrap();
    }
    fs::write(dir.join("SHA256SUMS.stable.txt"), sums).unwrap();
}

/// A pack whose files are empty, tiny, chunk-sized, and longer than three chunks; some shrink, some do not.
pub fn mixed_files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("data/a/empty.parquet", Vec::new()),
        ("data/a/tiny.parquet", b"tiny".to_vec()),
        ("data/b/long.parquet", noise("long", 3 * CHUNK + 12345)),
        ("data/c/exact.parquet", noise("exact", CHUNK)),
        ("data/d/text.parquet", b"2024-01-02,AAPL,185.64\n".repeat(9000)),
        ("data/qc/partition_status.parquet", noise("status", 777)),
        ("data/z/empty.parquet", Vec::new()),
    ]
}

pub fn seal_pack(vault: &Vault, pack: &Path, uid: PackUid, key: &PackKey) -> Sealed {
    try_seal(vault, pack, uid, key, 2).unwrap()
}

pub fn try_seal(
    vault: &Vault,
    pack: &Path,
    uid: PackUid,
    key: &PackKey,
    threads: usize,
) -> Result<Sealed, seal::SealError> {
    let plan = SealPlan { pack_dir: pack, pack_uid: uid, generation: 0, chunk_size: CHUNK, threads, base: None };
    seal::seal(vault, key, &plan)
}

/// A vault with one sealed pack and its stanza, and the plain pack beside it.
pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub vault: Vault,
    pub identity: seal::Identity,
    pub key: PackKey,
    pub sealed: Sealed,
}

impl Fixture {
    pub fn new() -> Self {
        Self::of(&mixed_files())
    }

    pub fn of(files: &[(&str, Vec<u8>)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(&dir.path().join("vault")).unwrap().with_threads(2);
        let identity = seal::Identity::generate();
        let key = seal::prepare(&vault, UID, &[identity.to_public()], &identity).unwrap();
        write_pack(&dir.path().join("pack"), files);
        let sealed = seal_pack(&vault, &dir.path().join("pack"), UID, &key);
        Self { dir, vault, identity, key, sealed }
    }

    pub fn pack(&self) -> PathBuf {
        self.dir.path().join("pack")
    }

    pub fn verify(&self) -> Result<seal::VerifyReport, seal::SealError> {
        seal::verify(&self.vault, UID, Some(&self.key))
    }
}

/// Every file below a folder with its bytes.
pub fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(dir: &Path, below: &str, into: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{below}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => walk(&entry.path(), &format!("{name}/"), into),
                false => _ = into.insert(name, fs::read(entry.path()).unwrap()),
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(dir, "", &mut files);
    files
}
