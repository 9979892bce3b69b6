//! Repair: every step that may bring a thing back, in one order, each tried step in the log, each success written back.
//!
//! read again → another copy by its hash → parity → sealed again from the plain pack, where the bytes come out the same. What is left is
//! listed with what it costs. Records come first: without its descriptor nothing is known of a sealing. Intact objects that do not
//! authenticate are left alone: another copy of the same bytes is no better, and they are evidence.

use super::aside::Step;
use super::check::{CheckPlan, check_vault};
use super::finding::{Class, Finding, Subject, object_name};
use super::inventory::{Inventory, Log, Named, contradiction, place_of_leaf};
use super::reading::{Depth, Reader};
use super::records::mend_record;
use super::{Copies, Vault};
use crate::seal::chunk::ChunkType;
use crate::seal::{self, Descriptor, PackUid, SealError, SealedManifest, Shard, Unwraps};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Where the plain pack of a sealing may lie.
pub type Plain<'a> = &'a dyn Fn(&Descriptor, Option<&SealedManifest>) -> Vec<PathBuf>;

/// How to repair.
pub struct RepairPlan<'a> {
    /// With it sealings can be opened: more is found, and plain packs can be sealed again.
    pub identity: Option<&'a dyn Unwraps>,
    /// Other copies, in the order in which they are asked.
    pub copies: Vec<&'a dyn Copies>,
    /// Plain packs; None: there are none, or the step is not wanted.
    pub plain: Option<Plain<'a>>,
    /// What the anchor log knows.
    pub log: &'a Log,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Now, for the log of repairs.
    pub now: DateTime<Utc>,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Repaired {
    /// What was wrong.
    pub found: Vec<Finding>,
    /// Every step that was tried.
    pub steps: Vec<Step>,
    /// Files that are sound again (or would be).
    pub repaired: Vec<String>,
    /// What could not be repaired, with what it costs.
    pub left: Vec<Finding>,
}

/// How often records that came back are followed to further ones.
const ROUNDS: usize = 16;

/// One repair under way.
pub(super) struct Repair<'a> {
    pub(super) vault: &'a Vault,
    pub(super) plan: &'a RepairPlan<'a>,
    pub(super) done: Repaired,
}

/// Finds everything that is wrong by reading all of it, and repairs what can be.
///
/// # Errors
/// The system's; what was repaired until then stays so.
pub fn repair_vault(vault: &Vault, plan: &RepairPlan<'_>) -> Result<Repaired, SealError> {
    let _guard = if plan.dry_run { None } else { Some(vault.lock_shared()?) };
    let mut r = Repair { vault, plan, done: Repaired::default() };
    let check = CheckPlan { depth: Depth::Read, share: None, identity: plan.identity, log: plan.log };
    let mut report = check_vault(vault, &check)?;
    r.done.found = report.findings.iter().filter(|f| f.class.is_some()).cloned().collect();
    // A record that came back tells of others, and of objects, that nobody looked for: of what it requires, too.
    for _ in 0..ROUNDS {
        if !r.records(&report.findings)? {
            break;
        }
        report = check_vault(vault, &check)?;
        r.done.found.extend(report.bad().cloned());
        r.done.found.sort_by(|a, b| a.subject.cmp(&b.subject));
        r.done.found.dedup_by(|a, b| a.subject == b.subject);
    }
    let inv = Inventory::read(vault, plan.log)?;
    let bad: Vec<Finding> = report.bad().cloned().collect();
    let left = r.objects(&inv, &bad)?;
    r.done.left = r.rest(&bad, &left);
    super::costs::price(vault, &inv, plan.identity, &mut r.done.left);
    Ok(r.done)
}

/// Repairs what somebody found, who read but a part; gives with it what is left.
///
/// # Errors
/// As [`repair_vault`].
pub(super) fn repair_found(
    vault: &Vault,
    plan: &RepairPlan<'_>,
    inv: &Inventory,
    found: Vec<Finding>,
) -> Result<Repaired, SealError> {
    let _guard = vault.lock_shared()?;
    let mut r = Repair { vault, plan, done: Repaired { found, ..Repaired::default() } };
    let found = r.done.found.clone();
    // What a descriptor that came back tells of is read with the rest, in its turn.
    r.records(&found)?;
    let left = r.objects(inv, &found)?;
    r.done.left = r.rest(&found, &left);
    super::costs::price(vault, inv, plan.identity, &mut r.done.left);
    Ok(r.done)
}

