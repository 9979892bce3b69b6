//! What has to be counted over whole trees, kept until they change.

use super::facts::{GapFact, RunFact};
use super::runs::RunRow;
use datanode_schema::clock::date_of;
use datanode_schema::names::{Absence, Dataset, Stage, Verdict};
use datanode_schema::records::RunRecord;
use datanode_schema::store::{Store, StoreError};
use datanode_schema::trees::{GAPS, LEDGER, RUNS};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Up to so many pages are counted whenever they changed: that costs a millisecond or two. More are counted beside, by a thread of their
/// own, while who asks is given the last counts.
const FEW: u64 = 4096;
/// Counting a large state takes at most this part of the time.
const PART: u32 = 50;

/// Absences and verdicts as they were counted last, and what the runs come to; clones share them. Starts empty.
#[derive(Clone, Default)]
pub struct Counted(Arc<Shared>);

#[derive(Default)]
struct Shared {
    kept: Mutex<Option<Kept>>,
    runs: Mutex<Option<(u64, Arc<RunFacts>)>>,
    counting: AtomicBool,
}

struct Kept {
    changed: u64,
    commit: u64,
    took: Duration,
    since: Instant,
    counts: Arc<Counts>,
}

/// Sessions and partitions by state.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) gaps: BTreeMap<Dataset, Absences>,
    verdicts: [u64; 16],
}

/// What the runs on record come to.
#[derive(Clone, Debug, Default)]
pub(super) struct RunFacts {
    pub(super) newest: Option<RunFact>,
    pub(super) newest_cycle: Option<RunFact>,
    pub(super) last_good_at: i64,
    pub(super) good: u64,
    pub(super) failed: u64,
}

impl Counted {
    /// The counts, and the commit that they are of: of now where there are few pages, else as new as counting them beside allows.
    pub(super) fn lately(&self, store: &Store) -> Result<(u64, Arc<Counts>), StoreError> {
        // Read before counting: what is committed meanwhile makes the next question count again.
        let (changed, commit) = (changed(store), store.commit_number());
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(k) = kept.as_ref() {
            if k.changed == changed {
                return Ok((commit, k.counts.clone()));
            }
            if store.len(GAPS.name) + store.len(LEDGER.name) > FEW {
                if k.since.elapsed() > k.took * PART && !self.0.counting.swap(true, Ordering::AcqRel) {
                    self.count_beside(store);
                }
                return Ok((k.commit, k.counts.clone()));
            }
        }
        let new = Kept::of(store, changed, commit)?;
        let counts = new.counts.clone();
        *kept = Some(new);
        Ok((commit, counts))
    }

    fn count_beside(&self, store: &Store) {
        let (shared, store) = (self.0.clone(), store.clone());
        let begun = std::thread::Builder::new().name("counting".to_owned()).spawn(move || {
            match Kept::of(&store, changed(&store), store.commit_number()) {
                Ok(new) => *shared.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(new),
                Err(e) => tracing::warn!(error = %e, "the state could not be counted; the figures are older"),
            }
            shared.counting.store(false, Ordering::Release);
        });
        if let Err(e) = begun {
            self.0.counting.store(false, Ordering::Release);
            tracing::warn!(error = %e, "no thread to count the state with; the figures are older");
        }
    }

    /// What the runs come to; read again where one changed.
    pub(super) fn runs(&self, store: &Store) -> Result<Arc<RunFacts>, StoreError> {
        let changed = store.changed_at(RUNS.name);
        let mut kept = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, runs)) = kept.as_ref()
            && *at == changed
        {
            return Ok(runs.clone());
        }
        let runs = Arc::new(RunFacts::of(&store.load_all(&RUNS, &[])?));
        *kept = Some((changed, runs.clone()));
        Ok(runs)
    }
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counted")
    }
}

/// The last commit that changed what is counted.
fn changed(store: &Store) -> u64 {
    store.changed_at(GAPS.name).max(store.changed_at(LEDGER.name))
}

impl Kept {
    fn of(store: &Store, changed: u64, commit: u64) -> Result<Self, StoreError> {
        let since = Instant::now();
        let counts = Arc::new(count(store)?);
        Ok(Self { changed, commit, took: since.elapsed(), since: Instant::now(), counts })
    }
}

fn count(store: &Store) -> Result<Counts, StoreError> {
    let mut gaps: BTreeMap<Dataset, Absences> = BTreeMap::new();
    let lacking = [Absence::Missing, Absence::Short, Absence::Hole].map(Absence::number);
    store.scan(&GAPS, &[], |k, page| {
        let of = gaps.entry(k.dataset).or_insert(Absences { states: [0; 16], oldest: None });
        for g in page.groups.iter() {
            let days = g.days.to_native();
            bump(&mut of.states, g.state, days);
            if lacking.contains(&g.state) && days != 0 {
                let day = k.month.first_day().saturating_add(i32::try_from(days.trailing_zeros()).unwrap_or(0));
                of.oldest = Some(of.oldest.map_or(day, |o| o.min(day)));
            }
        }
        ControlFlow::Continue(())
    })?;
    let mut verdicts = [0u64; 16];
    store.scan(&LEDGER, &[], |_, page| {
        page.groups.iter().for_each(|g| bump(&mut verdicts, g.verdict, g.days.to_native()));
        ControlFlow::Continue(())
    })?;
    Ok(Counts { gaps, verdicts })
}

fn bump(counts: &mut [u64; 16], n: u8, days: u32) {
    if let Some(c) = counts.get_mut(usize::from(n)) {
        *c += u64::from(days.count_ones());
    }
}

