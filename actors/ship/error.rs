//! Why a pack did not arrive, or retention stopped.

use crate::export::ManifestError;
use crate::objects::ObjectError;
use crate::seal::SealError;
use datanode_schema::store::StoreError;
use std::path::Path;

/// A pack did not arrive, or retention stopped.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault refused.
    #[error(transparent)]
    Vault(#[from] SealError),
    /// The destination refused, or did not answer.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A file could not be read or written.
    #[error("{path}: {cause}; check that the destination is mounted, has space, and may be written")]
    Io {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// An object lies there, or arrived, that is not what is sent.
    #[error(
        "{0}: it is not what is sent, and nothing there is overwritten; find out who changed it, remove it, and run `datanode nightly \
         --stages ship`"
    )]
    Altered(String),
    /// A file of the pack here is not what its manifest says.
    #[error("{0}: it is not what its manifest says, and is not sent; see `datanode pack verify`")]
    AlteredHere(String),
    /// The manifest here cannot be used.
    #[error("{path}: {cause}; see `datanode pack verify`")]
    Manifest {
        /// The pack.
        path: String,
        /// Why.
        cause: ManifestError,
    },
    /// What a pack builds on is no longer here.
    #[error(
        "{pack} builds on {needs}, which is not here and has not arrived there; set export.scope = \"full\" for one night"
    )]
    Missing {
        /// The pack.
        pack: String,
        /// What it needs.
        needs: String,
    },
    /// The destination does not do what it says.
    #[error(
        "{url} does not keep its word: {why}. A pack there could be replaced or damaged unseen: choose another, or accept it with \
         ship.destinations.{name}.accept_unsafe_bucket = true"
    )]
    Unsafe {
        /// The destination.
        name: String,
        /// Where it is.
        url: String,
        /// What it did.
        why: String,
    },
    /// Objects vanish while a pack is sent.
    #[error(
        "{0}: objects that had arrived are gone again; see who removes them (a lifecycle rule?), then run it again"
    )]
    Unsteady(String),
    /// A thread or runtime could not be had.
    #[error("the system gives no thread to ship with: {0}; run it again")]
    Runtime(String),
    /// The process was asked to stop.
    #[error("stopped on request; the next run goes on where this one stopped")]
    Stopping,
    /// Destinations failed; the others have what they should.
    #[error("{}", .0.iter().map(|(name, e)| format!("{name}: {e}")).collect::<Vec<_>>().join("\n  "))]
    Destinations(Vec<(String, ShipError)>),
}

impl ShipError {
    /// Whether something is not what it should be, there or here.
    pub fn is_integrity(&self) -> bool {
        match self {
            Self::Altered(_) | Self::AlteredHere(_) => true,
            Self::Destinations(all) => all.iter().any(|(_, e)| e.is_integrity()),
            _ => false,
        }
    }

    /// Whether it is only that the process was asked to stop.
    pub fn is_stop(&self) -> bool {
        match self {
            Self::Stopping => true,
            Self::Destinations(all) => all.iter().all(|(_, e)| e.is_stop()),
            _ => false,
        }
    }
}

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ShipError {
    let path = path.display().to_string();
    move |cause| ShipError::Io { path, cause }
}
