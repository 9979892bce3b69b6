//! What a lost object costs: the files of which packs lie in it. Known only with the key.

use super::Vault;
use super::finding::{Finding, Subject};
use super::inventory::Inventory;
use crate::seal::{PackUid, Unwraps, read_manifest, unwrap_key};
use std::collections::{BTreeMap, BTreeSet};

/// Names that are listed for one object; of more only the count.
const MOST: usize = 100;

/// Adds to findings about objects the files that lie in them, over all packs that use them.
pub(super) fn price(vault: &Vault, inv: &Inventory, identity: Option<&dyn Unwraps>, findings: &mut [Finding]) {
    let Some(identity) = identity else { return };
    let lost: BTreeSet<[u8; 32]> = findings.iter().filter_map(|f| object(&f.subject)).collect();
    let owners: BTreeSet<PackUid> = findings.iter().filter_map(|f| f.subject.pack()).collect();
    let mut files: BTreeMap<[u8; 32], Vec<String>> = BTreeMap::new();
    for d in &inv.descriptors {
        if !owners.contains(&d.pack_uid) && !d.requires.iter().any(|u| owners.contains(u)) {
            continue;
        }
        let uid = hex::encode(d.pack_uid);
        let opened = unwrap_key(vault, d.pack_uid, identity).and_then(|key| read_manifest(vault, d, &key));
        let jobs = opened.and_then(|m| m.jobs(d).map(|jobs| (m, jobs)));
        match jobs {
            Ok((manifest, jobs)) => {
                for job in jobs.iter().filter(|j| lost.contains(&j.object.object_blake3)) {
                    let of = job.segments.iter().filter_map(|s| manifest.files.get(s.file));
                    files.entry(job.object.object_blake3).or_default().extend(of.map(|f| format!("{uid}/{}", f.path)));
                }
            }
            Err(_) => {
                for o in d.manifest_objects.iter().filter(|o| lost.contains(&o.object_blake3)) {
                    files
                        .entry(o.object_blake3)
                        .or_default()
                        .push(format!("{uid}: all of it, since this is its list of files"));
                }
            }
        }
    }
    for f in findings {
        if let Some(of) = object(&f.subject).and_then(|h| files.get(&h)) {
            f.files = of.iter().take(MOST).cloned().collect();
            if of.len() > MOST {
                f.files.push(format!("and {} more", of.len().saturating_sub(MOST)));
            }
        }
    }
}

fn object(s: &Subject) -> Option<[u8; 32]> {
    match s {
        Subject::Object(_, _, h) => Some(*h),
        _ => None,
    }
}
