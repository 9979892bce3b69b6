//! Mending stanzas and their sums: from a copy, or the sum alone from a stanza that still gives its key.

use super::Vault;
use super::finding::Subject;
use super::repair::Repair;
use super::stanza::sum_line;
use crate::seal::chunk::{ChunkKeys, HEADER, Header, Place};
use crate::seal::passphrase::decode_records;
use crate::seal::{Descriptor, ObjectRef, PackKey, PackUid, SealError, unwrap_key};
use std::fs::File;
use std::io::Read;

/// Longer ones are none, bytes.
const MAX_STANZA: u64 = 64 << 10;

/// Headers that are looked at for one key: one of them may be damaged itself.
const HEADS: usize = 4;

/// Whether these are the keys of a sealing, by the commitments of its first chunks whose headers can be read; None where none can.
pub(crate) fn fits(vault: &Vault, d: &Descriptor, keys: &ChunkKeys) -> Option<bool> {
    let of = |(place, o): (Place, &ObjectRef)| {
        let mut head = [0u8; HEADER];
        let read = File::open(vault.object_path(&o.object_blake3)).and_then(|mut f| f.read_exact(&mut head));
        let header = read.ok().and_then(|()| Header::parse(&head).ok()).filter(|h| h.place == place)?;
        Some(keys.secret(&header)?.commitment == header.commitment)
    };
    let looked: Vec<bool> = d.chunks().filter_map(of).take(HEADS).collect();
    if looked.is_empty() { None } else { Some(looked.contains(&true)) }
}

/// Mends a sealing's stanza and sum; whether it could.
pub(super) fn mend_record(r: &mut Repair<'_>, uid: &PackUid) -> Result<bool, SealError> {
    let (name, sum_name) = (Subject::Stanza(*uid).path(), Subject::Sum(*uid).path());
    let identity = r.plan.identity;
    let d = r.vault.descriptor(uid).ok();
    // Unknown is as good as true here: what a wrong key would seal again is compared with its hash.
    let right = |key: &PackKey| {
        let keys = ChunkKeys::new(key);
        keys.zip(d.as_ref()).is_none_or(|(k, d)| fits(r.vault, d, &k) != Some(false))
    };
    if let (Some(identity), Ok(Some(stanza))) = (identity, r.vault.stanza(uid))
        && unwrap_key(r.vault, *uid, identity).is_ok_and(|k| right(&k))
    {
        r.place(&sum_name, "summed up again", sum_line(uid, &stanza).as_bytes())?;
        return Ok(true);
    }
    for copies in &r.plan.copies {
        let step = format!("copy at {}", copies.name());
        let fetch = |name: &str| copies.fetch(uid, name, MAX_STANZA);
        let (stanza, sum) = match (fetch(&name), fetch(&sum_name)) {
            (Ok(Some(stanza)), Ok(Some(sum))) => (stanza, sum),
            (Err(e), _) | (_, Err(e)) => {
                r.note(&name, &step, &e)?;
                continue;
            }
            _ => {
                r.note(&name, &step, "not there")?;
                continue;
            }
        };
        if sum != sum_line(uid, &stanza).into_bytes() {
            r.note(&name, &step, "it is damaged there too")?;
            continue;
        }
        if identity.is_some_and(|i| !i.unwrap_stanza(r.vault, uid, &stanza).is_ok_and(|k| right(&k))) {
            r.note(&name, &step, "this node's key does not open it")?;
            continue;
        }
        let local = |name: &str| std::fs::read(r.vault.root().join(name)).ok();
        let vouched = local(&name).is_none_or(|s| s == stanza) || local(&sum_name).is_some_and(|s| s == sum);
        if identity.is_none() && !vouched {
            r.note(&name, &step, "whether it is right only the key can say")?;
            continue;
        }
        let passphrases = format!("stanzas/{}.passphrases.json", hex::encode(uid));
        let none_here = !r.vault.passphrases(uid).is_ok_and(|p| !p.is_empty());
        if let Ok(Some(text)) = fetch(&passphrases)
            && none_here
            && decode_records(&passphrases, &text).is_ok()
        {
            r.place(&passphrases, &step, &text)?;
        }
        r.place(&name, &step, &stanza)?;
        r.place(&sum_name, &step, &sum)?;
        return Ok(true);
    }
    Ok(false)
}
