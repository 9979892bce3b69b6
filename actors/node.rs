//! What every stage shares: the store, the folder, the clock, the registry, and the run that is under way.

use crate::seal::{Identity, Recipient};
use crate::vendor::Ask;
use chrono::{DateTime, NaiveDate, Utc};
use datanode_schema::clock::{Clock, day_number};
use datanode_schema::names::Vendor;
use datanode_schema::paths::DataDir;
use datanode_schema::records::PackRecord;
use datanode_schema::registry::Registry;
use datanode_schema::store::{Store, StoreError};
use datanode_schema::trees::PACKS;
use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// What ships.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShipMode {
    /// The plaintext pack.
    Plain,
    /// The sealed pack.
    Sealed,
    /// Both.
    Both,
}

/// Sealing, shipping and retention, as configured.
pub struct Publishing {
    /// Who may open what is sealed; the node's own key first.
    pub recipients: Vec<Recipient>,
    /// The node's key.
    pub identity: Identity,
    /// Plaintext bytes of a chunk.
    pub chunk_bytes: usize,
    /// The folder that packs are brought to; None: they stay where they are.
    pub destination: Option<PathBuf>,
    /// What is brought there.
    pub ship_mode: ShipMode,
    /// Packs that are kept, counted from the newest.
    pub keep_packs: usize,
    /// Days that a removed vault object waits in the trash.
    pub trash_days: u32,
}

/// One node.
pub struct Node {
    /// Durable state.
    pub store: Store,
    /// The data folder.
    pub data: DataDir,
    /// Time.
    pub clock: Clock,
    /// Vendors that are enabled.
    pub enabled: BTreeSet<Vendor>,
    /// Drawn at start: whose leases are ours.
    pub holder: u64,
    /// How long a claim stands.
    pub lease_ms: u64,
    /// The producer's name in manifests.
    pub host_id: String,
    /// The source part of export ids.
    pub source: String,
    /// Hex SHA-256 of the settings and registries that decide what a pack holds.
    pub config_sha256: String,
    /// Threads for CPU work.
    pub threads: usize,
    /// Sealing, shipping, retention.
    pub publishing: Publishing,
    registry: RwLock<Arc<Registry>>,
    stopping: Arc<AtomicBool>,
}

/// What [`Node::new`] is made of.
pub struct NodeParts {
    /// See [`Node`].
    pub store: Store,
    /// See [`Node`].
    pub data: DataDir,
    /// See [`Node`].
    pub clock: Clock,
    /// See [`Node`].
    pub enabled: BTreeSet<Vendor>,
    /// See [`Node`].
    pub lease_ms: u64,
    /// See [`Node`].
    pub host_id: String,
    /// See [`Node`].
    pub source: String,
    /// See [`Node`].
    pub config_sha256: String,
    /// See [`Node`].
    pub threads: usize,
    /// See [`Node`].
    pub publishing: Publishing,
    /// The registry, checked.
    pub registry: Registry,
}

impl Node {
    /// A node; what it does not yet know is drawn.
    pub fn new(p: NodeParts) -> Self {
        Self {
            store: p.store,
            data: p.data,
            clock: p.clock,
            enabled: p.enabled,
            holder: rand::random(),
            lease_ms: p.lease_ms,
            host_id: p.host_id,
            source: p.source,
            config_sha256: p.config_sha256,
            threads: p.threads,
            publishing: p.publishing,
            registry: RwLock::new(Arc::new(p.registry)),
            stopping: Arc::default(),
        }
    }

    /// The packs that retention has not removed, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub fn standing_packs(&self) -> Result<Vec<(String, PackRecord)>, StoreError> {
        let mut packs = self.store.load_all(&PACKS, &[])?;
        packs.retain(|(_, p)| p.removed_at == 0);
        packs.sort_by_key(|(id, p)| std::cmp::Reverse((p.created_at, id.clone())));
        Ok(packs)
    }

    /// Whether the process was asked to stop: nothing new is claimed, and no further stage begins.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The flag itself, for those who wait without a node.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        self.stopping.clone()
    }

    /// Asks for the stop.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The registry as it stands.
    pub fn registry(&self) -> Arc<Registry> {
        match self.registry.read() {
            Ok(r) => r.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }
}

/// One nightly cycle.
#[derive(Debug)]
pub struct RunContext {
    /// `YYYYMMDDTHHMMSSZ`, with `-2` and so on where that second already has one.
    pub id: String,
    /// The last session considered.
    pub as_of: NaiveDate,
    /// When it was first started; kept by a resumed run.
    pub started_at: DateTime<Utc>,
    /// Only these sessions, where given.
    pub window: Option<(NaiveDate, NaiveDate)>,
    failed: Mutex<HashSet<String>>,
}

impl RunContext {
    /// A run.
    pub fn new(
        id: String,
        as_of: NaiveDate,
        started_at: DateTime<Utc>,
        window: Option<(NaiveDate, NaiveDate)>,
    ) -> Self {
        Self { id, as_of, started_at, window, failed: Mutex::default() }
    }

    /// The UTC day of the run: evidence of "on different days" counts these.
    pub fn today(&self) -> i32 {
        day_number(self.started_at.date_naive())
    }

    /// Remembers that an ask got no answer, so that this run does not ask it for ever.
    pub fn note_failed(&self, ask: &Ask) {
        if let Ok(mut f) = self.failed.lock() {
            f.insert(name_of(ask));
        }
    }

    /// Whether an ask got no answer in this run.
    pub fn has_failed(&self, ask: &Ask) -> bool {
        self.failed.lock().is_ok_and(|f| f.contains(&name_of(ask)))
    }
}

fn name_of(a: &Ask) -> String {
    format!("{} {} {} {} {} {}", a.vendor, a.dataset, a.symbols.join(","), a.from, a.to, a.purpose.name())
}
