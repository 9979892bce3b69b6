//! The pure part: absences of one symbol.

use chrono::{DateTime, Duration, NaiveDate, Utc};
use datanode_schema::calendar::Session;
use datanode_schema::clock::day_number;
use datanode_schema::keys::Month;
use datanode_schema::names::{Absence, Dataset, Outcome, Vendor};
use datanode_schema::records::{Bookmark, GapPage, GapTask, HoldingDay};
use datanode_schema::registry::{Cadence, DatasetRule, Span};
use std::collections::BTreeMap;

/// A vendor that can be asked for a symbol, and what it has answered.
#[derive(Clone, Debug)]
pub struct Covered {
    /// The vendor.
    pub vendor: Vendor,
    /// First and last day that it has.
    pub window: (NaiveDate, NaiveDate),
    /// What it has answered.
    pub bookmark: Bookmark,
}

/// What is known of one symbol.
pub struct Seen<'a> {
    /// The dataset.
    pub dataset: Dataset,
    /// Its rule.
    pub rule: &'a DatasetRule,
    /// What the node should hold of it.
    pub spans: &'a [Span],
    /// The last session considered.
    pub as_of: NaiveDate,
    /// Now.
    pub now: DateTime<Utc>,
    /// What is held, the best vendor's for each session.
    pub held: &'a BTreeMap<i32, HoldingDay>,
    /// Tasks that stood before, by day.
    pub before: &'a BTreeMap<i32, GapTask>,
    /// The vendors.
    pub vendors: &'a [Covered],
}

/// Whether a session's rows stop, or begin, farther from its edges than the dataset's threshold allows. Daily data is
/// never short: a session has its one row or is absent.
pub fn is_short(rule: &DatasetRule, session: &Session, held: &HoldingDay) -> bool {
    if rule.cadence != Cadence::Minute {
        return false;
    }
    if held.regular == 0 {
        return true;
    }
    let minutes = f64::from(session.minutes());
    let silent = f64::from(held.first).max(minutes - 1.0 - f64::from(held.last));
    silent > rule.qc.max_silent_edge * minutes
}

/// The gap pages of one symbol, whole: a month that is not in the result has none.
pub fn inventory(s: &Seen<'_>) -> BTreeMap<Month, GapPage> {
    let mut out: BTreeMap<Month, Vec<GapTask>> = BTreeMap::new();
    for span in s.spans {
        let Some((from, to)) = span.until(s.as_of) else { continue };
        for session in s.rule.calendar().sessions(from, to) {
            if let Some(task) = absence(s, &session) {
                out.entry(Month::of(session.date)).or_default().push(task);
            }
        }
    }
    out.into_iter().map(|(month, tasks)| (month, GapPage::pack(month.first_day(), tasks))).collect()
}

fn absence(s: &Seen<'_>, session: &Session) -> Option<GapTask> {
    let day = day_number(session.date);
    let held = s.held.get(&day).filter(|h| h.rows > 0);
    let short = held.is_some_and(|h| is_short(s.rule, session, h));
    if held.is_some() && !short {
        return None;
    }
    // An event that did not happen lacks nothing once somebody has answered for the day.
    let answered = |c: &Covered| c.bookmark.windows.iter().any(|w| w.from <= day && day <= w.to);
    if s.rule.cadence == Cadence::Event && s.vendors.iter().any(answered) {
        return None;
    }
    let fresh = || GapTask {
        day,
        state: Absence::Missing.number(),
        why: 0,
        expected: match s.rule.cadence {
            Cadence::Minute => session.minutes(),
            Cadence::Session => 1,
            Cadence::Event | Cadence::Snapshot => 0,
        },
        rows: 0,
        discovered_at: s.now.timestamp(),
        answers: Vec::new(),
    };
    let mut task = s.before.get(&day).cloned().unwrap_or_else(fresh);
    task.rows = held.map_or(0, |h| h.rows);
    let ready = session.close + Duration::minutes(i64::from(s.rule.ready_after_minutes));
    if task.state == Absence::Cancelled.number() {
        return Some(task);
    }
    task.state = if short {
        Absence::Short.number()
    } else if s.now < ready {
        Absence::Pending.number()
    } else {
        Absence::Missing.number()
    };
    let vendors = s.vendors.iter().filter(|c| c.window.0 <= session.date && session.date <= c.window.1).count();
    settle(s.rule, &mut task, vendors);
    Some(task)
}