fn at(counts: &[u64; 16], n: u8) -> u64 {
    counts.get(usize::from(n)).copied().unwrap_or(0)
}

/// By name; every absence is there.
pub(super) fn by_absence(states: &[u64; 16]) -> BTreeMap<&'static str, u64> {
    Absence::ALL.iter().map(|a| (a.name(), at(states, a.number()))).collect()
}

impl Counts {
    /// Sessions by absence, over all datasets.
    pub(super) fn queue(&self) -> BTreeMap<&'static str, u64> {
        let of = |a: &Absence| self.gaps.values().map(|g| at(&g.states, a.number())).sum();
        Absence::ALL.iter().map(|a| (a.name(), of(a))).collect()
    }

    /// Partitions by verdict.
    pub(super) fn ledger(&self) -> BTreeMap<&'static str, u64> {
        Verdict::ALL.iter().map(|v| (v.name(), at(&self.verdicts, v.number()))).collect()
    }
}

impl RunFact {
    fn of(id: &str, r: &RunRecord) -> Self {
        let mut stages = r.stages.clone();
        stages.sort_by_key(|s| s.stage);
        Self {
            run_id: id.to_owned(),
            state: RunRow::of(id, r).state,
            started_at: r.started_at,
            finished_at: r.finished_at,
            export_id: r.export_id.clone(),
            error: r.error.clone(),
            stages: stages.iter().filter_map(|s| Some((Stage::from_number(s.stage)?.name(), s.millis))).collect(),
        }
    }
}

impl RunFacts {
    /// Of all runs on record.
    fn of(runs: &[(String, RunRecord)]) -> Self {
        let newest = |whole: bool| {
            let of = runs.iter().filter(|(_, r)| !whole || r.only.is_empty());
            of.max_by_key(|(id, r)| (r.started_at, id.clone())).map(|(id, r)| RunFact::of(id, r))
        };
        let ended = || runs.iter().map(|(_, r)| r).filter(|r| r.finished_at != 0 && r.only.is_empty());
        let good = || ended().filter(|r| r.error.is_empty() && !r.export_id.is_empty());
        Self {
            newest: newest(false),
            newest_cycle: newest(true),
            last_good_at: good().map(|r| r.finished_at).max().unwrap_or(0),
            good: good().count() as u64,
            failed: ended().filter(|r| !r.error.is_empty()).count() as u64,
        }
    }
}

/// Sessions of a dataset, as counted.
#[derive(Clone, Debug)]
pub(super) struct Absences {
    /// By the absence's number.
    pub(super) states: [u64; 16],
    /// Day number of the oldest that is missing or short.
    pub(super) oldest: Option<i32>,
}

impl Absences {
    /// As it is told on the day number `today`.
    pub(super) fn fact(&self, dataset: Dataset, today: i32) -> GapFact {
        GapFact {
            dataset: dataset.name(),
            sessions: by_absence(&self.states),
            oldest_missing: self.oldest.map(|d| date_of(d).to_string()),
            oldest_missing_days: self.oldest.map(|d| i64::from(today) - i64::from(d)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use datanode_schema::keys::{Month, PageKey};
    use datanode_schema::records::{GapGroup, GapPage};
    use datanode_schema::store::{Batch, StoreOptions};
    use datanode_schema::trees;

    fn put(store: &Store, symbols: std::ops::Range<u64>) {
        for some in symbols.collect::<Vec<_>>().chunks(500) {
            let mut batch = Batch::new();
            for n in some {
                let month = Month::of("2025-06-02".parse().unwrap());
                let key = PageKey { dataset: Dataset::EquitiesBars, symbol: format!("S{n}"), month };
                let state = Absence::Missing.number();
                let group = GapGroup {
                    days: 0b110,
                    state,
                    why: 0,
                    expected: 1,
                    rows: 0,
                    discovered_at: 0,
                    answers: Vec::new(),
                };
                batch.put(&GAPS, &key, &GapPage { groups: vec![group] }).unwrap();
            }
            store.commit(batch).unwrap();
        }
    }

    fn missing(c: &Counts) -> u64 {
        c.queue().get("missing").copied().unwrap_or(0)
    }

    #[test]
    fn few_pages_are_counted_at_once_and_many_beside_while_the_last_counts_are_given() {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions { free_space_floor: 0, ..StoreOptions::default() };
        let store = Store::open(&folder.path().join("state"), &trees::all(), &options).unwrap();
        let counted = Counted::default();
        put(&store, 0..10);
        let (at, counts) = counted.lately(&store).unwrap();
        assert_eq!((at, missing(&counts)), (store.commit_number(), 20));
        let oldest = counts.gaps.get(&Dataset::EquitiesBars).and_then(|g| g.oldest).map(date_of);
        assert_eq!(oldest, Some("2025-06-02".parse().unwrap()));
        put(&store, 10..20);
        assert_eq!(missing(&counted.lately(&store).unwrap().1), 40, "of now");
        let before = store.commit_number();
        put(&store, 20..FEW + 10);
        let (at, counts) = counted.lately(&store).unwrap();
        assert_eq!((at, missing(&counts)), (before, 40), "what was counted last, and of when");
        let began = Instant::now();
        while missing(&counted.lately(&store).unwrap().1) != 2 * (FEW + 10) {
            assert!(began.elapsed() < Duration::from_secs(60), "nobody counts");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        store.close().unwrap();
    }
}
