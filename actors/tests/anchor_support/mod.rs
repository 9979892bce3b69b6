//! A node with sealings to anchor: their descriptors are real, their objects are not needed.
#![allow(dead_code, reason = "each test file uses its part")]

use datanode_actors::anchor::LogKey;
use datanode_actors::node::{Node, NodeParts, RunCaps};
use datanode_actors::publishing::Publishing;
use datanode_actors::seal::{Descriptor, Identity, ObjectRef, PackUid};
use datanode_schema::clock::Clock;
use datanode_schema::paths::DataDir;
use datanode_schema::records::SealingRecord;
use datanode_schema::registry::{Registry, Sources};
use datanode_schema::store::{Batch, Store, StoreOptions};
use datanode_schema::trees;
use std::path::{Path, PathBuf};

/// A registry that parses.
fn registry() -> Registry {
    let mut sources = Sources::read(None, None, None).unwrap();
    let universe = "universe:\n  equities_bars:\n    AAPL: [{from: 2020-01-02, to: 2020-01-10}]\n";
    sources.universe = ("universe.yaml".into(), universe.into());
    Registry::parse(&sources).unwrap()
}

/// A node of `dir`, with the key of its log in `keys/`.
pub fn node(dir: &Path, per_chunk: bool) -> Node {
    let options = StoreOptions { free_space_floor: 0, ..StoreOptions::default() };
    let file = dir.join("keys/anchor.key");
    if !file.exists() {
        std::fs::create_dir_all(dir.join("keys")).unwrap();
        LogKey::generate("test/log").unwrap().write_new(&file).unwrap();
    }
    let mut publishing = Publishing::for_key(Identity::generate(), LogKey::read(&file).unwrap());
    publishing.anchor.per_chunk = per_chunk;
    Node::new(NodeParts {
        store: Store::open(&dir.join("state"), &trees::all(), &options).unwrap(),
        data: DataDir::new(dir),
        clock: Clock::frozen("2026-03-01T00:00:00Z".parse().unwrap()),
        enabled: Default::default(),
        lease_ms: 60_000,
        caps: RunCaps::default(),
        host_id: "test".into(),
        source: "test".into(),
        config_sha256: String::new(),
        threads: 1,
        publishing,
        registry: registry(),
    })
}

/// The uid of the n-th sealing: not in the order of the numbers.
pub fn uid(n: u32) -> PackUid {
    *blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap()
}

/// The descriptor of the n-th sealing, of `objects` objects.
pub fn descriptor(n: u32, generation: u32, objects: u32) -> Descriptor {
    let object = |i: u32| {
        let hash = *blake3::hash(&[n.to_le_bytes(), i.to_le_bytes()].concat()).as_bytes();
        ObjectRef { object_blake3: hash, object_len: 65_536 + 120 }
    };
    let data = (1..objects).map(object).collect();
    Descriptor::new(uid(n), generation, data, vec![object(0)], Vec::new(), Vec::new()).unwrap()
}

pub fn descriptor_file(dir: &Path, n: u32) -> PathBuf {
    dir.join(format!("vault/descriptors/{}.json", hex::encode(uid(n))))
}

/// Puts sealings into the vault and the state, as sealing does.
pub fn seal(node: &Node, dir: &Path, numbers: std::ops::Range<u32>) {
    std::fs::create_dir_all(dir.join("vault/descriptors")).unwrap();
    let mut batch = Batch::new();
    for n in numbers {
        std::fs::write(descriptor_file(dir, n), descriptor(n, 0, 3).encode().unwrap()).unwrap();
        let record = SealingRecord { export_id: format!("pack-{n:06}"), generation: 0, done: 1 };
        batch.put(&trees::SEALINGS, &hex::encode(uid(n)), &record).unwrap();
    }
    node.store.commit(batch).unwrap();
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for e in std::fs::read_dir(from).unwrap() {
        let e = e.unwrap();
        let target = to.join(e.file_name());
        match e.file_type().unwrap().is_dir() {
            true => copy(&e.path(), &target),
            false => _ = std::fs::copy(e.path(), target).unwrap(),
        }
    }
}
