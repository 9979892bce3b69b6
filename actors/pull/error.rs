//! Why nothing was pulled. Whatever the error, the destination is as it was.

use crate::objects::{Fault, ObjectError};
use crate::seal::{Kind, SealError};
use std::path::Path;

/// The family of an error, for the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullFault {
    /// The bucket does not answer, the disk is full, credentials are refused: 1.
    Failed,
    /// What was asked for cannot be: 2.
    Usage,
    /// What arrived is not what the manifest names: 3.
    Integrity,
    /// Manifest, sums or pointer are not valid: 4.
    Contract,
    /// There is no such pack: 5.
    NotFound,
    /// Another pull is at work on the same folder: 6.
    Busy,
}

/// Nothing was pulled; the destination is as it was.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct PullError {
    /// The family.
    pub fault: PullFault,
    /// What happened, to what, and what to do.
    pub message: String,
}

impl PullError {
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { fault: PullFault::Failed, message: message.into() }
    }
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { fault: PullFault::Usage, message: message.into() }
    }
    pub(super) fn integrity(message: impl Into<String>) -> Self {
        Self { fault: PullFault::Integrity, message: message.into() }
    }
    pub(super) fn contract(message: impl Into<String>) -> Self {
        Self { fault: PullFault::Contract, message: message.into() }
    }
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self { fault: PullFault::NotFound, message: message.into() }
    }

    /// A file or folder of this machine.
    pub(super) fn io(what: &str, path: &Path, e: impl Into<std::io::Error>) -> Self {
        let e = e.into();
        let advice = match e.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge => {
                "; make room and pull again, what has arrived is used again"
            }
            _ => "; check permissions and the disk, then pull again",
        };
        Self::failed(format!("{what} {}: {e}{advice}", path.display()))
    }
}

impl From<ObjectError> for PullError {
    fn from(e: ObjectError) -> Self {
        let (fault, advice) = match e.fault {
            Fault::Credentials => (
                PullFault::Failed,
                "; the credentials are refused, expired, or missing: check what --key, --secret and --token refer to, and that they may list and read",
            ),
            Fault::NotFound => (PullFault::NotFound, "; check the URL, and that the bucket or folder exists"),
            Fault::Usage => (PullFault::Usage, ""),
            Fault::Exists => (PullFault::Failed, "; the object changed meanwhile, pull again"),
            Fault::Unsupported => (PullFault::Failed, "; the server cannot do this, choose another address"),
            Fault::Clock => {
                (PullFault::Failed, "; set this machine's clock (timedatectl set-ntp true), then pull again")
            }
            Fault::Full | Fault::Unavailable => {
                (PullFault::Failed, "; pull again later, what has arrived is used again")
            }
        };
        Self { fault, message: format!("{}{advice}", e.bare()) }
    }
}

impl From<SealError> for PullError {
    fn from(e: SealError) -> Self {
        let fault = match e.kind() {
            Kind::Integrity => PullFault::Integrity,
            Kind::Contract => PullFault::Contract,
            Kind::NotFound => PullFault::NotFound,
            Kind::Busy => PullFault::Busy,
            Kind::Io => PullFault::Failed,
        };
        Self { fault, message: e.to_string() }
    }
}
