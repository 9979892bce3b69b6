//! The seal stage: packs of the index become sealings of the vault.
//!
//! One sealing goes: uid on record → key and stanza → objects → descriptor (the commit) → the store says so. Killed anywhere, it
//! goes on under the same uid with the same bytes.

use super::paths::MANIFEST;
use super::repack::repack;
use crate::node::Node;
use crate::retention::brought_key;
use crate::seal::{
    Base, Bases, Descriptor, Kind, PackKey, PackUid, SealError, SealPlan, Sealed, new_uid, read_manifest, seal_upon,
    unwrap_key,
};
use crate::ship::{Form, forget_receipts};
use crate::vault::Vault;
use datanode_schema::failpoint;
use datanode_schema::records::{ChunkRecord, PackRecord, SealingRecord};
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{CHUNKS, COUNTERS, GENERATIONS, INCIDENTS, PACKS, SEALINGS, SHIPMENTS};
use std::collections::BTreeSet;
use std::path::Path;

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
    /// Packs of earlier nights that were sealed by this one.
    pub caught_up: u64,
    /// Packs of earlier nights that could not be sealed once more.
    pub failed: u64,
    /// Packs that were sealed anew because they borrowed from a sealing that was replaced.
    pub repacked: u64,
}

/// Sealings that a new one may borrow from, beside what they borrow from themselves.
const BASES: usize = 3;

/// The stage of the nightly cycle: what earlier nights left unsealed, oldest first; what borrows from a sealing
/// that was replaced; then `export_id`. What is not tonight's pack is logged where it fails, and the night is none the worse for it.
///
/// # Errors
/// [`SealStageError`] of tonight's pack, and the store's; doing it again goes on.
pub fn seal_night(node: &Node, export_id: &str) -> Result<SealCounters, SealStageError> {
    let vault = Vault::open(&node.data.vault())?;
    match vault.sweep() {
        Ok(0) => {}
        Ok(temps) => tracing::info!(temps, "removed what a killed sealing left in the vault's tmp folder"),
        // Another process writes: its temps are its own.
        Err(error) => tracing::debug!(%error, "the vault's tmp folder is left as it is"),
    }
    let mut earlier = node.standing_packs()?;
    earlier.reverse();
    let (mut caught_up, mut failed) = (0, 0);
    for (id, p) in earlier {
        let stands = node.data.pack(&node.source, &id).join(MANIFEST).is_file();
        if id == export_id || !p.pack_uid.is_empty() || !stands || node.stopping() {
            continue;
        }
        match seal_pack(node, &id) {
            Ok(_) => caught_up += 1,
            Err(SealStageError::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(pack = id, %error, "a pack of an earlier night cannot be sealed; the next night tries again");
                failed += 1;
            }
        }
    }
    // Before tonight's pack, which then builds on what is to stay.
    let repacked = repack(node, &vault)?;
    let counters = seal_pack(node, export_id)?;
    Ok(SealCounters { caught_up, failed, repacked, ..counters })
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
    one(node, &vault, export_id, None, &last_sealings(node, &vault, &node.standing_packs()?), &suspect(node)?)
}

/// Seals a standing pack anew, under a new uid with the next generation and borrowing from none, because its sealing is damaged
/// beyond repair or is to be let go. The pack names the new sealing at the end; the old one is then garbage like any other.
///
/// # Errors
/// [`SealStageError`]: the pack or its folder does not stand, or was never sealed. Doing it again goes on.
pub fn regenerate(node: &Node, export_id: &str) -> Result<SealCounters, SealStageError> {
    let vault = Vault::open(&node.data.vault())?;
    let old = sealed_as(node, export_id)?;
    one(node, &vault, export_id, Some(&hex::encode(old)), &[], &BTreeSet::new())
}

