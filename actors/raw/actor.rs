//! Raw's shell: answers are kept on threads of their own; two answers for one symbol never at once.

use super::{RawError, keep};
use crate::node::{Node, RunContext};
use crate::queue::{Claimed, Told};
use crate::vendor::Fetched;
use crate::vendor::actor::VendorCounters;
use actix::{Actor, Handler, Message, SyncContext};
use std::sync::Arc;

/// Keeps an answer: files, manifest, bookmark, holdings, tasks, in one commit.
#[derive(Message)]
#[rtype(result = "Result<VendorCounters, RawError>")]
pub struct Keep {
    /// The run.
    pub run: Arc<RunContext>,
    /// The question, with its lease.
    pub claimed: Claimed,
    /// The answer.
    pub fetched: Fetched,
}

/// The shell.
pub struct RawActor(pub Arc<Node>);

impl Actor for RawActor {
    type Context = SyncContext<Self>;
}

impl Handler<Keep> for RawActor {
    type Result = Result<VendorCounters, RawError>;

    fn handle(&mut self, m: Keep, _: &mut Self::Context) -> Self::Result {
        let _turn = self.0.turns.take(m.claimed.ask.dataset, &m.claimed.ask.symbols);
        let mut told = Told::of(&m.fetched);
        let kept = keep(&self.0, &m.run, &m.claimed, m.fetched);
        if kept.as_ref().map_or(true, |c| c.dropped > 0) {
            told.outcome = None;
        }
        let settled = self.0.queue.settle(&self.0, &m.claimed, told);
        let counters = kept?;
        settled?;
        Ok(counters)
    }
}
