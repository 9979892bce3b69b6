//! What QC counts and how it fails.

use crate::frame::FrameError;
use crate::quarantine::QuarantineError;
use datanode_schema::names::Verdict;
use datanode_schema::store::StoreError;

/// 1 while the ledger says more than the status file; set in the commits that change the ledger.
pub(crate) const STATUS_DIRTY: &str = "status_dirty";

/// QC cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum QcError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `partition_status.parquet` could not be written.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A file could not be published.
    #[error("{path}: {cause}; check the disk's free space and permissions")]
    Io {
        /// The folder.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// What is said by hand could not be entered.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// A curated file is not what was written.
    #[error("{path} is damaged ({cause}); remove it and run `datanode nightly`: it is rebuilt from raw")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        cause: String,
    },
}

/// Puts of one commit.
pub(super) const COMMIT: usize = 500;

/// What QC did, and the ledger as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QcCounters {
    /// Curated files judged.
    pub files: u64,
    /// Partitions judged.
    pub judged: u64,
    /// Partitions in the ledger.
    pub partitions: u64,
    /// Of those, by verdict.
    pub green: u64,
    /// Of those, by verdict.
    pub amber: u64,
    /// Of those, by verdict.
    pub red: u64,
    /// Of those, by verdict.
    pub pending: u64,
    /// Ledger pages that changed.
    pub pages_written: u64,
    /// Symbols whose sessions were compared with each other.
    pub related: u64,
}

impl QcCounters {
    /// Adds so many partitions of one verdict to the totals.
    pub(super) fn count(&mut self, verdict: Verdict, partitions: u32) {
        let n = u64::from(partitions);
        self.partitions += n;
        match verdict {
            Verdict::Green => self.green += n,
            Verdict::Amber => self.amber += n,
            Verdict::Red => self.red += n,
            Verdict::Pending => self.pending += n,
        }
    }
}
