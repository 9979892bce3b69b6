//! Why there is no pack.

use super::ManifestError;
use crate::frame::FrameError;
use crate::qc::QcError;
use crate::quarantine::QuarantineError;
use datanode_schema::manifest::BadLine;
use datanode_schema::store::StoreError;

/// No pack was published; the last good one stays.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stage before did not finish.
    #[error("no pack: {what} wait for the {stage} stage; run `datanode nightly` without --stages to its end")]
    Unfinished {
        /// How many of what.
        what: String,
        /// Which stage.
        stage: &'static str,
    },
    /// There is nothing to pack.
    #[error(
        "no pack: nothing is curated yet; enable a vendor and list symbols in universe.yaml (`datanode doctor` checks both)"
    )]
    Empty,
    /// A field of the manifest that may not be null is not known.
    #[error("no pack: {field} is not known; set it in datanode.toml")]
    Unknown {
        /// The setting.
        field: &'static str,
    },
    /// A partition that would be in the pack has no verdict, thresholds or calendar.
    #[error(
        "no pack: {path} has {rows} rows and the ledger judged {judged} of them; run `datanode nightly --stages qc,export`"
    )]
    NoContext {
        /// The curated file.
        path: String,
        /// Its rows.
        rows: u64,
        /// Rows of its judged partitions.
        judged: u64,
    },
    /// A manifest line of the run does not parse.
    #[error("no pack: {0}")]
    Manifest(#[from] BadLine),
    /// Holds and incidents cannot be read, or not be entered.
    #[error("no pack: {0}")]
    Quarantine(#[from] QuarantineError),
    /// The status file could not be brought up to the ledger.
    #[error("no pack: {0}")]
    Status(#[from] QcError),
    /// A counter of the run is impossible.
    #[error("no pack: the run's manifest says {0}; the record is damaged")]
    OutOfRange(String),
    /// A dataset that must be complete is not.
    #[error(
        "no pack: {dataset} is `required: complete` and {partition} is held out ({reasons}); `datanode-admin qc` shows it"
    )]
    Incomplete {
        /// The dataset.
        dataset: String,
        /// The first partition.
        partition: String,
        /// Its reasons.
        reasons: String,
    },
    /// A curated file is not what was written.
    #[error(
        "no pack: {path} is not what curate wrote ({cause}); remove it, and `datanode nightly` rebuilds it from raw"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        cause: String,
    },
    /// A pack of that id stands and holds something else.
    #[error(
        "no pack: {id} exists already and holds something else; packs are never changed: run again at another second"
    )]
    Exists {
        /// The export id.
        id: String,
    },
    /// The manifest breaks its own contract.
    #[error("no pack: {0}; a consumer would refuse it: correct the setting or the universe that it speaks of")]
    Contract(#[from] ManifestError),
    /// A file could not be written.
    #[error("no pack: {path}: {cause}; check the disk's free space and permissions")]
    Io {
        /// The file or folder.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// A table could not be read or written.
    #[error("no pack: {0}")]
    Frame(#[from] FrameError),
}
