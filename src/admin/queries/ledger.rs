//! `qc`: the ledger's verdicts, their reasons, and what they were decided by.

use super::lately::{matching, of_dataset};
use super::work::{MOST_PAGES, READ, series_name};
use super::{Page, day, not_found, prefixes, require_symbol, text, time, vendor_name};
use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::AdminError;
use datanode_schema::clock::date_of;
use datanode_schema::names::{Dataset, Reason, Verdict};
use datanode_schema::records::LedgerDay;
use datanode_schema::store::StoreError;
use datanode_schema::trees::{CONTEXTS, LEDGER};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, RangeInclusive};

/// Partitions of a dataset by colour.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerdictCount {
    /// The dataset.
    pub dataset: &'static str,
    /// Good.
    pub green: u64,
    /// Usable, with a reason to know.
    pub amber: u64,
    /// Never ship.
    pub red: u64,
    /// Not judged for want of rows that may still come.
    pub pending: u64,
}

/// Partitions that have a reason.
#[derive(Clone, Debug, Serialize)]
pub struct ReasonCount {
    /// The dataset.
    pub dataset: &'static str,
    /// The reason.
    pub reason: &'static str,
    /// The verdict that it alone would give.
    pub verdict: &'static str,
    /// How many.
    pub partitions: u64,
}

/// The answer of `qc.summary`.
#[derive(Clone, Debug, Serialize)]
pub struct QcSummary {
    /// By dataset.
    pub datasets: Vec<VerdictCount>,
    /// By dataset and reason.
    pub reasons: Vec<ReasonCount>,
    /// What these reasons mean.
    pub meanings: Vec<Meaning>,
}

/// A verdict.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerRow {
    /// The dataset.
    pub dataset: &'static str,
    /// The symbol.
    pub symbol: String,
    /// The session.
    pub day: String,
    /// The colour.
    pub verdict: &'static str,
    /// Why.
    pub reasons: Vec<&'static str>,
    /// Rows that the calendar expects.
    pub expected: u32,
    /// Rows in the curated file.
    pub rows: u32,
    /// The vendor that most rows came from.
    pub vendor: Option<String>,
    /// First 16 bytes of the rows' BLAKE3.
    pub digest: Option<String>,
    /// When it was first judged.
    pub first_seen: Option<String>,
    /// When it last changed.
    pub updated_at: Option<String>,
    /// Which of `decided_by`.
    pub context: String,
}

/// What a reason means.
#[derive(Clone, Debug, Serialize)]
pub struct Meaning {
    /// The reason.
    pub reason: &'static str,
    /// The verdict that it alone would give.
    pub verdict: &'static str,
    /// In words.
    pub means: &'static str,
}

/// The context of verdicts.
#[derive(Clone, Debug, Serialize)]
pub struct DecidedBy {
    /// Its key.
    pub context: String,
    /// Thresholds, calendar; null where the record is gone.
    pub decision: Value,
}

/// The answer of `qc.show` and `qc.red`, in the order of dataset, symbol, day.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerList {
    /// Where the looking ended, where there was more to look through than may be: what comes after it is not counted.
    pub looked_up_to: Option<String>,
    /// The verdicts.
    #[serde(flatten)]
    pub page: Page<LedgerRow>,
    /// What the reasons of this page mean.
    pub reasons: Vec<Meaning>,
    /// What the verdicts of this page were decided by.
    pub decided_by: Vec<DecidedBy>,
}

pub(super) fn summary(ctx: &AdminContext, a: &Args) -> Result<QcSummary, AdminError> {
    let counted = ctx.known.verdicts(ctx)?;
    let mut counts: BTreeMap<u8, VerdictCount> = BTreeMap::new();
    for (key, series) in of_dataset(&counted.series, a.dataset()) {
        let Some(dataset) = key.first().and_then(|n| Dataset::from_number(*n)) else { continue };
        let new = || VerdictCount { dataset: dataset.name(), ..Default::default() };
        let c = counts.entry(dataset.number()).or_insert_with(new);
        let of = |v: Verdict| matching(series, Some(v.number()));
        c.green += of(Verdict::Green);
        c.amber += of(Verdict::Amber);
        c.red += of(Verdict::Red);
        c.pending += of(Verdict::Pending);
    }
    let of = |(d, _): &(Dataset, u64)| a.dataset().is_none_or(|x| x == *d);
    let reasons: BTreeMap<(Dataset, u64), u64> =
        counted.reasons.iter().filter(|(k, _)| of(k)).map(|(k, n)| (*k, *n)).collect();
    let reason = |((dataset, bit), partitions): ((Dataset, u64), u64)| {
        let r = Reason::ALL.iter().find(|r| r.bit == bit)?;
        let dataset = dataset.name();
        Some(ReasonCount { dataset, reason: r.name, verdict: r.verdict.name(), partitions })
    };
    let seen = reasons.keys().fold(0, |bits, (_, bit)| bits | bit);
    Ok(QcSummary {
        datasets: counts.into_values().collect(),
        reasons: reasons.into_iter().filter_map(reason).collect(),
        meanings: meanings(seen),
    })
}

