//! What to ask, as pure functions of what is known. The order is fixed: the same state gives the same asks.

use crate::vendor::{Ask, Purpose};
use chrono::{DateTime, Datelike, Duration, NaiveDate, Utc};
use datanode_schema::clock::date_of;
use datanode_schema::names::{Absence, Dataset, Vendor};
use datanode_schema::records::{Answer, Bookmark};
use datanode_schema::registry::{Capability, DatasetRule, Registry};
use std::collections::{BTreeMap, BTreeSet};

/// Failed attempts of one vendor at one task before the task is no longer given to it.
pub const MAX_ATTEMPTS: u8 = 5;
/// Different days on which one vendor is asked again for a short session.
const MAX_SHORT_DAYS: u8 = 3;

/// A gap task with its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapDay {
    /// Day number.
    pub day: i32,
    /// Its state.
    pub state: Absence,
    /// The evidence.
    pub answers: Vec<Answer>,
}

/// What planning knows besides the registry.
pub struct Known<'a> {
    /// Vendors that are enabled.
    pub enabled: &'a BTreeSet<Vendor>,
    /// Vendors that are not to be asked for a symbol now.
    pub demoted: &'a BTreeSet<(Dataset, String, Vendor)>,
    /// Day number of today, for "has it answered today?".
    pub today: i32,
    /// Now: no session is asked for before its rows can be there.
    pub now: DateTime<Utc>,
}

impl Known<'_> {
    fn usable(&self, vendor: Vendor, dataset: Dataset, symbol: &str) -> bool {
        self.enabled.contains(&vendor) && !self.demoted.contains(&(dataset, symbol.to_owned(), vendor))
    }
}

/// The asks that bring every bookmark to `as_of`: each symbol's preferred vendor for what it has not answered yet.
/// `window` narrows the universe.
pub fn ingest(
    registry: &Registry,
    known: &Known<'_>,
    bookmarks: &BTreeMap<(Dataset, String, Vendor), Bookmark>,
    as_of: NaiveDate,
    window: Option<(NaiveDate, NaiveDate)>,
) -> Vec<Ask> {
    let none = Bookmark::default();
    let mut groups: BTreeMap<(Dataset, Vendor, NaiveDate, NaiveDate), Vec<String>> = BTreeMap::new();
    for (dataset, symbol, spans) in registry.universe.iter() {
        let Some(rule) = registry.rule(dataset) else { continue };
        let Some(ready) = last_ready(rule, known.now) else { continue };
        for span in spans {
            let Some((from, to)) = span.until(as_of.min(ready)) else { continue };
            let (from, to) = window.map_or((from, to), |(a, b)| (from.max(a), to.min(b)));
            let preferred = registry
                .ranked(dataset)
                .into_iter()
                .filter(|(v, _)| known.usable(*v, dataset, symbol))
                .find_map(|(v, c)| c.clip(from, to).map(|w| (v, w)));
            let Some((vendor, (from, to))) = preferred.filter(|_| from <= to) else { continue };
            let bookmark = bookmarks.get(&(dataset, symbol.to_owned(), vendor)).unwrap_or(&none);
            for lack in bookmark.lacks(day(from), day(to)) {
                for (a, b) in pieces(dataset, date_of(lack.from), date_of(lack.to)) {
                    if rule.calendar().count(a, b) > 0 {
                        groups.entry((dataset, vendor, a, b)).or_default().push(symbol.to_owned());
                    }
                }
            }
        }
    }
    let mut out = Vec::new();
    for ((dataset, vendor, from, to), symbols) in groups {
        let Some(c) = registry.capability(vendor, dataset) else { continue };
        for some in symbols.chunks(symbols_a_request(registry, dataset, c, from, to)) {
            out.push(ask(c, vendor, dataset, some.to_vec(), from, to, Purpose::Ingest, Vec::new()));
        }
    }
    out
}

/// The last day up to which every session's rows can be expected at `now`: a bookmark that moved over later ones would
/// say that they were answered.
fn last_ready(rule: &DatasetRule, now: DateTime<Utc>) -> Option<NaiveDate> {
    let wait = Duration::minutes(i64::from(rule.ready_after_minutes));
    let mut day = now.date_naive();
    for _ in 0..60 {
        if rule.calendar().session(day).is_some_and(|s| s.close + wait <= now) {
            return Some(day);
        }
        day = day.pred_opt()?;
    }
    None
}

