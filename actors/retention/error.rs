//! Why retention stopped.

use crate::seal::SealError;
use datanode_schema::store::StoreError;
use std::path::Path;

/// Retention stopped. What was removed is recorded; doing it again goes on where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault refused.
    #[error(transparent)]
    Vault(#[from] SealError),
    /// A file could not be moved or removed.
    #[error("{path}: {cause}; check the owner and the permissions of the folder, then run it again")]
    Io {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// What would be removed is not what was shown.
    #[error(
        "the plan is another by now ({now}, not {expected}), and nothing was removed; look at `datanode retention plan` again"
    )]
    Changed {
        /// The digest that was given.
        expected: String,
        /// That of the plan as it stands.
        now: String,
    },
}

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> RetentionError {
    let path = path.display().to_string();
    move |cause| RetentionError::Io { path, cause }
}
