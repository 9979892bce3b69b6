//! `queue`, `leases`, `bookmarks`: what is to do, who is at it, what was answered.

use super::lately::{matching, of_dataset};
use super::{Page, dataset_name, day, prefixes, require_symbol, time, vendor_name};
use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::AdminError;
use datanode_schema::names::{Absence, Outcome};
use datanode_schema::records::{Answer, GapTask, Lease};
use datanode_schema::store::decode_str;
use datanode_schema::trees::{BOOKMARKS, GAPS, LEASES};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// What a question over all symbols and some days may read: pages that are passed over count one, pages that are read [`READ`]. That is
/// some ten milliseconds.
pub(super) const MOST_PAGES: u64 = 4_000;
/// What reading a page costs beside passing over it.
pub(super) const READ: u64 = 10;

/// What a vendor said about a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnswerRow {
    /// The vendor.
    pub vendor: String,
    /// What it said.
    pub outcome: String,
    /// On how many different days it said so.
    pub days: u8,
    /// Attempts that failed.
    pub attempts: u8,
    /// When it last said so.
    pub last_day: String,
}

/// A session that is absent or short.
#[derive(Clone, Debug, Serialize)]
pub struct TaskRow {
    /// The dataset.
    pub dataset: &'static str,
    /// The symbol.
    pub symbol: String,
    /// The session.
    pub day: String,
    /// Why it is here.
    pub state: &'static str,
    /// Rows that the calendar expects.
    pub expected: u32,
    /// Rows that are held.
    pub rows: u32,
    /// When the audit first saw it.
    pub discovered_at: Option<String>,
    /// The evidence, by vendor.
    pub answers: Vec<AnswerRow>,
}

/// The answer of `queue.list`, in the order of dataset, symbol, day.
#[derive(Clone, Debug, Serialize)]
pub struct QueueList {
    /// Tasks that match everything but `state`, by state.
    pub by_state: BTreeMap<&'static str, u64>,
    /// Where the looking ended, where there was more to look through than may be: what comes after it is not counted.
    pub looked_up_to: Option<String>,
    /// Tasks that match.
    #[serde(flatten)]
    pub page: Page<TaskRow>,
}

/// A lease.
#[derive(Clone, Debug, Serialize)]
pub struct LeaseRow {
    /// Its number.
    pub lease: u64,
    /// Who is at work.
    pub vendor: String,
    /// On which dataset.
    pub dataset: String,
    /// On which symbols.
    pub symbols: Vec<String>,
    /// First day.
    pub from: String,
    /// Last day.
    pub to: String,
    /// The fencing number.
    pub fence: u64,
    /// Since when.
    pub claimed_at: Option<String>,
    /// `standing`, `expired` (claimable again), or `void` (of an earlier boot).
    pub state: &'static str,
    /// Seconds until it expires.
    pub expires_in_seconds: u64,
}

/// First and last day.
#[derive(Clone, Debug, Serialize)]
pub struct WindowRow {
    /// First day.
    pub from: String,
    /// Last day.
    pub to: String,
}

/// What a vendor has answered for a symbol.
#[derive(Clone, Debug, Serialize)]
pub struct BookmarkRow {
    /// The dataset.
    pub dataset: &'static str,
    /// The symbol.
    pub symbol: String,
    /// The vendor.
    pub vendor: &'static str,
    /// The windows that need no first question any more.
    pub windows: Vec<WindowRow>,
    /// Rows received in all.
    pub rows: u64,
    /// Answers received in all.
    pub answers: u32,
    /// Restated rows seen.
    pub restated: u64,
    /// When it last answered.
    pub updated_at: Option<String>,
}

/// Name of an absence's number.
pub(super) fn state_name(n: u8) -> &'static str {
    Absence::from_number(n).map_or("unknown", Absence::name)
}

pub(super) fn answer_row(a: &Answer) -> AnswerRow {
    AnswerRow {
        vendor: vendor_name(a.vendor),
        outcome: Outcome::from_number(a.outcome).map_or_else(|| format!("#{}", a.outcome), |o| o.name().to_owned()),
        days: a.days,
        attempts: a.attempts,
        last_day: day(a.last_day),
    }
}

pub(super) fn queue(ctx: &AdminContext, a: &Args) -> Result<QueueList, AdminError> {
    let registry = (ctx.registry)();
    require_symbol(ctx, &registry, a)?;
    let by_state = Absence::ALL.iter().map(|a| (a.name(), 0)).collect();
    let mut out = QueueList { by_state, looked_up_to: None, page: Page::new(a) };
    let wanted = a.state().map(Absence::number);
    if a.symbol().is_some() {
        for prefix in prefixes(a.dataset(), a.symbol()) {
            read_tasks(ctx, &prefix, a, true, &mut out)?;
        }
        return Ok(out);
    }
    // All symbols: what each has is known, and only those of the page are read.
    let (counted, all_days, mut read) = (ctx.known.tasks(ctx)?, a.days() == (i32::MIN..=i32::MAX), 0);
    for (key, counts) in of_dataset(&counted, a.dataset()) {
        if !all_days {
            if matching(counts, wanted) == 0 {
                continue;
            }
            if read > MOST_PAGES {
                out.looked_up_to = Some(series_name(key));
                break;
            }
            read += read_tasks(ctx, key, a, true, &mut out)?;
            continue;
        }
        for (state, n) in (0u8..).zip(counts).filter(|(_, n)| **n > 0) {
            *out.by_state.entry(state_name(state)).or_default() += u64::from(*n);
        }
        if !out.page.passes(matching(counts, wanted)) {
            read_tasks(ctx, key, a, false, &mut out)?;
        }
    }
    Ok(out)
}

