//! `demotions explain`: why a vendor is not asked for a symbol, until when, and who is asked instead.

use super::{not_found, require_symbol, time};
use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::{AdminError, Code};
use datanode_schema::clock::date_of;
use datanode_schema::keys::BookmarkKey;
use datanode_schema::records::Demotion;
use datanode_schema::trees::{BUDGETS, DEMOTIONS, VENDOR_STATES};
use serde::Serialize;

/// One refusal, in words.
#[derive(Clone, Debug, Serialize)]
pub struct RefusalRow {
    /// The days that it is about.
    pub days: String,
    /// How often it was said.
    pub times: u8,
    /// When the vendor is asked again; null: it may be asked now.
    pub asked_again: Option<String>,
    /// The vendor's own words, shortened.
    pub why: String,
    /// What the node does about it.
    pub means: String,
}

/// The answer of `demotions.explain`.
#[derive(Clone, Debug, Serialize)]
pub struct RefusalsExplained {
    /// Vendor, dataset and symbol.
    pub about: String,
    /// What keeps the whole vendor from being asked; null where nothing does.
    pub vendor_state: Option<String>,
    /// What it refused of this symbol.
    pub refusals: Vec<RefusalRow>,
    /// Other enabled vendors of the dataset, with what they refuse.
    pub others: Vec<OtherRow>,
    /// What ends it before its time.
    pub to_end_it: Option<String>,
}

/// Another vendor of the dataset.
#[derive(Clone, Debug, Serialize)]
pub struct OtherRow {
    /// The vendor.
    pub vendor: &'static str,
    /// Whether it is asked for the symbol, and why not.
    pub asked: String,
}

pub(super) fn explain(ctx: &AdminContext, a: &Args) -> Result<RefusalsExplained, AdminError> {
    let registry = (ctx.registry)();
    require_symbol(ctx, &registry, a)?;
    let (Some(vendor), Some(dataset), Some(symbol)) = (a.vendor(), a.dataset(), a.symbol()) else {
        return Err(AdminError::new(Code::BadArgs, "demotions explain needs VENDOR, DATASET and SYMBOL"));
    };
    if !registry.vendors.get(&vendor).is_some_and(|c| c.datasets.contains_key(&dataset)) {
        let what = format!("vendor_capabilities.yaml gives {vendor} no {dataset}: it is never asked for it");
        return Err(not_found(what));
    }
    let now = ctx.clock.now().timestamp();
    let of = |v| -> Result<Vec<Demotion>, AdminError> {
        let key = BookmarkKey { dataset, symbol: symbol.to_owned(), vendor: v };
        Ok(ctx.store.load(&DEMOTIONS, &key)?.unwrap_or_default().windows)
    };
    let refusals: Vec<RefusalRow> = of(vendor)?.into_iter().map(|d| row(d, now)).collect();
    let mut others = Vec::new();
    for (v, _) in registry.vendors.iter().filter(|(v, c)| **v != vendor && c.datasets.contains_key(&dataset)) {
        let standing = of(*v)?.iter().filter(|d| d.until > now).count();
        let asked = match (ctx.enabled.contains(v), standing) {
            (false, _) => "no: it is not enabled".to_owned(),
            (true, 0) => "yes".to_owned(),
            (true, n) => format!("not for all days: it refused {n} of them too"),
        };
        others.push(OtherRow { vendor: v.name(), asked });
    }
    let to_end_it = (!refusals.is_empty()).then(|| format!("demotions clear {vendor} {dataset} {symbol}"));
    Ok(RefusalsExplained {
        about: format!("{vendor} {dataset} {symbol}"),
        vendor_state: vendor_state(ctx, vendor.name(), ctx.enabled.contains(&vendor))?,
        refusals,
        others,
        to_end_it,
    })
}

fn row(d: Demotion, now: i64) -> RefusalRow {
    let days = match (d.from, d.to) {
        (i32::MIN, i32::MAX) => "all days".to_owned(),
        (i32::MIN, to) => format!("up to {}", date_of(to)),
        (from, i32::MAX) => format!("{} and later", date_of(from)),
        (from, to) if from == to => date_of(from).to_string(),
        (from, to) => format!("{} to {}", date_of(from), date_of(to)),
    };
    let means = if d.until > now {
        "others are asked for these days; this vendor gets one question when the time is over, and a good answer ends it"
    } else {
        "its time is over: the next question that it fits is a probe; refused again, it waits longer, up to a week"
    };
    RefusalRow {
        days,
        times: d.step,
        asked_again: time(d.until).filter(|_| d.until > now),
        why: d.why,
        means: means.to_owned(),
    }
}

fn vendor_state(ctx: &AdminContext, vendor: &str, enabled: bool) -> Result<Option<String>, AdminError> {
    if !enabled {
        return Ok(Some("it is not enabled in the configuration".to_owned()));
    }
    if let Some(s) = ctx.store.load(&VENDOR_STATES, &vendor.to_owned())?.filter(|s| s.paused) {
        return Ok(Some(format!("{} paused it; `queue resume {vendor}` ends that", s.by)));
    }
    let closed = ctx.store.load(&BUDGETS, &vendor.to_owned())?.map_or(0, |b| b.closed_until);
    let asked = (closed > ctx.clock.now().timestamp()).then(|| time(closed)).flatten();
    Ok(asked.map(|t| format!("it asked to be left alone until {t}")))
}
