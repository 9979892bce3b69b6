//! The queue's shell: claims, one at a time, on a thread of its own.

use super::{Claimed, Claims, QueueError};
use crate::node::RunContext;
use crate::vendor::Purpose;
use actix::{Actor, Handler, Message, SyncContext};
use datanode_schema::names::Vendor;
use std::sync::Arc;

/// Gives a vendor its next ask.
#[derive(Message)]
#[rtype(result = "Result<Option<Claimed>, QueueError>")]
pub struct Claim {
    /// The run.
    pub run: Arc<RunContext>,
    /// Who asks for work.
    pub vendor: Vendor,
    /// Which kind of work.
    pub purpose: Purpose,
}

/// The shell.
pub struct QueueActor(Claims);

impl QueueActor {
    /// A shell over claims.
    pub fn new(claims: Claims) -> Self {
        Self(claims)
    }
}

impl Actor for QueueActor {
    type Context = SyncContext<Self>;
}

impl Handler<Claim> for QueueActor {
    type Result = Result<Option<Claimed>, QueueError>;

    fn handle(&mut self, m: Claim, _: &mut Self::Context) -> Self::Result {
        self.0.next(&m.run, m.vendor, m.purpose)
    }
}
