//! Why an act was not done.

use datanode_schema::acts::BadEvents;
use datanode_schema::store::StoreError;

/// An act was not done; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event files are damaged.
    #[error(transparent)]
    Events(#[from] BadEvents),
    /// The event file could not be written.
    #[error("{path}: {cause}; check the disk's free space and permissions")]
    Io {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// It cannot be asked for; the text says what to do instead.
    #[error("{0}")]
    Refused(String),
    /// What it is about does not exist.
    #[error("{0}")]
    NotFound(String),
}
