//! The durable store: typed tables over sled, with a commit journal beside it.
//!
//! The module owns the folder `<data_dir>/state`: `lock`, `sled/`, `journal/`, the marker `clean`. It knows nothing of
//! what the records mean. It is the only place that names sled.
//!
//! What holds:
//! - **A commit that returned is durable**: its journal record and sled's log are synced by `fsync` before the answer.
//! - **A batch is whole or absent**, over all its tables, after a kill, a power cut or an error.
//! - **Nothing damaged is read as good**: every value has a checksum over its table, key and bytes; the root record
//!   says what the whole set must be; the journal says it a second time.
//! - **A state that disagrees is never opened and never reset**: [`rebuild`] makes a new one beside it.
//! - **One writer**: a thread, one transaction for each group of batches, one flush. After an error it stops for good.
//!
//! Absent on purpose: reads of a past commit, and isolation between several reads (a scan sees commits that happen
//! while it runs, each of them whole only for one record).

mod base;
mod batch;
mod check;
mod copy;
mod disk;
mod engine;
mod envelope;
mod error;
mod events;
mod journal;
#[cfg(test)]
mod model;
mod open;
pub mod powercut;
mod read;
mod rebuild;
mod root;
pub mod table;
#[cfg(test)]
mod tests;
mod upgrade;
mod writer;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

pub use batch::Batch;
pub use check::CheckReport;
pub use copy::{CopiedFile, StateCopy, copy_of};
pub use error::StoreError;
pub use events::Event;
pub use rebuild::{RebuildReport, rebuild};
pub use root::Root;
pub use table::{Key, Record, Table, TableDef, decode_str, decode_u64, encode_str};
pub use upgrade::{FORMAT, Upgraded, format_line, mark, refuse_newer, upgrade};

use disk::{Layout, Lock};
use engine::Engine;
use root::State;
use writer::Request;

/// Name of the thread on which sled may panic: a panic hook that aborts must spare it.
pub const OPEN_THREAD: &str = "datanode-store-open";

/// How to open a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// sled's cache in bytes; memory is about twice this.
    pub cache_bytes: u64,
    /// Commits are refused while the disk has fewer bytes free.
    pub free_space_floor: u64,
    /// The longest that opening, recovery and proof included, may take.
    pub open_timeout: Duration,
    /// Size in bytes at which the journal begins a new segment.
    pub segment_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            cache_bytes: 32 << 20,
            free_space_floor: 256 << 20,
            open_timeout: Duration::from_secs(300),
            segment_bytes: 32 << 20,
        }
    }
}

/// What the writer and the readers share.
pub(crate) struct Shared {
    engine: Arc<Engine>,
    layout: Layout,
    free_space_floor: u64,
    segment_bytes: u64,
    commit: AtomicU64,
    counts: Mutex<Vec<u64>>,
    /// By table id: the last commit of this process that changed it.
    changed: Mutex<Vec<u64>>,
    stopped: Mutex<Option<String>>,
}

fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn stopped(&self) -> Option<String> {
        locked(&self.stopped).clone()
    }
    /// The first cause stays.
    fn stop(&self, cause: String) {
        locked(&self.stopped).get_or_insert(cause);
    }
    fn publish(&self, state: &State, tables: impl Iterator<Item = u8>) {
        let mut changed = locked(&self.changed);
        for t in tables {
            if let Some(at) = changed.get_mut(usize::from(t)) {
                *at = state.root.commit;
            }
        }
        drop(changed);
        locked(&self.counts).clone_from(&state.counts);
        self.commit.store(state.root.commit, Ordering::Release);
    }
}

/// An open state folder. Clones share it; it is released when the last one is dropped.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    requests: Option<mpsc::SyncSender<Request>>,
    writer: Option<thread::JoinHandle<()>>,
    #[cfg(test)]
    fail_sync: Arc<std::sync::atomic::AtomicBool>,
    /// Released last.
    _lock: Lock,
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has already stopped the store.
            let _ = writer.join();
        }
    }
}

/// A commit on its way.
#[must_use = "the commit is durable only when `wait` has returned"]
pub struct Ticket(mpsc::Receiver<Result<u64, StoreError>>, Arc<Shared>);

impl Ticket {
    /// Waits until the commit is durable; its number.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn wait(self) -> Result<u64, StoreError> {
        answer(&self.0, &self.1)
    }
}

fn answer<T>(rx: &mpsc::Receiver<Result<T, StoreError>>, shared: &Shared) -> Result<T, StoreError> {
    match rx.recv() {
        Ok(result) => result,
        Err(_) => Err(gone(shared)),
    }
}

fn gone(shared: &Shared) -> StoreError {
    StoreError::Stopped { cause: shared.stopped().unwrap_or_else(|| "its writer has ended".into()) }
}

impl Store {
    /// Opens the state folder `dir` and makes it where it is absent. After anything but a clean stop the whole state is
    /// read and compared with its root record and its journal (about half a million records a second).
    ///
    /// # Errors
    /// [`StoreError::Busy`] where another process holds it, [`StoreError::Corrupt`] where it is not what was committed,
    /// [`StoreError::Newer`] and [`StoreError::Table`] where another build wrote it.
    pub fn open(dir: &Path, tables: &[TableDef], opts: &StoreOptions) -> Result<Store, StoreError> {
        let open::Opened { lock, engine, state, journal } = open::open(dir, tables, opts)?;
        let shared = Arc::new(Shared {
            engine: Arc::new(engine),
            layout: Layout::new(dir),
            free_space_floor: opts.free_space_floor,
            segment_bytes: opts.segment_bytes,
            commit: AtomicU64::new(state.root.commit),
            counts: Mutex::new(state.counts.clone()),
            changed: Mutex::new(vec![0; 256]),
            stopped: Mutex::new(None),
        });
        let (tx, requests) = mpsc::sync_channel(writer::QUEUE);
        #[cfg(test)]
        let fail_sync = journal.fail_sync.clone();
        let writer = writer::Writer { shared: shared.clone(), journal, state, requests };
        let writer = thread::Builder::new()
            .name("datanode-store-write".into())
            .spawn(move || writer.run())
            .map_err(error::io_error("start the writer of", dir))?;
        Ok(Store(Arc::new(Inner {
            shared,
            requests: Some(tx),
            writer: Some(writer),
            #[cfg(test)]
            fail_sync,
            _lock: lock,
        })))
    }

