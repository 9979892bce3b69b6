//! `qc explain`: everything that is known of one partition.

use super::quarantine::{HoldRow, IncidentRow};
use super::reasons::{Facts, ReasonRow, explain as reasons_of};
use super::work::{AnswerRow, answer_row, state_name};
use super::{day, not_found, require_symbol, text, time, vendor_name};
use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::{AdminError, Code};
use datanode_actors::quarantine::Artifact;
use datanode_schema::clock::{date_of, day_number};
use datanode_schema::keys::{HoldingKey, Month, PageKey, SeriesKey};
use datanode_schema::manifest::{self, Line};
use datanode_schema::names::{Dataset, Explanation, Reason, Vendor, Verdict};
use datanode_schema::records::{GapTask, HoldingDay, LedgerDay};
use datanode_schema::registry::{Amber, DatasetRule};
use datanode_schema::trees::{ACTIONS, CONTEXTS, GAPS, HOLDINGS, HOLDS, INCIDENTS, LEDGER, SECONDS};
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;

/// Manifest files of one vendor that are looked through, the newest first.
const MOST_MANIFESTS: usize = 400;
/// Bytes of manifests that are looked through.
const MOST_BYTES: u64 = 256 << 20;
/// The same for who cannot wait.
pub(super) const SOON: u64 = 16 << 20;
/// Requests that are shown.
const MOST_REQUESTS: usize = 20;

/// Why a session is absent or short, with the evidence.
#[derive(Clone, Debug, Serialize)]
pub struct Absent {
    /// The state.
    pub state: &'static str,
    /// What explains it.
    pub why: Option<&'static str>,
    /// When the audit first saw it.
    pub discovered_at: Option<String>,
    /// Who was asked, and what each said.
    pub answers: Vec<AnswerRow>,
}

/// What raw holds of the session from one vendor.
#[derive(Clone, Debug, Serialize)]
pub struct HeldRow {
    /// The vendor.
    pub vendor: String,
    /// Rows.
    pub rows: u32,
    /// Of those, rows inside the regular session.
    pub regular: u32,
    /// Copies that were dropped.
    pub duplicates: u32,
    /// Rows that were given again with other values.
    pub restated: u32,
}

/// A request that was about the session.
#[derive(Clone, Debug, Serialize)]
pub struct RequestRow {
    /// The id that rows carry.
    pub request_id: String,
    /// Who was asked.
    pub vendor: &'static str,
    /// In which run.
    pub run: String,
    /// When it was answered.
    pub fetched_at: String,
    /// What came of it.
    pub outcome: &'static str,
    /// Rows that were taken, over all days of the request.
    pub rows: u64,
    /// The vendor's words, or ours.
    pub note: Option<String>,
}

/// The answer of `qc.explain`.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// Dataset, symbol, day.
    pub partition: String,
    /// The colour; null where there is no verdict.
    pub verdict: Option<&'static str>,
    /// Whether a pack takes it, and why not.
    pub ships: String,
    /// Rows that the calendar expects.
    pub expected: Option<u32>,
    /// Rows in the curated file.
    pub rows: Option<u32>,
    /// The vendor that most rows came from.
    pub vendor: Option<String>,
    /// First 16 bytes of the rows' BLAKE3.
    pub digest: Option<String>,
    /// When it was first judged.
    pub first_seen: Option<String>,
    /// When the verdict last changed.
    pub updated_at: Option<String>,
    /// Calendar and version of the decision.
    pub calendar: Option<String>,
    /// Each reason, the worst first.
    pub reasons: Vec<ReasonRow>,
    /// What the queue says of it; null where it says nothing.
    pub absence: Option<Absent>,
    /// What raw holds, by vendor.
    pub held: Vec<HeldRow>,
    /// Holds and releases that cover the day, in their order: the last one counts.
    pub holds: Vec<HoldRow>,
    /// Incidents on the day, closed ones too.
    pub incidents: Vec<IncidentRow>,
    /// Requests that were about it, the newest first.
    pub requests: Vec<RequestRow>,
    /// Whether older manifests were not looked through.
    pub older_not_searched: bool,
}

pub(super) fn explain(ctx: &AdminContext, a: &Args) -> Result<Explained, AdminError> {
    within(ctx, a, MOST_BYTES)
}

