//! Carrying a plan out: here first, then at each destination.
//!
//! Here the store says that a pack is gone before a file of it is touched, and what is touched is first renamed into `tmp/`: a kill leaves whole
//! packs, or packs of which the store says that they are gone, and those the next run removes. Vault objects go by reference, days after
//! they got a tombstone.

use super::bucket::{self, Outcome};
use super::error::io;
use super::facts::{FORMS, Facts, place};
use super::plan::{Plan, here, plan};
use super::{Place, RetentionError};
use crate::anchor::head;
use crate::node::Node;
use crate::offload::offload;
use crate::publishing::OffloadRules;
use crate::seal::stage::unfinished;
use crate::seal::{Kind, PackUid, SealError};
use crate::vault::{Collect, Vault};
use datanode_schema::clock::date_of;
use datanode_schema::failpoint;
use datanode_schema::records::PackRecord;
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{CHUNKS, NEEDS, PACKS, PINS, SEALINGS};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What retention did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct RetentionCounters {
    /// Packs that stay here.
    pub kept: u64,
    /// Packs that went from here.
    pub removed: u64,
    /// Vault objects that no kept pack needs and that were deleted, their tombstone being old enough.
    pub objects: u64,
    /// 1 where the state's journal was rewritten as one base.
    pub compacted: u64,
    /// Packs and sealings that went from destinations.
    pub removed_there: u64,
    /// Packs and sealings that should have gone from destinations and did not, wholly.
    pub refused: u64,
    /// Why.
    pub refusals: Vec<String>,
    /// Files that were offloaded, verified.
    pub offloaded: u64,
    /// Of those and earlier ones, files that went from here.
    pub offloaded_removed: u64,
    /// 1 where offloading stopped or found a file to be another.
    pub offload_failed: u64,
}

/// The state's journal is rewritten when it holds more than this: bounded disk, and a rebuild that stays short.
const JOURNAL: u64 = 128 << 20;

/// The stage of the nightly cycle: plans, and does it. `current` is the run's own pack. What a destination refuses is logged and
/// counted, and tried again by the next run; the night is none the worse for it.
///
/// # Errors
/// [`RetentionError`]; doing it again goes on where it stopped.
pub fn retain(node: &Node, current: &str) -> Result<RetentionCounters, RetentionError> {
    let plan = plan(node, current)?;
    if let Some(clock) = &plan.clock {
        tracing::error!("{clock}");
    }
    let mut c = apply(node, &plan, None)?;
    if let Some(rules) = &node.publishing.offload {
        by_rclone(node, rules, &mut c);
    }
    c.compacted = u64::from(node.store.compact_journal_above(JOURNAL)?);
    Ok(c)
}

/// What could not be offloaded stays here, and the next night tries again.
fn by_rclone(node: &Node, rules: &OffloadRules, c: &mut RetentionCounters) {
    match offload(node, rules) {
        Ok(done) => {
            (c.offloaded, c.offloaded_removed) = (done.safe.len() as u64, done.removed.len() as u64);
            for why in done.differ.iter().chain(&done.failed) {
                tracing::error!("offload: {why}");
                c.offload_failed = 1;
            }
        }
        Err(e) => {
            tracing::error!(error = %e, "offload");
            c.offload_failed = 1;
        }
    }
}

/// Removes what the plan says, and finishes what an earlier removal left. Where a digest is expected and the plan has another, nothing is done.
///
/// # Errors
/// [`RetentionError`]; what a destination refuses is in the counters.
pub fn apply(node: &Node, plan: &Plan, expected: Option<&str>) -> Result<RetentionCounters, RetentionError> {
    if let Some(expected) = expected.filter(|e| *e != plan.digest) {
        return Err(RetentionError::Changed { expected: expected.to_owned(), now: plan.digest.clone() });
    }
    let here = here();
    let mut c = RetentionCounters { kept: plan.kept(&here).count() as u64, ..RetentionCounters::default() };
    let facts = Facts::read(node)?;
    let gone: Vec<&str> = plan.gone(&here).map(|r| r.export_id.as_str()).collect();
    let destinations = node.publishing.destinations.current();
    let refused = bucket::not_there(node, &facts, &destinations, &gone)?;
    for id in gone {
        if let Some(why) = refused.get(id) {
            tracing::error!(pack = id, "retention: {why}");
            c.kept += 1;
            c.refused += 1;
            c.refusals.push(why.clone());
            continue;
        }
        let went = forget(node, &facts, id)?;
        failpoint::pass("retention.recorded");
        if went { c.removed += 1 } else { c.kept += 1 }
    }
    sweep_folders(node)?;
    // By a wrong clock nothing is due, or everything.
    if plan.clock.is_none() {
        c.objects = sweep_vault(node)?;
    }
    for d in destinations.iter() {
        let places: Vec<Place> = FORMS.iter().map(|f| place(&d.name, f)).collect();
        let rows = places.iter().flat_map(|p| plan.gone(p)).collect::<Vec<_>>();
        if rows.is_empty() {
            continue;
        }
        let Outcome { removed, refusals } = bucket::remove(node, d, &rows)?;
        c.removed_there += removed;
        c.refused += rows.len() as u64 - removed;
        for why in refusals {
            tracing::error!(destination = d.name, "retention: {why}");
            c.refusals.push(format!("{}: {why}", d.name));
        }
    }
    Ok(c)
}