    /// Writes a batch and returns its commit number once it is durable. Batches that wait together share a commit. A
    /// batch without changes only has its guards judged.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where a guard does not hold, [`StoreError::DiskFull`] below the floor,
    /// [`StoreError::TooLarge`] and [`StoreError::Table`] for a batch that cannot be written: nothing of it was.
    /// [`StoreError::Stopped`] after any other failure: then whether it was written shows at the next open.
    pub fn commit(&self, batch: Batch) -> Result<u64, StoreError> {
        self.submit(batch)?.wait()
    }

    /// Hands a batch to the writer without waiting for the disk. Batches are written in the order of this call.
    ///
    /// # Errors
    /// As [`Store::commit`], as far as they are known now.
    pub fn submit(&self, mut batch: Batch) -> Result<Ticket, StoreError> {
        if let Some(fault) = batch.fault.take() {
            return Err(fault);
        }
        if batch.bytes() > batch::MAX_BATCH {
            return Err(StoreError::TooLarge {
                table: "a batch".into(),
                what: "the whole".into(),
                bytes: batch.bytes(),
                limit: batch::MAX_BATCH,
            });
        }
        for op in batch::Ops(&batch.ops).chain(batch::Ops(&batch.guards)).flatten() {
            self.0.shared.engine.tree(op.table)?;
        }
        let (tx, rx) = mpsc::sync_channel(1);
        self.send(Request::Commit(batch, tx))?;
        Ok(Ticket(rx, self.0.shared.clone()))
    }

    fn send(&self, request: Request) -> Result<(), StoreError> {
        match &self.0.requests {
            Some(queue) => queue.send(request).map_err(|_| gone(&self.0.shared)),
            None => Err(gone(&self.0.shared)),
        }
    }

    fn ask<T>(&self, request: impl FnOnce(writer::Answer<T>) -> Request) -> Result<T, StoreError> {
        let (tx, rx) = mpsc::sync_channel(1);
        self.send(request(tx))?;
        answer(&rx, &self.0.shared)
    }

    /// The number of the last durable commit.
    pub fn commit_number(&self) -> u64 {
        self.0.shared.commit.load(Ordering::Acquire)
    }

    /// Below so many free bytes on its disk nothing is committed.
    pub fn free_space_floor(&self) -> u64 {
        self.0.shared.free_space_floor
    }

    /// Why the store takes no more commits; `None` while it does. The process should end and be started again.
    pub fn stopped(&self) -> Option<String> {
        self.0.shared.stopped()
    }

    /// Records of a table as of the last commit; 0 for a table that the store does not know. Costs no scan.
    pub fn len(&self, table_name: &str) -> u64 {
        let id = self.0.shared.engine.defs.iter().find(|t| t.name == table_name).map(|t| usize::from(t.id));
        id.and_then(|id| locked(&self.0.shared.counts).get(id).copied()).unwrap_or(0)
    }

    /// The last commit since the store was opened that changed a table; 0 where none did. What was read after asking is as new as the
    /// number or newer: whoever keeps what a table comes to reads it again where the number has moved.
    pub fn changed_at(&self, table_name: &str) -> u64 {
        let id = self.0.shared.engine.defs.iter().find(|t| t.name == table_name).map(|t| usize::from(t.id));
        id.and_then(|id| locked(&self.0.shared.changed).get(id).copied()).unwrap_or(0)
    }

    /// Reads everything: every envelope, the sum against the root record, the whole journal, every base. Commits wait.
    ///
    /// # Errors
    /// Where the check could not be made; what it finds is in the report.
    pub fn check(&self) -> Result<CheckReport, StoreError> {
        self.ask(Request::Check)
    }

    /// Writes a base of the whole state, begins a new segment, and drops what three generations of bases make
    /// superfluous. Commits wait.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] below the floor; [`StoreError::Corrupt`] where the base does not read back.
    pub fn compact_journal(&self) -> Result<(), StoreError> {
        self.ask(Request::Compact)
    }

    /// Compacts the journal where its segments hold more than `bytes`; whether it did.
    ///
    /// # Errors
    /// As [`Store::compact_journal`].
    pub fn compact_journal_above(&self, bytes: u64) -> Result<bool, StoreError> {
        let folder = self.0.shared.layout.journal();
        let mut held = 0;
        for name in disk::names(&folder)?.into_iter().filter(|n| n.starts_with("seg-")) {
            held += std::fs::metadata(folder.join(&name)).map_or(0, |m| m.len());
        }
        if held <= bytes {
            return Ok(false);
        }
        self.compact_journal().map(|()| true)
    }

    /// Ends the store with the marker of a clean stop. Other clones can still read, and commit no more.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] where the store had stopped before; then no marker is written.
    pub fn close(self) -> Result<(), StoreError> {
        self.ask(Request::Close)
    }
}
