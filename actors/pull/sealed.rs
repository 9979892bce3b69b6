//! A sealed pack: descriptor, stanza and objects become a vault for a moment, and that is opened.
//!
//! What is in a sealing is known only with its key, so finding one by its export id, or the newest, reads the sealed manifest of each.

use super::fetch::{Counted, Object, to_file};
use super::paper::{MAX_PAPER, Paper, manifest_of};
use super::place::{Place, files, open_folder, remove};
use super::plain::{not_back, room, standing, whole, write};
use super::reuse;
use super::sealings::{sealings, uid_of};
use super::{PullError, PullFault, PullPlan, Pulled, Wanted};
use crate::anchor::{MAX_PROOF, Proof, proof_name};
use crate::export::{ExportId, PackManifest, SUMS_FILE};
use crate::objects::BucketKind;
use crate::seal::{self, Descriptor, MAX_DESCRIPTOR, PackKey, PackUid, SealedManifest, Unwraps};
use crate::vault::Vault;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Longer stanzas and their sums are refused, bytes.
const MAX_STANZA: u64 = 64 << 10;
/// Longer sealed manifests are refused before they are fetched, bytes: more than any has with its headers, tags and padding.
const MAX_SEALED_MANIFEST: u64 = 2 * MAX_PAPER;

/// A sealing whose manifest was opened.
pub(super) struct Opened {
    pub uid: PackUid,
    pub descriptor: Descriptor,
    pub sealed: SealedManifest,
    pub manifest: PackManifest,
}

/// Sealings by the id of their pack. Most ids have one.
pub(super) type ById = BTreeMap<String, Vec<Opened>>;

/// The last sealing of an id, where all of them hold the same.
///
/// # Errors
/// 3: they do not, and which is right is not for a program to say.
fn only_one(id: &str, mut all: Vec<Opened>) -> Result<Option<Opened>, PullError> {
    if all.windows(2).any(|w| matches!(w, [a, b] if a.sealed.manifest_json != b.sealed.manifest_json)) {
        let uids: Vec<String> = all.iter().map(|o| hex::encode(o.uid)).collect();
        return Err(PullError::integrity(format!(
            "{id} was sealed several times, with other contents: {}; packs are never changed: find out which is right, and name it with --id",
            uids.join(", ")
        )));
    }
    all.sort_by_key(|o| o.descriptor.generation);
    Ok(all.pop())
}

pub(super) struct Way<'a> {
    pub plan: &'a PullPlan,
    identity: &'a dyn Unwraps,
    runtime: &'a Runtime,
    pub counted: Counted,
    /// What comes before the sealings' folders, with a slash at its end where it is not empty.
    base: String,
    pub vault: Vault,
}

