//! A node for tests of the queue: a store in a folder, and nothing that is published.

use datanode_actors::anchor::LogKey;
use datanode_actors::node::{Node, NodeParts, RunCaps};
use datanode_actors::publishing::Publishing;
use datanode_actors::seal::Identity;
use datanode_schema::clock::Clock;
use datanode_schema::names::Vendor;
use datanode_schema::paths::DataDir;
use datanode_schema::registry::Registry;
use datanode_schema::store::{Store, StoreOptions};
use datanode_schema::trees;
use std::path::Path;
use std::sync::Arc;

/// The node of `dir`; its queue is not open yet.
pub fn node(dir: &Path, clock: Clock, lease_ms: u64, vendors: &[Vendor], registry: Registry) -> Arc<Node> {
    let options = StoreOptions { free_space_floor: 0, ..StoreOptions::default() };
    Arc::new(Node::new(NodeParts {
        store: Store::open(&dir.join("state"), &trees::all(), &options).unwrap(),
        data: DataDir::new(dir),
        clock,
        enabled: vendors.iter().copied().collect(),
        lease_ms,
        caps: RunCaps::default(),
        host_id: "test".into(),
        source: "test".into(),
        config_sha256: String::new(),
        threads: 1,
        publishing: Publishing::for_key(Identity::generate(), LogKey::generate("test").unwrap()),
        registry,
    }))
}
