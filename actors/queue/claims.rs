//! Claims: a batch of tasks becomes a lease before anybody works on it.
//!
//! Vendors pull. A vendor gets the oldest tasks for which it has the best score, or that every better vendor cannot take
//! now. A lease has a fencing number; its result is written only while that very lease stands. The data folder has one
//! owner, so a lease of another process is void; one of this process ends when its answer is kept, or when its deadline,
//! in time since boot, is over. What is in memory is made from the store when a stage begins; messages are hints.

use super::dispatch::Inner;
use super::health::Health;
use super::{Class, Purse, QueueError, lookback, spot};
use crate::node::{Node, RunContext};
use crate::vendor::{Ask, Fetched, Purpose, Refusal};
use datanode_schema::keys::PageKey;
use datanode_schema::names::{Dataset, Outcome, Vendor};
use datanode_schema::records::Lease;
use datanode_schema::store::Batch;
use datanode_schema::trees::{COUNTERS, LEASES, STANDINGS, VENDOR_STATES};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

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

/// What a vendor is to do next.
#[derive(Clone, Debug)]
pub enum Next {
    /// This.
    Work(Box<Claimed>),
    /// Wait so many milliseconds, or until [`Claims::changed`] says that something changed, and ask again.
    Wait(u64),
    /// There is nothing left for it in this stage.
    Done,
}

/// What came of a claim, for the dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// What the answer was; None where its lease no longer stood.
    pub outcome: Option<Outcome>,
    /// The vendor's key was refused.
    pub key_refused: bool,
    /// Milliseconds that one of its requests took.
    pub latency_ms: Option<u32>,
}

impl Told {
    /// What an answer tells, as far as it is kept.
    pub fn of(f: &Fetched) -> Self {
        let rows = f.rows.values().any(|r| !r.is_empty());
        let outcome = match &f.refusal {
            Some(r) => r.outcome,
            None if rows => Outcome::Filled,
            None => Outcome::Empty,
        };
        let key_refused = f.refusal.as_ref().is_some_and(Refusal::is_of_key);
        let each = f.elapsed_ms.checked_div(u64::from(f.pages));
        Self { outcome: Some(outcome), key_refused, latency_ms: each.and_then(|ms| u32::try_from(ms).ok()) }
    }
}

/// The claims of a node.
#[derive(Default)]
pub struct Claims {
    inner: Mutex<Inner>,
    changed: Arc<Notify>,
}

impl Claims {
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic ends the process, so a poisoned lock is never seen; were it, the index is rebuilt at the next stage.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told whenever something may have become claimable.
    pub fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// Pages that wait in the stage under way, by class and dataset; no I/O.
    pub fn depths(&self) -> BTreeMap<(Class, Dataset), u64> {
        let mut out = BTreeMap::new();
        if let Some(index) = self.inner().index.as_ref() {
            for (lane, entries) in &index.lanes {
                *out.entry((lane.class, lane.dataset)).or_default() += entries.len() as u64;
            }
        }
        out
    }

    /// A vendor's budget: while it has no token near, others may take what it would.
    pub fn register(&self, vendor: Vendor, purse: Purse) {
        self.inner().purses.insert(vendor, purse);
    }

    /// Voids the leases of earlier processes, and reads what was learned and what a person paused.
    ///
    /// # Errors
    /// The store's.
    pub fn open(&self, node: &Node) -> Result<(), QueueError> {
        let mut batch = Batch::new();
        for (id, lease) in node.store.load_all(&LEASES, &[])? {
            if lease.holder != node.holder {
                batch.delete(&LEASES, &id);
            }
        }
        let last = node.store.load(&COUNTERS, &super::dispatch::FENCE.to_owned())?.unwrap_or(0);
        let mut inner = self.inner();
        inner.next_fence = last + 1;
        inner.reserved = last + super::dispatch::RESERVE;
        batch.put(&COUNTERS, &super::dispatch::FENCE.to_owned(), &inner.reserved)?;
        node.store.commit(batch)?;
        for (k, s) in node.store.load_all(&STANDINGS, &[])? {
            inner.learned.0.insert((k.vendor, k.dataset), s);
        }
        for (name, s) in node.store.load_all(&VENDOR_STATES, &[])? {
            if let Some(v) = Vendor::from_name(&name).filter(|_| s.paused) {
                inner.paused.insert(v);
            }
        }
        Ok(())
    }

    /// Begins a stage: the index is made from the gap pages.
    ///
    /// # Errors
    /// The store's.
    pub fn begin(&self, node: &Node, run: &RunContext, purpose: Purpose) -> Result<(), QueueError> {
        let mut inner = self.inner();
        if inner.run != run.id {
            inner.health.values_mut().for_each(Health::renew);
        }
        inner.everyone_is_here(node);
        inner.rebuild(node, run, purpose)?;
        inner.again = match purpose {
            Purpose::Ingest => lookback::plan(node, run)?,
            Purpose::Backfill => spot::plan(node, run)?,
            Purpose::Lookback | Purpose::SpotCheck => BTreeMap::new(),
        };
        self.changed.notify_waiters();
        Ok(())
    }