/// The asks that `vendor` may claim of the gap tasks of one symbol: those for which it is the best that can be asked
/// today. One ask spans as many tasks as one answer can hold.
pub fn backfill(
    registry: &Registry,
    known: &Known<'_>,
    vendor: Vendor,
    dataset: Dataset,
    symbol: &str,
    tasks: &[GapDay],
) -> Vec<Ask> {
    let ranked: Vec<_> =
        registry.ranked(dataset).into_iter().filter(|(v, _)| known.usable(*v, dataset, symbol)).collect();
    let (Some(c), Some(rule)) = (registry.capability(vendor, dataset), registry.rule(dataset)) else {
        return Vec::new();
    };
    let mine: Vec<i32> = tasks
        .iter()
        .filter(|t| ranked.iter().find(|(v, c)| askable(*v, c, t, known.today)).is_some_and(|(v, _)| *v == vendor))
        .map(|t| t.day)
        .collect();
    let limit = sessions_an_answer(dataset, c);
    let mut out: Vec<Ask> = Vec::new();
    for d in mine {
        if let Some(last) = out.last_mut()
            && rule.calendar().count(last.from, date_of(d)) <= limit
        {
            last.to = date_of(d);
            last.days.push(d);
            continue;
        }
        out.push(ask(c, vendor, dataset, vec![symbol.to_owned()], date_of(d), date_of(d), Purpose::Backfill, vec![d]));
    }
    out
}

fn askable(vendor: Vendor, c: &Capability, task: &GapDay, today: i32) -> bool {
    let date = date_of(task.day);
    let answer = task.answers.iter().find(|a| a.vendor == vendor.number());
    let open = match task.state {
        Absence::Missing => answer.is_none_or(|a| a.last_day < today && a.attempts < MAX_ATTEMPTS),
        Absence::Short => {
            answer.is_none_or(|a| a.last_day < today && a.days < MAX_SHORT_DAYS && a.attempts < MAX_ATTEMPTS)
        }
        Absence::Explained | Absence::Pending | Absence::Unobtainable => false,
    };
    open && c.clip(date, date).is_some()
}

#[allow(clippy::too_many_arguments, reason = "the fields of an Ask, in its order")]
fn ask(
    c: &Capability,
    vendor: Vendor,
    dataset: Dataset,
    symbols: Vec<String>,
    from: NaiveDate,
    to: NaiveDate,
    purpose: Purpose,
    days: Vec<i32>,
) -> Ask {
    Ask {
        vendor,
        dataset,
        symbols,
        from,
        to,
        feed: c.feed.clone(),
        adjustment: c.adjustment.clone(),
        max_rows: c.max_rows,
        purpose,
        days,
    }
}

fn day(date: NaiveDate) -> i32 {
    datanode_schema::clock::day_number(date)
}

/// Minute windows are cut at months, so that an answer fits memory and a resumed run cuts where the first one did.
fn pieces(dataset: Dataset, from: NaiveDate, to: NaiveDate) -> Vec<(NaiveDate, NaiveDate)> {
    if dataset != Dataset::EquitiesBarsMinute {
        return vec![(from, to)];
    }
    let mut out = Vec::new();
    let mut a = from;
    while a <= to {
        let next = if a.month() == 12 { (a.year() + 1, 1) } else { (a.year(), a.month() + 1) };
        let first_of_next = NaiveDate::from_ymd_opt(next.0, next.1, 1);
        let Some(b) = first_of_next.and_then(|d| d.pred_opt()) else { break };
        out.push((a, b.min(to)));
        let Some(n) = first_of_next else { break };
        a = n;
    }
    out
}

/// Rows that a session may have: 960 minutes of 04:00–20:00, or one.
fn rows_a_session(dataset: Dataset) -> usize {
    if dataset == Dataset::EquitiesBarsMinute { 960 } else { 1 }
}

fn sessions_an_answer(dataset: Dataset, c: &Capability) -> usize {
    (c.max_rows as usize / rows_a_session(dataset)).max(1)
}

