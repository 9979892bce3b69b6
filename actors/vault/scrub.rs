//! Reading the whole vault every so many days, a part each night; what is wrong is reported, repaired where it can be, and closed once
//! it is.
//!
//! Objects are read in the order of their names, which are spread evenly, so a part of the names is a part of the bytes. A night reads as far
//! as the round should be by the next one: a night that was left out is made up for.

use super::check::{CheckReport, of_object, records};
use super::finding::{Class, Finding};
use super::inventory::{Inventory, Named, log_of};
use super::reading::{Depth, examine};
use super::repair::{RepairPlan, Repaired, repair_found};
use super::{Copies, Mark, Remote, Vault, tombstones};
use crate::node::Node;
use crate::quarantine::seen;
use crate::seal::stage::{SealStageError, regenerate};
use crate::seal::{Descriptor, PackUid, SealedManifest, Unwraps};
use crate::ship::Pace;
use datanode_schema::names::IncidentKind;
use datanode_schema::records::ScrubRecord;
use datanode_schema::store::{Batch, Store, StoreError};
use datanode_schema::trees::{INCIDENTS, PACKS, SCRUB, SEALINGS};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Seconds between two nights.
const DAY: i64 = 86_400;
/// The one key of its tree.
const KEY: &str = "vault";
/// Milliseconds after which a wait looks whether it is to go on.
const SLICE_MS: u64 = 200;

/// What a night's reading came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Objects read.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Things that were wrong.
    pub bad: u64,
    /// Of those, repaired.
    pub repaired: u64,
    /// Packs that were sealed anew, since their sealing could not be repaired.
    pub anew: u64,
}

/// When the last whole round ended (unix seconds); None: there was none yet.
///
/// # Errors
/// The store's.
pub fn last(store: &Store) -> Result<Option<i64>, StoreError> {
    Ok(load(store)?.map(|s| s.ended_at).filter(|at| *at > 0))
}

/// How far it has come.
///
/// # Errors
/// The store's.
pub fn load(store: &Store) -> Result<Option<ScrubRecord>, StoreError> {
    store.load(&SCRUB, &KEY.to_owned())
}

/// The kinds of incidents that are opened here.
pub const KINDS: [(Class, IncidentKind); 3] = [
    (Class::WrongKey, IncidentKind::WrongKey),
    (Class::StorageRot, IncidentKind::StorageRot),
    (Class::FailedAuthentication, IncidentKind::FailedAuthentication),
];

/// The objects from `first` up to which a night reads: those of which it is time, of `all` in a round of so many days. Pure.
pub fn goal(all: usize, began_at: i64, now: i64, days: u32) -> usize {
    let round = i64::from(days.max(1)).saturating_mul(DAY);
    let by_next = now.saturating_sub(began_at).saturating_add(DAY).clamp(0, round);
    let part = (all as u128).saturating_mul(u128::try_from(by_next).unwrap_or(0));
    let round = u128::try_from(round).unwrap_or(1).max(1);
    usize::try_from(part.div_ceil(round)).unwrap_or(all).min(all)
}