pub(super) fn show(ctx: &AdminContext, a: &Args) -> Result<LedgerList, AdminError> {
    let registry = (ctx.registry)();
    require_symbol(ctx, &registry, a)?;
    let days = a.day("date").map_or_else(|| a.days(), |d| d..=d);
    let out = list(ctx, a, days, a.verdict())?;
    match (out.page.total, a.day("date"), a.dataset()) {
        (0, Some(d), Some(dataset)) => {
            let calendar = registry.rule(dataset).map(|r| r.calendar());
            let closed = calendar.is_some_and(|c| !c.is_session(date_of(d)));
            let why = if closed { "the calendar has no session then" } else { "`queue` shows whether it is absent" };
            Err(not_found(format!("no verdict of {dataset} {} on {}: {why}", a.symbol().unwrap_or_default(), day(d))))
        }
        _ => Ok(out),
    }
}

pub(super) fn red(ctx: &AdminContext, a: &Args) -> Result<LedgerList, AdminError> {
    let registry = (ctx.registry)();
    require_symbol(ctx, &registry, a)?;
    list(ctx, a, a.days(), Some(Verdict::Red))
}

fn list(
    ctx: &AdminContext,
    a: &Args,
    days: RangeInclusive<i32>,
    verdict: Option<Verdict>,
) -> Result<LedgerList, AdminError> {
    let mut out = Listing { page: Page::new(a), bits: 0, contexts: BTreeSet::new() };
    let mut looked_up_to = None;
    if a.symbol().is_some() {
        for prefix in prefixes(a.dataset(), a.symbol()) {
            out.read(ctx, &prefix, &days, verdict)?;
        }
    } else {
        // All symbols: what each has is known, and only those of the page are read.
        let (counted, all_days, mut read) = (ctx.known.verdicts(ctx)?, days == (i32::MIN..=i32::MAX), 0);
        for (key, counts) in of_dataset(&counted.series, a.dataset()) {
            let n = matching(counts, verdict.map(Verdict::number));
            if n == 0 || (all_days && out.page.passes(n)) {
                continue;
            }
            if !all_days && read > MOST_PAGES {
                looked_up_to = Some(series_name(key));
                break;
            }
            read += out.read(ctx, key, &days, verdict)?;
        }
    }
    let Listing { page, bits, contexts } = out;
    Ok(LedgerList { looked_up_to, page, reasons: meanings(bits), decided_by: decisions(ctx, &contexts)? })
}

/// A list that is being made: its page, and the reasons and contexts that stand on it.
struct Listing {
    page: Page<LedgerRow>,
    bits: u64,
    contexts: BTreeSet<u64>,
}

impl Listing {
    /// Offers what lies below a prefix, and returns what it cost, as [`MOST_PAGES`] has it.
    fn read(
        &mut self,
        ctx: &AdminContext,
        prefix: &[u8],
        days: &RangeInclusive<i32>,
        verdict: Option<Verdict>,
    ) -> Result<u64, StoreError> {
        let (page, mut read) = (&mut self.page, 0);
        ctx.store.scan(&LEDGER, prefix, |k, p| {
            read += 1;
            let first = k.month.first_day();
            if *days.end() < first || *days.start() > first.saturating_add(31) {
                return ControlFlow::Continue(());
            }
            read += READ;
            for d in p.native().days(first) {
                if !days.contains(&d.day) || verdict.is_some_and(|v| v.number() != d.verdict) {
                    continue;
                }
                page.offer(|| {
                    self.bits |= d.reasons;
                    self.contexts.insert(d.context);
                    row(k.dataset, &k.symbol, &d)
                });
            }
            ControlFlow::Continue(())
        })?;
        Ok(read)
    }
}

fn row(dataset: Dataset, symbol: &str, d: &LedgerDay) -> LedgerRow {
    LedgerRow {
        dataset: dataset.name(),
        symbol: symbol.to_owned(),
        day: day(d.day),
        verdict: Verdict::from_number(d.verdict).map_or("unknown", Verdict::name),
        reasons: Reason::names(d.reasons),
        expected: d.expected,
        rows: d.rows,
        vendor: (d.vendor != 0).then(|| vendor_name(d.vendor)),
        digest: text(&hex::encode(d.print.digest)).filter(|_| d.rows > 0),
        first_seen: time(d.first_seen),
        updated_at: time(d.updated_at),
        context: format!("{:016x}", d.context),
    }
}

fn meanings(bits: u64) -> Vec<Meaning> {
    let of = |r: &Reason| Meaning { reason: r.name, verdict: r.verdict.name(), means: r.means };
    Reason::ALL.iter().filter(|r| bits & r.bit != 0).map(of).collect()
}

fn decisions(ctx: &AdminContext, keys: &BTreeSet<u64>) -> Result<Vec<DecidedBy>, StoreError> {
    let one = |key: &u64| {
        let json = ctx.store.load(&CONTEXTS, key)?;
        let decision = json.map_or(Value::Null, |j| serde_json::from_str(&j).unwrap_or(Value::String(j)));
        Ok(DecidedBy { context: format!("{key:016x}"), decision })
    };
    keys.iter().map(one).collect()
}
