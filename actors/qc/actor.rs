//! QC's shell.

use super::{QcCounters, QcError, qc};
use crate::node::Node;
use actix::{Actor, Handler, Message, SyncContext};
use std::sync::Arc;

/// Judges what changed.
#[derive(Message)]
#[rtype(result = "Result<QcCounters, QcError>")]
pub struct Judge;

/// The shell.
pub struct QcActor(pub Arc<Node>);

impl Actor for QcActor {
    type Context = SyncContext<Self>;
}

impl Handler<Judge> for QcActor {
    type Result = Result<QcCounters, QcError>;

    fn handle(&mut self, _: Judge, _: &mut Self::Context) -> Self::Result {
        qc(&self.0)
    }
}
