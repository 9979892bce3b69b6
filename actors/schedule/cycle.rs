//! One cycle, stage after stage.

use super::{CycleError, RunBook, Stages};
use crate::anchor::actor::Anchor;
use crate::audit::Scope;
use crate::audit::actor::Audit;
use crate::curate::actor::Curate;
use crate::export::actor::Export;
use crate::node::{Node, RunCaps, RunContext};
use crate::qc::actor::Judge;
use crate::quarantine::seen;
use crate::queue::actor::Begin;
use crate::retention::actor::Retain;
use crate::seal::actor::Seal;
use crate::ship::actor::Ship;
use crate::vault::actor::Upkeep;
use crate::vendor::Purpose;
use crate::vendor::actor::{Drain, VendorCounters};
use chrono::NaiveDate;
use datanode_schema::failpoint;
use datanode_schema::names::Stage;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;
use tracing::{Instrument, Span};

/// What to run.
#[derive(Clone, Debug)]
pub struct CyclePlan {
    /// The last session considered.
    pub as_of: NaiveDate,
    /// Only these sessions, where given.
    pub window: Option<(NaiveDate, NaiveDate)>,
    /// Only these stages; empty: all.
    pub only: Vec<Stage>,
    /// What the run may use up.
    pub caps: RunCaps,
}

/// A finished stage, for progress and for the summary.
#[derive(Clone, Debug, Serialize)]
pub struct StageDone {
    /// Which.
    pub stage: Stage,
    /// Whether an earlier process had finished it.
    pub before: bool,
    /// How long it took.
    pub millis: u64,
    /// Its counters.
    pub counters: serde_json::Value,
}

/// A finished run.
#[derive(Clone, Debug, Serialize)]
pub struct RunSummary {
    /// The run's id.
    pub run: String,
    /// The last session considered.
    pub as_of: NaiveDate,
    /// Whether an earlier process began it.
    pub resumed: bool,
    /// The pack that it published or confirmed; empty where the stage was not run.
    pub export_id: String,
    /// The stages.
    pub stages: Vec<StageDone>,
}

/// Leads a run through its stages.
///
/// # Errors
/// The stage's that stopped; its record says so, and a run that was stopped on request stays open.
pub async fn cycle(
    node: &Arc<Node>,
    stages: &Stages,
    plan: &CyclePlan,
    progress: impl Fn(&StageDone),
) -> Result<RunSummary, CycleError> {
    let _pinned = crate::live::Pinned::of(node);
    let mut book = RunBook::open(node, plan.as_of, plan.window, &plan.only, plan.caps)?;
    let span = tracing::info_span!("cycle", run = book.run.id, as_of = %plan.as_of, resumed = book.resumed);
    let mut done = Vec::new();
    for stage in Stage::ALL {
        if !plan.only.is_empty() && !plan.only.contains(stage) {
            continue;
        }
        if node.stopping() {
            return Err(CycleError::Stopping);
        }
        failpoint::pass("cycle.stage");
        let earlier = book.counters(*stage);
        let finished = match earlier.and_then(|c| serde_json::from_str(c).ok()) {
            Some(counters) => StageDone { stage: *stage, before: true, millis: 0, counters },
            None => {
                let span = tracing::info_span!(parent: &span, "stage", stage = stage.name());
                run_stage(node, stages, &mut book, *stage).instrument(span).await?
            }
        };
        progress(&finished);
        done.push(finished);
    }
    book.finish(node, "")?;
    Ok(RunSummary {
        run: book.run.id.clone(),
        as_of: plan.as_of,
        resumed: book.resumed,
        export_id: book.export_id().to_owned(),
        stages: done,
    })
}

async fn run_stage(
    node: &Arc<Node>,
    stages: &Stages,
    book: &mut RunBook,
    stage: Stage,
) -> Result<StageDone, CycleError> {
    let began = Instant::now();
    let counters = match one(node, stages, book, stage).await {
        Ok(c) => c,
        Err(CycleError::Stopping) => return Err(CycleError::Stopping),
        Err(e) => {
            // The run is over, and says why; the error itself goes to the caller.
            if let Err(second) = book.finish(node, &e.to_string()) {
                tracing::error!(%second, "the run's error could not be recorded");
            }
            return Err(e);
        }
    };
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    book.done(node, stage, millis, counters.to_string())?;
    Ok(StageDone { stage, before: false, millis, counters })
}

