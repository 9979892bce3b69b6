//! `status`: the node at a glance.

use super::packs::{PackRow, newest_pack};
use super::runs::{RunRow, newest_run};
use crate::admin::AdminContext;
use crate::admin::protocol::AdminError;
use datanode_schema::clock::rfc3339;
use datanode_schema::trees::{BOOKMARKS, LEASES};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The answer of `status`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The data folder.
    pub data_dir: String,
    /// The node's time.
    pub now: String,
    /// When the process started.
    pub started_at: String,
    /// Seconds since then.
    pub uptime_seconds: i64,
    /// Facts of the running process.
    pub live: Value,
    /// The newest cycle.
    pub last_run: Option<RunRow>,
    /// The newest pack that was not removed.
    pub last_pack: Option<PackRow>,
    /// Sessions by absence.
    pub queue: BTreeMap<&'static str, u64>,
    /// Partitions by verdict.
    pub ledger: BTreeMap<&'static str, u64>,
    /// Leases.
    pub leases: u64,
    /// Bookmarks.
    pub bookmarks: u64,
    /// Number of the last durable commit.
    pub commit: u64,
    /// Bytes free on the disk of the data folder; null where the system does not say.
    pub disk_free_bytes: Option<u64>,
}

pub(super) fn status(ctx: &AdminContext) -> Result<Status, AdminError> {
    let (_, counts) = ctx.counted.lately(&ctx.store)?;
    let now = ctx.clock.now();
    Ok(Status {
        version: ctx.version.clone(),
        data_dir: ctx.data.root().display().to_string(),
        now: rfc3339(now),
        started_at: rfc3339(ctx.started_at),
        uptime_seconds: (now - ctx.started_at).num_seconds().max(0),
        live: (ctx.live)(),
        last_run: newest_run(&ctx.store)?.map(|(id, r)| RunRow::of(&id, &r)),
        last_pack: newest_pack(&ctx.store)?.map(|(id, p)| PackRow::of(&id, &p)),
        queue: counts.queue(),
        ledger: counts.ledger(),
        leases: ctx.store.len(LEASES.name),
        bookmarks: ctx.store.len(BOOKMARKS.name),
        commit: ctx.store.commit_number(),
        disk_free_bytes: (ctx.disk_free)(),
    })
}
