//! The scheduler's shell: wakes at the set time and, between, every so often for what is new.

use super::{CycleError, CyclePlan, RunSummary, StageDone, Stages, cycle, last_session, next_wake};
use crate::node::Node;
use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture};
use chrono::NaiveTime;
use datanode_schema::names::Stage;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Runs a cycle now.
#[derive(Message)]
#[rtype(result = "Result<Option<RunSummary>, CycleError>")]
pub struct RunNow {
    /// Only these stages; empty: all.
    pub only: Vec<Stage>,
}

/// A wake carries nothing: what there is to do is in the store.
#[derive(Message)]
#[rtype(result = "()")]
struct Wake {
    nightly: bool,
}

/// The scheduler.
pub struct Scheduler {
    /// The node.
    pub node: Arc<Node>,
    /// Its stages.
    pub stages: Stages,
    /// When the nightly cycle starts, UTC.
    pub nightly_at: NaiveTime,
    /// How often to look for what is new between; None: never.
    pub ingest_every: Option<Duration>,
    /// One cycle at a time: true while it is under way.
    pub busy: Arc<AtomicBool>,
}

impl Scheduler {
    /// A scheduler that is not started.
    pub fn new(node: Arc<Node>, stages: Stages, nightly_at: NaiveTime, ingest_every: Option<Duration>) -> Self {
        Self { node, stages, nightly_at, ingest_every, busy: Arc::default() }
    }

    fn plan_next_night(&self, ctx: &mut Context<Self>) {
        let now = self.node.clock.now();
        let wait = (next_wake(now, self.nightly_at) - now).to_std().unwrap_or(Duration::from_secs(60));
        ctx.notify_later(Wake { nightly: true }, wait);
    }

    fn plan_next_ingest(&self, ctx: &mut Context<Self>) {
        if let Some(every) = self.ingest_every {
            ctx.notify_later(Wake { nightly: false }, every);
        }
    }
}

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.plan_next_night(ctx);
        self.plan_next_ingest(ctx);
    }
}

impl Handler<Wake> for Scheduler {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, m: Wake, ctx: &mut Self::Context) -> Self::Result {
        let only = if m.nightly {
            self.plan_next_night(ctx);
            Vec::new()
        } else {
            self.plan_next_ingest(ctx);
            vec![Stage::Ingest, Stage::Audit]
        };
        let run = self.handle(RunNow { only }, ctx);
        Box::pin(async move {
            match run.await {
                Ok(Some(s)) => tracing::info!(run = s.run, export_id = s.export_id, "cycle done"),
                Ok(None) => tracing::warn!("a cycle is under way; this wake is skipped"),
                Err(e) => tracing::error!(error = %e, "the cycle stopped"),
            }
        })
    }
}

impl Handler<RunNow> for Scheduler {
    type Result = ResponseFuture<Result<Option<RunSummary>, CycleError>>;

    fn handle(&mut self, m: RunNow, _: &mut Self::Context) -> Self::Result {
        let (node, stages, busy) = (self.node.clone(), self.stages.clone(), self.busy.clone());
        Box::pin(async move {
            if busy.swap(true, Ordering::AcqRel) {
                return Ok(None);
            }
            let as_of = last_session(&node.registry(), node.clock.now());
            let plan = CyclePlan { as_of, window: None, only: m.only, caps: node.caps };
            let told = |s: &StageDone| {
                tracing::info!(stage = %s.stage, millis = s.millis, counters = %s.counters, "stage done");
            };
            let result = cycle(&node, &stages, &plan, told).await;
            busy.store(false, Ordering::Release);
            result.map(Some)
        })
    }
}
