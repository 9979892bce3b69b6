//! Copy, verify, record; then verify once more, and remove.

use super::plan::{Item, plan};
use super::rclone::{Rclone, There, io};
use super::{OffloadError, OffloadPlan};
use crate::node::Node;
use crate::publishing::OffloadRules;
use datanode_schema::clock::rfc3339;
use datanode_schema::failpoint;
use datanode_schema::files::{self, sha256_file};
use datanode_schema::records;
use datanode_schema::store::Batch;
use datanode_schema::trees::{COUNTERS, OFFLOADED};
use serde::Serialize;
use std::collections::BTreeMap;

/// Up to this length a file goes to any backend in one piece, so that the MD5 that it keeps is its own and not our word for it.
const ONE_PIECE: u64 = 64 << 20;

/// What an offload did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Offloaded {
    /// Files that were verified there and are recorded now.
    pub safe: Vec<Item>,
    /// Files that were removed here.
    pub removed: Vec<Item>,
    /// Files that are not what they should be, there or here, and why; each stays here.
    pub differ: Vec<String>,
    /// What rclone could not do.
    pub failed: Option<String>,
}

/// A line of the upload manifest.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    bytes: u64,
    sha256: &'a str,
    remote: &'a str,
    verified_at: &'a str,
    how: &'a str,
}

/// Offloads what is to be offloaded.
///
/// # Errors
/// [`OffloadError`]; files that differ, and a copy that failed while others arrived, are in the result.
pub fn offload(node: &Node, rules: &OffloadRules) -> Result<Offloaded, OffloadError> {
    let rclone = Rclone { node, rules };
    let OffloadPlan { copy, .. } = plan(node, rules)?;
    let mut done = Offloaded::default();
    let whole = hashed(node, copy, &mut done)?;
    if !whole.is_empty() {
        done.failed = rclone.copy(&paths(&whole))?;
        failpoint::pass("offload.copied");
        let there = match verify(&rclone, &whole, &mut done) {
            // What rclone said of the copy says more than what it says of the listing.
            Err(OffloadError::Remote { remote, said }) => {
                return Err(OffloadError::Remote { remote, said: done.failed.unwrap_or(said) });
            }
            verified => verified?,
        };
        failpoint::pass("offload.verified");
        record(node, rules, &whole, &there)?;
        done.safe = whole.into_iter().filter(|i| there.contains_key(&i.path)).collect();
    }
    upload_manifests(node, &rclone, &mut done)?;
    // As it stands by now: what was verified in this run counts as what was verified before it.
    let OffloadPlan { copy, remove } = plan(node, rules)?;
    let safe: Vec<Item> = remove.into_iter().filter(|i| copy.iter().all(|c| c.path != i.path)).collect();
    if !safe.is_empty() {
        let whole = hashed(node, safe, &mut done)?;
        let there = verify(&rclone, &whole, &mut done)?;
        for item in whole.into_iter().filter(|i| there.contains_key(&i.path)) {
            remove_here(node, &item)?;
            done.removed.push(item);
        }
    }
    Ok(done)
}

fn paths(items: &[Item]) -> Vec<&str> {
    items.iter().map(|i| i.path.as_str()).collect()
}

/// The files with their sums as they are now; one that is not what was noted of it stays, and is told of.
fn hashed(node: &Node, items: Vec<Item>, done: &mut Offloaded) -> Result<Vec<Item>, OffloadError> {
    let mut out = Vec::new();
    for mut item in items {
        let path = node.data.root().join(&item.path);
        let (sum, bytes) = sha256_file(&path).map_err(io(&path))?;
        let sum = hex::encode(sum);
        if item.sha256.as_ref().is_some_and(|noted| *noted != sum) {
            let what = format!("{}: the file here is not what its manifest line says; restore it", item.path);
            if !done.differ.contains(&what) {
                done.differ.push(what);
            }
            continue;
        }
        (item.sha256, item.bytes) = (Some(sum), bytes);
        out.push(item);
    }
    Ok(out)
}

