//! Retention: the newest packs stay; older ones go, folder and sealing. What a kept pack needs is never removed: vault
//! objects go by reference, not by age.

use super::ShipError;
use super::io;
use crate::node::Node;
use crate::seal::PackUid;
use crate::vault::Vault;
use datanode_schema::clock::date_of;
use datanode_schema::records::PackRecord;
use datanode_schema::store::Batch;
use datanode_schema::trees::{CHUNKS, PACKS};
use std::collections::BTreeSet;

/// What retention did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RetentionCounters {
    /// Packs that stay.
    pub kept: u64,
    /// Packs that went.
    pub removed: u64,
    /// Vault objects that no kept pack needs and that went to the trash.
    pub objects: u64,
    /// 1 where the state's journal was rewritten as one base.
    pub compacted: u64,
}

/// The state's journal is rewritten when it holds more than this: bounded disk, and a rebuild that stays short.
const JOURNAL: u64 = 128 << 20;

/// Removes what the rules no longer keep; `current` is the run's own pack, which always stays.
///
/// # Errors
/// [`ShipError`]; doing it again goes on where it stopped.
pub fn retain(node: &Node, current: &str) -> Result<RetentionCounters, ShipError> {
    let mut packs = node.standing_packs()?;
    // The run's own pack comes first, whatever the clock said when the others were made.
    packs.sort_by_key(|(id, _)| id != current);
    let keep = node.publishing.keep.last.max(1).min(packs.len());
    let (kept, gone) = packs.split_at(keep);
    let mut c = RetentionCounters { kept: kept.len() as u64, ..Default::default() };
    let kept_dates: BTreeSet<i32> = kept.iter().map(|(_, p)| p.as_of).collect();
    let now = node.clock.now().timestamp();
    for (id, pack) in gone {
        let mut folders = vec![node.data.pack(&node.source, id)];
        if !kept_dates.contains(&pack.as_of) {
            folders.push(node.data.nightly(date_of(pack.as_of)));
        }
        for f in folders.iter().filter(|f| f.exists()) {
            std::fs::remove_dir_all(f).map_err(io(f))?;
        }
        let mut batch = Batch::new();
        batch.put(&PACKS, id, &PackRecord { removed_at: now, ..pack.clone() })?;
        node.store.commit(batch)?;
        c.removed += 1;
    }
    if c.removed > 0 {
        c.objects = sweep_vault(node, kept)?;
    }
    c.compacted = u64::from(node.store.compact_journal_above(JOURNAL)?);
    Ok(c)
}

fn sweep_vault(node: &Node, kept: &[(String, PackRecord)]) -> Result<u64, ShipError> {
    let vault = Vault::open(&node.data.vault())?;
    let mut keep = BTreeSet::new();
    for (_, p) in kept.iter().filter(|(_, p)| !p.pack_uid.is_empty()) {
        let mut uid = PackUid::default();
        if hex::decode_to_slice(&p.pack_uid, &mut uid).is_ok() {
            keep.insert(uid);
        }
    }
    let today = node.clock.now().date_naive();
    let removed = vault.remove_unreferenced(&keep, &today.to_string())?;
    let wait = chrono::Duration::days(i64::from(node.publishing.trash_days));
    vault.empty_trash(&(today - wait).to_string())?;
    let mut batch = Batch::new();
    for (object, _) in node.store.load_all(&CHUNKS, &[])? {
        let mut hash = [0u8; 32];
        let gone = hex::decode_to_slice(&object, &mut hash).is_err() || !vault.object_path(&hash).is_file();
        if gone {
            batch.delete(&CHUNKS, &object);
        }
    }
    if !batch.is_empty() {
        node.store.commit(batch)?;
    }
    Ok(removed.objects as u64)
}
