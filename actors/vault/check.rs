//! Checking a vault: everything that is wrong with it, as a list. Nothing is changed, and no state is opened.

use super::finding::{Class, Finding, Subject};
use super::inventory::{Inventory, Log, Named, names};
use super::reading::{Depth, Keys, examine};
use super::records::fits;
use super::{Mark, Vault, tombstones};
use crate::seal::chunk::ChunkKeys;
use crate::seal::{Diagnosis, PackUid, SealError, Unwraps, unwrap_key};
use serde::Serialize;
use std::collections::BTreeSet;

/// How to check.
#[derive(Clone, Copy)]
pub struct CheckPlan<'a> {
    /// How deep.
    pub depth: Depth,
    /// Under [`Depth::Read`]: which part of the objects is read; the others are looked at.
    pub share: Option<Share>,
    /// With it commitments and tags are verified too.
    pub identity: Option<&'a dyn Unwraps>,
    /// What the anchor log knows.
    pub log: &'a Log,
}

/// A part of the objects by their names, `parts` of a million from `first` on, round and round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Where it begins.
    pub first: u32,
    /// How much it is.
    pub parts: u32,
}

/// The parts of all.
pub const ALL_PARTS: u32 = 1_000_000;

impl Share {
    /// The share of a day: those of days in a row follow one another until each object was in one.
    pub fn of_day(parts: u32, day: i64) -> Self {
        let first = day.saturating_mul(i64::from(parts)).rem_euclid(i64::from(ALL_PARTS));
        Self { first: u32::try_from(first).unwrap_or(0), parts }
    }

    /// Whether an object is in it.
    pub fn holds(&self, hash: &[u8; 32]) -> bool {
        let head = hash.iter().take(4).fold(0u64, |n, b| (n << 8) | u64::from(*b));
        let at = (head.saturating_mul(u64::from(ALL_PARTS)) >> 32) as u32;
        let from_first = (at + ALL_PARTS - self.first % ALL_PARTS) % ALL_PARTS;
        from_first < self.parts
    }
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct CheckReport {
    /// Sealings.
    pub packs: u64,
    /// Objects that they name, each once.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were read whole.
    pub read_objects: u64,
    /// Bytes of them.
    pub read_bytes: u64,
    /// Sealings whose commitments and tags were verified.
    pub keys: u64,
    /// Sealings whose key was dropped on purpose.
    pub shredded: u64,
    /// Sealings and objects that wait for their deletion.
    pub tombstones: u64,
    /// Everything that was found, records first.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// What is wrong.
    pub fn bad(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.class.is_some())
    }
}

/// Checks a vault.
///
/// # Errors
/// The system's; whatever is wrong with the vault is in the report.
pub fn check_vault(vault: &Vault, plan: &CheckPlan<'_>) -> Result<CheckReport, SealError> {
    let inv = Inventory::read(vault, plan.log)?;
    let mut report = CheckReport { findings: inv.findings.clone(), ..CheckReport::default() };
    report.packs = inv.descriptors.len() as u64;
    let tombs = tombstones::read(vault)?;
    report.tombstones = tombs.len() as u64;
    let keys = records(vault, &inv, plan.identity, &mut report)?;
    report.keys = keys.len() as u64;
    let groups = inv.groups();
    report.objects = groups.len() as u64;
    report.bytes = groups.iter().filter_map(|g| g.first()).map(|n| n.len).sum();
    let in_share = |g: &&&[Named]| {
        let whole = plan.share.is_none_or(|s| g.first().is_some_and(|n| s.holds(&n.hash)));
        plan.depth == Depth::Read && whole
    };
    let (read, looked): (Vec<&[Named]>, Vec<&[Named]>) = groups.iter().partition(in_share);
    for (some, depth) in [(read, Depth::Read), (looked, Depth::Look)] {
        let e = examine(vault, &inv, &some, depth, &keys, &|_| true);
        if depth == Depth::Read {
            (report.read_objects, report.read_bytes) = (e.objects, e.bytes);
        }
        report.findings.extend(e.bad.into_iter().filter_map(|(n, d)| of_object(vault, &inv, &n, &d)));
    }
    report.findings.extend(orphans(vault, &inv)?);
    // What nothing needs and is to go is no loss.
    for f in &mut report.findings {
        if f.class.is_some() && f.subject.pack().is_some_and(|u| tombs.contains_key(&Mark::Pack(u))) {
            f.class = None;
            f.why.push_str("; nothing needs it, and it waits for its deletion");
        }
    }
    Ok(report)
}

/// The finding of a bad object; None where its sealing went while it was looked at.
pub(super) fn of_object(vault: &Vault, inv: &Inventory, n: &Named, d: &Diagnosis) -> Option<Finding> {
    let uid = inv.descriptor(n)?.pack_uid;
    if *d == Diagnosis::Missing && !vault.descriptor_path(&uid).exists() {
        return None;
    }
    Some(Finding::bad(inv.subject(n), Class::of(d), d.to_string()))
}

