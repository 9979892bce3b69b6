//! What can go wrong in sealing, opening and the vault.
//!
//! Rules of this module: a message says what happened, to what, and what to do now; it never holds key material; every
//! error has exactly one [`Kind`], from which the command line takes its exit code.

use std::path::{Path, PathBuf};

/// The family of an error, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes are missing, altered, or do not match the key (exit 3).
    Integrity,
    /// A schema, path or version is not valid (exit 4).
    Contract,
    /// The pack or object is not there (exit 5).
    NotFound,
    /// The operating system refused (exit 1).
    Io,
    /// Another process works in the vault (exit 6).
    Busy,
}

/// Why one object cannot be trusted. The first three that concern bytes are kept apart on purpose: a wrong key, rotten
/// storage and a failure of software (or an attack) call for different people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Diagnosis {
    /// No object has this name.
    #[error("missing: fetch it from a replica")]
    Missing,
    /// The object could not be read.
    #[error("unreadable ({0}): storage is failing; fetch the object from a replica")]
    Unreadable(String),
    /// The object is longer or shorter than its descriptor says.
    #[error("length mismatch ({found} bytes, expected {expected}): storage rot; fetch the object from a replica")]
    Length {
        /// What the descriptor says, in bytes.
        expected: u64,
        /// What the file system holds, in bytes.
        found: u64,
    },
    /// The bytes do not hash to the object's name.
    #[error("leaf mismatch (BLAKE3 differs from the name): storage rot; fetch the object from a replica")]
    Leaf,
    /// Intact bytes that are not the chunk this place calls for.
    #[error("wrong chunk header ({0}): the object belongs elsewhere or was made by other software")]
    Header(&'static str),
    /// The key does not belong to this chunk; found before any decryption.
    #[error("commitment mismatch: wrong key; use the key of this pack's stanza")]
    Commitment,
    /// Right leaf, right commitment, and still the tag is wrong.
    #[error("authentication failed on an intact object: software fault or attack; keep the object and report it")]
    Aead,
    /// The authenticated payload does not decompress to the authenticated length.
    #[error("authenticated payload does not decompress: software fault or attack; keep the object and report it")]
    Codec,
}

/// An error of the sealing stage or the vault.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A system call failed.
    #[error("cannot {action} {}: {source}; check permissions and free space, then run it again", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process holds the vault.
    #[error("vault {} is in use by another process: wait for it to finish, then run this again", .0.display())]
    Busy(PathBuf),
    /// A pack, stanza or folder is absent.
    #[error("{what} not found at {}: check the id, or fetch it into the vault first", path.display())]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// One object of a pack is bad.
    #[error("pack {pack}, chunk {index}, object {object}: {diagnosis}")]
    Object {
        /// Pack uid, hex.
        pack: String,
        /// Object's BLAKE3, hex.
        object: String,
        /// Chunk index within its sealing.
        index: u32,
        /// What is wrong.
        diagnosis: Diagnosis,
    },
    /// The key file cannot open the stanza, or the stanza is damaged.
    #[error("cannot unwrap the pack key ({0}): use the identity that the pack was sealed for, or restore its stanza")]
    Unwrap(String),
    /// The key was dropped on purpose.
    #[error("pack {pack} was shredded at {at}: its key is gone, and nothing opens it; its proofs go on verifying")]
    Shredded {
        /// Pack uid, hex.
        pack: String,
        /// When, RFC 3339.
        at: String,
    },
    /// A key file is not usable.
    #[error("key file {}: {why}", path.display())]
    KeyFile {
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
    /// Something is not in the form that was agreed.
    #[error("{what}: {why}")]
    Contract {
        /// The file or record.
        what: String,
        /// What is wrong and what to do.
        why: String,
    },
}

impl SealError {
    /// The family of this error, for the exit code.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } => Kind::Io,
            Self::Busy(_) => Kind::Busy,
            Self::NotFound { .. } | Self::Shredded { .. } => Kind::NotFound,
            Self::Object { .. } | Self::Unwrap(_) | Self::Integrity { .. } => Kind::Integrity,
            Self::KeyFile { .. } | Self::Contract { .. } => Kind::Contract,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn errno(action: &'static str, path: &Path) -> impl FnOnce(nix::errno::Errno) -> Self {
        let path = path.to_path_buf();
        move |errno| Self::Io { action, path, source: errno.into() }
    }

    pub(crate) fn integrity(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Integrity { what: what.into(), why: why.into() }
    }

    pub(crate) fn contract(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Contract { what: what.into(), why: why.into() }
    }

    /// A bug of ours that must not become a panic.
    pub(crate) fn internal(why: &str) -> Self {
        Self::contract("sealing", format!("{why}: this is a bug; report it"))
    }
}
