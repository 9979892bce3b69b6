//! The seal stage: a pack of the index becomes a sealing of the vault.

use super::{SealError, SealPlan, prepare, seal};
use crate::node::Node;
use crate::vault::Vault;
use datanode_schema::failpoint;
use datanode_schema::records::{ChunkRecord, SealingRecord};
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{CHUNKS, PACKS, SEALINGS};

/// Sealing cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SealStageError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault or a cipher refused.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// What sealing did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SealCounters {
    /// Hex of the sealing's id; empty where there was nothing to seal.
    pub pack_uid: String,
    /// 1 where the pack was sealed before.
    pub unchanged: u64,
    /// Objects of the sealing.
    pub objects: u64,
    /// Objects that were not in the vault before.
    pub new_objects: u64,
    /// Plaintext bytes.
    pub bytes: u64,
    /// Bytes of the objects.
    pub stored_bytes: u64,
}

/// Seals `export_id`, or goes on with a sealing of it that was begun.
///
/// # Errors
/// [`SealStageError`]; doing it again writes the same objects.
pub fn seal_pack(node: &Node, export_id: &str) -> Result<SealCounters, SealStageError> {
    let Some(mut pack) = node.store.load(&PACKS, &export_id.to_owned())? else { return Ok(SealCounters::default()) };
    if !pack.pack_uid.is_empty() {
        return Ok(SealCounters { pack_uid: pack.pack_uid, unchanged: 1, ..Default::default() });
    }
    let vault = Vault::open(&node.data.vault())?;
    let uid = begin(node, export_id)?;
    let hex_uid = hex::encode(uid);
    failpoint::pass("seal.begun");
    let key = prepare(&vault, uid, &node.publishing.recipients, &node.publishing.identity)?;
    failpoint::pass("seal.prepared");
    let pack_dir = node.data.pack(&node.source, export_id);
    let plan = SealPlan {
        pack_dir: &pack_dir,
        pack_uid: uid,
        generation: 0,
        chunk_size: node.publishing.chunk_bytes,
        threads: node.threads,
    };
    let sealed = seal(&vault, &key, &plan)?;
    failpoint::pass("seal.stored");
    pack.pack_uid.clone_from(&hex_uid);
    pack.root = sealed.root;
    let mut batch = Batch::new();
    for (i, (object, len)) in sealed.objects.iter().enumerate() {
        let index = u32::try_from(i).unwrap_or(u32::MAX);
        batch.put(&CHUNKS, &hex::encode(object), &ChunkRecord { pack_uid: hex_uid.clone(), index, bytes: *len })?;
    }
    batch.put(&PACKS, &export_id.to_owned(), &pack)?;
    let record = SealingRecord { export_id: export_id.to_owned(), generation: 0, done: 1 };
    batch.put(&SEALINGS, &hex_uid, &record)?;
    node.store.commit(batch)?;
    Ok(SealCounters {
        pack_uid: hex_uid,
        unchanged: 0,
        objects: sealed.objects.len() as u64,
        new_objects: sealed.new_objects,
        bytes: sealed.plaintext_bytes,
        stored_bytes: sealed.stored_bytes,
    })
}

/// The id of the sealing: that of one that was begun, else a new one, written before anything is sealed under it.
fn begin(node: &Node, export_id: &str) -> Result<[u8; 16], StoreError> {
    for (uid, s) in node.store.load_all(&SEALINGS, &[])? {
        let mut bytes = [0u8; 16];
        if s.export_id == export_id && s.done == 0 && hex::decode_to_slice(&uid, &mut bytes).is_ok() {
            return Ok(bytes);
        }
    }
    let uid: [u8; 16] = rand::random();
    let mut batch = Batch::new();
    let record = SealingRecord { export_id: export_id.to_owned(), generation: 0, done: 0 };
    batch.put(&SEALINGS, &hex::encode(uid), &record)?;
    node.store.commit(batch)?;
    Ok(uid)
}
