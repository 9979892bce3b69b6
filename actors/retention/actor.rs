//! The shell of retention.

use super::{RetentionCounters, RetentionError, retain};
use crate::node::Node;
use actix::{Actor, Handler, Message, SyncContext};
use std::sync::Arc;

/// Removes what the rules no longer keep; the id is that of the run's own pack.
#[derive(Message)]
#[rtype(result = "Result<RetentionCounters, RetentionError>")]
pub struct Retain(pub String);

/// The shell.
pub struct RetentionActor(pub Arc<Node>);

impl Actor for RetentionActor {
    type Context = SyncContext<Self>;
}

impl Handler<Retain> for RetentionActor {
    type Result = Result<RetentionCounters, RetentionError>;

    fn handle(&mut self, m: Retain, _: &mut Self::Context) -> Self::Result {
        retain(&self.0, &m.0)
    }
}
