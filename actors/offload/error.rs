//! Why nothing more was offloaded.

use crate::books::BooksError;
use datanode_schema::store::StoreError;

/// Offloading stopped. What was verified is recorded; doing it again goes on where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum OffloadError {
    /// The settings name no remote.
    #[error("offload.remote is empty: set it to an rclone remote and a path, such as gdrive:datanode")]
    Off,
    /// rclone cannot be run.
    #[error("{program}: {cause}; install rclone, or point offload.program at it")]
    Program {
        /// The program.
        program: String,
        /// Why.
        cause: std::io::Error,
    },
    /// rclone refuses the remote.
    #[error(
        "{remote}: {said}; check offload.remote and rclone's configuration (`rclone lsd {remote}`), the disk or quota there, and the network"
    )]
    Remote {
        /// The remote.
        remote: String,
        /// What rclone said last.
        said: String,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The manifests of order books are damaged.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// A local file.
    #[error("{path}: {cause}; check the disk and the permissions of the data folder")]
    Io {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The process was asked to stop.
    #[error("stopped on request; the next run goes on where this one stopped")]
    Stopping,
}