/// Applies the dataset's no-trade rule: what the evidence makes of a missing session. `vendors` is how many enabled
/// vendors have the session at all.
pub fn settle(rule: &DatasetRule, task: &mut GapTask, vendors: usize) {
    if task.state != Absence::Missing.number() {
        return;
    }
    let empty = Outcome::Empty.number();
    let agree = task.answers.iter().filter(|a| a.outcome == empty).count();
    let sole =
        vendors == 1 && task.answers.iter().any(|a| a.outcome == empty && a.days >= rule.no_trade.sole_vendor_days);
    if agree >= usize::from(rule.no_trade.vendors_agree) || sole {
        task.state = Absence::Explained.number();
        return;
    }
    let failed = task.answers.iter().filter(|a| a.attempts >= crate::queue::MAX_ATTEMPTS).count();
    if vendors > 0 && failed >= vendors {
        task.state = Absence::Unobtainable.number();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_schema::names::Vendor;
    use datanode_schema::records::Answer;
    use datanode_schema::registry::{Registry, Sources};

    fn rule(dataset: Dataset) -> DatasetRule {
        Registry::parse(&Sources::read(None, None, None).unwrap()).unwrap().datasets[&dataset].clone()
    }

    fn date(s: &str) -> NaiveDate {
        s.parse().unwrap()
    }

    fn held(day: &str, regular: u32, first: u16, last: u16) -> HoldingDay {
        HoldingDay { day: day_number(date(day)), rows: regular, regular, first, last, ..HoldingDay::default() }
    }

    #[test]
    fn six_rows_are_short_a_half_day_is_not_and_a_thin_day_is_not() {
        let rule = rule(Dataset::EquitiesBarsMinute);
        let session = |d: &str| rule.calendar().session(date(d)).unwrap();
        assert!(is_short(&rule, &session("2014-06-23"), &held("2014-06-23", 6, 0, 5)));
        assert!(!is_short(&rule, &session("2015-12-24"), &held("2015-12-24", 210, 0, 209)));
        assert!(!is_short(&rule, &session("2008-03-07"), &held("2008-03-07", 300, 0, 380)));
        assert!(
            is_short(&rule, &session("2014-06-23"), &held("2014-06-23", 0, 0, 0)),
            "extended hours alone are no session"
        );
    }

    fn seen<'a>(
        rule: &'a DatasetRule,
        spans: &'a [Span],
        held: &'a BTreeMap<i32, HoldingDay>,
        before: &'a BTreeMap<i32, GapTask>,
        vendors: &'a [Covered],
        now: &str,
    ) -> Seen<'a> {
        Seen {
            dataset: Dataset::EquitiesBars,
            rule,
            spans,
            as_of: date("2020-01-10"),
            now: now.parse().unwrap(),
            held,
            before,
            vendors,
        }
    }

    fn covered(vendor: Vendor, from: &str, to: &str, said_at: &str) -> Covered {
        let mut bookmark = Bookmark::default();
        bookmark.cover(day_number(date(from)), day_number(date(to)));
        bookmark.updated_at = said_at.parse::<DateTime<Utc>>().unwrap().timestamp();
        Covered { vendor, window: (date("1990-01-01"), date("2030-01-01")), bookmark }
    }

    #[test]
    fn what_the_calendar_has_and_nobody_gave_is_missing_until_the_vendors_agree() {
        let rule = rule(Dataset::EquitiesBars);
        let spans = [Span { from: date("2020-01-02"), to: None }];
        let all: BTreeMap<i32, HoldingDay> =
            ["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-08", "2020-01-09", "2020-01-10"]
                .iter()
                .map(|d| (day_number(date(d)), held(d, 1, 0, 0)))
                .collect();
        let none = BTreeMap::new();
        let one = [covered(Vendor::Alpaca, "2020-01-02", "2020-01-10", "2020-01-11T00:00:00Z")];
        let gaps = inventory(&seen(&rule, &spans, &all, &none, &one, "2020-01-12T00:00:00Z"));
        let tasks: Vec<_> = gaps.iter().flat_map(|(m, p)| p.tasks(m.first_day())).collect();
        assert_eq!(tasks.len(), 1);
        assert_eq!(tasks[0].day, day_number(date("2020-01-07")));
        assert_eq!(tasks[0].state, Absence::Missing.number());

        let said = |vendor: Vendor| Answer {
            vendor: vendor.number(),
            outcome: Outcome::Empty.number(),
            days: 1,
            attempts: 0,
            last_day: 18_273,
        };
        let agreed = GapTask { answers: vec![said(Vendor::Alpaca), said(Vendor::Massive)], ..tasks[0].clone() };
        let before = BTreeMap::from([(agreed.day, agreed)]);
        let gaps = inventory(&seen(&rule, &spans, &all, &before, &one, "2020-01-12T00:00:00Z"));
        assert_eq!(gaps.values().next().unwrap().groups[0].state, Absence::Explained.number());
    }

    #[test]
    fn a_session_that_has_just_closed_is_pending() {
        let rule = rule(Dataset::EquitiesBars);
        let spans = [Span { from: date("2020-01-10"), to: None }];
        let none = BTreeMap::new();
        let gaps = inventory(&seen(&rule, &spans, &BTreeMap::new(), &none, &[], "2020-01-10T21:05:00Z"));
        assert_eq!(gaps.values().next().unwrap().groups[0].state, Absence::Pending.number());
    }

    #[test]
    fn a_sole_vendor_must_say_so_on_two_days() {
        let rule = rule(Dataset::EquitiesBars);
        let mut task = GapTask {
            day: 1,
            state: Absence::Missing.number(),
            why: 0,
            expected: 1,
            rows: 0,
            discovered_at: 0,
            answers: vec![],
        };
        let answer = |days| Answer { vendor: 2, outcome: Outcome::Empty.number(), days, attempts: 0, last_day: 5 };
        task.answers = vec![answer(1)];
        settle(&rule, &mut task, 1);
        assert_eq!(task.state, Absence::Missing.number());
        task.answers = vec![answer(2)];
        settle(&rule, &mut task, 1);
        assert_eq!(task.state, Absence::Explained.number());
    }
}
