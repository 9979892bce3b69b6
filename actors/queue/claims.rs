//! Claims: an ask becomes a lease before anybody works on it.
//!
//! A lease has a fencing number; its result is written only while that very lease stands. The data folder has one owner,
//! so a lease of another process is void; one of this process is void when its deadline, in time since boot, is over.

use super::plan::{GapDay, Known};
use super::{QueueError, plan};
use crate::node::{Node, RunContext};
use crate::vendor::{Ask, Purpose};
use datanode_schema::clock::day_number;
use datanode_schema::names::{Absence, Dataset, Vendor};
use datanode_schema::records::{Bookmark, Lease};
use datanode_schema::store::Batch;
use datanode_schema::trees::{BOOKMARKS, COUNTERS, DEMOTIONS, GAPS, LEASES};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The counter that lease and fencing numbers come from.
const FENCE: &str = "fence";

/// An ask with its lease.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// What to ask.
    pub ask: Ask,
    /// Key of the lease.
    pub id: u64,
    /// The lease as it was written.
    pub lease: Lease,
}

/// The claims of this process.
pub struct Claims {
    node: Arc<Node>,
    /// Planned and not yet claimed, by vendor; a cache that is filled from the store when it is empty.
    planned: BTreeMap<Vendor, VecDeque<Ask>>,
}

impl Claims {
    /// Voids what an earlier process left.
    ///
    /// # Errors
    /// The store's.
    pub fn open(node: Arc<Node>) -> Result<Self, QueueError> {
        let mut batch = Batch::new();
        for (id, lease) in node.store.load_all(&LEASES, &[])? {
            if lease.holder != node.holder {
                batch.delete(&LEASES, &id);
            }
        }
        if !batch.is_empty() {
            node.store.commit(batch)?;
        }
        Ok(Self { node, planned: BTreeMap::new() })
    }

    /// Claims over a node whose leases were looked at already.
    pub fn unchecked(node: Arc<Node>) -> Self {
        Self { node, planned: BTreeMap::new() }
    }

    /// The next ask for `vendor`, leased; None when there is nothing that it can do now.
    ///
    /// # Errors
    /// The store's.
    pub fn next(&mut self, run: &RunContext, vendor: Vendor, purpose: Purpose) -> Result<Option<Claimed>, QueueError> {
        if self.node.stopping() {
            return Ok(None);
        }
        if self.planned.get(&vendor).is_none_or(VecDeque::is_empty) {
            let fresh = match purpose {
                Purpose::Ingest => self.plan_ingest(run, vendor)?,
                Purpose::Backfill => self.plan_backfill(run, vendor)?,
            };
            self.planned.insert(vendor, fresh.into());
        }
        let Some(ask) = self.planned.get_mut(&vendor).and_then(VecDeque::pop_front) else { return Ok(None) };
        self.lease(ask).map(Some)
    }

    fn lease(&self, ask: Ask) -> Result<Claimed, QueueError> {
        let node = &self.node;
        let last = node.store.load(&COUNTERS, &FENCE.to_owned())?.unwrap_or(0);
        let id = last + 1;
        let lease = Lease {
            vendor: ask.vendor.number(),
            dataset: ask.dataset.number(),
            symbol: ask.symbols.join(","),
            from: day_number(ask.from),
            to: day_number(ask.to),
            fence: id,
            holder: node.holder,
            boot_id: node.clock.boot_id(),
            deadline_ms: node.clock.since_boot_ms() + node.lease_ms,
            claimed_at: node.clock.now().timestamp(),
        };
        let mut batch = Batch::new();
        batch.put(&LEASES, &id, &lease)?.put(&COUNTERS, &FENCE.to_owned(), &id)?;
        node.store.commit(batch)?;
        Ok(Claimed { ask, id, lease })
    }

