//! Letting sealings go that were replaced.
//!
//! That hardly used sealings go needs nothing here: a pack borrows from none of which it would use less than half (`borrow`), so
//! a sealing of which less is needed goes with the last pack that used more. But where a pack was sealed anew, because its
//! sealing was damaged, those that borrow from the old one must follow, a few a night, or it would stay for ever.

use std::collections::BTreeSet;

use super::PackUid;
use super::stage::{SealStageError, anew, uid_of};
use crate::node::Node;
use crate::vault::Vault;
use datanode_schema::store::StoreError;
use datanode_schema::trees::{GENERATIONS, SEALINGS};

/// Packs that are sealed anew for this in one night, at most.
const A_NIGHT: usize = 2;

/// Seals anew, oldest first, what borrows from a sealing that was replaced; gives how many packs.
///
/// # Errors
/// The store's; a failed sealing is logged, and the next night tries again.
pub(super) fn repack(node: &Node, vault: &Vault) -> Result<u64, SealStageError> {
    let replaced = replaced(node)?;
    let mut packs = if replaced.is_empty() { Vec::new() } else { node.standing_packs()? };
    packs.reverse();
    let mut tried = 0;
    let mut done = 0;
    for (id, pack) in packs {
        let stands = node.data.pack(&node.source, &id).join(super::paths::MANIFEST).is_file();
        // One that cannot be read is the scrub's to report.
        let descriptor = uid_of(&pack).filter(|_| stands).and_then(|uid| vault.descriptor(&uid).ok());
        let borrows = descriptor.is_some_and(|d| d.requires.iter().any(|needed| replaced.contains(needed)));
        if !borrows || tried == A_NIGHT || node.stopping() {
            continue;
        }
        tried += 1;
        tracing::info!(pack = id, "sealed anew: it borrows from a sealing that was replaced");
        match anew(node, vault, &id, &replaced) {
            Ok(_) => done += 1,
            Err(SealStageError::Store(error)) => return Err(error.into()),
            Err(error) => tracing::error!(pack = id, %error, "cannot be sealed anew; the next night tries again"),
        }
    }
    Ok(done)
}

/// Sealings in whose place another one is finished.
fn replaced(node: &Node) -> Result<BTreeSet<PackUid>, StoreError> {
    let mut replaced = BTreeSet::new();
    for (new, old) in node.store.load_all(&GENERATIONS, &[])? {
        let done = node.store.load(&SEALINGS, &new)?.is_some_and(|s| s.done != 0);
        let mut uid = PackUid::default();
        if done && hex::decode_to_slice(old, &mut uid).is_ok() {
            replaced.insert(uid);
        }
    }
    Ok(replaced)
}
