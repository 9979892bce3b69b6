//! The one place beside the actors that names actix: systems are made here, cycles run in them.

use crate::failure::{Code, Failure};
use crate::wiring::Wired;
use actix::Actor;
use datanode_actors::anchor::AnchorError;
use datanode_actors::audit::AuditError;
use datanode_actors::books::actor::{BooksActor, StopBooks, collect};
use datanode_actors::books::{Parts, Summary};
use datanode_actors::curate::CurateError;
use datanode_actors::export::ExportError;
use datanode_actors::node::Node;
use datanode_actors::qc::QcError;
use datanode_actors::quarantine::QuarantineError;
use datanode_actors::raw::RawError;
use datanode_actors::schedule::actor::{RunNow, Scheduler};
use datanode_actors::schedule::{CycleError, CyclePlan, Rhythm, RunSummary, StageDone, Stages, cycle};
use datanode_actors::seal::Kind;
use datanode_actors::seal::stage::SealStageError;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a cycle in the foreground may go on after it was asked to stop.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(9);

/// Runs one cycle in the foreground, and then `after` while the state is still open.
///
/// # Errors
/// The cycle's.
pub fn run_cycle(
    wired: Wired,
    plan: &CyclePlan,
    progress: impl Fn(&StageDone),
    after: impl FnOnce(&Arc<Node>),
) -> Result<RunSummary, Failure> {
    let (store, of) = (wired.node.store.clone(), wired.node.clone());
    let result = block_on(async {
        let stages = Stages::start(&wired.node, wired.fetchers).map_err(CycleError::from)?;
        let node = wired.node.clone();
        let on_stop = node.clone();
        let signals = tokio::spawn(async move {
            if let Ok(()) = stop_requested().await {
                on_stop.stop();
                eprintln!("stopping: the next run goes on where this one stops");
                // What is under way may take long, and nothing of it is lost: a second signal, or patience, ends it.
                let _ = tokio::time::timeout(PATIENCE, stop_requested()).await;
                std::process::exit(1);
            }
        });
        let done = cycle(&node, &stages, plan, progress).await;
        signals.abort();
        done
    })?;
    if !of.stopping() {
        after(&of);
    }
    drop(of);
    // Why the cycle stopped outranks that the state could not be closed after it.
    let closed = store.close().map_err(crate::wiring::of_store);
    result.map_err(of_cycle).and_then(|summary| closed.map(|()| summary))
}

/// Runs a future inside an actix system.
///
/// # Errors
/// The system cannot be made.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    // `System::new` panics where the runtime cannot be made; making the runtime here gives an error instead.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let mut runtime = Some(runtime);
    let system = actix::System::with_tokio_rt(move || runtime.take().unwrap_or_else(never));
    Ok(system.block_on(future))
}

/// The factory of `with_tokio_rt` is called once; a second call would find no runtime.
fn never() -> tokio::runtime::Runtime {
    std::process::abort()
}

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// The handlers cannot be installed.
pub async fn stop_requested() -> std::io::Result<()> {
    StopSignals::new()?.next().await;
    Ok(())
}

/// SIGTERM and SIGINT, caught from the moment that it is made.
struct StopSignals(Signal, Signal);

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }
    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// Does blocking work in the foreground; SIGTERM or SIGINT asks the node to stop, and so the work to end, within [`PATIENCE`].
///
/// # Errors
/// The signals cannot be caught.
pub fn stoppable<T>(node: &Arc<Node>, work: impl FnOnce() -> T) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(Failure::failed)?;
    let within = runtime.enter();
    let (mut signals, node) = (StopSignals::new().map_err(Failure::failed)?, node.clone());
    runtime.spawn(async move {
        signals.next().await;
        node.stop();
        let _ = tokio::time::timeout(PATIENCE, signals.next()).await;
        std::process::exit(1);
    });
    let done = work();
    drop(within);
    runtime.shutdown_background();
    Ok(done)
}

/// The running scheduler.
#[derive(Clone)]
pub struct Appliance(actix::Addr<Scheduler>, Arc<AtomicBool>);

impl Appliance {
    /// Starts stages and scheduler on the current system.
    ///
    /// # Errors
    /// Leases of an earlier process could not be voided.
    pub fn start(wired: Wired, rhythm: Rhythm, ingest_every: Option<std::time::Duration>) -> Result<Self, Failure> {
        let stages = Stages::start(&wired.node, wired.fetchers).map_err(Failure::failed)?;
        let scheduler = Scheduler::new(wired.node, stages, rhythm, ingest_every);
        let busy = scheduler.busy.clone();
        Ok(Self(scheduler.start(), busy))
    }

    /// Whether a cycle is under way.
    pub fn busy(&self) -> bool {
        self.1.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Whether the scheduler answers.
    pub fn alive(&self) -> bool {
        self.0.connected()
    }

    /// Runs a cycle now and waits for it; None where one was under way.
    ///
    /// # Errors
    /// The cycle's.
    pub async fn run_now(&self, only: Vec<datanode_schema::names::Stage>) -> Result<Option<RunSummary>, Failure> {
        match self.0.send(RunNow { only }).await {
            Ok(done) => done.map_err(of_cycle),
            Err(e) => Err(Failure::failed(e)),
        }
    }
}

/// Collects order books in the foreground, until the ticks or `at_most` are over or the process is asked to stop.
///
/// # Errors
/// The system cannot be made; inside, the collector's.
pub fn collect_books(parts: Parts, at_most: Option<std::time::Duration>) -> Result<Result<Summary, Failure>, Failure> {
    block_on(async {
        let stop = tokio::sync::watch::Sender::new(false);
        let stopped = stop.subscribe();
        let signals = tokio::spawn(async move {
            match at_most {
                Some(limit) => drop(tokio::time::timeout(limit, stop_requested()).await),
                None => drop(stop_requested().await),
            }
            stop.send_replace(true);
        });
        let done = collect(parts, stopped).await.map_err(Failure::failed);
        signals.abort();
        done
    })
}

/// The collector of a running node.
pub struct Collecting(actix::Addr<BooksActor>);

impl Collecting {
    /// Starts it on the current system.
    pub fn start(parts: Parts) -> Self {
        Self(BooksActor::new(parts).start())
    }

    /// Asks it to close its file and waits for that.
    pub async fn stop(&self) {
        if self.0.send(StopBooks).await.is_err() {
            tracing::debug!("the collector had ended");
        }
    }
}

/// The exit code of a cycle's error.
pub fn of_cycle(e: CycleError) -> Failure {
    match e {
        CycleError::Store(s) => crate::wiring::of_store(s),
        CycleError::Export(
            ExportError::Damaged { .. }
            | ExportError::Manifest(_)
            | ExportError::Quarantine(QuarantineError::Events(_)),
        ) => Failure::new(Code::Integrity, e.to_string()),
        CycleError::Raw(RawError::Forgotten { .. })
        | CycleError::Audit(AuditError::Raw(RawError::Forgotten { .. }))
        | CycleError::Curate(CurateError::Raw(RawError::Forgotten { .. }))
        | CycleError::Anchor(AnchorError::Integrity { .. } | AnchorError::RolledBack { .. })
        | CycleError::Qc(QcError::Damaged { .. }) => Failure::new(Code::Integrity, e.to_string()),
        CycleError::Seal(SealStageError::Seal(ref s)) if s.kind() == Kind::Integrity => {
            Failure::new(Code::Integrity, e.to_string())
        }
        CycleError::Ship(ref s) if s.is_integrity() => Failure::new(Code::Integrity, e.to_string()),
        other => Failure::failed(other),
    }
}