impl Repair<'_> {
    /// Writes a step down, in the log before it counts.
    pub(super) fn note(&mut self, object: &str, step: &str, outcome: &str) -> Result<(), SealError> {
        let time = self.plan.now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let (object, step, outcome) = (object.to_owned(), step.to_owned(), outcome.to_owned());
        let step = Step { time, object, step, outcome };
        if !self.plan.dry_run {
            self.vault.note_repair(std::slice::from_ref(&step))?;
        }
        self.done.steps.push(step);
        Ok(())
    }

    /// Puts sound bytes in place.
    pub(super) fn place(&mut self, name: &str, step: &str, bytes: &[u8]) -> Result<(), SealError> {
        if self.plan.dry_run {
            self.note(name, step, "would be repaired")?;
        } else {
            self.vault.put_right(name, bytes)?;
            self.note(name, step, "repaired")?;
        }
        self.done.repaired.push(name.to_owned());
        Ok(())
    }

    /// What of these is not repaired.
    fn rest(&self, bad: &[Finding], left: &BTreeSet<[u8; 32]>) -> Vec<Finding> {
        let fixed: BTreeSet<&String> = self.done.repaired.iter().collect();
        let is_left = |f: &&Finding| match &f.subject {
            Subject::Object(_, _, h) => left.contains(h) || f.class != Some(Class::StorageRot),
            s => !fixed.contains(&s.path()),
        };
        bad.iter().filter(is_left).cloned().collect()
    }

    /// Mends records; whether a descriptor came back.
    fn records(&mut self, findings: &[Finding]) -> Result<bool, SealError> {
        let mut again = false;
        for f in findings {
            let is_descriptor = matches!(f.subject, Subject::Sealing(_) | Subject::Descriptor(_));
            // A stanza without a descriptor may be all that is left of a sealing.
            let lost = f.class.is_none() && matches!(f.subject, Subject::Stanza(_));
            let mended = match &f.subject {
                Subject::Sealing(u) | Subject::Descriptor(u) => self.descriptor(u)?,
                Subject::Stanza(u) if lost => self.descriptor(u)?,
                Subject::Stanza(u) | Subject::Sum(u) if f.class == Some(Class::StorageRot) => mend_record(self, u)?,
                _ => false,
            };
            again |= mended && (is_descriptor || lost);
        }
        Ok(again && !self.plan.dry_run)
    }

    /// Fetches a descriptor that is vouched for: by the log, else by its own root and uid.
    fn descriptor(&mut self, uid: &PackUid) -> Result<bool, SealError> {
        let name = Subject::Descriptor(*uid).path();
        for copies in &self.plan.copies {
            let step = format!("copy at {}", copies.name());
            let text = match copies.fetch(uid, &name, seal::MAX_DESCRIPTOR) {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                Err(e) => {
                    self.note(&name, &step, &e)?;
                    continue;
                }
            };
            let told = Descriptor::decode(&step, &text).map_err(|e| e.to_string());
            let told = told.and_then(|d| match self.plan.log.get(uid).and_then(|l| contradiction(&d, l)) {
                _ if d.pack_uid != *uid => Err("is of another pack".to_owned()),
                // One that nobody signed for could name anything.
                _ if !self.plan.log.is_empty() && !self.plan.log.contains_key(uid) => {
                    Err("is not in the anchor log, so nothing vouches for it".to_owned())
                }
                Some(why) => Err(why.to_owned()),
                None => Ok(()),
            });
            match told {
                Ok(()) => {
                    self.place(&name, &step, &text)?;
                    return Ok(true);
                }
                Err(why) => self.note(&name, &step, &why)?,
            }
        }
        Ok(false)
    }

    /// Repairs rotten objects; gives those that are left.
    fn objects(&mut self, inv: &Inventory, bad: &[Finding]) -> Result<BTreeSet<[u8; 32]>, SealError> {
        let rotten: BTreeSet<[u8; 32]> = bad
            .iter()
            .filter_map(|f| match (&f.subject, f.class) {
                (Subject::Object(_, _, h), Some(Class::StorageRot)) => Some(*h),
                _ => None,
            })
            .collect();
        let mut left: BTreeMap<[u8; 32], Named> =
            inv.named.iter().filter(|n| rotten.contains(&n.hash)).map(|n| (n.hash, *n)).collect();
        for n in left.clone().into_values() {
            if self.again(&n)? || self.copy(inv, &n)? {
                left.remove(&n.hash);
            }
        }
        self.by_parity(inv, &mut left)?;
        if self.by_sealing(inv, &mut left)? {
            self.by_parity(inv, &mut left)?;
        }
        Ok(left.into_keys().collect())
    }

    /// A second reading: what came through a bad cable once may come well now.
    fn again(&mut self, n: &Named) -> Result<bool, SealError> {
        let name = object_name(&n.hash);
        let read = Reader::default().read(self.vault, &n.hash, n.len, false);
        match read {
            Ok(()) => {
                self.note(&name, "read again", "it is sound now")?;
                self.done.repaired.push(name);
                Ok(true)
            }
            Err(d) => self.note(&name, "read again", &d.to_string()).map(|()| false),
        }
    }

    fn copy(&mut self, inv: &Inventory, n: &Named) -> Result<bool, SealError> {
        let Some(uid) = inv.descriptor(n).map(|d| d.pack_uid) else { return Ok(false) };
        let name = object_name(&n.hash);
        for copies in &self.plan.copies {
            let step = format!("copy at {}", copies.name());
            match copies.fetch(&uid, &name, n.len) {
                Ok(Some(bytes)) if blake3::hash(&bytes) == n.hash => {
                    self.place(&name, &step, &bytes)?;
                    return Ok(true);
                }
                Ok(Some(_)) => self.note(&name, &step, "it is damaged there too")?,
                Ok(None) => self.note(&name, &step, "not there")?,
                Err(e) => self.note(&name, &step, &e)?,
            }
        }
        Ok(false)
    }

    /// One lost object a group comes back from the others; so does a lost parity object from a whole group.
    fn by_parity(&mut self, inv: &Inventory, left: &mut BTreeMap<[u8; 32], Named>) -> Result<(), SealError> {
        for n in left.clone().into_values() {
            let Some(d) = inv.descriptor(&n) else { continue };
            if d.parity.objects.is_empty() {
                continue;
            }
            let name = object_name(&n.hash);
            match self.rebuilt(d, &n, left) {
                Some(bytes) if blake3::hash(&bytes) == n.hash => {
                    self.place(&name, "parity", &bytes)?;
                    left.remove(&n.hash);
                }
                Some(_) => self.note(&name, "parity", "what comes out is not the object")?,
                None => self.note(&name, "parity", "more than one object of its group is lost")?,
            }
        }
        Ok(())
    }

    fn rebuilt(&self, d: &Descriptor, n: &Named, left: &BTreeMap<[u8; 32], Named>) -> Option<Vec<u8>> {
        let place = place_of_leaf(d, n.leaf)?;
        let is_parity = place.kind == ChunkType::Parity;
        let first = if is_parity { place.index.checked_mul(seal::parity::GROUP)? } else { n.leaf };
        let (group, range) = d.group_of(first);
        let refs: Vec<_> = d.leaves().skip(range.start as usize).take(range.len()).collect();
        let others: Vec<_> = refs.into_iter().filter(|o| o.object_blake3 != n.hash).collect();
        let parity = d.parity.objects.get(group as usize)?;
        let sound = |h: &[u8; 32]| !left.contains_key(h);
        if !others.iter().all(|o| sound(&o.object_blake3)) || !(is_parity || sound(&parity.object_blake3)) {
            return None;
        }
        let get = |o: &seal::ObjectRef| self.vault.get(&o.object_blake3, o.object_len).ok();
        if is_parity {
            let mut shard = Shard::new();
            for o in others {
                shard.add(&get(o)?);
            }
            return shard.into_object(&place).ok();
        }
        // One at a time in memory: what cannot be read makes another object come out, which its hash shows.
        let rest = others.into_iter().filter_map(get);
        seal::parity::rebuild(&get(parity)?, rest, usize::try_from(n.len).ok()?)
    }

    /// Seals again from plain packs what comes out the same.
    fn by_sealing(&mut self, inv: &Inventory, left: &mut BTreeMap<[u8; 32], Named>) -> Result<bool, SealError> {
        let (Some(identity), Some(plain)) = (self.plan.identity, self.plan.plain) else { return Ok(false) };
        let mut of: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for n in left.values() {
            if inv.descriptor(n).is_some_and(|d| n.leaf < d.chunk_count) {
                of.entry(n.pack).or_default().insert(n.leaf);
            }
        }
        let (vault, mut any) = (self.vault, false);
        for (pack, wanted) in of {
            let Some(d) = inv.descriptors.get(pack as usize) else { continue };
            let Ok(key) = seal::unwrap_key(vault, d.pack_uid, identity) else { continue };
            let manifest = seal::read_manifest(vault, d, &key).ok();
            let mut wanted = wanted;
            for folder in plain(d, manifest.as_ref()) {
                let step = format!("sealed again from {}", folder.display());
                let mut came: Vec<u32> = Vec::new();
                let mut put = |leaf: u32, bytes: &[u8]| {
                    let hash = *blake3::hash(bytes).as_bytes();
                    if left.remove(&hash).is_some() {
                        self.place(&object_name(&hash), &step, bytes)?;
                        came.push(leaf);
                    }
                    Ok(())
                };
                let sealed = seal::remake(vault, d, &key, &folder, &wanted, &mut put);
                any |= !came.is_empty();
                came.iter().for_each(|leaf| _ = wanted.remove(leaf));
                if let Err(e) = sealed {
                    self.note(&Subject::Descriptor(d.pack_uid).path(), &step, &e.to_string())?;
                }
                if wanted.is_empty() {
                    break;
                }
            }
        }
        Ok(any)
    }
}
