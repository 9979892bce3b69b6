//! What can go wrong in the anchor log.

use crate::seal::SealError;
use datanode_schema::store::StoreError;
use std::path::PathBuf;

/// The log cannot go on, or something does not prove what it should.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault refused, or a record is not canonical.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}; check permissions and free space, then run it again", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key that cannot be used.
    #[error("log key {}: {why}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// Something does not match what vouches for it.
    #[error("{what}: {why}")]
    Integrity {
        /// The file or record.
        what: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// It is not there.
    #[error("{what}: {why}")]
    NotFound {
        /// What was looked for, or where.
        what: String,
        /// Why, and what to do.
        why: String,
    },
    /// The log is not the one that this node signed last.
    #[error(
        "anchors/: {why}; this node does not sign another history: bring the newer log back from the replica, a bucket or a backup of \
         anchors/, and run it again. Where it is lost for good, move anchors/ and keys/anchor.key away: a new log with a new key begins"
    )]
    RolledBack {
        /// What does not fit.
        why: String,
    },
}

impl AnchorError {
    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn integrity(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Integrity { what: what.into(), why: why.into() }
    }
}
