//! `qc`: the ledger's verdicts, their reasons, and what they were decided by.

use super::{Page, day, not_found, prefixes, require_symbol, text, time, vendor_name};
use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::AdminError;
use datanode_schema::clock::date_of;
use datanode_schema::names::{Dataset, Reason, Verdict};
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
    /// The verdicts.
    #[serde(flatten)]
    pub page: Page<LedgerRow>,
    /// What the reasons of this page mean.
    pub reasons: Vec<Meaning>,
    /// What the verdicts of this page were decided by.
    pub decided_by: Vec<DecidedBy>,
}

pub(super) fn summary(ctx: &AdminContext, a: &Args) -> Result<QcSummary, AdminError> {
    let mut counts: BTreeMap<Dataset, VerdictCount> = BTreeMap::new();
    let mut reasons: BTreeMap<(Dataset, u64), u64> = BTreeMap::new();
    for prefix in prefixes(a.dataset(), None) {
        ctx.store.scan(&LEDGER, &prefix, |k, page| {
            let c = counts
                .entry(k.dataset)
                .or_insert_with(|| VerdictCount { dataset: k.dataset.name(), ..Default::default() });
            for g in page.groups.iter() {
                let n = u64::from(g.days.to_native().count_ones());
                match Verdict::from_number(g.verdict) {
                    Some(Verdict::Green) => c.green += n,
                    Some(Verdict::Amber) => c.amber += n,
                    Some(Verdict::Red) => c.red += n,
                    Some(Verdict::Pending) | None => c.pending += n,
                }
                let bits = g.reasons.to_native();
                for r in Reason::ALL.iter().filter(|r| bits & r.bit != 0) {
                    *reasons.entry((k.dataset, r.bit)).or_default() += n;
                }
            }
            ControlFlow::Continue(())
        })?;
    }
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
    let mut page: Page<LedgerRow> = Page::new(a);
    let (mut bits, mut contexts) = (0u64, BTreeSet::new());
    for prefix in prefixes(a.dataset(), a.symbol()) {
        ctx.store.scan(&LEDGER, &prefix, |k, p| {
            let native = p.native();
            for d in native.days(k.month.first_day()) {
                let matches = days.contains(&d.day) && verdict.is_none_or(|v| v.number() == d.verdict);
                if !matches {
                    continue;
                }
                page.offer(|| {
                    bits |= d.reasons;
                    contexts.insert(d.context);
                    LedgerRow {
                        dataset: k.dataset.name(),
                        symbol: k.symbol.clone(),
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
                });
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(LedgerList { page, reasons: meanings(bits), decided_by: decisions(ctx, &contexts)? })
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
