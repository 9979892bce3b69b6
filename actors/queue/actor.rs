//! The queue's shell: claims are committed on threads of their own, so that those of several vendors share a sync.

use super::{Next, QueueError};
use crate::node::{Node, RunContext};
use crate::vendor::Purpose;
use actix::{Actor, Handler, Message, SyncContext};
use datanode_schema::names::Vendor;
use std::sync::Arc;

/// Begins a stage.
#[derive(Message)]
#[rtype(result = "Result<(), QueueError>")]
pub struct Begin {
    /// The run.
    pub run: Arc<RunContext>,
    /// Which kind of work.
    pub purpose: Purpose,
}

/// Gives a vendor its next ask.
#[derive(Message)]
#[rtype(result = "Result<Next, QueueError>")]
pub struct Claim {
    /// The run.
    pub run: Arc<RunContext>,
    /// Who asks for work.
    pub vendor: Vendor,
}

/// The shell.
pub struct QueueActor(pub Arc<Node>);

impl Actor for QueueActor {
    type Context = SyncContext<Self>;
}

impl Handler<Begin> for QueueActor {
    type Result = Result<(), QueueError>;

    fn handle(&mut self, m: Begin, _: &mut Self::Context) -> Self::Result {
        self.0.queue.begin(&self.0, &m.run, m.purpose)
    }
}

impl Handler<Claim> for QueueActor {
    type Result = Result<Next, QueueError>;

    fn handle(&mut self, m: Claim, _: &mut Self::Context) -> Self::Result {
        self.0.queue.next(&self.0, &m.run, m.vendor)
    }
}
