//! Which verdicts are decided again because the rules changed, and which stand.
//!
//! Other thresholds re-open all of a dataset. Another calendar re-opens the days that it says something else of: of
//! every other day the verdict stands as it was decided, with the calendar that it was decided by. What a run began to
//! re-open is noted as done when all of it is judged; until then every run begins it anew.

use super::Context;
use super::ledger::carry;
use super::outcome::QcError;
use crate::calendars::{Changed, changes};
use crate::node::Node;
use datanode_schema::clock::date_of;
use datanode_schema::keys::{DecidedBy, PageKey, TouchedKey};
use datanode_schema::names::{Dataset, Reason};
use datanode_schema::paths::DataDir;
use datanode_schema::records::{LedgerDay, LedgerPage};
use datanode_schema::registry::{DatasetRule, Registry};
use datanode_schema::store::Batch;
use datanode_schema::trees::{CONTEXTS, COUNTERS, CURATED, UNJUDGED};
use std::collections::{BTreeMap, BTreeSet};

/// What the change of the rules means for a dataset.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Affected {
    /// Every verdict may be another.
    All,
    /// The verdicts of these days; none, mostly.
    Days(BTreeSet<i32>),
}

/// What this run re-opens.
pub(super) struct Reopening {
    /// Key of each dataset's context as the rules stand.
    pub(super) contexts: BTreeMap<Dataset, u64>,
    /// Every context that the ledger may refer to.
    known: BTreeMap<u64, Context>,
    affected: BTreeMap<Dataset, Affected>,
    changes: Vec<Changed>,
    /// Contexts that are not noted yet.
    fresh: BTreeMap<Dataset, u64>,
}

/// Under this name a counter holds the key of the context that a dataset was judged by.
fn counter(dataset: Dataset) -> String {
    format!("context:{dataset}")
}

impl Reopening {
    /// Compares the rules with those that the ledger was decided by, and marks the curated files that are to be judged
    /// again.
    pub(super) fn begin(node: &Node, registry: &Registry) -> Result<Self, QcError> {
        let changes = changes(&node.store, registry, DecidedBy::Verdicts)?;
        let mut known = BTreeMap::new();
        for (key, json) in node.store.load_all(&CONTEXTS, &[])? {
            // One of an older form explains no verdict of today.
            if let Ok(context) = serde_json::from_str::<Context>(&json) {
                known.insert(key, context);
            }
        }
        let mut out =
            Self { contexts: BTreeMap::new(), known, affected: BTreeMap::new(), changes, fresh: BTreeMap::new() };
        let mut batch = Batch::new();
        for (dataset, rule) in &registry.datasets {
            let now = Context::of(*dataset, rule);
            let (key, json) = now.keyed();
            let decided = node.store.load(&COUNTERS, &counter(*dataset))?;
            let before = decided.and_then(|k| out.known.get(&k));
            let affected = affected(before, &now, out.changes.iter().find(|c| c.is_of(rule)));
            mark(node, *dataset, rule, &affected, &mut batch)?;
            if decided != Some(key) {
                batch.put(&CONTEXTS, &key, &json)?;
                out.fresh.insert(*dataset, key);
            }
            out.known.insert(key, now);
            out.contexts.insert(*dataset, key);
            out.affected.insert(*dataset, affected);
        }
        if !batch.is_empty() {
            node.store.commit(batch)?;
        }
        Ok(out)
    }

    /// Gives the verdicts that stand the context that they were decided by: everything but the calendar's version is the
    /// same, and the calendars agree on the day.
    pub(super) fn settle(&self, key: &PageKey, page: &LedgerPage, fresh: &mut [LedgerDay]) {
        // Mostly there is one context, and nothing to settle.
        if page.groups.iter().all(|g| fresh.iter().all(|f| f.context == g.context)) {
            return;
        }
        let before = page.days(key.month.first_day());
        for f in fresh {
            let old = before.iter().find(|d| d.day == f.day && d.context != f.context);
            let Some(old) = old.filter(|o| self.stands(key.dataset, o, f)) else { continue };
            f.context = old.context;
        }
    }

