//! The record of a run.

use crate::node::{Node, RunCaps, RunContext};
use chrono::{DateTime, NaiveDate};
use datanode_schema::clock::{compact, date_of, day_number};
use datanode_schema::names::Stage;
use datanode_schema::records::{RunRecord, StageRecord};
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::RUNS;
use std::sync::Arc;

/// A run with its record.
pub struct RunBook {
    /// What the stages are given.
    pub run: Arc<RunContext>,
    /// Whether an earlier process began it.
    pub resumed: bool,
    record: RunRecord,
}

impl RunBook {
    /// Takes up the unfinished run of that session, window and stages, else begins one.
    ///
    /// # Errors
    /// The store's.
    pub fn open(
        node: &Node,
        as_of: NaiveDate,
        window: Option<(NaiveDate, NaiveDate)>,
        only: &[Stage],
        caps: RunCaps,
    ) -> Result<Self, StoreError> {
        let only: Vec<u8> = only.iter().map(|s| s.number()).collect();
        let days = window.map_or([0, 0], |(a, b)| [day_number(a), day_number(b)]);
        let runs = node.store.load_all(&RUNS, &[])?;
        let open = runs
            .iter()
            .rev()
            .find(|(_, r)| r.finished_at == 0 && r.as_of == day_number(as_of) && r.window == days && r.only == only);
        let (id, mut record, resumed) = match open {
            Some((id, r)) => (id.clone(), r.clone(), true),
            None => {
                let stamp = compact(node.clock.now());
                let same = runs.iter().filter(|(id, _)| id.starts_with(&stamp)).count();
                let id = if same == 0 { stamp } else { format!("{stamp}-{}", same + 1) };
                (id, fresh(node, as_of, days, only), false)
            }
        };
        record.attempts += 1;
        let started = DateTime::from_timestamp(record.started_at, 0).unwrap_or_else(|| node.clock.now());
        let run = Arc::new(RunContext::new(id, date_of(record.as_of), started, window).with_caps(caps));
        let book = Self { run, resumed, record };
        book.write(node)?;
        Ok(book)
    }

    /// Whether an earlier process finished that stage of this run.
    pub fn has_done(&self, stage: Stage) -> bool {
        self.record.stages.iter().any(|s| s.stage == stage.number())
    }

    /// The counters that an earlier process wrote for a stage.
    pub fn counters(&self, stage: Stage) -> Option<&str> {
        self.record.stages.iter().find(|s| s.stage == stage.number()).map(|s| s.counters.as_str())
    }

    /// Notes a finished stage.
    ///
    /// # Errors
    /// The store's.
    pub fn done(&mut self, node: &Node, stage: Stage, millis: u64, counters: String) -> Result<(), StoreError> {
        self.record.stages.retain(|s| s.stage != stage.number());
        self.record.stages.push(StageRecord { stage: stage.number(), millis, counters });
        self.write(node)
    }

    /// The pack that the run published or confirmed.
    pub fn set_export(&mut self, export_id: &str) {
        export_id.clone_into(&mut self.record.export_id);
    }

    /// The pack that the run published or confirmed; empty before.
    pub fn export_id(&self) -> &str {
        &self.record.export_id
    }

    /// Ends the run, with what stopped it where it did not go to its end.
    ///
    /// # Errors
    /// The store's.
    pub fn finish(&mut self, node: &Node, error: &str) -> Result<(), StoreError> {
        self.record.finished_at = node.clock.now().timestamp();
        error.clone_into(&mut self.record.error);
        self.write(node)
    }

    fn write(&self, node: &Node) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.put(&RUNS, &self.run.id, &self.record)?;
        node.store.commit(batch).map(|_| ())
    }
}

fn fresh(node: &Node, as_of: NaiveDate, window: [i32; 2], only: Vec<u8>) -> RunRecord {
    RunRecord {
        as_of: day_number(as_of),
        started_at: node.clock.now().timestamp(),
        finished_at: 0,
        stages: Vec::new(),
        export_id: String::new(),
        error: String::new(),
        attempts: 0,
        window,
        only,
    }
}
