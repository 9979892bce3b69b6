//! Export: the immutable pack that consumers pull.
//!
//! A pack is a folder: `manifest.json`, `SHA256SUMS.stable.txt`, `data/…`. Files that hold nothing to leave out are hard
//! links of the curated ones, so a pack costs what changed. The exporter fails closed: where anything is unknown,
//! unfinished or damaged there is no pack, and the last good one stays.

pub mod actor;
mod error;
mod gather;
mod id;
mod manifest;
mod run;
mod sums;
mod verify;

pub use error::ExportError;
pub use id::ExportId;
pub use manifest::{
    CalendarOf, Excluded, ManifestError, PackFile, PackManifest, Producer, QcSummary, SCHEMA_VERSION, TimeWindow,
    safe_path,
};
pub use run::{ExportCounters, export};
pub use sums::{BadSums, MANIFEST_FILE, SUMS_FILE, format_sums, parse_sums};
pub use verify::{PackProblem, PackReport, verify_pack};
