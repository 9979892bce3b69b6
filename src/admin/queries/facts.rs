//! The node's health in figures: what the page, `/metrics`, alerts and `doctor` say comes from here.
//!
//! Cheap enough to be asked every few seconds at millions of tasks: what has to be counted is counted where the state changed (see
//! [`super::Counted`]), and on a large state not more often than its counting costs allow; the rest is read from small trees or is in memory.
//! Times are unix seconds, 0 or null where there is none; lists are sorted by name.

use super::Counted;
use super::packs::newest_pack;
use crate::admin::AdminContext;
use crate::admin::protocol::AdminError;
use chrono::{DateTime, Utc};
use datanode_actors::anchor::unanchored;
use datanode_actors::node::Node;
use datanode_actors::vault::scrub;
use datanode_schema::clock::{date_of, day_number};
use datanode_schema::names::{IncidentKind, Vendor};
use datanode_schema::records::{BudgetRecord, Incident};
use datanode_schema::store::StoreError;
use datanode_schema::trees::{
    BUDGETS, CHUNKS, COUNTERS, INCIDENTS, LEASES, LOG_HEADS, PACKS, REPLICATED, SEALINGS, VENDOR_STATES,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Incidents that are told one by one; the counts are of all.
const MOST_INCIDENTS: usize = 100;

/// The figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// The node's time.
    pub at: i64,
    /// Seconds since the process started, by the node's clock.
    pub uptime_seconds: i64,
    /// Number of the last durable commit.
    pub commit: u64,
    /// Why the state takes no more commits; null while it does.
    pub store_stopped: Option<String>,
    /// Commits since `gaps`, `queue` and `ledger` were counted; 0 where they are of now.
    pub counted_commits_ago: u64,
    /// Sessions by dataset and absence; datasets that have none are left out.
    pub gaps: Vec<GapFact>,
    /// Sessions by absence, over all datasets.
    pub queue: BTreeMap<&'static str, u64>,
    /// Partitions by verdict.
    pub ledger: BTreeMap<&'static str, u64>,
    /// Sessions whose retries are used up: a person may revive them. The same as `queue.unobtainable`.
    pub stalled: u64,
    /// The oldest session that is missing or short, in days before today; null where there is none.
    pub oldest_missing_days: Option<i64>,
    /// What waits for vendors in the stage under way, by class (`today`, `recent`, `history`) and dataset: pages of a month.
    pub lanes: Vec<LaneFact>,
    /// Leases.
    pub leases: u64,
    /// Vendors of the registry.
    pub vendors: Vec<VendorFact>,
    /// The newest run, of any stages.
    pub last_run: Option<RunFact>,
    /// The newest run of all stages.
    pub last_cycle: Option<RunFact>,
    /// When the newest cycle ended that published or confirmed a pack; 0 before the first.
    pub last_good_at: i64,
    /// Whole cycles that ended well, of those on record.
    pub cycles_good: u64,
    /// Whole cycles that stopped with an error, of those on record.
    pub cycles_failed: u64,
    /// Packs that stand on this disk.
    pub packs: u64,
    /// The newest of them.
    pub newest_pack: Option<PackFact>,
    /// Packs that were published since the node began.
    pub exports_made: u64,
    /// Packs that were refused: the last good one stays.
    pub exports_refused: u64,
    /// Open incidents by kind; every kind is there.
    pub incidents_by_kind: BTreeMap<&'static str, u64>,
    /// Open incidents, the newest first; at most a hundred.
    pub incidents: Vec<IncidentFact>,
    /// The disk of the data folder; null where the system does not say.
    pub disk: Option<DiskFact>,
    /// Bytes of the folder of the state.
    pub state_bytes: u64,
    /// Seconds by which this machine's clock is ahead of what vendors say (the median of theirs); null where none said.
    pub clock_ahead_seconds: Option<i64>,
    /// The vault and its log.
    pub vault: VaultFact,
    /// Destinations of packs.
    pub ship: Vec<ShipFact>,
}

/// Absent sessions of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GapFact {
    /// The dataset.
    pub dataset: &'static str,
    /// Sessions by absence; every absence is there.
    pub sessions: BTreeMap<&'static str, u64>,
    /// The oldest that is missing or short, `YYYY-MM-DD`.
    pub oldest_missing: Option<String>,
    /// Its age in days.
    pub oldest_missing_days: Option<i64>,
}

/// What waits in a lane of the queue, vendors aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneFact {
    /// `today`, `recent` or `history`.
    pub class: &'static str,
    /// The dataset.
    pub dataset: &'static str,
    /// Pages of a month.
    pub pages: u64,
}

/// A vendor.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VendorFact {
    /// Its name.
    pub vendor: &'static str,
    /// Whether the configuration enables it.
    pub enabled: bool,
    /// Whether a person paused it.
    pub paused: bool,
    /// Requests spent or reserved on this UTC day.
    pub spent_today: u64,
    /// Requests that this day still allows; null where the day has no limit.
    pub left_today: Option<u64>,
    /// The same as a share of the day's limit, from 0 to 1.
    pub left_ratio: Option<f64>,
    /// Requests since the node began.
    pub spent_total: u64,
    /// Until when it asked to be left alone; 0 where that is over.
    pub closed_until: i64,
    /// What was asked and answered since the process started.
    pub traffic: datanode_actors::vendor::Traffic,
}

