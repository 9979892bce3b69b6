//! `budgets`: what each vendor may still be asked, now and today.

use super::time;
use crate::admin::AdminContext;
use crate::admin::protocol::AdminError;
use datanode_schema::clock::{date_of, day_number, rfc3339};
use datanode_schema::records::BudgetRecord;
use datanode_schema::registry::Limits;
use datanode_schema::store::StoreError;
use datanode_schema::trees::{BUDGETS, VENDOR_STATES};
use serde::Serialize;

/// A vendor's budget. A limit of 0 is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetRow {
    /// The vendor.
    pub vendor: &'static str,
    /// Whether it is asked: `yes`, `paused` (by a person), `closed` (by its own word), `spent` (nothing left today), `disabled`.
    pub asked: &'static str,
    /// Requests of any second, by the registry.
    pub per_second: u32,
    /// Requests of any minute, by the registry.
    pub per_minute: u32,
    /// Requests of a UTC day, by the registry.
    pub per_day: u64,
    /// What its refusals have left of the rates, in percent.
    pub pace_percent: u32,
    /// Requests spent or reserved in the last 60 seconds.
    pub last_minute: u64,
    /// Requests spent or reserved on this UTC day.
    pub spent_today: u64,
    /// Requests that this day still allows; null where the day has no limit.
    pub left_today: Option<u64>,
    /// Until when it asked to be left alone; null where that is over.
    pub closed_until: Option<String>,
    /// Requests in all.
    pub spent_total: u64,
}

/// The answer of `budgets`.
#[derive(Clone, Debug, Serialize)]
pub struct Budgets {
    /// When the day's budgets begin anew.
    pub day_ends: String,
    /// Every vendor of the registry.
    pub budgets: Vec<BudgetRow>,
}

pub(super) fn budgets(ctx: &AdminContext) -> Result<Budgets, AdminError> {
    let registry = (ctx.registry)();
    let mut rows = Vec::new();
    for (vendor, caps) in &registry.vendors {
        let name = vendor.name().to_owned();
        let record: BudgetRecord = ctx.store.load(&BUDGETS, &name)?.unwrap_or_default();
        let paused = ctx.store.load(&VENDOR_STATES, &name)?.is_some_and(|s| s.paused);
        rows.push(row(ctx, vendor.name(), caps.limits, &record, (ctx.enabled.contains(vendor), paused))?);
    }
    let tomorrow = date_of(day_number(ctx.clock.now().date_naive()) + 1);
    let day_ends = rfc3339(tomorrow.and_time(chrono::NaiveTime::MIN).and_utc());
    Ok(Budgets { day_ends, budgets: rows })
}

fn row(
    ctx: &AdminContext,
    vendor: &'static str,
    limits: Limits,
    b: &BudgetRecord,
    (enabled, paused): (bool, bool),
) -> Result<BudgetRow, StoreError> {
    let now = ctx.clock.now();
    let spent_today = if b.day == day_number(now.date_naive()) { b.today } else { 0 };
    let left_today = (limits.per_day > 0).then(|| limits.per_day.saturating_sub(spent_today));
    let closed = b.closed_until > now.timestamp();
    let minute_ago = (ctx.clock.since_boot_ms() / 1000).saturating_sub(60);
    let recent = b.recent.iter().filter(|s| s.second > minute_ago).map(|s| u64::from(s.requests));
    Ok(BudgetRow {
        vendor,
        asked: match (enabled, paused, closed, left_today) {
            (false, ..) => "disabled",
            (_, true, ..) => "paused",
            (_, _, true, _) => "closed",
            (.., Some(0)) => "spent",
            _ => "yes",
        },
        per_second: limits.per_second,
        per_minute: limits.per_minute,
        per_day: limits.per_day,
        pace_percent: 100 - b.slowed_ppm.min(1_000_000) / 10_000,
        last_minute: if b.boot_id == ctx.clock.boot_id() { recent.sum() } else { 0 },
        spent_today,
        left_today,
        closed_until: time(b.closed_until).filter(|_| closed),
        spent_total: b.total,
    })
}
