//! `gaps`: the absent sessions of a symbol, as runs.

use super::runs::last_audit;
use super::work::state_name;
use super::{Page, day, prefixes, require_symbol};
use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::AdminError;
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::{date_of, day_number};
use datanode_schema::names::{Absence, Dataset};
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

/// A session of the queue.
#[derive(Clone, Copy)]
struct Absent {
    day: i32,
    state: u8,
    expected: u32,
    rows: u32,
}

/// A run under construction.
struct Open {
    from: i32,
    last: Absent,
    sessions: u64,
    expected: u64,
    rows: u64,
}

impl Open {
    fn of(a: Absent) -> Self {
        Self { from: a.day, last: a, sessions: 1, expected: a.expected.into(), rows: a.rows.into() }
    }

    /// Whether `a` is the next session, and of the same state.
    fn goes_on(&self, calendar: Calendar, a: Absent) -> bool {
        self.last.state == a.state && calendar.next(date_of(self.last.day)).map(day_number) == Some(a.day)
    }

    fn add(&mut self, a: Absent) {
        self.last = a;
        self.sessions += 1;
        self.expected += u64::from(a.expected);
        self.rows += u64::from(a.rows);
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
        }
    }
}

/// Joins sessions, sorted by day, into runs: consecutive by the calendar, equal in state.
fn runs(dataset: Dataset, calendar: Calendar, absent: &[Absent]) -> Vec<Run> {
    let mut out = Vec::new();
    let mut open: Option<Open> = None;
    for a in absent {
        match &mut open {
            Some(o) if o.goes_on(calendar, *a) => o.add(*a),
            _ => out.extend(open.replace(Open::of(*a)).map(|o| o.close(dataset))),
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
    let mut absent: BTreeMap<Dataset, Vec<Absent>> = BTreeMap::new();
    for prefix in prefixes(a.dataset(), Some(symbol)) {
        ctx.store.scan(&GAPS, &prefix, |k, page| {
            let of = absent.entry(k.dataset).or_default();
            for t in
                page.native().tasks(k.month.first_day()).into_iter().filter(|t| wanted.is_none_or(|w| w == t.state))
            {
                of.push(Absent { day: t.day, state: t.state, expected: t.expected, rows: t.rows });
            }
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

    #[test]
    fn a_weekend_and_a_holiday_do_not_end_a_run_and_a_held_session_or_another_state_does() {
        let at = |date: &str, state| Absent { day: day_number(date.parse().unwrap()), state, expected: 390, rows: 0 };
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
