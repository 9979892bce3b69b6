//! Export's shell.

use super::{ExportCounters, ExportError, export};
use crate::node::{Node, RunContext};
use actix::{Actor, Handler, Message, SyncContext};
use std::sync::Arc;

/// Publishes the run's pack.
#[derive(Message)]
#[rtype(result = "Result<ExportCounters, ExportError>")]
pub struct Export(pub Arc<RunContext>);

/// The shell.
pub struct ExportActor(pub Arc<Node>);

impl Actor for ExportActor {
    type Context = SyncContext<Self>;
}

impl Handler<Export> for ExportActor {
    type Result = Result<ExportCounters, ExportError>;

    fn handle(&mut self, m: Export, _: &mut Self::Context) -> Self::Result {
        export(&self.0, &m.0)
    }
}
