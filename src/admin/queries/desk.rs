//! What changes something, and what explains the queue: `queue retry|cancel|pause|resume`, `explain`, `demotions`,
//! `config`.

use super::{Page, not_found, require_symbol, time};
use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::{AdminError, Code};
use crate::reload::{Reloaded, Reloads};
use datanode_actors::queue::desk::{self, Filter};
use datanode_actors::queue::{Class, QueueError, Terms};
use datanode_actors::schedule::last_session;
use datanode_schema::clock::date_of;
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::trees::DEMOTIONS;
use serde::Serialize;
use std::collections::BTreeMap;

/// The answer of a command that changed tasks or refusals.
#[derive(Clone, Debug, Serialize)]
pub struct Changed {
    /// How many.
    pub changed: u64,
    /// What was meant, in words.
    pub what: String,
}

/// The answer of `queue.pause` and `queue.resume`.
#[derive(Clone, Debug, Serialize)]
pub struct Paused {
    /// The vendor.
    pub vendor: Vendor,
    /// Whether it is paused now.
    pub paused: bool,
}

/// A vendor's part in an explanation.
#[derive(Clone, Debug, Serialize)]
pub struct ScoreRow {
    /// The vendor.
    pub vendor: Vendor,
    /// Its score: coverage × preference × quality ÷ (cost × latency).
    pub score: f64,
    /// The terms.
    pub terms: Terms,
    /// Whether it could take the task now.
    pub can_take_now: &'static str,
    /// Why it may not be asked for it; null where it may.
    pub why_not: Option<String>,
}

/// The answer of `explain`.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// Dataset, symbol and session.
    pub task: String,
    /// Why it is absent or short; null where there is no task.
    pub state: Option<&'static str>,
    /// The class that it ranks in.
    pub class: Class,
    /// Rows that the calendar expects.
    pub expected: u32,
    /// Rows that are held.
    pub rows: u32,
    /// When the audit first saw it.
    pub discovered_at: Option<String>,
    /// The lease that covers it.
    pub lease: Option<u64>,
    /// The vendors, the one that would be asked first at the top.
    pub vendors: Vec<ScoreRow>,
}

/// A refusal on record.
#[derive(Clone, Debug, Serialize)]
pub struct DemotionLine {
    /// The vendor.
    pub vendor: &'static str,
    /// The dataset.
    pub dataset: &'static str,
    /// The symbol.
    pub symbol: String,
    /// First day that is refused; null: all before `to`.
    pub from: Option<String>,
    /// Last day that is refused; null: all from `from` on.
    pub to: Option<String>,
    /// When it is asked again.
    pub until: Option<String>,
    /// Whether that is still to come.
    pub standing: bool,
    /// How often it was refused again.
    pub step: u8,
    /// The vendor's own words, shortened.
    pub why: String,
}

/// The answer of `config`.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// Hex SHA-256 of what decides a pack's content.
    pub sha256: String,
    /// That of a reloaded registry which waits for the end of a run.
    pub next_sha256: Option<String>,
    /// The files; null where the built-in text is used.
    pub files: BTreeMap<&'static str, Option<String>>,
    /// How reloading went so far.
    pub reloads: Reloads,
}

/// The answer of `config.reload`.
pub type ReloadedConfig = Reloaded;

fn failed(e: QueueError) -> AdminError {
    AdminError::new(Code::Failed, e.to_string())
}

/// The filters that the arguments come to: a symbol without a dataset is meant in each of them.
fn filters(ctx: &AdminContext, a: &Args) -> Result<Vec<Filter>, AdminError> {
    let registry = (ctx.registry)();
    require_symbol(ctx, &registry, a)?;
    let (from, to) = (a.day("from").map(date_of), a.day("to").map(date_of));
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(AdminError::new(Code::BadArgs, format!("`from` {from} lies after `to` {to}: swap them")));
    }
    let one = |dataset| Filter { dataset, symbol: a.symbol().map(str::to_owned), from, to };
    Ok(match (a.dataset(), a.symbol()) {
        (None, Some(_)) => Dataset::ALL.iter().map(|d| one(Some(*d))).collect(),
        (dataset, _) => vec![one(dataset)],
    })
}

fn in_words(a: &Args) -> String {
    let said = ["vendor", "dataset", "symbol", "from", "to"].into_iter();
    let words: Vec<String> = said.filter_map(|n| a.text(n).map(|t| format!("{n} {t}"))).collect();
    if words.is_empty() { "everything".to_owned() } else { words.join(", ") }
}

fn change(
    ctx: &AdminContext,
    a: &Args,
    act: impl Fn(&Filter) -> Result<u64, QueueError>,
) -> Result<Changed, AdminError> {
    let mut changed = 0;
    for f in filters(ctx, a)? {
        changed += act(&f).map_err(failed)?;
    }
    Ok(Changed { changed, what: in_words(a) })
}

pub(super) fn retry(ctx: &AdminContext, a: &Args) -> Result<Changed, AdminError> {
    change(ctx, a, |f| desk::retry(&ctx.desk.node, f))
}