/// As [`regenerate`], but what older standing packs are sealed as may be borrowed from, except where it is to be avoided. So a new
/// sealing builds on nothing that a destination could not have, and two packs never go on following each other.
pub(super) fn anew(
    node: &Node,
    vault: &Vault,
    export_id: &str,
    avoid: &BTreeSet<PackUid>,
) -> Result<SealCounters, SealStageError> {
    let old = sealed_as(node, export_id)?;
    let older: Vec<_> = node.standing_packs()?.into_iter().skip_while(|(id, _)| id != export_id).skip(1).collect();
    let owned: BTreeSet<PackUid> = older.iter().filter_map(|(_, p)| uid_of(p)).collect();
    let bases = last_sealings(node, vault, &older);
    let mut avoid: BTreeSet<PackUid> = avoid.union(&suspect(node)?).copied().collect();
    avoid.insert(old);
    for (uid, _) in &bases {
        let requires = vault.descriptor(uid).map(|d| d.requires).unwrap_or_default();
        avoid.extend(requires.into_iter().filter(|needed| !owned.contains(needed)));
    }
    one(node, vault, export_id, Some(&hex::encode(old)), &bases, &avoid)
}

fn sealed_as(node: &Node, export_id: &str) -> Result<PackUid, SealStageError> {
    let pack = node.store.load(&PACKS, &export_id.to_owned())?.filter(|p| p.removed_at == 0);
    let path = node.data.pack(&node.source, export_id);
    let uid = pack.and_then(|p| uid_of(&p));
    uid.ok_or_else(|| SealError::NotFound { what: "sealed pack to be sealed anew", path }.into())
}

/// The sealing that a pack names, where it has one.
pub(super) fn uid_of(pack: &PackRecord) -> Option<PackUid> {
    let mut uid = PackUid::default();
    hex::decode_to_slice(&pack.pack_uid, &mut uid).is_ok().then_some(uid)
}

/// Sealings that were begun for standing packs and are not on record as done: what there is of them is needed.
///
/// # Errors
/// The store's.
pub fn unfinished(node: &Node) -> Result<Vec<PackUid>, StoreError> {
    let standing: BTreeSet<String> = node.standing_packs()?.into_iter().map(|(id, _)| id).collect();
    let begun = node.store.load_all(&SEALINGS, &[])?.into_iter().filter(|(_, s)| s.done == 0);
    let theirs = begun.filter(|(_, s)| standing.contains(&s.export_id));
    Ok(theirs.filter_map(|(uid, _)| <[u8; 16]>::try_from(hex::decode(uid).ok()?).ok()).collect())
}

/// Seals a pack, in place of an earlier sealing or for the first time.
fn one(
    node: &Node,
    vault: &Vault,
    export_id: &str,
    replaces: Option<&str>,
    bases: &[(PackUid, PackKey)],
    avoid: &BTreeSet<PackUid>,
) -> Result<SealCounters, SealStageError> {
    let (uid, generation) = begin(node, vault, export_id, replaces)?;
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
        base: None,
    };
    let sealed = match vault.descriptor(&uid) {
        // A run before this one ended between the commit of the sealing and the store's.
        Ok(descriptor) => adopt(vault, &key, descriptor, &pack_dir)?,
        Err(error) if error.kind() == Kind::NotFound => {
            let from: Vec<Base<'_>> = bases.iter().map(|(pack_uid, key)| Base { pack_uid: *pack_uid, key }).collect();
            seal_upon(vault, &key, &plan, &Bases { from: &from, avoid: Some(avoid) })?
        }
        Err(error) => return Err(error.into()),
    };
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
    if replaces.is_some() {
        not_shipped(node, export_id, &mut batch)?;
    }
    node.store.commit(batch)?;
    failpoint::pass("seal.recorded");
    Ok(SealCounters {
        pack_uid: hex_uid,
        objects: sealed.objects as u64,
        new_objects: sealed.new_objects as u64,
        borrowed_files: sealed.borrowed_files as u64,
        bytes: sealed.plaintext_bytes,
        stored_bytes: sealed.stored_bytes,
        ..SealCounters::default()
    })
}

/// What says that a pack's sealing is at a destination, or once was, speaks of an earlier one: it is due again.
fn not_shipped(node: &Node, export_id: &str, batch: &mut Batch) -> Result<(), StoreError> {
    let sealed = Form::Sealed.name();
    let end = format!("/{sealed}/{export_id}");
    for (key, _) in node.store.load_all(&SHIPMENTS, &[])? {
        let Some(destination) = key.strip_suffix(&end) else { continue };
        forget_receipts(&node.store, destination, export_id, true)?;
        batch.delete(&SHIPMENTS, &key);
        batch.delete(&COUNTERS, &brought_key(destination, sealed, export_id));
    }
    Ok(())
}