/// Pulls a sealed pack.
///
/// # Errors
/// [`PullError`]; the destination is as it was.
pub fn pull(
    plan: &PullPlan,
    identity: &dyn Unwraps,
    runtime: &Runtime,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Pulled, PullError> {
    on_the_way(plan, identity, runtime, |way, place, uids| way.pull(place, uids, say))
}

/// Does something with a vault beside the destination, which what is fetched goes into. After an outage or a kill the next pull goes on with
/// what arrived; what will not be right tomorrow either goes with the pull that made it.
pub(super) fn on_the_way<T>(
    plan: &PullPlan,
    identity: &dyn Unwraps,
    runtime: &Runtime,
    work: impl FnOnce(&Way<'_>, &Place, &[PackUid]) -> Result<T, PullError>,
) -> Result<T, PullError> {
    let place = Place::take(&plan.to)?;
    let (base, uids) = runtime.block_on(sealings(plan))?;
    let was_there = fs::symlink_metadata(place.partial("vault")).is_ok();
    let (root, _) = place.open_partial("vault")?;
    if files(&root).is_err() {
        // Something that no pull makes, such as a symlink to elsewhere: begin again.
        remove(&root).map_err(|e| PullError::io("remove", &root, e))?;
    }
    let vault = Vault::open(&root)?;
    let way = Way { plan, identity, runtime, counted: Counted::default(), base, vault };
    let done = work(&way, &place, &uids);
    let goes_on = done.as_ref().is_err_and(|e| e.fault == PullFault::Failed || was_there);
    if !goes_on {
        remove(&root).map_err(|e| PullError::io("remove", &root, e))?;
    }
    done
}

impl Way<'_> {
    fn pull(&self, place: &Place, uids: &[PackUid], say: &(dyn Fn(&str) + Sync)) -> Result<Pulled, PullError> {
        let (chosen, others) = self.choose(uids, true, say)?;
        let id = chosen.manifest.export_id.clone();
        not_back(place, self.plan, &id)?;
        let mut done = Pulled { export_id: id.clone(), pack_uid: Some(hex::encode(chosen.uid)), ..Pulled::default() };
        if self.plan.dry_run {
            done.downloaded_bytes = chosen.descriptor.leaves().map(|o| o.object_len).sum();
            return Ok(Pulled { dry_run: true, ..done });
        }
        let text = Bytes::from(chosen.sealed.manifest_json.clone().into_bytes());
        let paper = Paper::of(text, chosen.manifest.clone(), chosen.sealed.sha256sums.as_bytes())?;
        standing(place, &paper)?;
        let path = place.partial(&id);
        self.open(&chosen, &path, None, say)?;
        self.holders(place, &chosen, &path, others, say)?;
        let mut folder = open_folder(&path).map_err(|e| PullError::io("open", &path, e))?;
        write(&mut folder, &path, SUMS_FILE, paper.sums_text.as_bytes())?;
        whole(&path, &chosen.manifest.files)?;
        place.swap(&path)?;
        (done.files, done.bytes) = paper.amount();
        (done.verified_files, done.downloaded_files) = (done.files, done.files);
        done.downloaded_bytes = self.counted.bytes();
        Ok(done)
    }

    /// The sealing that is meant, and the others whose manifests were read on the way.
    pub(super) fn choose(
        &self,
        uids: &[PackUid],
        with_others: bool,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<(Opened, ById), PullError> {
        if let Wanted::Id(id) = &self.plan.wanted
            && let Some(uid) = uid_of(id)
        {
            let opened = self.manifest(uid)?;
            let opened = opened.ok_or_else(|| self.none(&format!("there is no complete sealing {id}")))?;
            let others = match with_others && opened.manifest.files.iter().any(|f| f.held_by.is_some()) {
                true => self.all(uids, say)?,
                false => BTreeMap::new(),
            };
            return Ok((opened, others));
        }
        let mut all = self.all(uids, say)?;
        let name = match &self.plan.wanted {
            Wanted::Latest => all.keys().max().cloned(),
            Wanted::Id(id) => Some(id.clone()).filter(|id| ExportId::parse(id).is_some()),
        };
        let found = match name.and_then(|n| all.remove_entry(&n)) {
            Some((id, sealings)) => only_one(&id, sealings)?,
            None => None,
        };
        found.map(|f| (f, all)).ok_or_else(|| self.none("there is no such sealing that this key opens"))
    }

    fn none(&self, what: &str) -> PullError {
        PullError::not_found(format!(
            "{}: {what}; check the URL, --id, and what the node shipped",
            self.plan.bucket.url
        ))
    }

    /// Every sealing that the key opens, by export id.
    fn all(&self, uids: &[PackUid], say: &(dyn Fn(&str) + Sync)) -> Result<ById, PullError> {
        if self.plan.bucket.kind == BucketKind::Http {
            return Err(PullError::usage(format!(
                "{}: sealings cannot be listed over plain HTTP; name the pack uid with --id",
                self.plan.bucket.url
            )));
        }
        let mut out = ById::new();
        for uid in uids {
            match self.manifest(*uid) {
                Ok(Some(o)) => out.entry(o.manifest.export_id.clone()).or_default().push(o),
                Ok(None) => say(&format!("{} is not complete (no descriptor)", hex::encode(uid))),
                Err(e) if e.fault == PullFault::Failed => return Err(e),
                Err(e) => say(&format!("{}: {e}; it is passed over", hex::encode(uid))),
            }
        }
        Ok(out)
    }

    /// Descriptor, stanza and sealed manifest of a sealing; None where it is not complete.
    fn manifest(&self, uid: PackUid) -> Result<Option<Opened>, PullError> {
        let Some(descriptor) = self.records(uid)? else { return Ok(None) };
        self.proved(uid, &descriptor)?;
        // Before anything is fetched that another key, or no key, opens.
        let key = self.key(uid)?;
        let objects: BTreeSet<_> =
            descriptor.manifest_objects.iter().map(|o| (uid, o.object_blake3, o.object_len)).collect();
        let bytes = objects.iter().fold(0u64, |n, (.., len)| n.saturating_add(*len));
        if bytes > MAX_SEALED_MANIFEST {
            let what = format!("sealing {}: its manifest has {bytes} bytes", hex::encode(uid));
            return Err(PullError::contract(format!("{what}; more than {MAX_SEALED_MANIFEST} are refused")));
        }
        self.objects(objects)?;
        let sealed = seal::read_manifest(&self.vault, &descriptor, &key)?;
        let id: Named = serde_json::from_str(&sealed.manifest_json)
            .map_err(|e| PullError::contract(format!("sealing {}: manifest.json: {e}", hex::encode(uid))))?;
        let manifest = manifest_of(sealed.manifest_json.as_bytes(), &id.export_id)?;
        Ok(Some(Opened { uid, descriptor, sealed, manifest }))
    }

    /// Sees that a sealing stands in the log whose key was named: whoever knows a recipient could make another.
    fn proved(&self, uid: PackUid, descriptor: &Descriptor) -> Result<(), PullError> {
        let Some(public) = &self.plan.log_key else { return Ok(()) };
        let name = format!("{}{}/{}", self.base, hex::encode(uid), proof_name(&uid));
        let text = self.runtime.block_on(self.counted.small(&self.plan.bucket, &name, MAX_PROOF))?;
        let text =
            text.ok_or_else(|| PullError::integrity(format!("{name}: no proof that it is anchored is there")))?;
        let proved = Proof::decode(&name, &text).and_then(|p| p.verify(&name, descriptor, public));
        proved.map(|_| ()).map_err(|e| PullError::integrity(e.to_string()))
    }

    /// Fetches descriptor, stanza and its sum; None where there is no descriptor.
    pub(super) fn records(&self, uid: PackUid) -> Result<Option<Descriptor>, PullError> {
        let Some(text) = self.small(uid, &self.vault.descriptor_path(&uid), MAX_DESCRIPTOR)? else { return Ok(None) };
        let descriptor = Descriptor::decode(&format!("descriptor of {}", hex::encode(uid)), &text)?;
        let [passphrases, stanza, sum, shredded] = self.vault.stanza_files(&uid);
        for path in [&stanza, &passphrases, &shredded] {
            // What an earlier pull left may be of before a change there.
            match fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(PullError::io("remove", path, e)),
                _ => {}
            }
        }
        if self.identity.needs_records() {
            self.small(uid, &passphrases, MAX_STANZA)?;
        }
        for path in [stanza, sum] {
            if self.small(uid, &path, MAX_STANZA)?.is_none() {
                if self.small(uid, &shredded, MAX_STANZA)?.is_some() {
                    // Whoever asks for its key is told.
                    return Ok(Some(descriptor));
                }
                return Err(PullError::integrity(format!(
                    "sealing {}: {} is missing",
                    hex::encode(uid),
                    path.display()
                )));
            }
        }
        Ok(Some(descriptor))
    }

    /// Fetches a small file of the vault anew.
    fn small(&self, uid: PackUid, path: &Path, most: u64) -> Result<Option<Bytes>, PullError> {
        let name = self.name(uid, path);
        let Some(text) = self.runtime.block_on(self.counted.small(&self.plan.bucket, &name, most))? else {
            return Ok(None);
        };
        fs::write(path, &text).map_err(|e| PullError::io("write", path, e))?;
        Ok(Some(text))
    }

    fn name(&self, uid: PackUid, path: &Path) -> String {
        let within = path.strip_prefix(self.vault.root()).unwrap_or(path);
        format!("{}{}/{}", self.base, hex::encode(uid), within.display())
    }

    /// Fetches objects, (sealing, name, length) each; those that are here and right are not fetched again.
    pub(super) fn objects(&self, wanted: BTreeSet<(PackUid, [u8; 32], u64)>) -> Result<(), PullError> {
        self.runtime.block_on(async {
            let mut tasks: JoinSet<Result<(), PullError>> = JoinSet::new();
            let mut buffer = Vec::new();
            let mut left = wanted.into_iter();
            loop {
                while tasks.len() < self.plan.parallel.max(1) {
                    let Some((uid, hash, bytes)) = left.next() else { break };
                    if self.vault.read_into(&hash, bytes, &mut buffer).is_ok() {
                        continue;
                    }
                    let path = self.vault.object_path(&hash);
                    let object = Object { name: self.name(uid, &path), bytes, sha256: None };
                    let (bucket, counted) = (self.plan.bucket.clone(), self.counted.clone());
                    tasks.spawn(async move {
                        if let Some(parent) = path.parent() {
                            fs::create_dir_all(parent).map_err(|e| PullError::io("make", parent, e))?;
                        }
                        let file = File::create(&path).map_err(|e| PullError::io("create", &path, e))?;
                        to_file(&bucket, &object, file, &path, &counted).await
                    });
                }
                let Some(ended) = tasks.join_next().await else { return Ok(()) };
                ended.map_err(|e| PullError::failed(format!("a download ended: {e}")))??;
            }
        })
    }

    /// The key of a sealing whose stanza was fetched.
    pub(super) fn key(&self, uid: PackUid) -> Result<PackKey, PullError> {
        Ok(seal::unwrap_key(&self.vault, uid, self.identity)?)
    }

    /// Fetches the descriptors that a sealing stands on.
    pub(super) fn required(&self, o: &Opened) -> Result<(), PullError> {
        for required in &o.descriptor.requires {
            if self.records(*required)?.is_none() {
                let what =
                    format!("sealing {} requires {}, which is not there", hex::encode(o.uid), hex::encode(required));
                return Err(PullError::integrity(format!("{what}; ship it again, or pull another pack")));
            }
        }
        Ok(())
    }

    /// Fetches what a sealing stands on, verifies its objects and root, and opens it into `to`.
    fn open(
        &self,
        o: &Opened,
        to: &Path,
        only: Option<&dyn Fn(&str) -> bool>,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<(), PullError> {
        self.required(o)?;
        let jobs = o.sealed.jobs(&o.descriptor)?;
        let mut wanted: BTreeSet<_> =
            jobs.iter().map(|j| (j.place.pack_uid, j.object.object_blake3, j.object.object_len)).collect();
        wanted.extend(o.descriptor.leaves().map(|l| (o.uid, l.object_blake3, l.object_len)));
        say(&format!("{}: {} objects", o.manifest.export_id, wanted.len()));
        // The objects, and the files that come out of them.
        let accepted = o.manifest.files.iter().filter(|f| only.is_none_or(|accepts| accepts(&f.path)));
        let to_come = wanted.iter().filter(|(_, hash, _)| !self.vault.object_path(hash).exists());
        let sizes = accepted.map(|f| f.bytes).chain(to_come.map(|(.., len)| *len));
        room(self.vault.root(), sizes.fold(0, u64::saturating_add))?;
        self.objects(wanted)?;
        let report = seal::verify(&self.vault, o.uid, None)?;
        if !report.is_ok() {
            let all: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
            return Err(PullError::integrity(format!("sealing {}: {}", hex::encode(o.uid), all.join("\n  "))));
        }
        remove(to).map_err(|e| PullError::io("remove", to, e))?;
        seal::open(&self.vault, o.uid, &self.key(o.uid)?, to, only)?;
        Ok(())
    }

    /// The files of a delta that earlier packs hold come out of their sealings.
    fn holders(
        &self,
        place: &Place,
        chosen: &Opened,
        path: &Path,
        mut others: ById,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<(), PullError> {
        let held: BTreeSet<&String> = chosen.manifest.files.iter().filter_map(|f| f.held_by.as_ref()).collect();
        for id in held {
            let files: Vec<_> =
                chosen.manifest.files.iter().filter(|f| f.held_by.as_ref() == Some(id)).cloned().collect();
            let wanted: BTreeSet<_> = files.iter().map(|f| (f.path.as_str(), f.sha256.as_str())).collect();
            // Of several sealings the one that holds what the manifest names.
            let holds = |o: &Opened| {
                let has: BTreeSet<_> = o.manifest.files.iter().map(|f| (f.path.as_str(), f.sha256.as_str())).collect();
                wanted.is_subset(&has)
            };
            let mut sealings = others.remove(id).unwrap_or_default();
            let found =
                sealings.iter().position(holds).or(sealings.len().checked_sub(1)).map(|i| sealings.swap_remove(i));
            let of = found.ok_or_else(|| {
                let what = format!(
                    "{} builds on {id}, of which no sealing is there that this key opens",
                    chosen.manifest.export_id
                );
                PullError::integrity(format!("{what}; ship it again, or pull another pack"))
            })?;
            let names: BTreeSet<&str> = files.iter().map(|f| f.path.as_str()).collect();
            let aside: PathBuf = place.partial(&hex::encode(of.uid));
            self.open(&of, &aside, Some(&|p: &str| names.contains(p)), say)?;
            let missing = reuse::link_all(&aside, path, &files)?;
            remove(&aside).map_err(|e| PullError::io("remove", &aside, e))?;
            if let Some(first) = missing {
                return Err(PullError::integrity(format!(
                    "{id}: {first:?} is not what {} says of it",
                    chosen.manifest.export_id
                )));
            }
        }
        Ok(())
    }
}

/// The name of a pack whose manifest is not checked yet.
#[derive(serde::Deserialize)]
struct Named {
    export_id: String,
}