fn symbols_a_request(registry: &Registry, dataset: Dataset, c: &Capability, from: NaiveDate, to: NaiveDate) -> usize {
    let sessions = registry.rule(dataset).map_or(1, |r| r.calendar().count(from, to)).max(1);
    (sessions_an_answer(dataset, c) / sessions).clamp(1, c.max_symbols as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_schema::names::Outcome;
    use datanode_schema::registry::Sources;

    fn registry(universe: &str) -> Registry {
        let mut s = Sources::read(None, None, None).unwrap();
        s.universe = ("universe.yaml".into(), universe.into());
        Registry::parse(&s).unwrap()
    }

    fn now() -> DateTime<Utc> {
        "2024-01-01T00:00:00Z".parse().unwrap()
    }

    fn date(s: &str) -> NaiveDate {
        s.parse().unwrap()
    }

    const TWO: &str =
        "universe:\n  equities_bars:\n    A: [{from: 2020-01-02, to: 2020-03-31}]\n    B: [{from: 2020-01-02}]\n";

    #[test]
    fn symbols_with_one_window_share_a_request_and_what_is_answered_is_not_asked() {
        let r = registry(TWO);
        let (enabled, demoted) = (BTreeSet::from([Vendor::Alpaca, Vendor::Massive]), BTreeSet::new());
        let known = Known { enabled: &enabled, demoted: &demoted, today: 0, now: now() };
        let asks = ingest(&r, &known, &BTreeMap::new(), date("2020-03-31"), None);
        assert_eq!(asks.len(), 1);
        assert_eq!((asks[0].vendor, asks[0].symbols.clone()), (Vendor::Alpaca, vec!["A".to_owned(), "B".to_owned()]));

        let mut b = Bookmark::default();
        b.cover(day(date("2020-01-02")), day(date("2020-03-31")));
        let known_marks = BTreeMap::from([((Dataset::EquitiesBars, "A".to_owned(), Vendor::Alpaca), b)]);
        let asks = ingest(&r, &known, &known_marks, date("2020-03-31"), None);
        assert_eq!(asks[0].symbols, vec!["B".to_owned()]);
    }

    #[test]
    fn a_worse_vendor_gets_a_task_only_when_the_better_one_has_answered_today() {
        let r = registry(TWO);
        let (enabled, demoted) = (BTreeSet::from([Vendor::Alpaca, Vendor::Massive]), BTreeSet::new());
        let known = Known { enabled: &enabled, demoted: &demoted, today: 100, now: now() };
        let d = day(date("2020-02-03"));
        let open = |answers| GapDay { day: d, state: Absence::Missing, answers };
        let said = |last_day| Answer {
            vendor: Vendor::Alpaca.number(),
            outcome: Outcome::Empty.number(),
            days: 1,
            attempts: 0,
            last_day,
        };
        let plan = |v, t: GapDay| backfill(&r, &known, v, Dataset::EquitiesBars, "A", &[t]).len();
        assert_eq!((plan(Vendor::Alpaca, open(vec![])), plan(Vendor::Massive, open(vec![]))), (1, 0));
        assert_eq!((plan(Vendor::Alpaca, open(vec![said(100)])), plan(Vendor::Massive, open(vec![said(100)]))), (0, 1));
        assert_eq!(plan(Vendor::Alpaca, open(vec![said(99)])), 1, "a day later it may be asked again");
        let explained = GapDay { day: d, state: Absence::Explained, answers: vec![] };
        assert_eq!(plan(Vendor::Alpaca, explained), 0);
    }

    #[test]
    fn one_request_answers_many_tasks_up_to_the_row_limit() {
        let r = registry(TWO);
        let (enabled, demoted) = (BTreeSet::from([Vendor::Massive]), BTreeSet::new());
        let known = Known { enabled: &enabled, demoted: &demoted, today: 100, now: now() };
        let tasks: Vec<GapDay> = ["2020-01-02", "2020-02-03", "2020-03-31"]
            .iter()
            .map(|d| GapDay { day: day(date(d)), state: Absence::Missing, answers: vec![] })
            .collect();
        let asks = backfill(&r, &known, Vendor::Massive, Dataset::EquitiesBars, "A", &tasks);
        assert_eq!(asks.len(), 1);
        assert_eq!((asks[0].from, asks[0].to, asks[0].days.len()), (date("2020-01-02"), date("2020-03-31"), 3));
    }

    #[test]
    fn a_session_is_not_asked_for_before_its_rows_can_be_there() {
        let r = registry("universe:\n  equities_bars:\n    A: [{from: 2020-01-02}]\n");
        let (enabled, demoted) = (BTreeSet::from([Vendor::Alpaca]), BTreeSet::new());
        let last = |now: &str| {
            let known = Known { enabled: &enabled, demoted: &demoted, today: 0, now: now.parse().unwrap() };
            ingest(&r, &known, &BTreeMap::new(), date("2020-03-31"), None)[0].to.to_string()
        };
        assert_eq!(last("2020-03-13T19:00:00Z"), "2020-03-12", "the session is open");
        assert_eq!(last("2020-03-14T01:00:00Z"), "2020-03-13", "four hours after the close");
        assert_eq!(last("2020-03-15T12:00:00Z"), "2020-03-13", "a Sunday looks back over the weekend");
    }
}
