//! What is to do and what was judged: gap tasks, leases, budgets, the ledger, runs.

use rkyv::{Archive, Deserialize, Serialize};

/// What a vendor said about one session that it was asked for and gave no (or too few) rows for.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The vendor's number.
    pub vendor: u8,
    /// The outcome's number.
    pub outcome: u8,
    /// How many different days it said so on.
    pub days: u8,
    /// Failed attempts (errors, not answers).
    pub attempts: u8,
    /// Day number when it last said so.
    pub last_day: i32,
}

/// A session that is absent or short.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct GapTask {
    /// Day number of the session.
    pub day: i32,
    /// The absence's number.
    pub state: u8,
    /// Rows that the calendar expects.
    pub expected: u32,
    /// Rows that are held.
    pub rows: u32,
    /// Unix seconds when the audit first saw it.
    pub discovered_at: i64,
    /// The evidence, by vendor.
    pub answers: Vec<Answer>,
}

/// A month of absent or short sessions of one symbol: the queue, packed.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct GapPage {
    /// Sorted by day.
    pub tasks: Vec<GapTask>,
}

/// A batch of tasks that one vendor is at work on: `from..=to` of one symbol.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The vendor's number.
    pub vendor: u8,
    /// The dataset's number.
    pub dataset: u8,
    /// The symbol.
    pub symbol: String,
    /// First day number.
    pub from: i32,
    /// Last day number.
    pub to: i32,
    /// The fencing number: grows with every claim; a result under another number is dropped.
    pub fence: u64,
    /// The process that holds it (drawn at start): a lease of another process is void, since the folder has one owner.
    pub holder: u64,
    /// The boot that the deadline belongs to.
    pub boot_id: String,
    /// Milliseconds since boot when it may be claimed again.
    pub deadline_ms: u64,
    /// Unix seconds, for people.
    pub claimed_at: i64,
}

/// Requests in one second.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spent {
    /// Second since boot.
    pub second: u64,
    /// Requests.
    pub requests: u32,
}

/// What a vendor's budget has spent, written before the requests go out.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct BudgetRecord {
    /// Day number (UTC) that `today` counts.
    pub day: i32,
    /// Requests spent or reserved on that day.
    pub today: u64,
    /// Requests in all.
    pub total: u64,
    /// The boot that the seconds belong to.
    pub boot_id: String,
    /// The last 61 seconds in which something was spent or reserved.
    pub recent: Vec<Spent>,
    /// Unix seconds until which the vendor asked to be left alone.
    pub closed_until: i64,
    /// The share of the rates that its 429s have taught us to leave, in parts of a million.
    pub slowed_ppm: u32,
}

/// The verdict of one partition.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct LedgerDay {
    /// Day number.
    pub day: i32,
    /// The verdict's number.
    pub verdict: u8,
    /// The set of reasons.
    pub reasons: u32,
    /// Rows that the calendar expects.
    pub expected: u32,
    /// Rows in the curated file.
    pub rows: u32,
    /// The number of the vendor that most rows came from; 0 where there are none.
    pub vendor: u8,
    /// BLAKE3 of the partition's rows, first 16 bytes; zeros where there are none.
    pub digest: [u8; 16],
    /// Key of the decision context (thresholds, calendar, configuration) in `contexts`.
    pub context: u64,
    /// Unix seconds.
    pub first_seen: i64,
    /// Unix seconds of the last change.
    pub updated_at: i64,
}

/// A month of verdicts of one symbol.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct LedgerPage {
    /// Sorted by day.
    pub days: Vec<LedgerDay>,
}

/// A stage of a run.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct StageRecord {
    /// The stage's number.
    pub stage: u8,
    /// Milliseconds that it took.
    pub millis: u64,
    /// Its counters, as JSON (`{"rows":1}`).
    pub counters: String,
}

/// One nightly cycle.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RunRecord {
    /// Day number of the last session considered.
    pub as_of: i32,
    /// Unix seconds of the first start; a resumed run keeps it, and its pack is dated by it.
    pub started_at: i64,
    /// Unix seconds, 0 while it is not finished.
    pub finished_at: i64,
    /// What the stages that are done have counted.
    pub stages: Vec<StageRecord>,
    /// The pack that it published or confirmed; empty before.
    pub export_id: String,
    /// Why it stopped; empty where it did not.
    pub error: String,
    /// How many processes worked on it.
    pub attempts: u32,
    /// First and last day where the run was given a window, else 0.
    pub window: [i32; 2],
    /// The stages that it was told to run, by number; empty: all.
    pub only: Vec<u8>,
}

impl ArchivedAnswer {
    /// The answer, out of the store's bytes.
    pub fn native(&self) -> Answer {
        Answer {
            vendor: self.vendor,
            outcome: self.outcome,
            days: self.days,
            attempts: self.attempts,
            last_day: self.last_day.to_native(),
        }
    }
}

impl ArchivedGapTask {
    /// The task, out of the store's bytes.
    pub fn native(&self) -> GapTask {
        GapTask {
            day: self.day.to_native(),
            state: self.state,
            expected: self.expected.to_native(),
            rows: self.rows.to_native(),
            discovered_at: self.discovered_at.to_native(),
            answers: self.answers.iter().map(ArchivedAnswer::native).collect(),
        }
    }
}