/// Offers what lies below a prefix, and returns what it cost, as [`MOST_PAGES`] has it.
fn read_tasks(
    ctx: &AdminContext,
    prefix: &[u8],
    a: &Args,
    counts: bool,
    out: &mut QueueList,
) -> Result<u64, AdminError> {
    let (days, wanted, mut read) = (a.days(), a.state().map(Absence::number), 0);
    ctx.store.scan(&GAPS, prefix, |k, page| {
        read += 1;
        let first = k.month.first_day();
        if *days.end() < first || *days.start() > first.saturating_add(31) {
            return ControlFlow::Continue(());
        }
        read += READ;
        for t in page.native().tasks(first).into_iter().filter(|t| days.contains(&t.day)) {
            if counts {
                *out.by_state.entry(state_name(t.state)).or_default() += 1;
            }
            if wanted.is_none_or(|w| w == t.state) {
                out.page.offer(|| task_row(k.dataset.name(), &k.symbol, &t));
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(read)
}

/// Dataset and symbol of the key of a symbol's pages.
pub(super) fn series_name(key: &[u8]) -> String {
    let (dataset, mut rest) = key.split_first().map_or((0, key), |(d, rest)| (*d, rest));
    format!("{} {}", dataset_name(dataset), decode_str(&mut rest).unwrap_or_default())
}

fn task_row(dataset: &'static str, symbol: &str, t: &GapTask) -> TaskRow {
    TaskRow {
        dataset,
        symbol: symbol.to_owned(),
        day: day(t.day),
        state: state_name(t.state),
        expected: t.expected,
        rows: t.rows,
        discovered_at: time(t.discovered_at),
        answers: t.answers.iter().map(answer_row).collect(),
    }
}

pub(super) fn leases(ctx: &AdminContext, a: &Args) -> Result<Page<LeaseRow>, AdminError> {
    let (boot, now) = (ctx.clock.boot_id(), ctx.clock.since_boot_ms());
    let mut page = Page::new(a);
    for (number, lease) in ctx.store.load_all(&LEASES, &[])? {
        page.offer(|| lease_row(number, &lease, &boot, now));
    }
    Ok(page)
}

fn lease_row(number: u64, l: &Lease, boot: &str, now_ms: u64) -> LeaseRow {
    let same_boot = l.boot_id == boot;
    LeaseRow {
        lease: number,
        vendor: vendor_name(l.vendor),
        dataset: dataset_name(l.dataset),
        symbols: l.symbol.split(',').map(str::to_owned).collect(),
        from: day(l.from),
        to: day(l.to),
        fence: l.fence,
        claimed_at: time(l.claimed_at),
        state: match (same_boot, l.deadline_ms > now_ms) {
            (false, _) => "void",
            (true, true) => "standing",
            (true, false) => "expired",
        },
        expires_in_seconds: if same_boot { l.deadline_ms.saturating_sub(now_ms) / 1000 } else { 0 },
    }
}

pub(super) fn bookmarks(ctx: &AdminContext, a: &Args) -> Result<Page<BookmarkRow>, AdminError> {
    let registry = (ctx.registry)();
    require_symbol(ctx, &registry, a)?;
    let mut page = Page::new(a);
    // Where everything is asked for, its number is known, and nothing after the page is read.
    let all = (a.dataset(), a.symbol(), a.vendor()) == (None, None, None);
    for prefix in prefixes(a.dataset(), a.symbol()) {
        ctx.store.scan(&BOOKMARKS, &prefix, |k, b| {
            if a.vendor().is_none_or(|v| v == k.vendor) {
                let windows = b.windows.iter();
                page.offer(|| BookmarkRow {
                    dataset: k.dataset.name(),
                    symbol: k.symbol,
                    vendor: k.vendor.name(),
                    windows: windows
                        .map(|w| WindowRow { from: day(w.from.to_native()), to: day(w.to.to_native()) })
                        .collect(),
                    rows: b.rows.to_native(),
                    answers: b.answers.to_native(),
                    restated: b.restated.to_native(),
                    updated_at: time(b.updated_at.to_native()),
                });
            }
            if all && page.rows.len() as u64 >= page.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    if all {
        page.total = ctx.store.len(BOOKMARKS.name);
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_stands_until_its_deadline_and_is_void_after_a_boot() {
        let lease = Lease {
            vendor: 2,
            dataset: 1,
            symbol: "A,B".into(),
            from: 0,
            to: 1,
            fence: 9,
            holder: 1,
            boot_id: "b".into(),
            deadline_ms: 5_000,
            claimed_at: 0,
        };
        let at = |boot, now| {
            let r = lease_row(9, &lease, boot, now);
            (r.state, r.expires_in_seconds)
        };
        assert_eq!(at("b", 1_000), ("standing", 4));
        assert_eq!(at("b", 5_000), ("expired", 0));
        assert_eq!(at("other", 1_000), ("void", 0));
        assert_eq!(lease_row(9, &lease, "b", 0).symbols, ["A", "B"]);
    }
}
