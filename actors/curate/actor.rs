//! Curate's shell.

use super::{CurateCounters, CurateError, curate};
use crate::node::Node;
use actix::{Actor, Handler, Message, SyncContext};
use std::sync::Arc;

/// Rebuilds what is touched.
#[derive(Message)]
#[rtype(result = "Result<CurateCounters, CurateError>")]
pub struct Curate;

/// The shell.
pub struct CurateActor(pub Arc<Node>);

impl Actor for CurateActor {
    type Context = SyncContext<Self>;
}

impl Handler<Curate> for CurateActor {
    type Result = Result<CurateCounters, CurateError>;

    fn handle(&mut self, _: Curate, _: &mut Self::Context) -> Self::Result {
        curate(&self.0)
    }
}
