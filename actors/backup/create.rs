//! Making a generation: the state first, since what is done by hand is in its event file before it is in the state; the manifest last.

use super::manifest::{FORMAT, MAX_MANIFEST, Manifest, Part, name_of};
use super::parts::{Source, add_files, add_state, add_text};
use super::{BackupError, FILES, KEYS, MANIFEST, Place, STATE, generations};
use crate::seal::letter::Letter;
use crate::seal::{PassphraseRecord, Recipient};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use datanode_schema::clock::rfc3339;
use datanode_schema::failpoint;
use datanode_schema::store::copy_of;
use std::io::Write;

/// Fast: what is large in a state is compressed already.
const LEVEL: i32 = 1;

/// What to make a backup of, and for whom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What.
    pub source: Source,
    /// Who can open it; the node's own key first.
    pub recipients: Vec<Recipient>,
    /// What is public of those that a passphrase opens.
    pub passphrases: Vec<PassphraseRecord>,
    /// `node.host_id`.
    pub host_id: String,
    /// `node.source`.
    pub name: String,
    /// Of this build.
    pub version: String,
}

/// A generation that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its name.
    pub generation: String,
    /// What it is.
    pub manifest: Manifest,
}

/// What tells whether anything besides the state has changed.
///
/// # Errors
/// A folder cannot be listed.
pub fn fingerprint(plan: &Plan) -> Result<String, BackupError> {
    plan.source.fingerprint()
}

/// Makes a generation. The node may run; nothing of it waits but, for a moment, the anchor log.
///
/// # Errors
/// [`BackupError`]: then there is no manifest, and so no backup.
pub fn create(plan: &Plan, place: &Place, now: DateTime<Utc>) -> Result<Made, BackupError> {
    let generation = name_of(now);
    own_place(plan, place)?;
    let copy = copy_of(&plan.source.data.state())?;
    let root = copy.root;
    let mut parts = vec![part(plan, place, &generation, STATE, |tar| add_state(tar, copy))?];
    failpoint::pass("backup.state");
    let files = part(plan, place, &generation, FILES, |tar| {
        add_text(tar, "config/effective.json", &plan.source.effective)?;
        add_files(tar, &plan.source.files()?)?;
        // One checkpoint, and tiles of it: whoever extends the log waits.
        let log = plan.source.log();
        let _still = log.as_ref().map(|l| l.lock()).transpose()?;
        add_files(tar, &plan.source.anchors()?)
    })?;
    parts.push(files);
    parts.push(part(plan, place, &generation, KEYS, |tar| add_files(tar, &plan.source.keys()?))?);
    failpoint::pass("backup.before_manifest");
    let manifest = Manifest {
        commit: root.commit,
        created_at: rfc3339(now),
        format: FORMAT,
        host_id: plan.host_id.clone(),
        parts,
        passphrases: plan.passphrases.clone(),
        recipients: plan.recipients.iter().map(ToString::to_string).collect(),
        records: root.count,
        source: plan.name.clone(),
        sum: format!("{:032x}", root.sum),
        version: plan.version.clone(),
    };
    let text = manifest.encode()?;
    if text.len() as u64 > MAX_MANIFEST || !place.create(&format!("{generation}/{MANIFEST}"), Bytes::from(text))? {
        return Err(BackupError::Usage(format!(
            "{generation}: there is one already, or too many may open it; try again in a second"
        )));
    }
    failpoint::pass("backup.committed");
    Ok(Made { generation, manifest })
}

/// The newest generation there must be of this node: its rules would thin out those of another.
fn own_place(plan: &Plan, place: &Place) -> Result<(), BackupError> {
    let newest = generations(place)?.into_iter().rev().find(|g| g.manifest.is_some());
    match newest.and_then(|g| g.manifest).filter(|m| m.source != plan.name) {
        Some(m) => Err(BackupError::Usage(format!(
            "{}: it has backups of {} (host {}), and this node is {}; give each its own place: backup.url",
            place.url(),
            m.source,
            m.host_id,
            plan.name
        ))),
        None => Ok(()),
    }
}

fn part(
    plan: &Plan,
    place: &Place,
    generation: &str,
    name: &str,
    fill: impl FnOnce(
        &mut tar::Builder<zstd::Encoder<'static, Letter<super::place::Upload<'_>>>>,
    ) -> Result<(), BackupError>,
) -> Result<Part, BackupError> {
    let at = format!("{generation}/{name}");
    let failed = || BackupError::io("write", at.as_ref());
    let letter = Letter::to(&plan.recipients, place.upload(&at))?;
    let mut zstd = zstd::Encoder::new(letter, LEVEL).map_err(failed())?;
    zstd.include_checksum(true).map_err(failed())?;
    let mut tar = tar::Builder::new(zstd);
    fill(&mut tar)?;
    let mut upload = tar.into_inner().and_then(zstd::Encoder::finish).and_then(Letter::finish).map_err(failed())?;
    upload.flush().map_err(failed())?;
    let (sha256, bytes) = upload.finish()?;
    Ok(Part { bytes, name: name.to_owned(), sha256 })
}
