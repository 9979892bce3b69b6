//! The seal stage: a pack of the index becomes a sealing of the vault.

use crate::node::Node;
use crate::seal::{Base, PackKey, PackUid, SealError, SealPlan, new_uid, seal, unwrap_key};
use crate::vault::Vault;
use datanode_schema::failpoint;
use datanode_schema::records::{ChunkRecord, SealingRecord};
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{CHUNKS, GENERATIONS, PACKS, SEALINGS};

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
    /// Files that an earlier sealing holds and that were not sealed again.
    pub borrowed_files: u64,
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
    let Some(pack) = node.store.load(&PACKS, &export_id.to_owned())? else { return Ok(SealCounters::default()) };
    if !pack.pack_uid.is_empty() {
        return Ok(SealCounters { pack_uid: pack.pack_uid, unchanged: 1, ..Default::default() });
    }
    let vault = Vault::open(&node.data.vault())?;
    let base = last_sealing(node, &vault)?;
    let base = base.as_ref().map(|(pack_uid, key)| Base { pack_uid: *pack_uid, key });
    one(node, &vault, export_id, None, base)
}

/// Seals a standing pack anew, under a new uid with the next generation and borrowing from none, because its sealing is damaged
/// beyond repair or is to be let go. The pack names the new sealing at the end; the old one is then garbage like any other.
///
/// # Errors
/// [`SealStageError`]: the pack or its folder does not stand, or was never sealed. Doing it again goes on.
pub fn regenerate(node: &Node, export_id: &str) -> Result<SealCounters, SealStageError> {
    let pack = node.store.load(&PACKS, &export_id.to_owned())?.filter(|p| p.removed_at == 0);
    let path = node.data.pack(&node.source, export_id);
    let Some(old) = pack.map(|p| p.pack_uid).filter(|uid| !uid.is_empty()) else {
        return Err(SealError::NotFound { what: "sealed pack to be sealed anew", path }.into());
    };
    let vault = Vault::open(&node.data.vault())?;
    one(node, &vault, export_id, Some(&old), None)
}

/// Seals a pack, in place of an earlier sealing or for the first time.
fn one(
    node: &Node,
    vault: &Vault,
    export_id: &str,
    replaces: Option<&str>,
    base: Option<Base<'_>>,
) -> Result<SealCounters, SealStageError> {
    let (uid, generation) = begin(node, export_id, replaces)?;
    let hex_uid = hex::encode(uid);
    failpoint::pass("seal.begun");
    let key = node.publishing.keys.prepare(vault, uid)?;
    failpoint::pass("seal.prepared");
    let pack_dir = node.data.pack(&node.source, export_id);
    let plan = SealPlan {
        pack_dir: &pack_dir,
        pack_uid: uid,
        generation,
        chunk_size: node.publishing.chunk_bytes,
        threads: node.threads,
        base,
    };
    let sealed = seal(vault, &key, &plan)?;
    failpoint::pass("seal.stored");
    let mut batch = Batch::new();
    for (index, o) in (0u32..).zip(sealed.descriptor.leaves()) {
        let record = ChunkRecord { pack_uid: hex_uid.clone(), index, bytes: o.object_len };
        batch.put(&CHUNKS, &hex::encode(o.object_blake3), &record)?;
    }
    if let Some(mut pack) = node.store.load(&PACKS, &export_id.to_owned())? {
        pack.pack_uid.clone_from(&hex_uid);
        pack.root = sealed.root;
        batch.put(&PACKS, &export_id.to_owned(), &pack)?;
    }
    let record = SealingRecord { export_id: export_id.to_owned(), generation, done: 1 };
    batch.put(&SEALINGS, &hex_uid, &record)?;
    node.store.commit(batch)?;
    Ok(SealCounters {
        pack_uid: hex_uid,
        unchanged: 0,
        objects: sealed.objects as u64,
        new_objects: sealed.new_objects as u64,
        borrowed_files: sealed.borrowed_files as u64,
        bytes: sealed.plaintext_bytes,
        stored_bytes: sealed.stored_bytes,
    })
}

/// The newest sealing that stands, with its key: what it holds is not sealed again. One whose stanza this node cannot
/// unwrap is no base; the pack is then sealed whole.
fn last_sealing(node: &Node, vault: &Vault) -> Result<Option<(PackUid, PackKey)>, SealStageError> {
    let newest = node.standing_packs()?.into_iter().find(|(_, p)| !p.pack_uid.is_empty());
    let Some((_, pack)) = newest else { return Ok(None) };
    let mut uid = PackUid::default();
    if hex::decode_to_slice(&pack.pack_uid, &mut uid).is_err() {
        return Ok(None);
    }
    match unwrap_key(vault, uid, &node.publishing.keys.read()?) {
        Ok(key) => Ok(Some((uid, key))),
        Err(e) => {
            tracing::warn!(pack_uid = pack.pack_uid, error = %e, "the last sealing cannot be built on; sealing everything");
            Ok(None)
        }
    }
}

/// Uid and generation of the sealing: those of one that was begun, else new ones, written before anything is sealed under them.
fn begin(node: &Node, export_id: &str, replaces: Option<&str>) -> Result<(PackUid, u32), SealStageError> {
    let mut next = 0;
    for (uid, s) in node.store.load_all(&SEALINGS, &[])? {
        let mut bytes = PackUid::default();
        if s.export_id != export_id || hex::decode_to_slice(&uid, &mut bytes).is_err() {
            continue;
        }
        if s.done == 0 && node.store.load(&GENERATIONS, &uid)?.as_deref() == replaces {
            return Ok((bytes, s.generation));
        }
        if replaces.is_some() {
            next = next.max(s.generation.saturating_add(1));
        }
    }
    let uid = new_uid()?;
    let mut batch = Batch::new();
    let record = SealingRecord { export_id: export_id.to_owned(), generation: next, done: 0 };
    batch.put(&SEALINGS, &hex::encode(uid), &record)?;
    if let Some(old) = replaces {
        batch.put(&GENERATIONS, &hex::encode(uid), &old.to_owned())?;
    }
    node.store.commit(batch)?;
    Ok((uid, next))
}
