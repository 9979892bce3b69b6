//! `status`: the node at a glance.

use super::packs::{PackRow, newest_pack};
use super::runs::{RunRow, newest_run};
use crate::admin::AdminContext;
use crate::admin::protocol::AdminError;
use datanode_schema::clock::rfc3339;
use datanode_schema::names::{Absence, Verdict};
use datanode_schema::store::{Store, StoreError};
use datanode_schema::trees::{BOOKMARKS, GAPS, LEASES, LEDGER};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

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

/// The absences and verdicts, as counted at a commit: counting reads every page, and a page that is asked for every few
/// seconds should not.
#[derive(Debug, Default)]
pub struct Counted(Mutex<Option<(u64, Counts)>>);

#[derive(Clone, Debug)]
struct Counts {
    queue: BTreeMap<&'static str, u64>,
    ledger: BTreeMap<&'static str, u64>,
}

impl Counted {
    fn at_now(&self, store: &Store) -> Result<Counts, StoreError> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Read before counting: what is committed meanwhile makes the next question count again.
        let commit = store.commit_number();
        if let Some((at, counts)) = last.as_ref()
            && *at == commit
        {
            return Ok(counts.clone());
        }
        let counts = count(store)?;
        *last = Some((commit, counts.clone()));
        Ok(counts)
    }
}

fn count(store: &Store) -> Result<Counts, StoreError> {
    let mut states = [0u64; 256];
    store.scan(&GAPS, &[], |_, page| {
        page.groups.iter().for_each(|g| bump(&mut states, g.state, u64::from(g.days.to_native().count_ones())));
        ControlFlow::Continue(())
    })?;
    let mut verdicts = [0u64; 256];
    store.scan(&LEDGER, &[], |_, page| {
        page.groups.iter().for_each(|g| bump(&mut verdicts, g.verdict, u64::from(g.days.to_native().count_ones())));
        ControlFlow::Continue(())
    })?;
    let at = |counts: &[u64; 256], n: u8| counts.get(usize::from(n)).copied().unwrap_or(0);
    Ok(Counts {
        queue: Absence::ALL.iter().map(|a| (a.name(), at(&states, a.number()))).collect(),
        ledger: Verdict::ALL.iter().map(|v| (v.name(), at(&verdicts, v.number()))).collect(),
    })
}

fn bump(counts: &mut [u64; 256], n: u8, by: u64) {
    if let Some(c) = counts.get_mut(usize::from(n)) {
        *c += by;
    }
}

pub(super) fn status(ctx: &AdminContext) -> Result<Status, AdminError> {
    let counts = ctx.counted.at_now(&ctx.store)?;
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
        queue: counts.queue,
        ledger: counts.ledger,
        leases: ctx.store.len(LEASES.name),
        bookmarks: ctx.store.len(BOOKMARKS.name),
        commit: ctx.store.commit_number(),
        disk_free_bytes: (ctx.disk_free)(),
    })
}