/// With at most so many bytes of manifests looked through.
pub(super) fn within(ctx: &AdminContext, a: &Args, most: u64) -> Result<Explained, AdminError> {
    let registry = (ctx.registry)();
    require_symbol(ctx, &registry, a)?;
    let (Some(dataset), Some(symbol), Some(number)) = (a.dataset(), a.symbol(), a.day("date")) else {
        return Err(AdminError::new(Code::BadArgs, "qc explain needs DATASET, SYMBOL and DATE"));
    };
    let Some(rule) = registry.rule(dataset) else {
        return Err(not_found(format!("datasets.yaml has no {dataset}: add it there; `names` lists those it has")));
    };
    let month = Month::of(date_of(number));
    let key = PageKey { dataset, symbol: symbol.to_owned(), month };
    let days = judged(ctx, &key)?;
    let verdict = days.iter().find(|d| d.day == number);
    let absence = absence(ctx, &key, number)?;
    if verdict.is_none() && absence.is_none() {
        let closed = !rule.calendar().is_session(date_of(number));
        let why = if closed { "the calendar has no session then" } else { "no audit has looked at that day yet" };
        return Err(not_found(format!("nothing is known of {dataset} {symbol} on {}: {why}", day(number))));
    }
    let context = match verdict {
        Some(d) => ctx.store.load(&CONTEXTS, &d.context)?.and_then(|j| serde_json::from_str(&j).ok()),
        None => None,
    };
    let context: Value = context.unwrap_or(Value::Null);
    let held = held(ctx, &key, number)?;
    let mut reasons = Vec::new();
    if let Some(d) = verdict {
        let second = ctx.store.load(&SECONDS, &key)?.unwrap_or_default();
        let actions = PageKey { dataset: Dataset::CorporateActions, ..key.clone() };
        let actions = ctx.store.load(&ACTIONS, &actions)?.unwrap_or_default();
        reasons = reasons_of(&Facts {
            day: d,
            before: days.iter().rev().find(|b| b.day < number && b.rows > 0),
            held: &held,
            second: second.days.iter().find(|s| s.day == number),
            action: actions.days.iter().find(|s| s.day == number),
            thresholds: context.get("thresholds").unwrap_or(&Value::Null),
        });
    }
    let said = |name: &str| context.get(name).and_then(Value::as_str).map(str::to_owned);
    let (requests, older_not_searched) = requests(ctx, &key, number, most)?;
    Ok(Explained {
        partition: format!("{dataset}/{symbol}/{}", day(number)),
        verdict: verdict.map(|d| Verdict::from_number(d.verdict).map_or("unknown", Verdict::name)),
        ships: ships(verdict, rule),
        expected: verdict.map(|d| d.expected).or(absence.as_ref().map(|t| t.expected)),
        rows: verdict.map(|d| d.rows).or(absence.as_ref().map(|t| t.rows)),
        vendor: verdict.filter(|d| d.vendor != 0).map(|d| vendor_name(d.vendor)),
        digest: verdict.filter(|d| d.rows > 0).map(|d| hex::encode(d.print.digest)),
        first_seen: verdict.and_then(|d| time(d.first_seen)),
        updated_at: verdict.and_then(|d| time(d.updated_at)),
        calendar: said("calendar").map(|c| format!("{c} {}", said("calendar_version").unwrap_or_default())),
        reasons,
        absence: absence.as_ref().map(|t| Absent {
            state: state_name(t.state),
            why: Explanation::from_number(t.why).map(Explanation::name),
            discovered_at: time(t.discovered_at),
            answers: t.answers.iter().map(answer_row).collect(),
        }),
        held: held
            .iter()
            .map(|(vendor, h)| HeldRow {
                vendor: vendor.clone(),
                rows: h.rows,
                regular: h.regular,
                duplicates: h.duplicates,
                restated: h.restated,
            })
            .collect(),
        holds: holds(ctx, &key, number)?,
        incidents: incidents(ctx, &key, number)?,
        requests,
        older_not_searched,
    })
}

/// The verdicts of the month, and of the month before where a session of it may be the one before.
fn judged(ctx: &AdminContext, key: &PageKey) -> Result<Vec<LedgerDay>, AdminError> {
    let mut out = Vec::new();
    for month in [Month(key.month.0.saturating_sub(1)), key.month] {
        let page = ctx.store.load(&LEDGER, &PageKey { month, ..key.clone() })?.unwrap_or_default();
        out.extend(page.days(month.first_day()));
    }
    Ok(out)
}

fn absence(ctx: &AdminContext, key: &PageKey, number: i32) -> Result<Option<GapTask>, AdminError> {
    let page = ctx.store.load(&GAPS, key)?.unwrap_or_default();
    Ok(page.tasks(key.month.first_day()).into_iter().find(|t| t.day == number))
}

fn held(ctx: &AdminContext, key: &PageKey, number: i32) -> Result<Vec<(String, HoldingDay)>, AdminError> {
    let mut out = Vec::new();
    for (k, page) in ctx.store.load_all(&HOLDINGS, &HoldingKey::of_month(key.dataset, &key.symbol, key.month))? {
        let of_day = page.days(key.month.first_day()).into_iter().find(|d| d.day == number && d.rows > 0);
        out.extend(of_day.map(|d| (k.vendor.name().to_owned(), d)));
    }
    Ok(out)
}

