//! What the queue knows of absences, brought into the ledger: days without rows, holes that the vendors agree on, rows of an
//! earlier listing.

use super::ledger::{amend, enter};
use super::outcome::{COMMIT, QcError, STATUS_DIRTY};
use super::reopen::Reopening;
use crate::node::Node;
use datanode_schema::clock::day_number;
use datanode_schema::keys::{Month, PageKey, SeriesKey};
use datanode_schema::names::{Absence, Explanation, Reason};
use datanode_schema::records::{GapPage, GapTask, LedgerDay, LedgerPage, Print};
use datanode_schema::registry::{Registry, Span};
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{COUNTERS, GAPS, LEDGER, UNRELATED};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// What the gap pages of one symbol say.
#[derive(Default)]
struct Gaps {
    /// By month: the days without rows, as entries, and a bit for each day with rows whose holes are explained.
    pages: BTreeMap<Month, (Vec<LedgerDay>, u32)>,
    /// Days between two listings.
    not_listed: Vec<i32>,
}

/// Brings the ledger into line with the queue's absences; how many pages changed. One symbol at a time: at first nothing is there, and
/// the absences of a large universe together are gigabytes.
pub(super) fn enter_absences(node: &Node, registry: &Registry, reopening: &Reopening) -> Result<u64, QcError> {
    let mut batch = Batch::new();
    let mut changed = 0;
    for series in to_look_at(node)? {
        let (gaps, relisted) = read_gaps(node, &series, reopening)?;
        changed += enter_pages(node, &series, gaps.pages, reopening, &mut batch)?;
        if batch.len() >= COMMIT || (relisted && !batch.is_empty()) {
            node.store.commit(std::mem::take(&mut batch))?;
        }
        let spans = registry.universe.spans(series.dataset, &series.symbol);
        // Of a symbol that left the universe nobody keeps gap pages; its rows ship on, and are what they were.
        if relisted && !spans.is_empty() {
            let earlier = earlier(spans, &gaps.not_listed);
            changed += enter_listings(node, &series, &gaps.not_listed, &earlier, node.clock.now().timestamp())?;
        }
    }
    if !batch.is_empty() {
        node.store.commit(batch)?;
    }
    Ok(changed)
}

/// Reasons that come from the queue, of sessions with rows.
const OF_QUEUE: u64 = Reason::NO_TRADE_MINUTES.bit | Reason::EARLIER_LISTING.bit;

/// Symbols that have gaps, or of which the ledger says something that the queue may no longer know of.
fn to_look_at(node: &Node) -> Result<BTreeSet<SeriesKey>, StoreError> {
    let mut out: BTreeSet<SeriesKey> = BTreeSet::new();
    let mut last: Option<SeriesKey> = None;
    // Pages come by symbol: most are of the one before.
    let mut add = |k: PageKey| {
        if last.as_ref().is_none_or(|l| l.dataset != k.dataset || l.symbol != k.symbol) {
            let series = SeriesKey { dataset: k.dataset, symbol: k.symbol };
            out.insert(series.clone());
            last = Some(series);
        }
    };
    node.store.scan(&GAPS, &[], |k, _| {
        add(k);
        ControlFlow::Continue(())
    })?;
    node.store.scan(&LEDGER, &[], |k, page| {
        if page.groups.iter().any(|g| g.rows.to_native() == 0 || g.reasons.to_native() & OF_QUEUE != 0) {
            add(k);
        }
        ControlFlow::Continue(())
    })?;
    Ok(out)
}

/// Enters a symbol's absences.
fn enter_pages(
    node: &Node,
    series: &SeriesKey,
    pages: BTreeMap<Month, (Vec<LedgerDay>, u32)>,
    reopening: &Reopening,
    batch: &mut Batch,
) -> Result<u64, QcError> {
    let now = node.clock.now().timestamp();
    let mut changed = 0;
    for (month, (mut days, explained)) in pages {
        let key = PageKey { dataset: series.dataset, symbol: series.symbol.clone(), month };
        let mut page: LedgerPage = node.store.load(&LEDGER, &key)?.unwrap_or_default();
        reopening.settle(&key, &page, &mut days);
        let first = month.first_day();
        let entered = enter(&mut page, first, days, |d| d.rows == 0);
        if amend(&mut page, first, now, |d| agreed(d, first, explained)) || entered {
            changed += 1;
            put(batch, &key, &page)?;
        }
    }
    Ok(changed)
}

