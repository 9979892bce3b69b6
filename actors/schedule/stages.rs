//! Starting the actors: one of each stage, on threads of their own where they block.

use crate::anchor::actor::AnchorActor;
use crate::audit::actor::AuditActor;
use crate::curate::actor::CurateActor;
use crate::export::actor::ExportActor;
use crate::node::Node;
use crate::qc::actor::QcActor;
use crate::queue::QueueError;
use crate::queue::actor::QueueActor;
use crate::raw::actor::RawActor;
use crate::retention::actor::RetentionActor;
use crate::seal::actor::SealActor;
use crate::ship::actor::ShipActor;
use crate::vault::actor::VaultActor;
use crate::vendor::actor::VendorActor;
use crate::vendor::fetch::Fetcher;
use actix::{Actor, Addr, SyncArbiter};
use std::sync::Arc;

/// Claims that share one sync.
const CLAIMS_AT_ONCE: usize = 4;

/// The addresses of the stages.
#[derive(Clone)]
pub struct Stages {
    /// One a vendor.
    pub vendors: Vec<Addr<VendorActor>>,
    /// Claims.
    pub queue: Addr<QueueActor>,
    /// Keeps answers.
    pub raw: Addr<RawActor>,
    /// Finds absences.
    pub audit: Addr<AuditActor>,
    /// Merges.
    pub curate: Addr<CurateActor>,
    /// Judges.
    pub qc: Addr<QcActor>,
    /// Packs.
    pub export: Addr<ExportActor>,
    /// Encrypts.
    pub seal: Addr<SealActor>,
    /// Anchors.
    pub anchor: Addr<AnchorActor>,
    /// Looks after the vault.
    pub vault: Addr<VaultActor>,
    /// Delivers.
    pub ship: Addr<ShipActor>,
    /// Removes.
    pub retention: Addr<RetentionActor>,
}

impl Stages {
    /// Starts them, on the current actix system. `fetchers` come with the requests that may be under way at once.
    ///
    /// # Errors
    /// Leases of an earlier process could not be voided.
    pub fn start(node: &Arc<Node>, fetchers: Vec<(Fetcher, u32)>) -> Result<Self, QueueError> {
        node.queue.open(node)?;
        for (f, _) in &fetchers {
            node.queue.register(f.endpoint.vendor, f.purse.clone());
        }
        let n = node.clone();
        let queue = SyncArbiter::start(CLAIMS_AT_ONCE, move || QueueActor(n.clone()));
        let n = node.clone();
        let raw = SyncArbiter::start(node.threads, move || RawActor(n.clone()));
        let n = node.clone();
        let audit = SyncArbiter::start(1, move || AuditActor(n.clone()));
        let n = node.clone();
        let curate = SyncArbiter::start(1, move || CurateActor(n.clone()));
        let n = node.clone();
        let qc = SyncArbiter::start(1, move || QcActor(n.clone()));
        let n = node.clone();
        let export = SyncArbiter::start(1, move || ExportActor(n.clone()));
        let n = node.clone();
        let seal = SyncArbiter::start(1, move || SealActor(n.clone()));
        let n = node.clone();
        let anchor = SyncArbiter::start(1, move || AnchorActor(n.clone()));
        let n = node.clone();
        let vault = SyncArbiter::start(1, move || VaultActor(n.clone()));
        let n = node.clone();
        let ship = SyncArbiter::start(1, move || ShipActor(n.clone()));
        let n = node.clone();
        let retention = SyncArbiter::start(1, move || RetentionActor(n.clone()));
        let vendors = fetchers
            .into_iter()
            .map(|(fetcher, concurrency)| {
                VendorActor { node: node.clone(), fetcher, concurrency, queue: queue.clone(), raw: raw.clone() }.start()
            })
            .collect();
        Ok(Self { vendors, queue, raw, audit, curate, qc, export, seal, anchor, vault, ship, retention })
    }
}