    fn stands(&self, dataset: Dataset, old: &LedgerDay, fresh: &LedgerDay) -> bool {
        let agreed = match self.affected.get(&dataset) {
            Some(Affected::Days(days)) => !days.contains(&fresh.day),
            Some(Affected::All) | None => false,
        };
        // What its neighbours, the vendors and a person said of it is not the judge's to say again.
        let reasons = carry(fresh, old);
        let fresh = &LedgerDay { reasons, verdict: Reason::worst(reasons).number(), ..fresh.clone() };
        let same = LedgerDay {
            context: fresh.context,
            first_seen: fresh.first_seen,
            updated_at: fresh.updated_at,
            ..old.clone()
        };
        let of = |key: u64| self.known.get(&key);
        let rules = of(old.context).zip(of(fresh.context)).is_some_and(|(a, b)| a.same_but_version(b));
        agreed && rules && same == *fresh
    }

    /// Notes that everything that was re-opened is judged.
    pub(super) fn finish(self, node: &Node) -> Result<(), QcError> {
        let mut batch = Batch::new();
        for (dataset, key) in &self.fresh {
            batch.put(&COUNTERS, &counter(*dataset), key)?;
        }
        for changed in &self.changes {
            changed.remember(&mut batch)?;
        }
        if !batch.is_empty() {
            node.store.commit(batch)?;
        }
        Ok(())
    }
}

/// Pure: what lies between the rules that a dataset was judged by and those of now.
fn affected(before: Option<&Context>, now: &Context, changed: Option<&Changed>) -> Affected {
    let Some(before) = before.filter(|b| b.same_but_version(now)) else { return Affected::All };
    let same = before.calendar_sha256 == now.calendar_sha256;
    match changed.map(|c| (c.days.as_ref(), &c.before_sha256)) {
        // What is remembered is what the verdicts were decided by, or already what is now.
        Some((Some(days), sha256)) if same || *sha256 == before.calendar_sha256 => Affected::Days(days.clone()),
        // Nothing is remembered: an older build decided by the very same calendar.
        None | Some((None, _)) if same => Affected::Days(BTreeSet::new()),
        _ => Affected::All,
    }
}