fn put(batch: &mut Batch, key: &PageKey, page: &LedgerPage) -> Result<(), StoreError> {
    batch.put(&COUNTERS, &STATUS_DIRTY.to_owned(), &1)?;
    if page.groups.is_empty() {
        batch.delete(&LEDGER, key);
    } else {
        batch.put(&LEDGER, key, page)?;
    }
    Ok(())
}

/// What the queue says of a symbol, a page for each month of which the ledger may say otherwise; and whether there is, or was, an
/// earlier listing.
fn read_gaps(node: &Node, series: &SeriesKey, reopening: &Reopening) -> Result<(Gaps, bool), StoreError> {
    let now = node.clock.now().timestamp();
    let context = reopening.contexts.get(&series.dataset).copied().unwrap_or(0);
    let prefix = SeriesKey::prefix(series.dataset, &series.symbol);
    let mut out = Gaps::default();
    node.store.scan(&GAPS, &prefix, |k, page| {
        let (mut days, mut explained) = (Vec::new(), 0u32);
        let first = k.month.first_day();
        for t in page.native().tasks(first) {
            if t.rows > 0 {
                if Absence::from_number(t.state) == Some(Absence::Explained) {
                    explained |= bit(t.day - first);
                }
                continue;
            }
            let Some(reason) = reason(&t) else { continue };
            if reason == Reason::NOT_LISTED {
                out.not_listed.push(t.day);
            }
            days.push(LedgerDay {
                day: t.day,
                verdict: reason.verdict.number(),
                reasons: reason.bit,
                expected: t.expected,
                rows: 0,
                vendor: 0,
                context,
                first_seen: now,
                updated_at: now,
                print: Print::default(),
            });
        }
        out.pages.insert(k.month, (days, explained));
        ControlFlow::Continue(())
    })?;
    let mut relisted = !out.not_listed.is_empty();
    node.store.scan(&LEDGER, &prefix, |k, page| {
        let has = |bits: u64| page.groups.iter().any(|g| g.reasons.to_native() & bits != 0);
        if has(Reason::NO_TRADE_MINUTES.bit) || page.groups.iter().any(|g| g.rows.to_native() == 0) {
            out.pages.entry(k.month).or_default();
        }
        relisted |= has(Reason::EARLIER_LISTING.bit);
        ControlFlow::Continue(())
    })?;
    Ok((out, relisted))
}

/// The reason of a session without rows.
fn reason(t: &GapTask) -> Option<Reason> {
    Some(match Absence::from_number(t.state)? {
        Absence::Missing | Absence::Pending => Reason::MISSING_SESSION,
        Absence::Explained => match Explanation::from_number(t.why) {
            Some(Explanation::BeforeListing) => Reason::BEFORE_LISTING,
            Some(Explanation::Delisted) => Reason::DELISTED,
            Some(Explanation::NotListed) => Reason::NOT_LISTED,
            Some(Explanation::NoTrade) | None => Reason::NO_TRADE_AGREED,
        },
        Absence::Unobtainable | Absence::Cancelled => Reason::UNOBTAINABLE,
        Absence::Short | Absence::Hole => return None,
    })
}

fn bit(n: i32) -> u32 {
    u32::try_from(n).ok().and_then(|n| 1u32.checked_shl(n)).unwrap_or(0)
}

/// The reasons of a session with rows: its holes are [`Reason::NO_TRADE_MINUTES`] where the vendors agree on them.
fn agreed(d: &LedgerDay, first: i32, explained: u32) -> u64 {
    let both = Reason::HOLE.bit | Reason::NO_TRADE_MINUTES.bit;
    if d.rows == 0 || d.reasons & both == 0 {
        return d.reasons;
    }
    let agree = explained & bit(d.day - first) != 0;
    (d.reasons & !both) | if agree { Reason::NO_TRADE_MINUTES.bit } else { Reason::HOLE.bit }
}

/// The days, as first and last, that lie in a window of the universe before an absence between two listings.
fn earlier(spans: &[Span], not_listed: &[i32]) -> Vec<(i32, i32)> {
    let of = |s: &Span| {
        let (from, to) = (day_number(s.from), s.to.map_or(i32::MAX, day_number));
        let last = not_listed.iter().copied().filter(|d| from <= *d && *d <= to).max()?;
        Some((from, last))
    };
    spans.iter().filter_map(of).collect()
}

/// Days that begin after the last one of a row of days between two listings.
pub(super) fn begins(not_listed: &[i32]) -> impl Iterator<Item = i32> {
    let ends = |(i, d): &(usize, &i32)| not_listed.get(i + 1).is_none_or(|next| next - *d > 7);
    not_listed.iter().enumerate().filter(ends).map(|(_, d)| d + 1)
}

