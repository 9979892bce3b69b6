//! What every stage shares: the store, the folder, the clock, the registry, and the run that is under way.

use crate::live::{Configured, Live};
use crate::publishing::Publishing;
use crate::quarantine::Acts;
use crate::queue::Claims;
use crate::raw::Turns;
use chrono::{DateTime, NaiveDate, Utc};
use datanode_schema::clock::{Clock, day_number};
use datanode_schema::names::Vendor;
use datanode_schema::paths::DataDir;
use datanode_schema::records::PackRecord;
use datanode_schema::registry::Registry;
use datanode_schema::store::{Batch, Store, StoreError};
use datanode_schema::trees::{COUNTERS, PACKS};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One node.
pub struct Node {
    /// Durable state.
    pub store: Store,
    /// The data folder.
    pub data: DataDir,
    /// Time.
    pub clock: Clock,
    /// Vendors that are enabled.
    pub enabled: BTreeSet<Vendor>,
    /// Drawn at start: whose leases are ours.
    pub holder: u64,
    /// The kernel's name for this boot.
    pub boot_id: String,
    /// How long a claim stands.
    pub lease_ms: u64,
    /// What a scheduled run may use up.
    pub caps: RunCaps,
    /// Whose turn it is to change the files and pages of a symbol.
    pub turns: Turns,
    /// Who is at work on what, and who is to do what next.
    pub queue: Claims,
    /// The producer's name in manifests.
    pub host_id: String,
    /// The source part of export ids.
    pub source: String,
    /// The registry and its hash, which a reload swaps.
    pub live: Live,
    /// Threads for CPU work.
    pub threads: usize,
    /// Sealing, shipping, retention.
    pub publishing: Publishing,
    /// Holds, releases, incidents.
    pub acts: Acts,
    /// What is on its way to destinations.
    pub shipping: crate::ship::Board,
    /// What was asked of vendors and answered since the process started.
    pub meter: crate::vendor::Meter,
    stopping: Arc<AtomicBool>,
}

/// What [`Node::new`] is made of.
pub struct NodeParts {
    /// See [`Node`].
    pub store: Store,
    /// See [`Node`].
    pub data: DataDir,
    /// See [`Node`].
    pub clock: Clock,
    /// See [`Node`].
    pub enabled: BTreeSet<Vendor>,
    /// See [`Node`].
    pub lease_ms: u64,
    /// See [`Node`].
    pub caps: RunCaps,
    /// See [`Node`].
    pub host_id: String,
    /// See [`Node`].
    pub source: String,
    /// Hex SHA-256 of the settings and registries that decide what a pack holds.
    pub config_sha256: String,
    /// See [`Node`].
    pub threads: usize,
    /// See [`Node`].
    pub publishing: Publishing,
    /// The registry, checked.
    pub registry: Registry,
}

impl Node {
    /// A node; what it does not yet know is drawn.
    pub fn new(p: NodeParts) -> Self {
        Self {
            acts: Acts::new(p.store.clone(), p.data.clone(), p.clock.clone()),
            store: p.store,
            data: p.data,
            boot_id: p.clock.boot_id(),
            clock: p.clock,
            enabled: p.enabled,
            holder: rand::random(),
            lease_ms: p.lease_ms,
            caps: p.caps,
            turns: Turns::default(),
            queue: Claims::default(),
            host_id: p.host_id,
            source: p.source,
            live: Live::new(Configured { registry: Arc::new(p.registry), sha256: p.config_sha256 }),
            threads: p.threads,
            publishing: p.publishing,
            shipping: Default::default(),
            meter: Default::default(),
            stopping: Arc::default(),
        }
    }

