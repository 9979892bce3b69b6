//! Letting old sealings go.
//!
//! A sealing that no standing pack is sealed as stays for the sake of the packs that borrow from it. Where these use less than
//! half of what it holds, they are sealed anew without it, and the next retention takes it away.

use std::collections::{BTreeMap, BTreeSet};

use super::stage::{SealStageError, anew, uid_of};
use super::{PackUid, SealError, read_manifest, unwrap_key};
use crate::node::Node;
use crate::vault::Vault;

/// Packs that are sealed anew for this in one night, at most.
const A_NIGHT: usize = 2;

/// A sealing that no standing pack is sealed as, and what borrows from it.
#[derive(Default)]
struct Use {
    /// Bytes of files that it holds.
    holds: u64,
    /// Its files in use: where each begins, and its bytes.
    files: BTreeMap<(u32, u64), u64>,
    /// The packs that use it, oldest first.
    by: Vec<String>,
    /// Whether one of them cannot be sealed anew.
    held: bool,
}

impl Use {
    fn less_than_half(&self) -> bool {
        let used = self.files.values().fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
        !self.held && used.saturating_mul(2) < self.holds
    }
}

/// Seals anew what keeps hardly used sealings here; gives how many packs. What cannot be read is left as it is.
///
/// # Errors
/// The store's; a failed sealing is logged, and the next night tries again.
pub(super) fn repack(node: &Node, vault: &Vault) -> Result<u64, SealStageError> {
    let uses = uses(node, vault)?;
    let go: Vec<PackUid> = uses.iter().filter(|(_, u)| u.less_than_half()).map(|(uid, _)| *uid).collect();
    let mut packs = Vec::<&String>::new();
    for id in uses.values().filter(|u| u.less_than_half()).flat_map(|u| &u.by) {
        if !packs.contains(&id) {
            packs.push(id);
        }
    }
    let mut done = 0;
    for id in packs.into_iter().take(A_NIGHT) {
        tracing::info!(pack = id, "sealed anew, so that a sealing that is hardly used can be let go");
        match anew(node, vault, id, &go) {
            Ok(_) => done += 1,
            Err(SealStageError::Store(error)) => return Err(error.into()),
            Err(error) => tracing::error!(pack = id, %error, "cannot be sealed anew; the next night tries again"),
        }
    }
    Ok(done)
}

/// Every sealing that is only borrowed from.
fn uses(node: &Node, vault: &Vault) -> Result<BTreeMap<PackUid, Use>, SealStageError> {
    let mut packs = node.standing_packs()?;
    packs.reverse();
    let sealed: Vec<(String, PackUid)> = packs.into_iter().filter_map(|(id, p)| Some((id, uid_of(&p)?))).collect();
    let owned: BTreeSet<PackUid> = sealed.iter().map(|(_, uid)| *uid).collect();
    let mut uses = BTreeMap::<PackUid, Use>::new();
    for (id, uid) in sealed {
        // A damaged one is the scrub's to report.
        let Ok(descriptor) = vault.descriptor(&uid) else { continue };
        let only_borrowed: Vec<PackUid> =
            descriptor.requires.iter().filter(|needed| !owned.contains(*needed)).copied().collect();
        if only_borrowed.is_empty() {
            continue;
        }
        let stands = node.data.pack(&node.source, &id).join(super::paths::MANIFEST).is_file();
        let read = || -> Result<_, SealError> {
            let key = unwrap_key(vault, uid, &node.publishing.identity)?;
            read_manifest(vault, &descriptor, &key)
        };
        let manifest = read().ok();
        for needed in only_borrowed {
            let one = uses.entry(needed).or_default();
            one.by.push(id.clone());
            one.held |= !stands || manifest.is_none();
            let Some(manifest) = &manifest else { continue };
            let borrowed = manifest.borrowed.iter().find(|borrowed| borrowed.pack_uid == needed);
            one.holds = one.holds.max(borrowed.map_or(0, |borrowed| borrowed.stream_bytes));
            let files = manifest.files.iter().filter(|file| file.sealing == needed);
            one.files.extend(files.map(|file| ((file.chunk, file.offset), file.length)));
        }
    }
    Ok(uses)
}
