//! What can go wrong in the store. Each message says what happened, to what, and what to do now.

use std::{io, path::PathBuf};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process holds the state folder.
    #[error("{} is in use by {holder}; stop it, or send the command to it over its admin socket", dir.display())]
    Busy {
        /// The state folder.
        dir: PathBuf,
        /// Process id and command of the holder.
        holder: String,
    },
    /// The binary does not carry the function that makes sled's flushes durable.
    #[error(
        "this binary was linked without its own sync_file_range (errno {errno}, expected ENOSYS): a commit could be lost at a power cut, so the state was not opened; build it again with the crate's `shim` module linked"
    )]
    Unprotected {
        /// What the call answered.
        errno: i32,
    },
    /// The operating system refused something.
    #[error("could not {doing} {}: {source}; check the disk, the permissions and the owner of the folder", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// sled reported an error.
    #[error("sled could not {doing}: {cause}; if it says so again after a restart, run `datanode doctor`")]
    Sled {
        /// The verb.
        doing: &'static str,
        /// sled's own words.
        cause: String,
    },
    /// The state as a whole is not what was committed.
    #[error("the state is damaged: {what}; nothing was changed; {next}")]
    Corrupt {
        /// The damaged thing, by name.
        what: String,
        /// The command to run now.
        next: String,
    },
    /// One record cannot be read.
    #[error(
        "record {key} of {table} cannot be read: {why}; the rest of the state is unaffected; write the record again, or stop the node and run `datanode rebuild`"
    )]
    BadRecord {
        /// The table's name.
        table: String,
        /// The key, printable.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// A newer build wrote this.
    #[error(
        "{what} has version {found}, this build knows {known}; use the newer build, or restore a backup of this one"
    )]
    Newer {
        /// The record, table or file.
        what: String,
        /// The version that was found.
        found: u8,
        /// The newest version that this build reads.
        known: u8,
    },
    /// An older build wrote this, and no upgrade was made.
    #[error(
        "{what} has version {found}, this build reads {known}; which has no upgrade for it; use the build that wrote it"
    )]
    Older {
        /// The record.
        what: String,
        /// The version that was found.
        found: u8,
        /// The version that this build reads.
        known: u8,
    },
    /// A table that the store was not opened with, or a table list that contradicts itself.
    #[error("table {table}: {why}")]
    Table {
        /// The table's name.
        table: String,
        /// What is wrong with it.
        why: String,
    },
    /// A key, value or batch above its limit.
    #[error("{what} of {table} is {bytes} bytes, the limit is {limit}; split it into pages or keep the bulk in a file")]
    TooLarge {
        /// The table's name.
        table: String,
        /// Which part is too large.
        what: String,
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A value could not be serialised.
    #[error("a value of {table} could not be serialised: {cause}; this is a defect of the record's type")]
    Encode {
        /// The table's name.
        table: String,
        /// What the serialiser said.
        cause: String,
    },
    /// A guard of the batch did not hold; nothing of the batch was written.
    #[error(
        "record {key} of {table} is not what the batch expected; nothing of it was written; read it again and retry"
    )]
    Conflict {
        /// The table's name.
        table: String,
        /// The key, printable.
        key: String,
    },
    /// The store takes no more commits.
    #[error(
        "the store has stopped taking commits: {cause}; whether the last ones were written shows at the next start; restart the node"
    )]
    Stopped {
        /// What stopped it.
        cause: String,
    },
    /// Too little space to commit safely.
    #[error("{} has {free} bytes free, below the floor of {floor}; nothing was written; free space and retry", dir.display())]
    DiskFull {
        /// The state folder.
        dir: PathBuf,
        /// Bytes free for this user.
        free: u64,
        /// The floor in bytes.
        floor: u64,
    },
    /// Opening took longer than allowed.
    #[error(
        "{what} took more than {seconds} s; the state may be damaged or the disk very slow: raise the limit, or run `datanode rebuild`"
    )]
    Slow {
        /// What was being done.
        what: String,
        /// The limit.
        seconds: u64,
    },
}

/// Makes the closure that turns an [`io::Error`] into [`StoreError::Io`].
pub(crate) fn io_error(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_path_buf();
    move |source| StoreError::Io { doing, path, source }
}

/// Makes the closure that turns a [`sled::Error`] into [`StoreError::Sled`].
pub(crate) fn sled_error(doing: &'static str) -> impl FnOnce(sled::Error) -> StoreError {
    move |e| StoreError::Sled { doing, cause: e.to_string() }
}

/// A key as text: printable bytes as they are, others escaped.
pub(crate) fn show_key(key: &[u8]) -> String {
    format!("\"{}\"", key.escape_ascii())
}
