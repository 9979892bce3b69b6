//! The pure part: absences of one symbol.
//!
//! Months are compared as bitmaps, so that a symbol that lacks nothing costs a few instructions a month; only what is absent, short
//! or has a hole becomes a task.

use super::holes::{holes, is_short, union};
use super::listing::{Expected, explain};
use crate::queue::{Mask, number_bit};
use chrono::{DateTime, Duration, NaiveDate, Utc};
use datanode_schema::calendar::{Calendar, Session};
use datanode_schema::clock::{date_of, day_number};
use datanode_schema::keys::Month;
use datanode_schema::names::{Absence, Explanation, Outcome};
use datanode_schema::records::{Answer, Bookmark, Demotions, GapPage, GapTask, Holding, HoldingDay, bits};
use datanode_schema::registry::{Cadence, DatasetRule, Span};
use std::collections::BTreeMap;

/// A vendor of a symbol, and what it has answered. One that is switched off has no days to be asked for, and its answers stand.
#[derive(Clone, Debug)]
pub struct Covered {
    /// Its bit.
    pub who: Mask,
    /// First and last day number that it has and gives; the first after the last: none.
    pub window: (i32, i32),
    /// What it refused.
    pub demoted: Demotions,
    /// What it has answered.
    pub bookmark: Bookmark,
}

/// What all vendors together hold of a symbol in a month.
#[derive(Clone, Debug, Default)]
pub struct HeldMonth {
    /// Days with rows: bit 0 is the first of the month.
    pub days: u32,
    /// The vendors' pages; only of minute data, of which a session can be there in part.
    pub pages: Vec<Holding>,
}

/// A calendar's sessions, a bitmap a month.
pub struct Sessions {
    first: u32,
    months: Vec<u32>,
}

impl Sessions {
    /// The sessions of `from..=to`.
    pub fn of(calendar: Calendar, from: NaiveDate, to: NaiveDate) -> Self {
        let first = Month::of(from).0;
        let mut months = vec![0u32; (Month::of(to).0.saturating_sub(first) + 1) as usize];
        for date in calendar.session_dates(from, to) {
            let month = Month::of(date);
            let bit = 1u32 << (day_number(date) - month.first_day()).clamp(0, 31);
            if let Some(m) = months.get_mut((month.0 - first) as usize) {
                *m |= bit;
            }
        }
        Self { first, months }
    }

    fn month(&self, month: Month) -> u32 {
        let at = month.0.checked_sub(self.first).and_then(|i| self.months.get(i as usize));
        at.copied().unwrap_or(0)
    }
}

/// What is known of one symbol.
pub struct Seen<'a> {
    /// Its rule.
    pub rule: &'a DatasetRule,
    /// What the node should hold of it.
    pub spans: &'a [Span],
    /// The sessions of its calendar, at least those of the spans.
    pub sessions: &'a Sessions,
    /// The last session considered.
    pub as_of: NaiveDate,
    /// Now.
    pub now: DateTime<Utc>,
    /// What is held.
    pub held: &'a BTreeMap<Month, HeldMonth>,
    /// The pages that stood before.
    pub before: &'a BTreeMap<Month, GapPage>,
    /// The vendors.
    pub vendors: &'a [Covered],
}

/// The gaps of one symbol.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Its gap pages, whole: a month that is not here has none.
    pub pages: BTreeMap<Month, GapPage>,
    /// Sessions that the calendar has in its windows.
    pub sessions: u64,
}

