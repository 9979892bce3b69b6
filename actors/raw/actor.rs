//! Raw's shell: answers are kept on threads of their own; two answers for one symbol never at once.

use super::{RawError, Turns, keep};
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

/// The shell; its workers share `turns`.
pub struct RawActor {
    /// The node.
    pub node: Arc<Node>,
    /// Whose turn it is, by symbol.
    pub turns: Arc<Turns>,
}

impl Actor for RawActor {
    type Context = SyncContext<Self>;
}

impl Handler<Keep> for RawActor {
    type Result = Result<VendorCounters, RawError>;

    fn handle(&mut self, m: Keep, _: &mut Self::Context) -> Self::Result {
        let _turn = self.turns.take(m.claimed.ask.dataset, &m.claimed.ask.symbols);
        keep(&self.node, &m.run, &m.claimed, m.fetched)
    }
}
