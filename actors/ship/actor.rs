//! The shell of shipping.

use super::{ShipCounters, ShipError, ship};
use crate::node::Node;
use actix::{Actor, Handler, Message, SyncContext};
use std::sync::Arc;

/// Brings a pack to its destination.
#[derive(Message)]
#[rtype(result = "Result<ShipCounters, ShipError>")]
pub struct Ship(pub String);

/// The shell.
pub struct ShipActor(pub Arc<Node>);

impl Actor for ShipActor {
    type Context = SyncContext<Self>;
}

impl Handler<Ship> for ShipActor {
    type Result = Result<ShipCounters, ShipError>;

    fn handle(&mut self, m: Ship, _: &mut Self::Context) -> Self::Result {
        ship(&self.0, &m.0)
    }
}
