//! What can go wrong with keeping an answer. The answer is not lost: its lease ends and it is asked again.

use crate::frame::FrameError;
use datanode_schema::paths::BadName;
use datanode_schema::store::StoreError;

/// An answer could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum RawError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be written.
    #[error("{path}: {cause}; check the disk's free space and permissions")]
    Io {
        /// The file or folder.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// A raw file on disk is not what was written.
    #[error(
        "a raw file is damaged: {0}; move it away and run `datanode nightly` again: what it held is asked for again"
    )]
    Frame(#[from] FrameError),
    /// A symbol cannot be a folder.
    #[error(transparent)]
    Name(#[from] BadName),
}
