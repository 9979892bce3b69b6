//! The shell of shipping and retention.

use super::{RetentionCounters, ShipCounters, ShipError, retain, ship};
use crate::node::Node;
use actix::{Actor, Handler, Message, SyncContext};
use std::sync::Arc;

/// Brings a pack to its destination.
#[derive(Message)]
#[rtype(result = "Result<ShipCounters, ShipError>")]
pub struct Ship(pub String);

/// Removes what the rules no longer keep.
#[derive(Message)]
#[rtype(result = "Result<RetentionCounters, ShipError>")]
pub struct Retain(pub String);

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

impl Handler<Retain> for ShipActor {
    type Result = Result<RetentionCounters, ShipError>;

    fn handle(&mut self, m: Retain, _: &mut Self::Context) -> Self::Result {
        retain(&self.0, &m.0)
    }
}
