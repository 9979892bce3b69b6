//! The one thread that writes.
//!
//! ```text
//! commit() ──▶ channel (1,024) ──▶ up to 256 batches or 5 ms ──▶ journal + fsync ──▶ one transaction ──▶ flush ──▶ answers
//! ```
//!
//! A guard that does not hold refuses its batch only. Any other error stops the store for good: what is in doubt is
//! settled by the journal at the next open.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use super::{
    Shared, base,
    batch::Batch,
    check::{self, CheckReport},
    disk,
    engine::Plan,
    error::{StoreError, show_key},
    journal::{self, Writer as Journal},
    open::on_open_thread,
    root::State,
};
use crate::failpoint;

/// Requests that may wait.
pub(crate) const QUEUE: usize = 1024;
const GROUP: usize = 256;
const GROUP_TIME: Duration = Duration::from_millis(5);
/// A group is not added to once it has this many bytes: they stay in memory until the flush.
const GROUP_BYTES: usize = 8 << 20;
/// Generations of bases that are kept.
const BASES: usize = 3;
const CHECK_LIMIT: Duration = Duration::from_secs(3600);

pub(crate) type Answer<T> = mpsc::SyncSender<Result<T, StoreError>>;

/// What the writer is asked for.
pub(crate) enum Request {
    Commit(Batch, Answer<u64>),
    Compact(Answer<()>),
    Check(Answer<CheckReport>),
    Close(Answer<()>),
}

type Commit = (Batch, Answer<u64>);

pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub journal: Journal,
    pub state: State,
    pub requests: mpsc::Receiver<Request>,
}

impl Writer {
    /// Works until the store is closed or dropped.
    pub fn run(mut self) {
        let mut waiting = None;
        loop {
            let request = match waiting.take() {
                Some(r) => r,
                None => match self.requests.recv() {
                    Ok(r) => r,
                    Err(_) => return,
                },
            };
            match request {
                Request::Commit(batch, answer) => {
                    let group = self.gather((batch, answer), &mut waiting);
                    self.commit(group);
                }
                // An asker that has gone needs no answer.
                Request::Compact(answer) => {
                    let result = self.compact();
                    let _ = answer.send(result);
                }
                Request::Check(answer) => {
                    let result = self.check();
                    let _ = answer.send(result);
                }
                Request::Close(answer) => {
                    let result = self.close();
                    let _ = answer.send(result);
                    return;
                }
            }
        }
    }

    /// Takes what already waits, without waiting for more: a lone committer pays no delay.
    fn gather(&self, first: Commit, waiting: &mut Option<Request>) -> Vec<Commit> {
        let begun = Instant::now();
        let mut bytes = first.0.bytes();
        let mut group = vec![first];
        while group.len() < GROUP && bytes < GROUP_BYTES && begun.elapsed() < GROUP_TIME {
            match self.requests.try_recv() {
                Ok(Request::Commit(batch, answer)) => {
                    bytes += batch.bytes();
                    group.push((batch, answer));
                }
                Ok(other) => {
                    *waiting = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        group
    }

    fn commit(&mut self, group: Vec<Commit>) {
        if let Some(cause) = self.shared.stopped() {
            for (_, answer) in &group {
                let _ = answer.send(Err(StoreError::Stopped { cause: cause.clone() }));
            }
            return;
        }
        if let Err((free, floor)) = self.space() {
            for (_, answer) in &group {
                let _ = answer.send(Err(StoreError::DiskFull { dir: self.shared.layout.dir.clone(), free, floor }));
            }
            return;
        }
        let mut accepted = Vec::with_capacity(group.len());
        let result = self.write(&group, &mut accepted);
        if let Err(e) = &result {
            self.shared.stop(e.to_string());
        }
        for answer in accepted {
            let _ = answer.send(match &result {
                Ok(()) => Ok(self.state.root.commit),
                Err(e) => Err(StoreError::Stopped { cause: e.to_string() }),
            });
        }
    }

    /// Free and least bytes where the disk is below its floor. A disk that cannot be asked is left to fail by itself.
    fn space(&self) -> Result<(), (u64, u64)> {
        match disk::free_bytes(&self.shared.layout.dir) {
            Ok(free) if free < self.shared.free_space_floor => Err((free, self.shared.free_space_floor)),
            _ => Ok(()),
        }
    }

    /// Judges the guards of a group, then writes what is left of it.
    fn write<'g>(&mut self, group: &'g [Commit], accepted: &mut Vec<&'g Answer<u64>>) -> Result<(), StoreError> {
        let engine = self.shared.engine.clone();
        let mut plan = Plan::default();
        let mut parts = Vec::with_capacity(group.len());
        for (batch, answer) in group {
            match plan.broken_guard(&engine, &batch.guards) {
                Ok(Some(op)) => {
                    let table = engine.name(op.table).to_owned();
                    let _ = answer.send(Err(StoreError::Conflict { table, key: show_key(op.key) }));
                    continue;
                }
                Ok(None) => accepted.push(answer),
                Err(e) => {
                    accepted.push(answer);
                    return Err(e);
                }
            }
            if !batch.ops.is_empty() {
                plan.add(&engine, &batch.ops)?;
                parts.push(batch.ops.as_slice());
            }
        }
        if plan.is_empty() {
            return Ok(());
        }
        let next = plan.next(&self.state);
        failpoint::pass("store.before_journal");
        self.journal.append(&next.root, &parts)?;
        failpoint::pass("store.journaled");
        engine.transact(&plan, &next)?;
        failpoint::pass("store.applied");
        engine.flush()?;
        failpoint::pass("store.flushed");
        self.state = next;
        self.shared.publish(&self.state, plan.tables());
        if self.journal.len() >= self.shared.segment_bytes {
            self.journal.rotate()?;
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        if let Some(cause) = self.shared.stopped() {
            return Err(StoreError::Stopped { cause });
        }
        if let Err((free, floor)) = self.space() {
            return Err(StoreError::DiskFull { dir: self.shared.layout.dir.clone(), free, floor });
        }
        let dir = self.shared.layout.journal();
        base::write(&dir, &self.shared.engine, &self.state.root)?;
        // From here on an error would leave the journal in doubt.
        let rotated = self.journal.rotate().and_then(|()| prune(&dir));
        if let Err(e) = &rotated {
            self.shared.stop(e.to_string());
        }
        rotated
    }

    fn check(&self) -> Result<CheckReport, StoreError> {
        let (shared, state) = (self.shared.clone(), self.state.clone());
        let layout = shared.layout.clone();
        on_open_thread(&layout, CHECK_LIMIT, "checking the state", move || {
            check::full(&shared.layout, &shared.engine, &state)
        })
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if let Some(cause) = self.shared.stopped() {
            return Err(StoreError::Stopped { cause });
        }
        self.shared.stop("it was closed".into());
        self.shared.engine.settle(&self.shared.layout.sled())?;
        disk::write_clean(&self.shared.layout, &self.state.root)
    }
}

/// Keeps the newest bases and the segments behind the oldest of them.
fn prune(dir: &std::path::Path) -> Result<(), StoreError> {
    let (bases, segments) = journal::list(dir)?;
    let surplus = bases.len().saturating_sub(BASES);
    for b in bases.iter().take(surplus) {
        disk::remove(&b.path)?;
    }
    match bases.get(surplus) {
        Some(oldest) if bases.len() >= BASES => journal::prune(&segments, oldest.number),
        _ => Ok(()),
    }
}