/// A sealing whose descriptor stands already, as sealing it would have given it. It must be of this very pack.
fn adopt(vault: &Vault, key: &PackKey, descriptor: Descriptor, pack_dir: &Path) -> Result<Sealed, SealStageError> {
    let manifest = read_manifest(vault, &descriptor, key)?;
    let path = pack_dir.join(MANIFEST);
    let text = std::fs::read(&path).map_err(SealError::io("read", &path))?;
    if text != manifest.manifest_json.as_bytes() {
        let what = format!("sealing {}", hex::encode(descriptor.pack_uid));
        return Err(
            SealError::integrity(what, "is of another pack than it was begun for; run `datanode vault check`").into()
        );
    }
    let borrowed_files = manifest.files.iter().filter(|file| file.sealing != descriptor.pack_uid).count();
    Ok(Sealed {
        root: descriptor.merkle_root,
        objects: descriptor.leaves().count(),
        plaintext_bytes: manifest.stream_bytes,
        stored_bytes: descriptor.leaves().map(|object| object.object_len).fold(0, u64::saturating_add),
        new_objects: 0,
        borrowed_files,
        descriptor,
    })
}

/// The newest sealings of these packs, with their keys: what they hold is not sealed again. One whose stanza this node cannot
/// unwrap is no base, nor is one whose key was dropped.
fn last_sealings(node: &Node, vault: &Vault, packs: &[(String, PackRecord)]) -> Vec<(PackUid, PackKey)> {
    let mut bases = Vec::with_capacity(BASES);
    let ring = match node.publishing.keys.read() {
        Ok(ring) => ring,
        Err(error) => {
            tracing::warn!(%error, "nothing is built on, since no key can be read");
            return bases;
        }
    };
    for (id, pack) in packs {
        let Some(uid) = uid_of(pack).filter(|_| bases.len() < BASES) else { continue };
        match unwrap_key(vault, uid, &ring) {
            Ok(key) => bases.push((uid, key)),
            Err(error) if error.kind() == Kind::NotFound => {
                tracing::debug!(pack = id, %error, "a sealing without its key is no base");
            }
            Err(error) => {
                tracing::warn!(pack = id, pack_uid = pack.pack_uid, %error, "this sealing cannot be built on")
            }
        }
    }
    // A destination may have let go of what the newest one does not require: on that nothing is built again.
    let newest = bases.first().and_then(|(uid, _)| vault.descriptor(uid).ok());
    bases.retain(|(uid, _)| newest.as_ref().is_none_or(|d| d.pack_uid == *uid || d.requires.contains(uid)));
    bases
}

/// Sealings of which an open incident says that something is wrong: nothing is built on them until it is put right.
fn suspect(node: &Node) -> Result<BTreeSet<PackUid>, StoreError> {
    let open = node.store.load_all(&INCIDENTS, &[])?.into_iter().filter(|(_, i)| i.is_open());
    let named = open.filter_map(|(_, i)| hex::decode(i.artifact.strip_prefix("vault/")?).ok());
    Ok(named.filter_map(|uid| PackUid::try_from(uid).ok()).collect())
}

/// Uid and generation of the sealing: those of one that was begun, else new ones, written before anything is sealed under them.
fn begin(
    node: &Node,
    vault: &Vault,
    export_id: &str,
    replaces: Option<&str>,
) -> Result<(PackUid, u32), SealStageError> {
    let mut next = 0;
    for (uid, s) in node.store.load_all(&SEALINGS, &[])? {
        let mut bytes = PackUid::default();
        if s.export_id != export_id || hex::decode_to_slice(&uid, &mut bytes).is_err() {
            continue;
        }
        // One whose key was dropped meanwhile is never gone on with.
        let goes_on = s.done == 0 && vault.shredded(&bytes)?.is_none();
        if goes_on && node.store.load(&GENERATIONS, &uid)?.as_deref() == replaces {
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