async fn one(node: &Arc<Node>, s: &Stages, book: &mut RunBook, stage: Stage) -> Result<serde_json::Value, CycleError> {
    let run = book.run.clone();
    Ok(match stage {
        Stage::Ingest => {
            // What is lacking is a task before it is asked for: the vendors share one queue from the first request on.
            s.audit.send(Audit(run.clone(), Scope::Everything)).await??;
            json(&drain(node, s, &run, Purpose::Ingest).await?)
        }
        Stage::Audit => json(&s.audit.send(Audit(run, Scope::Everything)).await??),
        Stage::Backfill => {
            let worked = drain(node, s, &run, Purpose::Backfill).await?;
            let (at, of) = (node.clone(), run.clone());
            match tokio::task::spawn_blocking(move || seen::rate_limit_gaps(&at, &of)).await {
                Ok(looked) => looked?,
                Err(e) => tracing::error!(error = %e, "nobody looked for gaps of rate limits"),
            }
            // What the answers amount to, over all sessions of a symbol: listed or not, and since when.
            let left = s.audit.send(Audit(run, Scope::WithGaps)).await??;
            let mut out = json(&worked);
            if let Some(map) = out.as_object_mut() {
                let left = [
                    ("absent", left.absent),
                    ("missing", left.missing),
                    ("explained", left.explained),
                    ("pending", left.pending),
                    ("unobtainable", left.unobtainable),
                    ("short", left.short),
                    ("holes", left.holes),
                    ("silent", left.silent),
                ];
                map.extend(left.into_iter().map(|(k, v)| (k.to_owned(), v.into())));
            }
            out
        }
        Stage::Curate => json(&s.curate.send(Curate).await??),
        Stage::Qc => json(&s.qc.send(Judge).await??),
        Stage::Export => {
            let c = s.export.send(Export(run)).await??;
            book.set_export(&c.export_id);
            json(&c)
        }
        Stage::Seal => {
            let sealed = json(&s.seal.send(Seal(target(node, book)?)).await??);
            let anchored = json(&s.anchor.send(Anchor).await??);
            let kept = json(&s.vault.send(Upkeep).await??);
            both(both(sealed, "anchor", anchored), "vault", kept)
        }
        Stage::Ship => json(&s.ship.send(Ship(target(node, book)?)).await??),
        Stage::Retention => json(&s.retention.send(Retain(target(node, book)?)).await??),
    })
}

/// The pack of this run, or the newest one where the run was not told to export.
fn target(node: &Node, book: &RunBook) -> Result<String, CycleError> {
    if !book.export_id().is_empty() {
        return Ok(book.export_id().to_owned());
    }
    Ok(node.standing_packs()?.into_iter().next().map(|(id, _)| id).unwrap_or_default())
}

/// Lets every vendor work until none of them finds anything: what one vendor could not give, the next may claim.
async fn drain(
    node: &Arc<Node>,
    s: &Stages,
    run: &Arc<RunContext>,
    purpose: Purpose,
) -> Result<VendorCounters, CycleError> {
    let mut all = VendorCounters::default();
    s.queue.send(Begin { run: run.clone(), purpose }).await??;
    loop {
        let sent: Vec<_> =
            s.vendors.iter().map(|v| v.send(Drain { run: run.clone(), span: Span::current() })).collect();
        let mut round = VendorCounters::default();
        for answer in futures_util::future::join_all(sent).await {
            round += answer??;
        }
        all += round;
        if node.stopping() {
            return Err(CycleError::Stopping);
        }
        if round.claims == 0 {
            return Ok(all);
        }
    }
}

/// Counters with those of another actor below `name`.
fn both(mut all: serde_json::Value, name: &str, more: serde_json::Value) -> serde_json::Value {
    if let Some(map) = all.as_object_mut() {
        map.insert(name.to_owned(), more);
    }
    all
}

fn json<T: Serialize>(counters: &T) -> serde_json::Value {
    serde_json::to_value(counters).unwrap_or_default()
}
