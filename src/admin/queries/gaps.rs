//! `gaps`: the absent sessions of a symbol, as runs.

use super::runs::last_audit;
use super::work::{AnswerRow, answer_row, state_name};
use super::{Page, day, prefixes, require_symbol};
use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::AdminError;
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::{date_of, day_number};
use datanode_schema::names::{Absence, Dataset, Explanation};
use datanode_schema::records::{Answer, GapTask};
use datanode_schema::trees::GAPS;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Consecutive sessions of one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The dataset.
    pub dataset: &'static str,
    /// First session.
    pub from: String,
    /// Last session.
    pub to: String,
    /// Sessions in it.
    pub sessions: u64,
    /// Why they are absent or short.
    pub state: &'static str,
    /// Rows that the calendar expects in all.
    pub expected: u64,
    /// Rows that are held.
    pub rows: u64,
    /// What explains it; null where nothing does.
    pub why: Option<&'static str>,
    /// How many vendors were asked and answered, well or not.
    pub asked: u64,
    /// What they said: over the run the most days and attempts of each, and the last day.
    pub evidence: Vec<AnswerRow>,
}

/// The answer of `gaps`, in the order of dataset and day.
#[derive(Clone, Debug, Serialize)]
pub struct Gaps {
    /// The symbol.
    pub symbol: String,
    /// Sessions of all runs that match.
    pub sessions: u64,
    /// The session up to which the last audit looked; null before the first: then no gap means nothing.
    pub audited_as_of: Option<String>,
    /// The runs.
    #[serde(flatten)]
    pub page: Page<Run>,
}

/// A run under construction.
struct Open<'a> {
    from: i32,
    last: &'a GapTask,
    sessions: u64,
    expected: u64,
    rows: u64,
    said: Vec<Answer>,
}

impl<'a> Open<'a> {
    fn of(a: &'a GapTask) -> Self {
        let said = a.answers.clone();
        Self { from: a.day, last: a, sessions: 1, expected: a.expected.into(), rows: a.rows.into(), said }
    }

    /// Whether `a` is the next session, of the same state for the same reason, and the same vendors said the same of it.
    fn goes_on(&self, calendar: Calendar, a: &GapTask) -> bool {
        let same = |x: &Answer, y: &Answer| (x.vendor, x.outcome) == (y.vendor, y.outcome);
        let said = self.said.len() == a.answers.len() && self.said.iter().zip(&a.answers).all(|(x, y)| same(x, y));
        (self.last.state, self.last.why) == (a.state, a.why)
            && said
            && calendar.next(date_of(self.last.day)).map(day_number) == Some(a.day)
    }

    fn add(&mut self, a: &'a GapTask) {
        self.last = a;
        self.sessions += 1;
        self.expected += u64::from(a.expected);
        self.rows += u64::from(a.rows);
        for (of, new) in self.said.iter_mut().zip(&a.answers) {
            of.days = of.days.max(new.days);
            of.attempts = of.attempts.max(new.attempts);
            of.last_day = of.last_day.max(new.last_day);
        }
    }

    fn close(self, dataset: Dataset) -> Run {
        Run {
            dataset: dataset.name(),
            from: day(self.from),
            to: day(self.last.day),
            sessions: self.sessions,
            state: state_name(self.last.state),
            expected: self.expected,
            rows: self.rows,
            why: Explanation::from_number(self.last.why).map(Explanation::name),
            asked: self.said.len() as u64,
            evidence: self.said.iter().map(answer_row).collect(),
        }
    }
}

/// Joins sessions, sorted by day, into runs: consecutive by the calendar, equal in state, reason and evidence.
fn runs(dataset: Dataset, calendar: Calendar, absent: &[GapTask]) -> Vec<Run> {
    let mut out = Vec::new();
    let mut open: Option<Open<'_>> = None;
    for a in absent {
        match &mut open {
            Some(o) if o.goes_on(calendar, a) => o.add(a),
            _ => out.extend(open.replace(Open::of(a)).map(|o| o.close(dataset))),
        }
    }
    out.extend(open.map(|o| o.close(dataset)));
    out
}