/// Compares what is held of a symbol with what its calendar and windows expect.
pub fn inventory(s: &Seen<'_>) -> Inventory {
    let mut out = Inventory::default();
    let mut tasks: BTreeMap<i32, GapTask> = BTreeMap::new();
    let mut wanted: BTreeMap<Month, u32> = BTreeMap::new();
    for (from, to) in s.spans.iter().filter_map(|span| span.until(s.as_of)) {
        for month in (Month::of(from).0..=Month::of(to).0).map(Month) {
            let want = s.sessions.month(month) & days_between(month, from, to);
            out.sessions += u64::from(want.count_ones());
            if month_tasks(s, month, want, &mut tasks) {
                *wanted.entry(month).or_default() |= want;
            }
        }
    }
    if tasks.values().any(|t| t.state == Absence::Explained.number() && t.rows == 0) {
        explain_symbol(s, &mut tasks);
    }
    let mut months: BTreeMap<Month, Vec<GapTask>> = BTreeMap::new();
    for (day, t) in tasks {
        months.entry(Month::of(date_of(day))).or_default().push(t);
    }
    out.pages = months.into_iter().map(|(m, tasks)| (m, GapPage::pack(m.first_day(), tasks))).collect();
    out
}

/// The days of a month that lie in `from..=to`.
fn days_between(month: Month, from: NaiveDate, to: NaiveDate) -> u32 {
    let first = month.first_day();
    let low = (day_number(from) - first).clamp(0, 31);
    let high = (day_number(to) - first).clamp(-1, 30);
    if high < low { 0 } else { (u32::MAX << low) & (u32::MAX >> (31 - high)) }
}

/// Adds the tasks of a month; whether there is any.
fn month_tasks(s: &Seen<'_>, month: Month, want: u32, tasks: &mut BTreeMap<i32, GapTask>) -> bool {
    let first = month.first_day();
    let held = s.held.get(&month);
    let have = held.map_or(0, |h| h.days);
    let mut absent = want & !have;
    if s.rule.cadence == Cadence::Event {
        // An event that did not happen lacks nothing once somebody has answered for the day.
        for w in s.vendors.iter().flat_map(|c| &c.bookmark.windows) {
            absent &= !days_between(month, date_of(w.from), date_of(w.to));
        }
    }
    let mut partial: Vec<(Session, HoldingDay, Absence)> = Vec::new();
    if s.rule.cadence == Cadence::Minute
        && let Some(held) = held
    {
        partial = in_part(s.rule, month, want & have, held);
    }
    if absent == 0 && partial.is_empty() {
        return false;
    }
    let before: BTreeMap<i32, GapTask> =
        s.before.get(&month).map(|p| p.tasks(first).into_iter().map(|t| (t.day, t)).collect()).unwrap_or_default();
    for day in bits(absent).map(|n| first + n) {
        if let Some(session) = s.rule.calendar().session(date_of(day)) {
            tasks.insert(day, task(s, before.get(&day), &session, 0, Absence::Missing));
        }
    }
    for (session, held, state) in partial {
        let day = held.day;
        tasks.insert(day, task(s, before.get(&day), &session, held.rows, state));
    }
    true
}

/// The sessions of a month that are there in part: short ones, and ones with holes.
fn in_part(rule: &DatasetRule, month: Month, days: u32, held: &HeldMonth) -> Vec<(Session, HoldingDay, Absence)> {
    let first = month.first_day();
    let mut by_day: BTreeMap<i32, Vec<HoldingDay>> = BTreeMap::new();
    for h in held.pages.iter().flat_map(|p| p.days(first)) {
        by_day.entry(h.day).or_default().push(h);
    }
    let mut out = Vec::new();
    for day in bits(days).map(|n| first + n) {
        let Some(session) = rule.calendar().session(date_of(day)) else { continue };
        let Some(held) = by_day.remove(&day).and_then(union) else { continue };
        if is_short(rule, &session, &held) {
            out.push((session, held, Absence::Short));
        } else if !holes(rule, session.minutes(), &held).is_empty() {
            out.push((session, held, Absence::Hole));
        }
    }
    out
}

