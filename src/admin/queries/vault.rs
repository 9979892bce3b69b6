//! `vault`: the vault at a glance.

use crate::admin::AdminContext;
use crate::admin::protocol::{AdminError, Code};
use datanode_actors::vault::{Vault, read_tombstones, scrub};
use datanode_schema::clock::rfc3339_of;
use datanode_schema::trees::{INCIDENTS, REPLICATED, SEALINGS};
use serde::Serialize;
use std::ops::ControlFlow;

/// The answer of `vault`.
#[derive(Clone, Debug, Serialize)]
pub struct VaultStatus {
    /// Sealings that are whole.
    pub sealings: u64,
    /// Objects, as the state knows them.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When all of it was last read through.
    pub read_through: Option<String>,
    /// When a part of it was last read.
    pub last_read: Option<String>,
    /// Bytes of that part.
    pub last_read_bytes: u64,
    /// Things that were wrong then and are not repaired.
    pub bad: u64,
    /// Open incidents about it.
    pub incidents: u64,
    /// Sealings and objects that wait for their deletion.
    pub tombstones: u64,
    /// Where the replica is.
    pub replica: Option<String>,
    /// Files that are there.
    pub replicated: u64,
    /// Since when it is not in step.
    pub replica_down_since: Option<String>,
}

pub(super) fn show(ctx: &AdminContext) -> Result<VaultStatus, AdminError> {
    let node = &ctx.desk.node;
    let failed = |e: String| AdminError::new(Code::Failed, e);
    let (objects, bytes) = *ctx.known.objects(ctx)?;
    let mut sealings = 0;
    ctx.store.scan(&SEALINGS, &[], |_, s| {
        sealings += u64::from(s.done == 1);
        ControlFlow::Continue(())
    })?;
    let (mut replicated, mut down) = (0, None);
    ctx.store.scan(&REPLICATED, &[], |path, r| {
        match path.as_str() {
            ".down" => down = Some(r.at.to_native()),
            p if p.starts_with('.') => {}
            _ => replicated += 1,
        }
        ControlFlow::Continue(())
    })?;
    let scrubbed = scrub::load(&ctx.store)?.unwrap_or_default();
    let at = |t: i64| (t > 0).then(|| rfc3339_of(t));
    let incidents = ctx.store.load_all(&INCIDENTS, &[])?;
    let open = incidents.iter().filter(|(_, i)| i.is_open() && i.artifact.starts_with("vault/")).count();
    let tombstones = match Vault::at(&node.data.vault()) {
        Ok(vault) => read_tombstones(&vault).map_err(|e| failed(e.to_string()))?.len() as u64,
        Err(_) => 0,
    };
    Ok(VaultStatus {
        sealings,
        objects,
        bytes,
        read_through: at(scrubbed.ended_at),
        last_read: at(scrubbed.read_at),
        last_read_bytes: scrubbed.bytes,
        bad: scrubbed.bad,
        incidents: open as u64,
        tombstones,
        replica: node.publishing.vault.replica.as_ref().map(|r| r.access.url.clone()),
        replicated,
        replica_down_since: down.and_then(at),
    })
}
