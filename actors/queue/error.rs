//! What can go wrong with the queue.

use datanode_schema::store::StoreError;

/// The queue cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}
