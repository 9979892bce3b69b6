//! Older versions of a raw file: a restatement replaces nothing in silence.

use super::RawError;
use datanode_schema::files::sha256_file;
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

fn io(path: &Path, cause: std::io::Error) -> RawError {
    RawError::Io { path: path.display().to_string(), cause }
}
