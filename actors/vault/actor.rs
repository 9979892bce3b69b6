//! The shell of the vault.

use super::upkeep::{UpkeepCounters, upkeep};
use crate::node::Node;
use actix::{Actor, Handler, Message, SyncContext};
use datanode_schema::store::StoreError;
use std::sync::Arc;

/// Looks after the vault, once a nightly cycle: what is to be copied, what is to be read again.
#[derive(Message)]
#[rtype(result = "Result<UpkeepCounters, StoreError>")]
pub struct Upkeep;

/// The shell.
pub struct VaultActor(pub Arc<Node>);

impl Actor for VaultActor {
    type Context = SyncContext<Self>;
}

impl Handler<Upkeep> for VaultActor {
    type Result = Result<UpkeepCounters, StoreError>;

    fn handle(&mut self, _: Upkeep, _: &mut Self::Context) -> Self::Result {
        upkeep(&self.0)
    }
}
