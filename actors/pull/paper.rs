//! Manifest and sums: read in bounded length, checked against each other, and as they are written down here.

use super::PullError;
use super::fetch::Counted;
use crate::export::{BadSums, MANIFEST_FILE, PackFile, PackManifest, SUMS_FILE, format_sums, parse_sums};
use crate::objects::Bucket;
use bytes::Bytes;
use datanode_schema::files::sha256_hex;
use std::collections::{BTreeMap, BTreeSet};

/// The longest manifest or sums that are read, bytes: about a million files.
pub const MAX_PAPER: u64 = 256 << 20;
/// The longest name of a file or folder that file systems take.
const MAX_COMPONENT: usize = 255;

/// A pack's manifest and sums, which agree.
pub struct Paper {
    /// The bytes of the manifest, which are written as they are.
    pub manifest_text: Bytes,
    /// The manifest.
    pub manifest: PackManifest,
    /// The sums of the folder here: every file is in them.
    pub sums_text: String,
}

/// Parses a manifest and checks that it is the one that was asked for.
///
/// # Errors
/// 4: it is not valid, or of another pack.
pub fn manifest_of(text: &[u8], id: &str) -> Result<PackManifest, PullError> {
    let m = PackManifest::parse(text).map_err(|e| {
        let page = text.trim_ascii_start().starts_with(b"<");
        let hint = if page {
            "; a web page came instead of a manifest: check the URL, and whether a proxy or a login is in between"
        } else {
            ""
        };
        PullError::contract(format!("{id}: {e}{hint}"))
    })?;
    if m.export_id != id {
        return Err(PullError::contract(format!("{id}: {MANIFEST_FILE} says that it is {:?}", m.export_id)));
    }
    paths(&m.files).map_err(|why| PullError::contract(format!("{id}: {MANIFEST_FILE}: {why}")))?;
    Ok(m)
}

/// What a file system could not hold: a file below a file, and names that are too long.
fn paths(files: &[PackFile]) -> Result<(), String> {
    let names: BTreeSet<&str> = files.iter().map(|f| f.path.as_str()).collect();
    for f in files {
        if f.path.split('/').any(|part| part.len() > MAX_COMPONENT) {
            return Err(format!("{:?} has a component longer than {MAX_COMPONENT} bytes", f.path));
        }
        if f.path.chars().any(char::is_control) {
            return Err(format!("{:?} has a control character", f.path));
        }
        let mut folder = f.path.as_str();
        while let Some((above, _)) = folder.rsplit_once('/') {
            if names.contains(above) {
                return Err(format!("{:?} lies below another file", f.path));
            }
            folder = above;
        }
    }
    Ok(())
}

impl Paper {
    /// Reads both of the pack in `folder` of the bucket; None where the pack is not complete.
    ///
    /// # Errors
    /// The bucket's; 4: not valid; 3: they disagree.
    pub async fn read(bucket: &Bucket, folder: &str, id: &str, counted: &Counted) -> Result<Option<Self>, PullError> {
        let Some(manifest_text) = counted.small(bucket, &format!("{folder}/{MANIFEST_FILE}"), MAX_PAPER).await? else {
            return Ok(None);
        };
        let manifest = manifest_of(&manifest_text, id)?;
        let sums = counted.small(bucket, &format!("{folder}/{SUMS_FILE}"), MAX_PAPER).await?;
        let sums = sums.ok_or_else(|| PullError::integrity(format!("{id}: {SUMS_FILE} is missing in the bucket")))?;
        Self::of(manifest_text, manifest, &sums).map(Some)
    }

    /// Of a manifest and the sums that came with it.
    ///
    /// # Errors
    /// 4: the sums name a path that is not valid; 3: they disagree.
    pub fn of(manifest_text: Bytes, manifest: PackManifest, sums: &[u8]) -> Result<Self, PullError> {
        let id = &manifest.export_id;
        let text = std::str::from_utf8(sums)
            .map_err(|_| PullError::integrity(format!("{id}: {SUMS_FILE} is no text: it was altered")))?;
        let named: BTreeMap<String, String> = match parse_sums(text) {
            Ok(all) => all.into_iter().map(|(sum, path)| (path, sum)).collect(),
            Err(BadSums::Altered(e)) => return Err(PullError::integrity(format!("{id}: {e}"))),
            Err(BadSums::Path(e)) => return Err(PullError::contract(format!("{id}: {e}"))),
        };
        agree(&manifest, &sha256_hex(&manifest_text), &named)
            .map_err(|why| PullError::integrity(format!("{id}: {MANIFEST_FILE} and {SUMS_FILE} disagree: {why}")))?;
        let all = manifest.files.iter().map(|f| (f.sha256.clone(), f.path.clone()));
        let sums_text = format_sums(all.chain([(sha256_hex(&manifest_text), MANIFEST_FILE.to_owned())]).collect());
        Ok(Self { manifest_text, manifest, sums_text })
    }

    /// Files, manifest and sums included, and their bytes.
    pub fn amount(&self) -> (u64, u64) {
        let bytes: u64 = self.manifest.files.iter().fold(0, |n: u64, f| n.saturating_add(f.bytes));
        let papers = (self.manifest_text.len() as u64).saturating_add(self.sums_text.len() as u64);
        ((self.manifest.files.len() as u64).saturating_add(2), bytes.saturating_add(papers))
    }
}

/// Sums list the manifest and every file of the pack's own folder; the files that others hold are in it all, or none.
fn agree(m: &PackManifest, manifest_sum: &str, named: &BTreeMap<String, String>) -> Result<(), String> {
    if named.get(MANIFEST_FILE).map(String::as_str) != Some(manifest_sum) {
        return Err(format!("the sum of {MANIFEST_FILE} is another"));
    }
    let mut held = (0usize, 0usize);
    for f in &m.files {
        match named.get(&f.path) {
            Some(sum) if *sum != f.sha256 => return Err(format!("{:?} has two sums", f.path)),
            Some(_) if f.held_by.is_some() => held.0 += 1,
            None if f.held_by.is_some() => held.1 += 1,
            Some(_) => {}
            None => return Err(format!("{:?} is not in the sums", f.path)),
        }
    }
    if held.0 > 0 && held.1 > 0 {
        return Err("of the files that earlier packs hold, some are in the sums and some are not".to_owned());
    }
    let expected = m.files.len().saturating_sub(held.1).saturating_add(1);
    if named.len() != expected {
        return Err("the sums name files that the manifest does not".to_owned());
    }
    Ok(())
}