/// Reads tonight's part.
///
/// # Errors
/// The store's, the vault's; what was found until then is reported.
pub fn scrub(node: &Node, vault: &Vault) -> Result<Scrubbed, SealStageError> {
    let days = node.publishing.vault.scrub_days;
    if days == 0 {
        return Ok(Scrubbed::default());
    }
    let (log, unread) = log_of(&node.data.anchors(), Some(node.publishing.anchor.key.public()));
    if let Some(why) = unread {
        tracing::error!("the vault is not compared with the anchor log: {why}");
    }
    let inv = Inventory::read(vault, &log)?;
    let ring = node.publishing.keys.read()?;
    let mut report = CheckReport { findings: inv.findings.clone(), ..CheckReport::default() };
    let keys = records(vault, &inv, Some(&ring as &dyn Unwraps), &mut report)?;
    let groups = inv.groups();
    let now = node.clock.now().timestamp();
    let mut round = load(&node.store)?.unwrap_or_default();
    if round.cursor.is_empty() {
        round.began_at = now;
    }
    let begin = groups.partition_point(|g| g.first().is_none_or(|n| hex::encode(n.hash) <= round.cursor));
    let end = goal(groups.len(), round.began_at, now, days).max(begin);
    let part = groups.get(begin..end).unwrap_or_default();
    // What was wrong is read again each night, until it is right.
    let open = open_incidents(node)?;
    let suspect = |g: &&&[Named]| {
        g.iter().any(|n| inv.descriptor(n).is_some_and(|d| open.contains_key(&hex::encode(d.pack_uid))))
    };
    let again = groups.iter().enumerate().filter(|(i, _)| !(begin..end).contains(i)).map(|(_, g)| g).filter(suspect);
    let all: Vec<&[Named]> = part.iter().chain(again).copied().collect();
    let pace = Mutex::new(Pace::new(node.publishing.vault.scrub_bytes_per_second));
    let e = examine(vault, &inv, &all, Depth::Disk, &keys, &|bytes| turn(node, &pace, bytes));
    let whole = e.objects == all.len() as u64;
    report.findings.extend(e.bad.iter().filter_map(|(n, d)| of_object(vault, &inv, n, d)));
    // What is to go anyway is not missed.
    let tombs = tombstones::read(vault)?;
    let is_going = |f: &Finding| f.subject.pack().is_some_and(|u| tombs.contains_key(&Mark::Pack(u)));
    let bad: Vec<Finding> = report.bad().filter(|f| !is_going(f)).cloned().collect();
    let mut done = Scrubbed { objects: e.objects, bytes: e.bytes, bad: bad.len() as u64, ..Scrubbed::default() };
    tell(node, &bad);
    let repaired = mend(node, vault, &inv, &log, &ring, bad)?;
    done.repaired = done.bad.saturating_sub(repaired.left.len() as u64);
    let made = anew(node, &repaired.left);
    done.anew = made.len() as u64;
    if whole {
        close(node, &open, &repaired);
        if let Some(n) = part.last().and_then(|g| g.first()) {
            round.cursor = hex::encode(n.hash);
        }
        if end == groups.len() {
            (round.cursor, round.ended_at) = (String::new(), now);
        }
    }
    let is_left = |f: &&Finding| f.subject.pack().is_none_or(|u| !made.contains(&hex::encode(u)));
    let left = repaired.left.iter().filter(is_left).count() as u64;
    (round.read_at, round.objects, round.bytes, round.bad) = (now, done.objects, done.bytes, left);
    let mut batch = Batch::new();
    batch.put(&SCRUB, &KEY.to_owned(), &round)?;
    node.store.commit(batch)?;
    Ok(done)
}

/// Waits for the turn of so many bytes; false where the node is to stop.
fn turn(node: &Node, pace: &Mutex<Pace>, bytes: u64) -> bool {
    let mut wait = pace.lock().unwrap_or_else(PoisonError::into_inner).wait_ms(bytes, node.clock.since_boot_ms());
    while wait > 0 && !node.stopping() {
        let some = wait.min(SLICE_MS);
        std::thread::sleep(Duration::from_millis(some));
        wait = wait.saturating_sub(some);
    }
    !node.stopping()
}

/// Open incidents about sealings: uid → kinds.
fn open_incidents(node: &Node) -> Result<BTreeMap<String, BTreeSet<u8>>, StoreError> {
    let mut out: BTreeMap<String, BTreeSet<u8>> = BTreeMap::new();
    for (_, i) in node.store.load_all(&INCIDENTS, &[])? {
        let of = i.artifact.strip_prefix("vault/").filter(|_| i.is_open());
        if let Some(uid) = of.filter(|_| KINDS.iter().any(|(_, k)| k.number() == i.kind)) {
            out.entry(uid.to_owned()).or_default().insert(i.kind);
        }
    }
    Ok(out)
}

/// Opens incidents: one a sealing and kind.
fn tell(node: &Node, bad: &[Finding]) {
    let mut of: BTreeMap<(String, Class), Vec<String>> = BTreeMap::new();
    for f in bad {
        if let (Some(uid), Some(class)) = (f.subject.pack(), f.class) {
            of.entry((hex::encode(uid), class)).or_default().push(f.to_string());
        } else {
            tracing::error!("vault: {f}");
        }
    }
    for ((uid, class), what) in of {
        if let Some((_, kind)) = KINDS.iter().find(|(c, _)| *c == class) {
            seen::vault_damage(&node.acts, &uid, *kind, &what);
        }
    }
}

