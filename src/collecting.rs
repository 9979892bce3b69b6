//! The collector of prediction markets, made of settings.

use crate::config::Settings;
use crate::failure::Failure;
use crate::wiring::of_store;
use datanode_actors::books::{Board, Parts};
use datanode_actors::node::Node;
use datanode_actors::queue::Purse;
use datanode_schema::names::{Dataset, Vendor};
use std::time::Duration;

/// The collector's parts; None where its vendor is not enabled. `ticks` is after how many it ends, 0 = on request only.
///
/// # Errors
/// Exit 2 where a setting or a registry entry is missing; the store's.
pub fn parts(settings: &Settings, node: &Node, ticks: u64, board: Board) -> Result<Option<Parts>, Failure> {
    let (s, b) = (&settings.vendors.polymarket, &settings.books);
    if !s.enabled {
        return Ok(None);
    }
    let (vendor, dataset) = (Vendor::Polymarket, Dataset::PredictionBooks);
    let registry = node.registry();
    let missing = || {
        Failure::usage(format!(
            "vendors.{vendor}.enabled: vendor_capabilities.yaml has no {vendor} with {dataset}; add it there or disable {vendor}"
        ))
    };
    let caps = registry.vendors.get(&vendor).ok_or_else(missing)?;
    let capability = caps.datasets.get(&dataset).ok_or_else(missing)?;
    let mut limits = caps.limits;
    limits.per_second = s.per_second.unwrap_or(limits.per_second);
    limits.per_minute = s.per_minute.unwrap_or(limits.per_minute);
    limits.per_day = s.per_day.unwrap_or(limits.per_day);
    for (name, url) in [("base_url", &s.base_url), ("clob_base_url", &s.clob_base_url)] {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Failure::usage(format!(
                "vendors.{vendor}.{name}: {url:?} is no URL; set it, or disable {vendor}"
            )));
        }
    }
    let base = |url: &str| url.trim_end_matches('/').to_owned();
    let purse = Purse::open(vendor, limits, node.store.clone(), node.clock.clone()).map_err(of_store)?;
    Ok(Some(Parts {
        data: node.data.clone(),
        clock: node.clock.clone(),
        purse,
        gamma: base(&s.base_url),
        clob: base(&s.clob_base_url),
        markets: b.markets.clone(),
        top: b.top,
        rank: b.rank,
        batch: capability.max_symbols as usize,
        cadence: Duration::from_secs(u64::from(b.cadence_seconds)),
        rediscover: Duration::from_secs(u64::from(b.rediscover_minutes) * 60),
        timeout: Duration::from_secs(u64::from(settings.http.timeout_seconds)),
        ticks,
        board,
        acts: node.acts.clone(),
    }))
}