/// A run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RunFact {
    /// Its id.
    pub run_id: String,
    /// `done`, `stopped` or `open`.
    pub state: &'static str,
    /// When it was first started.
    pub started_at: i64,
    /// When it ended; 0 while it is open.
    pub finished_at: i64,
    /// The pack that it published or confirmed; empty where there is none.
    pub export_id: String,
    /// Why it stopped; empty where it did not.
    pub error: String,
    /// Stages that are done, in order: name and milliseconds.
    pub stages: Vec<(&'static str, u64)>,
}

/// The newest pack.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PackFact {
    /// Its id.
    pub export_id: String,
    /// The last session considered, `YYYY-MM-DD`.
    pub as_of: String,
    /// The recorded time of its run.
    pub created_at: i64,
    /// Seconds since then.
    pub age_seconds: i64,
    /// Its files, manifest and sums included.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Whether it is sealed.
    pub sealed: bool,
}

/// An open incident.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IncidentFact {
    /// Its number.
    pub id: u64,
    /// Its kind.
    pub kind: &'static str,
    /// What it is about.
    pub artifact: String,
    /// What is wrong.
    pub note: String,
    /// When it was opened.
    pub opened_at: i64,
}

/// The disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DiskFact {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub size_bytes: u64,
    /// Files that may still be made; 0 where the file system has no such limit.
    pub free_inodes: u64,
    /// Files in all; 0 where the file system has no such limit.
    pub inodes: u64,
    /// Below this many free bytes the state takes no more commits.
    pub floor_bytes: u64,
    /// Days until nothing is free, by what the last evenings of up to a fortnight took; null where it does not shrink, or is not known yet.
    pub days_until_full: Option<f64>,
}

/// The vault and its log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VaultFact {
    /// Sealings, those included that are not whole yet.
    pub sealings: u64,
    /// Objects, as the state knows them.
    pub objects: u64,
    /// Sealings that are not in the log yet.
    pub not_anchored: u64,
    /// Entries of the log.
    pub log_entries: u64,
    /// Things that were wrong when it was last read, and are not repaired.
    pub bad: u64,
    /// When a part of it was last read; 0: never.
    pub read_at: i64,
    /// Bytes of that part.
    pub read_bytes: u64,
    /// When all of it was last read through; 0: never.
    pub read_through_at: i64,
    /// Since when the second copy is not in step; 0 where it is, or there is none.
    pub replica_down_since: i64,
}

/// A destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShipFact {
    /// Its name.
    pub destination: String,
    /// Packs and sealings that arrived.
    pub shipped: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Why the last attempt of this process failed; empty where it did not.
    pub error: String,
    /// When it did; 0 where it did not.
    pub error_at: i64,
}

/// What the figures are made of.
pub struct Seen<'a> {
    /// The node.
    pub node: &'a Node,
    /// Vendors that are enabled, the collector's too.
    pub enabled: &'a BTreeSet<Vendor>,
    /// What was counted last.
    pub counted: &'a Counted,
    /// When the process started.
    pub started_at: DateTime<Utc>,
    /// Bytes free on the disk of the data folder.
    pub disk_free: Option<u64>,
}

/// The figures as they stand, of a running node. Blocking: it reads the store.
///
/// # Errors
/// The store's.
pub fn facts(ctx: &AdminContext) -> Result<Facts, AdminError> {
    let (node, enabled, counted) = (&*ctx.desk.node, &ctx.enabled, &ctx.counted);
    Ok(facts_of(&Seen { node, enabled, counted, started_at: ctx.started_at, disk_free: (ctx.disk_free)() })?)
}