fn holds(ctx: &AdminContext, key: &PageKey, number: i32) -> Result<Vec<HoldRow>, AdminError> {
    let all = ctx.store.load_all(&HOLDS, &SeriesKey::prefix(key.dataset, &key.symbol))?;
    let covers = all.iter().filter(|(_, h)| h.from <= number && number <= h.to);
    Ok(covers.map(|(k, h)| HoldRow::of(k.act, h)).collect())
}

fn incidents(ctx: &AdminContext, key: &PageKey, number: i32) -> Result<Vec<IncidentRow>, AdminError> {
    let covers = |artifact: &str| {
        let artifact = Artifact::parse(artifact).ok();
        artifact.as_ref().and_then(Artifact::span).is_some_and(|(dataset, symbol, from, to)| {
            dataset == key.dataset && symbol == key.symbol && from <= number && number <= to
        })
    };
    let all = ctx.store.load_all(&INCIDENTS, &[])?.into_iter().rev();
    Ok(all.filter(|(_, i)| covers(&i.artifact)).map(|(id, i)| IncidentRow::of(id, &i)).collect())
}

/// Whether a pack takes it, by the rules of the exporter.
fn ships(verdict: Option<&LedgerDay>, rule: &DatasetRule) -> String {
    let Some(d) = verdict else { return "no: it is not judged yet".to_owned() };
    if d.rows == 0 {
        return "no: there are no rows".to_owned();
    }
    let released = d.reasons & Reason::RELEASED.bit != 0;
    let checks = Reason::worst(d.reasons & !Reason::BY_HAND) == Verdict::Red;
    let is = |r: &Reason| d.reasons & r.bit != 0;
    match Verdict::from_number(d.verdict) {
        Some(Verdict::Green) => "yes",
        Some(Verdict::Amber) if rule.amber == Amber::Ship => {
            "yes: this dataset ships AMBER, and the manifest counts it"
        }
        Some(Verdict::Amber) if released => "yes: a person released it",
        Some(Verdict::Amber) => "no: this dataset holds AMBER back; `qc release` lets it pass",
        Some(Verdict::Pending) => "yes",
        Some(Verdict::Red) if !checks && is(&Reason::INCIDENT_INVALID) => {
            "no: an incident labels it invalid; `incident close` ends that"
        }
        Some(Verdict::Red) if !checks && is(&Reason::HELD) => "no: a person holds it back; `qc release` ends that",
        Some(Verdict::Red) | None => "no: RED never ships",
    }
    .to_owned()
}

/// The manifest lines that are about the day, from the newest manifests; true where there are more than were looked through.
fn requests(ctx: &AdminContext, key: &PageKey, number: i32, most: u64) -> Result<(Vec<RequestRow>, bool), AdminError> {
    let (mut found, mut more, mut bytes): (Vec<Line>, bool, u64) = (Vec::new(), false, 0);
    let needle = format!("\"symbol\":{}", Value::String(key.symbol.clone()));
    let finder = memchr::memmem::Finder::new(&needle);
    let covers = |l: &Line| l.symbol == key.symbol && day_number(l.from) <= number && number <= day_number(l.to);
    for vendor in Vendor::ALL {
        let files = manifests(ctx, *vendor, key.dataset);
        more |= files.len() > MOST_MANIFESTS;
        for file in files.into_iter().take(MOST_MANIFESTS) {
            bytes = bytes.saturating_add(std::fs::metadata(&file).map_or(0, |m| m.len()));
            if bytes > most {
                more = true;
                break;
            }
            // A damaged manifest is the exporter's to refuse: what can be read of it explains as much as it can.
            let text = std::fs::read(&file).unwrap_or_default();
            let lines = text.split(|b| *b == b'\n').filter(|l| finder.find(l).is_some());
            found.extend(lines.filter_map(|l| serde_json::from_slice::<Line>(l).ok()).filter(covers));
        }
    }
    found.sort_by(|a, b| (&b.fetched_at, &b.request_id).cmp(&(&a.fetched_at, &a.request_id)));
    more |= found.len() > MOST_REQUESTS;
    found.truncate(MOST_REQUESTS);
    let row = |l: Line| RequestRow {
        request_id: l.request_id,
        vendor: l.vendor.name(),
        run: l.run,
        fetched_at: l.fetched_at,
        outcome: l.outcome.name(),
        rows: l.rows,
        note: text(&l.note),
    };
    Ok((found.into_iter().map(row).collect(), more))
}

/// The manifests of a vendor and dataset, the newest first: their names begin with the run's time.
fn manifests(ctx: &AdminContext, vendor: Vendor, dataset: Dataset) -> Vec<PathBuf> {
    let any = manifest::file_of(&ctx.data, vendor, dataset, "any");
    let Some(entries) = any.parent().and_then(|f| std::fs::read_dir(f).ok()) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "jsonl"));
    files.sort_unstable_by(|a, b| b.cmp(a));
    files
}