    /// What `vendor` is to do next in the stage that was begun.
    ///
    /// # Errors
    /// The store's.
    pub fn next(&self, node: &Node, run: &RunContext, vendor: Vendor) -> Result<Next, QueueError> {
        if node.stopping() || run.is_spent(node) {
            return self.finish(node);
        }
        self.expire(node)?;
        let claimed = {
            let mut inner = self.inner();
            let now_ms = node.clock.since_boot_ms();
            inner.seen(vendor, now_ms);
            inner.refresh(node, run, now_ms)?;
            match inner.choose(node, vendor, now_ms) {
                Ok((ask, parts)) => inner.lease(node, ask, parts, now_ms)?,
                Err(Next::Done) => {
                    drop(inner);
                    return self.finish(node);
                }
                Err(wait) => return Ok(wait),
            }
        };
        let (claimed, batch) = claimed;
        match node.store.commit(batch) {
            Ok(_) => Ok(Next::Work(Box::new(claimed))),
            Err(e) => {
                self.settle(node, &claimed, Told { outcome: None, key_refused: false, latency_ms: None })?;
                Err(e.into())
            }
        }
    }

    /// What was learned goes to the store before the stage ends.
    fn finish(&self, node: &Node) -> Result<Next, QueueError> {
        let batch = self.inner().standings()?;
        if !batch.is_empty() {
            node.store.commit(batch)?;
        }
        Ok(Next::Done)
    }

    /// The vendor is at work on it still: the lease stands for another whole time. False where it no longer stands.
    pub fn renew(&self, node: &Node, id: u64) -> bool {
        let deadline = node.clock.since_boot_ms() + node.lease_ms;
        self.inner().work.get_mut(&id).filter(|w| !w.over).is_some_and(|w| {
            w.deadline_ms = deadline;
            true
        })
    }

    /// Its answer is about to be kept: from here on the lease does not expire. False where it has.
    pub fn hold(&self, id: u64) -> bool {
        self.inner().work.get_mut(&id).is_none_or(|w| {
            w.kept = true;
            !w.over
        })
    }

    /// The answer to a claim was kept, or dropped: its pages are read again.
    ///
    /// # Errors
    /// The store's.
    pub fn settle(&self, node: &Node, claimed: &Claimed, told: Told) -> Result<(), QueueError> {
        if told.outcome.is_none() {
            // Where it could not be kept its lease is still there.
            let mut batch = Batch::new();
            batch.delete(&LEASES, &claimed.id);
            node.store.commit(batch)?;
        }
        let mut inner = self.inner();
        let now_ms = node.clock.since_boot_ms();
        inner.note(node, &claimed.ask, told, now_ms);
        if let Some(work) = inner.work.remove(&claimed.id) {
            inner.put_back(node, &work, told.outcome, now_ms)?;
            let later = matches!(told.outcome, None | Some(Outcome::RateLimited));
            if later && matches!(claimed.ask.purpose, Purpose::Lookback | Purpose::SpotCheck) {
                inner.again.entry(claimed.ask.vendor).or_default().push_back(claimed.ask.clone());
            }
        }
        self.changed.notify_waiters();
        Ok(())
    }

    /// Pages that a person or the audit changed.
    ///
    /// # Errors
    /// The store's.
    pub fn touch(&self, node: &Node, pages: &[PageKey]) -> Result<(), QueueError> {
        let mut inner = self.inner();
        let now_ms = node.clock.since_boot_ms();
        for k in pages {
            inner.read_page(node, k, now_ms)?;
        }
        self.changed.notify_waiters();
        Ok(())
    }

    /// Leases beyond their deadline end: their results will be dropped.
    fn expire(&self, node: &Node) -> Result<(), QueueError> {
        let now_ms = node.clock.since_boot_ms();
        let late: Vec<u64> = {
            let mut inner = self.inner();
            let late = inner.work.iter_mut().filter(|(_, w)| w.deadline_ms <= now_ms && !w.kept && !w.over);
            late.map(|(id, w)| {
                w.over = true;
                *id
            })
            .collect()
        };
        if late.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for id in &late {
            tracing::warn!(lease = id, "a lease expired; its tasks are claimable again");
            batch.delete(&LEASES, id);
        }
        node.store.commit(batch)?;
        let mut inner = self.inner();
        for id in late {
            let Some(work) = inner.work.remove(&id) else { continue };
            inner.health.entry(work.vendor).or_default().failed(now_ms, rand::random());
            inner.put_back(node, &work, None, now_ms)?;
        }
        self.changed.notify_waiters();
        Ok(())
    }
}