/// The same where no admin socket is served.
///
/// # Errors
/// The store's.
pub fn facts_of(seen: &Seen<'_>) -> Result<Facts, StoreError> {
    let ctx = seen;
    let (store, node) = (&seen.node.store, seen.node);
    let (now, commit) = (node.clock.now(), store.commit_number());
    let (at, today) = (now.timestamp(), day_number(now.date_naive()));
    let (counted_at, counts) = ctx.counted.lately(store)?;
    let runs = ctx.counted.runs(store)?;
    let incidents = store.load_all(&INCIDENTS, &[])?;
    let open: Vec<&(u64, Incident)> = incidents.iter().filter(|(_, i)| i.is_open()).collect();
    let counters: BTreeMap<String, u64> = store.load_all(&COUNTERS, &[])?.into_iter().collect();
    let gaps: Vec<GapFact> = counts.gaps.iter().map(|(d, g)| g.fact(*d, today)).collect();
    let queue = counts.queue();
    Ok(Facts {
        at,
        uptime_seconds: (now - ctx.started_at).num_seconds().max(0),
        commit,
        store_stopped: store.stopped(),
        counted_commits_ago: commit.saturating_sub(counted_at),
        stalled: queue.get("unobtainable").copied().unwrap_or(0),
        oldest_missing_days: gaps.iter().filter_map(|g| g.oldest_missing_days).max(),
        gaps,
        queue,
        ledger: counts.ledger(),
        lanes: lanes(ctx),
        leases: store.len(LEASES.name),
        vendors: vendors(ctx, today, at)?,
        last_run: runs.newest.clone(),
        last_cycle: runs.newest_cycle.clone(),
        last_good_at: runs.last_good_at,
        cycles_good: runs.good,
        cycles_failed: runs.failed,
        packs: store.load_all(&PACKS, &[])?.iter().filter(|(_, p)| p.removed_at == 0).count() as u64,
        newest_pack: newest_pack(store)?.map(|(id, p)| PackFact {
            export_id: id,
            as_of: date_of(p.as_of).to_string(),
            created_at: p.created_at,
            age_seconds: at.saturating_sub(p.created_at).max(0),
            files: p.files,
            bytes: p.bytes,
            rows: p.rows,
            sealed: !p.pack_uid.is_empty(),
        }),
        exports_made: counters.get("export/made").copied().unwrap_or(0),
        exports_refused: counters.get("export/refused").copied().unwrap_or(0),
        incidents_by_kind: IncidentKind::ALL
            .iter()
            .map(|k| (k.name(), open.iter().filter(|(_, i)| i.kind == k.number()).count() as u64))
            .collect(),
        incidents: open.iter().rev().take(MOST_INCIDENTS).map(|(id, i)| incident(*id, i)).collect(),
        disk: super::disk::disk(ctx, &counters, today),
        state_bytes: super::disk::folder_bytes(&node.data.state()),
        clock_ahead_seconds: node.meter.clock_ahead(),
        vault: vault(ctx)?,
        ship: ship(ctx, &counters),
    })
}

fn lanes(ctx: &Seen<'_>) -> Vec<LaneFact> {
    let depths = ctx.node.queue.depths();
    depths.into_iter().map(|((class, d), n)| LaneFact { class: class.name(), dataset: d.name(), pages: n }).collect()
}

fn incident(id: u64, i: &Incident) -> IncidentFact {
    let kind = IncidentKind::from_number(i.kind).map_or("unknown", IncidentKind::name);
    IncidentFact { id, kind, artifact: i.artifact.clone(), note: i.note.clone(), opened_at: i.opened_at }
}

fn vendors(ctx: &Seen<'_>, today: i32, at: i64) -> Result<Vec<VendorFact>, StoreError> {
    let registry = ctx.node.registry();
    let row = |(v, caps): (&Vendor, &datanode_schema::registry::VendorCaps)| {
        let name = v.name().to_owned();
        let b: BudgetRecord = ctx.node.store.load(&BUDGETS, &name)?.unwrap_or_default();
        let spent_today = if b.day == today { b.today } else { 0 };
        let per_day = caps.limits.per_day;
        let left = (per_day > 0).then(|| per_day.saturating_sub(spent_today));
        Ok(VendorFact {
            vendor: v.name(),
            enabled: ctx.enabled.contains(v),
            paused: ctx.node.store.load(&VENDOR_STATES, &name)?.is_some_and(|s| s.paused),
            spent_today,
            left_today: left,
            left_ratio: left.map(|l| l as f64 / per_day as f64),
            spent_total: b.total,
            closed_until: if b.closed_until > at { b.closed_until } else { 0 },
            traffic: ctx.node.meter.of(*v),
        })
    };
    registry.vendors.iter().map(row).collect()
}

fn vault(ctx: &Seen<'_>) -> Result<VaultFact, StoreError> {
    let node = ctx.node;
    let scrubbed = scrub::load(&ctx.node.store)?.unwrap_or_default();
    Ok(VaultFact {
        sealings: ctx.node.store.len(SEALINGS.name),
        objects: ctx.node.store.len(CHUNKS.name),
        not_anchored: unanchored(node)?,
        log_entries: ctx
            .node
            .store
            .load(&LOG_HEADS, &node.publishing.anchor.key.public().to_owned())?
            .map_or(0, |h| h.size),
        bad: scrubbed.bad,
        read_at: scrubbed.read_at,
        read_bytes: scrubbed.bytes,
        read_through_at: scrubbed.ended_at,
        replica_down_since: ctx.node.store.load(&REPLICATED, &".down".to_owned())?.map_or(0, |r| r.at),
    })
}

fn ship(ctx: &Seen<'_>, counters: &BTreeMap<String, u64>) -> Vec<ShipFact> {
    let node = ctx.node;
    let all = node.publishing.destinations.current();
    let row = |name: &String| {
        let count = |what: &str| counters.get(&format!("ship/{name}/{what}")).copied().unwrap_or(0);
        let p = node.shipping.of(name);
        let (shipped, failed) = (count("shipped"), count("failed"));
        ShipFact { destination: name.clone(), shipped, failed, error: p.last_error, error_at: p.last_error_at }
    };
    all.iter().map(|d| row(&d.name)).collect()
}
