//! A sealed pack, or some files of it, out of a bucket into a fresh folder: what is fetched is the records and the chunks that those files
//! lie in.

use super::plain::room;
use super::sealed::{Opened, Way, on_the_way};
use super::{PullError, PullPlan, runtime};
use crate::export::{Selected, Selection};
use crate::seal::{self, OpenReport, Unwraps};
use std::collections::BTreeSet;
use std::fs;

/// What came out of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedThere {
    /// The pack.
    pub export_id: String,
    /// Hex of its sealing's id.
    pub pack_uid: String,
    /// What was written.
    pub report: OpenReport,
    /// Earlier packs that hold further files of those that were meant.
    pub elsewhere: BTreeSet<String>,
    /// Bytes that came over the wire.
    pub downloaded_bytes: u64,
}

/// Opens a sealed pack of a bucket, or what is selected of it, into `plan.to`, which must not exist and appears whole. Memory is a few chunks.
///
/// # Errors
/// [`PullError`]; nothing is left but, after an outage, what the next attempt goes on with.
pub fn open_there(
    plan: &PullPlan,
    identity: &dyn Unwraps,
    wanted: &Selection,
    say: &(dyn Fn(&str) + Sync),
) -> Result<OpenedThere, PullError> {
    if fs::symlink_metadata(&plan.to).is_ok() {
        return Err(PullError::contract(format!(
            "{}: exists already, and a pack is opened into a fresh folder only; name another or remove it",
            plan.to.display()
        )));
    }
    let runtime = runtime()?;
    on_the_way(plan, identity, &runtime, |way, _, uids| {
        let (chosen, _) = way.choose(uids, false, say)?;
        let selected = wanted.of(&chosen.manifest).map_err(|e| PullError::not_found(e.to_string()))?;
        let report = some(way, &chosen, &selected, say)?;
        Ok(OpenedThere {
            export_id: chosen.manifest.export_id,
            pack_uid: hex::encode(chosen.uid),
            report,
            elsewhere: selected.elsewhere,
            downloaded_bytes: way.counted.bytes(),
        })
    })
}

fn some(way: &Way<'_>, o: &Opened, selected: &Selected, say: &(dyn Fn(&str) + Sync)) -> Result<OpenReport, PullError> {
    let means = |path: &str| selected.paths.contains(path);
    way.required(o)?;
    let of_file = |file: usize| o.sealed.files.get(file).is_some_and(|f| means(&f.path));
    let jobs = o.sealed.jobs(&o.descriptor)?;
    let needed = jobs.iter().filter(|j| j.segments.iter().any(|s| of_file(s.file)));
    let objects: BTreeSet<_> =
        needed.map(|j| (j.place.pack_uid, j.object.object_blake3, j.object.object_len)).collect();
    say(&format!("{}: {} of {} chunks", o.manifest.export_id, objects.len(), jobs.len()));
    let files = o.manifest.files.iter().filter(|f| means(&f.path)).map(|f| f.bytes);
    let sizes = objects.iter().map(|(.., len)| *len).chain(files);
    room(way.vault.root(), sizes.fold(0, u64::saturating_add))?;
    way.objects(objects)?;
    Ok(seal::open(&way.vault, o.uid, &way.key(o.uid)?, &way.plan.to, Some(&means))?)
}
