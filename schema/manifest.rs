//! The request manifests: `data_layer/manifests/<vendor>/<dataset>/manifest-<run>.jsonl`, one line a symbol and request.
//!
//! A line says what was asked (no key in it), what came back, and where it was put, also for an empty answer or an
//! error. `request_id` is the column of the same name in raw and curated files.

use crate::names::{Dataset, Outcome, Vendor};
use crate::paths::DataDir;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The version of the line format. 2: `duplicates`; a line of version 1 has none.
pub const VERSION: u32 = 2;

/// A file that a request's rows went to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Relative to `data_layer/raw`.
    pub path: String,
    /// Hex SHA-256 of the whole file after this request.
    pub sha256: String,
}

/// Rows or bodies that could not be taken as they came; they are kept under `data_layer/rejects`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejected {
    /// How many rows (0 for a whole body).
    pub rows: u64,
    /// Why, with the first case.
    pub why: String,
    /// Relative to `data_layer/rejects`.
    pub path: String,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// [`VERSION`].
    pub v: u32,
    /// The run that asked.
    pub run: String,
    /// 16 hex digits.
    pub request_id: String,
    /// Who was asked.
    pub vendor: Vendor,
    /// For what.
    pub dataset: Dataset,
    /// For which symbol or series.
    pub symbol: String,
    /// First session asked for.
    pub from: NaiveDate,
    /// Last session asked for.
    pub to: NaiveDate,
    /// `ingest` or `backfill`.
    pub purpose: String,
    /// The feed that was asked for.
    pub feed: String,
    /// The adjustment that was asked for.
    pub adjustment: String,
    /// RFC 3339.
    pub fetched_at: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Rows taken.
    pub rows: u64,
    /// Sessions inside the window that the answer had no row for.
    pub empty_sessions: u64,
    /// Rows that replaced a row with other values.
    pub restated: u64,
    /// Rows that were exact copies of another in the same answer; one of them was kept.
    #[serde(default)]
    pub duplicates: u64,
    /// HTTP requests, or files read.
    pub pages: u32,
    /// Bytes of the bodies.
    pub bytes: u64,
    /// Hex BLAKE3 of the bodies, one after the other.
    pub body_blake3: String,
    /// What was written.
    pub files: Vec<Written>,
    /// What was not taken.
    pub rejected: Vec<Rejected>,
    /// The vendor's words, or ours, where the outcome is not a good answer.
    pub note: String,
}

/// A manifest that does not parse.
#[derive(Debug, thiserror::Error)]
#[error(
    "{file}:{line}: not a manifest line ({cause}); the run's record is damaged: restore the file or run `datanode nightly` for those days again"
)]
pub struct BadLine {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What the parser said.
    pub cause: String,
}

/// The file of a run.
pub fn file_of(data: &DataDir, vendor: Vendor, dataset: Dataset, run: &str) -> PathBuf {
    data.manifests().join(vendor.name()).join(dataset.name()).join(format!("manifest-{run}.jsonl"))
}

/// Every line of a file; a missing file has none.
///
/// # Errors
/// [`BadLine`] for the first line that does not parse or whose version is unknown.
pub fn read(file: &Path) -> Result<Vec<Line>, BadLine> {
    let bad = |line: usize, cause: String| BadLine { file: file.to_owned(), line, cause };
    let text = match std::fs::read_to_string(file) {
        Ok(t) => t,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(bad(0, e.to_string())),
    };
    let mut out = Vec::new();
    for (i, l) in text.lines().enumerate() {
        let line: Line = serde_json::from_str(l).map_err(|e| bad(i + 1, e.to_string()))?;
        if !(1..=VERSION).contains(&line.v) {
            return Err(bad(i + 1, format!("version {} where 1 to {VERSION} are known", line.v)));
        }
        out.push(line);
    }
    Ok(out)
}

/// The request id of (run, vendor, dataset, symbol, window, purpose): the same question in the same run has the same id,
/// so that a run that was killed and resumed writes the same bytes.
pub fn request_id(
    run: &str,
    vendor: Vendor,
    dataset: Dataset,
    symbol: &str,
    from: NaiveDate,
    to: NaiveDate,
    purpose: &str,
) -> String {
    let mut h = blake3::Hasher::new_derive_key("datanode 2026 request id v1");
    for part in [run, vendor.name(), dataset.name(), symbol, &from.to_string(), &to.to_string(), purpose] {
        h.update(&(part.len() as u64).to_le_bytes());
        h.update(part.as_bytes());
    }
    let mut id = h.finalize().to_hex().to_string();
    id.truncate(16);
    id
}
