//! Which files are to go, and which may be removed here. Reads, and changes nothing.

use super::OffloadError;
use crate::books::noted;
use crate::node::Node;
use crate::publishing::OffloadRules;
use chrono::{NaiveDate, Timelike};
use datanode_schema::clock::date_of;
use datanode_schema::trees::{OFFLOADED, PACKS};
use serde::Serialize;
use std::path::Path;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Relative to the data folder, and to the remote.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Hex SHA-256 by its manifest line, or by the record of its verification; None: nobody has hashed it yet.
    #[serde(skip)]
    pub sha256: Option<String>,
}

/// What an offload would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OffloadPlan {
    /// Files that are not known to be there.
    pub copy: Vec<Item>,
    /// Files that are old enough to be removed here: once verified, or verified once more.
    pub remove: Vec<Item>,
}

/// What is to be done now.
///
/// # Errors
/// [`OffloadError`].
pub fn plan(node: &Node, rules: &OffloadRules) -> Result<OffloadPlan, OffloadError> {
    let now = node.clock.now();
    let present = (now.date_naive(), now.hour());
    let mut out = OffloadPlan::default();
    let mut found: Vec<(Item, NaiveDate)> = Vec::new();
    for n in noted(&node.data, &node.clock)? {
        if (n.date, n.hour) >= present {
            continue;
        }
        found.extend(item(node, format!("data_layer/raw/{}", n.path), Some(n.sha256)).map(|i| (i, n.date)));
    }
    for (id, p) in node.store.load_all(&PACKS, &[])? {
        let archive = node.data.pack_archive(&node.source, &id);
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        let made = chrono::DateTime::from_timestamp(p.created_at, 0).map_or(date_of(p.as_of), |t| t.date_naive());
        found.extend(item(node, format!("exports/{}/{name}", node.source), None).map(|i| (i, made)));
    }
    let today = now.date_naive();
    for (mut item, date) in found {
        let record = node.store.load(&OFFLOADED, &item.path)?.filter(|r| r.remote == rules.remote);
        let known = record.is_some_and(|r| {
            let same = item.sha256.as_ref().is_none_or(|s| *s == hex::encode(r.sha256)) && r.bytes == item.bytes;
            item.sha256 = Some(hex::encode(r.sha256)).filter(|_| same).or(item.sha256.take());
            same
        });
        if today.signed_duration_since(date).num_days() > i64::from(rules.keep_days) {
            out.remove.push(item.clone());
        }
        if !known {
            out.copy.push(item);
        }
    }
    Ok(out)
}

/// A plain file of the data folder; None where there is none.
fn item(node: &Node, path: String, sha256: Option<String>) -> Option<Item> {
    let full = node.data.root().join(Path::new(&path));
    let meta = full.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some(Item { path, bytes: meta.len(), sha256 })
}
