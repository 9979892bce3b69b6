//! A vendor's shell: claim, fetch, hand on, until there is nothing left to claim. Several claims are under way at once.

use super::fetch::Fetcher;
use crate::node::{Node, RunContext};
use crate::queue::actor::{Claim, QueueActor};
use crate::queue::{Next, Told};
use crate::raw::actor::{Keep, RawActor};
use crate::schedule::CycleError;
use actix::{Actor, Addr, Context, Handler, Message, ResponseFuture};
use datanode_schema::names::Vendor;
use std::sync::Arc;
use std::time::Duration;

/// Works until the queue has nothing for this vendor.
#[derive(Message)]
#[rtype(result = "Result<VendorCounters, CycleError>")]
pub struct Drain {
    /// The run.
    pub run: Arc<RunContext>,
}

/// What a vendor did in a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct VendorCounters {
    /// Asks claimed.
    pub claims: u64,
    /// HTTP requests made, or files read.
    pub requests: u64,
    /// Rows kept.
    pub rows: u64,
    /// Bytes of the bodies.
    pub bytes: u64,
    /// Sessions asked for that the answers had no rows for.
    pub empty_sessions: u64,
    /// Rows that replaced a row with other values.
    pub restated: u64,
    /// Rows that were exact copies of another in the same answer.
    pub duplicates: u64,
    /// Rows that were not taken.
    pub rejected: u64,
    /// Asks without a good answer.
    pub refusals: u64,
    /// Results under a lease that no longer stood.
    pub dropped: u64,
}

impl std::ops::AddAssign for VendorCounters {
    fn add_assign(&mut self, o: Self) {
        self.claims += o.claims;
        self.requests += o.requests;
        self.rows += o.rows;
        self.bytes += o.bytes;
        self.empty_sessions += o.empty_sessions;
        self.restated += o.restated;
        self.duplicates += o.duplicates;
        self.rejected += o.rejected;
        self.refusals += o.refusals;
        self.dropped += o.dropped;
    }
}

/// The shell of one vendor.
pub struct VendorActor {
    /// The node.
    pub node: Arc<Node>,
    /// How to fetch.
    pub fetcher: Fetcher,
    /// Requests under way at once.
    pub concurrency: u32,
    /// Where asks come from.
    pub queue: Addr<QueueActor>,
    /// Where answers go.
    pub raw: Addr<RawActor>,
}

impl Actor for VendorActor {
    type Context = Context<Self>;
}

impl Handler<Drain> for VendorActor {
    type Result = ResponseFuture<Result<VendorCounters, CycleError>>;

    fn handle(&mut self, m: Drain, _: &mut Self::Context) -> Self::Result {
        let workers: Vec<_> = (0..self.concurrency)
            .map(|_| work(self.node.clone(), self.fetcher.clone(), self.queue.clone(), self.raw.clone(), m.run.clone()))
            .collect();
        Box::pin(async move {
            let mut all = VendorCounters::default();
            for done in futures_util::future::join_all(workers).await {
                all += done?;
            }
            Ok(all)
        })
    }
}

async fn work(
    node: Arc<Node>,
    fetcher: Fetcher,
    queue: Addr<QueueActor>,
    raw: Addr<RawActor>,
    run: Arc<RunContext>,
) -> Result<VendorCounters, CycleError> {
    let vendor: Vendor = fetcher.endpoint.vendor;
    let changed = node.queue.changed();
    let mut counters = VendorCounters::default();
    loop {
        // Made before the question, so that no change between question and wait is missed.
        let hint = changed.notified();
        match queue.send(Claim { run: run.clone(), vendor }).await?? {
            Next::Work(claimed) => {
                let fetched = fetcher.fetch(&claimed.ask, &run, || node.queue.renew(&node, claimed.id)).await;
                let outcome = Told::of(&fetched).outcome;
                let kept = raw.send(Keep { run: run.clone(), claimed: *claimed, fetched }).await??;
                node.meter.kept(vendor, outcome, &kept);
                counters += kept;
            }
            // A hint may be lost: the wait ends by itself.
            Next::Wait(ms) => {
                let _ = tokio::time::timeout(Duration::from_millis(ms), hint).await;
            }
            Next::Done => return Ok(counters),
        }
    }
}
