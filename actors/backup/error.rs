//! What can go wrong with backups. Each message says what happened, to what, and what to do now; none holds a secret.

use crate::anchor::AnchorError;
use crate::objects::ObjectError;
use crate::seal::SealError;
use datanode_schema::store::StoreError;
use std::path::{Path, PathBuf};

/// A backup could not be made, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A folder or bucket refused.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The state refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key or a letter.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The log.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The operating system refused.
    #[error("could not {doing} {}: {source}; check the disk and the owner, then run it again", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part is not what its manifest says.
    #[error("{what}: {why}; take another generation: `datanode backup list`")]
    Damaged {
        /// The part.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// A newer build made it.
    #[error("{generation} has format {found}, this build reads {known}; use the build that made it, or a newer one")]
    Newer {
        /// Which.
        generation: String,
        /// Its format.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// There is none.
    #[error("{place}: {what}; `datanode backup list` shows what is there, `datanode backup create` makes one")]
    NotFound {
        /// Where.
        place: String,
        /// What was looked for.
        what: String,
    },
    /// It cannot be done so.
    #[error("{0}")]
    Usage(String),
}

impl BackupError {
    /// For `map_err` of a call on a file.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// A part that is not what it should be.
    pub(super) fn damaged(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), why: why.into() }
    }
}