/// Marks the curated files that hold an affected day.
fn mark(
    node: &Node,
    dataset: Dataset,
    rule: &DatasetRule,
    affected: &Affected,
    batch: &mut Batch,
) -> Result<(), QcError> {
    let keys: Vec<TouchedKey> = match affected {
        Affected::All => node.store.load_all(&CURATED, &[dataset.number()])?.into_iter().map(|(k, _)| k).collect(),
        Affected::Days(days) => {
            let paths: BTreeSet<String> =
                days.iter().map(|d| DataDir::curated_file(dataset, rule.curated, date_of(*d))).collect();
            let mut keys = Vec::new();
            for path in paths {
                let key = TouchedKey { dataset, path };
                if node.store.get(&CURATED, &key, |_| ())?.is_some() {
                    keys.push(key);
                }
            }
            keys
        }
    };
    let now = node.clock.now().timestamp();
    for key in keys {
        batch.put(&UNJUDGED, &key, &now)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_schema::calendar::{Calendar, Corrections};
    use datanode_schema::keys::Month;
    use datanode_schema::records::Print;
    use datanode_schema::registry::Sources;

    fn rule(d: Dataset) -> DatasetRule {
        Registry::parse(&Sources::read(None, None, None).unwrap()).unwrap().datasets[&d].clone()
    }

    /// The context of daily bars, and one of a calendar that had one session less.
    fn now_and_before() -> (Context, Context) {
        let now = Context::of(Dataset::EquitiesBars, &rule(Dataset::EquitiesBars));
        let closed = Corrections { closed: ["2025-06-24".parse().unwrap()].into(), ..Corrections::default() };
        let old = Calendar::Xnys.corrected(&closed).unwrap();
        let before =
            Context { calendar_version: old.version().to_owned(), calendar_sha256: old.sha256(), ..now.clone() };
        (now, before)
    }

    #[test]
    fn only_a_calendar_that_is_remembered_and_the_very_one_spares_the_other_days() {
        let (now, before) = now_and_before();
        let days: BTreeSet<i32> = [20_263].into();
        let some = |sha: &str| Changed::for_tests(Calendar::Xnys, Some(days.clone()), sha);
        let none = || Changed::for_tests(Calendar::Xnys, None, "");
        let exact = some(&before.calendar_sha256);
        assert_eq!(affected(Some(&before), &now, Some(&exact)), Affected::Days(days.clone()));
        assert_eq!(affected(Some(&now), &now, Some(&exact)), Affected::Days(days.clone()), "begun, and not finished");
        assert_eq!(affected(Some(&before), &now, Some(&some("of another"))), Affected::All);
        assert_eq!(affected(Some(&before), &now, Some(&none())), Affected::All);
        assert_eq!(affected(Some(&now), &now, Some(&none())), Affected::Days(BTreeSet::new()));
        assert_eq!(affected(None, &now, Some(&exact)), Affected::All);
        let mut stricter = before.clone();
        stricter.thresholds.min_completeness = 0.5;
        assert_eq!(affected(Some(&stricter), &now, Some(&exact)), Affected::All, "other thresholds change everything");
        let elsewhere = Context { calendar: "24x7".into(), ..before };
        assert_eq!(affected(Some(&elsewhere), &now, Some(&exact)), Affected::All);
    }

    #[test]
    fn a_verdict_stands_where_nothing_but_the_version_of_its_calendar_is_another() {
        let (now, before) = now_and_before();
        let mut stricter = before.clone();
        stricter.thresholds.min_completeness = 0.5;
        let r = Reopening {
            contexts: BTreeMap::new(),
            known: [(1, before), (2, now), (3, stricter)].into(),
            affected: [(Dataset::EquitiesBars, Affected::Days([20_263].into()))].into(),
            changes: Vec::new(),
            fresh: BTreeMap::new(),
        };
        let entry = |day: i32, context: u64, at: i64| LedgerDay {
            day,
            verdict: 1,
            reasons: 0,
            expected: 1,
            rows: 1,
            vendor: 2,
            context,
            first_seen: at,
            updated_at: at,
            print: Print { digest: [7; 16], ..Print::default() },
        };
        let key = PageKey {
            dataset: Dataset::EquitiesBars,
            symbol: "A".into(),
            month: Month::of("2025-06-24".parse().unwrap()),
        };
        let page = LedgerPage::pack(
            key.month.first_day(),
            &[entry(20_262, 1, 5), entry(20_263, 1, 5), entry(20_264, 3, 5), entry(20_265, 9, 5)],
        );
        let settled = |fresh: LedgerDay| {
            let mut one = [fresh];
            r.settle(&key, &page, &mut one);
            one[0].context
        };
        assert_eq!(settled(entry(20_262, 2, 9)), 1);
        assert_eq!(settled(LedgerDay { rows: 2, ..entry(20_262, 2, 9) }), 2, "other rows");
        assert_eq!(settled(LedgerDay { expected: 0, ..entry(20_262, 2, 9) }), 2, "another expectation");
        assert_eq!(settled(entry(20_263, 2, 9)), 2, "a day that the calendars do not agree on");
        assert_eq!(settled(entry(20_264, 2, 9)), 2, "other thresholds");
        assert_eq!(settled(entry(20_265, 2, 9)), 2, "a context that nobody knows");
        assert_eq!(settled(entry(20_266, 2, 9)), 2, "a new partition");
    }
}