/// The task of a session in the state that its rows give it, with the evidence that it had.
fn task(s: &Seen<'_>, before: Option<&GapTask>, session: &Session, rows: u32, state: Absence) -> GapTask {
    let mut task = before.cloned().unwrap_or_else(|| GapTask {
        day: day_number(session.date),
        state: state.number(),
        why: 0,
        expected: 0,
        rows,
        discovered_at: s.now.timestamp(),
        answers: Vec::new(),
    });
    task.rows = rows;
    task.expected = match s.rule.cadence {
        Cadence::Minute => session.minutes(),
        Cadence::Session => 1,
        Cadence::Event | Cadence::Snapshot => 0,
    };
    if task.state == Absence::Cancelled.number() {
        return task;
    }
    let ready = session.close + Duration::minutes(i64::from(s.rule.ready_after_minutes));
    let early = state == Absence::Missing && s.now < ready;
    task.state = if early { Absence::Pending } else { state }.number();
    let (day, now) = (task.day, s.now.timestamp());
    let has = |c: &&Covered| c.window.0 <= day && day <= c.window.1 && !c.demoted.refuses(day, now);
    let who = s.vendors.iter().filter(has).fold(0, |all, c| all | c.who);
    settle(s.rule, &mut task, who);
    task
}

/// Applies the dataset's no-trade rule: what the evidence makes of a missing session or of a hole. `who` are the enabled vendors
/// that have the session at all; where there is none (a night without vendors), what was said goes on to be true.
///
/// What is said before the second UTC day after the session is no last word: the vendors may be late. For a missing session a
/// vendor agrees by an empty answer; for a hole by one that has rows of the session, and not those.
pub fn settle(rule: &DatasetRule, task: &mut GapTask, who: Mask) {
    let agreeing = if task.state == Absence::Missing.number() {
        Outcome::Empty.number()
    } else if task.state == Absence::Hole.number() {
        Outcome::Short.number()
    } else {
        task.why = 0;
        return;
    };
    // A vendor may be late, and two as well: what was said on the evening of the session itself is asked once more.
    let in_time = |a: &Answer| a.outcome == agreeing && a.last_day > task.day + 1;
    let agree = task.answers.iter().filter(|a| in_time(a)).count();
    // One that is asked no more is no witness for the one that is.
    let is_asked = |a: &&Answer| who == 0 || number_bit(a.vendor) & who != 0;
    let twice = |a: &Answer| in_time(a) && a.days >= rule.no_trade.sole_vendor_days;
    let sole = who.count_ones() <= 1 && task.answers.iter().filter(is_asked).any(twice);
    if agree >= usize::from(rule.no_trade.vendors_agree) || sole {
        task.state = Absence::Explained.number();
        // What explains an absent session is read from the whole symbol, by the audit.
        if task.rows > 0 || task.why == 0 {
            task.why = Explanation::NoTrade.number();
        }
        return;
    }
    task.why = 0;
    let failed = task.answers.iter().filter(is_asked).filter(|a| a.attempts >= crate::queue::MAX_ATTEMPTS).count();
    let all = if who == 0 { task.answers.len() } else { who.count_ones() as usize };
    if task.state == Absence::Missing.number() && all > 0 && failed >= all {
        task.state = Absence::Unobtainable.number();
    }
}

/// Says what explains the absences of a symbol, over all of its sessions.
fn explain_symbol(s: &Seen<'_>, tasks: &mut BTreeMap<i32, GapTask>) {
    let mut open = tasks.iter_mut().peekable();
    let mut sessions = Vec::new();
    for (from, to) in s.spans.iter().filter_map(|span| span.until(s.as_of)) {
        for month in (Month::of(from).0..=Month::of(to).0).map(Month) {
            let want = s.sessions.month(month) & days_between(month, from, to);
            for day in bits(want).map(|n| month.first_day() + n) {
                let here = open.next_if(|(d, _)| **d == day).map(|(_, t)| t);
                sessions.push(here.map_or(Expected::Held, Expected::Open));
            }
        }
    }
    explain(&s.rule.listing, sessions);
}

#[cfg(test)]
mod tests;
