//! The trees `chunks` and `sealings`, made again from descriptors.

use super::Vault;
use crate::seal::stage::SealStageError;
use datanode_schema::records::{ChunkRecord, SealingRecord};
use datanode_schema::store::{Batch, Store};
use datanode_schema::trees::{CHUNKS, PACKS, SEALINGS};
use std::collections::{BTreeMap, BTreeSet};

/// What was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexMade {
    /// Sealings.
    pub sealings: u64,
    /// Objects.
    pub objects: u64,
    /// Entries that no descriptor bears out, and that went.
    pub gone: u64,
}

/// Records in one batch.
const BATCH: usize = 4096;

/// Makes both trees what the vault's descriptors say. Of which pack a sealing is, the tree `packs` says, or what `sealings` said before;
/// sealings that were begun stay.
///
/// # Errors
/// A descriptor cannot be read; the store's.
pub fn rebuild_index(store: &Store, vault: &Vault) -> Result<IndexMade, SealStageError> {
    let mut made = IndexMade::default();
    let packs = store.load_all(&PACKS, &[])?;
    let mut of: BTreeMap<String, String> = packs.into_iter().map(|(id, p)| (p.pack_uid, id)).collect();
    let before = store.load_all(&SEALINGS, &[])?;
    for (uid, s) in &before {
        of.entry(uid.clone()).or_insert_with(|| s.export_id.clone());
    }
    let (mut objects, mut sealings) = (BTreeSet::new(), BTreeSet::new());
    let mut batch = Batch::new();
    let mut waiting = 0usize;
    for uid in vault.descriptors()? {
        let d = vault.descriptor(&uid)?;
        let uid = hex::encode(uid);
        let export_id = of.get(&uid).cloned().unwrap_or_default();
        batch.put(&SEALINGS, &uid, &SealingRecord { export_id, generation: d.generation, done: 1 })?;
        made.sealings = made.sealings.saturating_add(1);
        for (index, o) in (0u32..).zip(d.leaves()) {
            let name = hex::encode(o.object_blake3);
            batch.put(&CHUNKS, &name, &ChunkRecord { pack_uid: uid.clone(), index, bytes: o.object_len })?;
            objects.insert(name);
            waiting = waiting.saturating_add(1);
            if waiting >= BATCH {
                store.commit(std::mem::replace(&mut batch, Batch::new()))?;
                waiting = 0;
            }
        }
        sealings.insert(uid);
    }
    made.objects = objects.len() as u64;
    for (uid, _) in before.iter().filter(|(uid, s)| s.done == 1 && !sealings.contains(uid)) {
        batch.delete(&SEALINGS, uid);
        made.gone = made.gone.saturating_add(1);
    }
    for (name, _) in store.load_all(&CHUNKS, &[])?.iter().filter(|(name, _)| !objects.contains(name)) {
        batch.delete(&CHUNKS, name);
        made.gone = made.gone.saturating_add(1);
    }
    if !batch.is_empty() {
        store.commit(batch)?;
    }
    Ok(made)
}
