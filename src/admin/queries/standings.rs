//! How vendors have done of late: what the queue's score is made of.

use super::time;
use crate::admin::AdminContext;
use datanode_schema::store::StoreError;
use datanode_schema::trees::STANDINGS;
use serde::Serialize;

/// A vendor's record for a dataset.
#[derive(Clone, Debug, Serialize)]
pub struct StandingRow {
    /// The vendor.
    pub vendor: &'static str,
    /// The dataset.
    pub dataset: &'static str,
    /// Asks that were answered, well or not.
    pub asks: u64,
    /// Of those, the ones with a good answer.
    pub good: u64,
    /// Good answers of late, percent.
    pub quality_percent: f64,
    /// Milliseconds of a request of late; null: not known.
    pub latency_ms: Option<u32>,
    /// When that last changed.
    pub updated_at: Option<String>,
}

/// Every vendor and dataset that was asked for.
///
/// # Errors
/// The store's.
pub fn standings(ctx: &AdminContext) -> Result<Vec<StandingRow>, StoreError> {
    let all = ctx.store.load_all(&STANDINGS, &[])?.into_iter();
    Ok(all
        .map(|(k, s)| StandingRow {
            vendor: k.vendor.name(),
            dataset: k.dataset.name(),
            asks: s.asks,
            good: s.good,
            quality_percent: f64::from(s.quality_ppm / 1000) / 10.0,
            latency_ms: (s.latency_ms > 0).then_some(s.latency_ms),
            updated_at: time(s.updated_at),
        })
        .collect())
}