    /// What is leased and still within its deadline. Leases beyond it are removed: their results will be dropped.
    fn standing(&self) -> Result<Vec<Lease>, QueueError> {
        let now = self.node.clock.since_boot_ms();
        let mut batch = Batch::new();
        let mut out = Vec::new();
        for (id, lease) in self.node.store.load_all(&LEASES, &[])? {
            if lease.deadline_ms <= now {
                tracing::warn!(lease = id, symbol = lease.symbol, "a lease expired; its tasks are claimable again");
                batch.delete(&LEASES, &id);
            } else {
                out.push(lease);
            }
        }
        if !batch.is_empty() {
            self.node.store.commit(batch)?;
        }
        Ok(out)
    }

    fn demoted(&self) -> Result<BTreeSet<(Dataset, String, Vendor)>, QueueError> {
        let now = self.node.clock.now().timestamp();
        let mut out = BTreeSet::new();
        self.node.store.scan(&DEMOTIONS, &[], |k, d| {
            if d.until > now {
                out.insert((k.dataset, k.symbol, k.vendor));
            }
            ControlFlow::Continue(())
        })?;
        Ok(out)
    }

    fn plan_ingest(&self, run: &RunContext, vendor: Vendor) -> Result<Vec<Ask>, QueueError> {
        let mut bookmarks: BTreeMap<(Dataset, String, Vendor), Bookmark> = BTreeMap::new();
        for (k, b) in self.node.store.load_all(&BOOKMARKS, &[])? {
            bookmarks.insert((k.dataset, k.symbol, k.vendor), b);
        }
        let (demoted, leases) = (self.demoted()?, self.standing()?);
        let registry = self.node.registry();
        let known =
            Known { enabled: &self.node.enabled, demoted: &demoted, today: run.today(), now: self.node.clock.now() };
        let mut asks = plan::ingest(&registry, &known, &bookmarks, run.as_of, run.window);
        asks.retain(|a| a.vendor == vendor && !leases.iter().any(|l| covers(l, a)));
        // What failed in this run is not asked again in it: the audit makes tasks of it.
        asks.retain(|a| !run.has_failed(a));
        Ok(asks)
    }

    fn plan_backfill(&self, run: &RunContext, vendor: Vendor) -> Result<Vec<Ask>, QueueError> {
        let (demoted, leases) = (self.demoted()?, self.standing()?);
        let mut tasks: BTreeMap<(Dataset, String), Vec<GapDay>> = BTreeMap::new();
        self.node.store.scan(&GAPS, &[], |k, page| {
            let leased = |d: i32| {
                leases
                    .iter()
                    .any(|l| l.dataset == k.dataset.number() && l.symbol == k.symbol && l.from <= d && d <= l.to)
            };
            for t in page.tasks.iter() {
                let day = t.day.to_native();
                let state = Absence::from_number(t.state).unwrap_or(Absence::Unobtainable);
                let inside = run.window.is_none_or(|(a, b)| day_number(a) <= day && day <= day_number(b));
                if inside && matches!(state, Absence::Missing | Absence::Short) && !leased(day) {
                    let answers = t.answers.iter().map(|a| a.native()).collect();
                    tasks.entry((k.dataset, k.symbol.clone())).or_default().push(GapDay { day, state, answers });
                }
            }
            ControlFlow::Continue(())
        })?;
        let registry = self.node.registry();
        let known =
            Known { enabled: &self.node.enabled, demoted: &demoted, today: run.today(), now: self.node.clock.now() };
        let mut out = Vec::new();
        for ((dataset, symbol), days) in &tasks {
            out.extend(plan::backfill(&registry, &known, vendor, *dataset, symbol, days));
        }
        out.retain(|a| !run.has_failed(a));
        // Today outranks history: the newest windows first, then the fixed order.
        out.sort_by(|a, b| b.to.cmp(&a.to).then(a.dataset.cmp(&b.dataset)).then(a.symbols.cmp(&b.symbols)));
        Ok(out)
    }
}

fn covers(lease: &Lease, ask: &Ask) -> bool {
    lease.vendor == ask.vendor.number()
        && lease.dataset == ask.dataset.number()
        && lease.from <= day_number(ask.from)
        && lease.to >= day_number(ask.to)
        && lease.symbol.split(',').any(|s| ask.symbols.iter().any(|a| a == s))
}