/// Reads again, asks the replica and the destinations, uses parity and the plain packs that stand.
fn mend(
    node: &Node,
    vault: &Vault,
    inv: &Inventory,
    log: &super::Log,
    ring: &dyn Unwraps,
    bad: Vec<Finding>,
) -> Result<Repaired, SealStageError> {
    if bad.is_empty() {
        return Ok(Repaired::default());
    }
    let replica = node.publishing.vault.replica.iter().map(|r| r.access.clone());
    let destinations = node.publishing.destinations.current();
    let accesses = replica.chain(destinations.iter().map(|d| d.access.clone()));
    let mut remotes = Vec::new();
    for access in accesses {
        match Remote::open(&access) {
            Ok(r) => remotes.push(r),
            Err(e) => tracing::warn!(error = %e, "it is not asked for what the vault lacks"),
        }
    }
    let plain = |d: &Descriptor, _: Option<&SealedManifest>| -> Vec<PathBuf> {
        let of = node.store.load(&SEALINGS, &hex::encode(d.pack_uid)).ok().flatten();
        of.map(|s| node.data.pack(&node.source, &s.export_id)).filter(|p| p.is_dir()).into_iter().collect()
    };
    let plan = RepairPlan {
        identity: Some(ring),
        copies: remotes.iter().map(|r| r as &dyn Copies).collect(),
        plain: Some(&plain),
        log,
        dry_run: false,
        now: node.clock.now(),
    };
    Ok(repair_found(vault, &plan, inv, bad)?)
}

/// Seals anew the packs that lost something for good and stand here in plain. One that cannot be is an incident that stays.
fn anew(node: &Node, left: &[Finding]) -> BTreeSet<String> {
    let lost = left.iter().filter(|f| f.class == Some(Class::StorageRot));
    let users = |f: &Finding| -> Vec<String> {
        let named = f.files.iter().filter_map(|p| p.get(..32).map(str::to_owned));
        named.chain(f.subject.pack().map(hex::encode)).collect()
    };
    let uids: BTreeSet<String> = lost.flat_map(users).collect();
    let mut made = BTreeSet::new();
    for uid in uids {
        let Ok(Some(of)) = node.store.load(&SEALINGS, &uid) else { continue };
        // An earlier sealing of its pack is let go of; one whose key was dropped stays dropped.
        let current = node.store.load(&PACKS, &of.export_id).ok().flatten().is_some_and(|p| p.pack_uid == uid);
        if !current || is_shredded(node, &uid) || !node.data.pack(&node.source, &of.export_id).is_dir() {
            continue;
        }
        match regenerate(node, &of.export_id) {
            Ok(c) => {
                let why = format!("its pack was sealed anew as {}", c.pack_uid);
                let rot = KINDS.iter().filter(|(class, _)| *class == Class::StorageRot);
                rot.for_each(|(_, kind)| seen::vault_whole(&node.acts, &uid, *kind, &why));
                made.insert(uid);
            }
            Err(e) => tracing::error!(pack_uid = uid, error = %e, "it cannot be sealed anew"),
        }
    }
    made
}

fn is_shredded(node: &Node, uid: &str) -> bool {
    let mut bytes = PackUid::default();
    let vault = hex::decode_to_slice(uid, &mut bytes).ok().and_then(|()| Vault::open(&node.data.vault()).ok());
    vault.is_some_and(|v| v.shredded(&bytes).is_ok_and(|s| s.is_some()))
}

/// Closes the incidents of what is whole again.
fn close(node: &Node, open: &BTreeMap<String, BTreeSet<u8>>, done: &Repaired) {
    let still: BTreeSet<(String, Class)> =
        done.left.iter().filter_map(|f| Some((hex::encode(f.subject.pack()?), f.class?))).collect();
    let found = done.found.iter().filter_map(|f| f.subject.pack().map(hex::encode));
    for uid in open.keys().cloned().chain(found).collect::<BTreeSet<_>>() {
        for (class, kind) in KINDS {
            if !still.contains(&(uid.clone(), class)) {
                seen::vault_whole(&node.acts, &uid, kind, "all of it was read, and is right again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_is_read_within_the_days_and_a_night_that_was_left_out_is_made_up_for() {
        for (all, days) in [(1usize, 30u32), (7, 30), (1000, 30), (1000, 1), (12_345, 7)] {
            let nights: Vec<usize> = (0..i64::from(days)).map(|n| goal(all, 1000, 1000 + n * DAY, days)).collect();
            assert_eq!(nights.last(), Some(&all));
            assert!(nights.windows(2).all(|w| w[0] <= w[1]));
            assert!(nights[0] <= all.div_ceil(days as usize), "no more in the first night than its part");
        }
        assert_eq!(goal(300, 0, 9 * DAY, 30), 100, "nine nights without reading, and the tenth");
        assert_eq!((goal(300, 0, 400 * DAY, 30), goal(300, 5 * DAY, 0, 30)), (300, 0), "a clock that went back waits");
    }
}