pub(super) fn gaps(ctx: &AdminContext, a: &Args) -> Result<Gaps, AdminError> {
    let registry = (ctx.registry)();
    require_symbol(ctx, &registry, a)?;
    let symbol = a.symbol().unwrap_or_default();
    let wanted = a.state().map(Absence::number);
    let mut absent: BTreeMap<Dataset, Vec<GapTask>> = BTreeMap::new();
    for prefix in prefixes(a.dataset(), Some(symbol)) {
        ctx.store.scan(&GAPS, &prefix, |k, page| {
            let of = absent.entry(k.dataset).or_default();
            let tasks = page.native().tasks(k.month.first_day());
            of.extend(tasks.into_iter().filter(|t| wanted.is_none_or(|w| w == t.state)));
            ControlFlow::Continue(())
        })?;
    }
    let mut out =
        Gaps { symbol: symbol.to_owned(), sessions: 0, audited_as_of: last_audit(&ctx.store)?, page: Page::new(a) };
    for (dataset, of) in absent {
        let calendar = registry.rule(dataset).map_or(Calendar::Always, |r| r.calendar());
        out.sessions += of.len() as u64;
        for run in runs(dataset, calendar, &of) {
            out.page.offer(|| run);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(date: &str, state: u8, why: u8, said: &[(u8, u8, u8)]) -> GapTask {
        let answer = |(vendor, outcome, days): &(u8, u8, u8)| Answer {
            vendor: *vendor,
            outcome: *outcome,
            days: *days,
            attempts: 0,
            last_day: 20_000,
        };
        GapTask {
            day: day_number(date.parse().unwrap()),
            state,
            why,
            expected: 390,
            rows: 0,
            discovered_at: 7,
            answers: said.iter().map(answer).collect(),
        }
    }

    #[test]
    fn a_run_ends_where_the_reason_or_what_vendors_said_is_another() {
        let empty = |days| (2, 3, days);
        let days = [
            task("2024-01-08", 2, 1, &[empty(1)]),
            task("2024-01-09", 2, 1, &[empty(3)]),
            task("2024-01-10", 2, 2, &[empty(3)]),
            task("2024-01-11", 2, 2, &[empty(3), (3, 3, 1)]),
            task("2024-01-12", 1, 0, &[]),
        ];
        let got = runs(Dataset::EquitiesBars, Calendar::Xnys, &days);
        let of: Vec<_> = got.iter().map(|r| (r.from.as_str(), r.sessions, r.why, r.asked)).collect();
        let want = [
            ("2024-01-08", 2, Some("no_trade"), 1),
            ("2024-01-10", 1, Some("before_listing"), 1),
            ("2024-01-11", 1, Some("before_listing"), 2),
            ("2024-01-12", 1, None, 0),
        ];
        assert_eq!(of, want);
        assert_eq!((got[0].evidence[0].days, got[0].evidence[0].vendor.as_str()), (3, "alpaca"));
    }

    #[test]
    fn a_weekend_and_a_holiday_do_not_end_a_run_and_a_held_session_or_another_state_does() {
        let at = |date: &str, state| task(date, state, 0, &[]);
        // Friday, Monday (a holiday, Martin Luther King's day, is no session), Tuesday; Wednesday is held.
        let days =
            [at("2024-01-11", 1), at("2024-01-12", 1), at("2024-01-16", 1), at("2024-01-18", 1), at("2024-01-19", 2)];
        let got = runs(Dataset::EquitiesBarsMinute, Calendar::Xnys, &days);
        let short: Vec<_> = got.iter().map(|r| format!("{}..{} {} {}", r.from, r.to, r.sessions, r.state)).collect();
        assert_eq!(
            short,
            [
                "2024-01-11..2024-01-16 3 missing",
                "2024-01-18..2024-01-18 1 missing",
                "2024-01-19..2024-01-19 1 explained"
            ]
        );
        assert_eq!(got[0].expected, 1170);
        assert!(runs(Dataset::EquitiesBars, Calendar::Xnys, &[]).is_empty());
    }
}
