//! What goes out: curated files, packs, sealings, chunks, shipments.

use rkyv::{Archive, Deserialize, Serialize};

/// A curated file as it stands.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct CuratedFile {
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Its length.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// First day number in it.
    pub from: i32,
    /// Last day number in it.
    pub to: i32,
    /// Rows of worse vendors that a better one's row replaced.
    pub superseded: u64,
    /// Of those, rows whose prices differed.
    pub conflicts: u64,
    /// Unix seconds.
    pub updated_at: i64,
}

/// A pack.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PackRecord {
    /// Day number of the last session considered.
    pub as_of: i32,
    /// Unix seconds: the recorded time of its run.
    pub created_at: i64,
    /// SHA-256 of manifest.json.
    pub manifest_sha256: [u8; 32],
    /// BLAKE3 over what the pack holds (paths and sums), without its id and times.
    pub content: [u8; 32],
    /// Files, manifest and sums included.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Rows of the data files.
    pub rows: u64,
    /// Hex of the sealing's id; empty while it is not sealed.
    pub pack_uid: String,
    /// Merkle root of the sealing.
    pub root: [u8; 32],
    /// Unix seconds when retention removed the local files, else 0.
    pub removed_at: i64,
}

/// A sealing, written before its first chunk.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct SealingRecord {
    /// The pack that it seals.
    pub export_id: String,
    /// Generation of the pack_uid.
    pub generation: u32,
    /// Whether the descriptor stands in the vault.
    pub done: u8,
}

/// An object of the vault; the tree is a cache of the vault's descriptors.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ChunkRecord {
    /// Hex of the sealing that made it.
    pub pack_uid: String,
    /// Its index in that sealing.
    pub index: u32,
    /// Its length.
    pub bytes: u64,
}

/// An object that arrived at a destination, or was found there and compared.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Of a sealing's `chunks/…` its BLAKE3, of everything else its SHA-256.
    pub sum: [u8; 32],
    /// Its length.
    pub bytes: u64,
    /// What the destination calls this state of it, without quotes; empty where it says nothing.
    pub e_tag: String,
    /// Unix seconds.
    pub at: i64,
}

/// What a destination was seen to do. 0: not known, 1: it does, 2: it does not.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// The destination, as configured.
    pub url: String,
    /// Refuses to create what is there.
    pub create: u8,
    /// Refuses a body that is not what its checksum says.
    pub checksum: u8,
    /// Gives back what was written.
    pub read_back: u8,
    /// In words, what is not as it should be.
    pub note: String,
    /// Unix seconds.
    pub at: i64,
    /// What its marker says, by which it is told from another place; empty before there is one.
    pub id: String,
}

/// A pack's arrival at a destination.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Shipment {
    /// Files that the run brought or compared up to this form.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Unix seconds.
    pub finished_at: i64,
}

/// A pack that stays whatever the rules of retention say.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Pin {
    /// Unix seconds.
    pub at: i64,
    /// `uid 1000`.
    pub by: String,
    /// Why.
    pub note: String,
}

/// A file that was verified at another place.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Offloaded {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// The rclone remote and path that it lies below.
    pub remote: String,
    /// How it was compared: `sha256`, `md5`, `download`.
    pub how: String,
    /// Unix seconds.
    pub verified_at: i64,
    /// Unix seconds when the local file was removed, else 0.
    pub removed_at: i64,
}

/// A sealing's entry in the anchor log; the tree is a cache of the log.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct AnchorRecord {
    /// Its place in the log, from 0.
    pub index: u64,
    /// Unix seconds when a checkpoint first covered it.
    pub at: i64,
}

/// The last checkpoint that this node signed.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct LogHead {
    /// Entries.
    pub size: u64,
    /// Root of the log's tree.
    pub root: [u8; 32],
    /// Unix seconds when it was noted.
    pub at: i64,
}

/// How far reading the vault has come.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct ScrubRecord {
    /// Hex of the last object that was read in this round; empty at its beginning.
    pub cursor: String,
    /// Unix seconds when the round began; 0 before the first.
    pub began_at: i64,
    /// Unix seconds when the last whole round ended, else 0.
    pub ended_at: i64,
    /// Unix seconds of the last reading.
    pub read_at: i64,
    /// Objects read at that time.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Things that were wrong at that time and are not repaired.
    pub bad: u64,
}

/// What became of the last backups.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct BackupRecord {
    /// The newest generation, `backup_<UTC stamp>`; empty before the first.
    pub generation: String,
    /// Unix seconds when it was begun; 0 before the first.
    pub at: i64,
    /// Commit of the state that it holds.
    pub commit: u64,
    /// Bytes of its parts.
    pub bytes: u64,
    /// Hex SHA-256 over what it holds besides the state, as it was found: names, lengths, times.
    pub fingerprint: String,
    /// How many may open it without the node's own key.
    pub others: u64,
    /// Unix seconds of the last attempt that failed since; 0 where none did.
    pub failed_at: i64,
    /// Why it did.
    pub error: String,
}
