//! What becomes of a judged night: how it is packed, sealed and shipped, and how long each copy stays.

use crate::anchor::LogKey;
use crate::keyring::Keys;
use crate::objects::Access;
use crate::seal::Identity;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

/// Packing, sealing, shipping and retention, as configured.
pub struct Publishing {
    /// The node's key, and who else may open what is sealed: read anew by whoever needs it, since `datanode key` changes them while a
    /// node runs.
    pub keys: Keys,
    /// Plaintext bytes of a chunk.
    pub chunk_bytes: usize,
    /// How packs are made.
    pub export: ExportRules,
    /// Where packs are brought.
    pub destinations: Destinations,
    /// Which packs stay on this disk.
    pub keep: Keep,
    /// Days that what nothing in the vault needs waits under a tombstone.
    pub trash_days: u32,
    /// How the vault is looked after.
    pub vault: VaultRules,
    /// How sealings are anchored.
    pub anchor: AnchorRules,
    /// Where closed files are brought by rclone; None: they stay.
    pub offload: Option<OffloadRules>,
}

impl Publishing {
    /// Full packs, sealed for the node alone, brought nowhere, kept as by default.
    pub fn for_key(identity: Identity, log: LogKey) -> Self {
        Self {
            keys: Keys::held(identity),
            chunk_bytes: crate::seal::DEFAULT_CHUNK,
            export: ExportRules::default(),
            destinations: Destinations::default(),
            keep: Keep::default(),
            trash_days: 7,
            vault: VaultRules::default(),
            anchor: AnchorRules { key: log, per_chunk: false },
            offload: None,
        }
    }
}

/// How the vault is looked after.
#[derive(Clone, Default)]
pub struct VaultRules {
    /// Every object is read within so many days; 0: never by itself.
    pub scrub_days: u32,
    /// Bytes a second that this may read; 0: as fast as it goes.
    pub scrub_bytes_per_second: u64,
    /// The second copy; None: there is none.
    pub replica: Option<Replica>,
}

/// A second copy of the vault.
#[derive(Clone)]
pub struct Replica {
    /// Where it is, and how one gets in.
    pub access: Access,
    /// Bytes a second; 0: as fast as it goes.
    pub bytes_per_second: u64,
}

/// How sealings are anchored.
#[derive(Clone)]
pub struct AnchorRules {
    /// The log's key.
    pub key: LogKey,
    /// Whether each chunk has an entry too.
    pub per_chunk: bool,
}

/// How packs are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRules {
    /// What a pack holds.
    pub scope: ExportScope,
    /// Under [`ExportScope::Delta`]: a full pack after so many days.
    pub full_every_days: u32,
    /// Whether each pack is also written as one `.tar.zst` file.
    pub archive: bool,
}

impl Default for ExportRules {
    fn default() -> Self {
        Self { scope: ExportScope::Full, full_every_days: 7, archive: false }
    }
}

/// What a pack holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportScope {
    /// Every file.
    #[default]
    Full,
    /// The files that the packs before it do not hold, and the names of those that do.
    Delta,
}

impl ExportScope {
    /// The last part of an export id.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Delta => "delta",
        }
    }
}

/// What ships.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShipMode {
    /// The plaintext pack.
    Plain,
    /// The sealed pack.
    Sealed,
    /// Both.
    #[default]
    Both,
}

/// Which packs stay. A pack stays where any rule keeps it; what a kept pack builds on stays with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The newest packs; at least 1.
    pub last: usize,
    /// Packs younger than so many days; 0: no such rule.
    pub days: u32,
    /// The newest pack of each of the newest months that have one; 0: no such rule.
    pub monthly: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Self { last: 30, days: 0, monthly: 0 }
    }
}

/// Closed files to another place, by rclone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffloadRules {
    /// An rclone remote and a path; no connection string, since that may hold secrets.
    pub remote: String,
    /// The program.
    pub program: PathBuf,
    /// Its configuration file; empty: its own.
    pub config: PathBuf,
    /// Days that a file stays here, verified there or not.
    pub keep_days: u32,
    /// Bytes a second; 0: as fast as it goes.
    pub bytes_per_second: u64,
}

/// One place that packs are brought to. Each has its own receipts, and none waits for another.
#[derive(Clone)]
pub struct Destination {
    /// Its name in settings, receipts and counters: lower-case letters, digits, `-`.
    pub name: String,
    /// Where it is, and how one gets in.
    pub access: Access,
    /// What is brought there.
    pub mode: ShipMode,
    /// Whether its owner accepts a bucket that fails the probe.
    pub accept_unsafe: bool,
    /// Bytes a second, over all that is under way; 0: as fast as it goes.
    pub bytes_per_second: u64,
    /// Objects under way at once.
    pub parallel: usize,
    /// Which packs stay there; None: all.
    pub keep: Option<Keep>,
}

/// The destinations, which a reload swaps as one. What is under way goes on with those that it began with.
#[derive(Default)]
pub struct Destinations(RwLock<Arc<Vec<Destination>>>);

impl Destinations {
    /// These, in this order.
    pub fn new(all: Vec<Destination>) -> Self {
        Self(RwLock::new(Arc::new(all)))
    }

    /// As they stand.
    pub fn current(&self) -> Arc<Vec<Destination>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Others from now on.
    pub fn set(&self, all: Vec<Destination>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
    }
}
