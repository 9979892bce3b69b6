//! The audit's shell.

use super::{AuditCounters, AuditError, Scope, audit};
use crate::node::{Node, RunContext};
use actix::{Actor, Handler, Message, SyncContext};
use std::sync::Arc;

/// Audits what is in scope, up to the run's session.
#[derive(Message)]
#[rtype(result = "Result<AuditCounters, AuditError>")]
pub struct Audit(pub Arc<RunContext>, pub Scope);

/// The shell.
pub struct AuditActor(pub Arc<Node>);

impl Actor for AuditActor {
    type Context = SyncContext<Self>;
}

impl Handler<Audit> for AuditActor {
    type Result = Result<AuditCounters, AuditError>;

    fn handle(&mut self, m: Audit, _: &mut Self::Context) -> Self::Result {
        audit(&self.0, &m.0, m.1)
    }
}
