//! Wrapping keys anew: to other recipients, and nothing else changes. No object, descriptor or proof knows of it.

use super::Ring;
use crate::seal::chunk::ChunkKeys;
use crate::seal::{PackKey, PackUid, SealError, Unwraps, unwrap, wrap};
use crate::vault::{Vault, fits};
use datanode_schema::failpoint;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Stanzas that are wrapped anew.
    pub stanzas: u64,
    /// Stanzas that were as they should be.
    pub kept: u64,
    /// Sealings that no identity of this node opens, and why.
    pub unopened: Vec<(PackUid, String)>,
}

/// Wraps every stanza of the vault to those who may open it now. With `only_missing`, only those that the node's own identity does not
/// open, or whose checksum is not theirs: what a rotation that was killed had not reached.
///
/// Each sealing's stanza is replaced at once, so at every moment it opens with the identity of before or with that of now.
///
/// # Errors
/// A file cannot be read or written. One that does not open is noted, and the others go on. The caller holds the vault's lock.
pub fn rewrap_all(vault: &Vault, ring: &Ring, only_missing: bool) -> Result<Rewrapped, SealError> {
    let mut done = Rewrapped::default();
    for uid in vault.stanzas()? {
        if vault.shredded(&uid)?.is_some() {
            continue;
        }
        let Some(stanza) = vault.stanza(&uid)? else { continue };
        if only_missing && unwrap(&stanza, ring.own()).is_ok() && vault.stanza_problem(&uid)?.is_none() {
            done.kept += 1;
            continue;
        }
        match ring.unwrap_stanza(vault, &uid, &stanza) {
            Ok(key) if !is_of(vault, &uid, &key) => {
                let why = "its stanza is another sealing's; `datanode vault repair` looks for its own";
                done.unopened.push((uid, why.to_owned()));
            }
            Ok(key) => {
                let new = wrap(&key, &ring.recipients_of(&uid)?)?;
                vault.put_passphrases(&uid, &ring.passphrases_of(&uid))?;
                failpoint::pass("key.passphrases");
                vault.replace_stanza(&uid, &new)?;
                failpoint::pass("key.rewrapped");
                done.stanzas += 1;
            }
            Err(error) => done.unopened.push((uid, error.to_string())),
        }
    }
    Ok(done)
}

/// Whether this key is that of the sealing, as far as its chunks tell: age unwraps any stanza of the same recipient.
fn is_of(vault: &Vault, uid: &PackUid, key: &PackKey) -> bool {
    let keys = ChunkKeys::new(key).zip(vault.descriptor(uid).ok());
    keys.is_none_or(|(keys, d)| fits(vault, &d, &keys) != Some(false))
}
