//! Mending stanzas and their sums: from a copy, or the sum alone from a stanza that still gives its key.

use super::finding::Subject;
use super::repair::Repair;
use super::stanza::sum_line;
use crate::seal::{PackUid, SealError, unwrap_key};

/// Longer ones are none, bytes.
const MAX_STANZA: u64 = 64 << 10;

/// Mends a sealing's stanza and sum; whether it could.
pub(super) fn mend_record(r: &mut Repair<'_>, uid: &PackUid) -> Result<bool, SealError> {
    let (name, sum_name) = (Subject::Stanza(*uid).path(), Subject::Sum(*uid).path());
    let identity = r.plan.identity;
    if let (Some(identity), Ok(Some(stanza))) = (identity, r.vault.stanza(uid))
        && unwrap_key(r.vault, *uid, identity).is_ok()
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
        if identity.is_some_and(|i| i.unwrap_stanza(r.vault, uid, &stanza).is_err()) {
            r.note(&name, &step, "this node's key does not open it")?;
            continue;
        }
        let passphrases = format!("stanzas/{}.passphrases.json", hex::encode(uid));
        if let Ok(Some(text)) = fetch(&passphrases) {
            r.place(&passphrases, &step, &text)?;
        }
        r.place(&name, &step, &stanza)?;
        r.place(&sum_name, &step, &sum)?;
        return Ok(true);
    }
    Ok(false)
}
