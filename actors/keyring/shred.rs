//! Crypto-shredding: the key of one sealing is dropped wherever this node kept it, and its ciphertext is noise from then on.
//!
//! Chunks that later sealings use are disclosed by those, each with a secret of its own: they stay readable, and that is said before.

use super::Ring;
use crate::objects::{Bucket, Fault, ObjectError};
use crate::seal::{PackUid, SealError, read_manifest, unwrap_key};
use crate::vault::{Shredded, Vault, stanza_names};
use object_store::ObjectStoreExt;

/// The longest file of a stanza that is read back.
const MAX_STANZA: u64 = 64 * 1024;

/// A sealing that discloses a part of the one that is to be shredded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borrower {
    /// It.
    pub uid: PackUid,
    /// The pack that it is of, where it can be opened.
    pub export_id: Option<String>,
    /// Files of the other that it makes readable, and their bytes; None where it cannot be opened.
    pub files: Option<(u64, u64)>,
}

/// What shredding a sealing amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShredPlan {
    /// The pack that it is of, where it can be opened.
    pub export_id: Option<String>,
    /// Sealings that use its chunks.
    pub borrowers: Vec<Borrower>,
    /// Whether it was shredded before.
    pub done: bool,
}

/// What shredding this sealing would amount to.
///
/// # Errors
/// It is not in the vault; a descriptor cannot be read.
pub fn plan_shred(vault: &Vault, ring: &Ring, uid: &PackUid) -> Result<ShredPlan, SealError> {
    let own = vault.descriptor(uid)?;
    let open = |of: &PackUid| {
        let descriptor = vault.descriptor(of).ok()?;
        let key = unwrap_key(vault, *of, ring).ok()?;
        read_manifest(vault, &descriptor, &key).ok()
    };
    let mut plan = ShredPlan { done: vault.shredded(uid)?.is_some(), ..ShredPlan::default() };
    plan.export_id = open(&own.pack_uid).and_then(|m| export_id(&m.manifest_json));
    for other in vault.descriptors()?.into_iter().filter(|other| other != uid) {
        if !vault.descriptor(&other)?.requires.contains(uid) {
            continue;
        }
        let manifest = open(&other);
        let files = manifest.as_ref().map(|m| {
            let of = m.files.iter().filter(|f| f.sealing == *uid);
            of.fold((0u64, 0u64), |(n, bytes), f| (n + 1, bytes.saturating_add(f.length)))
        });
        let export_id = manifest.and_then(|m| export_id(&m.manifest_json));
        plan.borrowers.push(Borrower { uid: other, export_id, files });
    }
    Ok(plan)
}

fn export_id(manifest: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        export_id: String,
    }
    serde_json::from_str::<Named>(manifest).ok().map(|named| named.export_id)
}

/// Drops the key of a sealing here, for good. `at` is RFC 3339, `by` who does it. Gives the note that stands in its place.
///
/// # Errors
/// The vault is in use, or a file cannot be removed; doing it again goes on.
pub fn shred(vault: &Vault, uid: &PackUid, at: &str, by: &str) -> Result<Shredded, SealError> {
    let _guard = vault.lock_exclusive()?;
    vault.descriptor(uid)?;
    let note = Shredded { by: by.to_owned(), pack_uid: hex::encode(uid), shredded_at: at.to_owned() };
    vault.shred(&note, uid)?;
    Ok(vault.shredded(uid)?.unwrap_or(note))
}

/// Drops it in another copy as well: a sealing at a destination (`prefix` is its folder) or the replica of the vault (`prefix` is empty).
/// False where that copy has no such sealing.
///
/// # Errors
/// The store's.
pub fn erase(bucket: &Bucket, prefix: &str, uid: &PackUid, note: &[u8]) -> Result<bool, ObjectError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| ObjectError::usage(&bucket.url, "cannot be reached", e.to_string()))?;
    runtime.block_on(async {
        let below = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let [passphrases, stanza, sum, marker] = stanza_names(uid).map(|name| below(&name));
        let mut is_there = bucket.read(&marker, MAX_STANZA).await?.is_some();
        for name in [&stanza, &sum, &passphrases] {
            is_there |= bucket.read(name, MAX_STANZA).await?.is_some();
        }
        if !is_there {
            return Ok(false);
        }
        let failed = |what: String, e: &object_store::Error| ObjectError::of(&bucket.url, what, e);
        let put = bucket.store.put(&bucket.key(&marker), note.to_vec().into()).await;
        put.map_err(|e| failed(format!("put {marker}"), &e))?;
        for name in [&stanza, &sum, &passphrases] {
            match bucket.store.delete(&bucket.key(name)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => {
                    let error = failed(format!("delete {name}"), &e);
                    if error.fault != Fault::NotFound {
                        return Err(error);
                    }
                }
            }
        }
        Ok(true)
    })
}
