//! What is to do and what was judged: gap tasks, leases, budgets, the ledger, runs.

use super::grouped::{Grouped, bits, group};
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

/// A session that is absent or short, by itself: what a [`GapPage`] holds packed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GapTask {
    /// Day number of the session.
    pub day: i32,
    /// The absence's number.
    pub state: u8,
    /// The explanation's number; 0 where there is none.
    pub why: u8,
    /// Rows that the calendar expects.
    pub expected: u32,
    /// Rows that are held.
    pub rows: u32,
    /// Unix seconds when the audit first saw it.
    pub discovered_at: i64,
    /// The evidence, by vendor.
    pub answers: Vec<Answer>,
}

/// Sessions of a month of which the same is to be said: one bit a day instead of one record a task.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct GapGroup {
    /// The days: bit 0 is the first of the month.
    pub days: u32,
    /// The absence's number.
    pub state: u8,
    /// The explanation's number; 0 where there is none.
    pub why: u8,
    /// Rows that the calendar expects of each.
    pub expected: u32,
    /// Rows that are held of each.
    pub rows: u32,
    /// Unix seconds when the audit first saw them.
    pub discovered_at: i64,
    /// The evidence, by vendor.
    pub answers: Vec<Answer>,
}

/// A month of absent or short sessions of one symbol: the queue, packed. Millions of tasks of a long history are a few
/// groups a page; the worst page, in which every day has a story of its own, stays below 4 KiB.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct GapPage {
    /// Sorted by their first day; no day is in two of them.
    pub groups: Vec<GapGroup>,
}

impl GapPage {
    /// Packs the tasks of the month that begins on day number `first`; tasks of other months are left out.
    pub fn pack(first: i32, tasks: impl IntoIterator<Item = GapTask>) -> Self {
        let story = |t: GapTask| GapGroup {
            days: 0,
            state: t.state,
            why: t.why,
            expected: t.expected,
            rows: t.rows,
            discovered_at: t.discovered_at,
            answers: t.answers,
        };
        Self { groups: group(first, tasks.into_iter().map(|t| (t.day, story(t)))) }
    }

    /// The tasks one by one, by day; `first` is the day number of the month's first day.
    pub fn tasks(&self, first: i32) -> Vec<GapTask> {
        let mut out: Vec<GapTask> = self.groups.iter().flat_map(|g| g.tasks(first)).collect();
        out.sort_by_key(|t| t.day);
        out
    }

    /// Every day that has a task.
    pub fn days(&self) -> u32 {
        self.groups.iter().fold(0, |a, g| a | g.days)
    }
}

impl GapGroup {
    /// The tasks one by one, by day.
    pub fn tasks(&self, first: i32) -> impl Iterator<Item = GapTask> + '_ {
        bits(self.days).map(move |n| GapTask {
            day: first + n,
            state: self.state,
            why: self.why,
            expected: self.expected,
            rows: self.rows,
            discovered_at: self.discovered_at,
            answers: self.answers.clone(),
        })
    }
}

impl Grouped for GapGroup {
    fn days_mut(&mut self) -> &mut u32 {
        &mut self.days
    }
}

/// How a vendor has done for a dataset: what its score is learned from.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Asks that were answered, well or not; refusals for a limit do not count.
    pub asks: u64,
    /// Of those, the ones with a good answer.
    pub good: u64,
    /// Good answers of late, in parts of a million; an average in which each answer weighs a sixteenth.
    pub quality_ppm: u32,
    /// Milliseconds of a request of late, averaged the same way; 0 = not known.
    pub latency_ms: u32,
    /// Unix seconds.
    pub updated_at: i64,
}

/// What a person said about a vendor.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct VendorState {
    /// It is not asked until it is resumed.
    pub paused: bool,
    /// Who said so.
    pub by: String,
    /// Unix seconds.
    pub at: i64,
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

impl ArchivedGapPage {
    /// The page, out of the store's bytes.
    pub fn native(&self) -> GapPage {
        GapPage { groups: self.groups.iter().map(ArchivedGapGroup::native).collect() }
    }
}

impl ArchivedGapGroup {
    /// The group, out of the store's bytes.
    pub fn native(&self) -> GapGroup {
        GapGroup {
            days: self.days.to_native(),
            state: self.state,
            why: self.why,
            expected: self.expected.to_native(),
            rows: self.rows.to_native(),
            discovered_at: self.discovered_at.to_native(),
            answers: self.answers.iter().map(ArchivedAnswer::native).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(vendor: u8) -> Answer {
        Answer { vendor, outcome: 3, days: 1, attempts: 4, last_day: 20_513 }
    }

    proptest! {
        #[test]
        fn a_page_gives_back_the_tasks_that_were_packed(days in proptest::collection::btree_map(0i32..31, (0u8..3, 0u8..3), 0..31)) {
            let tasks: Vec<GapTask> = days
                .into_iter()
                .map(|(d, (state, n))| GapTask {
                    day: 20_000 + d,
                    state,
                    why: 0,
                    expected: 390,
                    rows: u32::from(n),
                    discovered_at: 7,
                    answers: (0..n).map(answer).collect(),
                })
                .collect();
            let page = GapPage::pack(20_000, tasks.clone());
            prop_assert_eq!(page.tasks(20_000), tasks);
        }
    }

    #[test]
    fn a_plain_month_is_one_group_and_the_worst_one_fits_a_record() {
        let task = |d: i32, n: u8| GapTask {
            day: d,
            state: 1,
            why: 0,
            expected: 390,
            rows: d.unsigned_abs(),
            discovered_at: 7,
            answers: (0..n).map(answer).collect(),
        };
        let plain = GapPage::pack(0, (0..31).map(|d| GapTask { rows: 0, ..task(d, 0) }));
        assert_eq!(plain.groups.len(), 1);
        let worst = GapPage::pack(0, (0..31).map(|d| task(d, 4)));
        assert_eq!(worst.groups.len(), 31);
        assert!(rkyv::to_bytes::<rkyv::rancor::Error>(&worst).unwrap().len() < 4096);
    }
}
