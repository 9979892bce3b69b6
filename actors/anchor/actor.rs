//! The shell of the anchor log.

use super::{AnchorCounters, AnchorError, anchor};
use crate::node::Node;
use actix::{Actor, Handler, Message, SyncContext};
use std::sync::Arc;

/// Enters what is sealed and not in the log.
#[derive(Message)]
#[rtype(result = "Result<AnchorCounters, AnchorError>")]
pub struct Anchor;

/// The shell.
pub struct AnchorActor(pub Arc<Node>);

impl Actor for AnchorActor {
    type Context = SyncContext<Self>;
}

impl Handler<Anchor> for AnchorActor {
    type Result = Result<AnchorCounters, AnchorError>;

    fn handle(&mut self, _: Anchor, _: &mut Self::Context) -> Self::Result {
        anchor(&self.0)
    }
}