    /// The packs that retention has not removed, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub fn standing_packs(&self) -> Result<Vec<(String, PackRecord)>, StoreError> {
        let mut packs = self.store.load_all(&PACKS, &[])?;
        packs.retain(|(_, p)| p.removed_at == 0);
        packs.sort_by_key(|(id, p)| std::cmp::Reverse((p.created_at, id.clone())));
        Ok(packs)
    }

    /// Counts one more of a name in the tree `counters`. Each name has one writer at a time.
    ///
    /// # Errors
    /// The store's.
    pub fn count(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        let before = self.store.load(&COUNTERS, &name)?.unwrap_or(0);
        let mut batch = Batch::new();
        batch.put(&COUNTERS, &name, &before.saturating_add(1))?;
        self.store.commit(batch).map(|_| ())
    }

    /// Whether the process was asked to stop: nothing new is claimed, and no further stage begins.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The flag itself, for those who wait without a node.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        self.stopping.clone()
    }

    /// Asks for the stop.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The registry as it stands.
    pub fn registry(&self) -> Arc<Registry> {
        self.live.current().registry
    }
}

/// What a run may use up, so that no backfill is endless; 0 = no cap. What is left over stays in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunCaps {
    /// Minutes from the run's first claim on during which vendors are asked.
    pub minutes: u32,
    /// Requests of the run, over all vendors.
    pub requests: u64,
    /// Days before the last session considered that are asked for.
    pub lookback_days: u32,
}

/// One nightly cycle.
#[derive(Debug)]
pub struct RunContext {
    /// `YYYYMMDDTHHMMSSZ`, with `-2` and so on where that second already has one.
    pub id: String,
    /// The last session considered.
    pub as_of: NaiveDate,
    /// When it was first started; kept by a resumed run.
    pub started_at: DateTime<Utc>,
    /// Only these sessions, where given.
    pub window: Option<(NaiveDate, NaiveDate)>,
    /// What it may use up.
    pub caps: RunCaps,
    /// Requests so far in this process.
    requests: AtomicU64,
    /// Milliseconds since boot when it was taken up by this process.
    since_ms: AtomicU64,
}

impl RunContext {
    /// A run.
    pub fn new(
        id: String,
        as_of: NaiveDate,
        started_at: DateTime<Utc>,
        window: Option<(NaiveDate, NaiveDate)>,
    ) -> Self {
        Self {
            id,
            as_of,
            started_at,
            window,
            caps: RunCaps::default(),
            requests: AtomicU64::new(0),
            since_ms: AtomicU64::new(0),
        }
    }

    /// The same run under caps.
    pub fn with_caps(self, caps: RunCaps) -> Self {
        Self { caps, ..self }
    }

    /// First and last day number that the run asks for.
    pub fn days(&self) -> (i32, i32) {
        let as_of = day_number(self.as_of);
        let floor = match i32::try_from(self.caps.lookback_days).unwrap_or(i32::MAX) {
            0 => i32::MIN,
            days => as_of.saturating_sub(days),
        };
        let (from, to) = self.window.map_or((i32::MIN, i32::MAX), |(a, b)| (day_number(a), day_number(b)));
        (from.max(floor), to.min(as_of))
    }

    /// Counts one request; false where the run has none left, or no time.
    /// `now_ms` is time since boot.
    pub fn may_request(&self, now_ms: u64) -> bool {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        (self.caps.requests == 0 || before < self.caps.requests) && !self.is_late(now_ms)
    }

    fn is_late(&self, now_ms: u64) -> bool {
        let since = match self.since_ms.compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => now_ms,
            Err(since) => since,
        };
        let minutes = u64::from(self.caps.minutes);
        minutes > 0 && now_ms.saturating_sub(since) >= minutes * 60_000
    }

    /// Whether the run has used up its time or its requests.
    pub fn is_spent(&self, node: &Node) -> bool {
        self.is_late(node.clock.since_boot_ms())
            || (self.caps.requests > 0 && self.requests.load(Ordering::Relaxed) >= self.caps.requests)
    }

    /// The UTC day of the run: evidence of "on different days" counts these.
    pub fn today(&self) -> i32 {
        day_number(self.started_at.date_naive())
    }
}
