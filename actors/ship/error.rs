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
    /// A file of the pack, or of the vault, could not be read here.
    #[error("{path}: {cause}; it is of a pack here and is not sent without it: see `datanode pack verify`")]
    Here {
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
        "{pack} builds on {needs}, which is not here and has not arrived there; set export.scope = \"full\" for one night, and later packs \
         go without it. For this one itself bring {needs} back (`datanode pack pull`)"
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
    /// Packs of one destination failed; the others went.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n    "))]
    Packs(Vec<ShipError>),
    /// Destinations failed; the others have what they should.
    #[error("{}", .0.iter().map(|(name, e)| format!("{name}: {e}")).collect::<Vec<_>>().join("\n  "))]
    Destinations(Vec<(String, ShipError)>),
}

impl ShipError {
    /// Whether something is not what it should be, there or here.
    pub fn is_integrity(&self) -> bool {
        match self {
            Self::Altered(_) | Self::AlteredHere(_) => true,
            Self::Packs(all) => all.iter().any(Self::is_integrity),
            Self::Destinations(all) => all.iter().any(|(_, e)| e.is_integrity()),
            _ => false,
        }
    }

    /// Whether it is only that the process was asked to stop.
    pub fn is_stop(&self) -> bool {
        match self {
            Self::Stopping => true,
            Self::Packs(all) => all.iter().all(Self::is_stop),
            Self::Destinations(all) => all.iter().all(|(_, e)| e.is_stop()),
            _ => false,
        }
    }

    /// Whether it is about one pack alone: the destination answers, and others may go.
    pub(super) fn is_of_one_pack(&self) -> bool {
        use ShipError::{Altered, AlteredHere, Here, Manifest, Missing, Unsteady, Vault};
        matches!(
            self,
            Altered(_) | AlteredHere(_) | Here { .. } | Manifest { .. } | Missing { .. } | Unsteady(_) | Vault(_)
        )
    }

    /// One of several, where there are several.
    pub(super) fn all(mut of: Vec<Self>) -> Result<(), Self> {
        match (of.pop(), of.is_empty()) {
            (None, _) => Ok(()),
            (Some(one), true) => Err(one),
            (Some(last), false) => {
                of.push(last);
                Err(Self::Packs(of))
            }
        }
    }
}

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ShipError {
    let path = path.display().to_string();
    move |cause| ShipError::Io { path, cause }
}

/// Of a file that is here, not there.
pub(super) fn here(path: &Path) -> impl FnOnce(std::io::Error) -> ShipError {
    let path = path.display().to_string();
    move |cause| ShipError::Here { path, cause }
}