/// Looks at stanzas; gives the keys that the identity unwraps.
pub(super) fn records(
    vault: &Vault,
    inv: &Inventory,
    identity: Option<&dyn Unwraps>,
    report: &mut CheckReport,
) -> Result<Keys, SealError> {
    let mut keys = Keys::new();
    for d in &inv.descriptors {
        let uid = d.pack_uid;
        let key = match identity.map(|i| unwrap_key(vault, uid, i)) {
            None => None,
            Some(Ok(key)) => ChunkKeys::new(&key).map(Ok),
            Some(Err(e)) => Some(Err(e)),
        };
        // The stanza of another sealing gives a key too.
        let key = key.filter(|k| {
            k.is_err() || k.as_ref().is_ok_and(|k| matches_sum(vault, &uid) || fits(vault, d, k) == Some(true))
        });
        let unwraps = matches!(key, Some(Ok(_)));
        match stanza(vault, &uid, unwraps)? {
            Stanza::Whole => {
                if let Some(Err(e)) = &key {
                    report.findings.push(Finding::bad(Subject::Stanza(uid), Class::WrongKey, e.to_string()));
                }
            }
            Stanza::Shredded => report.shredded = report.shredded.saturating_add(1),
            Stanza::Bad(f) => report.findings.push(f),
        }
        if let Some(Ok(key)) = key {
            keys.insert(uid, key);
        }
    }
    Ok(keys)
}

fn matches_sum(vault: &Vault, uid: &PackUid) -> bool {
    matches!(vault.stanza_problem(uid), Ok(None))
}

enum Stanza {
    Whole,
    Shredded,
    Bad(Finding),
}

/// What is to be said of a stanza and its sum. Where the key comes out of it, the stanza is sound, and only its sum can be wrong.
fn stanza(vault: &Vault, uid: &PackUid, unwraps: bool) -> Result<Stanza, SealError> {
    let rot = |subject, why: String| Ok(Stanza::Bad(Finding::bad(subject, Class::StorageRot, why)));
    let of = if unwraps { Subject::Sum(*uid) } else { Subject::Stanza(*uid) };
    match vault.stanza_problem(uid) {
        Ok(None) if !vault.stanza_path(uid).exists() => Ok(Stanza::Shredded),
        Ok(None) => Ok(Stanza::Whole),
        Ok(Some((path, why))) => {
            let is_sum = path == vault.stanza_sum_path(uid);
            rot(if is_sum { Subject::Sum(*uid) } else { of }, why.to_owned())
        }
        Err(e @ SealError::Integrity { .. }) => rot(of, e.to_string()),
        Err(SealError::Io { path, source, .. }) if path.starts_with(vault.root()) => {
            let subject = if path == vault.stanza_sum_path(uid) { Subject::Sum(*uid) } else { Subject::Stanza(*uid) };
            rot(subject, format!("unreadable ({source}): storage is failing; restore it from a replica"))
        }
        Err(e) => Err(e),
    }
}

/// What is there and nobody names. It is no damage: a sealing that was interrupted leaves such, and the collector takes it.
fn orphans(vault: &Vault, inv: &Inventory) -> Result<Vec<Finding>, SealError> {
    let mut out = Vec::new();
    let chunks = vault.root().join("chunks");
    for shard in names(&chunks)? {
        let folder = chunks.join(&shard);
        if !folder.is_dir() {
            out.push(stray(format!("chunks/{shard}")));
            continue;
        }
        for name in names(&folder)? {
            let mut hash = [0u8; 32];
            let is_name = hex::decode_to_slice(&name, &mut hash).is_ok() && hex::encode(hash) == name;
            if !is_name || !name.starts_with(&shard) {
                out.push(stray(format!("chunks/{shard}/{name}")));
            } else if !inv.names(&hash) {
                let why = "no descriptor names it; the collector takes it, or a descriptor is missing";
                out.push(Finding::notice(Subject::Orphan(hash), why));
            }
        }
    }
    let known: BTreeSet<String> = inv.descriptors.iter().map(|d| hex::encode(d.pack_uid)).collect();
    for name in names(&vault.root().join("stanzas"))? {
        let (uid, rest) = name.split_at_checked(32).unwrap_or((&name, ""));
        if ![".age", ".age.sha256", ".shredded", ".passphrases.json"].contains(&rest) {
            out.push(stray(format!("stanzas/{name}")));
        } else if rest == ".passphrases.json" {
            let mut of = PackUid::default();
            let read = hex::decode_to_slice(uid, &mut of).map(|()| vault.passphrases(&of));
            if let Ok(Err(e)) = read {
                let why = format!("no passphrase opens its sealing: {e}; `datanode key rotate` writes it anew");
                out.push(Finding::notice(Subject::Stray(format!("stanzas/{name}")), why));
            }
        } else if rest == ".age" && !known.contains(uid) {
            let mut of = PackUid::default();
            if hex::decode_to_slice(uid, &mut of).is_ok() && !inv.findings.iter().any(|f| f.subject.pack() == Some(of))
            {
                let why = "its sealing has no descriptor: it was begun and not finished, or its descriptor is missing";
                out.push(Finding::notice(Subject::Stanza(of), why));
            }
        }
    }
    Ok(out)
}

fn stray(path: String) -> Finding {
    Finding::notice(Subject::Stray(path), "is nothing of a vault's; move it out")
}