/// Marks the rows of an earlier listing of one symbol, and takes the mark off where there is none any more.
fn enter_listings(
    node: &Node,
    series: &SeriesKey,
    not_listed: &[i32],
    earlier: &[(i32, i32)],
    now: i64,
) -> Result<u64, QcError> {
    let mut wrong = Vec::new();
    let is = |day: i32| earlier.iter().any(|(from, to)| *from <= day && day <= *to);
    node.store.scan(&LEDGER, &SeriesKey::prefix(series.dataset, &series.symbol), |k, page| {
        let first = k.month.first_day();
        let should = (0..31).filter(|n| is(first + n)).fold(0u32, |a, n| a | bit(n));
        let differs = page.groups.iter().any(|g| {
            let days = g.days.to_native();
            let marked = g.reasons.to_native() & Reason::EARLIER_LISTING.bit != 0;
            g.rows.to_native() > 0 && (if marked { days & !should } else { days & should }) != 0
        });
        if differs {
            wrong.push(k);
        }
        ControlFlow::Continue(())
    })?;
    if wrong.is_empty() {
        return Ok(0);
    }
    let mut batch = Batch::new();
    for key in &wrong {
        let mut page: LedgerPage = node.store.load(&LEDGER, key)?.unwrap_or_default();
        let mark = |d: &LedgerDay| {
            let others = d.reasons & !Reason::EARLIER_LISTING.bit;
            others | if d.rows > 0 && is(d.day) { Reason::EARLIER_LISTING.bit } else { 0 }
        };
        if amend(&mut page, key.month.first_day(), now, mark) {
            put(&mut batch, key, &page)?;
        }
    }
    // The first sessions of a listing have no session before them any more.
    let (dataset, symbol) = (series.dataset, &series.symbol);
    for day in begins(not_listed) {
        let month = Month::of(datanode_schema::clock::date_of(day));
        batch.put(&UNRELATED, &PageKey { dataset, symbol: symbol.clone(), month }, &now)?;
    }
    node.store.commit(batch)?;
    Ok(wrong.len() as u64)
}

/// The days of a page that lie between two listings.
pub(super) fn not_listed(page: &GapPage, first: i32) -> impl Iterator<Item = i32> {
    page.tasks(first).into_iter().filter(|t| t.rows == 0 && reason(t) == Some(Reason::NOT_LISTED)).map(|t| t.day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: &str, to: Option<&str>) -> Span {
        Span { from: from.parse().unwrap(), to: to.map(|t| t.parse().unwrap()) }
    }

    #[test]
    fn rows_before_a_relisting_are_of_an_earlier_one_where_one_window_spans_both() {
        let d = |s: &str| day_number(s.parse().unwrap());
        let gone: Vec<i32> = (d("2005-01-03")..=d("2012-05-17")).collect();
        let one = span("1999-09-29", None);
        assert_eq!(earlier(&[one], &gone), [(d("1999-09-29"), d("2012-05-17"))]);
        let two = [span("1999-09-29", Some("2004-12-31")), span("2012-05-18", None)];
        assert!(earlier(&two, &gone).is_empty(), "two windows say that both are meant");
        assert!(earlier(&[one], &[]).is_empty());
        assert_eq!(begins(&gone).collect::<Vec<_>>(), [d("2012-05-18")]);
        assert_eq!(begins(&[1, 2, 5, 100, 101]).collect::<Vec<_>>(), [6, 102]);
    }

    #[test]
    fn a_hole_that_the_vendors_agree_on_is_minutes_without_trade_until_they_no_longer_do() {
        let d = |reasons| LedgerDay {
            day: 5,
            verdict: 1,
            reasons,
            expected: 390,
            rows: 300,
            vendor: 2,
            context: 0,
            first_seen: 0,
            updated_at: 0,
            print: Print::default(),
        };
        assert_eq!(agreed(&d(Reason::HOLE.bit), 0, 1 << 5), Reason::NO_TRADE_MINUTES.bit);
        assert_eq!(agreed(&d(Reason::HOLE.bit), 0, 1 << 6), Reason::HOLE.bit);
        assert_eq!(agreed(&d(Reason::NO_TRADE_MINUTES.bit), 0, 0), Reason::HOLE.bit);
        assert_eq!(agreed(&d(0), 0, 1 << 5), 0, "without a hole there is nothing to agree on");
    }
}
