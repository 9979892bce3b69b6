//! The shell of sealing.

use crate::node::Node;
use crate::seal::stage::{SealCounters, SealStageError, seal_night};
use actix::{Actor, Handler, Message, SyncContext};
use std::sync::Arc;

/// Seals a pack, and what earlier nights left.
#[derive(Message)]
#[rtype(result = "Result<SealCounters, SealStageError>")]
pub struct Seal(pub String);

/// The shell.
pub struct SealActor(pub Arc<Node>);

impl Actor for SealActor {
    type Context = SyncContext<Self>;
}

impl Handler<Seal> for SealActor {
    type Result = Result<SealCounters, SealStageError>;

    fn handle(&mut self, m: Seal, _: &mut Self::Context) -> Self::Result {
        seal_night(&self.0, &m.0)
    }
}
