//! Why a cycle stopped.

use crate::anchor::AnchorError;
use crate::audit::AuditError;
use crate::curate::CurateError;
use crate::export::ExportError;
use crate::qc::QcError;
use crate::queue::QueueError;
use crate::raw::RawError;
use crate::retention::RetentionError;
use crate::seal::stage::SealStageError;
use crate::ship::ShipError;
use datanode_schema::store::StoreError;

/// A cycle stopped. What was committed stays; the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Claims.
    #[error("queue: {0}")]
    Queue(#[from] QueueError),
    /// Keeping answers.
    #[error("raw: {0}")]
    Raw(#[from] RawError),
    /// The audit.
    #[error("audit: {0}")]
    Audit(#[from] AuditError),
    /// Curate.
    #[error("curate: {0}")]
    Curate(#[from] CurateError),
    /// QC.
    #[error("qc: {0}")]
    Qc(#[from] QcError),
    /// The exporter.
    #[error("export: {0}")]
    Export(#[from] ExportError),
    /// Sealing.
    #[error("seal: {0}")]
    Seal(#[from] SealStageError),
    /// The anchor log.
    #[error("anchor: {0}")]
    Anchor(#[from] AnchorError),
    /// Shipping.
    #[error("ship: {0}")]
    Ship(ShipError),
    /// Retention.
    #[error("retention: {0}")]
    Retention(#[from] RetentionError),
    /// An actor is gone.
    #[error("an actor stopped ({0}); run the command again: it goes on where this run stopped")]
    Mailbox(#[from] actix::MailboxError),
    /// The process was asked to stop.
    #[error("stopped on request; the next run goes on where this one stopped")]
    Stopping,
}

impl From<ShipError> for CycleError {
    fn from(e: ShipError) -> Self {
        if e.is_stop() { Self::Stopping } else { Self::Ship(e) }
    }
}