/// Records that a pack is gone from here, and what it builds on where a destination still has it. False: it was pinned meanwhile.
fn forget(node: &Node, facts: &Facts<'_>, id: &str) -> Result<bool, RetentionError> {
    let Some(pack) = facts.packs.get(id) else { return Ok(false) };
    let _still = node.acts.still();
    if is_pinned(node, id)? {
        return Ok(false);
    }
    let now = node.clock.now().timestamp().max(1);
    let mut batch = Batch::new();
    batch.put(&PACKS, &id.to_owned(), &PackRecord { removed_at: now, ..pack.clone() })?;
    if facts.is_elsewhere(id) {
        for form in FORMS {
            // What is not known stays unknown, and keeps what is older.
            for need in facts.needs(id, form).iter().flat_map(|n| n.iter().map(String::as_str).chain([""])) {
                batch.put(&NEEDS, &format!("{form}/{id}/{need}"), &now)?;
            }
        }
    }
    node.store.commit(batch)?;
    Ok(true)
}

/// Whether a pack is pinned by now: a plan may be older than a pin. Ask under `Acts::still`.
pub(super) fn is_pinned(node: &Node, id: &str) -> Result<bool, StoreError> {
    Ok(node.store.get(&PINS, &id.to_owned(), |_| ())?.is_some())
}

/// Removes what is left of packs that are gone: folder, archive, the folder of a date that no pack has any more.
fn sweep_folders(node: &Node) -> Result<(), RetentionError> {
    let packs = node.store.load_all(&PACKS, &[])?;
    let (gone, left): (Vec<_>, Vec<_>) = packs.into_iter().partition(|(_, p)| p.removed_at != 0);
    let dates: BTreeSet<i32> = left.iter().map(|(_, p)| p.as_of).collect();
    for (id, p) in gone {
        let (data, source) = (&node.data, &node.source);
        let mut paths = vec![data.pack(source, &id), data.pack_archive(source, &id)];
        if !dates.contains(&p.as_of) {
            paths.push(data.nightly(date_of(p.as_of)));
        }
        for path in paths.iter().filter(|p| p.symlink_metadata().is_ok()) {
            retire(node, path)?;
        }
    }
    Ok(())
}

/// Out of sight by one rename, then deleted: nobody sees half a pack.
fn retire(node: &Node, path: &Path) -> Result<(), RetentionError> {
    let tmp = node.data.root().join("tmp");
    std::fs::create_dir_all(&tmp).map_err(io(&tmp))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside: PathBuf = tmp.join(format!("retired-{name}"));
    remove(&aside)?;
    std::fs::rename(path, &aside).map_err(io(path))?;
    failpoint::pass("retention.retired");
    remove(&aside)
}

fn remove(path: &Path) -> Result<(), RetentionError> {
    match path.symlink_metadata() {
        Ok(m) if m.is_dir() => std::fs::remove_dir_all(path).map_err(io(path)),
        Ok(_) => std::fs::remove_file(path).map_err(io(path)),
        Err(_) => Ok(()),
    }
}

/// Lets the vault's collector work; returns the objects that were deleted. What is wrong with the vault is no reason to stop the night:
/// then nothing is collected.
fn sweep_vault(node: &Node) -> Result<u64, RetentionError> {
    let vault = Vault::open(&node.data.vault())?;
    let of = |hex_uid: &str| {
        let mut uid = PackUid::default();
        hex::decode_to_slice(hex_uid, &mut uid).ok().map(|()| uid)
    };
    let standing = node.standing_packs()?;
    let mut keep: BTreeSet<PackUid> = standing.iter().filter_map(|(_, p)| of(&p.pack_uid)).collect();
    // What the state knows nothing of is no garbage: it may be the state that was lost.
    let listed = match vault.descriptors() {
        Ok(listed) => listed,
        Err(e) => return not_collected(e),
    };
    for uid in listed {
        if !was_let_go(node, &uid)? {
            keep.insert(uid);
        }
    }
    let begun: BTreeSet<PackUid> = unfinished(node)?.into_iter().collect();
    let log = match head(&node.data.anchors(), node.publishing.anchor.key.public()) {
        Ok(head) => head.map(|h| h.size),
        Err(e) => {
            tracing::error!(error = %e, "nothing of the vault is collected while the anchor log cannot be read");
            return Ok(0);
        }
    };
    let now = node.clock.now();
    let wait = chrono::Duration::days(i64::from(node.publishing.trash_days));
    let what = Collect { keep: &keep, begun: &begun, now: now.timestamp(), wait: wait.num_seconds(), log };
    let collected = vault.collect(&what);
    failpoint::pass("retention.swept");
    let collected = match collected {
        Ok(c) => c,
        Err(e) => return not_collected(e),
    };
    vault.empty_trash(&(now.date_naive() - wait).to_string())?;
    if collected.packs > 0 || collected.objects > 0 {
        forget_chunks(node, &vault)?;
    }
    Ok(collected.objects as u64)
}

/// What is wrong with the vault is told, and the night is none the worse for it; what the system refuses ends the stage.
fn not_collected(e: SealError) -> Result<u64, RetentionError> {
    if !matches!(e.kind(), Kind::Integrity | Kind::Contract | Kind::Busy) {
        return Err(e.into());
    }
    tracing::error!(error = %e, "nothing of the vault is collected");
    Ok(0)
}

/// Whether the state knows that a sealing is needed no more: its pack was removed here, or is sealed as another by now.
fn was_let_go(node: &Node, uid: &PackUid) -> Result<bool, StoreError> {
    let uid = hex::encode(uid);
    let Some(sealing) = node.store.load(&SEALINGS, &uid)? else { return Ok(false) };
    let Some(pack) = node.store.load(&PACKS, &sealing.export_id)? else { return Ok(false) };
    Ok(pack.removed_at != 0 || (!pack.pack_uid.is_empty() && pack.pack_uid != uid))
}

fn forget_chunks(node: &Node, vault: &Vault) -> Result<(), StoreError> {
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
    Ok(())
}
