//! Older versions of a raw file: a restatement replaces nothing in silence.

use super::RawError;
use super::merge::merge;
use crate::frame::{Cell, Origin, Table, read_raw};
use datanode_schema::files::sha256_file;
use datanode_schema::names::Dataset;
use std::path::Path;

/// Keeps the file that a restatement is about to replace, under its own hash.
pub(super) fn keep_version(target: &Path) -> Result<(), RawError> {
    let (sha256, _) = sha256_file(target).map_err(|e| io(target, e))?;
    let mut name = hex::encode(sha256);
    name.truncate(16);
    let old = target.with_file_name(format!("data.{name}.parquet"));
    match std::fs::hard_link(target, &old) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(io(&old, e)),
        _ => Ok(()),
    }
}

/// When the rows were of that this very answer had restated, where it was merged into the file before and a crash came before the
/// commit: the older version that becomes the file by this answer tells.
pub(super) fn restated_before(
    target: &Path,
    dataset: Dataset,
    rows: &[(i64, Cell)],
    origin: &Origin,
    now: &Table,
) -> Vec<i64> {
    let Some(entries) = target.parent().and_then(|p| std::fs::read_dir(p).ok()) else { return Vec::new() };
    for path in entries.flatten().map(|e| e.path()) {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        // data.<16 hex digits of its hash>.parquet
        if name.len() != 29 || !name.starts_with("data.") || !name.ends_with(".parquet") {
            continue;
        }
        let Ok(mut before) = read_raw(&path, dataset, origin.vendor) else { continue };
        let merged = merge(&mut before, rows.to_vec(), origin);
        if before == *now {
            return merged.restated_at;
        }
    }
    Vec::new()
}

fn io(path: &Path, cause: std::io::Error) -> RawError {
    RawError::Io { path: path.display().to_string(), cause }
}
