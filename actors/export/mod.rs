//! Export: the immutable pack that consumers pull.
//!
//! A pack is a folder: `manifest.json`, `SHA256SUMS.stable.txt`, `data/…`. Files that hold nothing to leave out are hard
//! links of the curated ones, so a pack costs what changed. A delta leaves out what the packs before it hold, and says
//! where it is (`base`). The exporter fails closed: where anything is unknown,
//! unfinished or damaged there is no pack, and the last good one stays.

pub mod actor;
mod archive;
mod base;
mod check;
mod diff;
mod error;
mod gather;
mod id;
mod index;
mod manifest;
mod nightly;
mod plan;
mod run;
mod select;
mod sums;
mod verify;
mod weight;

pub use check::{MAX_FILES, MAX_TEXT, ManifestError, read_text, safe_path};
pub use diff::{ExclusionChange, FileChange, PackDiff};
pub use error::ExportError;
pub use id::ExportId;
pub use manifest::{
    CalendarOf, Excluded, MANIFEST_SCHEMA, PackFile, PackManifest, Producer, QcSummary, SCHEMA_VERSION, TimeWindow,
};
pub use run::{ExportCounters, export};
pub use select::{Selected, Selection, Unselected};
pub use sums::{BadSums, MANIFEST_FILE, SUMS_FILE, format_sums, parse_sums};
pub use verify::{PackProblem, PackReport, verify_holders, verify_pack};

use std::path::{Path, PathBuf};

/// Removes a folder, where there is one.
fn remove(folder: &Path) -> Result<(), ExportError> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io(folder)(e)),
        _ => Ok(()),
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ExportError {
    let path: PathBuf = path.to_owned();
    move |cause| ExportError::Io { path: path.display().to_string(), cause }
}