/// How each file was found to be there as it is here; one that was not is missing, and told of where it differs.
fn verify(
    rclone: &Rclone<'_>,
    items: &[Item],
    done: &mut Offloaded,
) -> Result<BTreeMap<String, &'static str>, OffloadError> {
    let (there, trusted) = (rclone.stat(&paths(items))?, rclone.hashes_its_bytes()?);
    let mut how: BTreeMap<String, &'static str> = BTreeMap::new();
    let (mut by_md5, mut by_reading): (Vec<&Item>, Vec<&Item>) = (Vec::new(), Vec::new());
    let hash = |t: &There, name: &str| t.hashes.get(name).filter(|h| trusted && !h.is_empty()).cloned();
    for item in items {
        let Some(found) = there.get(&item.path) else {
            done.differ.push(format!("{}: it is not there", item.path));
            continue;
        };
        if found.bytes >= 0 && found.bytes.unsigned_abs() != item.bytes {
            done.differ
                .push(format!("{}: {} bytes there, {} here; remove it there", item.path, found.bytes, item.bytes));
            continue;
        }
        match hash(found, "sha256") {
            Some(sum) if Some(&sum) == item.sha256.as_ref() => {
                how.insert(item.path.clone(), "sha256");
            }
            Some(_) => done.differ.push(other_bytes(item)),
            None if hash(found, "md5").is_some() && item.bytes <= ONE_PIECE => by_md5.push(item),
            None => by_reading.push(item),
        }
    }
    if !by_md5.is_empty() {
        let names: Vec<&str> = by_md5.iter().map(|i| i.path.as_str()).collect();
        let here = rclone.stat_here(&names)?;
        for item in by_md5 {
            let (a, b) = (there.get(&item.path), here.get(&item.path));
            let same = a.and_then(|t| hash(t, "md5")) == b.and_then(|t| hash(t, "md5"));
            if same {
                how.insert(item.path.clone(), "md5");
            } else {
                done.differ.push(other_bytes(item));
            }
        }
    }
    if !by_reading.is_empty() {
        let names: Vec<&str> = by_reading.iter().map(|i| i.path.as_str()).collect();
        let sums = rclone.read_back(&names)?;
        for item in by_reading {
            match sums.get(&item.path) {
                Some(sum) if Some(sum) == item.sha256.as_ref() => {
                    how.insert(item.path.clone(), "download");
                }
                Some(_) => done.differ.push(other_bytes(item)),
                None => done.differ.push(format!("{}: it could not be read back; run it again", item.path)),
            }
        }
    }
    Ok(how)
}

fn other_bytes(item: &Item) -> String {
    format!("{}: the bytes there are others; remove it there, and it is sent again", item.path)
}

/// First the lines, then the records: a record without its line is no record.
fn record(
    node: &Node,
    rules: &OffloadRules,
    items: &[Item],
    how: &BTreeMap<String, &'static str>,
) -> Result<(), OffloadError> {
    let now = node.clock.now();
    let at = rfc3339(now);
    let mut lines = Vec::new();
    let mut batch = Batch::new();
    for item in items {
        let (Some(how), Some(sum)) = (how.get(&item.path), &item.sha256) else { continue };
        let line =
            Line { path: &item.path, bytes: item.bytes, sha256: sum, remote: &rules.remote, verified_at: &at, how };
        lines.extend(serde_json::to_vec(&line).map_err(std::io::Error::from).map_err(io(node.data.root()))?);
        lines.push(b'\n');
        let mut sha256 = [0u8; 32];
        if hex::decode_to_slice(sum, &mut sha256).is_err() {
            continue;
        }
        let record = records::Offloaded {
            bytes: item.bytes,
            sha256,
            remote: rules.remote.clone(),
            how: (*how).to_owned(),
            verified_at: now.timestamp(),
            removed_at: 0,
        };
        batch.put(&OFFLOADED, &item.path, &record)?;
    }
    if batch.is_empty() {
        return Ok(());
    }
    let file = folder(node).join(format!("manifest-offload-{}.jsonl", now.date_naive()));
    let mut out = files::Batch::new(node.data.root()).map_err(io(&file))?;
    out.append(file.clone(), lines);
    out.publish().map_err(io(&file))?;
    failpoint::pass("offload.noted");
    node.store.commit(batch)?;
    failpoint::pass("offload.recorded");
    Ok(())
}

fn folder(node: &Node) -> std::path::PathBuf {
    node.data.manifests().join("offload")
}

/// Brings every manifest there that has grown since it went last.
fn upload_manifests(node: &Node, rclone: &Rclone<'_>, done: &mut Offloaded) -> Result<(), OffloadError> {
    let Ok(entries) = std::fs::read_dir(folder(node)) else { return Ok(()) };
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    for name in names.iter().filter(|n| n.starts_with("manifest-offload-")) {
        let file = folder(node).join(name);
        let bytes = std::fs::metadata(&file).map_err(io(&file))?.len();
        let key = format!("offload/{}/{name}", rclone.rules.remote);
        if node.store.load(&COUNTERS, &key)? == Some(bytes) {
            continue;
        }
        match rclone.replace(&format!("data_layer/manifests/offload/{name}"))? {
            Some(said) => drop(done.failed.get_or_insert(said)),
            None => {
                let mut batch = Batch::new();
                batch.put(&COUNTERS, &key, &bytes)?;
                node.store.commit(batch)?;
            }
        }
    }
    Ok(())
}

/// Removes a file that was just found to be the same there and here.
fn remove_here(node: &Node, item: &Item) -> Result<(), OffloadError> {
    let path = node.data.root().join(&item.path);
    let Some(record) = node.store.load(&OFFLOADED, &item.path)? else { return Ok(()) };
    failpoint::pass("offload.removing");
    std::fs::remove_file(&path).map_err(io(&path))?;
    failpoint::pass("offload.removed");
    let mut batch = Batch::new();
    let removed_at = node.clock.now().timestamp().max(1);
    batch.put(&OFFLOADED, &item.path, &records::Offloaded { removed_at, ..record })?;
    node.store.commit(batch)?;
    Ok(())
}
