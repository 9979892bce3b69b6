//! Raw's shell: one answer after the other, on a thread of its own.

use super::{RawError, keep};
use crate::node::{Node, RunContext};
use crate::queue::Claimed;
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
        keep(&self.0, &m.run, &m.claimed, m.fetched)
    }
}
