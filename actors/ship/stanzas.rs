//! Stanzas at destinations: the one thing of a sealing that changes after its commit. Other recipients are another stanza, and a key that
//! was dropped is none.
//!
//! What was brought is on record (tree `stanzas`) as a digest of the files, so that a night without a change asks nothing.

use super::ShipError;
use super::error::here;
use super::plan::Form;
use super::target::Target;
use crate::node::Node;
use crate::objects::{ObjectError, layout};
use crate::publishing::Destination;
use crate::seal::PackUid;
use crate::vault::{Vault, stanza_names};
use datanode_schema::failpoint;
use datanode_schema::files::sha256_hex;
use datanode_schema::store::Batch;
use datanode_schema::trees::{PACKS, SHIPMENTS, STANZAS};
use object_store::ObjectStoreExt;
use std::io::ErrorKind;
use std::sync::Arc;

/// The longest file of a stanza.
const MAX_STANZA: u64 = 64 * 1024;

/// The files of a stanza here, by name below the sealing; None where one is not.
type Bundle = Vec<(String, Option<Vec<u8>>)>;

fn bundle(vault: &Vault, uid: &PackUid) -> Result<Option<Bundle>, ShipError> {
    let is_shredded = vault.shredded(uid)?.is_some();
    let has_stanza = vault.stanza(uid)?.is_some();
    let is_sound = vault.stanza_problem(uid)?.is_none() && vault.passphrases(uid).is_ok();
    let may_go = is_shredded || (has_stanza && is_sound);
    if !may_go {
        // Retention took it, or it is damaged: neither is to be spread.
        return Ok(None);
    }
    let mut out = Bundle::new();
    for (name, path) in stanza_names(uid).into_iter().zip(vault.stanza_files(uid)) {
        let is_note = name.ends_with(".shredded");
        let bytes = match std::fs::read(&path) {
            // A kill between the note and the removal leaves both; the note counts.
            Ok(bytes) => Some(bytes).filter(|_| is_note == is_shredded),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(here(&path)(e)),
        };
        out.push((name, bytes));
    }
    Ok(Some(out))
}

fn digest(bundle: &Bundle) -> String {
    let mut text = Vec::new();
    for (name, bytes) in bundle {
        let line = bytes.as_ref().map_or_else(|| "none".to_owned(), |bytes| sha256_hex(bytes));
        text.extend_from_slice(format!("{name} {line}\n").as_bytes());
    }
    sha256_hex(&text)
}

/// Brings the stanzas of all sealings that are at a destination to what they are here: how many were not.
///
/// # Errors
/// The store's, the vault's, or the destination's.
pub(super) async fn refresh(node: &Node, d: &Destination, target: &Arc<Target>) -> Result<u64, ShipError> {
    let prefix = format!("{}/{}/", d.name, Form::Sealed.name());
    let vault = Vault::open(&node.data.vault())?;
    let mut changed = 0;
    for (key, _) in node.store.load_all(&SHIPMENTS, prefix.as_bytes())? {
        let export_id = key.strip_prefix(&prefix).unwrap_or_default().to_owned();
        let Some(pack) = node.store.load(&PACKS, &export_id)? else { continue };
        let mut uid = PackUid::default();
        if hex::decode_to_slice(&pack.pack_uid, &mut uid).is_err() {
            continue;
        }
        let Some(ours) = bundle(&vault, &uid)? else { continue };
        let (known, now) = (format!("{}/{}", d.name, pack.pack_uid), digest(&ours));
        if node.store.load(&STANZAS, &known)?.as_ref() == Some(&now) {
            continue;
        }
        if node.stopping() {
            return Err(ShipError::Stopping);
        }
        let folder = layout::sealing(&node.source, &pack.pack_uid);
        if target.look(&format!("{folder}/descriptors/{}.json", pack.pack_uid)).await?.is_none() {
            // Whoever sends next finds out that it is gone.
            continue;
        }
        changed += u64::from(bring(target, &folder, &ours).await?);
        target.settle().await?;
        failpoint::pass("ship.stanza");
        let mut batch = Batch::new();
        batch.put(&STANZAS, &known, &now)?;
        node.store.commit(batch)?;
    }
    if changed > 0 {
        tracing::info!(destination = d.name, changed, "stanzas are as they are here");
    }
    Ok(changed)
}

/// Puts what is here, then removes what is not; whether anything was another.
async fn bring(target: &Arc<Target>, folder: &str, ours: &Bundle) -> Result<bool, ShipError> {
    let mut changed = false;
    for (name, bytes) in ours {
        let name = format!("{folder}/{name}");
        if let Some(bytes) = bytes
            && target.read(&name, MAX_STANZA).await?.is_none_or(|there| there != bytes[..])
        {
            target.replace(&name, bytes.clone().into()).await?;
            changed = true;
        }
    }
    for (name, _) in ours.iter().filter(|(_, bytes)| bytes.is_none()) {
        let name = format!("{folder}/{name}");
        if target.look(&name).await?.is_some() {
            match target.bucket.store.delete(&target.bucket.key(&name)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => changed = true,
                Err(e) => return Err(ObjectError::of(&target.bucket.url, format!("delete {name}"), &e).into()),
            }
        }
    }
    Ok(changed)
}
