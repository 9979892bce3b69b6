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
    /// The queue could not take note of it.
    #[error(transparent)]
    Queue(#[from] crate::queue::QueueError),
    /// A file could not be written.
    #[error("{path}: {cause}; check the disk's free space and permissions")]
    Io {
        /// The file or folder.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// A raw file is gone or damaged; what it held has been forgotten.
    #[error(
        "{path}: {cause}; what it held is forgotten: run `datanode nightly` again, and the vendor is asked for it again"
    )]
    Forgotten {
        /// The file.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Rows could not be encoded.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A symbol cannot be a folder.
    #[error(transparent)]
    Name(#[from] BadName),
}
