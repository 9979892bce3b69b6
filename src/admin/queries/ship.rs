//! `ship`: the destinations, and what a person does to them.

use super::{text, time};
use crate::admin::AdminContext;
use crate::admin::protocol::{AdminError, Code};
use crate::shipping::Redirected;
use datanode_actors::publishing::Destination;
use datanode_actors::ship::{Form, NO, Progress, YES, lies, wanted};
use datanode_schema::records::Probe;
use datanode_schema::store::StoreError;
use datanode_schema::trees::{COUNTERS, PROBES, SHIPMENTS};
use serde::Serialize;

/// The answer of `ship.status`.
#[derive(Clone, Debug, Serialize)]
pub struct ShipStatus {
    /// In the order of the settings.
    pub destinations: Vec<DestinationRow>,
}

/// A destination.
#[derive(Clone, Debug, Serialize)]
pub struct DestinationRow {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Whether it keeps its word: `yes`, `no`, `accepted` (it does not, and its owner said so), `not tried`.
    pub safe: &'static str,
    /// Whether it creates a name once only; null: not known.
    pub creates_once: Option<bool>,
    /// Whether it refuses a wrong checksum; null: not known.
    pub checks_sums: Option<bool>,
    /// What was seen, in words.
    pub seen: Option<String>,
    /// When it was tried.
    pub tried_at: Option<String>,
    /// The pack that arrived last.
    pub last: Option<String>,
    /// When it did.
    pub last_at: Option<String>,
    /// Packs and sealings that wait; null where that cannot be told.
    pub waiting: Option<u64>,
    /// Bytes that were written there.
    pub bytes: u64,
    /// Packs and sealings that arrived.
    pub shipped: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// What is on its way; null: nothing.
    pub now: Option<String>,
    /// Bytes a second of it.
    pub rate: Option<u64>,
    /// Why the last attempt failed, or why it cannot be told what waits.
    pub error: Option<String>,
    /// When it did.
    pub error_at: Option<String>,
}

/// The answer of `ship.now`.
#[derive(Clone, Debug, Serialize)]
pub struct Shipped {
    /// It has begun.
    pub begun: bool,
}

pub(super) fn status(ctx: &AdminContext) -> Result<ShipStatus, AdminError> {
    let all = ctx.desk.node.publishing.destinations.current();
    let rows: Result<Vec<_>, StoreError> = all.iter().map(|d| row(ctx, d)).collect();
    Ok(ShipStatus { destinations: rows? })
}

fn row(ctx: &AdminContext, d: &Destination) -> Result<DestinationRow, StoreError> {
    let node = &ctx.desk.node;
    let probe = ctx.store.load(&PROBES, &d.name)?;
    let count = |what: &str| -> Result<u64, StoreError> {
        Ok(ctx.store.load(&COUNTERS, &format!("ship/{}/{what}", d.name))?.unwrap_or(0))
    };
    let arrived = ctx.store.load_all(&SHIPMENTS, format!("{}/", d.name).as_bytes())?;
    let newest =
        arrived.iter().max_by_key(|(k, s)| (s.finished_at, k.rsplit('/').next().unwrap_or_default().to_owned()));
    let due: Result<usize, _> = Form::of(d.mode).iter().map(|f| wanted(node, d, *f, "").map(|w| w.len())).sum();
    let p = node.shipping.of(&d.name);
    let known = |seen: fn(&Probe) -> u8| match probe.as_ref().map(seen) {
        Some(YES) => Some(true),
        Some(NO) => Some(false),
        _ => None,
    };
    let waits = due.as_ref().err().map(ToString::to_string);
    Ok(DestinationRow {
        name: d.name.clone(),
        url: d.access.url.clone(),
        safe: match probe.as_ref().map(lies) {
            None => "not tried",
            Some(None) => "yes",
            Some(Some(_)) if d.accept_unsafe => "accepted",
            Some(Some(_)) => "no",
        },
        creates_once: known(|p| p.create),
        checks_sums: known(|p| p.checksum),
        seen: probe.as_ref().and_then(|p| text(&p.note)),
        tried_at: probe.as_ref().and_then(|p| time(p.at)),
        last: newest.and_then(|(k, _)| k.rsplit('/').next().map(str::to_owned)),
        last_at: newest.and_then(|(_, s)| time(s.finished_at)),
        waiting: due.ok().map(|n| n as u64),
        bytes: arrived.iter().map(|(_, s)| s.bytes).sum(),
        shipped: count("shipped")?,
        failed: count("failed")?,
        now: in_words(&p),
        rate: (!p.pack.is_empty()).then(|| p.rate(ctx.clock.since_boot_ms())),
        error: text(&p.last_error).or(waits),
        error_at: time(p.last_error_at),
    })
}

fn in_words(p: &Progress) -> Option<String> {
    let bytes = format!("{} of {} bytes", p.bytes_done, p.bytes);
    (!p.pack.is_empty()).then(|| format!("{} {}: {} of {} objects, {bytes}", p.pack, p.form, p.objects_done, p.objects))
}

pub(super) fn reload(ctx: &AdminContext, uid: u32) -> Result<Redirected, AdminError> {
    let by = format!("uid {uid}");
    ctx.desk.shipping.reload(&by).map_err(|f| AdminError::new(Code::BadConfig, f.message))
}

pub(super) fn now(ctx: &AdminContext) -> Result<Shipped, AdminError> {
    if ctx.desk.shipping.now() {
        return Ok(Shipped { begun: true });
    }
    Err(AdminError::new(Code::Busy, "a cycle is under way, and ships at its end: ask again after it"))
}
