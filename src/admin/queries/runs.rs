//! `runs`: nightly cycles and their stages.

use super::{Page, day, not_found, text, time};
use crate::admin::AdminContext;
use crate::admin::commands::{Args, nearest};
use crate::admin::protocol::AdminError;
use datanode_schema::names::Stage;
use datanode_schema::records::RunRecord;
use datanode_schema::store::{Store, StoreError};
use datanode_schema::trees::RUNS;
use serde::Serialize;
use serde_json::Value;

/// A cycle, in a line.
#[derive(Clone, Debug, Serialize)]
pub struct RunRow {
    /// Its id.
    pub run_id: String,
    /// The last session considered.
    pub as_of: String,
    /// `done`, `stopped` (see `error`) or `open` (under way, or to be taken up again).
    pub state: &'static str,
    /// When it was first started.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// Stages that are done.
    pub stages: u64,
    /// Milliseconds of those stages together.
    pub millis: u64,
    /// Processes that worked on it.
    pub attempts: u32,
    /// The pack that it published or confirmed.
    pub export_id: Option<String>,
    /// Why it stopped.
    pub error: Option<String>,
}

/// A stage of a cycle.
#[derive(Clone, Debug, Serialize)]
pub struct StageRow {
    /// Its name.
    pub stage: String,
    /// Milliseconds that it took.
    pub millis: u64,
    /// What it counted.
    pub counters: Value,
}

/// A cycle with its stages.
#[derive(Clone, Debug, Serialize)]
pub struct RunDetails {
    /// The line.
    #[serde(flatten)]
    pub run: RunRow,
    /// First session of the window that the run was given.
    pub window_from: Option<String>,
    /// Last session of that window.
    pub window_to: Option<String>,
    /// The stages that are done, in order.
    pub stage_list: Vec<StageRow>,
}

impl RunRow {
    pub(super) fn of(id: &str, r: &RunRecord) -> Self {
        Self {
            run_id: id.to_owned(),
            as_of: day(r.as_of),
            state: match (r.finished_at, r.error.is_empty()) {
                (0, _) => "open",
                (_, true) => "done",
                (_, false) => "stopped",
            },
            started_at: time(r.started_at),
            finished_at: time(r.finished_at),
            stages: r.stages.len() as u64,
            millis: r.stages.iter().map(|s| s.millis).sum(),
            attempts: r.attempts,
            export_id: text(&r.export_id),
            error: text(&r.error),
        }
    }
}

impl RunDetails {
    fn of(id: &str, r: &RunRecord) -> Self {
        let window = |n: i32| (r.window != [0, 0]).then(|| day(n));
        let mut stages = r.stages.clone();
        stages.sort_by_key(|s| s.stage);
        Self {
            run: RunRow::of(id, r),
            window_from: window(r.window[0]),
            window_to: window(r.window[1]),
            stage_list: stages
                .into_iter()
                .map(|s| StageRow {
                    stage: Stage::from_number(s.stage).map_or_else(|| format!("#{}", s.stage), |n| n.name().to_owned()),
                    millis: s.millis,
                    counters: serde_json::from_str(&s.counters).unwrap_or(Value::String(s.counters)),
                })
                .collect(),
        }
    }
}

/// Newest first.
fn all(store: &Store) -> Result<Vec<(String, RunRecord)>, StoreError> {
    let mut runs = store.load_all(&RUNS, &[])?;
    runs.sort_by(|a, b| (b.1.started_at, &b.0).cmp(&(a.1.started_at, &a.0)));
    Ok(runs)
}

pub(super) fn newest_run(store: &Store) -> Result<Option<(String, RunRecord)>, StoreError> {
    Ok(all(store)?.into_iter().next())
}

/// The session up to which the last audit looked.
pub(super) fn last_audit(store: &Store) -> Result<Option<String>, StoreError> {
    let audited = |r: &RunRecord| r.stages.iter().any(|s| s.stage == Stage::Audit.number());
    Ok(all(store)?.into_iter().find(|(_, r)| audited(r)).map(|(_, r)| day(r.as_of)))
}

pub(super) fn list(ctx: &AdminContext, a: &Args) -> Result<Page<RunRow>, AdminError> {
    let mut page = Page::new(a);
    for (id, r) in all(&ctx.store)? {
        page.offer(|| RunRow::of(&id, &r));
    }
    Ok(page)
}

pub(super) fn show(ctx: &AdminContext, a: &Args) -> Result<RunDetails, AdminError> {
    let wanted = a.text("run_id").unwrap_or("last");
    let runs = all(&ctx.store)?;
    let found = if wanted == "last" { runs.first() } else { runs.iter().find(|(id, _)| id == wanted) };
    let Some((id, r)) = found else {
        return Err(not_found(match nearest(wanted, runs.iter().map(|(id, _)| id.as_str())) {
            Some(near) if wanted != "last" => {
                format!("there is no run {wanted:?}; did you mean `{near}`? `runs` lists them")
            }
            _ => "there is no run yet: the scheduler starts one at its time".to_owned(),
        }));
    };
    Ok(RunDetails::of(id, r))
}

/// A page of runs with their stages, the newest first, and how many runs there are: one reading of the tree.
///
/// # Errors
/// The store's.
pub fn newest_runs(ctx: &AdminContext, offset: usize, limit: usize) -> Result<(Vec<RunDetails>, usize), StoreError> {
    let all = all(&ctx.store)?;
    let page = all.iter().skip(offset).take(limit).map(|(id, r)| RunDetails::of(id, r));
    Ok((page.collect(), all.len()))
}
