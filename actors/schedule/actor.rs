//! The scheduler's shell: wakes when a cycle is due and, between, every so often for what is new.

use super::{CycleError, CyclePlan, Rhythm, RunSummary, StageDone, Stages, Timetable, cycle, last_session};
use crate::node::Node;
use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture};
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

/// Wakes carry nothing: what there is to do is in the store.
#[derive(Message)]
#[rtype(result = "()")]
struct Look;

/// See [`Look`].
#[derive(Message)]
#[rtype(result = "()")]
struct Ingest;

/// See [`Look`].
#[derive(Message)]
#[rtype(result = "()")]
struct Due;

/// How long a cycle that is due waits for one that is under way, before it asks again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The scheduler.
pub struct Scheduler {
    /// The node.
    pub node: Arc<Node>,
    /// Its stages.
    pub stages: Stages,
    /// How often to look for what is new between; None: never.
    pub ingest_every: Option<Duration>,
    /// One cycle at a time: true while it is under way.
    pub busy: Arc<AtomicBool>,
    timetable: Timetable,
    /// A whole cycle is due.
    due: bool,
}

impl Scheduler {
    /// A scheduler that is not started.
    pub fn new(node: Arc<Node>, stages: Stages, rhythm: Rhythm, ingest_every: Option<Duration>) -> Self {
        let timetable = Timetable::new(rhythm, node.clock.now());
        Self { node, stages, ingest_every, busy: Arc::default(), timetable, due: false }
    }

    fn plan_next_ingest(&self, ctx: &mut Context<Self>) {
        if let Some(every) = self.ingest_every {
            ctx.notify_later(Ingest, every);
        }
    }

    fn begin(&mut self, only: Vec<Stage>, ctx: &mut Context<Self>) -> ResponseFuture<()> {
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

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.notify(Look);
        self.plan_next_ingest(ctx);
    }
}

impl Handler<Look> for Scheduler {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Look, ctx: &mut Self::Context) -> Self::Result {
        let look = self.timetable.look(self.node.clock.now());
        ctx.notify_later(Look, look.wait.to_std().unwrap_or(PATIENCE));
        if !look.due {
            return Box::pin(async {});
        }
        self.due = true;
        self.handle(Due, ctx)
    }
}

impl Handler<Due> for Scheduler {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Due, ctx: &mut Self::Context) -> Self::Result {
        // However many became due while a cycle was under way, one follows it.
        if !self.due {
            return Box::pin(async {});
        }
        if self.busy.load(Ordering::Acquire) {
            ctx.notify_later(Due, PATIENCE);
            return Box::pin(async {});
        }
        self.due = false;
        self.begin(Vec::new(), ctx)
    }
}

impl Handler<Ingest> for Scheduler {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Ingest, ctx: &mut Self::Context) -> Self::Result {
        self.plan_next_ingest(ctx);
        self.begin(vec![Stage::Ingest, Stage::Audit], ctx)
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