pub(super) fn cancel(ctx: &AdminContext, a: &Args) -> Result<Changed, AdminError> {
    change(ctx, a, |f| desk::cancel(&ctx.desk.node, f))
}

/// The vendor that was given, where the registry has it.
fn vendor(ctx: &AdminContext, a: &Args) -> Result<Vendor, AdminError> {
    let known = |v: &Vendor| (ctx.registry)().vendors.contains_key(v);
    a.vendor().filter(known).ok_or_else(|| {
        not_found("vendor_capabilities.yaml has no such vendor: add it there; `vendors` lists those it has")
    })
}

pub(super) fn pause(ctx: &AdminContext, a: &Args, paused: bool, uid: u32) -> Result<Paused, AdminError> {
    let vendor = vendor(ctx, a)?;
    desk::pause(&ctx.desk.node, vendor, paused, &format!("uid {uid}")).map_err(failed)?;
    Ok(Paused { vendor, paused })
}

pub(super) fn explain(ctx: &AdminContext, a: &Args) -> Result<Explanation, AdminError> {
    let registry = (ctx.registry)();
    require_symbol(ctx, &registry, a)?;
    let (Some(dataset), Some(symbol), Some(day)) = (a.dataset(), a.symbol(), a.day("date")) else {
        return Err(AdminError::new(Code::BadArgs, "explain needs DATASET, SYMBOL and DATE"));
    };
    let Some(rule) = registry.rule(dataset) else {
        return Err(not_found(format!("datasets.yaml has no {dataset}: add it there; `names` lists those it has")));
    };
    let day = date_of(day);
    if !rule.calendar().covers(day) {
        return Err(not_found(format!("the calendar {} does not know {day}: give a day that it has", rule.calendar)));
    }
    let as_of = last_session(&registry, ctx.clock.now());
    let e = desk::explain(&ctx.desk.node, dataset, symbol, day, as_of).map_err(failed)?;
    let row = |c: desk::Candidate| {
        let t = rounded(c.terms);
        ScoreRow { vendor: c.vendor, score: t.score, terms: t, can_take_now: c.can_take_now, why_not: c.why_not }
    };
    Ok(Explanation {
        task: format!("{dataset} {symbol} {day}"),
        state: e.state.map(|s| s.name()),
        class: e.class,
        expected: e.expected,
        rows: e.rows,
        discovered_at: time(e.discovered_at),
        lease: e.lease,
        vendors: e.vendors.into_iter().map(row).collect(),
    })
}

/// Four digits are enough to compare.
fn rounded(t: Terms) -> Terms {
    let four = |x: f64| format!("{x:.3e}").parse().unwrap_or(x);
    Terms {
        coverage: four(t.coverage),
        preference: four(t.preference),
        quality: four(t.quality),
        cost: four(t.cost),
        latency: four(t.latency),
        score: four(t.score),
    }
}

pub(super) fn demotions(ctx: &AdminContext, a: &Args) -> Result<Page<DemotionLine>, AdminError> {
    let now = ctx.clock.now().timestamp();
    let mut page = Page::new(a);
    let meant = |v: Vendor, d: Dataset| a.vendor().is_none_or(|x| x == v) && a.dataset().is_none_or(|x| x == d);
    for (k, d) in ctx.store.load_all(&DEMOTIONS, &[])? {
        for w in d.windows.into_iter().filter(|_| meant(k.vendor, k.dataset)) {
            let day = |n: i32| (n != i32::MIN && n != i32::MAX).then(|| date_of(n).to_string());
            page.offer(|| DemotionLine {
                vendor: k.vendor.name(),
                dataset: k.dataset.name(),
                symbol: k.symbol.clone(),
                from: day(w.from),
                to: day(w.to),
                until: time(w.until),
                standing: w.until > now,
                step: w.step,
                why: w.why,
            });
        }
    }
    Ok(page)
}

pub(super) fn clear(ctx: &AdminContext, a: &Args) -> Result<Changed, AdminError> {
    require_symbol(ctx, &(ctx.registry)(), a)?;
    let vendor = vendor(ctx, a)?;
    let changed = desk::clear_demotions(&ctx.desk.node, vendor, a.dataset(), a.symbol()).map_err(failed)?;
    Ok(Changed { changed, what: in_words(a) })
}

pub(super) fn config(ctx: &AdminContext) -> Config {
    // First: what it counts has taken its place by then.
    let reloads = ctx.desk.reloader.history();
    let live = &ctx.desk.node.live;
    let files = ctx.desk.reloader.files().into_iter();
    Config {
        sha256: live.current().sha256,
        next_sha256: live.next().map(|c| c.sha256),
        files: files.map(|(name, path)| (name, (!path.is_empty()).then_some(path))).collect(),
        reloads,
    }
}

pub(super) fn reload(ctx: &AdminContext, uid: u32) -> Result<ReloadedConfig, AdminError> {
    let by = format!("uid {uid}");
    ctx.desk.reloader.reload(&by).map_err(|f| AdminError::new(Code::BadConfig, f.message))
}
