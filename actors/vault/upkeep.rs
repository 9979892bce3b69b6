//! What the vault needs each night, once its newest sealing is anchored: a part of it read again, the replica kept in step, the beacon.

use super::replica::replicate;
use super::scrub::{last, scrub};
use super::{Vault, beacon};
use crate::node::Node;
use crate::seal::stage::SealStageError;
use chrono::DateTime;
use datanode_schema::failpoint;
use datanode_schema::store::StoreError;

/// What upkeep did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct UpkeepCounters {
    /// Objects that were read and compared.
    pub scrubbed: u64,
    /// Bytes of them.
    pub scrubbed_bytes: u64,
    /// Things that were wrong with the vault.
    pub bad: u64,
    /// Of those, repaired.
    pub repaired: u64,
    /// Packs that were sealed anew, since their sealing could not be repaired.
    pub sealed_anew: u64,
    /// 1 where reading could not be done.
    pub scrub_failed: u64,
    /// Files that the replica got.
    pub replicated: u64,
    /// Bytes of them.
    pub replicated_bytes: u64,
    /// Files that were damaged or lost at the replica, and were brought again.
    pub replica_repaired: u64,
    /// Files that went from the replica.
    pub replica_removed: u64,
    /// 1 where the replica is not wholly in step.
    pub replica_failed: u64,
    /// 1 where no beacon was published.
    pub beacon_failed: u64,
}

/// Does it. What fails is logged, counted and an incident; the night is none the worse for it.
///
/// # Errors
/// The store's.
pub fn upkeep(node: &Node) -> Result<UpkeepCounters, StoreError> {
    let mut c = UpkeepCounters::default();
    let vault = match Vault::open(&node.data.vault()) {
        Ok(vault) => vault.with_threads(node.threads),
        Err(e) => {
            tracing::error!(error = %e, "the vault cannot be opened");
            (c.scrub_failed, c.replica_failed) = (1, u64::from(node.publishing.vault.replica.is_some()));
            return Ok(c);
        }
    };
    match scrub(node, &vault) {
        Ok(s) => {
            (c.scrubbed, c.scrubbed_bytes) = (s.objects, s.bytes);
            (c.bad, c.repaired, c.sealed_anew) = (s.bad, s.repaired, s.anew);
        }
        Err(SealStageError::Store(e)) => return Err(e),
        Err(e) => {
            tracing::error!(error = %e, "the vault could not be read through");
            c.scrub_failed = 1;
        }
    }
    failpoint::pass("vault.scrubbed");
    let r = replicate(node, &vault)?;
    (c.replicated, c.replicated_bytes) = (r.brought, r.bytes);
    (c.replica_repaired, c.replica_removed, c.replica_failed) = (r.repaired, r.removed, r.failed);
    let scrubbed_at = last(&node.store)?.and_then(|at| DateTime::from_timestamp(at, 0));
    if let Err(e) = beacon::publish(node, scrubbed_at) {
        tracing::error!(error = %e, "no beacon was published");
        c.beacon_failed = 1;
    }
    Ok(c)
}
