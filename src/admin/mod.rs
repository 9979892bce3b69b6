//! The admin socket and its REPL: how the owner asks a running node what it knows.
//!
//! Owns `<data_dir>/admin.sock`, the commands that are answered over it, and the client `datanode-admin`. Most of them
//! read, and are given the store and the registry; the few that change something go through the [`Desk`], and each of
//! them is logged with the user who asked. What only the running process knows (what it is at work on, when it wakes)
//! comes as JSON through [`AdminContext::live`].
//!
//! | file | owns |
//! |---|---|
//! | `commands` | the one table of commands: names, arguments, usage; both ends read it |
//! | `protocol` | one JSON object a line, requests and answers |
//! | `server` | the socket, the clients, the bounds |
//! | `queries` | one function a command, over the store |
//! | `render` | answers as text |
//! | `client` | the command line and the REPL |

pub mod client;
pub mod commands;
pub mod protocol;
pub mod queries;
pub mod render;
mod server;

pub use server::{BindError, MAX_CLIENTS, bind, may_ask, serve};

use crate::reload::Reloader;
use crate::shipping::Shipping;
use chrono::{DateTime, Utc};
use datanode_actors::node::Node;
use datanode_schema::clock::Clock;
use datanode_schema::names::{Stage, Vendor};
use datanode_schema::paths::DataDir;
use datanode_schema::registry::Registry;
use datanode_schema::store::Store;
use datanode_schema::trail::Trail;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What the answers are made of.
pub struct AdminContext {
    /// Durable state.
    pub store: Store,
    /// The data folder.
    pub data: DataDir,
    /// Time.
    pub clock: Clock,
    /// The registry as it stands when it is asked for.
    pub registry: Box<dyn Fn() -> Arc<Registry> + Send + Sync>,
    /// Vendors that are enabled.
    pub enabled: BTreeSet<Vendor>,
    /// When the process started.
    pub started_at: DateTime<Utc>,
    /// Version of the program.
    pub version: String,
    /// Facts of the running process, a flat JSON object that `status` shows as it is (`{"busy":false}`).
    pub live: Box<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// Bytes free on the disk of the data folder; see [`free_bytes`].
    pub disk_free: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    /// What `status` counted last; starts empty.
    pub counted: queries::Counted,
    /// What `coverage` counted last; starts empty.
    pub maps: queries::Maps,
    /// What the lists counted last; starts empty.
    pub known: queries::Known,
    /// The collector of order books, where it runs.
    pub books: Option<datanode_actors::books::Board>,
    /// What commands change.
    pub desk: Desk,
    /// Where it is noted who asked for which change.
    pub trail: Trail,
    /// Sets what is logged, as `log.level` of the settings would; the error says what is wrong with the filter.
    pub set_level: SetLevel,
    /// What it was set to since the process started; starts empty.
    pub log_level: Mutex<Option<String>>,
}

/// Sets the filter of the log.
pub type SetLevel = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;
/// Begins a cycle of these stages, all where none is named; false where one is under way.
pub type Begin = Arc<dyn Fn(Vec<Stage>) -> bool + Send + Sync>;

/// What the commands that change something work on.
#[derive(Clone)]
pub struct Desk {
    /// The node.
    pub node: Arc<Node>,
    /// Reads the registry again.
    pub reloader: Arc<Reloader>,
    /// Reads the destinations again, and ships now.
    pub shipping: Arc<Shipping>,
    /// Begins a cycle.
    pub begin: Begin,
}

/// Bytes that this user may still write on the disk of `path`; None where the system does not say.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let s = nix::sys::statvfs::statvfs(path).ok()?;
    let (blocks, size): (u64, u64) = (s.blocks_available(), s.fragment_size());
    blocks.checked_mul(size)
}
