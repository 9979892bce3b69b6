//! `vendors`: who is asked, how often, and who refuses what.

use super::{Page, not_found, text, time};
use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::AdminError;
use datanode_schema::clock::day_number;
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::records::BudgetRecord;
use datanode_schema::registry::{Limits, VendorCaps};
use datanode_schema::store::{Store, StoreError};
use datanode_schema::trees::{BOOKMARKS, BUDGETS, DEMOTIONS, VENDOR_STATES};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// The answer of `vendors`.
#[derive(Clone, Debug, Serialize)]
pub struct Vendors {
    /// Every vendor of the registry.
    pub vendors: Vec<VendorRow>,
}

/// A vendor.
#[derive(Clone, Debug, Serialize)]
pub struct VendorRow {
    /// Its name.
    pub vendor: &'static str,
    /// Whether the configuration enables it.
    pub enabled: bool,
    /// Its limits; 0 is no limit.
    pub limits: Limits,
    /// The datasets that it has.
    pub datasets: Vec<&'static str>,
    /// Requests spent or reserved on this UTC day.
    pub spent_today: u64,
    /// Requests that this day still allows; null where the day has no limit.
    pub left_today: Option<u64>,
    /// Requests in all.
    pub spent_total: u64,
    /// Until when it asked to be left alone; null where that is over.
    pub closed_until: Option<String>,
    /// Whether a person paused it.
    pub paused: bool,
    /// What its 429s have left of the rates, in percent of the limits.
    pub pace_percent: u32,
    /// Symbols of datasets that it has answered for.
    pub bookmarks: u64,
    /// Symbols that it is not asked for now.
    pub demoted: u64,
    /// Refusals on record, those included that may be probed again.
    pub demotions: u64,
}

/// What a vendor can do for a dataset.
#[derive(Clone, Debug, Serialize)]
pub struct CapabilityRow {
    /// The dataset.
    pub dataset: &'static str,
    /// The higher is asked first.
    pub preference: u32,
    /// Which tape.
    pub feed: Option<String>,
    /// Sent with every request.
    pub adjustment: Option<String>,
    /// First day that the vendor has.
    pub from: Option<String>,
    /// Last day that the vendor has.
    pub to: Option<String>,
    /// Symbols in one request.
    pub max_symbols: u32,
    /// Rows in one answer.
    pub max_rows: u32,
}

/// A refusal on record.
#[derive(Clone, Debug, Serialize)]
pub struct DemotionRow {
    /// The dataset.
    pub dataset: &'static str,
    /// The symbol.
    pub symbol: String,
    /// When it is probed again.
    pub until: Option<String>,
    /// Whether that is still to come.
    pub standing: bool,
    /// How often a probe failed.
    pub step: u8,
    /// The vendor's own words, shortened.
    pub why: String,
}

/// The answer of `vendors.show`.
#[derive(Clone, Debug, Serialize)]
pub struct VendorDetails {
    /// The line.
    #[serde(flatten)]
    pub vendor: VendorRow,
    /// By dataset.
    pub capabilities: Vec<CapabilityRow>,
    /// Its refusals.
    pub demotion_list: Page<DemotionRow>,
}

/// What is on record of a vendor.
#[derive(Debug, Default)]
pub struct Tally {
    bookmarks: u64,
    /// When each refusal is asked again.
    demotions: Vec<i64>,
}

pub(super) fn tallies(store: &Store) -> Result<BTreeMap<Vendor, Tally>, StoreError> {
    let mut out: BTreeMap<Vendor, Tally> = BTreeMap::new();
    store.scan(&BOOKMARKS, &[], |k, _| {
        out.entry(k.vendor).or_default().bookmarks += 1;
        ControlFlow::Continue(())
    })?;
    store.scan(&DEMOTIONS, &[], |k, d| {
        out.entry(k.vendor).or_default().demotions.extend(d.windows.iter().map(|d| d.until.to_native()));
        ControlFlow::Continue(())
    })?;
    Ok(out)
}

fn row(ctx: &AdminContext, vendor: Vendor, caps: &VendorCaps, tally: &Tally) -> Result<VendorRow, StoreError> {
    let budget: BudgetRecord = ctx.store.load(&BUDGETS, &vendor.name().to_owned())?.unwrap_or_default();
    let now = ctx.clock.now();
    let spent_today = if budget.day == day_number(now.date_naive()) { budget.today } else { 0 };
    let per_day = caps.limits.per_day;
    Ok(VendorRow {
        vendor: vendor.name(),
        enabled: ctx.enabled.contains(&vendor),
        limits: caps.limits,
        datasets: caps.datasets.keys().map(|d: &Dataset| d.name()).collect(),
        spent_today,
        left_today: (per_day > 0).then(|| per_day.saturating_sub(spent_today)),
        spent_total: budget.total,
        closed_until: time(budget.closed_until).filter(|_| budget.closed_until > now.timestamp()),
        paused: ctx.store.load(&VENDOR_STATES, &vendor.name().to_owned())?.is_some_and(|s| s.paused),
        pace_percent: 100 - budget.slowed_ppm.min(1_000_000) / 10_000,
        bookmarks: tally.bookmarks,
        demoted: tally.demotions.iter().filter(|until| **until > now.timestamp()).count() as u64,
        demotions: tally.demotions.len() as u64,
    })
}

pub(super) fn vendors(ctx: &AdminContext) -> Result<Vendors, AdminError> {
    let registry = (ctx.registry)();
    let tallies = ctx.known.vendors(ctx)?;
    let none = Tally::default();
    let rows = registry.vendors.iter().map(|(v, caps)| row(ctx, *v, caps, tallies.get(v).unwrap_or(&none)));
    Ok(Vendors { vendors: rows.collect::<Result<_, _>>()? })
}

pub(super) fn show(ctx: &AdminContext, a: &Args) -> Result<VendorDetails, AdminError> {
    let registry = (ctx.registry)();
    let wanted = a.vendor().and_then(|v| registry.vendors.get_key_value(&v));
    let Some((vendor, caps)) = wanted else {
        return Err(not_found(
            "vendor_capabilities.yaml has no such vendor: add it there; `vendors` lists those it has",
        ));
    };
    let tallies = ctx.known.vendors(ctx)?;
    let now = ctx.clock.now().timestamp();
    let mut demotion_list = Page::new(a);
    for (k, d) in ctx.store.load_all(&DEMOTIONS, &[])? {
        for d in d.windows.into_iter().filter(|_| k.vendor == *vendor) {
            let (until, standing) = (time(d.until), d.until > now);
            let dataset = k.dataset.name();
            demotion_list.offer(|| DemotionRow {
                dataset,
                symbol: k.symbol.clone(),
                until,
                standing,
                step: d.step,
                why: d.why,
            });
        }
    }
    let capability = |(d, c): (&Dataset, &datanode_schema::registry::Capability)| CapabilityRow {
        dataset: d.name(),
        preference: c.preference,
        feed: text(&c.feed),
        adjustment: text(&c.adjustment),
        from: c.from.map(|d| d.to_string()),
        to: c.to.map(|d| d.to_string()),
        max_symbols: c.max_symbols,
        max_rows: c.max_rows,
    };
    Ok(VendorDetails {
        vendor: row(ctx, *vendor, caps, tallies.get(vendor).unwrap_or(&Tally::default()))?,
        capabilities: caps.datasets.iter().map(capability).collect(),
        demotion_list,
    })
}
