//! Starting the actors: one of each stage, on threads of their own where they block.

use crate::audit::actor::AuditActor;
use crate::curate::actor::CurateActor;
use crate::export::actor::ExportActor;
use crate::node::Node;
use crate::qc::actor::QcActor;
use crate::queue::actor::QueueActor;
use crate::queue::{Claims, QueueError};
use crate::raw::Turns;
use crate::raw::actor::RawActor;
use crate::seal::actor::SealActor;
use crate::ship::actor::ShipActor;
use crate::vendor::actor::VendorActor;
use crate::vendor::fetch::Fetcher;
use actix::{Actor, Addr, SyncArbiter};
use std::sync::{Arc, Mutex};

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
    /// Delivers and removes.
    pub ship: Addr<ShipActor>,
}

impl Stages {
    /// Starts them, on the current actix system. `fetchers` come with the requests that may be under way at once.
    ///
    /// # Errors
    /// Leases of an earlier process could not be voided.
    pub fn start(node: &Arc<Node>, fetchers: Vec<(Fetcher, u32)>) -> Result<Self, QueueError> {
        // The factory of a one-thread arbiter is called once; the claims are made before it so that an error is seen.
        let claims = Mutex::new(Some(Claims::open(node.clone())?));
        let again = node.clone();
        let queue = SyncArbiter::start(1, move || {
            let first = claims.lock().ok().and_then(|mut c| c.take());
            QueueActor::new(first.unwrap_or_else(|| Claims::unchecked(again.clone())))
        });
        let n = node.clone();
        let turns = Arc::new(Turns::default());
        let raw = SyncArbiter::start(node.threads, move || RawActor { node: n.clone(), turns: turns.clone() });
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
        let ship = SyncArbiter::start(1, move || ShipActor(n.clone()));
        let vendors = fetchers
            .into_iter()
            .map(|(fetcher, concurrency)| {
                VendorActor { fetcher, concurrency, queue: queue.clone(), raw: raw.clone() }.start()
            })
            .collect();
        Ok(Self { vendors, queue, raw, audit, curate, qc, export, seal, ship })
    }
}
